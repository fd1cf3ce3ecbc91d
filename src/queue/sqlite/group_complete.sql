-- A group is complete. ?1: its key, ?2: now, ?3: the request that was inserted for it. By primary key.
UPDATE request_groups SET completed_at = ?2, request_id = ?3 WHERE group_key = ?1
