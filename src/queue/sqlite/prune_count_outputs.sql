-- How many outputs are past their time, of requests that stay. ?1: ended at or before, ?2: as for prune_count.sql. The outputs
-- from end to end, without their bodies; their requests by primary key.
SELECT count(*) FROM outputs AS o CROSS JOIN requests AS r NOT INDEXED ON r.id = o.request_id
WHERE r.finished_at IS NOT NULL AND r.finished_at <= ?1
  AND NOT EXISTS (
    SELECT 1 FROM requests AS w INDEXED BY requests_after
    WHERE w.after_id = o.request_id AND w.state = 'pending' AND w.held_by = 'after')
  AND NOT EXISTS (SELECT 1 FROM endings AS e WHERE e.request_id = o.request_id)
  AND NOT EXISTS (SELECT 1 FROM json_each(?2) AS j WHERE r.state = j.value ->> 0 AND r.finished_at <= j.value ->> 1)
