//! The table in a SQLite file: opening, migrating and locking it, and the handle that the engine holds.
//!
//! One writer task owns the one connection that writes; readers have their own. The reasons for what is set on a
//! connection are measured: a write is only believed after a checked COMMIT, a connection that saw an error inside a
//! transaction is thrown away, and nothing that commits is ever cancelled.

mod access;
mod aftermath;
mod backup;
mod ballast;
mod care;
mod files;
mod flights;
mod health;
mod intake;
mod keys;
mod modes;
mod plans;
mod prune;
mod rates;
mod restored;
mod scheduling;
mod schema;
mod shape;
mod statements;
mod wal;
mod watch;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _};
use tokio::sync::{mpsc, oneshot, watch as signal};

pub use backup::{Copied, backup};
pub use health::{Health, Moved, health};
pub use prune::{Pruned, prunable, prune};
pub use restored::{Choice, Restored, restored};
pub use schema::{FileSystem, Migrated, SCHEMA_VERSION, file_system, migrate, migrate_with};

use super::{
    Batch, Committed, Condition, Deleted, Error, Failed, Loaded, Recovered, Retention, Settled, Spoiled,
    Store,
};
use crate::clock::UnixMillis;
use crate::schedule::Plans;
use crate::trigger::Trigger;
use flights::Flights;
use shape::Shape;
use writer::{Command, Writer};

/// How a database file is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// `synchronous=full`: a commit survives a loss of power. Otherwise `normal`: the last ones may be lost.
    pub full: bool,
    /// Whether this daemon checkpoints the WAL; otherwise something else does.
    pub checkpoint: bool,
}

/// How long a lock of another connection is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The same at the start, which tries again as long as it is wanted, and should hear soon that it is not.
const START_BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Tries to take the lock of the daemon.
const LOCK_TRIES: u32 = 3;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// The daemon checkpoints at 2 MiB of 4 KiB pages, so that producers, who do at 4 MiB, seldom do.
const CHECKPOINT_PAGES: &str = "512";
/// The WAL file is cut back to this after a checkpoint.
const JOURNAL_SIZE_LIMIT: &str = "67108864";
/// Rows that a statement may be ahead of its reader.
const ROW_BUFFER: usize = 512;

impl Options {
    /// The same file by its real name, as SQLite names its sidecar files: one lock, and one folder to watch, whatever
    /// links lead to it.
    fn resolved(self) -> Self {
        let path = match (std::fs::canonicalize(&self.path), self.path.parent(), self.path.file_name()) {
            (Ok(path), ..) => path,
            (Err(_), Some(parent), Some(name)) if !parent.as_os_str().is_empty() => {
                std::fs::canonicalize(parent).map_or_else(|_| self.path.clone(), |parent| parent.join(name))
            }
            _ => self.path.clone(),
        };
        Self { path, ..self }
    }

    /// What every connection of the daemon has in common.
    fn connect(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .synchronous(if self.full { SqliteSynchronous::Full } else { SqliteSynchronous::Normal })
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            .pragma("mmap_size", "0")
            // A wide UPDATE keeps a statement journal: in memory, instead of a file made and removed for each.
            .pragma("temp_store", "MEMORY")
            .row_buffer_size(ROW_BUFFER)
            // Our own lines say what happened; these would only repeat the SQL.
            .disable_statement_logging()
    }

    /// The connection that writes.
    fn writing(&self) -> SqliteConnectOptions {
        self.connect()
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT)
            .pragma("wal_autocheckpoint", if self.checkpoint { CHECKPOINT_PAGES } else { "0" })
    }

    /// Connections that only read.
    fn reading(&self) -> SqliteConnectOptions {
        self.connect().read_only(true).pragma("query_only", "ON")
    }
}

/// The lock file beside the database.
fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Takes the lock that only one daemon, or one migration, may hold. It ends with the file that is returned, or
/// with the process. Whoever only looks whether it is held, holds it for a moment: so it is tried more than once.
async fn lock(database: &Path) -> Result<std::fs::File, Error> {
    let path = lock_path(database);
    let unavailable = |e: std::io::Error| Error::Unavailable {
        what: format!("open the lock file {}: {e}", path.display()),
        source: None,
    };
    let file = modes::open_or_create(&path).map_err(unavailable)?;
    for nth in 1..=LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if nth < LOCK_TRIES => {
                tokio::time::sleep(LOCK_PAUSE).await
            }
            Err(std::fs::TryLockError::WouldBlock) => break,
            Err(std::fs::TryLockError::Error(e)) => return Err(unavailable(e)),
        }
    }
    Err(Error::Locked(path.display().to_string()))
}

/// A driver's error, by what the caller can do. Codes are SQLite's result codes, primary ones in the low byte.
fn explain(what: &str, source: sqlx::Error) -> Error {
    const CORRUPT: i64 = 11;
    const NOT_A_DATABASE: i64 = 26;
    match primary_code(&source) {
        Some(CORRUPT | NOT_A_DATABASE) => Error::Corrupt(source.to_string()),
        _ => Error::Unavailable { what: what.to_owned(), source: Some(source) },
    }
}

/// SQLite's result code, the extended one.
fn code(error: &sqlx::Error) -> Option<i64> {
    error.as_database_error()?.code()?.parse().ok()
}

/// The same without what it says of the circumstances.
fn primary_code(error: &sqlx::Error) -> Option<i64> {
    code(error).map(|code| code & 0xff)
}

/// Of the lines of a `quick_check` or an `integrity_check`, those that tell of damage to the file. A row that breaks a rule is
/// none: its producer had switched the rules off, and it ends alone.
pub(super) fn damage<'l>(lines: impl Iterator<Item = &'l str>) -> impl Iterator<Item = String> {
    let is_damage = |line: &&str| {
        *line != "ok" && !line.starts_with("CHECK constraint failed") && !line.starts_with("NULL value in")
    };
    lines.filter(is_damage).map(|line| line.replace('\n', " "))
}

/// The table in a SQLite file, held by this process alone as far as daemons go.
#[derive(Clone)]
pub struct SqliteStore {
    commands: mpsc::Sender<Command>,
    readers: SqlitePool,
    watch: Arc<watch::Watch>,
    flights: Arc<Flights>,
    condition: signal::Receiver<Condition>,
}

impl SqliteStore {
    /// Locks a database, creates or upgrades it, and starts its writer.
    ///
    /// # Errors
    /// [`Error::Locked`] when another daemon has it; the rest as their names say.
    pub async fn open(options: Options, triggers: &[Arc<Trigger>]) -> Result<Self, Error> {
        let options = options.resolved();
        access::check(&options.path)?;
        let lock = lock(&options.path).await?;
        schema::migrate_locked(&options, triggers, schema::Opener::Daemon).await?;
        Self::begin(options, lock, schema::expected().await?)
    }

    /// The same for a daemon, which waits as long as it takes for whoever holds a lock on the file; `None` once it is told
    /// to give up. It gives up between two steps and never within a commit.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open_patiently(
        options: Options,
        triggers: &[Arc<Trigger>],
        give_up: signal::Receiver<bool>,
    ) -> Result<Option<Self>, Error> {
        let options = options.resolved();
        access::check(&options.path)?;
        let lock = lock(&options.path).await?;
        let Some(_) = schema::migrate_patiently(&options, triggers, &give_up).await? else { return Ok(None) };
        let expected = schema::expected().await?;
        // Nothing is waited for after this look: whoever says it later finds a store to be closed.
        if *give_up.borrow() {
            return Ok(None);
        }
        Self::begin(options, lock, expected).map(Some)
    }

    fn begin(options: Options, lock: std::fs::File, expected: Shape) -> Result<Self, Error> {
        let readers = SqlitePoolOptions::new()
            .max_connections(2)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(Duration::from_secs(10))
            .connect_lazy_with(options.reading());
        let watch = Arc::new(watch::Watch::new(&options.path)?);
        let (commands, inbox) = mpsc::channel(4);
        let (told, condition) = signal::channel(Condition::default());
        let flights = Arc::new(Flights::new(&options.path));
        tokio::spawn(Writer::new(options, Arc::clone(&flights), lock, expected, told).run(inbox));
        Ok(Self { commands, readers, watch, flights, condition })
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Ends the writer once what it was given is done, and closes every connection, so that the last one out
    /// checkpoints the WAL.
    pub async fn close(self) {
        self.readers.close().await;
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Close(reply)).await.is_ok() {
            // An error means that the writer is gone already, which is what was wanted.
            let _ = done.await;
        }
    }
}

impl Store for SqliteStore {
    async fn start(&self, triggers: Vec<Arc<Trigger>>, now: UnixMillis) -> Result<Recovered, Error> {
        self.ask(|reply| Command::Start { triggers, now, reply }).await.unwrap_or(Err(Error::Ended))
    }

    async fn register(&self, triggers: Vec<Arc<Trigger>>) -> Result<(), Error> {
        self.ask(|reply| Command::Register { triggers, reply }).await.unwrap_or(Err(Error::Ended))
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, Box<Failed>> {
        let ended = || Err(Box::new(Failed { error: Error::Ended, batch: Batch::default() }));
        let batch = Box::new(batch);
        self.ask(|reply| Command::Commit { batch, reply }).await.unwrap_or_else(ended)
    }

    async fn load(&self, ids: Vec<i64>, now: UnixMillis) -> Result<Loaded, Error> {
        let mut reader = self.readers.acquire().await.map_err(|e| explain("read requests", e))?;
        let rows = statements::load(&mut reader, &ids).await.map_err(|e| explain("read requests", e))?;
        let mut loaded = Loaded::default();
        for raw in &rows {
            match raw.check() {
                Ok(row) => loaded.rows.push(row),
                Err(problem) if raw.is_with_far_end() => {
                    let trigger_name = raw.trigger_name();
                    loaded.spoiled.push(Spoiled { id: raw.id, trigger_name, problem, seen_at: now });
                }
                // It has ended, or is judged when it is taken up.
                Err(problem) => {
                    tracing::debug!(request.id = raw.id, problem, "request {} cannot be read", raw.id);
                }
            }
        }
        Ok(loaded)
    }

    async fn prune(&self, retention: Retention, now: UnixMillis, limit: u64) -> Result<Deleted, Error> {
        self.ask(|reply| Command::Prune { retention, now, limit, reply }).await.unwrap_or(Err(Error::Ended))
    }

    async fn settle(&self, plans: Option<Arc<Plans>>, now: UnixMillis) -> Result<Settled, Error> {
        self.ask(|reply| Command::Settle { plans, now, reply }).await.unwrap_or(Err(Error::Ended))
    }

    async fn changed(&self) -> Result<bool, Error> {
        self.ask(|reply| Command::Changed { reply }).await.unwrap_or(Err(Error::Ended))
    }

    fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    async fn hint(&self) {
        self.watch.hint().await;
    }

    fn note_firing(&self, slot: usize, id: i64, attempt: u32) -> Result<(), Error> {
        self.flights.note(slot, id, attempt)
    }
}

/// The version of the SQLite library that is linked, as numbers.
async fn library_version(
    connection: &mut sqlx::SqliteConnection,
) -> Result<(String, (u32, u32, u32)), sqlx::Error> {
    let text: String = sqlx::query("SELECT sqlite_version()").fetch_one(connection).await?.try_get(0)?;
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    Ok((text, version))
}
