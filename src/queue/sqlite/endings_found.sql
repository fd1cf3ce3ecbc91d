-- What somebody waits for although it has ended, or is gone: at a start nothing is believed. By requests_after, which holds
-- nothing but who waits, and by primary key.
INSERT OR IGNORE INTO endings (request_id)
SELECT w.after_id FROM requests AS w INDEXED BY requests_after LEFT JOIN requests AS p NOT INDEXED ON p.id = w.after_id
WHERE w.state = 'pending' AND w.held_by = 'after' AND typeof(w.after_id) = 'integer'
  AND (p.id IS NULL OR (p.state <> 'pending' AND p.state <> 'triggering' AND p.state <> 'polling' AND p.state <> 'collecting'))
