//! Whether this process may use a database's files at all. SQLite says only "unable to open database file".

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use rustix::io::Errno;
use rustix::process::{getgid, getuid};

use crate::queue::Error;

/// Refuses a folder in which SQLite could not make its files, files that are not ours to write, and a place that a database was
/// taken away from.
pub(super) fn check(database: &Path) -> Result<(), Error> {
    let folder = match database.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if statvfs(folder).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        return Err(refused(
            database,
            &format!("the file system of {} is mounted read-only", folder.display()),
        ));
    }
    // What is not there has its own word for it, elsewhere.
    if folder.exists() && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Err(refused(
            database,
            &format!(
                "SQLite makes files beside a database, and in {} this process may not ({})",
                folder.display(),
                owner(folder)
            ),
        ));
    }
    let beside = |suffix: &str| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    // SQLite would throw it away for the empty database that is made now, and the rows of the lost one with it.
    let wal = beside("-wal");
    if !database.exists() && wal.exists() {
        return Err(refused(
            database,
            &format!(
                "it was moved or deleted, but {} is still there; put it back, or remove that and the -shm to begin with an \
                 empty database",
                wal.display()
            ),
        ));
    }
    for suffix in ["", "-wal", "-shm", ".lock", ".flights", ".flights.new", ".ballast"] {
        let path = beside(suffix);
        // One that is gone is nobody's: others make and remove them meanwhile.
        let mine = access(&path, Access::READ_OK | Access::WRITE_OK);
        if mine.is_err_and(|error| error != Errno::NOENT) {
            return Err(refused(
                database,
                &format!(
                    "{} is not this process's to read and write ({}); give it owner, group and mode as the folder has them",
                    path.display(),
                    owner(&path)
                ),
            ));
        }
    }
    Ok(())
}

fn refused(database: &Path, why: &str) -> Error {
    Error::Unavailable { what: format!("open {}: {why}", database.display()), source: None }
}

/// Whose it is, and who asks.
fn owner(path: &Path) -> String {
    let file = path.metadata().map_or_else(
        |error| error.to_string(),
        |file| format!("owner {}:{}, mode {:04o}", file.uid(), file.gid(), file.mode() & 0o7777),
    );
    format!("{file}; this runs as {}:{}", getuid().as_raw(), getgid().as_raw())
}
