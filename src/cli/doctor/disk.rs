//! Where the file lies, and whether there is room.

use std::path::Path;

use triggerd::queue::sqlite;

use super::{Finding, size};

const CHECK: &str = "disk";
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[derive(Clone, Copy, Debug)]
struct Room {
    free: u64,
    total: u64,
    /// Of the database and its WAL.
    used: u64,
    /// Files that may still be made; none where they are not counted.
    files: Option<u64>,
}

pub(super) fn check(database: &Path) -> Vec<Finding> {
    let folder = match database.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut findings = Vec::new();
    if let Ok(kind) = sqlite::file_system(folder) {
        findings.push(place(kind, folder));
    }
    if let Ok(found) = rustix::fs::statvfs(folder) {
        let length = |suffix: &str| {
            let mut name = database.as_os_str().to_owned();
            name.push(suffix);
            std::fs::metadata(name).map_or(0, |file| file.len())
        };
        let room = Room {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
            used: length("") + length("-wal"),
            files: (found.f_files > 0).then_some(found.f_favail),
        };
        findings.extend(judge(room));
    }
    findings
}

fn place(kind: sqlite::FileSystem, folder: &Path) -> Finding {
    use sqlite::FileSystem::{Fleeting, Local, Remote};
    let folder = folder.display();
    match kind {
        Local => Finding::ok(CHECK, format!("{folder} is on a local file system")),
        Remote(name) => Finding::error(
            CHECK,
            format!("{folder} is on {name}, where SQLite's WAL does not work"),
            "put the database on a local disk",
        ),
        Fleeting(name) => Finding::warning(
            CHECK,
            format!("{folder} is on {name}, which may not outlive the machine or its container"),
            "put the database on a disk or a volume",
        ),
    }
}

fn judge(room: Room) -> Vec<Finding> {
    let Room { free, total, used, files } = room;
    let mut findings = Vec::new();
    let there = format!("{} are free", size(free));
    const MAKE_ROOM: &str = "make room; what is past its time goes by `triggerd prune`";
    // Deleting needs room first.
    const FIRST: &str =
        "delete other files of that file system, or make it larger; only then does `triggerd prune` help";
    if free < 64 * MIB {
        findings.push(Finding::error(CHECK, format!("only {there}"), FIRST));
    } else if free < 128 * MIB || (free < total / 10 && free < 10 * GIB) {
        findings.push(Finding::warning(
            CHECK,
            format!("only {there}: requests cannot be inserted nor fired once the disk is full"),
            MAKE_ROOM,
        ));
    } else if free < used {
        findings.push(Finding::warning(
            CHECK,
            format!("{there}, less than the {} of the database, which an upgrade copies first", size(used)),
            MAKE_ROOM,
        ));
    }
    if let Some(files) = files.filter(|files| *files < 1000) {
        findings.push(Finding::warning(
            CHECK,
            format!("only {files} more files can be made"),
            "delete small files of that file system",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, there));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn room_is_judged_by_itself_by_the_disk_and_by_the_database() {
        let cases = [
            ((63 * MIB, 100 * GIB, 0, None), Level::Error),
            ((127 * MIB, 500 * MIB, 0, None), Level::Warning),
            ((128 * MIB, 500 * MIB, 0, None), Level::Ok),
            ((GIB - 1, 2 * GIB, 0, None), Level::Ok),
            ((9 * GIB, 100 * GIB, 0, None), Level::Warning),
            ((50 * GIB, 1000 * GIB, 0, None), Level::Ok),
            ((50 * GIB, 100 * GIB, 51 * GIB, None), Level::Warning),
            ((50 * GIB, 100 * GIB, GIB, Some(999)), Level::Warning),
            ((50 * GIB, 100 * GIB, GIB, Some(1000)), Level::Ok),
        ];
        for ((free, total, used, files), level) in cases {
            let room = Room { free, total, used, files };
            assert_eq!(judge(room).iter().map(|f| f.level).max(), Some(level), "{room:?}");
        }
    }
}
