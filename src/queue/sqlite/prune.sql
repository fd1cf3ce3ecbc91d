-- Finished requests past their time, oldest first, a few at a time; their outputs and attempts go with them (a SQL trigger).
-- ?1: the state, ?2: ended at or before, ?3: how many. By requests_finished, which has the state: what is kept longer is
-- passed over without being read. What somebody waits for stays, and what still has something to follow from it. Named twice,
-- else a table that was ANALYZEd when it had few rows is read from end to end.
DELETE FROM requests INDEXED BY requests_finished
WHERE finished_at IS NOT NULL AND finished_at <= ?2 AND state = ?1 AND id IN (
  SELECT id FROM requests INDEXED BY requests_finished
  WHERE finished_at IS NOT NULL AND finished_at <= ?2 AND state = ?1
    AND NOT EXISTS (
      SELECT 1 FROM requests AS w INDEXED BY requests_after
      WHERE w.after_id = requests.id AND w.state = 'pending' AND w.held_by = 'after')
    AND NOT EXISTS (SELECT 1 FROM endings AS e WHERE e.request_id = requests.id)
  ORDER BY finished_at LIMIT ?3
)
