-- Makes pending requests uncertain. ?1: a JSON array of ids, ?2: why, for people, ?3: now. By primary key.
-- How it is read, and OR IGNORE: see record.sql.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET
  state = 'uncertain', due_at = NULL, error_code = 'interrupted', error_message = ?2, finished_at = ?3
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value AND requests.state = 'pending'
RETURNING requests.id
