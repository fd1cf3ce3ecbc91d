-- What a hook is told of requests that have ended. ?1: a JSON array of ids, ?2: outputs of more bytes are not read. By primary
-- keys.
SELECT
  r.id, r.trigger_name, r.state, r.error_code, r.error_message, r.http_status, r.attempt, r.correlation_id, r.unique_key,
  r.priority, coalesce(o.truncated = 0 AND typeof(o.body) = 'text', 0),
  CASE WHEN o.truncated = 0 AND typeof(o.body) = 'text' AND octet_length(o.body) <= ?2 THEN o.body END
FROM json_each(?1) AS j CROSS JOIN requests AS r ON r.id = j.value LEFT JOIN outputs AS o ON o.request_id = r.id
