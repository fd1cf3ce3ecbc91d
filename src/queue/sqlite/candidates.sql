-- Ready rows of one trigger and one priority, by ready time, then id, with the ready time. ?1: its name, ?2: now, ?3: how
-- many, ?4: the how manieth of its priorities, see levels.sql. By requests_candidates, which has no row that is held back.
WITH RECURSIVE level (n, priority) AS (
  SELECT 0, (
    SELECT priority FROM requests INDEXED BY requests_candidates
    WHERE state = 'pending' AND held_by IS NULL AND trigger_name = ?1 ORDER BY priority DESC LIMIT 1
  )
  UNION ALL
  SELECT n + 1, (
    SELECT r.priority FROM requests AS r INDEXED BY requests_candidates
    WHERE r.state = 'pending' AND r.held_by IS NULL AND r.trigger_name = ?1 AND r.priority < level.priority ORDER BY r.priority DESC LIMIT 1
  )
  FROM level WHERE level.priority IS NOT NULL AND n < ?4
)
SELECT r.id, CAST(coalesce(r.due_at, r.run_at) AS INTEGER)
FROM requests AS r INDEXED BY requests_candidates
WHERE r.state = 'pending' AND r.held_by IS NULL AND r.trigger_name = ?1 AND r.priority = (SELECT priority FROM level WHERE n = ?4)
  AND coalesce(r.due_at, r.run_at) <= ?2
  AND r.cancel_requested <> 1 -- what is neither 0 nor 1 is found to be bad when it is read
  AND (r.expires_at IS NULL OR r.expires_at > ?2)
  AND (r.deadline_at IS NULL OR r.deadline_at > ?2)
  AND EXISTS (SELECT 1 FROM triggers AS t WHERE t.name = ?1 AND t.active = 1 AND t.paused = 0)
ORDER BY coalesce(r.due_at, r.run_at)
LIMIT ?3
