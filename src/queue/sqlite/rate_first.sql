-- The first firing after an instant. ?1: the trigger, ?2: the key, or empty, ?3: behind this number, ?4: the instant. By primary
-- key; what came before is walked over, and then taken out by rate_trim.sql.
SELECT CAST(seq AS INTEGER), CAST(at AS INTEGER) FROM rate_log WHERE trigger_name = ?1 AND key = ?2 AND seq > ?3 AND at > ?4 AND typeof(at) = 'integer' AND typeof(seq) = 'integer' ORDER BY seq LIMIT 1
