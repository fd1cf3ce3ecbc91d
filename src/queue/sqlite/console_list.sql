-- The newest requests, of state ?1 and trigger ?2 where these are not NULL. Walks back over the primary key until there
-- are ?3: quick for what is common, a walk over the whole table for a final state that is rare. Unfinished states have
-- console_list_open.sql.
SELECT id, trigger_name, state, attempt, error_code, run_at, created_at, started_at, finished_at
FROM requests
WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR trigger_name = ?2)
ORDER BY id DESC
LIMIT ?3
