-- The dates of calendar ?1, in order: a range of the primary key.
SELECT excluded_date FROM calendar_dates WHERE calendar = ?1 ORDER BY excluded_date
