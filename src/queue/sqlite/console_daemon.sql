-- The daemon of this file, if one ever ran. One row.
SELECT version, started_at, ready_at, seen_at, stopped_at FROM daemon WHERE id = 1
