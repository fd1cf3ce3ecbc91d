-- Calendars that left the configuration. ?1: a JSON array of the names of the others. Reads all calendars. Their dates are gone
-- before, and no schedule names them, see plans_dates_delete.sql and plans_calendar_leave.sql.
DELETE FROM calendars AS p WHERE p.owner = 'configuration' AND p.name NOT IN (SELECT value FROM json_each(?1))
