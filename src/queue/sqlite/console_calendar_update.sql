-- Another zone ?2 and description ?3 for calendar ?1, where these are not NULL. By primary key.
UPDATE calendars SET time_zone = coalesce(?2, time_zone), description = coalesce(?3, description) WHERE name = ?1
