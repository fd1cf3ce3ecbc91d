-- Intents that were not acted on: the row becomes what it was, the attempt is not charged. ?1: a JSON array of
-- [id, attempt before, due_at before, started_at before, deadline_at before].
UPDATE OR IGNORE requests SET
  state = 'pending',
  attempt = j.value ->> 1,
  due_at = j.value ->> 2,
  started_at = j.value ->> 3,
  deadline_at = j.value ->> 4
FROM json_each(?1) AS j
WHERE requests.id = j.value ->> 0 AND requests.attempt = (j.value ->> 1) + 1 AND requests.state = 'triggering'
