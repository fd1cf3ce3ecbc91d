-- The priorities that a trigger has ready rows of: the how manieth of its priorities that is, the highest first, the priority,
-- and the earliest ready time. ?1: its name, ?2: now. requests_candidates is entered twice for each priority in use: rows that
-- are not ready yet, or are held back, are never walked over. CAST: what should be a number may be none.
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
  FROM level WHERE level.priority IS NOT NULL
)
SELECT n, CAST(priority AS INTEGER), CAST(ready AS INTEGER) FROM (
  SELECT n, priority, (
    SELECT coalesce(r.due_at, r.run_at) FROM requests AS r INDEXED BY requests_candidates
    WHERE r.state = 'pending' AND r.held_by IS NULL AND r.trigger_name = ?1 AND r.priority = level.priority AND coalesce(r.due_at, r.run_at) <= ?2
    ORDER BY coalesce(r.due_at, r.run_at) LIMIT 1
  ) AS ready
  FROM level WHERE level.priority IS NOT NULL
)
WHERE ready IS NOT NULL
