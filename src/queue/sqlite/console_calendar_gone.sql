-- Takes out of calendar ?1 what is not in ?2, a JSON list of dates: a range of the primary key.
DELETE FROM calendar_dates WHERE calendar = ?1 AND excluded_date NOT IN (SELECT value FROM json_each(?2))
