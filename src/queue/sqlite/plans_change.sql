-- Schedules of the configuration that fire something else or at other times than before, and those that come back to it. ?1: a JSON
-- array of objects, ?2: now. They count from now on: no time before is fired for. What is the operator's, and what is counted,
-- stays. By the name, the primary key.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE schedules AS p SET
  trigger_name = j.value ->> 'trigger_name', arguments = j.value ->> 'arguments', call_mode = j.value ->> 'call_mode',
  priority = j.value ->> 'priority', expression = j.value ->> 'expression', time_zone = j.value ->> 'time_zone',
  calendar = j.value ->> 'calendar', on_excluded = j.value ->> 'on_excluded', starts_at = j.value ->> 'starts_at',
  ends_at = j.value ->> 'ends_at', dst_gap = j.value ->> 'dst_gap', dst_overlap = j.value ->> 'dst_overlap',
  jitter = j.value ->> 'jitter', overlap = j.value ->> 'overlap', misfire = j.value ->> 'misfire',
  catch_up_window = j.value ->> 'catch_up_window', max_catch_up = j.value ->> 'max_catch_up',
  disable_after_launches = j.value ->> 'disable_after_launches', disable_after_faults = j.value ->> 'disable_after_faults',
  disable_grace = j.value ->> 'disable_grace', description = j.value ->> 'description',
  owner = 'configuration', active = 1, revision = p.revision + 1, look_at = 0, next_at = NULL, problem = NULL, words = NULL,
  last_at = max(coalesce(p.last_at, 0), ?2)
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND p.name = j.value ->> 'name' AND (p.active = 0 OR (
  p.trigger_name, p.arguments, p.call_mode, p.priority, p.expression, p.time_zone, p.calendar, p.on_excluded, p.starts_at,
  p.ends_at, p.dst_gap, p.dst_overlap, p.jitter
) IS NOT (
  j.value ->> 'trigger_name', j.value ->> 'arguments', j.value ->> 'call_mode', j.value ->> 'priority',
  j.value ->> 'expression', j.value ->> 'time_zone', j.value ->> 'calendar', j.value ->> 'on_excluded',
  j.value ->> 'starts_at', j.value ->> 'ends_at', j.value ->> 'dst_gap', j.value ->> 'dst_overlap', j.value ->> 'jitter'
))
