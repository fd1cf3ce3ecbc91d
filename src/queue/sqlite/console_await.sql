-- A request that has waited for another, and ended before that let it go, waits anew. ?1: its id. By primary key; the daemon looks
-- at what it waits for.
INSERT INTO endings (request_id)
SELECT after_id FROM requests WHERE id = ?1 AND state = 'pending' AND held_by = 'after' AND typeof(after_id) = 'integer'
ON CONFLICT (request_id) DO UPDATE SET look_at = 0
