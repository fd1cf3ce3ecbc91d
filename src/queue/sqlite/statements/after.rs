//! The statements of what follows from an end.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::aftermath::{Count, Run};
use super::{Cell, Result, cell, ids, json};
use super::{
    ENDINGS_DONE, ENDINGS_DUE, ENDINGS_FOUND, ENDINGS_PUT, ENDS, GIVEN_UP, GROUP_COMPLETE, GROUPS_AGAIN,
    GROUPS_DONE, GROUPS_LOOKED, GROUPS_NEW, HOOKED, INSERT, SCHEDULE_COUNT, SCHEDULE_DISABLE,
    SCHEDULE_DISABLED, WAITER, WAITER_FILL, WAITER_OUTPUT, WAITERS, WAITERS_CANCEL, WAITERS_RELEASE,
};
use crate::clock::UnixMillis;
use crate::invocation::Code;

/// A text, if it is one.
pub(in super::super) fn string(row: &SqliteRow, index: usize) -> Result<Option<String>> {
    Ok(match cell(row, index)? {
        Cell::Text(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    })
}

fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Of requests that have ended, those of which something follows. `rows`: id, and whether all of it is still to be done.
pub(in super::super) async fn ends(
    c: &mut SqliteConnection,
    rows: &[(i64, bool)],
    hooks: Option<&str>,
) -> Result<Vec<SqliteRow>> {
    sqlx::query(ENDS).bind(json(&rows)).bind(hooks.map(str::to_owned)).fetch_all(c).await
}

/// Ends that must still be looked at, those that are due: as for [`ends`].
pub(in super::super) async fn endings_due(
    c: &mut SqliteConnection,
    now: UnixMillis,
    limit: usize,
) -> Result<Vec<(i64, bool)>> {
    let rows = sqlx::query(ENDINGS_DUE).bind(now.0).bind(most(limit)).fetch_all(c).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)? != 0))).collect()
}

/// These are looked at.
pub(in super::super) async fn endings_done(c: &mut SqliteConnection, rows: &[(i64, bool)]) -> Result<()> {
    let ids: Vec<i64> = rows.iter().map(|(id, _)| *id).collect();
    sqlx::query(ENDINGS_DONE).bind(json(&ids)).execute(c).await?;
    Ok(())
}

/// These are to be looked at: id, whether all of it is to be done, not before.
pub(in super::super) async fn endings_put(c: &mut SqliteConnection, rows: &[(i64, bool, i64)]) -> Result<()> {
    sqlx::query(ENDINGS_PUT).bind(json(&rows)).execute(c).await?;
    Ok(())
}

/// What somebody waits for although it has ended.
pub(in super::super) async fn endings_found(c: &mut SqliteConnection) -> Result<()> {
    sqlx::query(ENDINGS_FOUND).execute(c).await?;
    Ok(())
}

/// Of uncertain requests that were given up, those of which something follows.
pub(in super::super) async fn given_up(c: &mut SqliteConnection, rows: &[i64]) -> Result<Vec<i64>> {
    ids(c, sqlx::query(GIVEN_UP).bind(json(&rows))).await
}

/// Who waits for requests. `rows`: id, and whether all of them go on, or only those that wait for any end.
pub(in super::super) async fn waiters(
    c: &mut SqliteConnection,
    rows: &[(i64, bool)],
    limit: usize,
) -> Result<Vec<SqliteRow>> {
    sqlx::query(WAITERS).bind(json(&rows)).bind(most(limit)).fetch_all(c).await
}

/// Lets them go.
pub(in super::super) async fn waiters_release(c: &mut SqliteConnection, rows: &[i64]) -> Result<()> {
    sqlx::query(WAITERS_RELEASE).bind(json(&rows)).execute(c).await?;
    Ok(())
}

/// Ends them; answers those that were still waiting.
pub(in super::super) async fn waiters_cancel(
    c: &mut SqliteConnection,
    rows: &[(i64, String)],
    now: UnixMillis,
) -> Result<Vec<i64>> {
    let query = sqlx::query(WAITERS_CANCEL).bind(json(&rows));
    ids(c, query.bind(Code::DependencyFailed.as_str()).bind(now.0)).await
}

/// One that gets an output: the argument, the pointer, how long its arguments may be, and what they are.
pub(in super::super) async fn waiter(c: &mut SqliteConnection, id: i64) -> Result<Option<SqliteRow>> {
    sqlx::query(WAITER).bind(id).fetch_optional(c).await
}

/// An output: whether it was cut, whether it is text, and it.
pub(in super::super) async fn waiter_output(c: &mut SqliteConnection, id: i64) -> Result<Option<SqliteRow>> {
    sqlx::query(WAITER_OUTPUT).bind(id).fetch_optional(c).await
}

/// Lets one go with these arguments; answers whether the schema takes them.
pub(in super::super) async fn waiter_fill(
    c: &mut SqliteConnection,
    id: i64,
    arguments: &str,
) -> Result<bool> {
    Ok(!ids(c, sqlx::query(WAITER_FILL).bind(id).bind(arguments.to_owned())).await?.is_empty())
}

/// Groups that nobody has looked at.
pub(in super::super) async fn groups_new(c: &mut SqliteConnection, limit: usize) -> Result<Vec<String>> {
    let rows = sqlx::query(GROUPS_NEW).bind(most(limit)).fetch_all(c).await?;
    rows.iter().map(|row| Ok(string(row, 0)?.unwrap_or_default())).collect()
}

/// They are looked at.
pub(in super::super) async fn groups_looked(c: &mut SqliteConnection, limit: usize) -> Result<()> {
    sqlx::query(GROUPS_LOOKED).bind(most(limit)).execute(c).await?;
    Ok(())
}

/// Open groups are looked at again.
pub(in super::super) async fn groups_again(c: &mut SqliteConnection) -> Result<()> {
    sqlx::query(GROUPS_AGAIN).execute(c).await?;
    Ok(())
}

/// Those of the groups all of whose members have ended: key, trigger, arguments.
pub(in super::super) async fn groups_done(
    c: &mut SqliteConnection,
    keys: &[String],
) -> Result<Vec<(String, Option<String>, String)>> {
    let rows = sqlx::query(GROUPS_DONE).bind(json(&keys)).fetch_all(c).await?;
    let row = |row| -> Result<_> {
        Ok((string(row, 0)?.unwrap_or_default(), string(row, 1)?, string(row, 2)?.unwrap_or_default()))
    };
    rows.iter().map(row).collect()
}

/// A group is complete.
pub(in super::super) async fn group_complete(
    c: &mut SqliteConnection,
    key: &str,
    now: UnixMillis,
    request: Option<i64>,
) -> Result<()> {
    sqlx::query(GROUP_COMPLETE).bind(key.to_owned()).bind(now.0).bind(request).execute(c).await?;
    Ok(())
}

/// Inserts a request; none if its trigger is not active, or the schema would refuse it.
pub(in super::super) async fn insert(
    c: &mut SqliteConnection,
    trigger: &str,
    arguments: &str,
    correlation_id: Option<&str>,
    priority: i64,
    now: UnixMillis,
) -> Result<Option<i64>> {
    let query = sqlx::query(INSERT).bind(trigger.to_owned()).bind(arguments.to_owned());
    let query = query.bind(correlation_id.map(str::to_owned)).bind(priority).bind(now.0);
    Ok(ids(c, query).await?.pop())
}

/// What a hook is told of requests; outputs of more bytes are not read.
pub(in super::super) async fn hooked(
    c: &mut SqliteConnection,
    rows: &[i64],
    largest: i64,
) -> Result<Vec<SqliteRow>> {
    sqlx::query(HOOKED).bind(json(&rows)).bind(largest).fetch_all(c).await
}

/// Counts the end of a request of a schedule; none if that is gone.
pub(in super::super) async fn schedule_count(
    c: &mut SqliteConnection,
    schedule: &str,
    kind: &'static str,
    now: UnixMillis,
) -> Result<Option<Count>> {
    let query = sqlx::query(SCHEDULE_COUNT).bind(schedule.to_owned()).bind(kind).bind(now.0);
    // Run to its end.
    let rows = query.fetch_all(c).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let run = |at: usize| -> Result<Run> {
        Ok(Run {
            count: row.try_get(at)?,
            most: row.try_get(at + 1)?,
            since: row.try_get(at + 2)?,
            since_text: string(row, at + 3)?.unwrap_or_default(),
        })
    };
    Ok(Some(Count {
        is_paused: row.try_get::<i64, _>(0)? != 0,
        grace: row.try_get(1)?,
        launches: run(2)?,
        faults: run(6)?,
    }))
}

/// Pauses a schedule.
pub(in super::super) async fn schedule_disable(
    c: &mut SqliteConnection,
    schedule: &str,
    why: &str,
) -> Result<()> {
    sqlx::query(SCHEDULE_DISABLE).bind(schedule.to_owned()).bind(why.to_owned()).execute(c).await?;
    Ok(())
}

/// Tells of that in the history of the schedule.
pub(in super::super) async fn schedule_disabled(
    c: &mut SqliteConnection,
    schedule: &str,
    reason: &'static str,
    why: &str,
    request: i64,
    now: UnixMillis,
) -> Result<()> {
    let query = sqlx::query(SCHEDULE_DISABLED).bind(schedule.to_owned()).bind(reason).bind(why.to_owned());
    query.bind(request).bind(now.0).execute(c).await?;
    Ok(())
}
