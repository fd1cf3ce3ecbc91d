-- Finished requests by id. ?1: a JSON array of ids, ?2: ended at or before. By requests_finished, see prune.sql. What
-- follows from an end comes first.
DELETE FROM requests INDEXED BY requests_finished
WHERE finished_at IS NOT NULL AND finished_at <= ?2 AND id IN (SELECT value FROM json_each(?1))
  AND NOT EXISTS (SELECT 1 FROM endings AS e WHERE e.request_id = requests.id)
