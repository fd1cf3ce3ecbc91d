-- Schedules that insert nothing although they are there, and why: paused, or they cannot be used. ?1: how many. From end to end,
-- for a person who asks.
SELECT name, paused, CASE WHEN paused = 1 THEN paused_reason ELSE problem END
FROM schedules WHERE active = 1 AND (paused = 1 OR problem IS NOT NULL)
ORDER BY name LIMIT ?1
