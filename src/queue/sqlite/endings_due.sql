-- Ends that must still be looked at, those that are due. ?1: now, ?2: how many. By endings_look.
SELECT request_id, whole FROM endings INDEXED BY endings_look WHERE look_at <= ?1 ORDER BY look_at LIMIT ?2
