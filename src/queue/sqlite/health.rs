//! How a database is, for those who look after it. Nothing is changed, but that what is in the write-ahead log is moved into
//! the file, as the daemon does all the time.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::schema::{self, Opened};
use super::shape::{Differences, Shape};
use super::{Options, access, damage, explain, library_version, lock_path, restored, statements};
use crate::clock::UnixMillis;
use crate::queue::Error;

/// Lines of damage that are told: more say nothing more.
const MOST_DAMAGES: usize = 5;
/// A second for each gigabyte of a quick disk, so no more than that unless it is wanted.
const LARGEST_LOOK: u64 = 1 << 30;
/// A reader that is only passing is gone when it is looked for again.
const TRIES: u32 = 5;
const TRY_PAUSE: Duration = Duration::from_millis(100);

/// How much of the write-ahead log could be moved into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Pages that are in the file now.
    pub pages: i64,
    /// Pages that the log has.
    pub of: i64,
    /// Bytes that somebody keeps from being moved: none if some could be moved while it was looked at.
    pub held_back: u64,
}

/// How a database is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The version of SQLite that is linked.
    pub library: String,
    /// `wal`, if all is well.
    pub journal_mode: String,
    /// All pages.
    pub bytes: u64,
    /// Pages that nothing is in.
    pub free_bytes: u64,
    /// Whether it was looked through.
    pub was_looked_through: bool,
    /// What is wrong within the file, a few lines.
    pub damage: Vec<String>,
    /// What others have changed of the schema.
    pub schema: Vec<String>,
    /// Of the write-ahead log; none if something else than the daemon moves it.
    pub moved: Option<Moved>,
    /// How it is known that the file is a copy that was put back, if it is.
    pub put_back: Option<String>,
    /// Whether a daemon, or a migration, holds it.
    pub is_locked: bool,
    /// `daemon.version`.
    pub version: Option<String>,
    /// `daemon.started_at`.
    pub started_at: Option<UnixMillis>,
    /// `daemon.ready_at`.
    pub ready_at: Option<UnixMillis>,
    /// `daemon.seen_at`.
    pub seen_at: Option<UnixMillis>,
    /// When the newest request was inserted.
    pub newest_at: Option<UnixMillis>,
    /// Requests that wait for an operator, up to [`crate::queue::MANY_UNCERTAIN`].
    pub uncertain: usize,
    /// Triggers that are paused, with the reason.
    pub paused: Vec<(String, Option<String>)>,
    /// Schedules that insert nothing, some of them: whether they are paused, and why they are, or cannot be used.
    pub idle_schedules: Vec<(String, bool, Option<String>)>,
}

/// Looks at a database of this version. `full`: also a large file is looked through, and each index compared with its table.
///
/// # Errors
/// As their names say.
pub async fn health(options: &Options, full: bool) -> Result<Health, Error> {
    let options = options.clone().resolved();
    access::check(&options.path)?;
    let mut connection = schema::open_current(&options, Opened::ToRead).await?;
    let expected = schema::expected().await?;
    let put_back = restored::put_back(&mut connection, &options).await?;
    let mut health =
        read(&mut connection, &options, full).await.map_err(|e| explain("look at the database", e))?;
    let found = Shape::read(&mut connection).await.map_err(|e| explain("read the schema", e))?;
    let Differences { fatal, odd } = found.differences(&expected);
    health.schema = fatal.into_iter().chain(odd).collect();
    health.put_back = put_back;
    health.is_locked = is_locked(&options.path);
    connection.close().await.map_err(|e| explain("close the database", e))?;
    Ok(health)
}

async fn read(c: &mut SqliteConnection, options: &Options, full: bool) -> Result<Health, sqlx::Error> {
    let page = number(c, "PRAGMA page_size").await?;
    let bytes = number(c, "PRAGMA page_count").await? * page;
    let free_bytes = number(c, "PRAGMA freelist_count").await? * page;
    let journal_mode = sqlx::query("PRAGMA journal_mode").fetch_one(&mut *c).await?.try_get(0)?;
    let was_looked_through = full || bytes <= LARGEST_LOOK;
    let lines = match was_looked_through {
        true if full => statements::backup_check(c).await?,
        true => statements::quick_check(c).await?,
        false => Vec::new(),
    };
    let daemon = statements::health(c).await?;
    Ok(Health {
        library: library_version(c).await?.0,
        journal_mode,
        bytes,
        free_bytes,
        was_looked_through,
        damage: damage(lines.iter().map(String::as_str)).take(MOST_DAMAGES).collect(),
        moved: if options.checkpoint { Some(moved(c).await?) } else { None },
        uncertain: statements::uncertain(c).await?,
        paused: statements::paused(c).await?,
        idle_schedules: statements::idle_schedules(c).await?,
        ..daemon
    })
}

/// Bytes of the pages that something is in.
pub(super) async fn used(c: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let pages =
        number(c, "PRAGMA page_count").await?.saturating_sub(number(c, "PRAGMA freelist_count").await?);
    Ok(pages * number(c, "PRAGMA page_size").await?)
}

async fn number(c: &mut SqliteConnection, pragma: &'static str) -> Result<u64, sqlx::Error> {
    let number: i64 = sqlx::query(pragma).fetch_one(c).await?.try_get(0)?;
    Ok(number.max(0).cast_unsigned())
}

/// Waits for nobody, and lets nobody wait.
async fn moved(c: &mut SqliteConnection) -> Result<Moved, sqlx::Error> {
    let page = number(c, "PRAGMA page_size").await?;
    let mut seen: Vec<(i64, i64)> = Vec::new();
    for nth in 0..TRIES {
        if nth > 0 {
            tokio::time::sleep(TRY_PAUSE).await;
        }
        let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut *c).await?;
        seen.push((row.try_get(2)?, row.try_get(1)?));
        if held_back(&seen) == 0 {
            break;
        }
    }
    let (pages, of) = seen.last().copied().unwrap_or_default();
    Ok(Moved { pages, of, held_back: held_back(&seen).cast_unsigned() * page })
}

/// Pages that were not moved in any of some tries, each of which says how many are moved, and of how many. On a busy table some
/// are left each time, but others.
fn held_back(seen: &[(i64, i64)]) -> i64 {
    match seen {
        [(first, _), .., (pages, of)] if seen.iter().all(|(pages, _)| pages == first) => (of - pages).max(0),
        [(pages, of)] => (of - pages).max(0),
        _ => 0,
    }
}

/// Whether somebody holds the lock that only one daemon may hold. It is let go at once.
fn is_locked(database: &Path) -> bool {
    std::fs::File::open(lock_path(database))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_held_back_only_where_nothing_of_it_is_moved() {
        assert_eq!(held_back(&[(5, 9000), (5, 9100)]), 9095);
        assert_eq!(held_back(&[(0, 9000), (0, 9000), (0, 9000)]), 9000);
        assert_eq!(held_back(&[(100, 9000), (8000, 9000), (9000, 9100)]), 0, "it advances");
        assert_eq!(held_back(&[(8000, 9000), (20, 60), (20, 900)]), 0, "it was begun anew in between");
        assert_eq!(held_back(&[(9000, 9000), (9000, 9000)]), 0);
        assert_eq!(held_back(&[(-1, -1), (-1, -1)]), 0, "somebody else was just moving it");
    }
}
