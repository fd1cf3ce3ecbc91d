-- One output that is too long for the list of outputs.sql. ?1 to ?5: the columns in their order.
INSERT OR REPLACE INTO outputs (request_id, content_type, bytes, truncated, body) VALUES (?1, ?2, ?3, ?4, ?5)
