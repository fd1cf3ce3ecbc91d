//! What follows from the end of a request, in the transaction that stores the end: who waits for it goes on or ends too, its group
//! may be complete, hooks fire, its schedule counts.
//!
//! Each end comes here once, since a write answers only the ids whose row was still what it was. Where an end cannot be followed
//! at once, its id stands in the table `endings`, off which each survey works. A request that is `uncertain` may be running: it
//! has hooks, and nothing else before it is settled.

mod counts;
mod groups;
mod hooks;
mod splice;
#[cfg(test)]
mod tests;
mod waiters;

use std::collections::BTreeSet;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

pub(super) use hooks::Hooks;

pub(super) use counts::{Count, Run};

use super::statements::{self, json, string as text};
use crate::clock::UnixMillis;
use crate::queue::Committed;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Requests that one commit lets go or ends because others have ended, and ends that a survey works off.
const MOST: usize = 500;
/// Ends that follow from ends that follow from ends: a long chain takes more than one commit.
const DEEPEST: usize = 50;

/// What has followed, as far as the engine must know.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Triggers that have a request more to fire.
    pub(super) released: BTreeSet<String>,
    /// Requests that ended as `cancelled`, with why.
    pub(super) cancelled: Vec<(i64, String)>,
    /// Requests that ended as `rejected`, with what is wrong.
    pub(super) rejected: Vec<(i64, String)>,
    /// Whether there is more to do than was done.
    pub(super) more: bool,
    /// Requests that others have ended, or settled.
    pub(super) noted: Vec<i64>,
}

impl Followed {
    /// Adds it to what the commit has brought.
    pub(super) fn tell(self, out: &mut Committed) {
        out.released.extend(self.released);
        out.cancelled.extend(self.cancelled);
        out.rejected.extend(self.rejected);
        out.more |= self.more;
    }
}

/// An end of which something follows.
struct End {
    id: i64,
    /// Whether hooks and counts are still to be done.
    whole: bool,
    trigger_name: String,
    /// None: the request is gone.
    state: Option<String>,
    error_code: Option<String>,
    deadline_at: Option<i64>,
    group_key: Option<String>,
    schedule_name: Option<String>,
    is_awaited: bool,
}

impl End {
    fn read(row: &SqliteRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get(0)?,
            whole: row.try_get::<i64, _>(1)? != 0,
            trigger_name: text(row, 2)?.unwrap_or_default(),
            state: text(row, 3)?,
            error_code: text(row, 4)?,
            deadline_at: row.try_get::<Option<i64>, _>(5).ok().flatten(),
            group_key: text(row, 6)?,
            schedule_name: text(row, 7)?,
            is_awaited: row.try_get::<i64, _>(8)? != 0,
        })
    }

    fn state(&self) -> &str {
        self.state.as_deref().unwrap_or_default()
    }

    fn is_uncertain(&self) -> bool {
        self.state() == "uncertain"
    }

    /// Whether it has been opened again since.
    fn is_open(&self) -> bool {
        matches!(self.state(), "pending" | "triggering" | "polling" | "collecting")
    }
}

/// Does what follows from the ends of `ended`, which this transaction has written.
pub(super) async fn follow(
    c: &mut SqliteConnection,
    hooks: &Hooks,
    ended: &[i64],
    now: UnixMillis,
    out: &mut Followed,
) -> Result<()> {
    let ended = ended.iter().map(|id| (*id, true)).collect();
    follow_all(c, hooks, ended, now, out).await
}

/// Only notes that something is to follow from the ends of `ended`: there is no room for what has not come back.
pub(super) async fn note(
    c: &mut SqliteConnection,
    hooks: &Hooks,
    ended: &[i64],
    out: &mut Followed,
) -> Result<()> {
    let ended: Vec<_> = ended.iter().map(|id| (*id, true)).collect();
    let rows = statements::ends(c, &ended, hooks.wanted()).await?;
    let ends = rows.iter().map(|row| Ok((row.try_get(0)?, true, 0))).collect::<Result<Vec<_>>>()?;
    if !ends.is_empty() {
        out.more = true;
        statements::endings_put(c, &ends).await?;
    }
    Ok(())
}

/// Works off what could not be followed at once: what is due in `endings`, and groups that nobody has looked at.
pub(super) async fn catch_up(
    c: &mut SqliteConnection,
    hooks: &Hooks,
    now: UnixMillis,
    out: &mut Followed,
) -> Result<()> {
    let due = statements::endings_due(c, now, MOST).await?;
    if !due.is_empty() {
        out.more |= due.len() == MOST;
        out.noted.extend(due.iter().map(|(id, _)| *id));
        statements::endings_done(c, &due).await?;
        follow_all(c, hooks, due, now, out).await?;
    }
    let groups = statements::groups_new(c, MOST).await?;
    if !groups.is_empty() {
        out.more |= groups.len() == MOST;
        statements::groups_looked(c, MOST).await?;
        groups::complete(c, &groups, now, out).await?;
    }
    Ok(())
}

/// `ended`: an id, and whether all that follows is still to be done.
async fn follow_all(
    c: &mut SqliteConnection,
    hooks: &Hooks,
    ended: Vec<(i64, bool)>,
    now: UnixMillis,
    out: &mut Followed,
) -> Result<()> {
    let (mut ended, mut left) = (ended, MOST);
    for _ in 0..DEEPEST {
        if ended.is_empty() {
            return Ok(());
        }
        let rows = statements::ends(c, &ended, hooks.wanted()).await?;
        let mut ends = rows.iter().map(End::read).collect::<Result<Vec<_>>>()?;
        ends.retain(|end| !end.is_open());
        if ends.is_empty() {
            return Ok(());
        }
        ends.sort_by_key(|end| end.id);
        counts::count(c, &ends, now).await?;
        groups::ended(c, &ends, now, out).await?;
        hooks.fire(c, &ends, now, out).await?;
        // As a rule nobody waits, and nothing else ends by it.
        ended =
            waiters::judge(c, &ends, &mut left, now, out).await?.into_iter().map(|id| (id, true)).collect();
    }
    if !ended.is_empty() {
        out.more = true;
        let rows: Vec<_> = ended.iter().map(|(id, whole)| (*id, *whole, 0)).collect();
        statements::endings_put(c, &rows).await?;
    }
    Ok(())
}

/// Inserts a request that follows from an end. None if the schema would refuse it.
async fn insert(
    c: &mut SqliteConnection,
    trigger: &str,
    arguments: &str,
    correlation_id: Option<&str>,
    priority: i64,
    now: UnixMillis,
    out: &mut Followed,
) -> Result<Option<i64>> {
    if crate::queue::arguments_problem(arguments).is_some() {
        return Ok(None);
    }
    // What the schema takes for one.
    let correlation_id = correlation_id.filter(|id| (1..=255).contains(&id.len()) && !id.contains('\0'));
    let priority = priority.clamp(-100, 100);
    let inserted = statements::insert(c, trigger, arguments, correlation_id, priority, now).await?;
    if inserted.is_some() {
        out.released.insert(trigger.to_owned());
    }
    Ok(inserted)
}

/// The text of rows for a statement.
fn list<T: serde::Serialize>(rows: &[T]) -> String {
    json(&rows)
}
