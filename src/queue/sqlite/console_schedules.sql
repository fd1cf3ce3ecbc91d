-- Schedules, with what became of the last request of each: the one named ?1, or all if that is NULL. Requests by primary key;
-- of schedules there are few.
SELECT
  s.name, s.trigger_name, s.arguments, s.call_mode, s.priority, s.expression, s.words, s.time_zone, s.calendar, s.on_excluded,
  s.starts_at, s.ends_at, s.overlap, s.misfire, s.catch_up_window, s.max_catch_up, s.dst_gap, s.dst_overlap, s.jitter,
  s.disable_after_launches, s.disable_after_faults, s.disable_grace, s.paused, s.paused_reason, s.description,
  s.owner, s.active, s.problem, s.last_at, s.next_at, s.last_request_id, r.state AS last_state,
  s.failed_launches, s.launched_at, s.faults, s.well_at, s.created_at
FROM schedules AS s
LEFT JOIN requests AS r ON r.id = s.last_request_id
WHERE ?1 IS NULL OR s.name = ?1
ORDER BY s.name
