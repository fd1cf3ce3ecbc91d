-- Keys that hold rows back, in the order of their index, behind one of them; and a row of each. ?1: a trigger, ?2: a key, ?3: how many. Two looks
-- into requests_held for each (the next key of the trigger, else the first of the next trigger), however many rows it holds back.
WITH RECURSIVE head (id) AS (
  SELECT (
    SELECT id FROM requests INDEXED BY requests_held
    WHERE state = 'pending' AND (held_by = 'key' OR held_by = 'order' OR held_by = 'rate')
      AND (trigger_name, concurrency_key) > (?1, ?2)
    ORDER BY trigger_name, concurrency_key LIMIT 1
  )
  UNION ALL
  SELECT coalesce((
    SELECT n.id FROM requests AS n INDEXED BY requests_held
    WHERE n.state = 'pending' AND (n.held_by = 'key' OR n.held_by = 'order' OR n.held_by = 'rate')
      AND n.trigger_name = r.trigger_name AND n.concurrency_key > r.concurrency_key
    ORDER BY n.concurrency_key LIMIT 1
  ), (
    SELECT n.id FROM requests AS n INDEXED BY requests_held
    WHERE n.state = 'pending' AND (n.held_by = 'key' OR n.held_by = 'order' OR n.held_by = 'rate')
      AND n.trigger_name > r.trigger_name
    ORDER BY n.trigger_name, n.concurrency_key LIMIT 1
  ))
  FROM head CROSS JOIN requests AS r ON r.id = head.id
  LIMIT ?3
)
SELECT r.trigger_name, r.concurrency_key, r.id FROM head CROSS JOIN requests AS r ON r.id = head.id
