-- The last ?2 things that became of the times of schedule ?1, newest first. By schedule_events_by_name: all of its rows are
-- looked at, since those of backfills are out of order; retention keeps them few.
SELECT id, nominal_at, last_at, times, event, reason, note, request_id, at
FROM schedule_events
WHERE schedule_name = ?1
ORDER BY id DESC
LIMIT ?2
