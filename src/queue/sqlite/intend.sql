-- The intent: from here on a row may have been fired. ?1: a JSON array of [id, deadline of the round if it begins now],
-- ?2: now. By primary key; everything that candidates.sql believed is checked again.
-- How it is read: see record.sql.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE OR IGNORE requests NOT INDEXED SET
  state = 'triggering',
  attempt = attempt + 1,
  due_at = NULL,
  started_at = coalesce(started_at, ?2),
  deadline_at = coalesce(deadline_at, j.value ->> 1),
  -- Whose deadline it is must be known also after a crash that comes next. Before there is one, nothing is remembered.
  progress = CASE WHEN deadline_at IS NULL THEN '{"counted_deadline":true}' ELSE progress END
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND requests.id = j.value ->> 0
  AND requests.state = 'pending'
  AND coalesce(requests.due_at, requests.run_at) <= ?2
  AND requests.cancel_requested = 0
  AND (requests.expires_at IS NULL OR requests.expires_at > ?2)
  AND (requests.deadline_at IS NULL OR requests.deadline_at > ?2)
  AND EXISTS (SELECT 1 FROM triggers AS t WHERE t.name = requests.trigger_name AND t.active = 1 AND t.paused = 0)
RETURNING requests.id
