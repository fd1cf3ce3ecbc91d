-- Pending rows that would never become ready, since what should be a time is none: their checks were switched off. In the
-- order of requests_wake the times from 10^13 up, then texts and blobs, come after all that is a time in milliseconds.
SELECT id FROM requests INDEXED BY requests_wake
WHERE state = 'pending' AND coalesce(due_at, run_at) >= 10000000000000
LIMIT 500
