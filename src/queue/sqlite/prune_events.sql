-- Forgets what became of times of schedules long ago, some at a time, the oldest first: ids are given in the order of time. ?1:
-- decided at or before, ?2: how many to look at. By primary key.
DELETE FROM schedule_events WHERE id IN (SELECT id FROM schedule_events ORDER BY id LIMIT ?2) AND at <= ?1
