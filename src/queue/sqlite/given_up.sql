-- Uncertain requests that retention has given up, and of whose end something may follow, are to be looked at. ?1: a JSON array of
-- ids. By primary key and requests_after.
INSERT INTO endings (request_id)
SELECT r.id FROM json_each(?1) AS j CROSS JOIN requests AS r NOT INDEXED ON r.id = j.value
WHERE r.group_key IS NOT NULL
  OR EXISTS (
    SELECT 1 FROM requests AS w INDEXED BY requests_after
    WHERE w.after_id = r.id AND w.state = 'pending' AND w.held_by = 'after')
ON CONFLICT (request_id) DO UPDATE SET look_at = 0
RETURNING request_id
