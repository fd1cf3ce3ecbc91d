-- Lets requests go that have waited for others. ?1: a JSON array of ids. By primary key.
-- How it is read, and OR IGNORE: see record.sql.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET held_by = NULL
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value AND requests.state = 'pending' AND requests.held_by = 'after'
