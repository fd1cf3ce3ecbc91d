#!/usr/bin/env bash
# What systemd itself says of the files in systemd/: sound, confined, and the folders as producers need them.
# Installs nothing and starts nothing. $1: the triggerd program (default: the debug build).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
program=$(realpath "${1:-target/debug/triggerd}")
[[ -x $program ]] || { echo "$program is not there: cargo build" >&2; exit 1; }
for tool in systemd-analyze systemd-sysusers systemd-tmpfiles sqlite3 setpriv; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: install systemd, sqlite3, util-linux" >&2; exit 1; }
done
fail() {
  echo "FAILED: $*" >&2
  exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The unit as it is installed, but for the place of its program, which need not be installed here.
unit=$work/triggerd.service
sed "s|^ExecStart=/usr/bin/triggerd |ExecStart=$program |" systemd/triggerd.service >"$unit"
grep -q "^ExecStart=$program run$" "$unit" || fail 'ExecStart= is not /usr/bin/triggerd run'

echo 'systemd-analyze verify'
said=$(systemd-analyze verify --man=no --generators=no "$unit" 2>&1) || fail "$said"
# A key that it does not know is a warning to it.
if grep -F "$unit" <<<"$said"; then
  fail 'the unit has warnings'
fi

# 13 of 100: less is not to be had for a program that calls HTTP and shares files with a group.
systemd-analyze security --offline=true --threshold=13 --no-pager "$unit" >"$work/security" ||
  fail "$(cat "$work/security")"
tail -n 1 "$work/security"

# In a root of its own. Owners can only be given by root.
root=$work/root
mkdir -p "$root/usr/lib/sysusers.d" "$root/usr/lib/tmpfiles.d" "$root/etc"
cp systemd/triggerd.sysusers "$root/usr/lib/sysusers.d/triggerd.conf"
cp systemd/triggerd.tmpfiles "$root/usr/lib/tmpfiles.d/triggerd.conf"
if ((EUID == 0)); then
  systemd-sysusers --root="$root"
  grep -q '^triggerd:' "$root/etc/passwd" || fail 'no user'
  grep -q '^triggerd:' "$root/etc/group" || fail 'no group'
  uid=$(grep '^triggerd:' "$root/etc/passwd" | cut -d : -f 3)
  systemd-tmpfiles --create --root="$root" triggerd.conf
  [[ $(stat -c '%a %u' "$root/var/lib/triggerd") == "2770 $uid" ]] || fail 'the folder of the database'
  [[ $(stat -c %a "$root/etc/triggerd/credentials") == 700 ]] || fail 'the folder of the secrets'
  # What an older version made, and what somebody made readable for all.
  for file in queue.db queue.db-wal queue.db-shm queue.db.lock; do
    install -m 0644 -o "$uid" /dev/null "$root/var/lib/triggerd/$file"
  done
  systemd-tmpfiles --create --root="$root" triggerd.conf
  for file in queue.db queue.db-wal queue.db-shm queue.db.lock; do
    [[ $(stat -c '%a %u' "$root/var/lib/triggerd/$file") == "660 $uid" ]] || fail "the mode of $file"
  done

  # An administrator's migration, under the usual umask, in a folder of somebody else: his files are the folder's.
  cat >"$work/triggerd.toml" <<TOML
[database]
url = "sqlite:$root/var/lib/triggerd/made.db"
TOML
  (umask 022 && "$program" --config "$work/triggerd.toml" migrate)
  gid=$(stat -c %g "$root/var/lib/triggerd")
  for file in made.db made.db.lock; do
    [[ $(stat -c '%a %u %g' "$root/var/lib/triggerd/$file") == "660 $uid $gid" ]] || fail "$file of a migration by root"
  done

  # A producer, which is another user of the group, inserts; then the daemon's user finds everything its own.
  chmod 0755 "$work" && chmod 0644 "$work/triggerd.toml" && install -m 0755 "$program" "$work/triggerd"
  as() { setpriv --reuid="$1" --regid="$gid" --clear-groups --inh-caps=-all "${@:2}"; }
  producer=$((uid - 1))
  as "$producer" sqlite3 "$root/var/lib/triggerd/made.db" "
    INSERT INTO triggers (name, call_mode, method, origin, repeatable, max_arguments, active)
    VALUES ('t', 'AsyncRequestReply', 'POST', 'http://127.0.0.1', 0, 65536, 1);
    INSERT INTO requests (trigger_name) VALUES ('t')" || fail 'a producer of the group cannot insert'
  (umask 022 && as "$uid" "$work/triggerd" --config "$work/triggerd.toml" migrate) || fail 'the daemon cannot write its database'
  if setpriv --reuid=64999 --regid=64999 --clear-groups --inh-caps=-all \
    sqlite3 "$root/var/lib/triggerd/made.db" 'SELECT 1 FROM requests' 2>/dev/null; then
    fail 'a stranger can read the database'
  fi
  echo 'sysusers, tmpfiles, a migration by root, a producer of the group: as they should be'
else
  echo 'not root: owners are not tested'
  systemd-sysusers --dry-run "$root/usr/lib/sysusers.d/triggerd.conf"
fi
echo 'systemd: all passed'
