-- Schedules that must be seen to. ?1: now, ?2: how many. By schedules_look.
SELECT * FROM schedules INDEXED BY schedules_look
WHERE active = 1 AND paused = 0 AND problem IS NULL AND look_at IS NOT NULL AND look_at <= ?1
ORDER BY look_at LIMIT ?2
