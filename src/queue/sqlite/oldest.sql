-- Since when the longest waiting ready row of a trigger is ready. ?1: its name, ?2: now. The first entry of
-- requests_candidates for each priority in use, as in candidates.sql.
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
SELECT min((
  SELECT coalesce(r.due_at, r.run_at) FROM requests AS r INDEXED BY requests_candidates
  WHERE r.state = 'pending' AND r.held_by IS NULL AND r.trigger_name = ?1 AND r.priority = level.priority AND coalesce(r.due_at, r.run_at) <= ?2
  ORDER BY coalesce(r.due_at, r.run_at) LIMIT 1
))
FROM level WHERE level.priority IS NOT NULL
