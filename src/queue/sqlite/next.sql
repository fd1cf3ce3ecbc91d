-- When a pending row will next become ready, expire or be late, or an end must be looked at. ?1: now. The first entry after
-- now of requests_wake, requests_expires, requests_deadline and endings_look.
SELECT min(at) FROM (
  SELECT (
    SELECT coalesce(due_at, run_at) FROM requests INDEXED BY requests_wake
    WHERE state = 'pending' AND coalesce(due_at, run_at) > ?1 ORDER BY coalesce(due_at, run_at) LIMIT 1
  ) AS at
  UNION ALL
  SELECT (
    SELECT expires_at FROM requests INDEXED BY requests_expires
    WHERE state = 'pending' AND expires_at IS NOT NULL AND expires_at > ?1 ORDER BY expires_at LIMIT 1
  )
  UNION ALL
  SELECT (
    SELECT deadline_at FROM requests INDEXED BY requests_deadline
    WHERE state = 'pending' AND deadline_at IS NOT NULL AND deadline_at > ?1 ORDER BY deadline_at LIMIT 1
  )
  UNION ALL
  SELECT (SELECT look_at FROM endings INDEXED BY endings_look WHERE look_at > ?1 ORDER BY look_at LIMIT 1)
)
