-- Schedules that left the configuration keep their row: requests name them. ?1: a JSON array of the names of the others. Reads all
-- schedules.
UPDATE schedules AS p SET active = 0, revision = p.revision + 1, look_at = NULL, next_at = NULL
WHERE p.owner = 'configuration' AND p.active = 1 AND p.name NOT IN (SELECT value FROM json_each(?1))
