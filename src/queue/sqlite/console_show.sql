-- All there is to know of one request, by primary keys. request_why gets the id from a subquery of its own: joined by id, it
-- would first be made for every unfinished request.
SELECT
  r.id, r.trigger_name, r.state, w.why, w.until,
  r.error_code, r.error_message, r.http_status,
  r.call_mode, r.effective_call_mode, r.priority, r.run_at, r.expires_at, r.deadline_at,
  r.unique_key, CASE WHEN r.unique_key IS NOT NULL THEN r.unique_scope END AS unique_scope,
  r.concurrency_key, r.group_key, r.after_id, CASE WHEN r.after_id IS NOT NULL THEN r.after_when END AS after_when,
  r.after_argument, r.after_pointer, r.held_by, r.schedule_name, r.scheduled_at, r.correlation_id, r.traceparent, r.cancel_requested,
  r.round, r.attempt, r.due_at, r.status_uri, r.output_uri, r.polls, r.last_polled_at,
  r.created_at, r.started_at, r.accepted_at, r.finished_at,
  r.arguments,
  o.content_type AS output_content_type, o.bytes AS output_bytes, o.truncated AS output_truncated, o.body AS output
FROM requests AS r
LEFT JOIN outputs AS o ON o.request_id = r.id
LEFT JOIN (SELECT why, until FROM request_why WHERE id = ?1) AS w
WHERE r.id = ?1
