-- Ready rows of one trigger, higher priority first, then ready time, then id. ?1: its name, ?2: now, ?3: how many.
-- requests_candidates is entered once for each priority in use (the recursion yields them in falling order, and the join is
-- CROSS so that it stays the outer loop): rows that are not ready yet are never walked over.
WITH RECURSIVE level (priority) AS (
  SELECT (
    SELECT priority FROM requests INDEXED BY requests_candidates
    WHERE state = 'pending' AND held_by IS NULL AND trigger_name = ?1 ORDER BY priority DESC LIMIT 1
  )
  UNION ALL
  SELECT (
    SELECT r.priority FROM requests AS r INDEXED BY requests_candidates
    WHERE r.state = 'pending' AND r.held_by IS NULL AND r.trigger_name = ?1 AND r.priority < level.priority ORDER BY r.priority DESC LIMIT 1
  )
  FROM level WHERE level.priority IS NOT NULL
)
SELECT r.id
FROM level CROSS JOIN requests AS r INDEXED BY requests_candidates
WHERE r.state = 'pending' AND r.held_by IS NULL AND r.trigger_name = ?1 AND r.priority = level.priority
  AND coalesce(r.due_at, r.run_at) <= ?2
  AND r.cancel_requested <> 1 -- what is neither 0 nor 1 is found to be bad when it is read
  AND (r.expires_at IS NULL OR r.expires_at > ?2)
  AND (r.deadline_at IS NULL OR r.deadline_at > ?2)
  AND EXISTS (SELECT 1 FROM triggers AS t WHERE t.name = ?1 AND t.active = 1 AND t.paused = 0)
LIMIT ?3
