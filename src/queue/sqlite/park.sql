-- Puts rows out of the way of those that may be fired. ?1: a JSON array of [id, what holds it back]. By primary key.
-- How it is read: see record.sql.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET held_by = j.value ->> 1
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value ->> 0 AND requests.state = 'pending' AND requests.held_by IS NULL
