-- Who waits for requests that have ended. ?1: a JSON array of [id, whether all go on, or only those that wait for any end],
-- ?2: how many. By requests_after.
SELECT w.id, w.after_id, w.after_when = 'ended', w.after_argument IS NOT NULL, w.trigger_name
FROM json_each(?1) AS j CROSS JOIN requests AS w INDEXED BY requests_after ON w.after_id = j.value ->> 0
WHERE w.state = 'pending' AND w.held_by = 'after' AND (j.value ->> 1 OR w.after_when = 'ended')
LIMIT ?2
