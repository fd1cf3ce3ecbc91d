-- Rows by primary key, in the order asked for. ?1: a JSON array of ids. Arguments only where they are needed (to fire) and
-- as long as their trigger allows, so that giant ones are never read into memory.
SELECT
  r.id, r.trigger_name,
  CASE WHEN r.state = 'pending' AND octet_length(r.arguments) <= coalesce(t.max_arguments, 65536) THEN r.arguments END,
  r.call_mode, r.priority, r.run_at, r.expires_at, r.deadline_at, r.traceparent, r.cancel_requested, r.state, r.round,
  r.attempt, r.due_at, r.status_uri, r.output_uri, r.effective_call_mode, r.polls, r.last_polled_at, r.http_status,
  r.error_code, r.error_message, r.created_at, r.started_at, r.accepted_at, r.progress, r.concurrency_key
FROM json_each(?1) AS j
CROSS JOIN requests AS r ON r.id = j.value
LEFT JOIN triggers AS t ON t.name = r.trigger_name
ORDER BY j.key
