//! A copy of the database, made while the daemon and producers go on, and looked through before it gets its name.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::schema::{self, Opened, SCHEMA_VERSION};
use super::{Options, damage, explain, health, primary_code, statements};
use crate::clock::Clock;
use crate::queue::Error;

/// A copy that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Where it is.
    pub path: PathBuf,
    /// How long the file is.
    pub bytes: u64,
    /// How many requests it has.
    pub requests: i64,
}

/// Copies the database to a file that is not there yet, for its owner alone to read. The copy is of one instant, without free
/// pages, and says that it is one: the daemon refuses it until [`super::restored()`] was called. It gets its name when it was
/// looked through and is on the disk; before that it is in a folder of its own, and after an error, or if this is dropped,
/// there is nothing left of it.
///
/// # Errors
/// [`Error::Refused`] if the file is there; [`Error::Corrupt`] if the database is damaged, or the copy; [`Error::Copy`] if the
/// copy cannot be written; the rest as their names say.
pub async fn backup(options: &Options, to: &Path, clock: &impl Clock) -> Result<Copied, Error> {
    let options = options.clone().resolved();
    let to = std::path::absolute(to).map_err(|e| unwritten(to, &e))?;
    let refused = |why: &str| Error::Refused(format!("{} {why}", to.display()));
    if to.symlink_metadata().is_ok() {
        return Err(refused(IS_THERE));
    }
    let (Some(folder), Some(name)) = (to.parent(), to.file_name()) else {
        return Err(refused("is no name of a file"));
    };
    let mut database = schema::open_current(&options, Opened::ToRead).await?;
    let needed = health::used(&mut database).await.map_err(|e| explain("read the database", e))?;
    let free = rustix::fs::statvfs(folder).map_err(|e| unwritten(&to, &e))?;
    if let Some(why) = wants_room(needed, free.f_bavail.saturating_mul(free.f_frsize)) {
        return Err(unwritten(&to, &why));
    }
    let workshop = Workshop::new(folder, name).map_err(|e| unwritten(&to, &e))?;
    let copy = workshop.0.path().join(name);
    let Some(text) = copy.to_str().map(str::to_owned) else {
        return Err(refused("is no UTF-8: choose another name"));
    };
    // SQLite takes an empty file. This one is for its owner from the first byte on.
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&copy)
        .map_err(|e| unwritten(&to, &e))?;
    sqlx::query("VACUUM INTO ?1")
        .bind(text)
        .execute(&mut database)
        .await
        .map_err(|e| failed("copy the database", &to, e))?;
    let requests = look_through(&copy, &to, clock).await?;
    database.close().await.map_err(|e| explain("close the database", e))?;
    // From here on nothing is waited for, so nothing is given up half-way.
    file.sync_all().map_err(|e| unwritten(&to, &e))?;
    let bytes = file.metadata().map_err(|e| unwritten(&to, &e))?.len();
    let copy = tempfile::TempPath::try_from_path(copy).map_err(|e| unwritten(&to, &e))?;
    copy.persist_noclobber(&to).map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => refused(IS_THERE),
        _ => unwritten(&to, &e.error),
    })?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| unwritten(&to, &e))?;
    Ok(Copied { path: to, bytes, requests })
}

const IS_THERE: &str = "is there already: choose another name, or remove it first";

/// A folder for the copy and for what SQLite makes beside it, which goes with all that is in it.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new(beside: &Path, name: &OsStr) -> io::Result<Self> {
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push("-");
        let owner_only = Permissions::from_mode(0o700);
        tempfile::Builder::new().prefix(&prefix).permissions(owner_only).tempdir_in(beside).map(Self)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // SQLite has a thread of its own, which may make one more file in the meantime.
        for _ in 0..3 {
            if std::fs::remove_dir_all(self.0.path()).is_ok() {
                break;
            }
        }
    }
}

/// What to say if the copy has no room.
fn wants_room(needed: u64, free: u64) -> Option<String> {
    (free < needed).then(|| format!("it needs {needed} bytes, and {free} are free there"))
}

/// Marks a copy, and sees whether it is sound; how many requests it has.
async fn look_through(copy: &Path, to: &Path, clock: &impl Clock) -> Result<i64, Error> {
    let what = |e| failed("look through the copy", to, e);
    let mut connection = SqliteConnection::connect_with(&schema::alone(copy)).await.map_err(what)?;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(what)?;
    statements::mark_set(&mut tx, clock.now()).await.map_err(what)?;
    tx.commit().await.map_err(what)?;
    let version = schema::version(&mut connection).await?;
    let marked = statements::mark(&mut connection).await.map_err(what)?.is_some();
    if version != SCHEMA_VERSION || !marked {
        return Err(Error::Corrupt(format!("the copy has schema version {version}, marked: {marked}")));
    }
    let lines = statements::backup_check(&mut connection).await.map_err(what)?;
    if let Some(line) = damage(lines.iter().map(String::as_str)).next() {
        return Err(Error::Corrupt(format!("the copy is not sound: {line}")));
    }
    let requests = statements::backup_rows(&mut connection).await.map_err(what)?;
    connection.close().await.map_err(what)?;
    Ok(requests)
}

/// An error of SQLite: the database was only read, so want of room or of rights is the copy's.
fn failed(what: &str, to: &Path, error: sqlx::Error) -> Error {
    const READ_ONLY: i64 = 8;
    const IO_ERROR: i64 = 10;
    const FULL: i64 = 13;
    const CANNOT_OPEN: i64 = 14;
    match primary_code(&error) {
        Some(READ_ONLY | IO_ERROR | FULL | CANNOT_OPEN) => unwritten(to, &error),
        _ => explain(what, error),
    }
}

fn unwritten(to: &Path, error: &dyn std::fmt::Display) -> Error {
    let folder = to.parent().unwrap_or(to).display();
    Error::Copy(format!("{}: {error}: see the room in {folder}, and who may write there", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_has_no_room_is_not_begun() {
        assert_eq!(wants_room(4096, 4096), None);
        assert!(
            wants_room(4097, 4096).is_some_and(|why| why.contains("needs 4097 bytes, and 4096 are free"))
        );
    }

    #[test]
    fn what_is_made_in_the_workshop_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let workshop = Workshop::new(folder.path(), OsStr::new("copy.db")).unwrap();
        assert_eq!(workshop.0.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(workshop.0.path().join("copy.db-journal"), "x").unwrap();
        drop(workshop);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
