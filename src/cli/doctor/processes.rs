//! The processes that use the files, as far as the kernel lets us see: by /proc/locks.
//!
//! A daemon holds a lock on `queue.db.lock`. In the `-shm` file SQLite locks bytes: who reads in a transaction has one of 123
//! to 127 (sqlite.org/walformat.html, "WAL Locks").

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{major, minor};

const READERS: RangeInclusive<u64> = 123..=127;

/// Device and inode.
type Identity = (u64, u64);

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
        let file = |suffix: &str| {
            let mut name = database.as_os_str().to_owned();
            name.push(suffix);
            identity(Path::new(&name))
        };
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        let mut found = Self::parse(&locks, file(".lock"), file("-shm"), has_open);
        found.readers.remove(&std::process::id());
        found
    }

    /// `1: POSIX  ADVISORY  READ  1234 fd:00:393 123 123`. Some file systems give another device here: then the inode says little,
    /// and `has_open` is asked whether the process has the file.
    fn parse(
        locks: &str,
        lock: Option<Identity>,
        shm: Option<Identity>,
        has_open: impl Fn(u32, Identity) -> bool,
    ) -> Self {
        let mut found = Self::default();
        let is_of = |file: &str, pid: u32, wanted: Option<Identity>| {
            let Some((device, inode)) = wanted else { return false };
            let Some((its_device, its_inode)) = file.rsplit_once(':') else { return false };
            its_inode.parse() == Ok(inode)
                && (its_device == format!("{:02x}:{:02x}", major(device), minor(device))
                    || has_open(pid, (device, inode)))
        };
        for line in locks.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, kind, _, what, pid, file, from, to] = words[..] else { continue };
            let Ok(pid) = pid.parse() else { continue };
            if kind == "FLOCK" && what == "WRITE" && is_of(file, pid, lock) {
                found.daemon = Some(pid);
            }
            let covers = |range: RangeInclusive<u64>| {
                let from: u64 = from.parse().ok()?;
                let to: u64 = to.parse().unwrap_or(u64::MAX);
                Some(from <= *range.end() && to >= *range.start())
            };
            if kind == "POSIX" && what == "READ" && covers(READERS) == Some(true) && is_of(file, pid, shm) {
                found.readers.insert(pid);
            }
        }
        found
    }
}

fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Whether a process has a file open, as far as this user may see it.
fn has_open(pid: u32, file: Identity) -> bool {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
    open.is_ok_and(|open| open.flatten().any(|entry| identity(&entry.path()) == Some(file)))
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
        let device = rustix::fs::makedev(0xfd, 0);
        let parse = |device, has_open: fn(u32, Identity) -> bool| {
            Processes::parse(locks, Some((device, 7)), Some((device, 8)), has_open)
        };
        let found = Processes { daemon: Some(50), readers: [51].into() };
        assert_eq!(parse(device, |_, _| false), found);
        let elsewhere = rustix::fs::makedev(0, 42);
        assert_eq!(parse(elsewhere, |_, _| false), Processes::default(), "the same inodes of another disk");
        assert_eq!(parse(elsewhere, |_, _| true), found, "the file system has two names for its device");
        assert_eq!(Processes::parse(locks, None, None, |_, _| true), Processes::default());
    }

    #[test]
    fn whether_a_process_has_a_file_open_is_seen() {
        let (open, other) =
            (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let other = other.into_temp_path();
        assert!(has_open(std::process::id(), identity(open.path()).unwrap()));
        assert!(!has_open(std::process::id(), identity(&other).unwrap()));
    }
}
