//! Retention: deleting what has ended and is past its time, a little at a time. The daemon does it each hour; `triggerd
//! prune` at once, beside the daemon or without one.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::schema::{self, Opened};
use super::{Options, explain, statements};
use crate::clock::{Clock, UnixMillis};
use crate::queue::{Error, PRUNE_PAUSE, PRUNED_AT_ONCE, Retention, before};

/// What was deleted, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Requests, with their outputs and attempts.
    pub requests: u64,
    /// Outputs of requests that stay.
    pub outputs: u64,
}

/// What became of one commit of a pass.
pub(super) struct Step {
    pub(super) pruned: Pruned,
    /// There may be more to do.
    pub(super) more: bool,
    /// Uncertain requests were given up, and what follows from their end is still to be done.
    pub(super) ended: bool,
}

/// How far a pass has come through the outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Walk {
    #[default]
    Begins,
    /// Behind the output of this request.
    Behind(i64),
    Ended,
}

/// Deletes all that is past its time, in commits of a few hundred rows with pauses between them, in which others write. What
/// went is in `pruned`, also after an error.
///
/// # Errors
/// As their names say.
pub async fn prune(
    options: &Options,
    retention: Retention,
    clock: &impl Clock,
    pruned: &mut Pruned,
) -> Result<(), Error> {
    let what = |e| explain("delete what is past its time", e);
    let mut connection = schema::open_current(&options.clone().resolved(), Opened::ToWrite).await?;
    // Outputs last: then those that go are of requests that stay.
    let (requests, outputs) = retention.apart();
    for retention in [requests, outputs] {
        let mut walk = Walk::default();
        loop {
            let Step { pruned: some, more, .. } =
                prune_some(&mut connection, &retention, clock.now(), PRUNED_AT_ONCE, &mut walk)
                    .await
                    .map_err(what)?;
            pruned.requests += some.requests;
            pruned.outputs += some.outputs;
            if !more {
                break;
            }
            clock.sleep_until(clock.now().plus(PRUNE_PAUSE)).await;
        }
    }
    connection.close().await.map_err(|e| explain("close the database", e))
}

/// What [`prune`] would delete now.
///
/// # Errors
/// As their names say.
pub async fn prunable(options: &Options, retention: Retention, now: UnixMillis) -> Result<Pruned, Error> {
    let what = |e| explain("count what is past its time", e);
    let mut connection = schema::open_current(&options.clone().resolved(), Opened::ToRead).await?;
    let uncertain = retention.uncertain.map(|kept| ("uncertain", before(now, kept)));
    let past: Vec<_> = retention.cutoffs(now).chain(uncertain).collect();
    let requests = statements::prune_count(&mut connection, &past).await.map_err(what)?;
    let outputs = match retention.outputs {
        Some(kept) => statements::prune_count_outputs(&mut connection, before(now, kept), &past).await,
        None => Ok(0),
    };
    let outputs = outputs.map_err(what)?;
    connection.close().await.map_err(|e| explain("close the database", e))?;
    Ok(Pruned { requests, outputs })
}

/// Deletes `limit` rows of each kind at most, in one commit, and gives some room back to the file system. `walk` is where the pass
/// is, and begins anew when there is no more.
pub(super) async fn prune_some(
    c: &mut SqliteConnection,
    retention: &Retention,
    now: UnixMillis,
    limit: u64,
    walk: &mut Walk,
) -> Result<Step, sqlx::Error> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let (mut pruned, mut ended) = (Pruned::default(), false);
    let mut tx = c.begin_with("BEGIN IMMEDIATE").await?;
    for (state, until) in retention.cutoffs(now) {
        pruned.requests += statements::prune(&mut tx, state, until, most).await?;
    }
    if let Some(kept) = retention.uncertain {
        let deleted;
        (deleted, ended) = statements::prune_uncertain(&mut tx, before(now, kept), most).await?;
        pruned.requests += deleted;
    }
    let mut events = 0;
    if let Some(kept) = retention.succeeded {
        events = statements::prune_events(&mut tx, before(now, kept), most).await?;
    }
    let behind = match *walk {
        Walk::Begins => Some(i64::MIN),
        Walk::Behind(id) => Some(id),
        Walk::Ended => None,
    };
    let mut next = None;
    if let (Some(kept), Some(behind)) = (retention.outputs, behind) {
        (pruned.outputs, next) = statements::prune_outputs(&mut tx, before(now, kept), behind, most).await?;
    }
    tx.commit().await?;
    *walk = next.map_or(Walk::Ended, Walk::Behind);
    let shrinks = statements::shrink(c).await?;
    let more = shrinks || next.is_some() || pruned.requests >= limit || events >= limit;
    if !more {
        *walk = Walk::Begins;
    }
    Ok(Step { pruned, more, ended })
}
