-- Polls that changed nothing but their counters: one narrow write a row. ?1: a JSON array of
-- [id, attempt, due_at, polls, last_polled_at, http_status, error_message, progress, state].
-- How it is read: see record.sql.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET
  due_at = j.value ->> 2,
  polls = j.value ->> 3,
  last_polled_at = j.value ->> 4,
  http_status = j.value ->> 5,
  error_message = j.value ->> 6,
  progress = j.value ->> 7
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value ->> 0 AND requests.attempt = j.value ->> 1
  AND requests.state = j.value ->> 8
