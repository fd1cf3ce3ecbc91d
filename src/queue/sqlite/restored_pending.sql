-- How many requests wait to be fired. By requests_wake, from end to end; it holds nothing else.
SELECT count(*) FROM requests INDEXED BY requests_wake WHERE state = 'pending'
