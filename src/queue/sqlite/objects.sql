-- What the schema holds, as it was written down, without SQLite's own and the migrator's. By walking over sqlite_schema, which
-- is short.
SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema
WHERE name NOT GLOB 'sqlite_*' AND name <> '_sqlx_migrations'
