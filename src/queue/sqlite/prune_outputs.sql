-- Outputs past their time, of requests that stay. ?1: ended at or before, ?2: how many. Only the oldest outputs are looked
-- at, by primary key, so that a pass that finds nothing costs nothing.
DELETE FROM outputs WHERE request_id IN (
  SELECT o.request_id
  FROM (SELECT request_id FROM outputs ORDER BY request_id LIMIT ?2) AS o
  JOIN requests AS r ON r.id = o.request_id
  WHERE r.finished_at IS NOT NULL AND r.finished_at <= ?1
)
