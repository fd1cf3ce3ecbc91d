-- What the daemon knows and the rows alone do not tell: what each trigger waits for, and whether a daemon runs at all. And
-- how a person at the command line hands a request back to a running daemon.

PRAGMA user_version = 2;

-- Set by an orderly stop, NULL from the next start on.
ALTER TABLE daemon ADD COLUMN stopped_at INTEGER;


-- What each configured trigger is doing, kept by the daemon: written when it changes, once a second at most. Made anew at
-- each start; what it says of a daemon that does not run is old.
CREATE TABLE trigger_status (
  trigger_name    TEXT    NOT NULL PRIMARY KEY,
  slots_used      INTEGER NOT NULL,      -- requests that are triggering, polling or collecting
  waiting_for     TEXT CHECK (waiting_for IS NULL OR waiting_for = 'slot' OR waiting_for = 'rate' OR waiting_for = 'credential' OR waiting_for = 'breaker'),
  waiting_on      TEXT,                  -- the key of the configuration that is at its limit, or the code of the credential's trouble
  waiting_since   INTEGER,
  waiting_until   INTEGER,               -- when the daemon tries again; NULL where no time but an event frees it
  oldest_ready_at INTEGER,               -- since when the longest waiting of its ready requests is ready
  updated_at      INTEGER NOT NULL
) WITHOUT ROWID;


-- Private. Requests that somebody else than the daemon has made `polling` (triggerd resolve --as follow): a running daemon
-- knows the rows it polls by heart, and learns of these here. It takes them out when it has them.
CREATE TABLE handovers (
  request_id INTEGER PRIMARY KEY
);


-- For people: why is it not running, or not ended, and what would free it? One line for each unfinished request, an
-- uncertain one included: it waits for an operator. One arm for each partial index, so that a table full of finished rows
-- costs nothing. `until` is when the daemon looks at the row again; NULL where no time but an event frees it.
--
-- What holds a whole trigger back is in trigger_status, and counts for its ready rows: a code in the row is what happened
-- to that row last, which may be over. A daemon signs each 30 s; after three signs that did not come, it is gone.
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
      WHEN t.active IS NOT 1 THEN 'the trigger has left the configuration: waits until it is configured again'
      WHEN t.paused = 1 THEN 'the trigger is paused' || coalesce(' (' || t.paused_reason || ')', '') || ': waits for triggerd resume ' || t.name
      WHEN r.is_ready AND s.waiting_for = 'credential' AND s.waiting_on = 'credential_unavailable'
        THEN 'the credential of the trigger cannot be had: waits until its secret can be read; see triggerd check'
      WHEN r.is_ready AND s.waiting_for = 'credential'
        THEN 'the credential of the trigger was refused: waits until it works; renew it and reload the daemon'
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
    WHEN t.paused = 1 THEN NULL
    WHEN NOT r.is_ready THEN coalesce(r.due_at, r.run_at)
    WHEN s.waiting_for IS NOT NULL THEN s.waiting_until
  END AS until
FROM (
  SELECT *, coalesce(due_at, run_at) <= now AS is_ready
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
  )
) AS r
LEFT JOIN triggers AS t ON t.name = r.trigger_name
LEFT JOIN trigger_status AS s ON s.trigger_name = r.trigger_name
LEFT JOIN daemon AS d ON d.id = 1;
