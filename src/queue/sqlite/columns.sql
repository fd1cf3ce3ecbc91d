-- The columns of each table. By walking over sqlite_schema, which is short.
SELECT t.name, c.name, c.type || ' ' || c."notnull" || ' ' || c.pk || ' ' || c.hidden
FROM sqlite_schema AS t CROSS JOIN pragma_table_xinfo(t.name) AS c
WHERE t.type = 'table' AND t.name NOT GLOB 'sqlite_*' AND t.name <> '_sqlx_migrations'
