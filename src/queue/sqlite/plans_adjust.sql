-- Schedules of the configuration of which only the rest is another one, or that were somebody else's: they go on where they were.
-- ?1: as for plans_change.sql, which comes before. By the name, the primary key.
WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))
UPDATE schedules AS p SET
  overlap = j.value ->> 'overlap', misfire = j.value ->> 'misfire', catch_up_window = j.value ->> 'catch_up_window',
  max_catch_up = j.value ->> 'max_catch_up', disable_after_launches = j.value ->> 'disable_after_launches',
  disable_after_faults = j.value ->> 'disable_after_faults', disable_grace = j.value ->> 'disable_grace',
  description = j.value ->> 'description',
  owner = 'configuration', revision = p.revision + 1
FROM j
WHERE likelihood(j.value IS NOT NULL, 0.000001) AND p.name = j.value ->> 'name' AND (p.owner <> 'configuration' OR (
  p.overlap, p.misfire, p.catch_up_window, p.max_catch_up, p.disable_after_launches, p.disable_after_faults,
  p.disable_grace, p.description
) IS NOT (
  j.value ->> 'overlap', j.value ->> 'misfire', j.value ->> 'catch_up_window', j.value ->> 'max_catch_up',
  j.value ->> 'disable_after_launches', j.value ->> 'disable_after_faults', j.value ->> 'disable_grace',
  j.value ->> 'description'
))
