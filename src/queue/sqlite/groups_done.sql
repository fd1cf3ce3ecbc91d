-- Groups all of whose members have ended. ?1: a JSON array of keys. By primary key and requests_group_open.
SELECT g.group_key, g.trigger_name, g.arguments
FROM json_each(?1) AS j CROSS JOIN request_groups AS g ON g.group_key = j.value
WHERE g.completed_at IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM requests AS r INDEXED BY requests_group_open
    WHERE r.group_key = g.group_key AND r.group_key IS NOT NULL
      AND (r.state = 'pending' OR r.state = 'triggering' OR r.state = 'polling' OR r.state = 'collecting' OR r.state = 'uncertain')
  )
