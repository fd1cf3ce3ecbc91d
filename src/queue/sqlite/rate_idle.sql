-- Forgets firings of a trigger that no rate counts any more, of whatever key. ?1: the trigger, ?2: up to this instant, ?3: how
-- many. By rate_log_at.
DELETE FROM rate_log WHERE (trigger_name, key, seq) IN (
  SELECT trigger_name, key, seq FROM rate_log INDEXED BY rate_log_at WHERE trigger_name = ?1 AND at <= ?2 LIMIT ?3
)
