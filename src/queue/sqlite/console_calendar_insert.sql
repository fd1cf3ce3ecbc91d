-- A new calendar ?1, in zone ?2, with description ?3.
INSERT INTO calendars (name, time_zone, description) VALUES (?1, ?2, ?3)
