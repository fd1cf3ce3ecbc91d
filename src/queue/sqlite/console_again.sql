-- Back to the start: of the same round (?4 is 0), or of the next (1). ?1, ?2, ?3: id, state and attempt that were read;
-- ?5: a line for people; ?6, ?7: the limits that still hold. What the daemon wrote about the round is forgotten; attempts,
-- times and keys of the producer stay. What was never let go by the request that it waits for waits anew. By primary key;
-- requests_unique_unfinished is entered again.
UPDATE requests SET
  state = 'pending',
  round = round + ?4,
  cancel_requested = 0,
  expires_at = ?6,
  deadline_at = ?7,
  due_at = NULL,
  status_uri = NULL,
  output_uri = NULL,
  effective_call_mode = NULL,
  polls = 0,
  last_polled_at = NULL,
  http_status = NULL,
  error_code = NULL,
  error_message = ?5,
  started_at = NULL,
  accepted_at = NULL,
  finished_at = NULL,
  progress = NULL,
  held_by = CASE held_by WHEN 'after' THEN 'after' END
WHERE id = ?1 AND state = ?2 AND attempt IS ?3
RETURNING id
