-- The dates of a calendar. ?1: its name. By primary key.
SELECT excluded_date FROM calendar_dates WHERE calendar = ?1
