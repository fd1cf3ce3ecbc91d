-- Of firings that have left, one of which its row does not know: an intent is committed before its firing is noted. ?1: a JSON
-- array of [id, attempt]. By primary key.
SELECT r.id
FROM json_each(?1) AS j CROSS JOIN requests AS r ON r.id = j.value ->> 0
WHERE typeof(r.attempt) = 'integer' AND r.attempt < j.value ->> 1
LIMIT 1
