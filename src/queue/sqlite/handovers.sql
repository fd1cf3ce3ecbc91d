-- Requests that others have made `polling`, as waiting.sql has those of a start. By the primary keys of a table that is
-- nearly always empty.
SELECT r.id, coalesce(r.due_at, 0), r.trigger_name
FROM handovers AS h CROSS JOIN requests AS r NOT INDEXED ON r.id = h.request_id
WHERE r.state IN ('polling', 'collecting')
