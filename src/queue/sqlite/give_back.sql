-- Intents that were not acted on: the row becomes what it was, the attempt is not charged. ?1: a JSON array of
-- [id, attempt before, due_at before, started_at before, deadline_at before, progress before].
-- How it is read: see record.sql. Answers whose intents were taken back.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET
  state = 'pending',
  attempt = j.value ->> 1,
  due_at = j.value ->> 2,
  started_at = j.value ->> 3,
  deadline_at = j.value ->> 4,
  progress = j.value ->> 5
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value ->> 0 AND requests.attempt = (j.value ->> 1) + 1 AND requests.state = 'triggering'
RETURNING requests.id
