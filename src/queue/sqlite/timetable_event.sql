-- What became of times of a schedule. ?1: the schedule, ?2: the first time, ?3: the last one of several, ?4: how many, ?5: event,
-- ?6: reason, ?7: for people, ?8: the request, ?9: now.
INSERT INTO schedule_events (schedule_name, nominal_at, last_at, times, event, reason, note, request_id, at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
