#!/usr/bin/env python3
"""Does what the documents tell a reader to do: writes their files, runs their commands, compares what is printed.

  tests/clients/documents.py                     builds target/debug/triggerd and the examples first
  TRIGGERD=/path/to/triggerd NODE=/path/to/node tests/clients/documents.py    uses those

Each document is run from its top to its end in a folder of its own. A block of code is, by its language:

  sh       run by bash; a line that ends in & goes on in the background. It must succeed
  console  lines after `$ ` are run, and what stands below each must be all that it prints, on both streams. It may
           fail, but not by a panic or a signal
  text     what the sh or sql block before it prints. Times, and what takes their place, may differ
  sql      run by the sqlite3 program on queue.db. It must succeed
  others   a file, if the first line is a comment with its name (`# producer.py`); an emulator.toml is tried, too. Else it is only
           for the eye

`<!-- prepare` begins a comment whose lines are run like a block of sh: what a reader is supposed to have. `<!-- run by NAME -->` in
the line above a block says that it is run elsewhere: by the file or the test of that name, which must be there. The commands find
triggerd and node on their PATH, and the repository in $REPOSITORY.

Needs cargo (unless TRIGGERD is set), the sqlite3 program, Python, and Node 22.13 or later. The last line is
`N passed, N failed`; whatever was started is stopped, also after a failure.
"""

import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import checks
from checks import check, started, stop_all, text_of

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
# The port of the documents' far end: replaced by a free one.
PORT = "8700"
# A command that takes longer has gone wrong.
PATIENCE = 120
# A block of code, or a comment with commands.
BLOCK = re.compile(
  r"(?:^ *<!-- run by (?P<by>[^ ]+) -->\n)?^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^ *```$|^<!-- prepare\n(?P<before>.*?)^-->$",
  re.DOTALL | re.MULTILINE)


def blocks(markdown):
  """The code blocks of a document: what runs them if it is not this, language, text."""
  for found in BLOCK.finditer(markdown):
    if found["before"] is not None:
      yield None, "sh", found["before"]
    else:
      text = re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
      yield found["by"], found["language"], text


def exists(name):
  """A file of the repository, or a test."""
  if os.path.exists(os.path.join(ROOT, name)):
    return True
  sources = glob.glob(os.path.join(ROOT, "src/**/*.rs"), recursive=True) + glob.glob(os.path.join(ROOT, "tests/**/*"), recursive=True)
  return any(re.search(rf"\b(fn|def) {re.escape(name)}\(", text_of(path)) for path in sources if os.path.isfile(path))


def same(printed):
  """What is printed, without what differs from run to run."""
  printed = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( UTC|Z)?", "TIME", printed)
  printed = re.sub(r"\b\d+(\.\d+)? ?ms\b|\b\d+\.\d+ s\b", "SPAN", printed)
  return [re.sub(r"\s+", " ", line).strip() for line in printed.splitlines() if line.strip()]


class Document:
  """One document, and the folder in which it is done."""

  def __init__(self, name, folder):
    self.name, self.folder = name, folder
    with socket.socket() as free:
      free.bind(("127.0.0.1", 0))
      port = str(free.getsockname()[1])
    self.text = text_of(os.path.join(ROOT, name)).replace(PORT, port)
    path = [os.path.dirname(TRIGGERD), os.path.dirname(NODE), os.environ["PATH"]]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRIGGERD")}
    self.environment = {**inherited, "PATH": ":".join(path), "TZ": "UTC", "LC_ALL": "C.UTF-8", "REPOSITORY": ROOT, "NODE_NO_WARNINGS": "1"}
    self.printed = None

  def start(self, line):
    with open(os.path.join(self.folder, f"log-{len(started)}"), "wb") as log:
      started.append(subprocess.Popen(
        ["bash", "-c", f"exec {line}"], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

  def output(self, command, errors):
    """The exit code of a command, and what it prints."""
    process = subprocess.Popen(
      command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
      start_new_session=True)
    try:
      printed = process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, signal.SIGKILL)  # the shell and what it runs
      printed = process.communicate()[0]
    return process.returncode, printed

  def run(self, command, block):
    with tempfile.TemporaryFile("w+") as errors:
      code, self.printed = self.output(command, errors)
      errors.seek(0)
      check(f"{self.name}: this works:\n{block}", code == 0, self.printed + errors.read())

  def console(self, block):
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
      code, printed = self.output(["bash", "-uo", "pipefail", "-c", command], subprocess.STDOUT)
      # An example may show a failure, which has a code of its own; a panic and a signal have not.
      check(f"{self.name}: {command} prints:\n{expected}", same(expected) == same(printed) and 0 <= code < 100, (code, printed))

  def emulate(self, name):
    """An emulator's file is good if one starts with it, and stops."""
    process = subprocess.Popen(
      [TRIGGERD, "emulate", "--file", name, "--listen", "127.0.0.1:0", "--json"], cwd=self.folder, stdin=subprocess.DEVNULL,
      env={**self.environment, "EMULATOR_TOKEN": "x"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started.append(process)
    listens = process.stdout.readline().startswith("{")
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=PATIENCE)[1]
    check(f"{self.name}: an emulator starts with {name}", listens and process.returncode == 0, errors)

  def shell(self, block):
    time.sleep(1)  # a person needs longer from one block to the next
    # A line that ends in & runs on, as in a terminal of its own; what comes after it may need it.
    lines = []
    for line in block.splitlines():
      if line.endswith(" &"):
        if lines:
          self.run(["bash", "-euo", "pipefail", "-c", "\n".join(lines)], block)
          lines = []
        self.start(line[:-2])
        time.sleep(1)
      else:
        lines.append(line)
    if lines:
      self.run(["bash", "-euo", "pipefail", "-c", "\n".join(lines)], block)

  def read(self):
    for elsewhere, language, block in blocks(self.text):
      named = re.match(r"(?:#|//|--) ([a-z_]+\.(?:py|toml|mjs|rs|sql))\b", block)
      if elsewhere:
        check(f"{self.name}: {elsewhere} is there", exists(elsewhere))
      elif language == "sh":
        self.shell(block)
      elif language == "sql":
        time.sleep(1)
        self.run(["sqlite3", "-batch", "-init", os.devnull, "-cmd", ".timeout 5000", "queue.db", block], block)
      elif language == "console":
        self.console(block)
      elif language == "text" and self.printed is not None:
        check(f"{self.name}: this is printed:\n{block}", same(block) == same(self.printed), self.printed)
        self.printed = None
      elif named:
        with open(os.path.join(self.folder, named[1]), "w", encoding="utf-8") as file:
          file.write(block)
        if named[1] == "emulator.toml":
          self.emulate(named[1])


# Runs on a copy of the machine, as root.
ELSEWHERE = {"docs/operating.md": "tests/systemd/operating.py"}


def documents():
  """All of them that have something to run here."""
  names = ["README.md"] + sorted(os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, "docs/*.md")))
  names = [name for name in names if name not in ELSEWHERE]
  return [name for name in names if any(language in ("sh", "sql", "console") for _, language, _ in blocks(text_of(os.path.join(ROOT, name))))]


def build():
  subprocess.run(
    ["cargo", "build", "--locked", "--quiet", "--bins", "--examples"], cwd=ROOT, stdin=subprocess.DEVNULL, check=True)
  return os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "debug", "triggerd")


def main():
  global TRIGGERD, NODE
  NODE = os.environ.get("NODE") or shutil.which("node")
  missing = [tool for tool in ("sqlite3", "bash") if not shutil.which(tool)]
  if not NODE or subprocess.run([NODE, "-e", "require('node:sqlite')"], capture_output=True, check=False).returncode:
    missing.append("node 22.13 or later")
  if missing:
    print(f"FAILED: not installed: {', '.join(missing)}", file=sys.stderr)
    print("0 passed, 1 failed")
    return 1
  for name in sys.argv[1:]:
    by = ELSEWHERE.get(os.path.relpath(os.path.abspath(name), ROOT))
    if by:
      print(f"FAILED: {name} changes the machine: {by} runs it on a copy", file=sys.stderr)
      print("0 passed, 1 failed")
      return 1
  NODE = os.path.abspath(NODE)
  TRIGGERD = os.path.abspath(os.environ.get("TRIGGERD") or build())
  chosen = sys.argv[1:] or documents()
  for name in chosen:
    print(f"== {name}")
    folder = tempfile.mkdtemp(prefix="triggerd-documents-")
    before = checks.failed
    try:
      Document(name, folder).read()
    except (Exception, KeyboardInterrupt) as error:  # pylint: disable=broad-except
      check(f"{name}: it goes on to the end", False, error)
    finally:
      stop_all(signal.SIGTERM)
      if checks.failed > before:
        for log in sorted(glob.glob(os.path.join(folder, "*log*"))):
          print(f"--- {os.path.basename(log)}\n{text_of(log)[-4000:]}", file=sys.stderr)
      shutil.rmtree(folder, ignore_errors=True)
  return checks.result()


if __name__ == "__main__":
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  try:
    sys.exit(main())
  finally:
    stop_all()
