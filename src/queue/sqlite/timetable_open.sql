-- Requests of a schedule that have not ended, the newest first: an uncertain one until its deadline, as long as its remote job may
-- be running. ?1: the schedule, ?2: now. By requests_schedule_open.
SELECT id, state FROM requests INDEXED BY requests_schedule_open
WHERE schedule_name = ?1
  AND schedule_name IS NOT NULL AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting' OR state = 'uncertain')
  AND (state <> 'uncertain' OR deadline_at IS NULL OR deadline_at > ?2)
ORDER BY id DESC
