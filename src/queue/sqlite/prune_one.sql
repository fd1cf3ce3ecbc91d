-- One finished request. ?1: its id.
DELETE FROM requests WHERE id = ?1
