-- Dates that the calendars of the configuration did not have. ?1: as for plans_dates_delete.sql. Whether one is there: by its
-- primary key.
INSERT INTO calendar_dates (calendar, excluded_date)
SELECT j.value ->> 0, j.value ->> 1
FROM json_each(?1) AS j
WHERE NOT EXISTS (SELECT 1 FROM calendar_dates AS p WHERE p.calendar = j.value ->> 0 AND p.excluded_date = j.value ->> 1)
