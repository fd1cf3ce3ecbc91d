-- Requests whose end is due: cancels still to be carried out, and pending ones that expired or are late. ?1: now. One
-- partial index each (requests_cancels, requests_expires, requests_deadline), so nothing else is walked over. The second
-- column: whether a firing is under way, whose end decides.
SELECT id, 1 FROM (
  SELECT id FROM requests INDEXED BY requests_cancels
  WHERE cancel_requested = 1
    AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting') AND state = 'triggering'
  LIMIT 5000
)
UNION
SELECT id, 0 FROM (
  SELECT id FROM requests INDEXED BY requests_cancels
  WHERE cancel_requested = 1
    AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting') AND state <> 'triggering'
  LIMIT 500
)
UNION
SELECT id, 0 FROM (
  SELECT id FROM requests INDEXED BY requests_expires
  WHERE state = 'pending' AND expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT 500
)
UNION
SELECT id, 0 FROM (
  SELECT id FROM requests INDEXED BY requests_deadline
  WHERE state = 'pending' AND deadline_at IS NOT NULL AND deadline_at <= ?1 ORDER BY deadline_at LIMIT 500
)
