-- Bad rows end alone. ?1: a JSON array of [id, what is wrong], ?2: now. By primary key.
-- How it is read: see record.sql.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET
  state = 'rejected', due_at = NULL, error_code = 'invalid_request', error_message = j.value ->> 1, finished_at = ?2
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value ->> 0 AND requests.state = 'pending'
RETURNING requests.id
