//! A copy of the database that was put back. What waits in it may have been fired since the copy was made, so the daemon
//! does not start on it before somebody has said what becomes of that.
//!
//! A copy of `triggerd backup` is marked. Any other is found out where the flight record beside it is of a later start of the
//! same installation, or knows a request that the copy has never had; then it is marked, too.

use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::aftermath::{self, Followed, Hooks};
use super::flights::{Author, Record};
use super::schema::{self, MARKED_SINCE, Opener, SCHEMA_VERSION};
use super::{Options, access, explain, lock, statements};
use crate::clock::{Clock as _, SystemClock, UnixMillis};
use crate::queue::Error;
use crate::trigger::Trigger;

/// Requests that one commit makes uncertain: producers wait no longer for the lock than that takes.
const AT_ONCE: usize = 500;

/// What becomes of the requests that wait in a copy that was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Those that may not be fired twice become uncertain; the others are fired.
    Hold,
    /// All of them are fired.
    Fire,
}

/// What was done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// When the copy was made, if it is known.
    pub backed_up_at: Option<UnixMillis>,
    /// Requests that are uncertain now.
    pub held: usize,
    /// Requests that wait to be fired.
    pub pending: i64,
}

/// How it is known that a file is such a copy.
enum Origin {
    /// It is marked: when it was made, for us and for people.
    Backup(UnixMillis, String),
    /// More has happened than it knows of.
    Older(String),
}

impl Origin {
    /// Requests that came later were not there when the copy was made.
    const fn until(&self) -> UnixMillis {
        match self {
            Self::Backup(at, _) => *at,
            Self::Older(_) => UnixMillis(i64::MAX),
        }
    }

    /// What is said of the file.
    fn words(&self) -> String {
        match self {
            Self::Backup(_, at) => format!("is a backup that was made at {at} or before"),
            Self::Older(why) => format!("is an older copy ({why})"),
        }
    }

    /// `error_message` of what is held.
    fn doubt(&self) -> String {
        match self {
            Self::Backup(_, at) => {
                format!("may have run since the backup was made ({at} or before) that was put back")
            }
            Self::Older(_) => {
                "may have run since the copy of the database was made that was put back".to_owned()
            }
        }
    }
}

/// Says what becomes of the requests that wait in a copy that was put back. The daemon must be stopped. A crash in between
/// leaves a file that the daemon refuses as before: the last commit takes the mark off.
///
/// # Errors
/// [`Error::Refused`] if the file is no such copy; [`Error::Locked`] while a daemon runs; the rest as their names say.
pub async fn restored(
    options: &Options,
    triggers: &[Arc<Trigger>],
    choice: Choice,
    now: UnixMillis,
) -> Result<Restored, Error> {
    let options = options.clone().resolved();
    if !options.path.exists() {
        return Err(Error::Refused(format!("there is no database at {}", options.path.display())));
    }
    access::check(&options.path)?;
    let _lock = lock(&options.path).await?;
    // A file that is refused is left as it is.
    let mut connection = open(&options.connect()).await?;
    let found = schema::version(&mut connection).await?;
    let origin = origin(&mut connection, &options, found).await?;
    connection.close().await.map_err(|e| explain("close the database", e))?;
    let Some(origin) = origin else {
        return Err(Error::Refused(format!(
            "{} is no copy that was put back: the daemon starts on it as it is",
            options.path.display()
        )));
    };
    // It may be of an older version. And which triggers are repeatable is a matter of the configuration.
    schema::migrate_locked(&options, triggers, Opener::Operator).await?;
    let mut connection = open(&options.writing()).await?;
    let last = Record::all(&options.path).iter().map(|record| record.author.epoch).max().unwrap_or(0);
    let hooks = Hooks::of(triggers);
    let done = settle(&mut connection, &origin, choice, &hooks, last, now)
        .await
        .map_err(|e| explain("settle what waits in the copy", e))?;
    connection.close().await.map_err(|e| explain("close the database", e))?;
    Ok(done)
}

async fn open(options: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    SqliteConnection::connect_with(options).await.map_err(|e| explain("open the database", e))
}

async fn settle(
    c: &mut SqliteConnection,
    origin: &Origin,
    choice: Choice,
    hooks: &Hooks,
    last: i64,
    now: UnixMillis,
) -> Result<Restored, sqlx::Error> {
    let mut held = 0;
    if choice == Choice::Hold {
        let why = origin.doubt();
        for rows in statements::restored_doubtful(c, origin.until()).await?.chunks(AT_ONCE) {
            let mut tx = c.begin_with("BEGIN IMMEDIATE").await?;
            let ids = statements::restored_hold(&mut tx, rows, &why, now).await?;
            held += ids.len();
            // What is left to do is left for the start.
            aftermath::follow(&mut tx, hooks, &ids, now, &mut Followed::default()).await?;
            tx.commit().await?;
        }
    }
    let mut tx = c.begin_with("BEGIN IMMEDIATE").await?;
    let pending = statements::restored_pending(&mut tx).await?;
    statements::mark_clear(&mut tx, last).await?;
    tx.commit().await?;
    let backed_up_at = match origin {
        Origin::Backup(at, _) => Some(*at),
        Origin::Older(_) => None,
    };
    Ok(Restored { backed_up_at, held, pending })
}

/// Refuses a copy that was put back.
pub(super) async fn refuse(
    connection: &mut SqliteConnection,
    options: &Options,
    version: i64,
) -> Result<(), Error> {
    let origin = match origin(connection, options, version).await? {
        None => return Ok(()),
        Some(origin) => origin,
    };
    if let Origin::Older(_) = origin
        && version >= MARKED_SINCE
    {
        // Producers go on inserting: the file may soon look like the one that was lost.
        mark(connection).await.map_err(|e| explain("mark the copy that was put back", e))?;
    }
    Err(Error::Restored { path: options.path.display().to_string(), origin: origin.words() })
}

/// How it is known that a file is a copy that was put back, if it is one; nothing is changed.
pub(super) async fn put_back(c: &mut SqliteConnection, options: &Options) -> Result<Option<String>, Error> {
    Ok(origin(c, options, SCHEMA_VERSION).await?.map(|origin| origin.words()))
}

pub(super) async fn mark(c: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut tx = c.begin_with("BEGIN IMMEDIATE").await?;
    statements::mark_set(&mut tx, SystemClock.now()).await?;
    tx.commit().await
}

/// By the mark, which versions from [`MARKED_SINCE`] on have, and by the record beside the file, for all of them.
async fn origin(c: &mut SqliteConnection, options: &Options, version: i64) -> Result<Option<Origin>, Error> {
    let what = |e| explain("read the database", e);
    if version >= MARKED_SINCE
        && let Some((at, text)) = statements::mark(c).await.map_err(what)?
    {
        return Ok(Some(Origin::Backup(at, text)));
    }
    let record = match Record::read(&options.path) {
        // Nothing was stored in a file without a schema.
        Some(record) if version > 0 => record,
        _ => return Ok(None),
    };
    let (installation, epoch, highest) = statements::identity(c).await.map_err(what)?;
    if record.author.installation != installation {
        return Ok(None);
    }
    if record.author.epoch > epoch {
        let last = record.author.epoch;
        let why = format!("its last start has the number {epoch}, but there was a start {last}");
        return Ok(Some(Origin::Older(why)));
    }
    // On another run of the kernel nothing is said by what was not synced.
    if Author::new(&installation, epoch).as_ref() != Some(&record.author) {
        return Ok(None);
    }
    let fired = |id: i64| format!("it does not know of a firing of request {id}");
    let unknown = record.left.iter().map(|(id, _)| *id).filter(|id| *id > highest).max();
    let unknown = match unknown {
        None => statements::noted(c, &record.left).await.map_err(what)?,
        unknown => unknown,
    };
    Ok(unknown.map(fired).map(Origin::Older))
}
