-- Ends requests whose condition will not come. ?1: a JSON array of [id, why, for people], ?2: the code, ?3: now. By primary key.
-- How it is read, and OR IGNORE: see record.sql. Answers which were still waiting.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET
  state = 'cancelled', due_at = NULL, error_code = ?2, error_message = j.value ->> 1, finished_at = ?3
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value ->> 0
  AND requests.state = 'pending' AND requests.held_by = 'after'
RETURNING requests.id
