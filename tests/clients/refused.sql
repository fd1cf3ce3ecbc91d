-- What the schema refuses, on the rows of fixture.sql: a line `-- code: column`, then one statement on one line, which must fail
-- with a message that contains `triggerd: code: column: ` and leave everything as it was. Read by clients.py and tests/it/schema.rs.

-- # trigger_name
-- unknown_trigger: trigger_name
INSERT INTO requests (trigger_name) VALUES ('no-such-trigger');
-- unknown_trigger: trigger_name
INSERT INTO requests (trigger_name) VALUES ('Nightly-Report');
-- unknown_trigger: trigger_name
INSERT INTO requests (trigger_name) VALUES (NULL);
-- unknown_trigger: trigger_name
INSERT INTO requests (trigger_name) VALUES (x'6e696768746c792d7265706f7274');
-- unknown_trigger: trigger_name
INSERT INTO requests (trigger_name) VALUES ('nightly-report' || char(0));
-- unknown_trigger: trigger_name
INSERT INTO requests DEFAULT VALUES;
-- unknown_trigger: trigger_name
INSERT OR IGNORE INTO requests (trigger_name) VALUES ('no-such-trigger');
-- unknown_trigger: trigger_name
INSERT INTO requests (trigger_name) VALUES ('no-such-trigger') ON CONFLICT DO NOTHING;
-- unknown_trigger: trigger_name
INSERT INTO requests (trigger_name) VALUES ('nightly-report'), ('nightly-report'), ('no-such-trigger');
-- inactive_trigger: trigger_name
INSERT INTO requests (trigger_name) VALUES ('old-import');

-- # arguments (the trigger takes 64 bytes)
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', 'report');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{"report":');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '[1]');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '"text"');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', 'null');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{}{}');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', x'7b7d');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', NULL);
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', 7);
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{"a":1}' || char(0) || 'rest');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{"$callMode":"LongPolling"}');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{"$callMode":null}');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{"a":1,"$callMode":{}}');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{"\u0024callMode":1}');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{"$c\u0061llMode":null}');
-- arguments_too_large: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{"a":"' || substr(hex(zeroblob(60)), 1, 57) || '"}');
-- arguments_too_large: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{"a":"' || replace(substr(hex(zeroblob(60)), 1, 29), '0', 'é') || '"}');
-- invalid_arguments: arguments
INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{"a":1}'), ('nightly-report', '{"a":}');

-- # call_mode, priority
-- invalid_call_mode: call_mode
INSERT INTO requests (trigger_name, call_mode) VALUES ('nightly-report', 'asyncrequestreply');
-- invalid_call_mode: call_mode
INSERT INTO requests (trigger_name, call_mode) VALUES ('nightly-report', '');
-- invalid_call_mode: call_mode
INSERT INTO requests (trigger_name, call_mode) VALUES ('nightly-report', 'FireAndForget ');
-- invalid_call_mode: call_mode
INSERT INTO requests (trigger_name, call_mode) VALUES ('nightly-report', x'46697265416e64466f72676574');
-- invalid_call_mode: call_mode
INSERT INTO requests (trigger_name, call_mode) VALUES ('nightly-report', 1);
-- invalid_priority: priority
INSERT INTO requests (trigger_name, priority) VALUES ('nightly-report', 101);
-- invalid_priority: priority
INSERT INTO requests (trigger_name, priority) VALUES ('nightly-report', -101);
-- invalid_priority: priority
INSERT INTO requests (trigger_name, priority) VALUES ('nightly-report', 0.5);
-- invalid_priority: priority
INSERT INTO requests (trigger_name, priority) VALUES ('nightly-report', 'high');
-- invalid_priority: priority
INSERT INTO requests (trigger_name, priority) VALUES ('nightly-report', '');
-- invalid_priority: priority
INSERT INTO requests (trigger_name, priority) VALUES ('nightly-report', NULL);
-- invalid_priority: priority
INSERT INTO requests (trigger_name, priority) VALUES ('nightly-report', x'31');
-- invalid_priority: priority
INSERT INTO requests (trigger_name, priority) VALUES ('nightly-report', 9e99);

-- # times: seconds and microseconds are refused, the first and the last millisecond with 13 digits are the limits
-- invalid_time: run_at
INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', 1800000000);
-- invalid_time: run_at
INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', 1800000000000000);
-- invalid_time: run_at
INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', 999999999999);
-- invalid_time: run_at
INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', 10000000000000);
-- invalid_time: run_at
INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', -1);
-- invalid_time: run_at
INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', 0);
-- invalid_time: run_at
INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', 1800000000000.5);
-- invalid_time: run_at
INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', '2027-01-15T08:00:00Z');
-- invalid_time: run_at
INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', '');
-- invalid_time: run_at
INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', x'31');
-- invalid_time: expires_at
INSERT INTO requests (trigger_name, expires_at) VALUES ('nightly-report', 1800000000);
-- invalid_time: expires_at
INSERT INTO requests (trigger_name, expires_at) VALUES ('nightly-report', 1800000000000000);
-- invalid_time: expires_at
INSERT INTO requests (trigger_name, expires_at) VALUES ('nightly-report', 999999999999);
-- invalid_time: expires_at
INSERT INTO requests (trigger_name, expires_at) VALUES ('nightly-report', 10000000000000);
-- invalid_time: expires_at
INSERT INTO requests (trigger_name, expires_at) VALUES ('nightly-report', -1);
-- invalid_time: expires_at
INSERT INTO requests (trigger_name, expires_at) VALUES ('nightly-report', 0);
-- invalid_time: expires_at
INSERT INTO requests (trigger_name, expires_at) VALUES ('nightly-report', 1800000000000.5);
-- invalid_time: expires_at
INSERT INTO requests (trigger_name, expires_at) VALUES ('nightly-report', '2027-01-15T08:00:00Z');
-- invalid_time: expires_at
INSERT INTO requests (trigger_name, expires_at) VALUES ('nightly-report', '');
-- invalid_time: expires_at
INSERT INTO requests (trigger_name, expires_at) VALUES ('nightly-report', x'31');
-- invalid_time: deadline_at
INSERT INTO requests (trigger_name, deadline_at) VALUES ('nightly-report', 1800000000);
-- invalid_time: deadline_at
INSERT INTO requests (trigger_name, deadline_at) VALUES ('nightly-report', 1800000000000000);
-- invalid_time: deadline_at
INSERT INTO requests (trigger_name, deadline_at) VALUES ('nightly-report', 999999999999);
-- invalid_time: deadline_at
INSERT INTO requests (trigger_name, deadline_at) VALUES ('nightly-report', 10000000000000);
-- invalid_time: deadline_at
INSERT INTO requests (trigger_name, deadline_at) VALUES ('nightly-report', -1);
-- invalid_time: deadline_at
INSERT INTO requests (trigger_name, deadline_at) VALUES ('nightly-report', 0);
-- invalid_time: deadline_at
INSERT INTO requests (trigger_name, deadline_at) VALUES ('nightly-report', 1800000000000.5);
-- invalid_time: deadline_at
INSERT INTO requests (trigger_name, deadline_at) VALUES ('nightly-report', '2027-01-15T08:00:00Z');
-- invalid_time: deadline_at
INSERT INTO requests (trigger_name, deadline_at) VALUES ('nightly-report', '');
-- invalid_time: deadline_at
INSERT INTO requests (trigger_name, deadline_at) VALUES ('nightly-report', x'31');
-- invalid_time: run_at
INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', NULL);

-- # keys and other values
-- invalid_value: unique_key
INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', '');
-- invalid_value: unique_key
INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', x'6b6579');
-- invalid_value: unique_key
INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', substr(hex(zeroblob(128)), 1, 256));
-- invalid_value: unique_key
INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', replace(substr(hex(zeroblob(64)), 1, 128), '0', 'é'));
-- invalid_value: unique_key
INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'a' || char(0) || 'b');
-- invalid_value: unique_key
INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', char(0));
-- invalid_value: concurrency_key
INSERT INTO requests (trigger_name, concurrency_key) VALUES ('nightly-report', '');
-- invalid_value: concurrency_key
INSERT INTO requests (trigger_name, concurrency_key) VALUES ('nightly-report', x'6b6579');
-- invalid_value: concurrency_key
INSERT INTO requests (trigger_name, concurrency_key) VALUES ('nightly-report', substr(hex(zeroblob(128)), 1, 256));
-- invalid_value: concurrency_key
INSERT INTO requests (trigger_name, concurrency_key) VALUES ('nightly-report', replace(substr(hex(zeroblob(64)), 1, 128), '0', 'é'));
-- invalid_value: concurrency_key
INSERT INTO requests (trigger_name, concurrency_key) VALUES ('nightly-report', 'a' || char(0) || 'b');
-- invalid_value: concurrency_key
INSERT INTO requests (trigger_name, concurrency_key) VALUES ('nightly-report', char(0));
-- invalid_value: correlation_id
INSERT INTO requests (trigger_name, correlation_id) VALUES ('nightly-report', '');
-- invalid_value: correlation_id
INSERT INTO requests (trigger_name, correlation_id) VALUES ('nightly-report', x'6b6579');
-- invalid_value: correlation_id
INSERT INTO requests (trigger_name, correlation_id) VALUES ('nightly-report', substr(hex(zeroblob(128)), 1, 256));
-- invalid_value: correlation_id
INSERT INTO requests (trigger_name, correlation_id) VALUES ('nightly-report', replace(substr(hex(zeroblob(64)), 1, 128), '0', 'é'));
-- invalid_value: correlation_id
INSERT INTO requests (trigger_name, correlation_id) VALUES ('nightly-report', 'a' || char(0) || 'b');
-- invalid_value: correlation_id
INSERT INTO requests (trigger_name, correlation_id) VALUES ('nightly-report', char(0));
-- invalid_value: unique_scope
INSERT INTO requests (trigger_name, unique_scope) VALUES ('nightly-report', 'forever');
-- invalid_value: unique_scope
INSERT INTO requests (trigger_name, unique_scope) VALUES ('nightly-report', 'Kept');
-- invalid_value: unique_scope
INSERT INTO requests (trigger_name, unique_scope) VALUES ('nightly-report', '');
-- invalid_value: unique_scope
INSERT INTO requests (trigger_name, unique_scope) VALUES ('nightly-report', NULL);
-- invalid_value: unique_scope
INSERT INTO requests (trigger_name, unique_scope) VALUES ('nightly-report', 1);
-- invalid_value: unique_scope
INSERT INTO requests (trigger_name, unique_scope) VALUES ('nightly-report', x'6b657074');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', '00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', 'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', '00-00000000000000000000000000000000-00f067aa0ba902b7-01');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', '00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', '00-4bf92f3577b34da6a3ce929d0e0e473--00f067aa0ba902ba-01');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', '0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', '');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', x'00');
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' || char(0));
-- invalid_value: traceparent
INSERT INTO requests (trigger_name, traceparent) VALUES ('nightly-report', CAST('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' AS BLOB));
-- invalid_value: cancel_requested
INSERT INTO requests (trigger_name, cancel_requested) VALUES ('nightly-report', 2);
-- invalid_value: cancel_requested
INSERT INTO requests (trigger_name, cancel_requested) VALUES ('nightly-report', -1);
-- invalid_value: cancel_requested
INSERT INTO requests (trigger_name, cancel_requested) VALUES ('nightly-report', NULL);
-- invalid_value: cancel_requested
INSERT INTO requests (trigger_name, cancel_requested) VALUES ('nightly-report', 'yes');
-- invalid_value: cancel_requested
INSERT INTO requests (trigger_name, cancel_requested) VALUES ('nightly-report', 0.5);

-- # columns that are not the producer's
-- daemon_column: id
INSERT INTO requests (trigger_name, id) VALUES ('nightly-report', 1000);
-- daemon_column: id
INSERT INTO requests (trigger_name, id) VALUES ('nightly-report', 1);
-- daemon_column: id
INSERT INTO requests (trigger_name, id) VALUES ('nightly-report', 0);
-- daemon_column: id
INSERT INTO requests (trigger_name, id) VALUES ('nightly-report', -1);
-- daemon_column: id
INSERT INTO requests (trigger_name, id) VALUES ('nightly-report', -1000);
-- daemon_column: id
INSERT INTO requests (trigger_name, id) VALUES ('nightly-report', 9223372036854775807);
-- daemon_column: state
INSERT INTO requests (trigger_name, state) VALUES ('nightly-report', 'triggering');
-- daemon_column: state
INSERT INTO requests (trigger_name, state) VALUES ('nightly-report', 'succeeded');
-- daemon_column: state
INSERT INTO requests (trigger_name, state) VALUES ('nightly-report', 'nonsense');
-- daemon_column: state
INSERT INTO requests (trigger_name, state) VALUES ('nightly-report', NULL);
-- daemon_column: round
INSERT INTO requests (trigger_name, round) VALUES ('nightly-report', 2);
-- daemon_column: round
INSERT INTO requests (trigger_name, round) VALUES ('nightly-report', NULL);
-- daemon_column: attempt
INSERT INTO requests (trigger_name, attempt) VALUES ('nightly-report', 1);
-- daemon_column: due_at
INSERT INTO requests (trigger_name, due_at) VALUES ('nightly-report', 1800000000000);
-- daemon_column: status_uri
INSERT INTO requests (trigger_name, status_uri) VALUES ('nightly-report', 'https://jobs.example/1');
-- daemon_column: output_uri
INSERT INTO requests (trigger_name, output_uri) VALUES ('nightly-report', 'https://jobs.example/1');
-- daemon_column: effective_call_mode
INSERT INTO requests (trigger_name, effective_call_mode) VALUES ('nightly-report', 'LongPolling');
-- daemon_column: polls
INSERT INTO requests (trigger_name, polls) VALUES ('nightly-report', 1);
-- daemon_column: polls
INSERT INTO requests (trigger_name, polls) VALUES ('nightly-report', NULL);
-- daemon_column: last_polled_at
INSERT INTO requests (trigger_name, last_polled_at) VALUES ('nightly-report', 1800000000000);
-- daemon_column: http_status
INSERT INTO requests (trigger_name, http_status) VALUES ('nightly-report', 200);
-- daemon_column: error_code
INSERT INTO requests (trigger_name, error_code) VALUES ('nightly-report', 'refused');
-- daemon_column: error_message
INSERT INTO requests (trigger_name, error_message) VALUES ('nightly-report', '');
-- daemon_column: created_at
INSERT INTO requests (trigger_name, created_at) VALUES ('nightly-report', 1800000000000);
-- daemon_column: created_at
INSERT INTO requests (trigger_name, created_at) VALUES ('nightly-report', NULL);
-- daemon_column: started_at
INSERT INTO requests (trigger_name, started_at) VALUES ('nightly-report', 1800000000000);
-- daemon_column: accepted_at
INSERT INTO requests (trigger_name, accepted_at) VALUES ('nightly-report', 1800000000000);
-- daemon_column: finished_at
INSERT INTO requests (trigger_name, finished_at) VALUES ('nightly-report', 1800000000000);
-- daemon_column: progress
INSERT INTO requests (trigger_name, progress) VALUES ('nightly-report', '{}');
-- daemon_column: unique_held
INSERT INTO requests (trigger_name, unique_held) VALUES ('nightly-report', 1);
-- daemon_column: id
INSERT OR REPLACE INTO requests (trigger_name, id) VALUES ('nightly-report', 1);
-- daemon_column: id
INSERT OR IGNORE INTO requests (trigger_name, id) VALUES ('nightly-report', 1);
-- daemon_column: id
INSERT OR REPLACE INTO requests (trigger_name, id) VALUES ('nightly-report', -1);
-- daemon_column: id
INSERT INTO requests (rowid, trigger_name) VALUES (1000, 'nightly-report');

-- # OR REPLACE, whatever the twin's state and scope
-- replaced: unique_key
INSERT OR REPLACE INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'waiting');
-- replaced: unique_key
INSERT OR REPLACE INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'fired');
-- replaced: unique_key
INSERT OR REPLACE INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'polled');
-- replaced: unique_key
INSERT OR REPLACE INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'doubtful');
-- replaced: unique_key
REPLACE INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'waiting');
-- replaced: unique_key
REPLACE INTO requests (trigger_name, unique_key, unique_scope) VALUES ('nightly-report', 'waiting', 'kept');
-- replaced: unique_key
REPLACE INTO requests (trigger_name, unique_key, unique_scope) VALUES ('nightly-report', 'once', 'kept');
-- replaced: unique_key
REPLACE INTO requests (trigger_name, unique_key, unique_scope) VALUES ('nightly-report', 'done', 'kept');
-- replaced: unique_key
REPLACE INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'new'), ('nightly-report', 'waiting');
-- replaced: unique_key
REPLACE INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'new'), ('nightly-report', 'new');
-- replaced: unique_held
UPDATE OR REPLACE requests SET unique_held = 1 WHERE id = 10;

-- # UPDATE: what never changes, in any state
-- fixed_column: id
UPDATE requests SET id = 1000 WHERE id = 1;
-- fixed_column: id
UPDATE requests SET rowid = 1000 WHERE id = 1;
-- fixed_column: id
UPDATE requests SET _rowid_ = 1000 WHERE id = 1;
-- fixed_column: id
UPDATE requests SET oid = 1000 WHERE id = 1;
-- fixed_column: trigger_name
UPDATE requests SET trigger_name = 'held-import' WHERE id = 1;
-- fixed_column: trigger_name
UPDATE requests SET trigger_name = NULL WHERE id = 1;
-- fixed_column: unique_key
UPDATE requests SET unique_key = 'other' WHERE id = 1;
-- fixed_column: unique_key
UPDATE requests SET unique_key = NULL WHERE id = 1;
-- fixed_column: unique_scope
UPDATE requests SET unique_scope = 'kept' WHERE id = 1;
-- fixed_column: created_at
UPDATE requests SET created_at = 1800000000000 WHERE id = 1;
-- fixed_column: id
UPDATE requests SET id = 1000 WHERE id = 2;
-- fixed_column: id
UPDATE requests SET rowid = 1000 WHERE id = 2;
-- fixed_column: id
UPDATE requests SET _rowid_ = 1000 WHERE id = 2;
-- fixed_column: id
UPDATE requests SET oid = 1000 WHERE id = 2;
-- fixed_column: trigger_name
UPDATE requests SET trigger_name = 'held-import' WHERE id = 2;
-- fixed_column: trigger_name
UPDATE requests SET trigger_name = NULL WHERE id = 2;
-- fixed_column: unique_key
UPDATE requests SET unique_key = 'other' WHERE id = 2;
-- fixed_column: unique_key
UPDATE requests SET unique_key = NULL WHERE id = 2;
-- fixed_column: unique_scope
UPDATE requests SET unique_scope = 'kept' WHERE id = 2;
-- fixed_column: created_at
UPDATE requests SET created_at = 1800000000000 WHERE id = 2;
-- fixed_column: id
UPDATE requests SET id = 1000 WHERE id = 5;
-- fixed_column: id
UPDATE requests SET rowid = 1000 WHERE id = 5;
-- fixed_column: id
UPDATE requests SET _rowid_ = 1000 WHERE id = 5;
-- fixed_column: id
UPDATE requests SET oid = 1000 WHERE id = 5;
-- fixed_column: trigger_name
UPDATE requests SET trigger_name = 'held-import' WHERE id = 5;
-- fixed_column: trigger_name
UPDATE requests SET trigger_name = NULL WHERE id = 5;
-- fixed_column: unique_key
UPDATE requests SET unique_key = 'other' WHERE id = 5;
-- fixed_column: unique_key
UPDATE requests SET unique_key = NULL WHERE id = 5;
-- fixed_column: unique_scope
UPDATE requests SET unique_scope = 'kept' WHERE id = 5;
-- fixed_column: created_at
UPDATE requests SET created_at = 1800000000000 WHERE id = 5;
-- fixed_column: unique_key
UPDATE OR REPLACE requests SET unique_key = 'waiting' WHERE id = 2;
-- fixed_column: id
UPDATE OR REPLACE requests SET id = 1 WHERE id = 2;
-- fixed_column: trigger_name
UPDATE requests SET state = 'failed', trigger_name = 'held-import' WHERE id = 2;

-- # UPDATE: what may be changed while it is pending and was never fired
-- fixed_column: arguments
UPDATE requests SET arguments = '{"a":1}' WHERE id = 2;
-- not_pending: call_mode
UPDATE requests SET call_mode = 'LongPolling' WHERE id = 2;
-- not_pending: priority
UPDATE requests SET priority = 7 WHERE id = 2;
-- not_pending: run_at
UPDATE requests SET run_at = 1800000000000 WHERE id = 2;
-- not_pending: expires_at
UPDATE requests SET expires_at = 1800000000000 WHERE id = 2;
-- not_pending: deadline_at
UPDATE requests SET deadline_at = 1800000000000 WHERE id = 2;
-- not_pending: concurrency_key
UPDATE requests SET concurrency_key = 'k' WHERE id = 2;
-- not_pending: correlation_id
UPDATE requests SET correlation_id = 'other' WHERE id = 2;
-- not_pending: traceparent
UPDATE requests SET traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' WHERE id = 2;
-- fixed_column: arguments
UPDATE requests SET arguments = '{"a":1}' WHERE id = 3;
-- not_pending: call_mode
UPDATE requests SET call_mode = 'LongPolling' WHERE id = 3;
-- not_pending: priority
UPDATE requests SET priority = 7 WHERE id = 3;
-- not_pending: run_at
UPDATE requests SET run_at = 1800000000000 WHERE id = 3;
-- not_pending: expires_at
UPDATE requests SET expires_at = 1800000000000 WHERE id = 3;
-- not_pending: deadline_at
UPDATE requests SET deadline_at = 1800000000000 WHERE id = 3;
-- not_pending: concurrency_key
UPDATE requests SET concurrency_key = 'k' WHERE id = 3;
-- not_pending: correlation_id
UPDATE requests SET correlation_id = 'other' WHERE id = 3;
-- not_pending: traceparent
UPDATE requests SET traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' WHERE id = 3;
-- fixed_column: arguments
UPDATE requests SET arguments = '{"a":1}' WHERE id = 4;
-- not_pending: call_mode
UPDATE requests SET call_mode = 'LongPolling' WHERE id = 4;
-- not_pending: priority
UPDATE requests SET priority = 7 WHERE id = 4;
-- not_pending: run_at
UPDATE requests SET run_at = 1800000000000 WHERE id = 4;
-- not_pending: expires_at
UPDATE requests SET expires_at = 1800000000000 WHERE id = 4;
-- not_pending: deadline_at
UPDATE requests SET deadline_at = 1800000000000 WHERE id = 4;
-- not_pending: concurrency_key
UPDATE requests SET concurrency_key = 'k' WHERE id = 4;
-- not_pending: correlation_id
UPDATE requests SET correlation_id = 'other' WHERE id = 4;
-- not_pending: traceparent
UPDATE requests SET traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' WHERE id = 4;
-- fixed_column: arguments
UPDATE requests SET arguments = '{"a":1}' WHERE id = 5;
-- not_pending: call_mode
UPDATE requests SET call_mode = 'LongPolling' WHERE id = 5;
-- not_pending: priority
UPDATE requests SET priority = 7 WHERE id = 5;
-- not_pending: run_at
UPDATE requests SET run_at = 1800000000000 WHERE id = 5;
-- not_pending: expires_at
UPDATE requests SET expires_at = 1800000000000 WHERE id = 5;
-- not_pending: deadline_at
UPDATE requests SET deadline_at = 1800000000000 WHERE id = 5;
-- not_pending: concurrency_key
UPDATE requests SET concurrency_key = 'k' WHERE id = 5;
-- not_pending: correlation_id
UPDATE requests SET correlation_id = 'other' WHERE id = 5;
-- not_pending: traceparent
UPDATE requests SET traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' WHERE id = 5;
-- fixed_column: arguments
UPDATE requests SET arguments = '{"a":1}' WHERE id = 6;
-- not_pending: call_mode
UPDATE requests SET call_mode = 'LongPolling' WHERE id = 6;
-- not_pending: priority
UPDATE requests SET priority = 7 WHERE id = 6;
-- not_pending: run_at
UPDATE requests SET run_at = 1800000000000 WHERE id = 6;
-- not_pending: expires_at
UPDATE requests SET expires_at = 1800000000000 WHERE id = 6;
-- not_pending: deadline_at
UPDATE requests SET deadline_at = 1800000000000 WHERE id = 6;
-- not_pending: concurrency_key
UPDATE requests SET concurrency_key = 'k' WHERE id = 6;
-- not_pending: correlation_id
UPDATE requests SET correlation_id = 'other' WHERE id = 6;
-- not_pending: traceparent
UPDATE requests SET traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' WHERE id = 6;
-- fixed_column: arguments
UPDATE requests SET arguments = '{"a":1}' WHERE id = 7;
-- not_pending: call_mode
UPDATE requests SET call_mode = 'LongPolling' WHERE id = 7;
-- not_pending: priority
UPDATE requests SET priority = 7 WHERE id = 7;
-- not_pending: run_at
UPDATE requests SET run_at = 1800000000000 WHERE id = 7;
-- not_pending: expires_at
UPDATE requests SET expires_at = 1800000000000 WHERE id = 7;
-- not_pending: deadline_at
UPDATE requests SET deadline_at = 1800000000000 WHERE id = 7;
-- not_pending: concurrency_key
UPDATE requests SET concurrency_key = 'k' WHERE id = 7;
-- not_pending: correlation_id
UPDATE requests SET correlation_id = 'other' WHERE id = 7;
-- not_pending: traceparent
UPDATE requests SET traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' WHERE id = 7;
-- not_pending: priority
UPDATE requests SET priority = 9;
-- not_pending: correlation_id
UPDATE requests SET correlation_id = NULL WHERE id = 5;
-- not_pending: priority
UPDATE requests SET state = 'triggering', priority = 7 WHERE id = 2;

-- # UPDATE: the same values are refused as at INSERT
-- invalid_arguments: arguments
UPDATE requests SET arguments = '[]' WHERE id = 1;
-- invalid_arguments: arguments
UPDATE requests SET arguments = '{' WHERE id = 1;
-- invalid_arguments: arguments
UPDATE requests SET arguments = NULL WHERE id = 1;
-- invalid_arguments: arguments
UPDATE requests SET arguments = x'7b7d' WHERE id = 1;
-- invalid_arguments: arguments
UPDATE requests SET arguments = '{"$callMode":null}' WHERE id = 1;
-- invalid_arguments: arguments
UPDATE requests SET arguments = '{"\u0024callMode":1}' WHERE id = 1;
-- invalid_arguments: arguments
UPDATE requests SET arguments = '{}' || char(0) WHERE id = 1;
-- arguments_too_large: arguments
UPDATE requests SET arguments = '{"a":"' || substr(hex(zeroblob(60)), 1, 57) || '"}' WHERE id = 1;
-- invalid_call_mode: call_mode
UPDATE requests SET call_mode = 'async' WHERE id = 1;
-- invalid_call_mode: call_mode
UPDATE requests SET call_mode = x'00' WHERE id = 1;
-- invalid_priority: priority
UPDATE requests SET priority = 101 WHERE id = 1;
-- invalid_priority: priority
UPDATE requests SET priority = NULL WHERE id = 1;
-- invalid_priority: priority
UPDATE requests SET priority = 'high' WHERE id = 1;
-- invalid_priority: priority
UPDATE requests SET priority = 1.5 WHERE id = 1;
-- invalid_time: run_at
UPDATE requests SET run_at = 1800000000 WHERE id = 1;
-- invalid_time: run_at
UPDATE requests SET run_at = 1800000000000000 WHERE id = 1;
-- invalid_time: run_at
UPDATE requests SET run_at = 'now' WHERE id = 1;
-- invalid_time: run_at
UPDATE requests SET run_at = 1.5 WHERE id = 1;
-- invalid_time: expires_at
UPDATE requests SET expires_at = 1800000000 WHERE id = 1;
-- invalid_time: expires_at
UPDATE requests SET expires_at = 1800000000000000 WHERE id = 1;
-- invalid_time: expires_at
UPDATE requests SET expires_at = 'now' WHERE id = 1;
-- invalid_time: expires_at
UPDATE requests SET expires_at = 1.5 WHERE id = 1;
-- invalid_time: deadline_at
UPDATE requests SET deadline_at = 1800000000 WHERE id = 1;
-- invalid_time: deadline_at
UPDATE requests SET deadline_at = 1800000000000000 WHERE id = 1;
-- invalid_time: deadline_at
UPDATE requests SET deadline_at = 'now' WHERE id = 1;
-- invalid_time: deadline_at
UPDATE requests SET deadline_at = 1.5 WHERE id = 1;
-- invalid_time: run_at
UPDATE requests SET run_at = NULL WHERE id = 1;
-- invalid_priority: priority
UPDATE OR REPLACE requests SET priority = NULL WHERE id = 1;
-- invalid_value: concurrency_key
UPDATE requests SET concurrency_key = '' WHERE id = 1;
-- invalid_value: concurrency_key
UPDATE requests SET concurrency_key = x'6b6579' WHERE id = 1;
-- invalid_value: concurrency_key
UPDATE requests SET concurrency_key = substr(hex(zeroblob(128)), 1, 256) WHERE id = 1;
-- invalid_value: concurrency_key
UPDATE requests SET concurrency_key = 'a' || char(0) WHERE id = 1;
-- invalid_value: correlation_id
UPDATE requests SET correlation_id = '' WHERE id = 1;
-- invalid_value: correlation_id
UPDATE requests SET correlation_id = x'6b6579' WHERE id = 1;
-- invalid_value: correlation_id
UPDATE requests SET correlation_id = substr(hex(zeroblob(128)), 1, 256) WHERE id = 1;
-- invalid_value: correlation_id
UPDATE requests SET correlation_id = 'a' || char(0) WHERE id = 1;
-- invalid_value: traceparent
UPDATE requests SET traceparent = '' WHERE id = 1;
-- invalid_value: traceparent
UPDATE requests SET traceparent = 'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' WHERE id = 1;
-- invalid_value: traceparent
UPDATE requests SET traceparent = '00-00000000000000000000000000000000-00f067aa0ba902b7-01' WHERE id = 1;
-- invalid_value: cancel_requested
UPDATE requests SET cancel_requested = 2 WHERE id = 1;
-- invalid_value: cancel_requested
UPDATE requests SET cancel_requested = NULL WHERE id = 1;
-- invalid_value: cancel_requested
UPDATE requests SET cancel_requested = 'yes' WHERE id = 1;
-- invalid_value: cancel_requested
UPDATE requests SET cancel_requested = -1 WHERE id = 1;
-- invalid_value: cancel_requested
UPDATE requests SET cancel_requested = 0 WHERE id = 8;
-- invalid_value: cancel_requested
UPDATE requests SET cancel_requested = NULL WHERE id = 3;

-- # DELETE of what has not ended
-- not_finished: state
DELETE FROM requests WHERE id = 1;
-- not_finished: state
DELETE FROM requests WHERE id = 2;
-- not_finished: state
DELETE FROM requests WHERE id = 3;
-- not_finished: state
DELETE FROM requests WHERE id = 4;
-- not_finished: state
DELETE FROM requests WHERE id = 6;
-- not_finished: state
DELETE FROM requests WHERE id = 7;
-- not_finished: state
DELETE FROM requests;
-- not_finished: state
DELETE FROM requests WHERE id IN (5, 6);
