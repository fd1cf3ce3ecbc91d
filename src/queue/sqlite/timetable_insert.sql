-- A request of a schedule. ?1: trigger, ?2: arguments, ?3: call mode, ?4: priority, ?5: run_at, ?6: the request that it waits for.
INSERT INTO requests (trigger_name, arguments, call_mode, priority, run_at, after_id, after_when)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, CASE WHEN ?6 IS NULL THEN 'succeeded' ELSE 'ended' END)
