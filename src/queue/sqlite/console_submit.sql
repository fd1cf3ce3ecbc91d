-- A new request, as any producer would insert it; what is NULL gets the schema's default (run_at is spelled as there).
-- The SQL triggers judge it: they look up `triggers` by its primary key, and a unique key in its indexes.
INSERT INTO requests (trigger_name, arguments, call_mode, priority, run_at, deadline_at, unique_key, concurrency_key, group_key, after_id, after_when,
  after_argument, after_pointer)
VALUES (
  ?1,
  coalesce(?2, '{}'),
  ?3,
  coalesce(?4, 0),
  coalesce(?5, CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER)),
  ?6,
  ?7,
  ?8,
  ?9,
  ?10,
  coalesce(?11, 'succeeded'),
  ?12,
  ?13
)
