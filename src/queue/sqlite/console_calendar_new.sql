-- Puts into calendar ?1 what of ?2, a JSON list of dates, is not in it. By primary key.
INSERT INTO calendar_dates (calendar, excluded_date)
SELECT ?1, j.value FROM json_each(?2) AS j
WHERE NOT EXISTS (SELECT 1 FROM calendar_dates AS d WHERE d.calendar = ?1 AND d.excluded_date = j.value)
