-- Tells of a request in the history of schedule ?1. ?2: the time it is of, or NULL; ?3: why; ?4: the request.
INSERT INTO schedule_events (schedule_name, nominal_at, event, reason, request_id, at)
VALUES (?1, ?2, 'fired', ?3, ?4, CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER))
