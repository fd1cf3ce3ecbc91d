-- A schedule that cannot be used. ?1: its name, ?2: why. By primary key.
UPDATE schedules SET revision = revision + 1, problem = ?2, next_at = NULL WHERE name = ?1
