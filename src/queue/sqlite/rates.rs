//! How often a trigger, or a key of it, was fired: counted in the table, so that a restart forgets nothing.
//!
//! Each firing is a row of `rate_log`, kept for as long as its rate counts it, and what is free is what is missing there: at
//! most `limit` in any stretch of `per`, wherever it begins. A bucket of tokens would take one number instead, but lets twice
//! the limit through in the stretch that begins with a full one. (The crate `governor` is such a bucket, and has no state that
//! could be stored.)

use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::statements::{
    RATE_ADD, RATE_CLAMP, RATE_FIRST, RATE_FORGET, RATE_IDLE, RATE_NEWEST, RATE_TRIM, json,
};
use crate::clock::UnixMillis;
use crate::trigger::{Quota, Trigger};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Firings arrive later than they are counted, one more than the other: the far end counts within a stretch that begins with a
/// late one and ends with a quick one. So much longer we count, at most.
const LATE: Duration = Duration::from_millis(100);
/// Rows that one commit forgets for each trigger.
const FORGOTTEN_AT_ONCE: i64 = 1000;

/// What a rate leaves free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// So many may be fired now.
    pub(super) free: u32,
    /// When there is more, if that is none.
    pub(super) until: UnixMillis,
}

/// What is free now of the rate of a trigger, with an empty `key`, or of a key of it.
pub(super) async fn room(
    c: &mut SqliteConnection,
    trigger: &str,
    key: &str,
    quota: Quota,
    now: UnixMillis,
) -> Result<Room> {
    let Some((newest, at)) = newest(c, trigger, key).await? else {
        return Ok(Room { free: quota.burst, until: now });
    };
    if at > now.0 {
        let query = sqlx::query(RATE_CLAMP).bind(trigger.to_owned()).bind(key.to_owned()).bind(now.0);
        query.execute(&mut *c).await?;
    }
    let whole = stretch(quota.rate.per);
    let first = first(c, trigger, key, 0, ago(now, whole)).await?;
    let forgotten = first.map_or(newest, |(seq, _)| seq - 1);
    let query = sqlx::query(RATE_TRIM).bind(trigger.to_owned()).bind(key.to_owned()).bind(forgotten);
    query.execute(&mut *c).await?;
    let mut room = left(quota.rate.limit, first, newest, whole, now);
    if quota.burst < quota.rate.limit {
        let short = stretch(quota.rate.interval() * quota.burst);
        let behind = newest - i64::from(quota.burst);
        let first = self::first(c, trigger, key, behind, ago(now, short)).await?;
        let burst = left(quota.burst, first, newest, short, now);
        room = Room { free: room.free.min(burst.free), until: room.until.max(burst.until) };
    }
    Ok(room)
}

/// Counts firings.
pub(super) async fn add(
    c: &mut SqliteConnection,
    trigger: &str,
    key: &str,
    many: usize,
    now: UnixMillis,
) -> Result<()> {
    if many == 0 {
        return Ok(());
    }
    let newest = newest(c, trigger, key).await?.map_or(0, |(seq, _)| seq);
    let many = i64::try_from(many).unwrap_or(i64::MAX);
    let query = sqlx::query(RATE_ADD).bind(trigger.to_owned()).bind(key.to_owned());
    query.bind(newest).bind(now.0).bind(many).execute(c).await?;
    Ok(())
}

/// Forgets what no rate counts any more: of triggers without one, and of keys that were not fired for long.
pub(super) async fn forget<'t>(
    c: &mut SqliteConnection,
    triggers: impl Iterator<Item = &'t Trigger> + Clone,
    now: UnixMillis,
    all: bool,
) -> Result<()> {
    let named = |has: fn(&Trigger) -> bool| {
        json(&triggers.clone().filter(|t| has(t)).map(|t| t.name.as_str()).collect::<Vec<_>>())
    };
    if all {
        let query = sqlx::query(RATE_FORGET).bind(named(|t| t.rate.is_some()));
        query.bind(named(|t| t.rate_per_key.is_some())).execute(&mut *c).await?;
    }
    for trigger in triggers.clone() {
        let rates = [trigger.rate, trigger.rate_per_key];
        if let Some(longest) = rates.into_iter().flatten().map(|quota| stretch(quota.rate.per)).max() {
            let query = sqlx::query(RATE_IDLE).bind(trigger.name.clone()).bind(ago(now, longest).0);
            query.bind(FORGOTTEN_AT_ONCE).execute(&mut *c).await?;
        }
    }
    Ok(())
}

/// How long firings count, which are to be so many in `per`.
fn stretch(per: Duration) -> Duration {
    per + LATE.min(per / 20)
}

fn ago(now: UnixMillis, span: Duration) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

/// Of `limit`, what those from the first to the newest leave.
fn left(limit: u32, first: Option<(i64, i64)>, newest: i64, span: Duration, now: UnixMillis) -> Room {
    let Some((seq, at)) = first else { return Room { free: limit, until: now } };
    let used = u32::try_from(newest - seq + 1).unwrap_or(u32::MAX);
    let free = limit.saturating_sub(used);
    let until = if free == 0 { UnixMillis(at.min(now.0)).plus(span) } else { now };
    Room { free, until }
}

async fn newest(c: &mut SqliteConnection, trigger: &str, key: &str) -> Result<Option<(i64, i64)>> {
    let query = sqlx::query(RATE_NEWEST).bind(trigger.to_owned()).bind(key.to_owned());
    query.fetch_optional(c).await?.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

async fn first(
    c: &mut SqliteConnection,
    trigger: &str,
    key: &str,
    behind: i64,
    after: UnixMillis,
) -> Result<Option<(i64, i64)>> {
    let query = sqlx::query(RATE_FIRST).bind(trigger.to_owned()).bind(key.to_owned());
    let row = query.bind(behind).bind(after.0).fetch_optional(c).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}
