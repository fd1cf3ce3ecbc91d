//! Settling an uncertain request, by what an operator has found out.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::SqliteConnection;
use url::Url;

use super::retry::{may_be_fired, start_over};
use super::standing::{Refusal, Standing, Verdict};
use super::{Cell, Console, Error, Record, records};
use crate::clock::UnixMillis;
use crate::invocation::Memory;
use crate::queue::row::memory_text;
use crate::request::CallMode;
use crate::trigger::Trigger;

/// What the operator has found out, or wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The remote job ran and did well.
    Succeeded,
    /// The remote job ran and failed, or will not be run.
    Failed,
    /// No remote job runs or has run: fire again, in the same round.
    Retry,
    /// A remote job runs, or has run: ask this status URI, else the one that was kept.
    Follow(Option<Url>),
}

/// What an operator says of an uncertain request.
#[derive(Clone, Copy, Debug)]
pub struct Resolution<'a> {
    /// What is done.
    pub settlement: &'a Settlement,
    /// One line for `error_message`.
    pub note: Option<&'a str>,
    /// The wall clock.
    pub now: UnixMillis,
    /// The configured triggers, which say what may be asked, and for how long.
    pub triggers: &'a BTreeMap<String, Arc<Trigger>>,
}

impl Console {
    /// Settles request `id`, if it is uncertain.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn resolve(&mut self, id: i64, resolution: &Resolution<'_>) -> Result<Verdict, Error> {
        let mut verdicts = Vec::new();
        let act = async |connection: &mut SqliteConnection, id| resolve(connection, id, resolution).await;
        self.each(&[id], &mut verdicts, act).await?;
        Ok(verdicts.pop().expect("each id has its verdict"))
    }
}

async fn resolve(
    connection: &mut SqliteConnection,
    id: i64,
    resolution: &Resolution<'_>,
) -> Result<Result<Record, Refusal>, sqlx::Error> {
    let Resolution { settlement, note, now, .. } = *resolution;
    let standing = match Standing::read(connection, id).await? {
        Ok(standing) => standing,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if standing.state() != "uncertain" {
        return Ok(Err(standing.refuse(not_uncertain(&standing))));
    }
    let by = |what: &str| {
        let note = note.map(|note| format!(": {note}")).unwrap_or_default();
        format!("resolved as {what} by an operator{note}")
    };
    let settled = match settlement {
        Settlement::Succeeded => {
            end(connection, &standing, "succeeded", Cell::Null, by("succeeded"), now).await?
        }
        Settlement::Failed => {
            let before =
                standing.text("error_message").map(|was| format!("; before: {was}")).unwrap_or_default();
            let code = standing.get("error_code").clone();
            end(connection, &standing, "failed", code, by("failed") + &before, now).await?
        }
        Settlement::Retry => match may_be_fired(&standing) {
            Ok(()) => start_over(connection, &standing, now, 0, note.map(|_| by("retry"))).await?,
            Err(refusal) => Err(refusal),
        },
        Settlement::Follow(given) => match follow_up(&standing, given.as_ref(), resolution) {
            Ok(next) => follow(connection, &standing, &next, note.map(|_| by("follow"))).await?,
            Err(refusal) => Err(refusal),
        },
    };
    if let Err(refusal) = settled {
        return Ok(Err(refusal));
    }
    Ok(Ok(Standing::read(connection, id).await?.map_or_else(
        |_| Record(Vec::new()),
        |now| {
            let columns =
                ["state", "round", "error_code", "error_message", "status_uri", "effective_call_mode"];
            Record(columns.map(|column| (column.to_owned(), now.get(column).clone())).into())
        },
    )))
}

/// Why there is nothing to settle.
fn not_uncertain(standing: &Standing) -> String {
    let (id, state) = (standing.id(), standing.state());
    match state {
        "pending" | "triggering" | "polling" | "collecting" => {
            format!("it is not uncertain but {state}: `triggerd wait {id}`, or `triggerd cancel {id}`")
        }
        "succeeded" | "dispatched" => format!("it is not uncertain: it has ended as {}", standing.ending()),
        _ => format!(
            "it is not uncertain: it has ended as {}; `triggerd retry {id}` opens a new round",
            standing.ending()
        ),
    }
}

async fn end(
    connection: &mut SqliteConnection,
    standing: &Standing,
    state: &str,
    code: Cell,
    message: String,
    now: UnixMillis,
) -> Result<Result<(), Refusal>, sqlx::Error> {
    let values = [Cell::Text(state.to_owned()), code, Cell::Text(message), Cell::Int(now.0)];
    let updated = standing.update(connection, include_str!("../sqlite/console_resolve.sql"), &values).await?;
    if updated.is_ok() {
        let id = [Cell::Int(standing.id())];
        records(connection, include_str!("../sqlite/console_ended.sql"), &id).await?;
    }
    Ok(updated)
}

/// How the remote job is to be followed.
struct FollowUp {
    status_uri: Url,
    mode: CallMode,
    now: i64,
    /// None: the one that it has, its producer's, still holds.
    deadline: Option<i64>,
}

/// Whether it can be followed, and how.
fn follow_up(
    standing: &Standing,
    given: Option<&Url>,
    resolution: &Resolution<'_>,
) -> Result<FollowUp, Refusal> {
    let (id, now) = (standing.id(), resolution.now);
    let name = standing.text("trigger_name").unwrap_or("(no name)");
    let Some(trigger) = resolution.triggers.get(name).map(Arc::as_ref) else {
        return Err(standing.refuse(format!(
            "its trigger {name} is not in the configuration, which says what may be asked: add [triggers.{name}], then \
             reload the daemon"
        )));
    };
    let kept = standing.text("status_uri").and_then(|text| Url::parse(text).ok());
    let Some(status_uri) = given.cloned().or(kept) else {
        return Err(standing.refuse(format!(
            "no status URI was kept: if the far end knows one, `triggerd resolve {id} --as follow --status-uri URI`"
        )));
    };
    if !trigger.allows(&status_uri) {
        // Its path and query may be a secret.
        let origin = status_uri.origin().ascii_serialization();
        return Err(standing.refuse(format!(
            "{origin} may not be asked for trigger {name}: add it to allowed_origins in [triggers.{name}], and reload the daemon"
        )));
    }
    let mode = followed_mode(standing, trigger);
    let deadline = match standing.own_deadline(now) {
        Cell::Null => Some(now.plus(trigger.deadline(mode)).0),
        _ => None,
    };
    Ok(FollowUp { status_uri, mode, now: now.0, deadline })
}

/// By whose rules the answers are read. Fire and forget has none.
fn followed_mode(standing: &Standing, trigger: &Trigger) -> CallMode {
    let mode = standing.mode("effective_call_mode").or_else(|| standing.mode("call_mode"));
    match mode.unwrap_or(trigger.call_mode) {
        CallMode::FireAndForget => CallMode::AsyncRequestReply,
        mode => mode,
    }
}

async fn follow(
    connection: &mut SqliteConnection,
    standing: &Standing,
    next: &FollowUp,
    note: Option<String>,
) -> Result<Result<(), Refusal>, sqlx::Error> {
    let memory = Memory { counted_deadline: next.deadline.is_some(), ..Memory::default() };
    let text = |text: Option<String>| text.map_or(Cell::Null, Cell::Text);
    let values = [
        Cell::Text(next.status_uri.to_string()),
        Cell::Text(next.mode.as_str().to_owned()),
        Cell::Int(next.now),
        next.deadline.map_or(Cell::Null, Cell::Int),
        text(note),
        text(memory_text(&memory)),
    ];
    let updated = standing.update(connection, include_str!("../sqlite/console_follow.sql"), &values).await?;
    if updated.is_ok() {
        let id = [Cell::Int(standing.id())];
        records(connection, include_str!("../sqlite/console_forget_output.sql"), &id).await?;
        records(connection, include_str!("../sqlite/console_hand_over.sql"), &id).await?;
    }
    Ok(updated)
}
