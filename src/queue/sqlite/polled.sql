-- Polls that changed nothing but their counters: one narrow write a row. ?1: a JSON array of
-- [id, attempt, due_at, polls, last_polled_at, http_status, error_message, progress, state].
UPDATE OR IGNORE requests SET
  due_at = j.value ->> 2,
  polls = j.value ->> 3,
  last_polled_at = j.value ->> 4,
  http_status = j.value ->> 5,
  error_message = j.value ->> 6,
  progress = j.value ->> 7
FROM json_each(?1) AS j
WHERE requests.id = j.value ->> 0 AND requests.attempt = j.value ->> 1
  AND requests.state = j.value ->> 8
