-- A calendar. ?1: its name. By primary key.
SELECT name, time_zone FROM calendars WHERE name = ?1
