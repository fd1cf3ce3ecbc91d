-- Calendars that left the configuration and that a schedule names: they stay, as rows of whoever uses SQL. ?1: a JSON array of the
-- names of the others. Reads all calendars, and for each looks once into schedules_calendar.
UPDATE calendars AS p SET owner = 'sql'
WHERE p.owner = 'configuration' AND p.name NOT IN (SELECT value FROM json_each(?1))
  AND EXISTS (SELECT 1 FROM schedules AS r INDEXED BY schedules_calendar WHERE r.calendar = p.name)
RETURNING name
