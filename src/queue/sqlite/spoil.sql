-- Rows that are with the far end and cannot be read end as uncertain: a remote job may have been started, and nobody can
-- follow it by what they say. ?1: a JSON array of [id, what is wrong, when it was seen]. By primary key.
-- How it is read: see record.sql. Answers which were still there to be ended.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET
  state = 'uncertain',
  due_at = NULL,
  error_code = 'invalid_request',
  error_message = 'the row cannot be read any more (' || (j.value ->> 1) || '); the remote job may have run',
  finished_at = j.value ->> 2,
  progress = NULL
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value ->> 0
  AND (requests.state = 'triggering' OR requests.state = 'polling' OR requests.state = 'collecting')
RETURNING requests.id
