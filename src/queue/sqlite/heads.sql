-- The triggers that pending rows name: one look into requests_candidates for each name, however many rows there are.
-- known: the name is one of the table `triggers`; open: its rows may be fired.
WITH RECURSIVE head (name) AS (
  SELECT (
    SELECT trigger_name FROM requests INDEXED BY requests_candidates
    WHERE state = 'pending' AND held_by IS NULL ORDER BY trigger_name LIMIT 1
  )
  UNION ALL
  SELECT (
    SELECT r.trigger_name FROM requests AS r INDEXED BY requests_candidates
    WHERE r.state = 'pending' AND r.held_by IS NULL AND r.trigger_name > head.name ORDER BY r.trigger_name LIMIT 1
  )
  FROM head WHERE head.name IS NOT NULL
)
SELECT CAST(head.name AS BLOB), t.name IS NOT NULL, coalesce(t.active = 1 AND t.paused = 0, 0)
FROM head LEFT JOIN triggers AS t ON t.name = head.name
WHERE head.name IS NOT NULL
