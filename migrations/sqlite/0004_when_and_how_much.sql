-- When and how much: schedules and calendars, limits by key and by time, requests that wait for others, groups, hooks.
--
-- As before, the SQL triggers help honest producers; the daemon checks each row again.

PRAGMA user_version = 4;


-- What a producer may say of a request besides: whom it waits for, and which group it belongs to. Fixed like the trigger's name.
ALTER TABLE requests ADD COLUMN after_id INTEGER;                      -- fired only when this request has ended as after_when says
ALTER TABLE requests ADD COLUMN after_when TEXT NOT NULL DEFAULT 'succeeded' CHECK (after_when IN ('succeeded', 'ended'));
ALTER TABLE requests ADD COLUMN after_argument TEXT;                   -- the argument that becomes that request's output
ALTER TABLE requests ADD COLUMN after_pointer TEXT;                    -- JSON pointer (RFC 6901) to a part of that output
ALTER TABLE requests ADD COLUMN group_key TEXT;
-- Written by the daemon: the schedule that it is of, and for which of its times. NULL for a run by hand.
ALTER TABLE requests ADD COLUMN schedule_name TEXT;
ALTER TABLE requests ADD COLUMN scheduled_at INTEGER;
-- Private: why a pending row is out of the way of those that may be fired. NULL: it is not.
-- after: see after_id; key, order, rate: what max_concurrent_per_key, strict_order_per_key, rate_per_key hold back.
ALTER TABLE requests ADD COLUMN held_by TEXT CHECK (held_by IS NULL OR held_by = 'after' OR held_by = 'key' OR held_by = 'order' OR held_by = 'rate');

-- Rows that are held back are not in it, so that they are not walked over.
DROP INDEX requests_candidates;
CREATE INDEX requests_candidates ON requests (trigger_name, priority DESC, coalesce(due_at, run_at)) WHERE state = 'pending' AND held_by IS NULL;
-- Whom a key that has a place again lets go first.
CREATE INDEX requests_held ON requests (trigger_name, concurrency_key, priority DESC, coalesce(due_at, run_at))
  WHERE state = 'pending' AND (held_by = 'key' OR held_by = 'order' OR held_by = 'rate');
-- How many requests of a key are with the far end, and which of its unfinished ones is the oldest.
CREATE INDEX requests_key_active ON requests (trigger_name, concurrency_key)
  WHERE concurrency_key IS NOT NULL AND (state = 'triggering' OR state = 'polling' OR state = 'collecting');
CREATE INDEX requests_key_open ON requests (trigger_name, concurrency_key)
  WHERE concurrency_key IS NOT NULL AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting');
-- What may still be running although nobody knows.
CREATE INDEX requests_doubtful ON requests (trigger_name, finished_at) WHERE state = 'uncertain';
CREATE INDEX requests_key_doubtful ON requests (trigger_name, concurrency_key, finished_at) WHERE concurrency_key IS NOT NULL AND state = 'uncertain';
-- Who waits for a request.
CREATE INDEX requests_after ON requests (after_id) WHERE state = 'pending' AND held_by = 'after';
-- The members of a group, and those that have not ended.
CREATE INDEX requests_group ON requests (group_key) WHERE group_key IS NOT NULL;
CREATE INDEX requests_group_open ON requests (group_key)
  WHERE group_key IS NOT NULL AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting' OR state = 'uncertain');
-- One request for each time of a schedule; and those of a schedule that have not ended.
CREATE UNIQUE INDEX requests_scheduled ON requests (schedule_name, scheduled_at) WHERE schedule_name IS NOT NULL AND scheduled_at IS NOT NULL;
CREATE INDEX requests_schedule_open ON requests (schedule_name)
  WHERE schedule_name IS NOT NULL AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting' OR state = 'uncertain');


-- The rules for the new columns, apart from requests_insert so that a plain INSERT does not pay for them.
CREATE TRIGGER requests_insert_more BEFORE INSERT ON requests
WHEN NEW.after_id IS NOT NULL OR NEW.after_when IS NOT 'succeeded' OR NEW.after_argument IS NOT NULL OR NEW.after_pointer IS NOT NULL
  OR NEW.group_key IS NOT NULL OR NEW.schedule_name IS NOT NULL OR NEW.scheduled_at IS NOT NULL OR NEW.held_by IS NOT NULL
BEGIN
  SELECT CASE
    WHEN NEW.schedule_name IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: schedule_name: is written by the daemon; leave it out')
    WHEN NEW.scheduled_at IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: scheduled_at: is written by the daemon; leave it out (run_at says when to fire)')
    WHEN NEW.held_by IS NOT NULL THEN
      RAISE(ABORT, 'triggerd: daemon_column: held_by: is private; leave it out')
    WHEN NEW.after_id IS NULL AND (NEW.after_when IS NOT 'succeeded' OR NEW.after_argument IS NOT NULL) THEN
      RAISE(ABORT, 'triggerd: invalid_value: after_id: is missing; after_when and after_argument are about the request that it names')
    WHEN NEW.after_id IS NOT NULL AND (typeof(NEW.after_id) <> 'integer' OR NOT EXISTS (SELECT 1 FROM requests WHERE id = NEW.after_id)) THEN
      RAISE(ABORT, 'triggerd: invalid_value: after_id: must be the id of a request that is still in the table, or NULL')
    WHEN NEW.after_when IS NOT 'succeeded' AND NEW.after_when IS NOT 'ended' THEN
      RAISE(ABORT, 'triggerd: invalid_value: after_when: must be succeeded or ended')
    WHEN NEW.after_argument IS NOT NULL AND (typeof(NEW.after_argument) <> 'text' OR length(CAST(NEW.after_argument AS BLOB)) NOT BETWEEN 1 AND 255 OR instr(NEW.after_argument, char(0)) OR NEW.after_argument = '$callMode') THEN
      RAISE(ABORT, 'triggerd: invalid_value: after_argument: must be the name of an argument, text of 1 to 255 bytes, not $callMode, or NULL')
    WHEN NEW.after_pointer IS NOT NULL AND NEW.after_argument IS NULL THEN
      RAISE(ABORT, 'triggerd: invalid_value: after_argument: is missing; after_pointer says which part of the output it becomes')
    WHEN NEW.after_pointer IS NOT NULL AND (typeof(NEW.after_pointer) <> 'text' OR length(CAST(NEW.after_pointer AS BLOB)) > 255 OR instr(NEW.after_pointer, char(0)) OR (NEW.after_pointer <> '' AND NEW.after_pointer NOT GLOB '/*')) THEN
      RAISE(ABORT, 'triggerd: invalid_value: after_pointer: must be a JSON pointer of at most 255 bytes: empty, or beginning with /; or NULL for the whole output')
    WHEN NEW.group_key IS NOT NULL AND (typeof(NEW.group_key) <> 'text' OR length(CAST(NEW.group_key AS BLOB)) NOT BETWEEN 1 AND 255 OR instr(NEW.group_key, char(0))) THEN
      RAISE(ABORT, 'triggerd: invalid_value: group_key: must be text of 1 to 255 bytes without a NUL character, or NULL')
  END;
END;

-- Private. Requests that the daemon must still look at for what follows from their end: where it did not write the end itself
-- together with what follows, where that is too much for one commit, or where somebody came to wait for it afterwards.
CREATE TABLE endings (
  request_id INTEGER PRIMARY KEY,
  look_at    INTEGER NOT NULL DEFAULT 0,                           -- not before; for an uncertain one, its deadline
  whole      INTEGER NOT NULL DEFAULT 0 CHECK (whole IN (0, 1))    -- 1: nothing of it is done yet; 0: all but what waits for it
);
CREATE INDEX endings_look ON endings (look_at);

-- Out of the way from the first moment. The next look lets it go if what it waits for has ended already. No conflict clause:
-- that of the INSERT would take its place.
CREATE TRIGGER requests_after_inserted AFTER INSERT ON requests WHEN NEW.after_id IS NOT NULL
BEGIN
  UPDATE requests SET held_by = 'after' WHERE id = NEW.id;
  UPDATE endings SET look_at = 0 WHERE request_id = NEW.after_id AND look_at <> 0;
  INSERT INTO endings (request_id)
  SELECT id FROM requests
  WHERE id = NEW.after_id AND state <> 'pending' AND state <> 'triggering' AND state <> 'polling' AND state <> 'collecting'
    AND NOT EXISTS (SELECT 1 FROM endings WHERE request_id = NEW.after_id);
END;

CREATE TRIGGER requests_fixed_more BEFORE UPDATE OF after_id, after_when, after_argument, after_pointer, group_key, schedule_name, scheduled_at ON requests
BEGIN
  SELECT CASE
    WHEN NEW.after_id IS NOT OLD.after_id OR NEW.after_when IS NOT OLD.after_when THEN
      RAISE(ABORT, 'triggerd: fixed_column: after_id, after_when: never change; cancel this request and insert another')
    WHEN NEW.after_argument IS NOT OLD.after_argument OR NEW.after_pointer IS NOT OLD.after_pointer THEN
      RAISE(ABORT, 'triggerd: fixed_column: after_argument, after_pointer: never change; cancel this request and insert another')
    WHEN NEW.group_key IS NOT OLD.group_key THEN
      RAISE(ABORT, 'triggerd: fixed_column: group_key: never changes; cancel this request and insert another')
    WHEN (NEW.schedule_name IS NOT OLD.schedule_name AND OLD.schedule_name IS NOT NULL) OR (NEW.scheduled_at IS NOT OLD.scheduled_at AND OLD.scheduled_at IS NOT NULL) THEN
      RAISE(ABORT, 'triggerd: fixed_column: schedule_name, scheduled_at: never change')
    WHEN EXISTS (SELECT 1 FROM requests WHERE schedule_name = NEW.schedule_name AND scheduled_at = NEW.scheduled_at AND id <> OLD.id) THEN
      RAISE(ABORT, 'triggerd: replaced: scheduled_at: this time of the schedule has its request already')
  END;
END;

-- Another key has other limits: it is judged anew.
CREATE TRIGGER requests_rekeyed AFTER UPDATE OF concurrency_key ON requests
WHEN NEW.concurrency_key IS NOT OLD.concurrency_key
BEGIN
  UPDATE requests SET held_by = NULL WHERE id = NEW.id AND held_by <> 'after';
  -- And so is whoever stood behind it.
  UPDATE requests SET held_by = NULL WHERE id = (
    SELECT min(id) FROM requests
    WHERE trigger_name = OLD.trigger_name AND concurrency_key = OLD.concurrency_key AND concurrency_key IS NOT NULL
      AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting')
  ) AND state = 'pending' AND held_by = 'order';
END;

-- What others wait for stays until they have seen its end.
CREATE TRIGGER requests_awaited BEFORE DELETE ON requests
WHEN EXISTS (SELECT 1 FROM requests WHERE after_id = OLD.id AND state = 'pending' AND held_by = 'after')
BEGIN
  SELECT RAISE(ABORT, 'triggerd: not_finished: after_id: another request waits for the end of this one; cancel that first');
END;


-- Private. When a trigger with a rate, or a key of it, was fired last: as many as its rate counts. `key` is empty for the
-- trigger as a whole. `seq` counts up without a gap, so that how many there are is a difference of two.
CREATE TABLE rate_log (
  trigger_name TEXT    NOT NULL,
  key          TEXT    NOT NULL,
  seq          INTEGER NOT NULL,
  at           INTEGER NOT NULL,
  PRIMARY KEY (trigger_name, key, seq)
) WITHOUT ROWID;
CREATE INDEX rate_log_at ON rate_log (trigger_name, at);


-- Groups that somebody wants to hear of: a row says that all members are inserted, and which trigger is to be fired when
-- they have ended, once. Members that come later change nothing.
CREATE TABLE request_groups (
  group_key    TEXT    NOT NULL PRIMARY KEY,
  trigger_name TEXT,
  arguments    TEXT    NOT NULL DEFAULT '{}',
  created_at   INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER)),
  -- by the daemon
  completed_at INTEGER,
  request_id   INTEGER, -- the request that was inserted for it
  looked       INTEGER NOT NULL DEFAULT 0 CHECK (looked IN (0, 1)) -- private: the daemon knows it
) WITHOUT ROWID;
CREATE INDEX request_groups_new ON request_groups (group_key) WHERE looked = 0;
CREATE INDEX request_groups_open ON request_groups (group_key) WHERE completed_at IS NULL;

CREATE TRIGGER request_groups_insert BEFORE INSERT ON request_groups
BEGIN
  SELECT CASE
    WHEN typeof(NEW.group_key) <> 'text' OR length(CAST(NEW.group_key AS BLOB)) NOT BETWEEN 1 AND 255 OR instr(NEW.group_key, char(0)) THEN
      RAISE(ABORT, 'triggerd: invalid_value: group_key: must be text of 1 to 255 bytes without a NUL character')
    WHEN EXISTS (SELECT 1 FROM request_groups WHERE group_key = NEW.group_key) THEN
      RAISE(ABORT, 'triggerd: fixed_column: group_key: this group is there already')
    WHEN NEW.completed_at IS NOT NULL OR NEW.request_id IS NOT NULL OR NEW.looked IS NOT 0 THEN
      RAISE(ABORT, 'triggerd: daemon_column: completed_at, request_id, looked: are written by the daemon; leave them out')
    WHEN NEW.trigger_name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM triggers WHERE name = NEW.trigger_name) THEN
      RAISE(ABORT, 'triggerd: unknown_trigger: trigger_name: must be the name of a trigger in the table triggers, or NULL for none')
    WHEN NEW.trigger_name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM triggers WHERE name = NEW.trigger_name AND active = 1) THEN
      RAISE(ABORT, 'triggerd: inactive_trigger: trigger_name: this trigger has left the configuration and takes no new requests')
    WHEN typeof(NEW.arguments) <> 'text' OR NOT json_valid(NEW.arguments) OR json_type(NEW.arguments) <> 'object' OR instr(NEW.arguments, char(0)) THEN
      RAISE(ABORT, 'triggerd: invalid_arguments: arguments: must be TEXT, valid JSON and an object, argument name to value')
    WHEN length(CAST(NEW.arguments AS BLOB)) > coalesce((SELECT max_arguments FROM triggers WHERE name = NEW.trigger_name), 65536) THEN
      RAISE(ABORT, 'triggerd: arguments_too_large: arguments: has more bytes than max_arguments of this trigger')
    WHEN EXISTS (SELECT 1 FROM json_each(NEW.arguments) WHERE key = '$callMode') THEN
      RAISE(ABORT, 'triggerd: invalid_arguments: arguments: must not contain $callMode, which the daemon adds')
  END;
END;

-- Its row goes with the last of its members.
CREATE TRIGGER requests_group_deleted AFTER DELETE ON requests WHEN OLD.group_key IS NOT NULL
BEGIN
  DELETE FROM request_groups
  WHERE group_key = OLD.group_key AND completed_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM requests WHERE group_key = OLD.group_key AND group_key IS NOT NULL);
END;

-- How far each group is.
CREATE VIEW group_status AS
SELECT
  r.group_key,
  count(*) AS total,
  sum(r.state IN ('pending', 'triggering', 'polling', 'collecting')) AS unfinished,
  sum(r.state = 'succeeded') AS succeeded,
  sum(r.state = 'dispatched') AS dispatched,
  sum(r.state = 'failed') AS failed,
  sum(r.state = 'rejected') AS rejected,
  sum(r.state = 'expired') AS expired,
  sum(r.state = 'cancelled') AS cancelled,
  sum(r.state = 'uncertain') AS uncertain,
  sum(r.state IN ('pending', 'triggering', 'polling', 'collecting', 'uncertain')) = 0 AS is_complete,
  g.completed_at,
  g.request_id
FROM requests AS r INDEXED BY requests_group
LEFT JOIN request_groups AS g ON g.group_key = r.group_key
WHERE r.group_key IS NOT NULL
GROUP BY r.group_key;


-- Named sets of dates on which schedules that name them do not fire. A calendar of the configuration owns its rows.
CREATE TABLE calendars (
  name          TEXT    NOT NULL PRIMARY KEY,
  time_zone     TEXT,                              -- IANA name; which date a time is of. NULL: that of the schedule
  description   TEXT,
  owner         TEXT    NOT NULL DEFAULT 'sql' CHECK (owner IN ('sql', 'configuration')),
  problem       TEXT,                              -- by the daemon: why it cannot be used
  revision      INTEGER NOT NULL DEFAULT 1,        -- private: counts its changes
  seen_revision INTEGER NOT NULL DEFAULT 0         -- private: the one that the daemon knows
) WITHOUT ROWID;
CREATE INDEX calendars_changed ON calendars (name) WHERE revision <> seen_revision;

CREATE TABLE calendar_dates (
  calendar      TEXT NOT NULL,
  excluded_date TEXT NOT NULL,                     -- YYYY-MM-DD
  PRIMARY KEY (calendar, excluded_date)
) WITHOUT ROWID;

CREATE TRIGGER calendars_insert BEFORE INSERT ON calendars
BEGIN
  SELECT CASE
    WHEN typeof(NEW.name) <> 'text' OR NEW.name = '' OR NEW.name GLOB '*[^a-z0-9_-]*' OR length(NEW.name) > 150 THEN
      RAISE(ABORT, 'triggerd: invalid_value: name: must be 1 to 150 of a-z, 0-9, _ and -')
    WHEN EXISTS (SELECT 1 FROM calendars WHERE name = NEW.name) THEN
      RAISE(ABORT, 'triggerd: fixed_column: name: this calendar is there already')
  END;
END;
CREATE TRIGGER calendars_updated AFTER UPDATE OF time_zone ON calendars WHEN NEW.time_zone IS NOT OLD.time_zone
BEGIN
  UPDATE calendars SET revision = revision + 1, problem = NULL WHERE name = NEW.name;
END;
CREATE TRIGGER calendars_delete BEFORE DELETE ON calendars
BEGIN
  SELECT RAISE(ABORT, 'triggerd: not_finished: name: a schedule names this calendar; change that first')
  FROM schedules WHERE calendar = OLD.name LIMIT 1;
END;
CREATE TRIGGER calendars_deleted AFTER DELETE ON calendars
BEGIN
  DELETE FROM calendar_dates WHERE calendar = OLD.name;
END;
CREATE TRIGGER calendar_dates_insert BEFORE INSERT ON calendar_dates
BEGIN
  SELECT CASE
    WHEN NOT EXISTS (SELECT 1 FROM calendars WHERE name = NEW.calendar) THEN
      RAISE(ABORT, 'triggerd: unknown_calendar: calendar: must be the name of a calendar in the table calendars')
    WHEN typeof(NEW.excluded_date) <> 'text' OR date(NEW.excluded_date) IS NOT NEW.excluded_date THEN
      RAISE(ABORT, 'triggerd: invalid_value: excluded_date: must be a date, YYYY-MM-DD')
  END;
END;
CREATE TRIGGER calendar_dates_update BEFORE UPDATE ON calendar_dates
BEGIN
  SELECT RAISE(ABORT, 'triggerd: fixed_column: excluded_date: delete this date and insert the other');
END;
CREATE TRIGGER calendar_dates_inserted AFTER INSERT ON calendar_dates
BEGIN
  UPDATE calendars SET revision = revision + 1 WHERE name = NEW.calendar;
END;
CREATE TRIGGER calendar_dates_deleted AFTER DELETE ON calendar_dates
BEGIN
  UPDATE calendars SET revision = revision + 1 WHERE name = OLD.calendar;
END;


-- What inserts requests by the clock. A schedule of the configuration owns its row. Spans are in milliseconds.
CREATE TABLE schedules (
  name                   TEXT    NOT NULL PRIMARY KEY,
  trigger_name           TEXT    NOT NULL,
  arguments              TEXT    NOT NULL DEFAULT '{}',
  call_mode              TEXT    CHECK (call_mode IS NULL OR call_mode IN ('AsyncRequestReply', 'FireAndForget', 'LongPolling')),
  priority               INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
  expression             TEXT    NOT NULL,
  time_zone              TEXT    NOT NULL,                -- IANA name; UTC is said, not assumed
  calendar               TEXT,
  on_excluded            TEXT    NOT NULL DEFAULT 'skip' CHECK (on_excluded IN ('skip', 'next_working_day', 'previous_working_day')),
  starts_at              INTEGER,
  ends_at                INTEGER,
  overlap                TEXT    NOT NULL DEFAULT 'skip' CHECK (overlap IN ('skip', 'queue_one', 'queue_all', 'allow', 'cancel_running')),
  misfire                TEXT    NOT NULL DEFAULT 'run_once' CHECK (misfire IN ('run_once', 'skip', 'run_all')),
  catch_up_window        INTEGER NOT NULL DEFAULT 3600000 CHECK (catch_up_window >= 0),
  max_catch_up           INTEGER NOT NULL DEFAULT 100 CHECK (max_catch_up BETWEEN 1 AND 10000),
  dst_gap                TEXT    NOT NULL DEFAULT 'run_after' CHECK (dst_gap IN ('run_after', 'skip')),
  dst_overlap            TEXT    NOT NULL DEFAULT 'first' CHECK (dst_overlap IN ('first', 'both')),
  jitter                 INTEGER NOT NULL DEFAULT 0 CHECK (jitter BETWEEN 0 AND 86400000),
  disable_after_launches INTEGER CHECK (disable_after_launches IS NULL OR disable_after_launches >= 1),
  disable_after_faults   INTEGER CHECK (disable_after_faults IS NULL OR disable_after_faults >= 1),
  disable_grace          INTEGER NOT NULL DEFAULT 86400000 CHECK (disable_grace >= 0),
  paused                 INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
  paused_reason          TEXT,
  description            TEXT,

  -- by the daemon
  owner                  TEXT    NOT NULL DEFAULT 'sql' CHECK (owner IN ('sql', 'configuration')),
  active                 INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)), -- 0: left the configuration
  words                  TEXT,                            -- the expression, for people
  problem                TEXT,                            -- why it cannot be used; cleared by a change
  last_at                INTEGER,                         -- the last of its times that is settled: fired, skipped or missed
  next_at                INTEGER,                         -- the next one; NULL: none, or not known yet
  last_request_id        INTEGER,
  failed_launches        INTEGER NOT NULL DEFAULT 0,      -- in a row: no remote job was started
  launched_at            INTEGER,                         -- when one was, last
  faults                 INTEGER NOT NULL DEFAULT 0,      -- in a row: the remote job failed
  well_at                INTEGER,                         -- when one ended well, last
  created_at             INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER)),

  -- private
  revision               INTEGER NOT NULL DEFAULT 0,      -- the daemon counts it up with each change of its own
  look_at                INTEGER DEFAULT 0                -- when the daemon must see to it; 0: it has changed; NULL: never
) WITHOUT ROWID;
CREATE INDEX schedules_look ON schedules (look_at) WHERE active = 1 AND paused = 0 AND problem IS NULL AND look_at IS NOT NULL;
CREATE INDEX schedules_calendar ON schedules (calendar) WHERE calendar IS NOT NULL;

CREATE TRIGGER schedules_insert BEFORE INSERT ON schedules
BEGIN
  SELECT CASE
    WHEN typeof(NEW.name) <> 'text' OR NEW.name = '' OR NEW.name GLOB '*[^a-z0-9_-]*' OR length(NEW.name) > 150 THEN
      RAISE(ABORT, 'triggerd: invalid_value: name: must be 1 to 150 of a-z, 0-9, _ and -')
    WHEN EXISTS (SELECT 1 FROM schedules WHERE name = NEW.name) THEN
      RAISE(ABORT, 'triggerd: fixed_column: name: this schedule is there already; change or delete it')
    WHEN NEW.revision = 0 AND (NEW.owner IS NOT 'sql' OR NEW.active IS NOT 1 OR NEW.words IS NOT NULL OR NEW.problem IS NOT NULL OR NEW.last_at IS NOT NULL
      OR NEW.next_at IS NOT NULL OR NEW.last_request_id IS NOT NULL OR NEW.failed_launches IS NOT 0 OR NEW.launched_at IS NOT NULL
      OR NEW.faults IS NOT 0 OR NEW.well_at IS NOT NULL OR NEW.look_at IS NOT 0) THEN
      RAISE(ABORT, 'triggerd: daemon_column: owner to look_at: are written by the daemon; leave them out')
  END;
END;

-- The rules for what it inserts are those of requests_insert; expression and zone are judged by the daemon, see `problem`.
CREATE TRIGGER schedules_inserted AFTER INSERT ON schedules
BEGIN
  SELECT CASE
    WHEN NOT EXISTS (SELECT 1 FROM triggers WHERE name = NEW.trigger_name) THEN
      RAISE(ABORT, 'triggerd: unknown_trigger: trigger_name: must be the name of a trigger in the table triggers; configure it and run triggerd migrate, or reload the daemon')
    WHEN NEW.calendar IS NOT NULL AND NOT EXISTS (SELECT 1 FROM calendars WHERE name = NEW.calendar) THEN
      RAISE(ABORT, 'triggerd: unknown_calendar: calendar: must be the name of a calendar in the table calendars, or NULL')
    WHEN typeof(NEW.arguments) <> 'text' OR NOT json_valid(NEW.arguments) OR json_type(NEW.arguments) <> 'object' OR instr(NEW.arguments, char(0)) THEN
      RAISE(ABORT, 'triggerd: invalid_arguments: arguments: must be TEXT, valid JSON and an object, argument name to value')
    WHEN length(CAST(NEW.arguments AS BLOB)) > (SELECT max_arguments FROM triggers WHERE name = NEW.trigger_name) THEN
      RAISE(ABORT, 'triggerd: arguments_too_large: arguments: has more bytes than max_arguments of this trigger; pass a reference to the data instead, or raise the limit')
    WHEN EXISTS (SELECT 1 FROM json_each(NEW.arguments) WHERE key = '$callMode') THEN
      RAISE(ABORT, 'triggerd: invalid_arguments: arguments: must not contain $callMode, which the daemon adds; use the column call_mode')
    WHEN typeof(NEW.expression) <> 'text' OR length(CAST(NEW.expression AS BLOB)) NOT BETWEEN 1 AND 255 THEN
      RAISE(ABORT, 'triggerd: invalid_value: expression: must be text of 1 to 255 bytes: cron of 5 fields, Quartz of 6 or 7, or such as @daily and @every 90s')
    WHEN typeof(NEW.time_zone) <> 'text' OR length(CAST(NEW.time_zone AS BLOB)) NOT BETWEEN 1 AND 255 THEN
      RAISE(ABORT, 'triggerd: invalid_value: time_zone: must be the name of a time zone such as Europe/Berlin, or UTC')
    WHEN (NEW.starts_at IS NOT NULL AND (typeof(NEW.starts_at) <> 'integer' OR NEW.starts_at NOT BETWEEN 1000000000000 AND 9999999999999))
      OR (NEW.ends_at IS NOT NULL AND (typeof(NEW.ends_at) <> 'integer' OR NEW.ends_at NOT BETWEEN 1000000000000 AND 9999999999999)) THEN
      RAISE(ABORT, 'triggerd: invalid_time: starts_at, ends_at: must be integers, Unix time in milliseconds (13 digits), or NULL')
    WHEN NEW.priority <> CAST(NEW.priority AS INTEGER) OR typeof(NEW.priority) <> 'integer' OR typeof(NEW.catch_up_window) <> 'integer' OR typeof(NEW.max_catch_up) <> 'integer'
      OR typeof(NEW.jitter) <> 'integer' OR typeof(NEW.disable_grace) <> 'integer'
      OR typeof(NEW.disable_after_launches) NOT IN ('integer', 'null') OR typeof(NEW.disable_after_faults) NOT IN ('integer', 'null') THEN
      RAISE(ABORT, 'triggerd: invalid_value: priority, catch_up_window, max_catch_up, jitter, disable_after_launches, disable_after_faults, disable_grace: must be integers (spans in milliseconds)')
  END;
END;

-- A change of what it says is judged like a new one, and counts from now: no time before it is fired for. The daemon, which
-- counts `revision` up, may change what the configuration owns; nobody else.
CREATE TRIGGER schedules_update BEFORE UPDATE ON schedules WHEN NEW.revision IS OLD.revision
BEGIN
  SELECT CASE
    WHEN NEW.name IS NOT OLD.name OR NEW.created_at IS NOT OLD.created_at THEN
      RAISE(ABORT, 'triggerd: fixed_column: name, created_at: never change')
    WHEN OLD.owner = 'configuration' AND (
      NEW.trigger_name IS NOT OLD.trigger_name OR NEW.arguments IS NOT OLD.arguments OR NEW.call_mode IS NOT OLD.call_mode OR NEW.priority IS NOT OLD.priority
      OR NEW.expression IS NOT OLD.expression OR NEW.time_zone IS NOT OLD.time_zone OR NEW.calendar IS NOT OLD.calendar OR NEW.on_excluded IS NOT OLD.on_excluded
      OR NEW.starts_at IS NOT OLD.starts_at OR NEW.ends_at IS NOT OLD.ends_at OR NEW.overlap IS NOT OLD.overlap OR NEW.misfire IS NOT OLD.misfire
      OR NEW.catch_up_window IS NOT OLD.catch_up_window OR NEW.max_catch_up IS NOT OLD.max_catch_up OR NEW.dst_gap IS NOT OLD.dst_gap
      OR NEW.dst_overlap IS NOT OLD.dst_overlap OR NEW.jitter IS NOT OLD.jitter OR NEW.disable_after_launches IS NOT OLD.disable_after_launches
      OR NEW.disable_after_faults IS NOT OLD.disable_after_faults OR NEW.disable_grace IS NOT OLD.disable_grace OR NEW.description IS NOT OLD.description) THEN
      RAISE(ABORT, 'triggerd: fixed_column: this schedule is the configuration''s: change it there and reload the daemon (paused is yours)')
    WHEN NEW.owner IS NOT OLD.owner OR NEW.active IS NOT OLD.active OR NEW.words IS NOT OLD.words OR NEW.problem IS NOT OLD.problem OR NEW.last_at IS NOT OLD.last_at
      OR NEW.next_at IS NOT OLD.next_at OR NEW.last_request_id IS NOT OLD.last_request_id OR NEW.look_at IS NOT OLD.look_at
      OR NEW.failed_launches IS NOT OLD.failed_launches OR NEW.launched_at IS NOT OLD.launched_at OR NEW.faults IS NOT OLD.faults
      OR NEW.well_at IS NOT OLD.well_at THEN
      RAISE(ABORT, 'triggerd: daemon_column: owner to look_at: are written by the daemon')
  END;
END;
CREATE TRIGGER schedules_changed AFTER UPDATE OF
  trigger_name, arguments, call_mode, priority, expression, time_zone, calendar, on_excluded, starts_at, ends_at, dst_gap, dst_overlap, jitter
ON schedules WHEN NEW.revision IS OLD.revision
BEGIN
  SELECT CASE
    WHEN NOT EXISTS (SELECT 1 FROM triggers WHERE name = NEW.trigger_name) THEN
      RAISE(ABORT, 'triggerd: unknown_trigger: trigger_name: must be the name of a trigger in the table triggers')
    WHEN NEW.calendar IS NOT NULL AND NOT EXISTS (SELECT 1 FROM calendars WHERE name = NEW.calendar) THEN
      RAISE(ABORT, 'triggerd: unknown_calendar: calendar: must be the name of a calendar in the table calendars, or NULL')
    WHEN typeof(NEW.arguments) <> 'text' OR NOT json_valid(NEW.arguments) OR json_type(NEW.arguments) <> 'object' OR instr(NEW.arguments, char(0))
      OR EXISTS (SELECT 1 FROM json_each(NEW.arguments) WHERE key = '$callMode') THEN
      RAISE(ABORT, 'triggerd: invalid_arguments: arguments: must be TEXT, valid JSON and an object without $callMode')
    WHEN length(CAST(NEW.arguments AS BLOB)) > (SELECT max_arguments FROM triggers WHERE name = NEW.trigger_name) THEN
      RAISE(ABORT, 'triggerd: arguments_too_large: arguments: has more bytes than max_arguments of this trigger')
    WHEN (NEW.starts_at IS NOT NULL AND (typeof(NEW.starts_at) <> 'integer' OR NEW.starts_at NOT BETWEEN 1000000000000 AND 9999999999999))
      OR (NEW.ends_at IS NOT NULL AND (typeof(NEW.ends_at) <> 'integer' OR NEW.ends_at NOT BETWEEN 1000000000000 AND 9999999999999)) THEN
      RAISE(ABORT, 'triggerd: invalid_time: starts_at, ends_at: must be integers, Unix time in milliseconds (13 digits), or NULL')
  END;
  UPDATE schedules SET
    revision = revision + 1, look_at = 0, next_at = NULL, problem = NULL, words = NULL,
    last_at = max(coalesce(last_at, 0), CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER))
  WHERE name = NEW.name;
END;
-- What came due while it was paused is not caught up with, and its failures are forgotten.
CREATE TRIGGER schedules_resumed AFTER UPDATE OF paused ON schedules WHEN OLD.paused = 1 AND NEW.paused = 0
BEGIN
  UPDATE schedules SET
    revision = revision + 1, look_at = 0, next_at = NULL, paused_reason = NULL, failed_launches = 0, faults = 0,
    last_at = max(coalesce(last_at, 0), CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER))
  WHERE name = NEW.name;
END;
CREATE TRIGGER schedules_delete BEFORE DELETE ON schedules WHEN OLD.owner = 'configuration' AND OLD.active = 1
BEGIN
  SELECT RAISE(ABORT, 'triggerd: fixed_column: name: this schedule is the configuration''s: take it out there and reload the daemon');
END;


-- What became of each time of each schedule, and why. Times beyond what is told one by one share a row.
CREATE TABLE schedule_events (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  schedule_name TEXT    NOT NULL,
  nominal_at    INTEGER,                   -- the time it is about; NULL: none (a run by hand, a pause)
  last_at       INTEGER,                   -- of several, the last
  times         INTEGER NOT NULL DEFAULT 1,
  event         TEXT    NOT NULL CHECK (event IN ('fired', 'skipped', 'missed', 'disabled')),
  reason        TEXT    NOT NULL,          -- due, caught_up, run_now, backfill; overlap, calendar, dst_gap, ...; for people: note
  note          TEXT,
  request_id    INTEGER,                   -- the request that was inserted, or that was in the way
  at            INTEGER NOT NULL           -- when that was decided
);
CREATE INDEX schedule_events_by_name ON schedule_events (schedule_name, nominal_at);


-- For people: why is it not running, or not ended, and what would free it? As before, and what holds single rows back.
DROP VIEW request_why;
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
      WHEN r.held_by = 'after' THEN coalesce((
        SELECT CASE
          WHEN p.state = 'uncertain' AND r.after_when = 'ended' AND p.deadline_at IS NOT NULL
            THEN 'waits for request ' || p.id || ', which is uncertain: goes on when the deadline of that has passed, or after triggerd resolve ' || p.id
          WHEN p.state = 'uncertain' THEN 'waits for request ' || p.id || ', which is uncertain: find out, then triggerd resolve ' || p.id
          WHEN p.state IN ('pending', 'triggering', 'polling', 'collecting')
            THEN 'waits for request ' || p.id || ' (' || p.state || ') to ' || CASE r.after_when WHEN 'ended' THEN 'end' ELSE 'succeed' END
          ELSE 'request ' || p.id || ' has ended (' || p.state || '): goes on at the next look'
        END
        FROM requests AS p WHERE p.id = r.after_id), 'waits for request ' || r.after_id || ', which is gone: ends at the next look')
      WHEN t.active IS NOT 1 THEN 'the trigger has left the configuration: waits until it is configured again'
      WHEN t.paused = 1 THEN 'the trigger is paused' || coalesce(' (' || t.paused_reason || ')', '') || ': waits for triggerd resume ' || t.name
      WHEN r.held_by = 'key' THEN 'its concurrency key ' || r.concurrency_key || ' has as many requests with the far end as max_concurrent_per_key allows, or uncertain ones that count (hold_uncertain): waits for one of them to end'
      WHEN r.held_by = 'order' THEN 'its concurrency key ' || r.concurrency_key || ' is worked off in order: ' || coalesce((
        SELECT 'waits for request ' || min(p.id) FROM requests AS p INDEXED BY requests_key_active
        WHERE p.trigger_name = r.trigger_name AND p.concurrency_key = r.concurrency_key
          AND p.concurrency_key IS NOT NULL AND (p.state = 'triggering' OR p.state = 'polling' OR p.state = 'collecting')), (
        SELECT 'waits for request ' || min(p.id) || ', which is uncertain: find out, then triggerd resolve ' || min(p.id)
        FROM requests AS p INDEXED BY requests_key_doubtful
        WHERE p.trigger_name = r.trigger_name AND p.concurrency_key = r.concurrency_key AND p.concurrency_key IS NOT NULL
          AND p.state = 'uncertain' AND p.deadline_at > r.now), (
        SELECT 'waits for request ' || min(p.id) FROM requests AS p INDEXED BY requests_key_open
        WHERE p.trigger_name = r.trigger_name AND p.concurrency_key = r.concurrency_key AND p.id < r.id
          AND p.concurrency_key IS NOT NULL AND (p.state = 'pending' OR p.state = 'triggering' OR p.state = 'polling' OR p.state = 'collecting')),
        'goes on at the next look')
      WHEN r.held_by = 'rate' THEN 'its concurrency key ' || r.concurrency_key || ' was fired as often as rate_per_key allows: waits for its time'
      WHEN r.is_ready AND s.waiting_for = 'credential' AND s.waiting_on = 'credential_unavailable'
        THEN 'the credential of the trigger cannot be had: waits until its secret can be read; see triggerd check'
      WHEN r.is_ready AND s.waiting_for = 'credential'
        THEN 'the credential of the trigger was refused: waits until it works; renew it and reload the daemon'
      WHEN r.is_ready AND s.waiting_for = 'breaker'
        THEN 'the breaker of ' || coalesce(s.waiting_on, 'the far end') || ' is open: too many firings in a row failed; waits until one gets through'
      WHEN r.is_ready AND s.waiting_for = 'rate'
        THEN 'the trigger was fired as often as ' || coalesce(s.waiting_on, 'rate') || ' allows: waits for its time'
      WHEN r.is_ready AND s.waiting_for = 'slot' AND s.waiting_on = 'hold_uncertain'
        THEN 'an uncertain request of the trigger keeps its place (hold_uncertain): find out, then triggerd resolve; or waits until it has had its time'
      WHEN r.is_ready AND s.waiting_for = 'slot'
        THEN 'ready: waits for a free place' || coalesce(' (' || s.waiting_on || ')', '') || '; of this trigger, ' || s.slots_used || ' are with the far end'
      WHEN r.is_ready THEN 'ready: is fired at the next look'
      WHEN r.error_code = 'credential_refused' THEN 'the credential was refused: waits until it works; renew it and reload the daemon'
      WHEN r.error_code = 'credential_unavailable' THEN 'the credential cannot be had: waits until its secret can be read; see triggerd check'
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
      WHEN t.active IS NOT 1 THEN 'the trigger has left the configuration: the ' || r.uri || ' is not asked until it is configured again'
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
  END || CASE
    WHEN r.state = 'uncertain' THEN ''
    WHEN d.stopped_at IS NOT NULL OR d.seen_at IS NULL THEN '; but no daemon runs: start triggerd'
    WHEN d.seen_at < r.now - 90000 THEN '; but no daemon was seen for ' || ((r.now - d.seen_at) / 1000) || ' s: see whether triggerd runs'
    ELSE ''
  END AS why,
  CASE
    WHEN r.state = 'triggering' OR r.state = 'uncertain' OR r.cancel_requested = 1 OR t.active IS NOT 1 THEN NULL
    WHEN r.state <> 'pending' THEN r.due_at
    WHEN r.held_by = 'after' AND r.after_when = 'ended' THEN (SELECT deadline_at FROM requests WHERE id = r.after_id AND state = 'uncertain')
    WHEN t.paused = 1 OR r.held_by IS NOT NULL THEN NULL
    WHEN NOT r.is_ready THEN coalesce(r.due_at, r.run_at)
    WHEN s.waiting_for IS NOT NULL THEN s.waiting_until
  END AS until
FROM (
  SELECT *, coalesce(due_at, run_at) <= now AS is_ready
  FROM (
    SELECT
      id, trigger_name, state, cancel_requested, attempt, run_at, due_at, expires_at, deadline_at, http_status, error_code,
      concurrency_key, after_id, after_when, held_by,
      CASE state WHEN 'polling' THEN 'status URI' ELSE 'output URI' END AS uri,
      CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) AS now
    FROM (
      SELECT * FROM requests WHERE state = 'pending'
      UNION ALL SELECT * FROM requests WHERE state = 'triggering'
      UNION ALL SELECT * FROM requests WHERE state IN ('polling', 'collecting')
      UNION ALL SELECT * FROM requests WHERE state = 'uncertain'
    )
  )
) AS r
LEFT JOIN triggers AS t ON t.name = r.trigger_name
LEFT JOIN trigger_status AS s ON s.trigger_name = r.trigger_name
LEFT JOIN daemon AS d ON d.id = 1;
