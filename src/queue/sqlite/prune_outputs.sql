-- Outputs past their time, of requests that stay. ?1: ended at or before, ?2: how many. Only the oldest outputs are looked
-- at, and their requests by primary key, so that a pass that finds nothing costs nothing.
DELETE FROM outputs
WHERE request_id <= (SELECT max(request_id) FROM (SELECT request_id FROM outputs ORDER BY request_id LIMIT ?2))
  AND EXISTS (
    SELECT 1 FROM requests AS r NOT INDEXED
    WHERE r.id = outputs.request_id AND r.finished_at IS NOT NULL AND r.finished_at <= ?1
  )
