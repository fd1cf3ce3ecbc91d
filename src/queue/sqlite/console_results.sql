-- How the requests of ?1, a JSON list of ids, stand: all that producers read, at two primary-key look-ups each.
SELECT
  id, trigger_name, state, is_final, output, error_code, error_message, http_status, call_mode, attempt, correlation_id, unique_key,
  created, started, finished, duration_ms
FROM results
WHERE id IN (SELECT value FROM json_each(?1))
ORDER BY id
