-- An uncertain request whose remote job is to be asked for. ?1, ?2, ?3: id, state and attempt that were read; ?4: the status
-- URI; ?5: by whose rules; ?6: now; ?7: the deadline, if its own does not hold; ?8: a line for people; ?9: the memory of
-- the round. By primary key.
UPDATE requests SET
  state = 'polling',
  cancel_requested = 0,
  status_uri = ?4,
  output_uri = NULL,
  effective_call_mode = ?5,
  due_at = ?6,
  started_at = coalesce(started_at, ?6),
  accepted_at = coalesce(accepted_at, ?6),
  finished_at = NULL,
  deadline_at = coalesce(?7, deadline_at),
  polls = 0,
  last_polled_at = NULL,
  http_status = NULL,
  error_code = NULL,
  error_message = ?8,
  progress = ?9
WHERE id = ?1 AND state = ?2 AND attempt IS ?3
RETURNING id
