#!/usr/bin/env python3
"""The schema as a producer meets it, through one client of SQLite. Called by run.sh.

  clients.py program              the sqlite3 program
  clients.py module               Python's sqlite3 module
  clients.py library FILE         a SQLite shared library, called by its C interface

Needs nothing but Python's standard library. The last line is `N passed, N failed`.
"""

import ctypes
import datetime
import glob
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MIGRATIONS = sorted(glob.glob(os.path.join(HERE, "../../migrations/sqlite/*.sql")))


class Program:
  """The sqlite3 program, one process for each call, as a shell script has it."""

  name = "the sqlite3 program"

  def __init__(self, path):
    self.path = path

  def run(self, *statements):
    """The rows (as text) and the first error, or None. Goes on after an error, as the program does with a script."""
    done = subprocess.run(
      ["sqlite3", "-batch", "-init", os.devnull, "-separator", "\x1f", self.path],
      input=";\n".join(statements) + ";\n", capture_output=True, text=True, check=False)
    rows = [tuple(line.split("\x1f")) for line in done.stdout.splitlines()]
    return rows, done.stderr.strip() or None


class Module:
  """Python's sqlite3 module. Transactions are the statements' own (isolation_level=None)."""

  name = "Python's sqlite3 module"

  def __init__(self, path):
    self.connection = sqlite3.connect(path, isolation_level=None)

  def run(self, *statements):
    rows, error = [], None
    for statement in statements:
      try:
        if sqlite3.complete_statement(statement) and statement.count(";\n") > 1:
          self.connection.executescript(statement)
        else:
          rows += [tuple("" if v is None else str(v) for v in row) for row in self.connection.execute(statement)]
      except sqlite3.Error as e:
        error = error or str(e)
    return rows, error


class Library:
  """Any SQLite library, by sqlite3_exec: how an old version is met without an old distribution."""

  def __init__(self, path):
    self.c = ctypes.CDLL(LIBRARY)
    self.c.sqlite3_libversion.restype = ctypes.c_char_p
    self.c.sqlite3_free.argtypes = [ctypes.c_void_p]
    self.handle = ctypes.c_void_p()
    assert self.c.sqlite3_open(path.encode(), ctypes.byref(self.handle)) == 0
    self.name = f"the C interface of SQLite {self.c.sqlite3_libversion().decode()}"

  def run(self, *statements):
    rows, error = [], None
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p), ctypes.c_void_p)

    @callback
    def row(_, count, values, __):
      rows.append(tuple((values[i] or b"").decode(errors="replace") for i in range(count)))
      return 0

    for statement in statements:
      message = ctypes.c_char_p()
      if self.c.sqlite3_exec(self.handle, statement.encode(), row, None, ctypes.byref(message)) != 0:
        error = error or (message.value or b"?").decode()
        self.c.sqlite3_free(message)
    return rows, error


passed, failed = 0, 0


def check(what, ok, found=""):
  global passed, failed
  if ok:
    passed += 1
  else:
    failed += 1
    print(f"  FAILED: {what}: {found}")


def read(name):
  with open(os.path.join(HERE, name), encoding="utf-8") as file:
    return file.read()


def refused():
  """The cases of refused.sql: (code, column, statement)."""
  lines = [line for line in read("refused.sql").splitlines()[2:] if line and not line.startswith("-- # ")]
  for title, statement in zip(lines[::2], lines[1::2], strict=True):
    code, column = title.removeprefix("-- ").split(": ")
    yield code, column, statement.removesuffix(";")


CODES = {
  "unknown_trigger", "inactive_trigger", "invalid_arguments", "invalid_call_mode", "invalid_priority", "invalid_time",
  "invalid_value", "arguments_too_large", "daemon_column", "fixed_column", "not_pending", "replaced", "not_finished",
}

EVERYTHING = [f"SELECT * FROM {table} ORDER BY 1" for table in
       ("requests", "outputs", "attempts", "triggers", "daemon", "replace_guard", "sqlite_sequence")]


def database(kind, folder, number=[0]):
  """A new database in WAL mode, made from the migrations through the client itself, with the rows of the fixture."""
  number[0] += 1
  client = kind(os.path.join(folder, f"{number[0]}.db"))
  _, error = client.run("PRAGMA journal_mode = WAL")
  assert error is None, error
  for path in MIGRATIONS:
    with open(path, encoding="utf-8") as file:
      _, error = client.run("BEGIN;\n" + file.read() + "\nCOMMIT;\n")
    assert error is None, (path, error)
  _, error = client.run(read("fixture.sql"))
  assert error is None, error
  return client


def refusals(client):
  """Every code, and nothing changed by any."""
  seen = set()
  before = client.run(*EVERYTHING)[0]
  for code, column, statement in refused():
    _, error = client.run(statement)
    check(statement, f"triggerd: {code}: {column}: " in (error or ""), f"wanted {code}: {column}, got {error}")
    after = client.run(*EVERYTHING)[0]
    check(f"{statement} changes nothing", before == after, "something was stored, changed or deleted")
    before = after
    seen.add(code)
  check("every code is met", seen == CODES, seen ^ CODES)


def inserts(client):
  """What producers do, in the forms they do it."""
  def count(where="1"):
    return int(client.run(f"SELECT count(*) FROM requests WHERE {where}")[0][0][0])

  def good(what, *statements, more):
    was = count()
    _, error = client.run(*statements)
    check(what, error is None and count() == was + more, f"{error}, {count() - was} rows more, not {more}")

  minimal = "INSERT INTO requests (trigger_name) VALUES ('nightly-report')"
  earliest = time.time_ns() // 1_000_000
  good("the minimal INSERT", minimal, more=1)
  latest = time.time_ns() // 1_000_000
  row = client.run("SELECT created_at, run_at, state, arguments, priority, round, attempt, unique_scope FROM requests ORDER BY id DESC LIMIT 1")[0][0]
  check("its defaults", row[2:] == ("pending", "{}", "0", "1", "0", "unfinished"), row)
  check("now is in whole milliseconds, truncated, and one instant", row[0] == row[1] and earliest <= int(row[0]) <= latest, (earliest, row, latest))

  good("several rows in one INSERT", minimal + ", ('nightly-report'), ('held-import')", more=3)
  good("INSERT ... SELECT", "INSERT INTO requests (trigger_name, correlation_id) SELECT name, 'all' FROM triggers WHERE active = 1", more=2)
  good("a row with everything", """INSERT INTO requests (trigger_name, arguments, call_mode, priority, run_at, expires_at, deadline_at, unique_key,
    unique_scope, concurrency_key, correlation_id, traceparent, cancel_requested) VALUES ('nightly-report', ' {"$mode": {"callMode": [null]}} ', 'FireAndForget',
    -100, 1000000000000, 9999999999999, 9999999999999, 'all', 'kept', 'key', 'order', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 0)""", more=1)
  good("NULL where there may be nothing", "INSERT INTO requests (trigger_name, call_mode, expires_at, deadline_at, unique_key, concurrency_key, "
     "correlation_id, traceparent) VALUES ('nightly-report', NULL, NULL, NULL, NULL, NULL, NULL, NULL)", more=1)
  good("keys of 255 bytes and arguments as long as they may be", "INSERT INTO requests (trigger_name, unique_key, arguments) VALUES "
     "('nightly-report', substr(hex(zeroblob(128)), 1, 255), '{\"a\":\"' || substr(hex(zeroblob(60)), 1, 56) || '\"}')", more=1)
  good("OR REPLACE with no twin", "INSERT OR REPLACE INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'no twin')", more=1)

  for key, scope in [("waiting", "unfinished"), ("polled", "unfinished"), ("doubtful", "unfinished"), ("waiting", "kept"), ("once", "kept"), ("done", "kept")]:
    values = f"(trigger_name, unique_key, unique_scope) VALUES ('nightly-report', '{key}', '{scope}')"
    good(f"ON CONFLICT DO NOTHING does nothing: {key}, {scope}", f"INSERT INTO requests {values} ON CONFLICT DO NOTHING", more=0)
    good(f"OR IGNORE does nothing: {key}, {scope}", f"INSERT OR IGNORE INTO requests {values}", more=0)
    _, error = client.run(f"INSERT INTO requests {values}")
    check(f"a UNIQUE error: {key}, {scope}", "UNIQUE constraint failed: requests.trigger_name, requests.unique_key" in (error or ""), error)
  good("DO NOTHING with one new row of two", "INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'waiting'), "
     "('nightly-report', 'fresh') ON CONFLICT DO NOTHING", more=1)
  good("a finished row of scope unfinished frees its key", "INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'done')", more=1)
  good("a key is one of its trigger only", "INSERT INTO requests (trigger_name, unique_key) VALUES ('held-import', 'waiting')", more=1)
  check("the guard stays small", int(client.run("SELECT count(*) FROM replace_guard")[0][0][0]) <= 2)

  good("inside a transaction of the producer's own", "BEGIN", "CREATE TABLE orders (id INTEGER PRIMARY KEY, request INTEGER)", minimal,
     "INSERT INTO orders (request) VALUES (last_insert_rowid())", "COMMIT", more=1)
  joined = client.run("SELECT count(*) FROM orders JOIN requests ON requests.id = request")[0]
  check("last_insert_rowid() is the request", joined == [("1",)], joined)
  good("a transaction that is rolled back", "BEGIN", minimal, "ROLLBACK", more=0)
  was = count()
  _, error = client.run("BEGIN", minimal, "INSERT INTO requests (trigger_name) VALUES ('no-such-trigger')", minimal, "COMMIT")
  check("a refused INSERT leaves the transaction as it was", "unknown_trigger" in (error or "") and count() == was + 2, (error, count() - was))

  good("a pending row may be changed", """UPDATE requests SET arguments = '{"a":2}', call_mode = 'LongPolling', priority = 5, run_at = 1800000000000,
    expires_at = 1900000000000, deadline_at = 1900000000000, concurrency_key = 'c', correlation_id = 'd', traceparent = NULL WHERE id = 1""", more=0)
  check("and is", count("id = 1 AND priority = 5 AND run_at = 1800000000000 AND call_mode = 'LongPolling'") == 1)
  good("the same value is no change, in any state", "UPDATE requests SET priority = 0, arguments = '{}', trigger_name = trigger_name WHERE id IN (2, 3, 5)", more=0)
  good("a cancel, in any state", "UPDATE requests SET cancel_requested = 1 WHERE id IN (1, 2, 3, 4, 5, 6, 8)", more=0)
  good("a finished row may be deleted", "DELETE FROM requests WHERE id = 5", more=-1)
  left = client.run("SELECT request_id FROM outputs UNION ALL SELECT request_id FROM attempts")[0]
  check("and its output and attempts go with it", left == [("6",)], left)


def times(client):
  """The arithmetic of time, against Python's."""
  moments = [1_000_000_000_000, 9_999_999_999_999] + [random.randrange(10**12, 10**13) for _ in range(500)] + list(range(1_800_000_000_000, 1_800_000_001_000))
  zero = datetime.datetime(1970, 1, 1)
  texts = [(zero + datetime.timedelta(milliseconds=m)).isoformat(timespec="milliseconds") for m in moments]
  listed = ",".join(f"({m},'{t}')" for m, t in zip(moments, texts))
  wrong, error = client.run(f"""WITH moment (ms, iso) AS (VALUES {listed}) SELECT ms FROM moment
    WHERE CAST((julianday(ms / 1000.0, 'unixepoch') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) <> ms
      OR strftime('%Y-%m-%dT%H:%M:%fZ', ms / 1000.0, 'unixepoch') <> iso || 'Z'""")
  check(f"{len(moments)} times to the millisecond, both ways", error is None and wrong == [], (error, wrong[:3]))


def views(client):
  row = client.run("SELECT state, is_final, output, error_code, finished, duration_ms FROM results WHERE id = 5")[0]
  check("results of an ended request", row == [("succeeded", "1", '{"pages":3}', "", "2027-01-15T08:00:01.234Z", "1234")], row)
  row = client.run("SELECT is_final, output, finished, duration_ms FROM results WHERE id = 3")[0]
  check("results of a running one", row == [("0", "", "", "")], row)
  why = client.run("SELECT id FROM request_why WHERE why IS NOT NULL ORDER BY id")[0]
  check("request_why has each unfinished request", why == [(str(i),) for i in (1, 2, 3, 4, 6, 7, 8, 10)], why)


def bound_values(client):
  """Python's own: what is bound, not spelled."""
  connection = client.connection
  insert = "INSERT INTO requests (trigger_name, {}) VALUES ('nightly-report', ?)"
  for column, value, code in [
    ("arguments", b"{}", "invalid_arguments"), ("arguments", None, "invalid_arguments"), ("arguments", '{"a":1}\0', "invalid_arguments"),
    ("unique_key", b"key", "invalid_value"), ("unique_key", "", "invalid_value"), ("correlation_id", "a\0b", "invalid_value"),
    ("run_at", time.time(), "invalid_time"), ("run_at", int(time.time()), "invalid_time"), ("run_at", None, "invalid_time"),
    ("priority", "high", "invalid_priority"), ("state", "succeeded", "daemon_column"), ("id", 5, "daemon_column"),
  ]:
    try:
      connection.execute(insert.format(column), (value,))
      error = None
    except sqlite3.IntegrityError as e:
      error = str(e)
    check(f"{column} = {value!r}", f"triggerd: {code}: {column}: " in (error or ""), error)
  for column, value in [("priority", True), ("priority", "7"), ("run_at", float(time.time_ns() // 1_000_000)), ("unique_key", 7), ("correlation_id", "é" * 127)]:
    row = connection.execute(insert.format(column), (value,)).rowcount
    check(f"{column} = {value!r} is taken", row == 1, row)
  connection.execute("BEGIN")
  connection.executemany("INSERT INTO requests (trigger_name, correlation_id) VALUES (?, ?)", [("nightly-report", f"bulk {i}") for i in range(1000)])
  connection.execute("COMMIT")
  stored = connection.execute("SELECT count(*) FROM requests WHERE correlation_id LIKE 'bulk %'").fetchone()[0]
  check("executemany of 1,000 rows", stored == 1000, stored)
  connection.execute("PRAGMA recursive_triggers = ON")
  before = client.run(*EVERYTHING)[0]
  for values in ("'waiting', 'unfinished'", "'once', 'kept'"):
    _, error = client.run(f"REPLACE INTO requests (trigger_name, unique_key, unique_scope) VALUES ('nightly-report', {values})")
    check("REPLACE is refused with recursive_triggers too", "triggerd: " in (error or "") and client.run(*EVERYTHING)[0] == before, error)


def main():
  global LIBRARY
  kind = {"program": Program, "module": Module, "library": Library}[sys.argv[1]]
  LIBRARY = sys.argv[2] if kind is Library else None
  assert MIGRATIONS, "no migrations found"
  with tempfile.TemporaryDirectory(prefix="triggerd-clients-") as folder:
    client = database(kind, folder)
    version = client.run("SELECT sqlite_version()")[0][0][0]
    print(f"== {client.name}, SQLite {version}")
    refusals(client)
    views(client)
    times(client)
    inserts(client)
    if kind is Module:
      bound_values(database(kind, folder))
    check("the file is whole", client.run("PRAGMA integrity_check")[0] == [("ok",)])
  print(f"{passed} passed, {failed} failed")
  return 1 if failed or not passed else 0


if __name__ == "__main__":
  sys.exit(main())
