-- A start of the daemon: a new epoch. ?1: the program's version, ?2: now.
UPDATE daemon SET version = ?1, epoch = epoch + 1, started_at = ?2, ready_at = NULL, seen_at = ?2, stopped_at = NULL WHERE id = 1
RETURNING instance_id, epoch
