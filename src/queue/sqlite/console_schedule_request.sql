-- A request of a schedule, as a producer would insert it; the schema has its say. ?1: the trigger, ?2: arguments, ?3: call
-- mode, ?4: priority, ?5: the request to whose end it waits, or NULL. By the primary keys of triggers and requests.
INSERT INTO requests (trigger_name, arguments, call_mode, priority, after_id, after_when)
VALUES (?1, ?2, ?3, ?4, ?5, CASE WHEN ?5 IS NULL THEN 'succeeded' ELSE 'ended' END)
