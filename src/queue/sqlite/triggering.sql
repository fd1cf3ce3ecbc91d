-- Every row in `triggering`: few, by requests_triggering.
SELECT id, CAST(attempt AS INTEGER) FROM requests INDEXED BY requests_triggering WHERE state = 'triggering' ORDER BY id
