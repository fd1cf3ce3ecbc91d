-- The firings of one request, oldest first: a range of the primary key, in its order.
SELECT round, attempt, started_at, ended_at, outcome, http_status, error_code, error_message, status_uri
FROM attempts
WHERE request_id = ?1
ORDER BY attempt
