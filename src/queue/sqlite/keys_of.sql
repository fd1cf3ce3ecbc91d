-- The concurrency keys of requests. ?1: a JSON array of ids, ?2: a JSON array of the triggers that limit keys. By primary key.
SELECT DISTINCT r.trigger_name, r.concurrency_key
FROM json_each(?1) AS j CROSS JOIN requests AS r ON r.id = j.value
WHERE r.concurrency_key IS NOT NULL AND r.trigger_name IN (SELECT value FROM json_each(?2))
