//! The processes that use the files, as far as the kernel lets us see: by /proc/locks.
//!
//! A daemon holds a lock on `queue.db.lock`. In the `-shm` file SQLite locks bytes: who reads in a transaction has one of 123
//! to 127 (sqlite.org/walformat.html, "WAL Locks").

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const READERS: RangeInclusive<u64> = 123..=127;

/// Those that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Processes {
    /// The daemon, by its process id.
    pub(super) daemon: Option<u32>,
    /// Those that are reading just now.
    pub(super) readers: BTreeSet<u32>,
}

impl Processes {
    pub(super) fn read(database: &Path) -> Self {
        let inode = |suffix: &str| {
            let mut name = database.as_os_str().to_owned();
            name.push(suffix);
            std::fs::metadata(name).ok().map(|file| file.ino())
        };
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        let mut found = Self::parse(&locks, inode(".lock"), inode("-shm"));
        found.readers.remove(&std::process::id());
        found
    }

    /// `1: POSIX  ADVISORY  READ  1234 fd:00:393 123 123`. The device is not compared: some file systems give another one here.
    fn parse(locks: &str, lock: Option<u64>, shm: Option<u64>) -> Self {
        let mut found = Self::default();
        for line in locks.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, kind, _, what, pid, file, from, to] = words[..] else { continue };
            let Ok(pid) = pid.parse() else { continue };
            let inode = file.rsplit(':').next().and_then(|inode| inode.parse().ok());
            let Some(inode) = inode.map(Some) else { continue };
            if kind == "FLOCK" && what == "WRITE" && inode == lock {
                found.daemon = Some(pid);
            }
            let covers = |range: RangeInclusive<u64>| {
                let from: u64 = from.parse().ok()?;
                let to: u64 = to.parse().unwrap_or(u64::MAX);
                Some(from <= *range.end() && to >= *range.start())
            };
            if kind == "POSIX" && what == "READ" && inode == shm && covers(READERS) == Some(true) {
                found.readers.insert(pid);
            }
        }
        found
    }
}

/// `1234 (python3)`.
pub(super) fn name(pid: u32) -> String {
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("{pid} ({})", name.trim()),
        Err(_) => pid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_and_the_readers_are_told_by_their_locks() {
        let locks = "\
1: FLOCK  ADVISORY  WRITE 50 fd:00:7 0 EOF
2: POSIX  ADVISORY  READ  50 fd:00:8 128 128
3: POSIX  ADVISORY  READ  51 fd:00:8 128 128
4: POSIX  ADVISORY  READ  51 fd:00:8 124 124
5: -> POSIX  ADVISORY  WRITE 52 fd:00:8 120 120
6: POSIX  ADVISORY  WRITE 53 fd:00:8 123 123
7: POSIX  ADVISORY  READ  54 fd:00:9 123 123
8: OFDLCK ADVISORY  READ  -1 fd:00:8 123 123
nonsense";
        let found = Processes::parse(locks, Some(7), Some(8));
        assert_eq!(found, Processes { daemon: Some(50), readers: [51].into() });
        assert_eq!(Processes::parse(locks, None, None), Processes::default());
    }
}
