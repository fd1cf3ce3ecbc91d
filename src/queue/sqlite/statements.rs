//! The statements, one function each: what is bound, what comes back.

mod after;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnection, SqliteRow, SqliteValueRef};
use sqlx::{Decode as _, Row as _, Sqlite, TypeInfo as _, ValueRef as _};

pub(super) use self::after::*;
use super::health::Health;
use crate::clock::UnixMillis;
use crate::invocation::{AttemptEnd, Code, Invocation, Output, Phase};
use crate::queue::pick::{Level, Levels};
use crate::queue::row::{Cell, Raw, memory_text};
use crate::queue::{
    Change, MANY_UNCERTAIN, Polled, Return, Sign, Spoiled, Status, TriggerStatus, Waiting, held_message,
};
use crate::trigger::Trigger;

macro_rules! statements {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) const $name: &str = include_str!($file);)*

        #[cfg(test)]
        pub(super) const ALL: &[(&str, &str)] = &[$(($file, $name)),*];
    };
}

statements! {
    RECORD = "record.sql";
    ATTEMPTS = "attempts.sql";
    OUTPUTS = "outputs.sql";
    OUTPUT = "output.sql";
    POLLED = "polled.sql";
    GIVE_BACK = "give_back.sql";
    HEADS = "heads.sql";
    STRANGERS = "strangers.sql";
    NEVER = "never.sql";
    LEVELS = "levels.sql";
    CANDIDATES = "candidates.sql";
    LOAD = "load.sql";
    INTEND = "intend.sql";
    REJECT = "reject.sql";
    SPOIL = "spoil.sql";
    ENDING = "ending.sql";
    NEXT = "next.sql";
    TRIGGERING = "triggering.sql";
    WAITING = "waiting.sql";
    HANDOVERS = "handovers.sql";
    TAKE_HANDOVERS = "take_handovers.sql";
    START = "start.sql";
    SIGN = "sign.sql";
    STATUS = "status.sql";
    FORGET_STATUS = "forget_status.sql";
    HOLD = "hold.sql";
    UNCERTAIN = "uncertain.sql";
    DOUBTFUL = "doubtful.sql";
    KEY_STATES = "key_states.sql";
    KEYS_OF = "keys_of.sql";
    HELD_KEYS = "held_keys.sql";
    PARK = "park.sql";
    HELD = "held.sql";
    RELEASE = "release.sql";
    RATE_NEWEST = "rate_newest.sql";
    RATE_FIRST = "rate_first.sql";
    RATE_ADD = "rate_add.sql";
    RATE_TRIM = "rate_trim.sql";
    RATE_CLAMP = "rate_clamp.sql";
    RATE_FORGET = "rate_forget.sql";
    RATE_IDLE = "rate_idle.sql";
    REGISTER = "register.sql";
    UNREGISTER = "unregister.sql";
    PRUNE = "prune.sql";
    PRUNE_UNCERTAIN = "prune_uncertain.sql";
    PRUNE_IDS = "prune_ids.sql";
    PRUNE_LOOK = "prune_look.sql";
    PRUNE_OUTPUTS = "prune_outputs.sql";
    PRUNE_COUNT = "prune_count.sql";
    PRUNE_COUNT_OUTPUTS = "prune_count_outputs.sql";
    TIMETABLE_CALENDARS = "timetable_calendars.sql";
    TIMETABLE_CALENDAR = "timetable_calendar.sql";
    TIMETABLE_DATES = "timetable_dates.sql";
    TIMETABLE_RECALENDAR = "timetable_recalendar.sql";
    TIMETABLE_SEEN = "timetable_seen.sql";
    TIMETABLE_DUE = "timetable_due.sql";
    TIMETABLE_NEXT = "timetable_next.sql";
    TIMETABLE_OPEN = "timetable_open.sql";
    TIMETABLE_TRIGGER = "timetable_trigger.sql";
    TIMETABLE_INSERT = "timetable_insert.sql";
    TIMETABLE_MARK = "timetable_mark.sql";
    TIMETABLE_TAKEN = "timetable_taken.sql";
    TIMETABLE_CANCEL = "timetable_cancel.sql";
    TIMETABLE_EVENT = "timetable_event.sql";
    TIMETABLE_SETTLED = "timetable_settled.sql";
    TIMETABLE_PROBLEM = "timetable_problem.sql";
    PRUNE_EVENTS = "prune_events.sql";
    IDENTITY = "identity.sql";
    NOTED = "noted.sql";
    MARK = "mark.sql";
    MARK_SET = "mark_set.sql";
    MARK_CLEAR = "mark_clear.sql";
    RESTORED_DOUBTFUL = "restored_doubtful.sql";
    RESTORED_HOLD = "restored_hold.sql";
    RESTORED_PENDING = "restored_pending.sql";
    BACKUP_ROWS = "backup_rows.sql";
    BACKUP_CHECK = "backup_check.sql";
    HEALTH = "health.sql";
    PAUSE = "pause.sql";
    PAUSED = "paused.sql";
    IDLE_SCHEDULES = "idle_schedules.sql";
    CONSOLE_DAMAGE = "console_damage.sql";
    OBJECTS = "objects.sql";
    COLUMNS = "columns.sql";
    ENDS = "ends.sql";
    ENDINGS_DUE = "endings_due.sql";
    ENDINGS_DONE = "endings_done.sql";
    ENDINGS_PUT = "endings_put.sql";
    ENDINGS_FOUND = "endings_found.sql";
    GIVEN_UP = "given_up.sql";
    WAITERS = "waiters.sql";
    WAITERS_RELEASE = "waiters_release.sql";
    WAITERS_CANCEL = "waiters_cancel.sql";
    WAITER = "waiter.sql";
    WAITER_OUTPUT = "waiter_output.sql";
    WAITER_FILL = "waiter_fill.sql";
    GROUPS_NEW = "groups_new.sql";
    GROUPS_LOOKED = "groups_looked.sql";
    GROUPS_AGAIN = "groups_again.sql";
    GROUPS_DONE = "groups_done.sql";
    GROUP_COMPLETE = "group_complete.sql";
    INSERT = "insert.sql";
    HOOKED = "hooked.sql";
    SCHEDULE_COUNT = "schedule_count.sql";
    SCHEDULE_DISABLE = "schedule_disable.sql";
    SCHEDULE_DISABLED = "schedule_disabled.sql";
    PLANS_CALENDAR_CHANGE = "plans_calendar_change.sql";
    PLANS_CALENDAR_INSERT = "plans_calendar_insert.sql";
    PLANS_CALENDAR_LEAVE = "plans_calendar_leave.sql";
    PLANS_CALENDAR_DELETE = "plans_calendar_delete.sql";
    PLANS_DATES_DELETE = "plans_dates_delete.sql";
    PLANS_DATES_INSERT = "plans_dates_insert.sql";
    PLANS_CHANGE = "plans_change.sql";
    PLANS_ADJUST = "plans_adjust.sql";
    PLANS_INSERT = "plans_insert.sql";
    PLANS_LEAVE = "plans_leave.sql";
}

type Result<T> = std::result::Result<T, sqlx::Error>;

pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("numbers and texts always have a JSON form")
}

fn ms(at: Option<UnixMillis>) -> Option<i64> {
    at.map(|at| at.0)
}

/// Writes new phases; answers with the ids that were still what they were.
pub(super) async fn record(c: &mut SqliteConnection, changes: &[Change]) -> Result<Vec<i64>> {
    let rows: Vec<_> = changes
        .iter()
        .map(|change| {
            let next = &change.next;
            let output_uri = match &next.phase {
                Phase::Collecting(uri) => Some(uri.as_str()),
                _ => None,
            };
            (
                next.id,
                change.from,
                (next.attempt, next.round),
                next.phase.as_str(),
                ms(change.due_at),
                next.status_uri.as_ref().map(url::Url::as_str),
                output_uri,
                next.effective_mode.map(crate::request::CallMode::as_str),
                next.polls,
                ms(next.last_polled_at),
                next.http_status,
                next.trouble.as_ref().map(|t| t.code.as_str()),
                next.trouble.as_ref().map(|t| t.message.as_str()),
                ms(next.accepted_at),
                ms(change.finished_at),
                memory_text(&next.memory),
            )
        })
        .collect();
    ids(c, sqlx::query(RECORD).bind(json(&rows))).await
}

/// Writes the firings that ended.
pub(super) async fn attempts<'a>(
    c: &mut SqliteConnection,
    ended: impl Iterator<Item = (&'a Invocation, u32, &'a AttemptEnd)>,
) -> Result<()> {
    let rows: Vec<_> = ended
        .map(|(invocation, attempt, end)| {
            (
                invocation.id,
                attempt,
                invocation.round,
                end.started_at.0,
                end.ended_at.0,
                end.http_status,
                end.outcome.as_str(),
                end.status_uri.as_ref().map(url::Url::as_str),
                end.trouble.as_ref().map(|t| t.code.as_str()),
                end.trouble.as_ref().map(|t| t.message.as_str()),
            )
        })
        .collect();
    if !rows.is_empty() {
        sqlx::query(ATTEMPTS).bind(json(&rows)).execute(c).await?;
    }
    Ok(())
}

/// Writes the outputs that came.
pub(super) async fn outputs<'a>(
    c: &mut SqliteConnection,
    changes: impl Iterator<Item = &'a Change>,
) -> Result<()> {
    let mut list = Vec::new();
    let mut length = 0;
    for (id, output) in
        changes.filter_map(|change| change.output.as_ref().map(|output| (change.next.id, output)))
    {
        if output.body.len() >= LONG_OUTPUT {
            long_output(c, id, output).await?;
            continue;
        }
        let (binary, body) = match text(&output.body, output.truncated) {
            Some(text) => (false, Cow::Borrowed(text)),
            None => (true, Cow::Owned(hex(&output.body))),
        };
        list.push((id, output.content_type.as_deref(), output.bytes, output.truncated, binary, body));
        length += output.body.len();
        if length >= LONGEST_LIST {
            sqlx::query(OUTPUTS).bind(json(&std::mem::take(&mut list))).execute(&mut *c).await?;
            length = 0;
        }
    }
    if !list.is_empty() {
        sqlx::query(OUTPUTS).bind(json(&list)).execute(c).await?;
    }
    Ok(())
}

/// Bytes from which an output is written by itself, without the cost of writing it as JSON.
const LONG_OUTPUT: usize = 64 * 1024;
/// Bytes of outputs in one list. As JSON they may be six times as many; SQLite takes no text of more than 10^9 bytes, and
/// a batch that it does not take would be tried again for ever.
const LONGEST_LIST: usize = 16 * 1024 * 1024;

async fn long_output(c: &mut SqliteConnection, id: i64, output: &Output) -> Result<()> {
    let bytes = i64::try_from(output.bytes).unwrap_or(i64::MAX);
    let query =
        sqlx::query(OUTPUT).bind(id).bind(output.content_type.clone()).bind(bytes).bind(output.truncated);
    let query = match text(&output.body, output.truncated) {
        Some(text) => query.bind(text.to_owned()),
        None => query.bind(output.body.clone()),
    };
    query.execute(c).await?;
    Ok(())
}

/// A body as text, if it is one; a truncated one may end within a character, which is left off.
fn text(body: &[u8], truncated: bool) -> Option<&str> {
    match std::str::from_utf8(body) {
        Ok(text) => Some(text),
        Err(e) if truncated && e.error_len().is_none() && e.valid_up_to() > 0 => {
            std::str::from_utf8(&body[..e.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

/// Writes the counters of polls.
pub(super) async fn polled(c: &mut SqliteConnection, polled: &[Polled]) -> Result<()> {
    let rows: Vec<_> = polled
        .iter()
        .map(|Polled { next, due_at }| {
            (
                next.id,
                next.attempt,
                due_at.0,
                next.polls,
                ms(next.last_polled_at),
                next.http_status,
                next.trouble.as_ref().map(|t| t.message.as_str()),
                memory_text(&next.memory),
                next.phase.as_str(),
            )
        })
        .collect();
    sqlx::query(POLLED).bind(json(&rows)).execute(c).await?;
    Ok(())
}

/// Takes intents back; the rows where there were any.
pub(super) async fn give_back(c: &mut SqliteConnection, returned: &[Return]) -> Result<Vec<i64>> {
    let rows: Vec<_> = returned
        .iter()
        .map(|Return { before, due_at, .. }| {
            let (started_at, deadline_at) = (ms(before.started_at), ms(before.deadline_at));
            let progress = memory_text(&before.memory);
            (before.id, before.attempt, ms(*due_at), started_at, deadline_at, progress)
        })
        .collect();
    ids(c, sqlx::query(GIVE_BACK).bind(json(&rows))).await
}

/// A trigger that pending rows name.
pub(super) struct Head {
    pub(super) name: Vec<u8>,
    pub(super) known: bool,
    pub(super) open: bool,
}

/// The triggers that pending rows name.
pub(super) async fn heads(c: &mut SqliteConnection) -> Result<Vec<Head>> {
    sqlx::query(HEADS)
        .fetch_all(c)
        .await?
        .iter()
        .map(|row| {
            Ok(Head {
                name: row.try_get(0)?,
                known: row.try_get::<i64, _>(1)? != 0,
                open: row.try_get::<i64, _>(2)? != 0,
            })
        })
        .collect()
}

/// Pending rows that name no trigger.
pub(super) async fn strangers(c: &mut SqliteConnection) -> Result<Vec<i64>> {
    ids(c, sqlx::query(STRANGERS)).await
}

/// Pending rows that would never become ready.
pub(super) async fn never(c: &mut SqliteConnection) -> Result<Vec<i64>> {
    ids(c, sqlx::query(NEVER)).await
}

async fn levels(c: &mut SqliteConnection, trigger: &str, now: UnixMillis) -> Result<Vec<Level>> {
    let rows = sqlx::query(LEVELS).bind(trigger.to_owned()).bind(now.0).fetch_all(c).await?;
    let level = |row: &SqliteRow| {
        let ready_at = UnixMillis(row.try_get(2)?);
        Ok(Level { number: row.try_get(0)?, priority: row.try_get(1)?, ready_at })
    };
    rows.iter().map(level).collect()
}

/// Ready rows of a trigger, in the order to fire them.
pub(super) async fn candidates(
    c: &mut SqliteConnection,
    trigger: &str,
    now: UnixMillis,
    limit: usize,
    ageing: Duration,
) -> Result<Vec<i64>> {
    let levels = levels(c, trigger, now).await?;
    let mut queue = Levels::new(ageing, levels);
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    while let Some(level) = queue.wanted(limit) {
        let query =
            sqlx::query(CANDIDATES).bind(trigger.to_owned()).bind(now.0).bind(most).bind(level.number);
        let rows = query.fetch_all(&mut *c).await?;
        let rows = rows.iter().map(|row| Ok((row.try_get(0)?, UnixMillis(row.try_get(1)?))));
        queue.give(level, rows.collect::<Result<_>>()?);
    }
    Ok(queue.into_ids(limit))
}

/// Rows by id, unchecked, in the order of `ids`.
pub(super) async fn load(c: &mut SqliteConnection, ids: &[i64]) -> Result<Vec<Raw>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query(LOAD).bind(json(&ids)).fetch_all(c).await?.iter().map(raw).collect()
}

/// Makes rows `triggering`; answers with those that were still to be fired. `rows`: id, deadline if the round begins.
pub(super) async fn intend(
    c: &mut SqliteConnection,
    rows: &[(i64, i64)],
    now: UnixMillis,
) -> Result<Vec<i64>> {
    ids(c, sqlx::query(INTEND).bind(json(&rows)).bind(now.0)).await
}

/// Ends bad rows; answers with those that were still pending.
pub(super) async fn reject(
    c: &mut SqliteConnection,
    rows: &[(i64, String)],
    now: UnixMillis,
) -> Result<Vec<i64>> {
    ids(c, sqlx::query(REJECT).bind(json(&rows)).bind(now.0)).await
}

/// Ends rows that cannot be read; answers with those that were still there.
pub(super) async fn spoil(c: &mut SqliteConnection, rows: &[Spoiled]) -> Result<Vec<i64>> {
    let rows: Vec<_> = rows.iter().map(|row| (row.id, &row.problem, row.seen_at.0)).collect();
    ids(c, sqlx::query(SPOIL).bind(json(&rows))).await
}

/// Requests whose end is due, and whether a firing of theirs is under way.
pub(super) async fn ending(c: &mut SqliteConnection, now: UnixMillis) -> Result<Vec<(i64, bool)>> {
    let rows = sqlx::query(ENDING).bind(now.0).fetch_all(c).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)? != 0))).collect()
}

/// When a pending row next becomes ready, expires, or is late.
pub(super) async fn next(c: &mut SqliteConnection, now: UnixMillis) -> Result<Option<UnixMillis>> {
    time(&sqlx::query(NEXT).bind(now.0).fetch_one(c).await?)
}

/// The only column of a row, if it is a time.
fn time(row: &SqliteRow) -> Result<Option<UnixMillis>> {
    Ok(match cell(row, 0)? {
        Cell::Int(at) => Some(UnixMillis(at)),
        _ => None,
    })
}

/// Every row in `triggering`: its id and attempt.
pub(super) async fn triggering(c: &mut SqliteConnection) -> Result<Vec<(i64, u32)>> {
    let rows = sqlx::query(TRIGGERING).fetch_all(c).await?;
    // An attempt that is no number of firings is none that was noted.
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)?.try_into().unwrap_or(u32::MAX))))
        .collect()
}

/// Every row that waits for a poll. Those that others have handed over are among them.
pub(super) async fn waiting(c: &mut SqliteConnection) -> Result<Vec<Waiting>> {
    sqlx::query(TAKE_HANDOVERS).bind(None::<String>).execute(&mut *c).await?;
    waits(&sqlx::query(WAITING).fetch_all(c).await?)
}

/// Rows that others have handed over to be polled.
pub(super) async fn handovers(c: &mut SqliteConnection) -> Result<Vec<Waiting>> {
    waits(&sqlx::query(HANDOVERS).fetch_all(c).await?)
}

/// Rows that were handed over are followed by now.
pub(super) async fn take_handovers(c: &mut SqliteConnection, ids: &[i64]) -> Result<()> {
    sqlx::query(TAKE_HANDOVERS).bind(Some(json(&ids))).execute(c).await?;
    Ok(())
}

fn waits(rows: &[SqliteRow]) -> Result<Vec<Waiting>> {
    let mut waiting = Vec::with_capacity(rows.len());
    for row in rows {
        let due_at = match cell(row, 1)? {
            Cell::Int(at) => UnixMillis(at),
            _ => UnixMillis(0),
        };
        if let Cell::Text(name) = cell(row, 2)? {
            let trigger_name = String::from_utf8_lossy(&name).into_owned();
            waiting.push(Waiting { id: row.try_get(0)?, due_at, trigger_name });
        }
    }
    Ok(waiting)
}

/// A new epoch: the installation's name, and the epoch's number.
pub(super) async fn start(c: &mut SqliteConnection, now: UnixMillis) -> Result<(String, i64)> {
    let row = sqlx::query(START).bind(env!("CARGO_PKG_VERSION")).bind(now.0).fetch_one(c).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// A sign of life.
pub(super) async fn sign(c: &mut SqliteConnection, sign: Sign) -> Result<()> {
    sqlx::query(SIGN).bind(sign.now.0).bind(sign.ready).bind(sign.stopped).execute(c).await?;
    Ok(())
}

/// Writes what triggers are doing; what holds nobody back is not told.
pub(super) async fn status(c: &mut SqliteConnection, status: &Status) -> Result<()> {
    let mut rows = Vec::with_capacity(status.triggers.len());
    for TriggerStatus { trigger_name, slots_used, hold } in &status.triggers {
        let oldest = match hold {
            Some(_) => oldest(c, trigger_name, status.now).await?,
            None => None,
        };
        let hold = hold.as_ref().filter(|_| oldest.is_some());
        rows.push((
            trigger_name,
            slots_used,
            hold.map(|hold| hold.by.waiting_for()),
            hold.map(|hold| hold.by.waiting_on()),
            ms(hold.map(|hold| hold.since)),
            ms(hold.and_then(|hold| hold.until)),
            ms(oldest),
        ));
    }
    sqlx::query(STATUS).bind(json(&rows)).bind(status.now.0).execute(c).await?;
    Ok(())
}

/// Since when the longest waiting ready row of a trigger is ready.
async fn oldest(c: &mut SqliteConnection, trigger: &str, now: UnixMillis) -> Result<Option<UnixMillis>> {
    Ok(levels(c, trigger, now).await?.into_iter().map(|level| level.ready_at).min())
}

/// Pauses a trigger, unless it is.
pub(super) async fn pause(c: &mut SqliteConnection, trigger: &str, why: &str) -> Result<()> {
    sqlx::query(PAUSE).bind(trigger.to_owned()).bind(why.to_owned()).execute(c).await?;
    Ok(())
}

/// Forgets what triggers were doing: all of them, or those that have left the configuration.
pub(super) async fn forget_status(c: &mut SqliteConnection, all: bool) -> Result<()> {
    sqlx::query(FORGET_STATUS).bind(all).execute(c).await?;
    Ok(())
}

/// Tells ready rows why nothing is sent for them.
pub(super) async fn hold(c: &mut SqliteConnection, rows: &[i64], code: Code) -> Result<()> {
    let query = sqlx::query(HOLD).bind(json(&rows)).bind(code.as_str()).bind(held_message(code));
    query.execute(c).await?;
    Ok(())
}

/// How many requests wait for an operator, up to [`MANY_UNCERTAIN`].
pub(super) async fn uncertain(c: &mut SqliteConnection) -> Result<usize> {
    let most = i64::try_from(MANY_UNCERTAIN).unwrap_or(i64::MAX);
    let count: i64 = sqlx::query(UNCERTAIN).bind(most).fetch_one(c).await?.try_get(0)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Uncertain requests of a trigger that ended after an instant, up to `most`: how many, and when the first of them did.
pub(super) async fn doubtful(
    c: &mut SqliteConnection,
    trigger: &str,
    after: UnixMillis,
    most: u32,
) -> Result<(usize, Option<UnixMillis>)> {
    let query = sqlx::query(DOUBTFUL).bind(trigger.to_owned()).bind(after.0).bind(most);
    let row = query.fetch_one(c).await?;
    let first: Option<i64> = row.try_get(1)?;
    Ok((usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0), first.map(UnixMillis)))
}

/// Makes the table `triggers` say what the configuration says.
pub(super) async fn register(c: &mut SqliteConnection, triggers: &[Arc<Trigger>]) -> Result<()> {
    let rows: Vec<_> = triggers
        .iter()
        .map(|t| {
            (
                &t.name,
                t.call_mode.as_str(),
                t.method.as_str(),
                t.origin(),
                t.repeatable,
                t.max_arguments,
                t.description.as_deref(),
            )
        })
        .collect();
    let rows = json(&rows);
    let mut tx = sqlx::Connection::begin_with(c, "BEGIN IMMEDIATE").await?;
    sqlx::query(UNREGISTER).bind(rows.clone()).execute(&mut *tx).await?;
    sqlx::query(REGISTER).bind(rows).execute(&mut *tx).await?;
    forget_status(&mut tx, false).await?;
    groups_again(&mut tx).await?;
    tx.commit().await
}

/// Deletes finished requests; answers how many.
pub(super) async fn prune(
    c: &mut SqliteConnection,
    state: &'static str,
    until: UnixMillis,
    limit: i64,
) -> Result<u64> {
    Ok(sqlx::query(PRUNE).bind(state).bind(until.0).bind(limit).execute(c).await?.rows_affected())
}

/// Deletes uncertain requests; answers how many, and whether there are ends now of which something follows: those stay.
pub(super) async fn prune_uncertain(
    c: &mut SqliteConnection,
    until: UnixMillis,
    limit: i64,
) -> Result<(u64, bool)> {
    let uncertain = ids(c, sqlx::query(PRUNE_UNCERTAIN).bind(until.0).bind(limit)).await?;
    if uncertain.is_empty() {
        return Ok((0, false));
    }
    let ends = given_up(c, &uncertain).await?;
    let deleted = sqlx::query(PRUNE_IDS).bind(json(&uncertain)).bind(until.0).execute(c).await?;
    Ok((deleted.rows_affected(), !ends.is_empty()))
}

/// Looks at the next outputs behind that of a request, and deletes those past their time: how many, and behind which request to
/// go on; none at the end of the table.
pub(super) async fn prune_outputs(
    c: &mut SqliteConnection,
    until: UnixMillis,
    behind: i64,
    limit: i64,
) -> Result<(u64, Option<i64>)> {
    let next = sqlx::query(PRUNE_LOOK).bind(behind).bind(limit).fetch_one(&mut *c).await?;
    let (Some(last), many) = (next.try_get::<Option<i64>, _>(0)?, next.try_get::<i64, _>(1)?) else {
        return Ok((0, None));
    };
    let deleted = sqlx::query(PRUNE_OUTPUTS).bind(until.0).bind(behind).bind(last).execute(c).await?;
    Ok((deleted.rows_affected(), (many == limit).then_some(last)))
}

/// Deletes what became of times of schedules; answers how many.
pub(super) async fn prune_events(c: &mut SqliteConnection, until: UnixMillis, limit: i64) -> Result<u64> {
    Ok(sqlx::query(PRUNE_EVENTS).bind(until.0).bind(limit).execute(c).await?.rows_affected())
}

/// How many requests are past their time. `past`: state, ended at or before.
pub(super) async fn prune_count(c: &mut SqliteConnection, past: &[(&str, UnixMillis)]) -> Result<u64> {
    let count: i64 = sqlx::query(PRUNE_COUNT).bind(json(&past)).fetch_one(c).await?.try_get(0)?;
    Ok(count.cast_unsigned())
}

/// How many outputs are past their time, of requests that are not.
pub(super) async fn prune_count_outputs(
    c: &mut SqliteConnection,
    until: UnixMillis,
    past: &[(&str, UnixMillis)],
) -> Result<u64> {
    let query = sqlx::query(PRUNE_COUNT_OUTPUTS).bind(until.0).bind(json(&past));
    let count: i64 = query.fetch_one(c).await?.try_get(0)?;
    Ok(count.cast_unsigned())
}

/// Whose file it is: the installation, its last start, the highest id that it ever gave.
pub(super) async fn identity(c: &mut SqliteConnection) -> Result<(String, i64, i64)> {
    let row = sqlx::query(IDENTITY).fetch_one(c).await?;
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

/// Of firings that have left, by id and attempt, the request of one that its row does not know.
pub(super) async fn noted(c: &mut SqliteConnection, left: &[(i64, u32)]) -> Result<Option<i64>> {
    Ok(ids(c, sqlx::query(NOTED).bind(json(&left))).await?.pop())
}

/// When a copy of `triggerd backup` was made, for us and for people; none of any other file.
pub(super) async fn mark(c: &mut SqliteConnection) -> Result<Option<(UnixMillis, String)>> {
    let row = sqlx::query(MARK).fetch_one(c).await?;
    let (at, text): (Option<i64>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(at.map(|at| (UnixMillis(at), text.unwrap_or_else(|| at.to_string()))))
}

/// Marks a copy.
pub(super) async fn mark_set(c: &mut SqliteConnection, now: UnixMillis) -> Result<()> {
    sqlx::query(MARK_SET).bind(now.0).execute(c).await?;
    Ok(())
}

/// Takes the mark of a copy off, and makes its next start another one than any that `last` follows.
pub(super) async fn mark_clear(c: &mut SqliteConnection, last: i64) -> Result<()> {
    sqlx::query(MARK_CLEAR).bind(last).execute(c).await?;
    Ok(())
}

/// Pending requests of a copy that may have been fired since, and may not be fired twice.
pub(super) async fn restored_doubtful(c: &mut SqliteConnection, until: UnixMillis) -> Result<Vec<i64>> {
    ids(c, sqlx::query(RESTORED_DOUBTFUL).bind(until.0)).await
}

/// Makes pending requests uncertain; answers with those that were still pending.
pub(super) async fn restored_hold(
    c: &mut SqliteConnection,
    rows: &[i64],
    why: &str,
    now: UnixMillis,
) -> Result<Vec<i64>> {
    ids(c, sqlx::query(RESTORED_HOLD).bind(json(&rows)).bind(why.to_owned()).bind(now.0)).await
}

/// How many requests wait to be fired.
pub(super) async fn restored_pending(c: &mut SqliteConnection) -> Result<i64> {
    sqlx::query(RESTORED_PENDING).fetch_one(c).await?.try_get(0)
}

/// How many requests a copy has.
pub(super) async fn backup_rows(c: &mut SqliteConnection) -> Result<i64> {
    sqlx::query(BACKUP_ROWS).fetch_one(c).await?.try_get(0)
}

/// The lines of a check of the whole file: "ok", or what is wrong.
pub(super) async fn backup_check(c: &mut SqliteConnection) -> Result<Vec<String>> {
    sqlx::query(BACKUP_CHECK).fetch_all(c).await?.iter().map(|row| row.try_get(0)).collect()
}

/// The same, but not each index compared with its table.
pub(super) async fn quick_check(c: &mut SqliteConnection) -> Result<Vec<String>> {
    sqlx::query(CONSOLE_DAMAGE).fetch_all(c).await?.iter().map(|row| row.try_get(0)).collect()
}

/// What the daemon last said of itself, and when the newest request was inserted.
pub(super) async fn health(c: &mut SqliteConnection) -> Result<Health> {
    let row = sqlx::query(HEALTH).fetch_one(c).await?;
    let at = |index| -> Result<Option<UnixMillis>> {
        Ok(match cell(&row, index)? {
            Cell::Int(at) => Some(UnixMillis(at)),
            _ => None,
        })
    };
    Ok(Health {
        version: row.try_get(0)?,
        started_at: at(1)?,
        ready_at: at(2)?,
        seen_at: at(3)?,
        newest_at: at(4)?,
        ..Health::default()
    })
}

/// Triggers that are paused, with the reason.
pub(super) async fn paused(c: &mut SqliteConnection) -> Result<Vec<(String, Option<String>)>> {
    let rows = sqlx::query(PAUSED).fetch_all(c).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Schedules that insert nothing, some of them: whether they are paused, and why they are, or cannot be used.
pub(super) async fn idle_schedules(c: &mut SqliteConnection) -> Result<Vec<(String, bool, Option<String>)>> {
    const MOST: i64 = 20;
    let rows = sqlx::query(IDLE_SCHEDULES).bind(MOST).fetch_all(c).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

/// Gives some of the pages that were freed back to the file system; answers whether there are more to give.
pub(super) async fn shrink(c: &mut SqliteConnection) -> Result<bool> {
    let before = free_pages(c).await?;
    if before <= FREE_PAGES {
        return Ok(false);
    }
    sqlx::query("PRAGMA incremental_vacuum(200)").execute(&mut *c).await?;
    let after = free_pages(c).await?;
    // A file that was made without auto_vacuum gives nothing.
    Ok(after < before && after > FREE_PAGES)
}

/// 8 MiB that stay in the file for the rows to come.
const FREE_PAGES: i64 = 2048;

async fn free_pages(c: &mut SqliteConnection) -> Result<i64> {
    sqlx::query("PRAGMA freelist_count").fetch_one(c).await?.try_get(0)
}

/// What changes when others commit, and only then.
pub(super) async fn data_version(c: &mut SqliteConnection) -> Result<i64> {
    sqlx::query("PRAGMA data_version").fetch_one(c).await?.try_get(0)
}

/// What changes with the schema, whoever changes it.
pub(super) async fn schema_version(c: &mut SqliteConnection) -> Result<i64> {
    sqlx::query("PRAGMA schema_version").fetch_one(c).await?.try_get(0)
}

/// Moves the write-ahead log into the file and begins it anew, as far as nobody is in the way: nobody is waited for.
pub(super) async fn checkpoint(c: &mut SqliteConnection) -> Result<()> {
    sqlx::query("PRAGMA busy_timeout = 0").execute(&mut *c).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&mut *c).await?;
    usual_busy_timeout(c).await
}

/// Whether the next commits are synced, with all that was committed before them. Not within a transaction.
pub(super) async fn sync(c: &mut SqliteConnection, full: bool) -> Result<()> {
    let sql = if full { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
    sqlx::query(sql).execute(c).await?;
    Ok(())
}

/// Keeps SQLite's statistics up to date, for the queries of others: each statement here names its index. Where they are, that
/// is nothing; and else some ten milliseconds, whatever the table's size. Nobody is waited for.
pub(super) async fn optimize(c: &mut SqliteConnection) -> Result<()> {
    sqlx::query("PRAGMA busy_timeout = 0").execute(&mut *c).await?;
    sqlx::query("PRAGMA analysis_limit = 400").execute(&mut *c).await?;
    let optimized = sqlx::query("PRAGMA optimize").fetch_all(&mut *c).await;
    if let Err(error) = optimized {
        // Somebody writes. There is another day.
        tracing::debug!(%error, "the statistics are left as they are: {error}");
    }
    usual_busy_timeout(c).await
}

/// [`super::BUSY_TIMEOUT`], for a connection that has had another one.
pub(super) async fn usual_busy_timeout(c: &mut SqliteConnection) -> Result<()> {
    sqlx::query("PRAGMA busy_timeout = 10000").execute(c).await?;
    Ok(())
}

pub(super) type Query = sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>;

pub(super) async fn ids(c: &mut SqliteConnection, query: Query) -> Result<Vec<i64>> {
    query.fetch_all(c).await?.iter().map(|row| row.try_get(0)).collect()
}

fn cell(row: &SqliteRow, index: usize) -> Result<Cell> {
    let value: SqliteValueRef<'_> = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let kind = value.type_info().into_owned();
    Ok(match kind.name() {
        "INTEGER" => Cell::Int(i64::decode(value).map_err(sqlx::Error::Decode)?),
        "TEXT" => Cell::Text(<Vec<u8>>::decode(value).map_err(sqlx::Error::Decode)?),
        _ => Cell::Other,
    })
}

fn raw(row: &SqliteRow) -> Result<Raw> {
    let cell = |index| cell(row, index);
    Ok(Raw {
        id: row.try_get(0)?,
        trigger_name: cell(1)?,
        arguments: cell(2)?,
        call_mode: cell(3)?,
        priority: cell(4)?,
        run_at: cell(5)?,
        expires_at: cell(6)?,
        deadline_at: cell(7)?,
        traceparent: cell(8)?,
        cancel_requested: cell(9)?,
        state: cell(10)?,
        round: cell(11)?,
        attempt: cell(12)?,
        due_at: cell(13)?,
        status_uri: cell(14)?,
        output_uri: cell(15)?,
        effective_call_mode: cell(16)?,
        polls: cell(17)?,
        last_polled_at: cell(18)?,
        http_status: cell(19)?,
        error_code: cell(20)?,
        error_message: cell(21)?,
        created_at: cell(22)?,
        started_at: cell(23)?,
        accepted_at: cell(24)?,
        progress: cell(25)?,
        concurrency_key: cell(26)?,
    })
}
