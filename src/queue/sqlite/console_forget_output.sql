-- The output of what is begun anew. By primary key.
DELETE FROM outputs WHERE request_id = ?1
