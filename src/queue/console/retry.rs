//! A new round for a request that has ended without success.

use sqlx::SqliteConnection;

use super::standing::{Refusal, Standing, Verdict};
use super::{Cell, Console, Error, Record, records};
use crate::clock::UnixMillis;

/// What to retry, where no ids are given.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only these; spelled as in SQL.
    pub state: Option<String>,
    /// Only these.
    pub trigger_name: Option<String>,
    /// Ended at or after this.
    pub since: Option<UnixMillis>,
}

impl Console {
    /// The ids of a selection, of those that may be retried at all.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn retryable(&mut self, selection: &Selection) -> Result<Vec<i64>, Error> {
        let text = |text: &Option<String>| text.clone().map_or(Cell::Null, Cell::Text);
        let since = selection.since.map_or(i64::MIN, |since| since.0);
        let values = [text(&selection.state), text(&selection.trigger_name), Cell::Int(since)];
        let found = self.records(include_str!("../sqlite/console_retryable.sql"), &values).await?;
        Ok(found.iter().filter_map(|record| record.int("id")).collect())
    }

    /// Opens a new round for each of `ids`, which begins `now`. Each is judged alone. `may_run_twice`: the operator knows that
    /// a remote job may. What was judged is in `verdicts`, also after an error.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn retry(
        &mut self,
        ids: &[i64],
        now: UnixMillis,
        may_run_twice: bool,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<(), Error> {
        let act =
            async |connection: &mut SqliteConnection, id| again(connection, id, now, may_run_twice).await;
        self.each(ids, verdicts, act).await
    }
}

async fn again(
    connection: &mut SqliteConnection,
    id: i64,
    now: UnixMillis,
    may_run_twice: bool,
) -> Result<Result<Record, Refusal>, sqlx::Error> {
    let standing = match Standing::read(connection, id).await? {
        Ok(standing) => standing,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Err(refusal) = may_be_retried(&standing, may_run_twice) {
        return Ok(Err(refusal));
    }
    let twins = records(connection, include_str!("../sqlite/console_twin.sql"), &[Cell::Int(id)]).await?;
    if let Some(twin) = twins.first().and_then(|twin| twin.int("id")) {
        let why = format!(
            "request {twin} has its unique key and has not ended: `triggerd wait {twin}` or `triggerd cancel {twin}` first \
             (`triggerd resolve {twin}` if it is uncertain)"
        );
        return Ok(Err(standing.refuse(why)));
    }
    if let Err(refusal) = start_over(connection, &standing, now, 1, None).await? {
        return Ok(Err(refusal));
    }
    let round = match standing.get("round") {
        Cell::Int(round) => Cell::Int(round.saturating_add(1)),
        _ => Cell::Null,
    };
    Ok(Ok(Record(vec![("state".to_owned(), Cell::Text("pending".to_owned())), ("round".to_owned(), round)])))
}

/// Makes it pending as if it had never been fired, `rounds` later.
pub(super) async fn start_over(
    connection: &mut SqliteConnection,
    standing: &Standing,
    now: UnixMillis,
    rounds: i64,
    note: Option<String>,
) -> Result<Result<(), Refusal>, sqlx::Error> {
    let values = [
        Cell::Int(rounds),
        note.map_or(Cell::Null, Cell::Text),
        standing.limit("expires_at", now),
        standing.own_deadline(now),
    ];
    let updated = standing.update(connection, include_str!("../sqlite/console_again.sql"), &values).await?;
    if updated.is_ok() {
        let id = [Cell::Int(standing.id())];
        records(connection, include_str!("../sqlite/console_forget_output.sql"), &id).await?;
        records(connection, include_str!("../sqlite/console_await.sql"), &id).await?;
    }
    Ok(updated)
}

/// Whether a new round may be opened.
fn may_be_retried(standing: &Standing, may_run_twice: bool) -> Result<(), Refusal> {
    let (id, state) = (standing.id(), standing.state());
    match state {
        "failed" | "rejected" | "expired" | "cancelled" => {}
        "uncertain" => {
            return Err(standing.refuse(format!(
                "it is uncertain: its remote job may have run; find out, then `triggerd resolve {id} --as retry` (or \
                 succeeded, failed, follow)"
            )));
        }
        "succeeded" => {
            return Err(standing.refuse("it has succeeded; to run it once more, `triggerd submit` another"));
        }
        "dispatched" => {
            return Err(standing.refuse(
                "it is dispatched: its remote job was accepted, and nothing more is known; to run it once more, `triggerd \
                 submit` another",
            ));
        }
        _ => {
            return Err(standing.refuse(format!(
                "it has not ended ({state}): `triggerd wait {id}`, or `triggerd cancel {id}` first"
            )));
        }
    }
    may_be_fired(standing)?;
    if may_run_twice || standing.is("repeatable") || !is_left_running(standing) {
        return Ok(());
    }
    Err(standing.refuse(format!(
        "its remote job was accepted and not seen to end, and its trigger is not repeatable: see `triggerd show {id}` for the \
         status URI; if a second run does no harm, add --may-run-twice"
    )))
}

/// A trigger that has left the configuration fires nothing.
pub(super) fn may_be_fired(standing: &Standing) -> Result<(), Refusal> {
    if standing.is("active") {
        return Ok(());
    }
    let name = standing.text("trigger_name").unwrap_or("(no name)");
    Err(standing.refuse(format!(
        "its trigger {name} is not in the configuration: add [triggers.{name}], then reload the daemon or run `triggerd \
         migrate`"
    )))
}

/// Whether a remote job of this round was accepted and may run on. A failed one was seen to fail; one whose output URI is
/// known was seen to end.
fn is_left_running(standing: &Standing) -> bool {
    standing.has("accepted_at") && standing.state() != "failed" && !standing.has("output_uri")
}
