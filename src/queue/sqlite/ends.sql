-- Of requests that have ended, those of which something follows. ?1: a JSON array of [id, whether all of it is still to be done],
-- ?2: a JSON array of [trigger, state] of the hooks; NULL: there are none. A request that is gone has no state. By primary key and
-- requests_after; and where nobody waits, counts or hooks at all, which the first look says, nothing else is read.
SELECT
  j.value ->> 0, j.value ->> 1, r.trigger_name, r.state, r.error_code, r.deadline_at, r.group_key, r.schedule_name,
  EXISTS (
    SELECT 1 FROM requests AS w INDEXED BY requests_after
    WHERE w.after_id = j.value ->> 0 AND w.state = 'pending' AND w.held_by = 'after'
  ) AS is_awaited
FROM json_each(?1) AS j LEFT JOIN requests AS r NOT INDEXED ON r.id = j.value ->> 0
WHERE (
    ?2 IS NOT NULL
    OR EXISTS (SELECT 1 FROM requests INDEXED BY requests_after WHERE state = 'pending' AND held_by = 'after')
    OR EXISTS (SELECT 1 FROM request_groups INDEXED BY request_groups_open WHERE completed_at IS NULL)
    OR EXISTS (SELECT 1 FROM schedules)
  )
  AND (
    is_awaited
    OR r.group_key IS NOT NULL
    OR (j.value ->> 1 AND r.schedule_name IS NOT NULL)
    OR (j.value ->> 1 AND EXISTS (
      SELECT 1 FROM json_each(?2) AS h WHERE h.value ->> 0 = r.trigger_name AND h.value ->> 1 = r.state))
  )
