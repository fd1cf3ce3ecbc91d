-- Pauses a schedule. ?1: its name, ?2: why, for people. By primary key.
UPDATE schedules SET revision = revision + 1, paused = 1, paused_reason = ?2 WHERE name = ?1
