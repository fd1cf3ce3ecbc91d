-- Who has the unique key ?2 of trigger ?1: an unfinished one before one that has ended, the last before others. By
-- requests_key.
SELECT id, state
FROM requests
WHERE trigger_name = ?1 AND unique_key = ?2
ORDER BY state IN ('pending', 'triggering', 'polling', 'collecting', 'uncertain') DESC, id DESC
LIMIT 1
