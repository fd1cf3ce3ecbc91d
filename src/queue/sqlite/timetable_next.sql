-- When the next schedule must be seen to, after an instant; 0 if a calendar has changed and that is negative. ?1: the instant. By
-- schedules_look and calendars_changed.
SELECT CASE WHEN ?1 < 0 AND EXISTS (SELECT 1 FROM calendars WHERE revision <> seen_revision) THEN 0 ELSE (
  SELECT look_at FROM schedules INDEXED BY schedules_look
  WHERE active = 1 AND paused = 0 AND problem IS NULL AND look_at IS NOT NULL AND look_at > ?1 AND typeof(look_at) = 'integer'
  ORDER BY look_at LIMIT 1
) END
