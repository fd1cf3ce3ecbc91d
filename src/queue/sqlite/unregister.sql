-- Triggers that left the configuration keep their row: requests name them. ?1: as for register.sql.
UPDATE triggers SET active = 0
WHERE active = 1 AND name NOT IN (SELECT j.value ->> 0 FROM json_each(?1) AS j)
