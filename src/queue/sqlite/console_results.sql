-- How the requests of ?1, a JSON list of ids, stand: two primary-key look-ups each, in the order of the ids.
SELECT id, trigger_name, state, is_final, error_code, error_message, attempt, duration_ms
FROM results
WHERE id IN (SELECT value FROM json_each(?1))
ORDER BY id
