-- Takes requests out that the daemon follows by now. ?1: a JSON array of ids; NULL: all.
DELETE FROM handovers WHERE ?1 IS NULL OR request_id IN (SELECT value FROM json_each(?1))
