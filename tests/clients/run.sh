#!/usr/bin/env bash
# The schema as producers meet it: through the distribution's sqlite3 program, through Python's sqlite3 module, and through
# the oldest SQLite it promises to work with (3.34, the one of RHEL 9 and Debian 11), which is built here from the amalgamation
# that the crate sqlite3-src carries. Ends with `N passed, N failed`; a missing tool is a failure, not a skip.
#
#   tests/clients/run.sh
#   TRIGGERD_OLD_SQLITE=/path/to/libsqlite3.so tests/clients/run.sh     uses that library instead of building one
#   TRIGGERD_TEST_CACHE=/path                                           where the built library is kept
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

old_crate=0.3.0   # of sqlite3-src, the one that carries...
old_sqlite=3.34.1 # ...this SQLite
cache=${TRIGGERD_TEST_CACHE:-${TMPDIR:-/tmp}/triggerd-test-cache-$(id -u)}

passed=0
failed=0

fail() {
  failed=$((failed + 1))
  echo "FAILED: $*" >&2
}

# Runs clients.py and adds its counts to ours.
client() {
  local output counts
  output=$(python3 "$here/clients.py" "$@" 2>&1)
  local status=$?
  counts=$(tail -n 1 <<<"$output")
  sed '$d' <<<"$output"
  if [[ $counts =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    echo "   $counts"
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
  else
    echo "$counts"
    fail "clients.py $* ended early with status $status"
  fi
}

# Builds the old library once; prints its path.
old_library() {
  local library=$cache/sqlite-$old_sqlite/libsqlite3.so work amalgamation
  if [[ ! -e $library ]]; then
    work=$(mktemp -d) || return 1
    trap "rm -rf '$work'" EXIT # of the command substitution this runs in
    mkdir -p "$work/src" "${library%/*}" || return 1
    : >"$work/src/lib.rs"
    printf '[package]\nname = "old-sqlite"\nversion = "0.0.0"\nedition = "2021"\n\n[dependencies]\nsqlite3-src = { version = "=%s", features = ["bundled"] }\n' \
      "$old_crate" >"$work/Cargo.toml"
    (cd "$work" && cargo vendor --quiet vendor >/dev/null) || return 1
    amalgamation=$(find "$work/vendor" -name sqlite3.c -print -quit)
    [[ -n $amalgamation ]] || return 1
    nice cc -O1 -shared -fPIC -DSQLITE_ENABLE_JSON1 "$amalgamation" -o "$library.new" -lm -ldl -lpthread || return 1
    mv "$library.new" "$library" || return 1
  fi
  echo "$library"
}

for tool in python3 sqlite3; do
  command -v "$tool" >/dev/null || fail "$tool is not installed (Debian: apt-get install $tool)"
done

command -v sqlite3 >/dev/null && command -v python3 >/dev/null && client program
command -v python3 >/dev/null && client module

if library=${TRIGGERD_OLD_SQLITE:-$(old_library)} && [[ -e $library ]]; then
  client library "$library"
else
  fail "SQLite $old_sqlite could not be built: it needs cargo, cc and the crate sqlite3-src $old_crate"
fi

echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
