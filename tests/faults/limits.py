#!/usr/bin/env python3
"""The real daemon where the machine gives it too little, or tells it the wrong time: too little memory, too few threads,
hardly any processor time, a wall clock that is set back and forward, a suspended process, a name server that never
answers. It may become slower or refuse; it must neither die, nor spin, nor fire an unrepeatable trigger twice.

  tests/faults/limits.py                          builds target/debug/triggerd first
  TRIGGERD=/path/to/triggerd tests/faults/limits.py    uses that one
  tests/faults/limits.py memory clock             only these parts

Too few open files need no root: tests/it/limits.rs.

Needs root, unshare, control groups (version 1 or 2) with memory, pids and cpu, libfaketime (Debian: faketime), and
Python's standard library. A part that cannot run is a failure: nothing is skipped. It runs in a network of its own, which has
only loopback; whatever was started is stopped. The last line is `N passed, N failed`.
"""

import collections
import contextlib
import errno
import fcntl
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))
sys.path.insert(0, os.path.join(ROOT, "tests/clients"))
import checks  # noqa: E402, pylint: disable=wrong-import-position
from checks import check, started, stop_all, text_of  # noqa: E402, pylint: disable=wrong-import-position

# Far above what anything here takes on a busy machine.
LONG = 60
FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"
DAY = 24 * 3600


class FarEnd:
  """An orchestrator of threads. What it does goes by the path: /now answers, /held waits until it is told, /huge answers with a
  megabyte and more, /job accepts a job whose end is told."""

  def __init__(self):
    self.release = threading.Event()
    self.finish = threading.Event()
    self.fired = collections.Counter()
    self.polls = 0
    self.lock = threading.Lock()
    self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
    self.port = self.socket.getsockname()[1]
    threading.Thread(target=self.accept, daemon=True).start()

  def url(self, path, host="127.0.0.1"):
    return f"http://{host}:{self.port}{path}"

  def accept(self):
    while True:
      connection, _ = self.socket.accept()
      threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

  def serve(self, connection):
    with connection, contextlib.suppress(OSError):
      data = b""
      while True:
        while b"\r\n\r\n" not in data:
          more = connection.recv(65536)
          if not more:
            return
          data += more
        head, _, data = data.partition(b"\r\n\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
        while len(data) < int(headers.get("content-length", 0)):
          data += connection.recv(65536)
        data = data[int(headers.get("content-length", 0)):]
        answer, body = self.answer(head.split(b" ", 2)[1].decode(), headers.get("idempotency-key"))
        connection.sendall(f"HTTP/1.1 {answer}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

  def answer(self, path, key):
    if key:
      with self.lock:
        self.fired[key] += 1
    if path == "/held":
      self.release.wait(LONG)
    if path == "/huge":
      return "200 OK", b"x" * (3 << 20)
    if path == "/job":
      return "202 Accepted\r\nLocation: /status", b""
    if path == "/status":
      with self.lock:
        self.polls += 1
      return ("303 See Other\r\nLocation: /output" if self.finish.is_set() else "200 OK"), b""
    return "200 OK", b"done"

  def doubles(self):
    with self.lock:
      return [key for key, times in self.fired.items() if times > 1]


class Place:
  """A folder with a configuration, a database and, when it is started, a daemon."""

  def __init__(self, folder, triggers, dispatch=""):
    self.folder = tempfile.mkdtemp(dir=folder)
    os.chmod(self.folder, 0o777)
    self.daemon = None
    self.log = os.path.join(self.folder, "daemon.log")
    text = f'[database]\nurl = "sqlite:queue.db"\nsynchronous = "normal"\n[dispatch]\nfallback_poll = "1s"\n{dispatch}\n'
    text += '[log]\nfilter = "warn,triggerd::daemon=info"\n'
    for name, (url, keys) in triggers.items():
      text += f'[triggers.{name}]\nurl = "{url}"\npoll = {{ initial = "200ms", factor = 1.0, max = "200ms" }}\n{keys}\n'
    pathlib.Path(self.folder, "triggerd.toml").write_text(text, encoding="utf-8")

  def start(self, before=(), environment=None, wait=True, **options):
    """Starts the daemon by the command `before`."""
    with open(self.log, "ab") as log:
      self.daemon = subprocess.Popen(
        [*before, TRIGGERD, "run"], cwd=self.folder, env={"PATH": os.environ["PATH"], **(environment or {})},
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
    started.append(self.daemon)
    if wait:
      self.ready()

  def ready(self):
    is_ready = lambda: "triggerd::daemon: ready" in text_of(self.log)  # noqa: E731
    until(lambda: is_ready() or not self.lives())
    if not is_ready():
      raise RuntimeError(f"the daemon does not start: {self.daemon.poll()}, {text_of(self.log)}")

  def sql(self, statement, *values):
    with contextlib.closing(sqlite3.connect(os.path.join(self.folder, "queue.db"), isolation_level=None, timeout=LONG)) as base:
      return base.execute(statement, values).fetchall()

  def number(self, statement, *values):
    return self.sql(statement, *values)[0][0]

  def insert(self, trigger, rows=1, run_at=None):
    columns, value = ("trigger_name, run_at", f", {run_at}") if run_at else ("trigger_name", "")
    self.sql(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
             f"INSERT INTO requests ({columns}) SELECT ?{value} FROM n", trigger)

  def count(self, trigger, state):
    return self.number("SELECT count(*) FROM requests WHERE trigger_name = ? AND state = ?", trigger, state)

  def comes_to(self, trigger, state, rows, seconds=LONG):
    return until(lambda: self.count(trigger, state) == rows, seconds)

  def states(self):
    return self.sql("SELECT trigger_name, state, error_code, count(*) FROM requests GROUP BY 1, 2, 3")

  def processor_time(self):
    fields = pathlib.Path(f"/proc/{self.daemon.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

  def threads(self):
    return len(os.listdir(f"/proc/{self.daemon.pid}/task"))

  def peak_memory(self):
    """In MiB."""
    status = pathlib.Path(f"/proc/{self.daemon.pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024

  def lives(self):
    return self.daemon.poll() is None

  def stop(self):
    """In order; the exit code."""
    self.daemon.send_signal(signal.SIGTERM)
    return self.daemon.wait(LONG)

  def kill(self):
    self.daemon.kill()
    self.daemon.wait()


class Group:
  """A control group of one controller. In version 1 each controller has a tree of its own, in version 2 all are in one."""

  def __init__(self, controller):
    top = pathlib.Path("/sys/fs/cgroup")
    self.is_old = not (top / "cgroup.controllers").exists()
    self.apart = None
    if self.is_old:
      top = top / controller
      if not top.is_dir():
        raise RuntimeError(f"no control groups with {controller} here")
    else:
      self.enable(top, controller)
    self.path = top / f"triggerd-limits-{controller}-{os.getpid()}"
    self.path.mkdir()

  def enable(self, top, controller):
    """Gives the groups below `top` a controller."""
    if controller not in (top / "cgroup.controllers").read_text(encoding="utf-8").split():
      raise RuntimeError(f"no control groups with {controller} here")
    control = top / "cgroup.subtree_control"
    if controller in control.read_text(encoding="utf-8").split():
      return
    try:
      control.write_text(f"+{controller}", encoding="utf-8")
    except OSError as error:
      # In a container the top is a group as any: while it has controllers for others, it has no processes of its own.
      if error.errno != errno.EBUSY:
        raise
      self.apart = (top, controller, top / f"triggerd-limits-others-{os.getpid()}")
      self.apart[2].mkdir()
      self.move(top, self.apart[2])
      control.write_text(f"+{controller}", encoding="utf-8")

  @staticmethod
  def move(source, target):
    """All processes of a group to another one; those that they start meanwhile too."""
    def is_empty():
      for pid in (source / "cgroup.procs").read_text(encoding="utf-8").split():
        with contextlib.suppress(ProcessLookupError):  # it has ended
          (target / "cgroup.procs").write_text(pid, encoding="utf-8")
      return not (source / "cgroup.procs").read_text(encoding="utf-8")
    if not until(is_empty, 10):
      raise RuntimeError(f"{source} is not empty")

  def has(self, old, new):
    return (self.path / (old if self.is_old else new)).exists()

  def set(self, old, new, value, new_value=None):
    (self.path / (old if self.is_old else new)).write_text(str(value if self.is_old or new_value is None else new_value), encoding="utf-8")

  def limit_memory(self, mebibytes):
    """Never more than this, and none of it in swap: where there is no room, something is killed."""
    if self.is_old:
      self.set("memory.swappiness", "", 0)
    self.set("memory.limit_in_bytes", "memory.max", mebibytes << 20)
    # Of memory and swap in version 1, and never less than the above; of swap alone in version 2. There is none without swap.
    if self.has("memory.memsw.limit_in_bytes", "memory.swap.max"):
      self.set("memory.memsw.limit_in_bytes", "memory.swap.max", mebibytes << 20, 0)

  def before(self):
    """The beginning of a command that runs in the group."""
    return ["/bin/sh", "-c", f"echo $$ > {self.path}/cgroup.procs && exec \"$@\"", "sh"]

  def add(self, pid):
    (self.path / "cgroup.procs").write_text(str(pid), encoding="utf-8")

  def __enter__(self):
    return self

  def __exit__(self, *_):
    stop_all()
    until(lambda: not (self.path / "cgroup.procs").read_text(encoding="utf-8"), 10)
    self.path.rmdir()
    if self.apart:
      top, controller, others = self.apart
      (top / "cgroup.subtree_control").write_text(f"-{controller}", encoding="utf-8")
      self.move(others, top)
      others.rmdir()


def until(holds, seconds=LONG):
  """Whether it comes to hold."""
  end = time.monotonic() + seconds
  while not holds():
    if time.monotonic() > end:
      return False
    time.sleep(0.05)
  return True


def fire_and_forget(url, more=""):
  return url, f'call_mode = "FireAndForget"\n{more}'


QUICK = 'retry = { max_refusals = 100000, initial = "500ms", factor = 1.0, max = "500ms" }\nconnect_timeout = "500ms"\n'


def memory(folder):
  """Little memory, and huge answers."""
  far = FarEnd()
  triggers = {"huge": (far.url("/huge"), 'call_mode = "LongPolling"'), "t": fire_and_forget(far.url("/now"))}
  place = Place(folder, triggers)
  place.start()
  place.insert("huge", 200)
  good = until(lambda: place.number("SELECT count(*) FROM requests WHERE state = 'succeeded' AND error_code = 'output_too_large'") == 200)
  check("huge answers are cut", good, place.states())
  peak = place.peak_memory()
  print(f"  200 answers of 3 MiB at once: {peak} MiB at most")
  check("each of 200 answers costs no more than two caps of memory", peak < 450, peak)
  place.stop()

  with Group("memory") as group:
    far = FarEnd()
    far.release.set()
    triggers = {"huge": (far.url("/huge"), 'call_mode = "LongPolling"'), "t": fire_and_forget(far.url("/held"))}
    place = Place(folder, triggers, "max_long_polls = 200")
    group.limit_memory(64)
    place.start(group.before())
    place.insert("t", 20)
    place.comes_to("t", "dispatched", 20)
    group.limit_memory(40)
    deaths = 0
    place.insert("huge", 200)
    for _ in range(200):
      if not until(lambda: not place.lives() or not place.number("SELECT count(*) FROM results WHERE NOT is_final"), 2 * LONG):
        break
      if place.lives():
        break
      deaths += 1
      os.truncate(place.log, 0)
      # It may be killed before it is ready, too.
      place.start(group.before(), wait=False)
    check("the memory is too little", deaths > 0, place.states())
    left = place.number("SELECT count(*) FROM results WHERE NOT is_final")
    check("every request ends, however often it is killed", left == 0, (deaths, place.states()))
    check("nothing was fired twice", not far.doubles(), far.doubles())
    check("the table is sound", place.sql("PRAGMA integrity_check") == [("ok",)])
    doubts = place.number("SELECT count(*) FROM requests WHERE state = 'uncertain' AND error_code <> 'interrupted'")
    check("what is in doubt was interrupted", doubts == 0, place.states())
    print(f"  200 answers of 3 MiB in 40 MiB: killed {deaths} times, {place.states()}")
    place.stop()


def threads(folder):
  """Hardly any threads."""
  far = FarEnd()
  with Group("pids") as group:
    starts, refusals, waits = 0, 0, 0
    for number in range(1, 12):
      place = Place(folder, {"t": fire_and_forget(far.url("/now"))})
      group.set("pids.max", "pids.max", number)
      place.start(group.before(), wait=False)
      # Each connection to the database has a thread of its own.
      words = ("triggerd::daemon: ready", "the database cannot be used: start")
      until(lambda: any(word in text_of(place.log) for word in words) or not place.lives())  # pylint: disable=cell-var-from-loop
      if place.lives():
        is_ready, is_waiting = (word in text_of(place.log) for word in words)
        starts, waits = starts + is_ready, waits + (not is_ready)
        check(f"with {number} threads it is ready or says why not", is_ready or is_waiting, text_of(place.log))
        if is_ready:
          place.insert("t", 3)
          check(f"with {number} threads it fires", place.comes_to("t", "dispatched", 3), place.states())
        check(f"with {number} threads it stops", place.stop() == 0)
      else:
        refusals += 1
        good = place.daemon.returncode > 0 and text_of(place.log).strip() != ""
        check(f"with {number} threads it says why not", good, (place.daemon.returncode, text_of(place.log)))
    print(f"  threads: {starts} starts, {waits} that wait, {refusals} refusals")

    # None more than it has: names cannot be looked up, and nothing of that is in doubt.
    group.set("pids.max", "pids.max", "max")
    triggers = {"named": fire_and_forget(far.url("/now", "localhost"), QUICK), "t": fire_and_forget(far.url("/now"), QUICK)}
    place = Place(folder, triggers)
    place.start(group.before())
    group.set("pids.max", "pids.max", 1)
    place.insert("named", 5)
    place.insert("t", 5)
    check("what needs no thread goes on", place.comes_to("t", "dispatched", 5), place.states())
    tried = until(lambda: place.number("SELECT count(*) FROM attempts JOIN requests ON id = request_id WHERE trigger_name = 'named'") >= 5)
    check("what needs one is tried", tried, place.states())
    check("nothing is in doubt", place.number("SELECT count(*) FROM requests WHERE state = 'uncertain'") == 0, place.sql("SELECT error_message FROM requests"))
    group.set("pids.max", "pids.max", "max")
    check("it goes on when there are threads", place.comes_to("named", "dispatched", 5), place.states())
    check("nothing was fired twice", not far.doubles(), far.doubles())
    check("it stops in order", place.stop() == 0)


class Manager:
  """Listens in the service manager's place."""

  def __init__(self, folder):
    self.path = os.path.join(folder, "notify")
    with contextlib.suppress(FileNotFoundError):
      os.unlink(self.path)
    self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    self.socket.bind(self.path)
    self.alive = []
    threading.Thread(target=self.listen, daemon=True).start()

  def listen(self):
    while True:
      if b"WATCHDOG=1" in self.socket.recv(4096).split(b"\n"):
        self.alive.append(time.monotonic())

  def longest_gap(self, since):
    times = [since, *(at for at in self.alive if at > since), time.monotonic()]
    return max(b - a for a, b in zip(times, times[1:]))


def processor(folder):
  """Hardly any processor time: a twentieth of one, then bursts."""
  watchdog = 30  # seconds; a sixth of what the unit has
  far = FarEnd()
  for name in ("quota", "bursts"):
    with Group("cpu") as group:
      manager = Manager(folder)
      place = Place(folder, {"t": fire_and_forget(far.url("/now")), "job": (far.url("/job"), "")})
      # Who runs for a twentieth of the time is to have his turn then.
      before = [*group.before(), "nice", "-n", "19"] if name == "quota" else []
      environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": str(watchdog * 1_000_000)}
      place.start(before, environment)
      if name == "quota":
        group.set("cpu.cfs_quota_us", "cpu.max", 5000, "5000 100000")
      begun = time.monotonic()
      place.insert("job", 20)
      place.insert("t", 300)
      while time.monotonic() < begun + 1.5 * watchdog:
        if name == "bursts":
          place.daemon.send_signal(signal.SIGSTOP)
          time.sleep(1.9)
          place.daemon.send_signal(signal.SIGCONT)
          time.sleep(0.1)
        else:
          time.sleep(1)
      gap = manager.longest_gap(begun)
      check(f"slowness alone does not trip the watchdog ({name})", gap < watchdog, gap)
      group.set("cpu.cfs_quota_us", "cpu.max", -1, "max")
      check(f"everything is fired ({name})", place.comes_to("t", "dispatched", 300), place.states())
      far.finish.set()
      check(f"everything is followed to its end ({name})", place.comes_to("job", "succeeded", 20), place.states())
      far.finish.clear()
      check(f"nothing was fired twice ({name})", not far.doubles(), far.doubles())
      check(f"it stops in order ({name})", place.stop() == 0)
      print(f"  {name}: at most {gap:.1f} s between two signs of life, of {watchdog} s")


def clock(folder):
  """The wall clock is set back by a day and forward by two, while the monotonic one goes on; then the process is suspended."""
  libraries = list(pathlib.Path("/").glob(FAKETIME[1:]))
  if not libraries:
    raise RuntimeError("libfaketime is missing (Debian: faketime)")
  step = pathlib.Path(folder, "clock")
  step.write_text("+0", encoding="utf-8")
  faked = {
    "LD_PRELOAD": str(libraries[0]), "FAKETIME_TIMESTAMP_FILE": str(step), "FAKETIME_NO_CACHE": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
  }
  far = FarEnd()
  triggers = {
    "job": (far.url("/job"), 'deadline = "30d"'), "held": fire_and_forget(far.url("/held")), "t": fire_and_forget(far.url("/now")),
    "nobody": fire_and_forget("http://127.0.0.1:1/", QUICK),
  }
  place = Place(folder, triggers)
  place.start(environment=faked)

  def fires(what, offset):
    """Whether a row whose time has come by the daemon's clock is fired, and polls go on."""
    step.write_text(f"{offset:+d}s", encoding="utf-8")
    before, polls = place.count("t", "dispatched"), far.polls
    place.insert("t", 3, int((time.time() + offset - 5) * 1000))
    check(f"rows are fired {what}", place.comes_to("t", "dispatched", before + 3), place.states())
    check(f"polls go on {what}", until(lambda: far.polls > polls + 20, 40), far.polls - polls)
    signed = lambda: abs(place.number("SELECT seen_at FROM daemon") / 1000 - time.time() - offset) < 300  # noqa: E731
    check(f"the daemon signs {what}", until(signed, 70), place.sql("SELECT seen_at FROM daemon"))

  place.insert("job", 10)
  place.insert("held", 5)
  place.insert("nobody", 2)
  check("jobs are followed", until(lambda: far.polls > 20))
  check("firings are under way", place.comes_to("held", "triggering", 5))
  fires("before", 0)
  fires("a day earlier", -DAY)
  far.release.set()
  check("firings that began before the step end", place.comes_to("held", "dispatched", 5), place.states())
  fires("a day later", DAY)
  fires("as before", 0)
  fires("two days earlier", -2 * DAY)
  far.finish.set()
  check("jobs end", place.comes_to("job", "succeeded", 10), place.states())
  # A start finds rows of the future.
  far.finish.clear()
  step.write_text("+0s", encoding="utf-8")
  place.insert("job", 5, int((time.time() - 2 * DAY) * 1000))
  check("jobs are followed", place.comes_to("job", "polling", 5), place.states())

  # Suspended: nothing of it runs, and it goes on.
  place.daemon.send_signal(signal.SIGSTOP)
  polls = far.polls
  time.sleep(5)
  check("it is suspended", far.polls <= polls + 5)
  place.daemon.send_signal(signal.SIGCONT)
  check("it goes on when it wakes", until(lambda: far.polls > polls + 20, 40), far.polls - polls)
  far.finish.set()
  check("jobs end after it", place.comes_to("job", "succeeded", 15), place.states())
  check("nothing was fired twice", not far.doubles(), far.doubles())
  disorder = place.sql("SELECT id, started_at, accepted_at, finished_at FROM requests WHERE started_at > accepted_at OR accepted_at > finished_at OR started_at > finished_at")
  check("times are in their order", not disorder, disorder)
  check("no duration is negative", place.number("SELECT count(*) FROM results WHERE duration_ms < 0") == 0)
  check("no attempt ends before it begins", place.number("SELECT count(*) FROM attempts WHERE ended_at < started_at") == 0)
  check("it has seen the steps", "the clock was set back" in text_of(place.log), text_of(place.log)[-2000:])
  check("it stops in order", place.stop() == 0)


def names(folder):
  """A name server that never answers."""
  server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
  server.bind(("127.9.9.9", 53))
  resolver = pathlib.Path(folder, "resolv.conf")
  resolver.write_text("nameserver 127.9.9.9\n", encoding="utf-8")
  hosts = pathlib.Path(folder, "nsswitch.conf")
  hosts.write_text("hosts: files dns\n", encoding="utf-8")
  far = FarEnd()
  triggers = {
    "named": fire_and_forget("http://far-end.example.test/fire?code=c4n4ry", QUICK), "t": fire_and_forget(far.url("/now")),
    "job": (far.url("/job"), ""),
  }
  # Here the look-ups are wanted, which the breaker would spare.
  place = Place(folder, triggers, dispatch="breaker = { failures = 0 }")
  mounts = f"mount --bind {resolver} /etc/resolv.conf && {{ [ ! -e /etc/nsswitch.conf ] || mount --bind {hosts} /etc/nsswitch.conf; }}"
  place.start(["unshare", "-m", "/bin/sh", "-c", f"{mounts} && exec \"$@\"", "sh"])
  place.insert("named", 100)
  tried = until(lambda: place.number("SELECT count(*) FROM attempts WHERE outcome = 'not_sent'") >= 200)
  check("names are looked up again and again", tried, place.states())
  used, begun = place.processor_time(), time.monotonic()
  place.insert("t", 20)
  place.insert("job", 5)
  check("others are fired", place.comes_to("t", "dispatched", 20), place.states())
  far.finish.set()
  check("others are followed to their end", place.comes_to("job", "succeeded", 5), place.states())
  time.sleep(3)
  share = (place.processor_time() - used) / (time.monotonic() - begun)
  check("it does not spin", share < 0.7, share)
  check("one dead name costs one thread", place.threads() < 30, place.threads())
  print(f"  100 requests for a name that is never found: {place.threads()} threads, {share:.0%} of a processor")
  server.setblocking(False)
  check("the name server was asked", server.recv(512))
  check("nothing is in doubt", place.number("SELECT count(*) FROM requests WHERE state = 'uncertain'") == 0, place.states())
  message = str(place.sql("SELECT DISTINCT error_message FROM requests WHERE trigger_name = 'named'"))
  check("it says what is wrong, without the query", "could not connect" in message and "c4n4ry" not in message + text_of(place.log), message)
  begun = time.monotonic()
  check("it stops in order", place.stop() == 0)
  check("and does not wait for the look-ups", time.monotonic() - begun < 10, time.monotonic() - begun)
  server.close()


PARTS = (memory, threads, processor, clock, names)


def program():
  """The daemon to test, built if none is named."""
  if os.environ.get("TRIGGERD"):
    return os.path.abspath(os.environ["TRIGGERD"])
  subprocess.run(["cargo", "build", "--quiet", "--bin", "triggerd"], cwd=ROOT, check=True)
  return os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "debug/triggerd")


def only_loopback():
  """Brings the loopback of a new network up."""
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    name_and_flags = struct.pack("16sH22x", b"lo", 1)  # IFF_UP
    fcntl.ioctl(any_socket, 0x8914, name_and_flags)  # SIOCSIFFLAGS


def main():
  global TRIGGERD
  unknown = set(sys.argv[1:]) - {part.__name__ for part in PARTS}
  if unknown:
    sys.exit(f"no such part: {' '.join(sorted(unknown))}")
  if os.geteuid() != 0 or not shutil.which("unshare"):
    print("FAILED: this needs root and unshare, so nothing was run", file=sys.stderr)
    print("0 passed, 1 failed")
    return 1
  TRIGGERD = program()
  if "TRIGGERD_LIMITS" not in os.environ:
    os.environ.update({"TRIGGERD": TRIGGERD, "TRIGGERD_LIMITS": "apart"})
    sys.stdout.flush()
    os.execvp("unshare", ["unshare", "--net", sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
  only_loopback()
  folder = tempfile.mkdtemp()
  os.chmod(folder, 0o755)
  try:
    for part in PARTS:
      if len(sys.argv) > 1 and part.__name__ not in sys.argv[1:]:
        continue
      print(f"{part.__name__}: {part.__doc__.splitlines()[0]}")
      try:
        part(folder)
      except (OSError, RuntimeError, subprocess.SubprocessError, sqlite3.Error) as error:
        check(f"the part {part.__name__} could not run to its end", False, error)
      finally:
        stop_all()
  finally:
    stop_all()
    shutil.rmtree(folder)
  return checks.result()


if __name__ == "__main__":
  sys.exit(main())
