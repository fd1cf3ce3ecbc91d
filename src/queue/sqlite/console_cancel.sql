-- A cancel, as a producer would ask for it. ?1, ?2, ?3: id, state and attempt that were read. By primary key.
UPDATE requests SET cancel_requested = 1 WHERE id = ?1 AND state = ?2 AND attempt IS ?3
RETURNING id
