-- Finished requests by id. ?1: a JSON array of ids.
DELETE FROM requests WHERE id IN (SELECT value FROM json_each(?1))
