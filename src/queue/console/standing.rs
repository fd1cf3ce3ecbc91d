//! One request as an operator's act finds it, and the transaction in which both happen.

use std::collections::HashMap;

use sqlx::{Connection, SqliteConnection};

use super::{Cell, Console, Error, Record, judge, records};
use crate::clock::UnixMillis;
use crate::invocation::Memory;
use crate::request::CallMode;

/// What was asked of one request: what came of it, or why nothing did.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The request.
    pub id: i64,
    /// What it is now.
    pub done: Result<Record, Refusal>,
}

/// Why nothing was done, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its state, if there is such a request.
    pub state: Option<String>,
    /// For a person.
    pub why: String,
}

/// How many requests are written in one transaction: nobody waits longer for the lock than these take.
pub(super) const BATCH: usize = 200;

impl Console {
    /// Runs `act` on each of `ids`, some in a transaction. What was judged is in `verdicts`, also after an error, and has
    /// happened. A row whose checks were switched off may break them now: then it is refused, alone, and the transaction is begun
    /// anew without it.
    pub(super) async fn each(
        &mut self,
        ids: &[i64],
        verdicts: &mut Vec<Verdict>,
        act: impl AsyncFn(&mut SqliteConnection, i64) -> Result<Result<Record, Refusal>, sqlx::Error>,
    ) -> Result<(), Error> {
        for batch in ids.chunks(BATCH) {
            let mut refused: HashMap<i64, Refusal> = HashMap::new();
            loop {
                let mut at = None;
                let judged = self.write(async |connection| {
                    let mut judged = Vec::with_capacity(batch.len());
                    for &id in batch {
                        let done = match refused.get(&id) {
                            Some(refusal) => Err(refusal.clone()),
                            None => {
                                at = Some(id);
                                act(connection, id).await?
                            }
                        };
                        judged.push(Verdict { id, done });
                    }
                    at = None;
                    Ok(judged)
                });
                match (judged.await, at) {
                    (Ok(judged), _) => {
                        verdicts.extend(judged);
                        break;
                    }
                    (Err(Error::Refused(why)), Some(id)) => {
                        refused.insert(id, self.refusal(id, &why).await?);
                    }
                    (Err(error), _) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// What is said of a request that the schema refuses to have changed.
    async fn refusal(&mut self, id: i64, why: &str) -> Result<Refusal, Error> {
        let standing = Standing::read(&mut self.connection, id).await;
        let standing = standing.map_err(|error| judge(&self.path, error))?;
        Ok(standing
            .map_or_else(|none| none, |standing| standing.refuse(format!("the schema refuses it: {why}"))))
    }

    /// Runs `work` in one transaction. Only what its COMMIT confirms has happened. Its first error ends it: SQLite may have
    /// undone it already, and what came after would be stored by itself. The connection is not used again.
    pub(super) async fn write<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Error> {
        let written = async {
            let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
            let done = work(&mut transaction).await?;
            transaction.commit().await?;
            Ok(done)
        };
        match written.await {
            Ok(done) => Ok(done),
            Err(error) => {
                let error = judge(&self.path, error);
                // If that fails too, the next use of the old one says why.
                if let Ok(another) = SqliteConnection::connect_with(&self.options).await {
                    self.connection = another;
                }
                Err(error)
            }
        }
    }
}

/// A request, with what the table knows of its trigger.
pub(super) struct Standing(Record);

impl Standing {
    /// The request `id`; a refusal if there is none.
    pub(super) async fn read(
        connection: &mut SqliteConnection,
        id: i64,
    ) -> Result<Result<Self, Refusal>, sqlx::Error> {
        let found =
            records(connection, include_str!("../sqlite/console_standing.sql"), &[Cell::Int(id)]).await?;
        let none = || Refusal {
            state: None,
            why: "there is none: it was never inserted, or retention has deleted it; see `triggerd list`"
                .to_owned(),
        };
        Ok(found.into_iter().next().map(Self).ok_or_else(none))
    }

    /// Runs a statement whose first values are the id, the state and the attempt that were read.
    pub(super) async fn update(
        &self,
        connection: &mut SqliteConnection,
        sql: &'static str,
        values: &[Cell],
    ) -> Result<Result<(), Refusal>, sqlx::Error> {
        let guards = ["id", "state", "attempt"].map(|column| self.get(column).clone());
        match records(connection, sql, &[&guards, values].concat()).await?.len() {
            1 => Ok(Ok(())),
            _ => Ok(Err(self.refuse("it has changed meanwhile: try again"))),
        }
    }

    pub(super) fn get(&self, column: &str) -> &Cell {
        self.0.get(column)
    }

    pub(super) fn id(&self) -> i64 {
        self.0.int("id").unwrap_or_default()
    }

    pub(super) fn state(&self) -> &str {
        self.0.text("state").unwrap_or_default()
    }

    pub(super) fn text(&self, column: &str) -> Option<&str> {
        self.0.text(column)
    }

    /// Whether a column that is 0 or 1 is 1.
    pub(super) fn is(&self, column: &str) -> bool {
        self.0.int(column) == Some(1)
    }

    pub(super) fn has(&self, column: &str) -> bool {
        *self.get(column) != Cell::Null
    }

    pub(super) fn mode(&self, column: &str) -> Option<CallMode> {
        self.text(column)?.parse().ok()
    }

    pub(super) fn refuse(&self, why: impl Into<String>) -> Refusal {
        Refusal { state: self.text("state").map(str::to_owned), why: why.into() }
    }

    /// `failed (job_faulted)`.
    pub(super) fn ending(&self) -> String {
        let code = self.text("error_code").map(|code| format!(" ({code})")).unwrap_or_default();
        format!("{}{code}", self.state())
    }

    /// A limit that still holds in what begins `now`; NULL if it has passed.
    pub(super) fn limit(&self, column: &str, now: UnixMillis) -> Cell {
        match self.get(column) {
            Cell::Int(at) if *at <= now.0 => Cell::Null,
            limit => limit.clone(),
        }
    }

    /// The producer's own deadline, if it still holds. One that was counted from the first firing belongs to what is over;
    /// the memory of the round says so.
    pub(super) fn own_deadline(&self, now: UnixMillis) -> Cell {
        let memory = self.text("progress").and_then(|text| serde_json::from_str::<Memory>(text).ok());
        if memory.is_some_and(|memory| memory.counted_deadline) {
            Cell::Null
        } else {
            self.limit("deadline_at", now)
        }
    }
}
