-- The queue: what producers insert, what the daemon writes back, what everybody may read.
--
-- Producers bring their own SQLite, so this text keeps to what 3.34 knows: no STRICT, no `->>`, no unixepoch().
-- `typeof()` is tested instead. Every time is an INTEGER, Unix milliseconds UTC. (SQLite 3.40 takes the JSON functions for
-- unsafe: a producer that has that one and switches trusted_schema off has its INSERTs with arguments refused.)
--
-- A bad row is refused in the producer, by the SQL triggers below, with `triggerd: <code>: <column>: <rule>`.
-- That is help for honest producers, not a wall: whoever may write the file may drop a trigger. So the daemon checks
-- each row again when it takes it up.
--
-- Mind the two meanings: the *table* `triggers` lists the HTTP endpoints that start remote jobs; a `CREATE TRIGGER` is SQLite's.

PRAGMA application_id = 1953654628; -- 0x74726764, "trgd": `file queue.db` and the daemon tell our file from any other
PRAGMA user_version = 1;            -- a daemon older than the file must refuse it


-- The configured triggers, kept by the daemon from its configuration (which alone knows URLs and credentials), so that an
-- INSERT can be judged by SQL alone, before the daemon has ever run. WITHOUT ROWID: each INSERT looks here, in one b-tree.
CREATE TABLE triggers (
  name           TEXT    NOT NULL PRIMARY KEY,
  call_mode      TEXT    NOT NULL DEFAULT 'AsyncRequestReply' CHECK (call_mode IN ('AsyncRequestReply', 'FireAndForget', 'LongPolling')),
  method         TEXT    NOT NULL DEFAULT 'POST',
  origin         TEXT    NOT NULL DEFAULT '',                               -- scheme, host and port: for people, never a full URL
  repeatable     INTEGER NOT NULL DEFAULT 0 CHECK (repeatable IN (0, 1)),   -- may be fired again when in doubt
  max_arguments  INTEGER NOT NULL DEFAULT 65536 CHECK (max_arguments >= 2), -- bytes of `requests.arguments`; '{}' must fit
  active         INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),       -- 0: left the configuration; its rows wait
  paused         INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),       -- the operator's; survives start and reload
  paused_reason  TEXT,
  description    TEXT
) WITHOUT ROWID;


-- One row a request. The time defaults say "now" in whole milliseconds, truncated: 'now' is an integer number of
-- milliseconds inside SQLite and one instant for a whole statement, so both defaults are equal; julianday() is off by less
-- than 0.03 ms, which the + 0.5 undoes. (unixepoch('now', 'subsec') needs 3.42.)
--
-- AUTOINCREMENT: an id is never used twice, even after its row was pruned; remote systems have seen it.
-- NOT NULL and CHECK stand behind the SQL triggers, which answer first, with words a person can use.
--
-- Here and below, more than two values are spelled with OR: for a longer IN, SQLite fills a temporary table each time a
-- statement runs, which made an INSERT five times slower.
CREATE TABLE requests (
  id                  INTEGER PRIMARY KEY AUTOINCREMENT,

  -- what the producer says
  trigger_name        TEXT    NOT NULL,
  call_mode           TEXT    CHECK (call_mode IS NULL OR call_mode = 'AsyncRequestReply' OR call_mode = 'FireAndForget' OR call_mode = 'LongPolling'),
  priority            INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
  run_at              INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER)),
  expires_at          INTEGER,
  deadline_at         INTEGER,
  unique_key          TEXT,
  unique_scope        TEXT    NOT NULL DEFAULT 'unfinished' CHECK (unique_scope IN ('unfinished', 'kept')),
  concurrency_key     TEXT,
  correlation_id      TEXT,
  traceparent         TEXT,
  cancel_requested    INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),

  -- what the daemon writes back
  state               TEXT    NOT NULL DEFAULT 'pending' CHECK (
                        state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting'
                        OR state = 'succeeded' OR state = 'dispatched' OR state = 'failed' OR state = 'rejected'
                        OR state = 'expired' OR state = 'cancelled' OR state = 'uncertain'),
  round               INTEGER NOT NULL DEFAULT 1,
  attempt             INTEGER NOT NULL DEFAULT 0,
  due_at              INTEGER,
  status_uri          TEXT,
  output_uri          TEXT,
  effective_call_mode TEXT    CHECK (effective_call_mode IS NULL OR effective_call_mode = 'AsyncRequestReply' OR effective_call_mode = 'FireAndForget' OR effective_call_mode = 'LongPolling'),
  polls               INTEGER NOT NULL DEFAULT 0,
  last_polled_at      INTEGER,
  http_status         INTEGER,
  error_code          TEXT,
  error_message       TEXT,
  created_at          INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER)),
  started_at          INTEGER,
  accepted_at         INTEGER,
  finished_at         INTEGER,

  -- private: not part of the contract, may change with any version
  progress            TEXT,                       -- the daemon's own memory of the round, JSON
  unique_held         INTEGER NOT NULL DEFAULT 0, -- 1: a finished row that a later 'kept' request ran into; see requests_unique_kept

  -- what the producer says, last because it may be long: columns after it would lie on overflow pages
  arguments           TEXT    NOT NULL DEFAULT '{}'
);

-- Every index is partial: a row pays only for what it is in now. (The rowid ends each entry, so `id` is the tie-break of each
-- order without being named.)

-- Candidates of one trigger: higher priority first, then ready time, then id.
CREATE INDEX requests_candidates ON requests (trigger_name, priority DESC, coalesce(due_at, run_at)) WHERE state = 'pending';
-- When to wake next for a row that waits.
CREATE INDEX requests_wake ON requests (coalesce(due_at, run_at)) WHERE state = 'pending';
-- Whom to poll next.
CREATE INDEX requests_due ON requests (due_at) WHERE state IN ('polling', 'collecting');
-- What a start must judge: rows in which the last daemon died.
CREATE INDEX requests_triggering ON requests (id) WHERE state = 'triggering';
-- What an operator must settle.
CREATE INDEX requests_uncertain ON requests (id) WHERE state = 'uncertain';
-- Limits that pass while a row waits; they are watched by time, not by trigger, because a blocked trigger's rows expire too.
CREATE INDEX requests_expires ON requests (expires_at) WHERE state = 'pending' AND expires_at IS NOT NULL;
CREATE INDEX requests_deadline ON requests (deadline_at) WHERE state = 'pending' AND deadline_at IS NOT NULL;
-- Cancels still to be carried out.
CREATE INDEX requests_cancels ON requests (id) WHERE cancel_requested = 1 AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting');
-- Retention, oldest first. The state is in it so that a pass over long-kept failures reads no row.
CREATE INDEX requests_finished ON requests (finished_at, state) WHERE finished_at IS NOT NULL;
-- Producers look their rows up by these.
CREATE INDEX requests_correlation ON requests (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE INDEX requests_key ON requests (trigger_name, unique_key) WHERE unique_key IS NOT NULL;

-- At most one unfinished request per (trigger, key), whatever the scopes. `uncertain` counts until an operator settles it:
-- its remote job may be running.
CREATE UNIQUE INDEX requests_unique_unfinished ON requests (trigger_name, unique_key)
  WHERE unique_key IS NOT NULL AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting' OR state = 'uncertain');
-- A 'kept' INSERT conflicts with any row of its key that is still in the table. No index alone can say that, since finished
-- rows of scope 'unfinished' may share a key: requests_key_kept moves the last one that a 'kept' INSERT meets in here first.
CREATE UNIQUE INDEX requests_unique_kept ON requests (trigger_name, unique_key)
  WHERE unique_key IS NOT NULL AND (unique_scope = 'kept' OR unique_held = 1);


-- Bodies, apart so that reading states stays cheap and they can be pruned sooner. A row only if at least one byte came.
CREATE TABLE outputs (
  request_id   INTEGER PRIMARY KEY,
  content_type TEXT,
  bytes        INTEGER NOT NULL CHECK (bytes > 0),
  truncated    INTEGER NOT NULL DEFAULT 0 CHECK (truncated IN (0, 1)),
  body         BLOB    NOT NULL CHECK (typeof(body) IN ('text', 'blob')) -- TEXT if valid UTF-8; a BLOB column converts nothing
);


-- One row a firing, written when it ends. WITHOUT ROWID: appended nearly in order, one b-tree instead of two.
CREATE TABLE attempts (
  request_id    INTEGER NOT NULL,
  attempt       INTEGER NOT NULL,
  round         INTEGER NOT NULL,
  started_at    INTEGER NOT NULL,
  ended_at      INTEGER NOT NULL,
  http_status   INTEGER,
  outcome       TEXT    NOT NULL CHECK (
           outcome = 'accepted' OR outcome = 'answered' OR outcome = 'refused' OR outcome = 'not_sent' OR outcome = 'ambiguous'),
  status_uri    TEXT,
  error_code    TEXT,
  error_message TEXT,
  PRIMARY KEY (request_id, attempt)
) WITHOUT ROWID;


-- The one daemon of this file. `instance_id` is made here, once: it is part of every Idempotency-Key, so that two
-- installations never send the same one.
CREATE TABLE daemon (
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  version     TEXT,
  instance_id TEXT    NOT NULL,
  epoch       INTEGER NOT NULL DEFAULT 0, -- each start counts one up
  started_at  INTEGER,
  ready_at    INTEGER,                    -- NULL until recovery and the first look are done
  seen_at     INTEGER                     -- each 30 s
);
INSERT INTO daemon (id, instance_id) VALUES (1, lower(hex(randomblob(16))));


-- Which rows the INSERT of a key must not remove: three at most, for one statement. INSERT OR REPLACE deletes without firing
-- DELETE triggers and no SQL can see the OR REPLACE, but a twin noted before and gone after tells it. ON CONFLICT DO NOTHING,
-- DO UPDATE and OR IGNORE stay as they are. What DO NOTHING leaves in here is cleared by the next INSERT of a key.
--
-- UPDATE OR REPLACE needs no guard: what makes two rows twins is fixed (requests_fixed, requests_hold), except the state.
-- The daemon alone writes that, twice for each request and never with OR REPLACE: it should not pay for a SQL trigger.
CREATE TABLE replace_guard (
  twin INTEGER PRIMARY KEY
);


-- What a new row must be. One CASE of cheap tests, the first that fails speaks; bulk inserts pay for each of them.
-- `IS NOT` where a NULL must fail too. Lengths are bytes (CAST AS BLOB): length() of a text stops at a NUL character.
CREATE TRIGGER requests_insert BEFORE INSERT ON requests
BEGIN
  SELECT CASE
    WHEN t.name IS NULL THEN
      RAISE(ABORT, 'triggerd: unknown_trigger: trigger_name: must be the name of a trigger in the table triggers; configure it and run triggerd migrate, or reload the daemon')
    WHEN t.active IS NOT 1 THEN
      RAISE(ABORT, 'triggerd: inactive_trigger: trigger_name: this trigger has left the configuration and takes no new requests')

    -- never the producer's: id
    WHEN NEW.id IS NOT -1 THEN
      RAISE(ABORT, 'triggerd: daemon_column: id: is given by the database; leave it out') -- -1: not chosen, see requests_inserted
    WHEN NEW.state IS NOT 'pending' THEN
      RAISE(ABORT, 'triggerd: daemon_column: state: is written by the daemon; leave it out')
    WHEN NEW.round IS NOT 1 THEN
      RAISE(ABORT, 'triggerd: daemon_column: round: is written by the daemon; leave it out')
    WHEN NEW.attempt IS NOT 0 THEN
      RAISE(ABORT, 'triggerd: daemon_column: attempt: is written by the daemon; leave it out')
    WHEN NEW.due_at IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: due_at: is written by the daemon; leave it out (run_at says when to fire)')
    WHEN NEW.status_uri IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: status_uri: is written by the daemon; leave it out')
    WHEN NEW.output_uri IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: output_uri: is written by the daemon; leave it out')
    WHEN NEW.effective_call_mode IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: effective_call_mode: is written by the daemon; leave it out (call_mode says what is wanted)')
    WHEN NEW.polls IS NOT 0 THEN
      RAISE(ABORT, 'triggerd: daemon_column: polls: is written by the daemon; leave it out')
    WHEN NEW.last_polled_at IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: last_polled_at: is written by the daemon; leave it out')
    WHEN NEW.http_status IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: http_status: is written by the daemon; leave it out')
    WHEN NEW.error_code IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: error_code: is written by the daemon; leave it out')
    WHEN NEW.error_message IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: error_message: is written by the daemon; leave it out')
    WHEN NEW.created_at IS NOT CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) THEN
      RAISE(ABORT, 'triggerd: daemon_column: created_at: is the time of the INSERT, given by the database; leave it out')
    WHEN NEW.started_at IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: started_at: is written by the daemon; leave it out')
    WHEN NEW.accepted_at IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: accepted_at: is written by the daemon; leave it out')
    WHEN NEW.finished_at IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: finished_at: is written by the daemon; leave it out')
    WHEN NEW.progress IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: progress: is written by the daemon; leave it out')
    WHEN NEW.unique_held IS NOT 0 THEN
      RAISE(ABORT, 'triggerd: daemon_column: unique_held: is private; leave it out')

    WHEN NEW.call_mode <> 'AsyncRequestReply' AND NEW.call_mode <> 'FireAndForget' AND NEW.call_mode <> 'LongPolling' THEN
      RAISE(ABORT, 'triggerd: invalid_call_mode: call_mode: must be AsyncRequestReply, FireAndForget or LongPolling, or NULL for the call mode of the trigger')
    WHEN typeof(NEW.priority) <> 'integer' OR NEW.priority NOT BETWEEN -100 AND 100 THEN
      RAISE(ABORT, 'triggerd: invalid_priority: priority: must be an integer from -100 to 100 (higher runs first)')

    WHEN typeof(NEW.run_at) <> 'integer' OR NEW.run_at NOT BETWEEN 1000000000000 AND 9999999999999 THEN
      RAISE(ABORT, 'triggerd: invalid_time: run_at: must be an integer, Unix time in milliseconds (13 digits); leave it out for now')
    WHEN NEW.expires_at IS NOT NULL AND (typeof(NEW.expires_at) <> 'integer' OR NEW.expires_at NOT BETWEEN 1000000000000 AND 9999999999999) THEN
      RAISE(ABORT, 'triggerd: invalid_time: expires_at: must be an integer, Unix time in milliseconds (13 digits), or NULL')
    WHEN NEW.deadline_at IS NOT NULL AND (typeof(NEW.deadline_at) <> 'integer' OR NEW.deadline_at NOT BETWEEN 1000000000000 AND 9999999999999) THEN
      RAISE(ABORT, 'triggerd: invalid_time: deadline_at: must be an integer, Unix time in milliseconds (13 digits), or NULL')

    WHEN NEW.unique_key IS NOT NULL AND (typeof(NEW.unique_key) <> 'text' OR length(CAST(NEW.unique_key AS BLOB)) NOT BETWEEN 1 AND 255 OR instr(NEW.unique_key, char(0))) THEN
      RAISE(ABORT, 'triggerd: invalid_value: unique_key: must be text of 1 to 255 bytes without a NUL character, or NULL')
    WHEN NEW.unique_scope IS NOT 'unfinished' AND NEW.unique_scope IS NOT 'kept' THEN
      RAISE(ABORT, 'triggerd: invalid_value: unique_scope: must be unfinished or kept')
    WHEN NEW.concurrency_key IS NOT NULL AND (typeof(NEW.concurrency_key) <> 'text' OR length(CAST(NEW.concurrency_key AS BLOB)) NOT BETWEEN 1 AND 255 OR instr(NEW.concurrency_key, char(0))) THEN
      RAISE(ABORT, 'triggerd: invalid_value: concurrency_key: must be text of 1 to 255 bytes without a NUL character, or NULL')
    WHEN NEW.correlation_id IS NOT NULL AND (typeof(NEW.correlation_id) <> 'text' OR length(CAST(NEW.correlation_id AS BLOB)) NOT BETWEEN 1 AND 255 OR instr(NEW.correlation_id, char(0))) THEN
      RAISE(ABORT, 'triggerd: invalid_value: correlation_id: must be text of 1 to 255 bytes without a NUL character, or NULL')
    WHEN NEW.traceparent IS NOT NULL AND (
      typeof(NEW.traceparent) <> 'text' OR length(CAST(NEW.traceparent AS BLOB)) <> 55 OR length(NEW.traceparent) <> 55
      OR NEW.traceparent GLOB '*[^0-9a-f-]*' OR NEW.traceparent NOT GLOB '??-????????????????????????????????-????????????????-??'
      OR length(replace(NEW.traceparent, '-', '')) <> 52 OR substr(NEW.traceparent, 1, 2) = 'ff'
      OR substr(NEW.traceparent, 4, 32) = '00000000000000000000000000000000' OR substr(NEW.traceparent, 37, 16) = '0000000000000000'
    ) THEN
      RAISE(ABORT, 'triggerd: invalid_value: traceparent: must be a W3C traceparent in lower case (00-<32 hex digits>-<16 hex digits>-<2 hex digits>, neither id all zero), or NULL')
    WHEN typeof(NEW.cancel_requested) <> 'integer' OR NEW.cancel_requested NOT IN (0, 1) THEN
      RAISE(ABORT, 'triggerd: invalid_value: cancel_requested: must be 0, or 1 to cancel')

    WHEN NEW.arguments IS '{}' THEN NULL -- the default, known to be good
    WHEN typeof(NEW.arguments) <> 'text' THEN
      RAISE(ABORT, 'triggerd: invalid_arguments: arguments: must be TEXT, a JSON object (bind a string, not bytes); leave it out for {}')
    WHEN length(CAST(NEW.arguments AS BLOB)) > t.max_arguments THEN
      RAISE(ABORT, 'triggerd: arguments_too_large: arguments: has more bytes than max_arguments of this trigger; pass a reference to the data instead, or raise the limit')
    WHEN NOT json_valid(NEW.arguments) OR json_type(NEW.arguments) <> 'object' OR instr(NEW.arguments, char(0)) THEN
      RAISE(ABORT, 'triggerd: invalid_arguments: arguments: must be valid JSON and an object, argument name to value, such as {"report": "daily"}')
    WHEN json_type(NEW.arguments, '$."$callMode"') IS NOT NULL
      -- the same name spelled with \u escapes; a backslash is rare, the walk is not cheap
      OR (instr(NEW.arguments, '\') AND EXISTS (SELECT 1 FROM json_each(NEW.arguments) WHERE key = '$callMode')) THEN
      RAISE(ABORT, 'triggerd: invalid_arguments: arguments: must not contain $callMode, which the daemon adds; use the column call_mode')
  END
  FROM (SELECT 1) LEFT JOIN triggers AS t ON t.name = NEW.trigger_name;
END;

-- Before the INSERT a chosen id of -1 looks like no chosen id; after it, no given id is below 1.
CREATE TRIGGER requests_inserted AFTER INSERT ON requests WHEN NEW.id < 1
BEGIN
  SELECT RAISE(ABORT, 'triggerd: daemon_column: id: is given by the database; leave it out');
END;

-- A 'kept' row that meets finished rows of its key, none of them held: hold the last one. Then requests_unique_kept decides,
-- as the statement's own conflict clause says: a UNIQUE error (and the hold is rolled back with it), or nothing.
CREATE TRIGGER requests_key_kept BEFORE INSERT ON requests
WHEN NEW.unique_key IS NOT NULL AND NEW.unique_scope = 'kept'
  AND EXISTS (SELECT 1 FROM requests WHERE trigger_name = NEW.trigger_name AND unique_key = NEW.unique_key)
  AND NOT EXISTS (SELECT 1 FROM requests WHERE trigger_name = NEW.trigger_name AND unique_key = NEW.unique_key AND (unique_scope = 'kept' OR unique_held = 1))
BEGIN
  UPDATE requests SET unique_held = 1
  WHERE id = (SELECT max(id) FROM requests WHERE trigger_name = NEW.trigger_name AND unique_key = NEW.unique_key);
END;

-- Before a row with a key: note the twins that an OR REPLACE would remove. Three look-ups, one for each way to be a twin
-- (the last is what requests_key_kept may hold); nothing is written where there are none.
CREATE TRIGGER requests_key_insert BEFORE INSERT ON requests
WHEN NEW.unique_key IS NOT NULL AND (
  EXISTS (SELECT 1 FROM requests WHERE trigger_name = NEW.trigger_name AND unique_key = NEW.unique_key AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting' OR state = 'uncertain'))
  OR EXISTS (SELECT 1 FROM requests WHERE trigger_name = NEW.trigger_name AND unique_key = NEW.unique_key AND (unique_scope = 'kept' OR unique_held = 1))
  OR (NEW.unique_scope = 'kept' AND EXISTS (SELECT 1 FROM requests WHERE trigger_name = NEW.trigger_name AND unique_key = NEW.unique_key))
  OR EXISTS (SELECT 1 FROM replace_guard))
BEGIN
  DELETE FROM replace_guard;
  INSERT INTO replace_guard (twin)
  SELECT id FROM requests WHERE trigger_name = NEW.trigger_name AND unique_key = NEW.unique_key AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting' OR state = 'uncertain')
  UNION SELECT id FROM requests WHERE trigger_name = NEW.trigger_name AND unique_key = NEW.unique_key AND (unique_scope = 'kept' OR unique_held = 1)
  UNION SELECT id FROM requests WHERE NEW.unique_scope = 'kept' AND id = (SELECT max(id) FROM requests WHERE trigger_name = NEW.trigger_name AND unique_key = NEW.unique_key);
END;

-- After it: are they all still there?
CREATE TRIGGER requests_key_inserted AFTER INSERT ON requests
WHEN NEW.unique_key IS NOT NULL AND EXISTS (SELECT 1 FROM replace_guard WHERE NOT EXISTS (SELECT 1 FROM requests WHERE id = twin))
BEGIN
  SELECT RAISE(ABORT, 'triggerd: replaced: unique_key: OR REPLACE would delete another request; use ON CONFLICT DO NOTHING');
END;


-- What never changes. Each name of the rowid is listed: SQLite compares the names as they are written.
CREATE TRIGGER requests_fixed BEFORE UPDATE OF id, rowid, oid, _rowid_, trigger_name, unique_key, unique_scope, created_at ON requests
BEGIN
  SELECT CASE
    WHEN NEW.id IS NOT OLD.id THEN RAISE(ABORT, 'triggerd: fixed_column: id: never changes')
    WHEN NEW.trigger_name IS NOT OLD.trigger_name THEN RAISE(ABORT, 'triggerd: fixed_column: trigger_name: never changes; cancel this request and insert another')
    WHEN NEW.unique_key IS NOT OLD.unique_key THEN RAISE(ABORT, 'triggerd: fixed_column: unique_key: never changes; cancel this request and insert another')
    WHEN NEW.unique_scope IS NOT OLD.unique_scope THEN RAISE(ABORT, 'triggerd: fixed_column: unique_scope: never changes; cancel this request and insert another')
    WHEN NEW.created_at IS NOT OLD.created_at THEN RAISE(ABORT, 'triggerd: fixed_column: created_at: never changes')
  END;
END;

-- What a producer may change, and until when. Only where the state stays: the daemon writes some of these together with a
-- new state (the deadline at the first firing, a retry's cleared limits). The rules for the values are those of
-- requests_insert; setting a column to what it is already is no change.
CREATE TRIGGER requests_update BEFORE UPDATE OF
  call_mode, priority, run_at, expires_at, deadline_at, concurrency_key, correlation_id, traceparent, cancel_requested, arguments
ON requests WHEN NEW.state IS OLD.state
BEGIN
  SELECT CASE
    WHEN NEW.arguments IS NOT OLD.arguments THEN
      RAISE(ABORT, 'triggerd: fixed_column: arguments: may only be changed while the state is pending and attempt is 0; cancel this request and insert another')
    WHEN NEW.call_mode IS NOT OLD.call_mode THEN
      RAISE(ABORT, 'triggerd: not_pending: call_mode: may only be changed while the state is pending and attempt is 0')
    WHEN NEW.priority IS NOT OLD.priority THEN
      RAISE(ABORT, 'triggerd: not_pending: priority: may only be changed while the state is pending and attempt is 0')
    WHEN NEW.run_at IS NOT OLD.run_at THEN
      RAISE(ABORT, 'triggerd: not_pending: run_at: may only be changed while the state is pending and attempt is 0')
    WHEN NEW.expires_at IS NOT OLD.expires_at THEN
      RAISE(ABORT, 'triggerd: not_pending: expires_at: may only be changed while the state is pending and attempt is 0')
    WHEN NEW.deadline_at IS NOT OLD.deadline_at THEN
      RAISE(ABORT, 'triggerd: not_pending: deadline_at: may only be changed while the state is pending and attempt is 0')
    WHEN NEW.concurrency_key IS NOT OLD.concurrency_key THEN
      RAISE(ABORT, 'triggerd: not_pending: concurrency_key: may only be changed while the state is pending and attempt is 0')
    WHEN NEW.correlation_id IS NOT OLD.correlation_id THEN
      RAISE(ABORT, 'triggerd: not_pending: correlation_id: may only be changed while the state is pending and attempt is 0')
    WHEN NEW.traceparent IS NOT OLD.traceparent THEN
      RAISE(ABORT, 'triggerd: not_pending: traceparent: may only be changed while the state is pending and attempt is 0')
  END
  WHERE OLD.state IS NOT 'pending' OR OLD.attempt IS NOT 0;

  SELECT CASE
    WHEN NEW.cancel_requested IS NOT OLD.cancel_requested AND (NEW.cancel_requested IS NOT 1 OR typeof(NEW.cancel_requested) <> 'integer') THEN
      RAISE(ABORT, 'triggerd: invalid_value: cancel_requested: may only be changed from 0 to 1; a cancel cannot be taken back')

    WHEN NEW.call_mode IS NOT OLD.call_mode AND NEW.call_mode <> 'AsyncRequestReply' AND NEW.call_mode <> 'FireAndForget' AND NEW.call_mode <> 'LongPolling' THEN
      RAISE(ABORT, 'triggerd: invalid_call_mode: call_mode: must be AsyncRequestReply, FireAndForget or LongPolling, or NULL for the call mode of the trigger')
    WHEN NEW.priority IS NOT OLD.priority AND (typeof(NEW.priority) <> 'integer' OR NEW.priority NOT BETWEEN -100 AND 100) THEN
      RAISE(ABORT, 'triggerd: invalid_priority: priority: must be an integer from -100 to 100 (higher runs first)')

    WHEN NEW.run_at IS NOT OLD.run_at AND (typeof(NEW.run_at) <> 'integer' OR NEW.run_at NOT BETWEEN 1000000000000 AND 9999999999999) THEN
      RAISE(ABORT, 'triggerd: invalid_time: run_at: must be an integer, Unix time in milliseconds (13 digits)')
    WHEN NEW.expires_at IS NOT OLD.expires_at AND NEW.expires_at IS NOT NULL
      AND (typeof(NEW.expires_at) <> 'integer' OR NEW.expires_at NOT BETWEEN 1000000000000 AND 9999999999999) THEN
      RAISE(ABORT, 'triggerd: invalid_time: expires_at: must be an integer, Unix time in milliseconds (13 digits), or NULL')
    WHEN NEW.deadline_at IS NOT OLD.deadline_at AND NEW.deadline_at IS NOT NULL
      AND (typeof(NEW.deadline_at) <> 'integer' OR NEW.deadline_at NOT BETWEEN 1000000000000 AND 9999999999999) THEN
      RAISE(ABORT, 'triggerd: invalid_time: deadline_at: must be an integer, Unix time in milliseconds (13 digits), or NULL')

    WHEN NEW.concurrency_key IS NOT OLD.concurrency_key AND NEW.concurrency_key IS NOT NULL
      AND (typeof(NEW.concurrency_key) <> 'text' OR length(CAST(NEW.concurrency_key AS BLOB)) NOT BETWEEN 1 AND 255 OR instr(NEW.concurrency_key, char(0))) THEN
      RAISE(ABORT, 'triggerd: invalid_value: concurrency_key: must be text of 1 to 255 bytes without a NUL character, or NULL')
    WHEN NEW.correlation_id IS NOT OLD.correlation_id AND NEW.correlation_id IS NOT NULL
      AND (typeof(NEW.correlation_id) <> 'text' OR length(CAST(NEW.correlation_id AS BLOB)) NOT BETWEEN 1 AND 255 OR instr(NEW.correlation_id, char(0))) THEN
      RAISE(ABORT, 'triggerd: invalid_value: correlation_id: must be text of 1 to 255 bytes without a NUL character, or NULL')
    WHEN NEW.traceparent IS NOT OLD.traceparent AND NEW.traceparent IS NOT NULL AND (
      typeof(NEW.traceparent) <> 'text' OR length(CAST(NEW.traceparent AS BLOB)) <> 55 OR length(NEW.traceparent) <> 55
      OR NEW.traceparent GLOB '*[^0-9a-f-]*' OR NEW.traceparent NOT GLOB '??-????????????????????????????????-????????????????-??'
      OR length(replace(NEW.traceparent, '-', '')) <> 52 OR substr(NEW.traceparent, 1, 2) = 'ff'
      OR substr(NEW.traceparent, 4, 32) = '00000000000000000000000000000000' OR substr(NEW.traceparent, 37, 16) = '0000000000000000'
    ) THEN
      RAISE(ABORT, 'triggerd: invalid_value: traceparent: must be a W3C traceparent in lower case (00-<32 hex digits>-<16 hex digits>-<2 hex digits>, neither id all zero), or NULL')

    WHEN NEW.arguments IS OLD.arguments THEN NULL
    WHEN typeof(NEW.arguments) <> 'text' THEN
      RAISE(ABORT, 'triggerd: invalid_arguments: arguments: must be TEXT, a JSON object (bind a string, not bytes)')
    WHEN length(CAST(NEW.arguments AS BLOB)) > (SELECT max_arguments FROM triggers WHERE name = NEW.trigger_name) THEN
      RAISE(ABORT, 'triggerd: arguments_too_large: arguments: has more bytes than max_arguments of this trigger; pass a reference to the data instead, or raise the limit')
    WHEN NOT json_valid(NEW.arguments) OR json_type(NEW.arguments) <> 'object' OR instr(NEW.arguments, char(0)) THEN
      RAISE(ABORT, 'triggerd: invalid_arguments: arguments: must be valid JSON and an object, argument name to value, such as {"report": "daily"}')
    WHEN json_type(NEW.arguments, '$."$callMode"') IS NOT NULL
      OR (instr(NEW.arguments, '\') AND EXISTS (SELECT 1 FROM json_each(NEW.arguments) WHERE key = '$callMode')) THEN
      RAISE(ABORT, 'triggerd: invalid_arguments: arguments: must not contain $callMode, which the daemon adds; use the column call_mode')
  END;
END;

-- The way into requests_unique_kept by UPDATE; requests_key_kept takes it only where it meets nobody.
CREATE TRIGGER requests_hold BEFORE UPDATE OF unique_held ON requests WHEN NEW.unique_held IS NOT OLD.unique_held
BEGIN
  SELECT RAISE(ABORT, 'triggerd: replaced: unique_held: another request holds this key')
  FROM requests
  WHERE trigger_name = OLD.trigger_name AND unique_key = OLD.unique_key AND id <> OLD.id
   AND (unique_scope = 'kept' OR unique_held = 1);
END;


-- What may be deleted: only what has ended. The remote job of an unfinished row would run on with nobody to follow it.
CREATE TRIGGER requests_delete BEFORE DELETE ON requests
WHEN OLD.state = 'pending' OR OLD.state = 'triggering' OR OLD.state = 'polling' OR OLD.state = 'collecting' OR OLD.state = 'uncertain'
BEGIN
  SELECT RAISE(ABORT, 'triggerd: not_finished: state: only a finished request can be deleted; set cancel_requested = 1 first, or settle an uncertain one with triggerd resolve');
END;

-- Not a foreign key: those are off by default on every producer's connection.
CREATE TRIGGER requests_deleted AFTER DELETE ON requests
BEGIN
  DELETE FROM outputs WHERE request_id = OLD.id;
  DELETE FROM attempts WHERE request_id = OLD.id;
END;


-- What producers read. By id: two primary-key look-ups.
CREATE VIEW results AS
SELECT
  r.id,
  r.trigger_name,
  r.state,
  r.state IN ('succeeded', 'dispatched', 'failed', 'rejected', 'expired', 'cancelled', 'uncertain') AS is_final,
  CASE WHEN o.truncated = 0 AND typeof(o.body) = 'text' THEN o.body END AS output,
  r.error_code,
  r.error_message,
  r.http_status,
  r.effective_call_mode AS call_mode,
  r.attempt,
  r.correlation_id,
  r.unique_key,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.created_at / 1000.0, 'unixepoch') AS created,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_at / 1000.0, 'unixepoch') AS started,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.finished_at / 1000.0, 'unixepoch') AS finished,
  r.finished_at - r.started_at AS duration_ms
FROM requests AS r
LEFT JOIN outputs AS o ON o.request_id = r.id;


-- For people: why is it not running, or not ended, and what would free it? One line for each unfinished request, an
-- uncertain one included: it waits for an operator. One arm for each partial index, so that a table full of finished rows
-- costs nothing. `until` is when the daemon looks at the row again; NULL where no time but an event frees it.
CREATE VIEW request_why AS
SELECT
  r.id,
  r.trigger_name,
  r.state,
  CASE r.state
    WHEN 'pending' THEN CASE
      WHEN r.cancel_requested = 1 THEN 'a cancel was requested: ends as cancelled at the next look'
      WHEN r.expires_at <= r.now THEN 'expires_at has passed: ends at the next look'
      WHEN r.deadline_at <= r.now THEN 'the deadline has passed: ends at the next look'
      WHEN t.active IS NOT 1 THEN 'the trigger has left the configuration: waits until it is configured again'
      WHEN t.paused = 1 THEN 'the trigger is paused' || coalesce(' (' || t.paused_reason || ')', '') || ': waits for triggerd resume ' || t.name
      WHEN r.error_code = 'credential_refused' THEN 'the credential was refused: waits until it works; renew it and reload the daemon'
      WHEN r.error_code = 'credential_unavailable' THEN 'the credential cannot be had: waits until it can; see triggerd check'
      WHEN coalesce(r.due_at, r.run_at) <= r.now THEN 'ready: waits for a free place'
      WHEN r.error_code IS NOT NULL THEN 'waits to be fired again after ' || r.error_code || ' (attempt ' || r.attempt || ')'
      WHEN r.due_at IS NULL OR r.due_at = r.run_at THEN 'waits for run_at'
      ELSE 'waits for due_at'
    END
    WHEN 'triggering' THEN CASE
      WHEN r.cancel_requested = 1 THEN 'is being fired (attempt ' || r.attempt || '): the cancel waits for the answer'
      ELSE 'is being fired (attempt ' || r.attempt || ')'
    END
    WHEN 'uncertain' THEN
      'the remote job may have run' || coalesce(' (' || r.error_code || ')', '') || ': find out, then triggerd resolve ' || r.id
    ELSE CASE
      WHEN r.cancel_requested = 1 THEN 'a cancel was requested: ends as cancelled at the next look'
      WHEN r.deadline_at <= r.now THEN 'the deadline has passed: ends at the next look'
      WHEN r.error_code = 'forbidden_origin' THEN 'the ' || r.uri || ' is at an origin that is not allowed: nothing is sent there until allowed_origins has it'
      WHEN r.error_code = 'forbidden_address' THEN 'the ' || r.uri || ' is at an address that is not allowed: nothing is sent there'
      WHEN r.error_code = 'credential_refused' OR r.http_status = 401 THEN 'the ' || r.uri || ' refused the credential (401): asked again; renew it and reload the daemon'
      WHEN r.error_code = 'credential_unavailable' THEN 'the credential cannot be had: the ' || r.uri || ' is asked again when it can; see triggerd check'
      WHEN r.http_status = 403 THEN 'the ' || r.uri || ' answered 403: asked again; the credential may lack a right'
      WHEN r.error_code IS NOT NULL THEN 'the ' || r.uri || ' cannot be read (' || r.error_code || coalesce(', ' || r.http_status, '') || '): asked again'
      WHEN r.state = 'polling' THEN 'the remote job is running: polled again'
      ELSE 'the remote job has ended: its output is asked for'
    END
  END AS why,
  CASE
    WHEN r.state IN ('triggering', 'uncertain') OR r.cancel_requested = 1 THEN NULL
    WHEN r.state <> 'pending' THEN r.due_at
    WHEN t.active IS NOT 1 OR t.paused = 1 OR coalesce(r.due_at, r.run_at) <= r.now THEN NULL
    ELSE coalesce(r.due_at, r.run_at)
  END AS until
FROM (
  SELECT
    id, trigger_name, state, cancel_requested, attempt, run_at, due_at, expires_at, deadline_at, http_status, error_code,
    CASE state WHEN 'polling' THEN 'status URI' ELSE 'output URI' END AS uri,
    CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) AS now
  FROM (
    SELECT * FROM requests WHERE state = 'pending'
    UNION ALL SELECT * FROM requests WHERE state = 'triggering'
    UNION ALL SELECT * FROM requests WHERE state IN ('polling', 'collecting')
    UNION ALL SELECT * FROM requests WHERE state = 'uncertain'
  )
) AS r
LEFT JOIN triggers AS t ON t.name = r.trigger_name;
