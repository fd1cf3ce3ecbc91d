-- Tells ready rows why nothing is sent for them. ?1: a JSON array of ids, ?2: the code, ?3: the message. A row that has the
-- code already is not written again.
-- How it is read: see record.sql.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET
  error_code = ?2,
  error_message = ?3
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value
  AND requests.state = 'pending' AND requests.error_code IS NOT ?2
