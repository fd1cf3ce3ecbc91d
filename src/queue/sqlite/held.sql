-- The first rows that a key holds back. ?1: the trigger, ?2: the key, ?3: how many. By requests_held.
SELECT id FROM requests INDEXED BY requests_held
WHERE state = 'pending' AND (held_by = 'key' OR held_by = 'order' OR held_by = 'rate') AND trigger_name = ?1 AND concurrency_key = ?2
ORDER BY priority DESC, coalesce(due_at, run_at) LIMIT ?3
