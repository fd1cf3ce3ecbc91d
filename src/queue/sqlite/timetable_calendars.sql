-- Calendars that have changed since the daemon looked. By calendars_changed.
SELECT name, time_zone, revision FROM calendars WHERE revision <> seen_revision
