-- The output of one request, as its bytes: the primary key.
SELECT body FROM outputs WHERE request_id = ?1
