-- They were. ?1: a JSON array of keys. By primary key.
UPDATE request_groups SET looked = 1 WHERE group_key IN (SELECT value FROM json_each(?1))
