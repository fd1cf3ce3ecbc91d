-- Dates that the calendars of the configuration do not have any more. ?1: a JSON array of the calendar and date of each that they
-- have. By the primary key, calendar after calendar.
DELETE FROM calendar_dates AS p
WHERE p.calendar IN (SELECT name FROM calendars WHERE owner = 'configuration')
  AND (p.calendar, p.excluded_date) NOT IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
