-- Every row that waits for a poll, by requests_due. Read once, at start; whose origin was not allowed is asked at once, since
-- this configuration may allow it.
SELECT id, CASE WHEN error_code = 'forbidden_origin' THEN 0 ELSE due_at END, trigger_name
FROM requests INDEXED BY requests_due
WHERE state IN ('polling', 'collecting') ORDER BY due_at
