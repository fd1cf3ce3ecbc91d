-- Bad rows end alone. ?1: a JSON array of [id, what is wrong], ?2: now. By primary key.
UPDATE OR IGNORE requests SET
  state = 'rejected', due_at = NULL, error_code = 'invalid_request', error_message = j.value ->> 1, finished_at = ?2
FROM json_each(?1) AS j
WHERE requests.id = j.value ->> 0 AND requests.state = 'pending'
