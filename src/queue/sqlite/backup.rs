//! A copy of the database, made while the daemon and producers go on, and looked through before it gets its name.

use std::fs::File;
use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::schema::{self, Opened, SCHEMA_VERSION};
use super::{Options, damage, explain, statements};
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
/// pages, and says that it is one: the daemon refuses it until [`super::restored`] was called. It gets its name when it was
/// looked through and is on the disk; before that it has another one, and after an error there is nothing left of it.
///
/// # Errors
/// [`Error::Refused`] if the file is there; [`Error::Corrupt`] if the database is damaged, or the copy; the rest as their names
/// say.
pub async fn backup(options: &Options, to: &Path, clock: &impl Clock) -> Result<Copied, Error> {
    let options = options.clone().resolved();
    let to = std::path::absolute(to).map_err(|e| unavailable(to, &e))?;
    let refused = |why: &str| Error::Refused(format!("{} {why}", to.display()));
    if to.symlink_metadata().is_ok() {
        return Err(refused("is there already: choose another name, or remove it first"));
    }
    let (Some(folder), Some(name)) = (to.parent(), to.file_name()) else {
        return Err(refused("is no name of a file"));
    };
    let mut database = schema::open_current(&options, Opened::ToRead).await?;
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push("-");
    // For its owner from the first byte on; it is removed when this ends before its time.
    let copy =
        tempfile::Builder::new().prefix(&prefix).tempfile_in(folder).map_err(|e| unavailable(&to, &e))?;
    let Some(text) = copy.path().to_str().map(str::to_owned) else {
        return Err(refused("is no UTF-8: choose another name"));
    };
    // SQLite takes an empty file.
    sqlx::query("VACUUM INTO ?1")
        .bind(text)
        .execute(&mut database)
        .await
        .map_err(|e| explain("copy the database", e))?;
    let requests = look_through(copy.path(), clock).await?;
    database.close().await.map_err(|e| explain("close the database", e))?;
    copy.as_file().sync_all().map_err(|e| unavailable(&to, &e))?;
    let bytes = copy.as_file().metadata().map_err(|e| unavailable(&to, &e))?.len();
    copy.persist_noclobber(&to).map_err(|e| unavailable(&to, &e.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| unavailable(&to, &e))?;
    Ok(Copied { path: to, bytes, requests })
}

/// Marks a copy, and sees whether it is sound; how many requests it has.
async fn look_through(copy: &Path, clock: &impl Clock) -> Result<i64, Error> {
    let what = |e| explain("look through the copy", e);
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

fn unavailable(to: &Path, error: &std::io::Error) -> Error {
    Error::Unavailable { what: format!("write {}: {error}", to.display()), source: None }
}
