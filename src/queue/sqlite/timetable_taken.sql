-- Whether a time of a schedule has its request. ?1: the schedule, ?2: the time. By requests_scheduled.
SELECT id FROM requests INDEXED BY requests_scheduled
WHERE schedule_name IS NOT NULL AND scheduled_at IS NOT NULL AND schedule_name = ?1 AND scheduled_at = ?2
