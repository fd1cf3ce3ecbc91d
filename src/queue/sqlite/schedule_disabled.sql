-- And tells of it. ?1: its name, ?2: what there were too many of, ?3: why, for people, ?4: the last such request, ?5: now.
INSERT INTO schedule_events (schedule_name, event, reason, note, request_id, at) VALUES (?1, 'disabled', ?2, ?3, ?4, ?5)
