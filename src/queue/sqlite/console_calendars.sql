-- Calendars, with how much is in each and which schedules name it: the one named ?1, or all if that is NULL. Dates by their
-- primary key, schedules by schedules_calendar; of calendars there are few.
SELECT
  c.name, c.time_zone, c.description, c.owner, c.problem,
  (SELECT count(*) FROM calendar_dates AS d WHERE d.calendar = c.name) AS dates,
  (SELECT min(excluded_date) FROM calendar_dates AS d WHERE d.calendar = c.name) AS first_date,
  (SELECT max(excluded_date) FROM calendar_dates AS d WHERE d.calendar = c.name) AS last_date,
  (SELECT group_concat(n, ', ') FROM (SELECT s.name AS n FROM schedules AS s WHERE s.calendar = c.name ORDER BY s.name)) AS schedules
FROM calendars AS c
WHERE ?1 IS NULL OR c.name = ?1
ORDER BY c.name
