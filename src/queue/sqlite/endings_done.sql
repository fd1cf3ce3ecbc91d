-- Ends that were looked at. ?1: a JSON array of ids. By primary key.
DELETE FROM endings WHERE request_id IN (SELECT value FROM json_each(?1))
