//! A copy of the database that was put back. What waits in it may have been fired since the copy was made, so the daemon
//! does not start on it before somebody has said what becomes of that.

use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::schema::{self, MARKED_SINCE, Opener};
use super::{Options, explain, lock, statements};
use crate::clock::UnixMillis;
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
    /// When the copy was made.
    pub backed_up_at: UnixMillis,
    /// Requests that are uncertain now.
    pub held: usize,
    /// Requests that wait to be fired.
    pub pending: i64,
}

/// How it is known that a file is such a copy.
struct Origin {
    backed_up_at: UnixMillis,
    /// The same for people.
    at: String,
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
    let _lock = lock(&options.path)?;
    // It may be of an older version. And which triggers are repeatable is a matter of the configuration.
    schema::migrate_locked(&options, triggers, Opener::Operator).await?;
    let mut connection = SqliteConnection::connect_with(&options.writing())
        .await
        .map_err(|e| explain("open the database", e))?;
    let Some(origin) = origin(&mut connection).await? else {
        return Err(Error::Refused(format!(
            "{} is no copy that was put back: the daemon starts on it as it is",
            options.path.display()
        )));
    };
    let done = settle(&mut connection, &origin, choice, now)
        .await
        .map_err(|e| explain("settle what waits in the copy", e))?;
    connection.close().await.map_err(|e| explain("close the database", e))?;
    Ok(done)
}

async fn settle(
    c: &mut SqliteConnection,
    origin: &Origin,
    choice: Choice,
    now: UnixMillis,
) -> Result<Restored, sqlx::Error> {
    let mut held = 0;
    if choice == Choice::Hold {
        let why = format!("may have run since the backup of {}, which was put back", origin.at);
        for rows in statements::restored_doubtful(c, origin.backed_up_at).await?.chunks(AT_ONCE) {
            let mut tx = c.begin_with("BEGIN IMMEDIATE").await?;
            held += statements::restored_hold(&mut tx, rows, &why, now).await?;
            tx.commit().await?;
        }
    }
    let mut tx = c.begin_with("BEGIN IMMEDIATE").await?;
    let pending = statements::restored_pending(&mut tx).await?;
    statements::mark_clear(&mut tx).await?;
    tx.commit().await?;
    Ok(Restored { backed_up_at: origin.backed_up_at, held, pending })
}

/// Refuses a copy that was put back. `version`: of the file, which may be too old to be marked.
pub(super) async fn refuse(
    connection: &mut SqliteConnection,
    options: &Options,
    version: i64,
) -> Result<(), Error> {
    if version < MARKED_SINCE {
        return Ok(());
    }
    match origin(connection).await? {
        None => Ok(()),
        Some(origin) => Err(Error::Restored {
            path: options.path.display().to_string(),
            origin: format!("is a backup that was made at {}", origin.at),
        }),
    }
}

async fn origin(connection: &mut SqliteConnection) -> Result<Option<Origin>, Error> {
    let mark = statements::mark(connection).await.map_err(|e| explain("read the database", e))?;
    Ok(mark.map(|(backed_up_at, at)| Origin { backed_up_at, at }))
}
