//! Who may use the files: the daemon, the producers of its group, and nobody else.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use triggerd::queue::sqlite::SCHEMA_VERSION;

use super::Finding;

const CHECK: &str = "files";
const GROUP_WRITES: u32 = 0o020;
const SETGID: u32 = 0o2000;

/// A file or folder as it is.
#[derive(Clone, Debug)]
struct Entry {
    path: PathBuf,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Entry {
    fn read(path: PathBuf) -> Option<Self> {
        let found = path.metadata().ok()?;
        Some(Self { path, mode: found.mode(), uid: found.uid(), gid: found.gid() })
    }

    fn is_writable_by(&self, uid: u32, gid: u32) -> bool {
        (self.uid == uid && self.mode & 0o600 == 0o600)
            || (self.gid == gid && self.mode & 0o060 == 0o060)
            || self.mode & 0o006 == 0o006
    }
}

pub(super) fn check(database: &Path, logs: Option<&Path>) -> Vec<Finding> {
    let folder = match database.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Some(entry) = Entry::read(folder.to_owned()).filter(|_| folder.is_dir()) else {
        return vec![Finding::error(
            CHECK,
            format!("there is no folder {}", folder.display()),
            "make it, writable for the daemon's user, or change database.url",
        )];
    };
    let beside = |suffix: &str| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        Entry::read(PathBuf::from(name))
    };
    let used = ["", "-wal", "-shm", ".lock", ".flights", ".flights.new", ".ballast"];
    let files: Vec<_> = used.into_iter().filter_map(beside).collect();
    let mut findings = judge(&entry, &files);
    let upgrades = (1..SCHEMA_VERSION).map(|from| format!(".before-upgrade-from-{from}"));
    let copies = upgrades.chain([".rescued".to_owned()]).filter_map(|suffix| beside(&suffix));
    findings.extend(copies.filter_map(|copy| secrecy(&copy)));
    findings.extend(logs.and_then(|logs| Entry::read(logs.to_owned())).and_then(|logs| secrecy(&logs)));
    let writable = Access::WRITE_OK | Access::EXEC_OK;
    for folder in std::iter::once(folder).chain(logs) {
        if let Err(error) = rustix::fs::access(folder, writable) {
            findings.push(Finding::error(
                CHECK,
                format!("whoever runs this cannot write into {}: {error}", folder.display()),
                "the daemon must; run doctor as its user, and see who owns the folder",
            ));
        }
    }
    if findings.is_empty() {
        let mode = entry.mode & 0o7777;
        let who = if mode & GROUP_WRITES == 0 { "one user" } else { "a user and a group" };
        findings.push(Finding::ok(CHECK, format!("{} ({mode:o}) is for {who}", folder.display())));
    }
    findings
}

/// As src/queue/sqlite/modes.rs makes them: what the folder says, holds for its files.
fn judge(folder: &Entry, files: &[Entry]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_shared = folder.mode & GROUP_WRITES != 0;
    let name = folder.path.display();
    if folder.mode & 0o002 != 0 {
        findings.push(Finding::error(
            CHECK,
            format!("every user may replace the files of {name}"),
            format!("chmod o-w {name}"),
        ));
    }
    if is_shared && folder.mode & SETGID == 0 {
        findings.push(Finding::warning(
            CHECK,
            format!("files that a producer makes in {name} are of its own group"),
            format!("chmod g+s {name}"),
        ));
    }
    for file in files {
        let name = file.path.display();
        findings.extend(secrecy(file));
        // The folder is the daemon's, unless it is root's.
        if folder.uid != 0 && !file.is_writable_by(folder.uid, folder.gid) {
            findings.push(Finding::error(
                CHECK,
                format!("the owner of the folder cannot write {name} ({:o})", file.mode & 0o7777),
                format!("chown --reference={} {name} and chmod u+rw {name}", folder.path.display()),
            ));
        } else if is_shared && (file.gid != folder.gid || file.mode & 0o060 != 0o060) {
            findings.push(Finding::error(
                CHECK,
                format!("the group of the folder cannot write {name} ({:o})", file.mode & 0o7777),
                format!("chgrp --reference={} {name} and chmod g+rw {name}", folder.path.display()),
            ));
        }
    }
    findings
}

/// What is said of something that is everybody's.
fn secrecy(entry: &Entry) -> Option<Finding> {
    if entry.mode & 0o007 == 0 {
        return None;
    }
    let name = entry.path.display();
    let what = if entry.mode & 0o002 == 0 { "read" } else { "write" };
    Some(Finding::error(
        CHECK,
        format!("every user may {what} {name}, if the folder lets them in"),
        format!("chmod o= {name}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAEMON: u32 = 990;

    fn entry(name: &str, mode: u32, uid: u32, gid: u32) -> Entry {
        Entry { path: PathBuf::from(name), mode, uid, gid }
    }

    fn said(folder: &Entry, file: Entry) -> Vec<String> {
        judge(folder, &[file]).into_iter().map(|f| format!("{}: {}", f.message, f.advice)).collect()
    }

    #[test]
    fn what_the_daemon_makes_itself_is_right() {
        let shared = entry("/d", 0o42770, DAEMON, DAEMON);
        assert_eq!(said(&shared, entry("/d/q", 0o100_660, DAEMON, DAEMON)), [""; 0]);
        // A producer has made it, or root has.
        assert_eq!(said(&shared, entry("/d/q-wal", 0o100_660, 1000, DAEMON)), [""; 0]);
        let own = entry("/d", 0o40700, DAEMON, DAEMON);
        assert_eq!(said(&own, entry("/d/q", 0o100_640, DAEMON, DAEMON)), [""; 0]);
        assert_eq!(said(&entry("/d", 0o40755, 0, 0), entry("/d/q", 0o100_640, 0, 0)), [""; 0]);
    }

    #[test]
    fn what_keeps_somebody_out_or_lets_everybody_in_is_told_with_the_command_that_mends_it() {
        let shared = entry("/d", 0o42770, DAEMON, DAEMON);
        let cases = [
            (shared.clone(), entry("/d/q", 0o100_644, 0, 0), "every user may read /d/q"),
            (
                shared.clone(),
                entry("/d/q", 0o100_600, 0, 0),
                "the owner of the folder cannot write /d/q (600)",
            ),
            (
                shared.clone(),
                entry("/d/q", 0o100_600, DAEMON, DAEMON),
                "the group of the folder cannot write /d/q",
            ),
            (shared.clone(), entry("/d/q", 0o100_660, DAEMON, 7), "chgrp --reference=/d /d/q"),
            (entry("/d", 0o40770, DAEMON, DAEMON), entry("/d/q", 0o100_660, DAEMON, DAEMON), "chmod g+s /d"),
            (entry("/d", 0o41777, 0, 0), entry("/d/q", 0o100_660, 0, 0), "chmod o-w /d"),
        ];
        for (folder, file, expected) in cases {
            let said = said(&folder, file);
            assert!(said.iter().any(|line| line.contains(expected)), "{expected}: {said:?}");
        }
    }
}
