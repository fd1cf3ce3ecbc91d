-- Calendars of the configuration that are new. ?1: as for plans_calendar_change.sql. Whether one is there: by its primary key.
INSERT INTO calendars (name, time_zone, description, owner)
SELECT j.value ->> 'name', j.value ->> 'time_zone', j.value ->> 'description', 'configuration'
FROM json_each(?1) AS j
WHERE NOT EXISTS (SELECT 1 FROM calendars AS p WHERE p.name = j.value ->> 'name')
