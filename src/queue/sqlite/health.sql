-- What the daemon last said of itself, and when the newest request was inserted. One row; the newest by the primary key.
SELECT version, started_at, ready_at, seen_at, (SELECT created_at FROM requests ORDER BY id DESC LIMIT 1) FROM daemon WHERE id = 1
