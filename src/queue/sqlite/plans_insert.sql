-- Schedules of the configuration that are new. ?1: as for plans_change.sql, ?2: now. Whether one is there: by its primary key.
INSERT INTO schedules (
  name, trigger_name, arguments, call_mode, priority, expression, time_zone, calendar, on_excluded, starts_at, ends_at,
  dst_gap, dst_overlap, jitter, overlap, misfire, catch_up_window, max_catch_up, disable_after_launches,
  disable_after_faults, disable_grace, description, owner, created_at, revision
)
SELECT
  j.value ->> 'name', j.value ->> 'trigger_name', j.value ->> 'arguments', j.value ->> 'call_mode', j.value ->> 'priority',
  j.value ->> 'expression', j.value ->> 'time_zone', j.value ->> 'calendar', j.value ->> 'on_excluded',
  j.value ->> 'starts_at', j.value ->> 'ends_at', j.value ->> 'dst_gap', j.value ->> 'dst_overlap', j.value ->> 'jitter',
  j.value ->> 'overlap', j.value ->> 'misfire', j.value ->> 'catch_up_window', j.value ->> 'max_catch_up',
  j.value ->> 'disable_after_launches', j.value ->> 'disable_after_faults', j.value ->> 'disable_grace',
  j.value ->> 'description', 'configuration', ?2, 1
FROM json_each(?1) AS j
WHERE NOT EXISTS (SELECT 1 FROM schedules AS p WHERE p.name = j.value ->> 'name')
