-- Outputs past their time, of requests that stay. ?1: ended at or before, ?2: behind this request, ?3: up to this one. By primary
-- key, and their requests too; which outputs are old is not in the order of their ids, so a pass walks through all of them.
-- One that somebody waits for stays.
DELETE FROM outputs
WHERE request_id > ?2 AND request_id <= ?3
  AND EXISTS (
    SELECT 1 FROM requests AS r NOT INDEXED
    WHERE r.id = outputs.request_id AND r.finished_at IS NOT NULL AND r.finished_at <= ?1
  )
  AND NOT EXISTS (
    SELECT 1 FROM requests AS w INDEXED BY requests_after
    WHERE w.after_id = outputs.request_id AND w.state = 'pending' AND w.held_by = 'after')
  AND NOT EXISTS (SELECT 1 FROM endings AS e WHERE e.request_id = outputs.request_id)
