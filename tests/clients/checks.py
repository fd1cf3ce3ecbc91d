"""What the tests of this folder share: checks that are counted, and processes that are ended."""

import subprocess
import sys

passed = failed = 0
started = []  # processes to end


def check(what, good, found=None):
  """Counts a check, and says what is wrong if it does not hold."""
  global passed, failed
  if good:
    passed += 1
  else:
    failed += 1
    print(f"FAILED: {what}" + (f"\n  found: {found!r}" if found is not None else ""), file=sys.stderr)
  return good


def result():
  """Says how many there were, in the last line; the exit code."""
  print(f"{passed} passed, {failed} failed")
  return 1 if failed or not passed else 0


def stop_all(way=None):
  """Ends what was started: by a signal if one is given, and else, or if that does not help, at once."""
  for process in reversed(started):
    if process.poll() is None:
      process.send_signal(way) if way else process.kill()
  for process in started:
    try:
      process.wait(20)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
  started.clear()


def text_of(path):
  """The content of a file, whatever is in it."""
  with open(path, encoding="utf-8", errors="replace") as file:
    return file.read()
