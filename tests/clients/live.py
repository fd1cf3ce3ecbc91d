#!/usr/bin/env python3
"""The daemon as producers meet it: the real program, its emulator as the far end, rows inserted by the
distribution's sqlite3 program and by Python's sqlite3 module, results read with the sqlite3 program.

The daemon looks at its table by itself once a minute only, so a row that is fired within seconds was noticed when it was
committed.

  tests/clients/live.py                          builds target/debug/triggerd first
  TRIGGERD=/path/to/triggerd tests/clients/live.py    uses that one

Needs cargo (unless TRIGGERD is set), the sqlite3 program, and Python's standard library. The last line is
`N passed, N failed`; whatever was started is stopped, also after a failure.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request

import checks
from checks import check, started, stop_all, text_of

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
# Far below the minute between two looks of the daemon, far above what a busy machine needs.
SOON = 20


def start(command, folder, log, environment=None):
  with open(log, "wb") as output:
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
  started.append(process)
  return process


class FarEnd:
  """`triggerd emulate`, with jobs that take a moment."""

  def __init__(self, folder):
    with open(os.path.join(folder, "emulator.toml"), "w", encoding="utf-8") as file:
      file.write('listen = "127.0.0.1:0"\n[defaults]\nduration = "120ms"\nhold = "50ms"\n')
    log = os.path.join(folder, "emulator.log")
    start([TRIGGERD, "emulate", "--file", "emulator.toml", "--json"], folder, log)
    end = time.monotonic() + SOON
    while not text_of(log).endswith("}\n"):
      if time.monotonic() > end:
        raise RuntimeError(f"the emulator does not start: {text_of(log)}")
      time.sleep(0.02)
    self.url = json.loads(text_of(log))["url"]
    self.trigger = json.loads(text_of(log))["triggers"][0]["url"]

  def ledger(self, part=""):
    with urllib.request.urlopen(self.url + "/ledger" + part, timeout=SOON) as answer:
      return json.load(answer)

  def firings(self, name):
    """The calls that started a job with this argument."""
    return [call for call in self.ledger()["calls"] if call["leg"] == "start" and call["arguments"].get("name") == name]


class Place:
  """A folder with a configuration, a database and a daemon."""

  def __init__(self, folder, far_end):
    self.folder = folder
    self.database = os.path.join(folder, "queue.db")
    self.log = os.path.join(folder, "daemon.log")
    with open(os.path.join(folder, "triggerd.toml"), "w", encoding="utf-8") as file:
      file.write(
        '[database]\nurl = "sqlite:queue.db"\n'
        '[dispatch]\nfallback_poll = "1m"\n'
        f'[triggers.hello]\nurl = "{far_end.trigger}"\npoll = {{ initial = "50ms", max = "200ms" }}\n')
    self.triggerd("migrate")
    self.daemon = start([TRIGGERD, "run"], folder, self.log)

  def triggerd(self, *arguments):
    done = subprocess.run(
      [TRIGGERD, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SOON, check=False)
    if done.returncode:
      raise RuntimeError(f"triggerd {' '.join(arguments)}: {done.stderr}")
    return done.stdout

  def sqlite3(self, sql):
    """The sqlite3 program, one process for each statement, as a shell script has it."""
    done = subprocess.run(
      ["sqlite3", "-batch", "-init", os.devnull, "-cmd", ".timeout 5000", self.database, sql],
      stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SOON, check=False)
    if done.returncode or done.stderr:
      raise RuntimeError(f"{sql}: {done.stderr}")
    return done.stdout.strip()

  def wait_for(self, sql, wanted, seconds=SOON):
    """What `sql` says, as soon as it says what is wanted, or in the end."""
    end = time.monotonic() + seconds
    while True:
      found = self.sqlite3(sql)
      if found == wanted or time.monotonic() > end:
        return found
      time.sleep(0.05)

  def ended(self, what, ident, state, output=None):
    found = self.wait_for(f"SELECT state, coalesce(output, '') FROM results WHERE id = {ident} AND is_final", f"{state}|{output or ''}")
    return check(what, found == f"{state}|{output or ''}", found or self.sqlite3(f"SELECT * FROM request_why WHERE id = {ident}"))


def producers(place, far_end):
  found = place.wait_for("SELECT ready_at IS NOT NULL FROM daemon", "1")
  check("the daemon is ready", found == "1", found)
  hello = "INSERT INTO requests (trigger_name, arguments{}) VALUES ('hello', json_object('name', '{}'){})"
  # A job that never ends.
  endless = "INSERT INTO requests (trigger_name, arguments, unique_key) VALUES ('hello', '{\"name\":\"endless\",\"emulate\":{\"end\":\"suspended\"}}', 'only-one')"

  # One at a time, each after the last has ended: the daemon is at rest when it comes.
  for n in range(3):
    ident = place.sqlite3(hello.format("", f"shell-{n}", "") + " RETURNING id")
    place.ended(f"a row of the sqlite3 program is fired when it comes ({n})", ident, "succeeded", f'{{"name":"shell-{n}"}}')

  connection = sqlite3.connect(place.database, timeout=5)
  for n in range(3):
    with connection:
      ident = connection.execute(
        "INSERT INTO requests (trigger_name, arguments) VALUES (?, ?)", ("hello", json.dumps({"name": f"python-{n}"}))).lastrowid
    place.ended(f"a row of Python is fired when it comes ({n})", ident, "succeeded", f'{{"name":"python-{n}"}}')

  with connection:
    first = connection.execute(hello.format("", "one of three", "")).lastrowid
    connection.executemany("INSERT INTO requests (trigger_name, arguments) VALUES ('hello', ?)", [('{"name": "one of three"}',)] * 2)
    time.sleep(0.5)
    check("nothing is fired before the producer's COMMIT", far_end.firings("one of three") == [])
  for ident in (first, first + 1, first + 2):
    place.ended("all rows of one transaction are fired", ident, "succeeded", '{"name":"one of three"}')
  calls = far_end.firings("one of three")
  check("each has an Idempotency-Key of its own", len({call["idempotency_key"] for call in calls}) == 3, calls)

  with connection:
    connection.execute(hello.format("", "taken back", ""))
    connection.rollback()

  # Each call mode, chosen by the row.
  for mode, state, output in (
    ("LongPolling", "succeeded", '{"name":"LongPolling"}'), ("FireAndForget", "dispatched", None)):
    ident = place.sqlite3(hello.format(", call_mode", mode, f", '{mode}'") + " RETURNING id")
    place.ended(f"a request in the mode {mode}", ident, state, output)

  # Twice the same key: one firing.
  ident = place.sqlite3(endless + " RETURNING id")
  found = place.wait_for(f"SELECT state FROM requests WHERE id = {ident}", "polling")
  check("a remote job that goes on is polled", found == "polling", found)
  again = place.sqlite3(endless + " ON CONFLICT DO NOTHING RETURNING id")
  check("a second request with its key is not inserted", again == "", again)
  with connection:
    connection.execute("UPDATE requests SET cancel_requested = 1 WHERE id = ?", (ident,))
  place.ended("a cancel is noticed when it comes", ident, "cancelled")
  check("the key was fired once", len(far_end.firings("endless")) == 1)

  # A time to come.
  at = int(time.time() * 1000) + 1500
  ident = place.sqlite3(hello.format(", run_at", "later", f", {at}") + " RETURNING id")
  place.ended("a request with run_at", ident, "succeeded", '{"name":"later"}')
  found = place.sqlite3(f"SELECT started_at >= run_at AND started_at < run_at + 5000 FROM requests WHERE id = {ident}")
  check("it is fired at its time", found == "1", found)

  # The operator's pause.
  with connection:
    connection.execute("UPDATE triggers SET paused = 1, paused_reason = 'month end' WHERE name = 'hello'")
  ident = place.sqlite3(hello.format("", "paused", "") + " RETURNING id")
  time.sleep(1)
  found = place.sqlite3(f"SELECT state, why LIKE '%paused (month end)%' FROM request_why WHERE id = {ident}")
  check("a paused trigger is not fired, and request_why says so", found == "pending|1", found)
  with connection:
    connection.execute("UPDATE triggers SET paused = 0, paused_reason = NULL WHERE name = 'hello'")
  place.ended("it is fired when the pause ends", ident, "succeeded", '{"name":"paused"}')
  connection.close()

  check("what was rolled back was never fired", far_end.firings("taken back") == [])
  found = place.sqlite3("SELECT count(*) FROM request_why")
  check("nothing is left open", found == "0", found)
  firings = far_end.ledger("/firings")
  check("nothing was fired twice", firings["doubles"] == [] and firings["jobs"] == int(place.sqlite3("SELECT count(*) FROM attempts")), firings)

  place.daemon.send_signal(signal.SIGTERM)
  try:
    code = place.daemon.wait(SOON)
  except subprocess.TimeoutExpired:
    code = "none"
  check("SIGTERM stops it in order", code == 0, code)
  found = place.sqlite3("PRAGMA integrity_check")
  check("the file is whole", found == "ok", found)


def main():
  global TRIGGERD
  missing = [tool for tool in ("sqlite3",) if not shutil.which(tool)]
  if missing:
    print(f"FAILED: {', '.join(missing)} is not installed (Debian: apt-get install {' '.join(missing)})", file=sys.stderr)
    print("0 passed, 1 failed")
    return 1
  TRIGGERD = os.environ.get("TRIGGERD")
  if not TRIGGERD:
    subprocess.run(["cargo", "build", "--locked", "--quiet"], cwd=ROOT, stdin=subprocess.DEVNULL, check=True)
    TRIGGERD = os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "debug", "triggerd")
  TRIGGERD = os.path.abspath(TRIGGERD)
  print(f"== {TRIGGERD}, sqlite3 {subprocess.check_output(['sqlite3', '--version'], text=True).split()[0]}, Python's {sqlite3.sqlite_version}")
  folder = tempfile.mkdtemp(prefix="triggerd-live-")
  try:
    far_end = FarEnd(folder)
    producers(Place(folder, far_end), far_end)
  except (Exception, KeyboardInterrupt) as error:  # pylint: disable=broad-except
    check("it goes on to the end", False, error)
  finally:
    stop_all()
    if checks.failed:
      for name in sorted(os.listdir(folder)):
        if "log" in name:
          print(f"--- {name}\n{text_of(os.path.join(folder, name))[-4000:]}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
  return checks.result()


if __name__ == "__main__":
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  try:
    sys.exit(main())
  finally:
    stop_all()
