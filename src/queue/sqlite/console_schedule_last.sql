-- The newest request of schedule ?1 is ?2. By primary key.
UPDATE schedules SET revision = revision + 1, last_request_id = ?2 WHERE name = ?1
