-- A request that follows from the end of another. ?1: its trigger, ?2: arguments, which are an object by our own check, ?3:
-- correlation id, ?4: priority, ?5: now, so that it is ready whatever the clock has done. What the schema would refuse is not
-- inserted; then no id is answered. By primary key.
INSERT INTO requests (trigger_name, arguments, correlation_id, priority, run_at)
SELECT t.name, ?2, ?3, ?4, min(max(?5, 1000000000000), 9999999999999)
FROM triggers AS t
WHERE t.name = ?1 AND t.active = 1 AND octet_length(?2) <= t.max_arguments AND json_valid(?2)
RETURNING id
