-- What an operator found out about an uncertain request. ?1, ?2, ?3: id, state and attempt that were read; ?4: how it ended;
-- ?5, ?6: code and line for people; ?7: now. By primary key; it leaves requests_unique_unfinished.
UPDATE requests SET state = ?4, error_code = ?5, error_message = ?6, finished_at = ?7, due_at = NULL
WHERE id = ?1 AND state = ?2 AND attempt IS ?3
RETURNING id
