-- What triggers are doing. ?1: a JSON array of arrays, whose columns are named below, ?2: now.
INSERT INTO trigger_status (trigger_name, slots_used, waiting_for, waiting_on, waiting_since, waiting_until, oldest_ready_at, updated_at)
SELECT
  j.value ->> 0, -- trigger_name
  j.value ->> 1, -- slots_used
  j.value ->> 2, -- waiting_for
  j.value ->> 3, -- waiting_on
  j.value ->> 4, -- waiting_since
  j.value ->> 5, -- waiting_until
  j.value ->> 6, -- oldest_ready_at
  ?2
FROM json_each(?1) AS j
WHERE true -- else ON would be a join's
ON CONFLICT (trigger_name) DO UPDATE SET
  slots_used = excluded.slots_used,
  waiting_for = excluded.waiting_for,
  waiting_on = excluded.waiting_on,
  waiting_since = excluded.waiting_since,
  waiting_until = excluded.waiting_until,
  oldest_ready_at = excluded.oldest_ready_at,
  updated_at = excluded.updated_at
