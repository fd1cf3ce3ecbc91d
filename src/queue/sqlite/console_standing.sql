-- One request as an operator's act must know it, with what the table knows of its trigger. By primary keys.
SELECT
  r.id, r.trigger_name, r.state, r.round, r.attempt, r.cancel_requested, r.call_mode, r.effective_call_mode, r.status_uri,
  r.output_uri, r.expires_at, r.deadline_at, r.started_at, r.accepted_at, r.unique_key, r.error_code, r.error_message,
  r.progress, t.active, t.repeatable
FROM requests AS r
LEFT JOIN triggers AS t ON t.name = r.trigger_name
WHERE r.id = ?1
