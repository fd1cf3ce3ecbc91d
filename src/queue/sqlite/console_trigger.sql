-- One trigger, by primary key.
SELECT name, active, paused, paused_reason FROM triggers WHERE name = ?1
