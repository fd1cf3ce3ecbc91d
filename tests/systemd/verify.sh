#!/usr/bin/env bash
# What systemd itself says of the files in systemd/: sound, confined, and the folders as producers need them.
# Installs nothing and starts nothing. $1: the triggerd program (default: the debug build).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
program=$(realpath "${1:-target/debug/triggerd}")
[[ -x $program ]] || { echo "$program is not there: cargo build" >&2; exit 1; }
for tool in systemd-analyze systemd-sysusers systemd-tmpfiles; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: install systemd" >&2; exit 1; }
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
  echo 'sysusers, tmpfiles and a migration by root: as they should be'
else
  echo 'not root: owners are not tested'
  systemd-sysusers --dry-run "$root/usr/lib/sysusers.d/triggerd.conf"
fi
echo 'systemd: all passed'
