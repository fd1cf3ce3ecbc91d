#!/usr/bin/env python3
"""Does what docs/operating.md tells an administrator to do, from the install to the uninstall, as root, on a copy of this machine.

  tests/systemd/operating.py                     the debug build must be there
  TRIGGERD=/path/to/triggerd tests/systemd/operating.py    uses that one

The copy is an overlay of / whose changes lie in memory, in namespaces of its own for mounts, processes and the network: nothing
of it is left, and nothing can be called. systemd does not run there, so its part is played by stand-ins for systemctl, systemd-run
and an editor; systemd-sysusers, systemd-tmpfiles and systemd-analyze are the real ones. A producer of the group inserts a row.

Needs root, unshare, overlayfs, systemd, the sqlite3 program. The last line is `N passed, N failed`.
"""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))
sys.path.insert(0, os.path.join(ROOT, "tests/clients"))
import checks  # noqa: E402, pylint: disable=wrong-import-position
import documents  # noqa: E402, pylint: disable=wrong-import-position

CHECKOUT = "/triggerd-checkout"

SYSTEMCTL = r"""#!/bin/bash
# Plays systemd's part for one service.
unit=/usr/lib/systemd/system/triggerd.service
link=/etc/systemd/system/multi-user.target.wants/triggerd.service
database=/var/lib/triggerd/queue.db
verify() {
  [[ ! -e $unit ]] || ! systemd-analyze verify --man=no --generators=no "$unit" 2>&1 | grep -F "$unit"
}
start() {
  [[ $(grep '^ExecStart=' "$unit") == 'ExecStart=/usr/bin/triggerd run' ]] || exit 1
  mkdir -p /var/log/triggerd && chown triggerd:triggerd /var/log/triggerd
  # As the unit has it.
  (umask 0007 && exec setsid runuser -u triggerd -- /usr/bin/triggerd run) </dev/null >/daemon.log 2>&1 &
  for _ in {1..200}; do
    [[ $(sqlite3 "$database" 'SELECT ready_at IS NOT NULL FROM daemon' 2>/dev/null) == 1 ]] && return
    sleep 0.1
  done
  cat /daemon.log
  exit 1
}
stop() {
  pkill -TERM -x triggerd
  while pgrep -x triggerd >/dev/null; do sleep 0.1; done
}
case "$*" in
  daemon-reload) verify ;;
  'edit triggerd') true ;;
  # The real one makes the link, or none if the unit does not say for which target.
  'enable --now triggerd') /usr/bin/systemctl enable triggerd && [[ -e $link ]] && start ;;
  'restart triggerd') stop && start ;;
  'stop triggerd') stop ;;
  'start triggerd') start ;;
  'disable --now triggerd') stop && /usr/bin/systemctl disable triggerd && [[ ! -L $link ]] ;;
  'status triggerd') pgrep -x triggerd ;;
  *) echo "nobody plays systemctl $*" >&2; exit 1 ;;
esac
"""

SYSTEMD_RUN = r"""#!/bin/bash
# Runs the command at the end of the line as the user that it names, if the secret that it names is there.
[[ "$*" =~ " User=triggerd "(.* )?LoadCredential=orchestrator:([^ ]+)" " ]] || exit 1
[[ -f ${BASH_REMATCH[2]} ]] || { echo "no ${BASH_REMATCH[2]}" >&2; exit 1; }
exec runuser -u triggerd -- "${@: -2}"
"""


class Operating(documents.Document):
  """The document, run in the copy."""

  def __init__(self):
    super().__init__("docs/operating.md", CHECKOUT)
    self.text = self.text.replace("PRODUCER", "producer")
    self.environment["PATH"] = os.environ["PATH"]  # the stand-ins come first
    self.produced = False

  def shell(self, block):
    super().shell(block)
    if "usermod" in block:
      self.produced = True
      row = "INSERT INTO requests (trigger_name, run_at) VALUES ('nightly-report', 9000000000000)"
      self.run(["runuser", "-u", "producer", "--", "sqlite3", "/var/lib/triggerd/queue.db", row], "a producer of the group inserts")
      stranger = ["runuser", "-u", "nobody", "--", "sqlite3", "/var/lib/triggerd/queue.db", "SELECT 1 FROM requests"]
      checks.check("a stranger cannot read the table", subprocess.run(stranger, capture_output=True, check=False).returncode)


def inside():
  """In the copy, which is the root by now."""
  documents.TRIGGERD, documents.NODE = "/usr/bin/triggerd", "/usr/bin/node"
  subprocess.run(["useradd", "--system", "producer"], check=True)
  operating = Operating()
  operating.read()
  checks.check("the document puts a producer into the group", operating.produced)
  for path in ("/usr/bin/triggerd", "/var/lib/triggerd", "/etc/triggerd", "/usr/lib/systemd/system/triggerd.service"):
    checks.check(f"the uninstall removes {path}", not os.path.exists(path))
  users = pathlib.Path("/etc/passwd").read_text(encoding="utf-8")
  checks.check("the uninstall removes the user", "\ntriggerd:" not in users)
  return checks.result()


def copy(program):
  """Makes the copy of this machine, and moves into it."""
  run = lambda *command: subprocess.run(command, check=True)  # noqa: E731
  top = "/mnt"
  run("mount", "--make-rprivate", "/")
  run("mount", "-t", "tmpfs", "none", top)
  for name in ("changes", "work", "root"):
    os.mkdir(f"{top}/{name}")
  root = f"{top}/root"
  run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={top}/changes,workdir={top}/work", root)
  run("mount", "-t", "proc", "proc", f"{root}/proc")
  run("mount", "--rbind", "/dev", f"{root}/dev")
  # What is mounted below / is not in the overlay: the checkout may be on a disk of its own.
  checkout = root + CHECKOUT
  for part in ("systemd", "config", "docs", "tests"):
    shutil.copytree(os.path.join(ROOT, part), os.path.join(checkout, part))
  os.makedirs(f"{checkout}/target/release")
  shutil.copy(program, f"{checkout}/target/release/triggerd")
  for name, text in (("systemctl", SYSTEMCTL), ("systemd-run", SYSTEMD_RUN), ("editor", "#!/bin/sh\n")):
    stand_in = pathlib.Path(f"{root}/usr/local/sbin/{name}")
    stand_in.write_text(text, encoding="utf-8")
    stand_in.chmod(0o755)
  os.chroot(root)
  os.chdir("/")
  path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  os.execve("/usr/bin/python3", ["python3", f"{CHECKOUT}/tests/systemd/operating.py", "inside"], {"PATH": path, "LANG": "C.UTF-8"})


def impossible(why):
  """A machine that cannot be copied is a failure: nothing is skipped."""
  print(f"FAILED: no copy of this machine can be made, so docs/operating.md was not run: {why}", file=sys.stderr)
  print("0 passed, 1 failed")
  return 1


def main():
  if sys.argv[1:] == ["inside"]:
    return inside()
  program = os.path.abspath(os.environ.get("TRIGGERD") or os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "debug/triggerd"))
  missing = [tool for tool in ("unshare", "sqlite3", "systemd-analyze", "systemd-sysusers", "runuser", "useradd", "pkill") if not shutil.which(tool)]
  if os.geteuid() != 0 or missing or not os.path.exists(program):
    print(f"FAILED: this needs root, {program}, and what is missing here: {', '.join(missing) or 'nothing'}", file=sys.stderr)
    print("0 passed, 1 failed")
    return 1
  if sys.argv[1:] == ["copy"]:
    try:
      copy(program)
    except (OSError, subprocess.CalledProcessError) as error:
      return impossible(error)
  os.environ["TRIGGERD"] = program
  # Whatever is started ends with the first process of the namespace.
  apart = ["unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child"]
  if subprocess.run([*apart, "true"], check=False).returncode:
    return impossible("unshare is not permitted")
  return subprocess.run([*apart, sys.executable, os.path.abspath(__file__), "copy"], check=False, timeout=300).returncode


if __name__ == "__main__":
  sys.exit(main())
