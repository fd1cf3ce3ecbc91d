-- A cancel of requests of a schedule. ?1: a JSON array of ids. By primary key.
-- How it is read: see record.sql.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET cancel_requested = 1
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value
  AND (requests.state = 'pending' OR requests.state = 'triggering' OR requests.state = 'polling' OR requests.state = 'collecting')
