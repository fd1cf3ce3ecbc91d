-- Lets one go with the output of another among its arguments. ?1: its id, ?2: the arguments, which are an object by our own
-- check. What the schema would refuse is passed over: arguments nested deeper than its json_valid goes. By primary key.
UPDATE OR IGNORE requests SET held_by = NULL, arguments = ?2
WHERE id = ?1 AND state = 'pending' AND held_by = 'after' AND attempt = 0 AND json_valid(?2)
RETURNING id
