-- The last firing of a trigger, or of a key of it, that its rate counts. ?1: the trigger, ?2: the key, or empty. By primary key.
SELECT CAST(seq AS INTEGER), CAST(at AS INTEGER) FROM rate_log WHERE trigger_name = ?1 AND key = ?2 AND typeof(at) = 'integer' AND typeof(seq) = 'integer' AND seq < 4611686018427387904 ORDER BY seq DESC LIMIT 1
