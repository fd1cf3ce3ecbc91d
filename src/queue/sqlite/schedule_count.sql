-- Counts the end of a request of a schedule. ?1: the schedule, ?2: what it was: well, fault (the remote job failed) or none (none
-- was started), ?3: now. By primary key. Answers how many in a row, since when, and how many are too many.
UPDATE schedules SET
  revision = revision + 1,
  failed_launches = CASE ?2 WHEN 'none' THEN failed_launches + 1 ELSE 0 END,
  launched_at = CASE ?2 WHEN 'none' THEN launched_at ELSE ?3 END,
  faults = CASE ?2 WHEN 'well' THEN 0 WHEN 'fault' THEN faults + 1 ELSE faults END,
  well_at = CASE ?2 WHEN 'well' THEN ?3 ELSE well_at END
WHERE name = ?1
RETURNING
  paused, disable_grace,
  failed_launches, disable_after_launches, coalesce(launched_at, created_at),
  strftime('%Y-%m-%dT%H:%M:%SZ', coalesce(launched_at, created_at) / 1000, 'unixepoch'),
  faults, disable_after_faults, coalesce(well_at, created_at),
  strftime('%Y-%m-%dT%H:%M:%SZ', coalesce(well_at, created_at) / 1000, 'unixepoch')
