-- Says whose request it is, and for which time: an error if that has one already (requests_fixed_more, requests_scheduled).
-- ?1: the request, ?2: the schedule, ?3: the time. By primary key.
UPDATE requests NOT INDEXED SET schedule_name = ?2, scheduled_at = ?3 WHERE id = ?1
