-- Rows in every state, for refused.sql and the tests of the schema. The daemon's part is played by UPDATEs.

INSERT INTO triggers (name, call_mode, origin, max_arguments, active, paused, paused_reason) VALUES
  ('nightly-report', 'AsyncRequestReply', 'https://jobs.example', 64, 1, 0, NULL),
  ('held-import', 'AsyncRequestReply', 'https://jobs.example', 65536, 1, 1, 'month end'),
  ('old-import', 'AsyncRequestReply', 'https://jobs.example', 65536, 0, 0, NULL);

-- 1 waits, 2 is being fired, 3 is polled, 4 is collected
INSERT INTO requests (trigger_name, unique_key, correlation_id) VALUES ('nightly-report', 'waiting', 'order-1');
INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'fired');
INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'polled');
INSERT INTO requests (trigger_name) VALUES ('nightly-report');
UPDATE requests SET state = 'triggering', attempt = 1, started_at = 1800000000000 WHERE id IN (2, 3, 4);
UPDATE requests SET state = 'polling', status_uri = 'https://jobs.example/3', due_at = 1800000009000,
  effective_call_mode = 'AsyncRequestReply', accepted_at = 1800000000400, http_status = 202 WHERE id IN (3, 4);
UPDATE requests SET state = 'collecting', output_uri = 'https://jobs.example/4/output' WHERE id = 4;

-- 5 succeeded with an output, 6 is uncertain
INSERT INTO requests (trigger_name, unique_key, correlation_id) VALUES ('nightly-report', 'done', 'order-5');
INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'doubtful');
UPDATE requests SET state = 'triggering', attempt = 1, started_at = 1800000000000 WHERE id IN (5, 6);
UPDATE requests SET state = 'succeeded', effective_call_mode = 'AsyncRequestReply', http_status = 200, finished_at = 1800000001234 WHERE id = 5;
UPDATE requests SET state = 'uncertain', error_code = 'interrupted', finished_at = 1800000002000 WHERE id = 6;
INSERT INTO outputs (request_id, body, content_type, bytes) VALUES (5, '{"pages":3}', 'application/json', 11);
INSERT INTO attempts (request_id, attempt, round, started_at, ended_at, http_status, outcome)
  VALUES (5, 1, 1, 1800000000000, 1800000000400, 202, 'accepted'), (6, 1, 1, 1800000000000, 1800000002000, NULL, 'ambiguous');

-- 7 waits to be fired again; a cancel of 8 was requested
INSERT INTO requests (trigger_name) VALUES ('nightly-report');
UPDATE requests SET attempt = 1, due_at = 9000000000000, error_code = 'not_sent' WHERE id = 7;
INSERT INTO requests (trigger_name, cancel_requested) VALUES ('nightly-report', 1);

-- 9 ran 'once' and is kept; 10 has the same key with the other scope, which a kept row does not forbid
INSERT INTO requests (trigger_name, unique_key, unique_scope) VALUES ('nightly-report', 'once', 'kept');
UPDATE requests SET state = 'dispatched', attempt = 1, started_at = 1800000000000, finished_at = 1800000000500 WHERE id = 9;
INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'once');
