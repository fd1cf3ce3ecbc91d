-- Uncertain requests past their time: nobody will settle them any more. Only then may they be deleted, unless somebody waits
-- for them, which sees their end first. ?1: ended at or
-- before, ?2: how many. By requests_finished, see prune.sql.
UPDATE requests INDEXED BY requests_finished SET state = 'failed'
WHERE finished_at IS NOT NULL AND finished_at <= ?1 AND state = 'uncertain' AND id IN (
  SELECT id FROM requests INDEXED BY requests_finished
  WHERE finished_at IS NOT NULL AND finished_at <= ?1 AND state = 'uncertain'
  ORDER BY finished_at LIMIT ?2
) RETURNING id
