#!/usr/bin/env python3
"""Does to the disk of a running daemon what disks do: full, failing, slow, read-only, held back, not ours.

  tests/faults/disk.py                     the debug build must be there
  TRIGGERD=/path/to/triggerd tests/faults/disk.py    uses that one
  tests/faults/disk.py full slow           only these

Each fault has a daemon, a database on a disk of its own (in memory), a far end that counts what is fired, and a service manager
that listens. After each: the log and the status text said what was wrong, what came back during the fault is stored, nothing was
fired twice, and the daemon went on by itself.

Needs root, unshare, strace, setpriv, and a Python with SQLite; about a minute. The last line is `N passed, N failed`.
"""

import concurrent.futures
import contextlib
import http.server
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
sys.path.insert(0, os.path.join(ROOT, "tests/clients"))
from checks import check, result, started, stop_all, text_of  # noqa: E402, pylint: disable=wrong-import-position

TRIGGERD = ""
SOON = 40  # seconds: far above what anything here takes, on a busy machine too
MIB = 1024 * 1024
NOBODY = 65534


class FarEnd:
  """Starts jobs, and says of each that it runs until told otherwise."""

  def __init__(self):
    self.fired = []  # idempotency keys
    self.asked = 0
    self.answers = threading.Event()  # answers firings
    self.answers.set()
    self.done = False
    far_end = self

    class Handler(http.server.BaseHTTPRequestHandler):
      protocol_version = "HTTP/1.1"

      def answer(self, status, location=None, body=b""):
        self.send_response(status)
        if location:
          self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

      def do_POST(self):  # pylint: disable=invalid-name
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        far_end.fired.append(self.headers["Idempotency-Key"])
        number = len(far_end.fired)
        far_end.answers.wait(SOON)
        self.answer(202, f"/status/{number}")

      def do_GET(self):  # pylint: disable=invalid-name
        if self.path.startswith("/output"):
          return self.answer(200, body=b"done")
        far_end.asked += 1
        return self.answer(303, "/output/1") if far_end.done else self.answer(200)

      def log_message(self, *_):  # pylint: disable=arguments-differ
        pass

    class Server(http.server.ThreadingHTTPServer):
      daemon_threads = True
      request_queue_size = 64

      def handle_error(self, *_):
        pass

    self.server = Server(("127.0.0.1", 0), Handler)
    self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
    threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Site:
  """A daemon on a disk of its own."""

  def __init__(self, name, mebibytes=64, watchdog=None, checkpoint="daemon"):
    self.name = name
    self.folder = tempfile.mkdtemp(prefix=f"triggerd-{name}-", dir=os.environ["TRIGGERD_FAULTS"])
    os.chmod(self.folder, 0o755)
    self.disk = os.path.join(self.folder, "disk")
    os.mkdir(self.disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0755", "none", self.disk], check=True)
    self.database = os.path.join(self.disk, "queue.db")
    self.log = os.path.join(self.folder, "daemon.log")
    self.far_end = FarEnd()
    self.status, self.alive = "", 0
    self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    self.manager.bind(os.path.join(self.folder, "notify"))
    threading.Thread(target=self.listen, daemon=True).start()
    self.environment = {"NOTIFY_SOCKET": os.path.join(self.folder, "notify"), "PATH": os.environ["PATH"]}
    if watchdog:
      self.environment["WATCHDOG_USEC"] = str(watchdog * 1000000)
    with open(os.path.join(self.folder, "triggerd.toml"), "w", encoding="utf-8") as file:
      file.write(
        f'[database]\nurl = "sqlite:{self.database}"\ncheckpoint = "{checkpoint}"\n[triggers.t]\nurl = "{self.far_end.url}/fire"\n'
        'poll = { initial = "100ms", factor = 1.0, max = "200ms" }\n')
    self.daemon = None

  def listen(self):
    while True:
      for line in self.manager.recv(65536).decode().splitlines():
        if line.startswith("STATUS="):
          self.status = line[len("STATUS="):]
        self.alive += line == "WATCHDOG=1"

  def start(self, *before):
    with open(self.log, "ab") as log:
      self.daemon = subprocess.Popen(
        [*before, TRIGGERD, "run"], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
    started.append(self.daemon)
    return self

  def ready(self):
    self.expect("it is ready", lambda: "ready" in self.status)
    return self

  def check(self, what, good, found=None):
    return check(f"{self.name}: {what}", good, found)

  def expect(self, what, test, seconds=SOON):
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not (good := test()) and time.monotonic() < end and self.daemon.poll() is None:
      time.sleep(0.05)
    good = good or test()
    return self.check(what, good, None if good else f"{self.status}\n{text_of(self.log)[-3000:]}")

  def logs(self, words):
    self.expect(f"the log says {words!r}", lambda: words in text_of(self.log))

  def says(self, words):
    self.expect(f"the status text says {words!r}", lambda: words in self.status)

  def is_well(self):
    self.expect("the status text is at rest again", lambda: self.status.startswith("ready") and ";" not in self.status)

  def sql(self, sql):
    with contextlib.closing(sqlite3.connect(self.database, timeout=SOON)) as connection, connection:
      return connection.execute(sql).fetchall()

  def insert(self, rows=1):
    for _ in range(rows):
      self.sql("INSERT INTO requests (trigger_name) VALUES ('t')")

  def states(self):
    return [state for (state,) in self.sql("SELECT state FROM requests ORDER BY id")]

  def under_way(self, rows=3):
    """Requests whose firing has been sent and not been answered."""
    self.far_end.answers.clear()
    self.insert(rows)
    self.expect("they are fired", lambda: len(self.far_end.fired) == rows)

  def goes_on(self, rows):
    """All ends well, as many were fired as there are, and the file is whole."""
    self.far_end.done = True
    self.expect(f"{rows} requests succeed", lambda: self.states() == ["succeeded"] * rows)
    fired = self.far_end.fired
    self.check("each was fired once", len(fired) == len(set(fired)) == rows, fired)
    attempts = self.sql("SELECT count(*), max(attempt) FROM attempts")
    self.check("each firing is in the table", attempts == [(rows, 1)], attempts)
    self.is_well()
    self.stop()

  def stop(self):
    self.daemon.send_signal(signal.SIGTERM)
    self.check("it was the same daemon all the time, and stops in order", self.daemon.wait(SOON) == 0, text_of(self.log)[-3000:])
    found = self.sql("PRAGMA integrity_check")
    self.check("the file is whole", found == [("ok",)], found)

  def refused(self, code, words, *before):
    """A start that comes to nothing."""
    self.start(*before)
    found = self.daemon.wait(SOON)
    last = text_of(self.log).strip().splitlines()[-1:]
    self.check(f"it ends with {code} and says {words!r}", found == code and words in "".join(last), (found, last))

  @contextlib.contextmanager
  def injected(self, fault):
    """While this lasts, system calls of the daemon do what strace makes of them."""
    calls = fault.split(":")[0]
    tracer = subprocess.Popen(
      ["strace", "-f", "-q", "-o", os.path.join(self.folder, "strace.log"), "-e", f"trace={calls}", "-e", f"inject={fault}", "-p", str(self.daemon.pid)],
      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    started.append(tracer)
    tasks = f"/proc/{self.daemon.pid}/task"
    def is_traced(task):
      try:
        return "TracerPid:\t0\n" not in text_of(f"{tasks}/{task}/status")
      except (FileNotFoundError, ProcessLookupError):
        return True  # a thread that has ended
    self.expect("strace is attached", lambda: all(is_traced(task) for task in os.listdir(tasks)))
    try:
      yield
    finally:
      tracer.send_signal(signal.SIGINT)  # it lets go of the daemon
      tracer.wait(SOON)

  def fill(self):
    """Takes all the room that is left."""
    with open(os.path.join(self.disk, "filler"), "ab", buffering=0) as file:
      for size in (MIB, 4096, 1):
        with contextlib.suppress(OSError):
          while file.write(bytes(size)) == size:
            pass

  def empty(self):
    os.remove(os.path.join(self.disk, "filler"))

  def ballast(self):
    return os.stat(self.database + ".ballast").st_blocks * 512


def full():
  """The ballast lets what has come back be stored; nothing new is begun before there is room."""
  site = Site("full").start().ready()
  site.check("there is a ballast", site.ballast() == 8 * MIB, site.ballast())
  site.under_way()
  site.fill()
  site.far_end.answers.set()
  site.logs("the disk is full: the ballast is given up")
  site.expect("the status URIs that came are stored", lambda: site.states() == ["polling"] * 3)
  site.says("the disk is full: nothing is fired until there are 16 MiB of room")
  site.check("the ballast is gone", site.ballast() == 0)
  site.insert()
  before = site.far_end.asked
  site.expect("polls go on", lambda: site.far_end.asked > before + 20)
  site.check("nothing new is begun", len(site.far_end.fired) == 3 and site.states()[3] == "pending", site.states())
  site.empty()
  site.logs("there is room on the disk again")
  site.expect("there is a ballast again", lambda: site.ballast() == 8 * MIB)
  site.goes_on(4)


def without_ballast():
  """Not even a status URI can be stored: none is believed to be, none is lost."""
  site = Site("without_ballast").start().ready()
  os.truncate(site.database + ".ballast", 0)
  site.under_way()
  site.fill()
  site.far_end.answers.set()
  site.says("the database cannot be written since ")
  site.logs("database or disk is full")
  site.logs("next try in 1600 ms")
  site.check("nothing is polled that is not stored", site.far_end.asked == 0 and site.states() == ["triggering"] * 3, site.states())
  site.empty()
  site.logs("the database can be used again")
  site.goes_on(3)


def failing(name, fault, words, in_log):
  """Calls fail as long as the fault lasts."""
  site = Site(name).start().ready()
  site.under_way()
  with site.injected(fault):
    site.far_end.answers.set()
    site.says("the database cannot be written since ")
    site.logs(words)
    site.logs("next try in 400 ms")
    site.check("nothing is polled that is not stored", site.far_end.asked == 0, site.far_end.asked)
  site.logs(in_log)
  site.goes_on(3)


def failing_sync():
  failing("failing_sync", "fdatasync,fsync:error=EIO", "disk I/O error", "the database can be used again")


def failing_write():
  failing("failing_write", "pwrite64:error=EIO", "disk I/O error", "the database can be used again")


def no_space_for_a_write():
  failing("no_space_for_a_write", "pwrite64:error=ENOSPC", "database or disk is full", "there is room on the disk again")


def read_only_write():
  failing("read_only_write", "pwrite64:error=EROFS", "disk I/O error", "the database can be used again")


def failing_sync_once():
  """One commit of unknown end."""
  site = Site("failing_sync_once").start().ready()
  site.under_way()
  with site.injected("fdatasync,fsync:error=EIO"):
    site.far_end.answers.set()
    site.logs("nothing is lost, next try in 100 ms")
  site.goes_on(3)


def slow():
  """Each sync takes two seconds: slow, but alive."""
  site = Site("slow", watchdog=9).start().ready()
  with site.injected("fdatasync,fsync:delay_enter=2000000"):
    before = site.alive
    site.insert(3)
    site.expect("all are fired and followed", lambda: site.states() == ["polling"] * 3)
    asked = site.far_end.asked
    site.expect("polls go on between commits", lambda: site.far_end.asked > asked + 20)
    site.expect("the watchdog is fed", lambda: site.alive >= before + 3)
  site.goes_on(3)


def locked():
  """Somebody writes for longer than the daemon waits at once."""
  site = Site("locked").start().ready()
  site.under_way()
  with contextlib.closing(sqlite3.connect(site.database, isolation_level=None)) as connection:
    connection.execute("BEGIN IMMEDIATE")
    site.far_end.answers.set()
    site.says("the database cannot be written since ")
    site.check("and why", "locked" in site.status, site.status)
  site.logs("the database can be used again")
  site.goes_on(3)


def held_back(checkpoint="daemon"):
  """A reader that does not end keeps the WAL from being begun anew."""
  site = Site(f"held_back_{checkpoint}", mebibytes=900, checkpoint=checkpoint).start().ready()
  wal = lambda: os.stat(site.database + "-wal").st_size  # noqa: E731
  with contextlib.closing(sqlite3.connect(site.database, isolation_level=None)) as reader:
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM requests").fetchall()
    with contextlib.closing(sqlite3.connect(site.database, isolation_level=None, timeout=SOON)) as writer:
      # As triggerd's producers should have it with an external checkpoint.
      writer.execute("PRAGMA wal_autocheckpoint = 0")
      writer.execute("CREATE TABLE theirs (a)")
      for _ in range(34):
        writer.execute("INSERT INTO theirs VALUES (zeroblob(8388608))")
    cause = {"daemon": "a program that reads without end holds it back", "external": "nobody checkpoints it"}[checkpoint]
    site.says("the write-ahead log has grown to 27")
    site.logs(cause)
    site.insert()
    site.expect("requests are fired all the same", lambda: site.states() == ["polling"])
    reader.execute("ROLLBACK")
  if checkpoint == "external":
    time.sleep(3)  # three looks
    site.check("it is not this daemon's to checkpoint", wal() > 256 * MIB, wal())
    with contextlib.closing(sqlite3.connect(site.database, timeout=SOON)) as replicator:
      replicator.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
  site.logs("the write-ahead log is down to ")
  site.expect("it is cut back", lambda: wal() <= 64 * MIB)
  site.goes_on(1)


def held_back_external():
  held_back("external")


def read_only():
  """A start on a file system that nobody may write."""
  site = Site("read_only").start().ready()
  site.stop()
  subprocess.run(["mount", "-o", "remount,ro", site.disk], check=True)
  site.refused(69, "is mounted read-only")
  subprocess.run(["mount", "-o", "remount,rw", site.disk], check=True)
  site.start().ready()
  site.insert()
  site.goes_on(1)


def not_ours():
  """Files and folders of other users."""
  site = Site("not_ours")
  ordinary = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
  os.chown(os.path.join(site.folder, "triggerd.toml"), NOBODY, NOBODY)
  os.chmod(os.path.join(site.folder, "notify"), 0o666)
  site.refused(69, "SQLite makes files beside a database, and in", *ordinary)
  os.chown(site.disk, NOBODY, NOBODY)
  site.start(*ordinary).ready()
  site.stop()
  for suffix in ("", "-wal", "-shm", ".lock", ".flights", ".flights.new", ".ballast"):
    path = site.database + suffix
    made = not os.path.exists(path)
    with open(path, "ab"):
      os.chown(path, 0, 0)
      os.chmod(path, 0o600)
    site.refused(69, f"{path} is not this process's to read and write (owner 0:0, mode 0600; this runs as {NOBODY}:{NOBODY})", *ordinary)
    if made:
      os.remove(path)
    else:
      os.chown(path, NOBODY, NOBODY)
  site.start(*ordinary).ready()
  site.insert()
  site.goes_on(1)


FAULTS = [
  full, without_ballast, locked, slow, failing_sync, failing_sync_once, failing_write, no_space_for_a_write, read_only_write, read_only, not_ours]
# These take half a gibibyte of memory each, so one comes after the other.
LARGE_FAULTS = [held_back, held_back_external]


def inside(names):
  """With mounts and processes of our own, which end with us."""
  subprocess.run(["mount", "--make-rprivate", "/"], check=True)
  chosen = lambda faults: [fault for fault in faults if not names or fault.__name__ in names]  # noqa: E731
  def run(fault):
    begun = time.monotonic()
    try:
      fault()
    except Exception as error:  # pylint: disable=broad-except
      check(f"{fault.__name__} comes to its end", False, repr(error))
    print(f"{fault.__name__}: {time.monotonic() - begun:.0f} s", flush=True)
  try:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
      list(pool.map(run, chosen(FAULTS)))
    for fault in chosen(LARGE_FAULTS):
      run(fault)
  finally:
    stop_all()
  return result()


def main():
  global TRIGGERD
  TRIGGERD = os.path.abspath(os.environ.get("TRIGGERD") or os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "debug/triggerd"))
  if "TRIGGERD_FAULTS" in os.environ:
    return inside(sys.argv[1:])
  missing = [tool for tool in ("unshare", "mount", "strace", "setpriv") if not shutil.which(tool)]
  if os.geteuid() != 0 or missing or not os.path.exists(TRIGGERD):
    print(f"FAILED: this needs root, {TRIGGERD}, and what is missing here: {', '.join(missing) or 'nothing'}", file=sys.stderr)
    print("0 passed, 1 failed")
    return 1
  apart = ["unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]
  if subprocess.run([*apart, "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode:
    print("FAILED: no disk can be made here, so nothing was done to one", file=sys.stderr)
    print("0 passed, 1 failed")
    return 1
  with tempfile.TemporaryDirectory(prefix="triggerd-faults-") as folder:
    os.chmod(folder, 0o755)
    # Whoever is not root must be able to run it, wherever it was built.
    program = os.path.join(folder, "triggerd")
    shutil.copy(TRIGGERD, program)
    os.chmod(program, 0o755)
    os.environ.update({"TRIGGERD": program, "TRIGGERD_FAULTS": folder})
    return subprocess.run([*apart, sys.executable, os.path.abspath(__file__), *sys.argv[1:]], check=False, timeout=600).returncode


if __name__ == "__main__":
  sys.exit(main())
