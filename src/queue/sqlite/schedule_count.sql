-- Counts the end of a request of a schedule. ?1: the schedule, ?2: what it was: well, fault (the remote job failed) or none (none
-- was started), ?3: now. By primary key. Answers how many in a row, since when, and how many are too many. What others have made of its counts is no reason to
-- fail: CAST, typeof.
UPDATE schedules SET
  revision = revision + 1,
  failed_launches = CASE ?2 WHEN 'none' THEN CAST(failed_launches AS INTEGER) + 1 ELSE 0 END,
  launched_at = CASE WHEN ?2 <> 'none' THEN ?3 WHEN typeof(launched_at) = 'integer' THEN launched_at END,
  faults = CASE ?2 WHEN 'well' THEN 0 WHEN 'fault' THEN CAST(faults AS INTEGER) + 1 ELSE CAST(faults AS INTEGER) END,
  well_at = CASE WHEN ?2 = 'well' THEN ?3 WHEN typeof(well_at) = 'integer' THEN well_at END
WHERE name = ?1
RETURNING
  CAST(paused AS INTEGER), CAST(disable_grace AS INTEGER),
  failed_launches, CASE WHEN typeof(disable_after_launches) = 'integer' THEN disable_after_launches END,
  CAST(coalesce(launched_at, created_at) AS INTEGER),
  strftime('%Y-%m-%dT%H:%M:%SZ', coalesce(launched_at, created_at) / 1000, 'unixepoch'),
  faults, CASE WHEN typeof(disable_after_faults) = 'integer' THEN disable_after_faults END,
  CAST(coalesce(well_at, created_at) AS INTEGER),
  strftime('%Y-%m-%dT%H:%M:%SZ', coalesce(well_at, created_at) / 1000, 'unixepoch')
