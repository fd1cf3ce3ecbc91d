-- Forgets firings that no rate counts any more. ?1: the trigger, ?2: the key, or empty, ?3: up to this number. By primary key.
DELETE FROM rate_log WHERE trigger_name = ?1 AND key = ?2 AND seq <= ?3
