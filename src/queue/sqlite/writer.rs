//! The writer: one task, one connection, never cancelled.
//!
//! A commit is not put under a timeout or in a `select!`: dropping it does not undo it. Every write runs inside
//! `BEGIN IMMEDIATE` and counts only after a COMMIT that answered well, since a statement with RETURNING reports success
//! before its own commit has failed. After any error the connection is thrown away: sqlx takes it for being inside a
//! transaction for good.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use super::flights::{Author, Flights, Record};
use super::prune::prune_some;
use super::{Options, START_BUSY_TIMEOUT, explain, intake, primary_code, statements};
use crate::clock::UnixMillis;
use crate::queue::{Batch, Change, Committed, Error, Failed, Recovered, Retention, Return};
use crate::trigger::Trigger;

/// SQLITE_IOERR.
const IO_ERROR: i64 = 10;
/// [`super::BUSY_TIMEOUT`], for a connection that was opened with another one.
const USUAL_BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 10000";
/// The same for a database that is not to be synced at each commit.
const USUAL_SYNCHRONOUS: &str = "PRAGMA synchronous = NORMAL";

/// What the writer is asked to do.
pub(super) enum Command {
    Start { triggers: Vec<Arc<Trigger>>, now: UnixMillis, reply: oneshot::Sender<Result<Recovered, Error>> },
    Register { triggers: Vec<Arc<Trigger>>, reply: oneshot::Sender<Result<(), Error>> },
    Commit { batch: Batch, reply: oneshot::Sender<Result<Committed, Box<Failed>>> },
    Prune { retention: Retention, now: UnixMillis, reply: oneshot::Sender<Result<u64, Error>> },
    Changed { reply: oneshot::Sender<Result<bool, Error>> },
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    options: Options,
    connection: Option<SqliteConnection>,
    /// `data_version` at the last survey, of this connection; `None` before the first.
    surveyed: Option<i64>,
    flights: Arc<Flights>,
    /// Keeps other daemons out for as long as this one lives.
    _lock: File,
}

/// Firings, by id and attempt.
type Firings = Vec<(i64, u32)>;

/// Which of the rows that are `triggering` at the start are in doubt, and which were surely never sent: those that the
/// record of the start before this one does not name.
fn judge(record: Option<Record>, installation: &str, epoch: i64, triggering: Firings) -> (Firings, Firings) {
    let before = Author::new(installation, epoch - 1);
    match record {
        Some(record) if before.as_ref() == Some(&record.author) => {
            let left: HashSet<_> = record.left.into_iter().collect();
            triggering.into_iter().partition(|firing| left.contains(firing))
        }
        _ => (triggering, Vec::new()),
    }
}

impl Writer {
    pub(super) const fn new(options: Options, flights: Arc<Flights>, lock: File) -> Self {
        Self { options, connection: None, surveyed: None, flights, _lock: lock }
    }

    /// Serves until closed. An answer that nobody waits for any more is dropped; what it told is stored all the same.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Start { triggers, now, reply } => {
                    let answer = self.start(&triggers, now).await;
                    let _ = reply.send(self.checked("start", answer));
                }
                Command::Register { triggers, reply } => {
                    let answer = self.register(&triggers).await;
                    let _ = reply.send(self.checked("register the triggers", answer));
                }
                Command::Commit { batch, reply } => {
                    let answer = self.write(&batch).await;
                    let _ = reply.send(
                        self.checked("commit", answer).map_err(|error| Box::new(Failed { error, batch })),
                    );
                }
                Command::Prune { retention, now, reply } => {
                    let answer = self.prune(&retention, now).await;
                    let _ = reply.send(self.checked("delete what is past its time", answer));
                }
                Command::Changed { reply } => {
                    let answer = self.changed().await;
                    let _ = reply.send(self.checked("look for changes", answer));
                }
                Command::Close(done) => {
                    if let Some(connection) = self.connection.take()
                        && let Err(e) = connection.close().await
                    {
                        tracing::warn!(error = %e, "closing the database failed");
                    }
                    // Whoever is told may open the file again at once.
                    drop(self);
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    /// The connection is only kept while nothing went wrong on it.
    fn checked<T>(&mut self, what: &str, answer: Result<T, sqlx::Error>) -> Result<T, Error> {
        answer.map_err(|e| {
            // On a disk that fails, what was noted may be gone too.
            if primary_code(&e) == Some(IO_ERROR)
                && let Err(error) = self.flights.void(&e)
            {
                tracing::error!(%error, "{error}");
            }
            self.connection = None;
            self.surveyed = None;
            explain(what, e)
        })
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        if self.connection.is_none() {
            self.connection = Some(SqliteConnection::connect_with(&self.options.writing()).await?);
            self.surveyed = None;
        }
        Ok(self.connection.as_mut().expect("it was just made"))
    }

    async fn start(&mut self, triggers: &[Arc<Trigger>], now: UnixMillis) -> Result<Recovered, sqlx::Error> {
        let record = Record::read(&self.options.path);
        // Synced whatever the configuration says: the epoch in the table must never be behind the one in the record.
        let hasty = Options { full: true, ..self.options.clone() };
        let hasty = hasty.writing().busy_timeout(START_BUSY_TIMEOUT);
        self.connection = Some(SqliteConnection::connect_with(&hasty).await?);
        self.register(triggers).await?;
        let connection = self.connection().await?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let (instance_id, epoch) = statements::start(&mut tx, now).await?;
        statements::forget_status(&mut tx, true).await?;
        let triggering = statements::triggering(&mut tx).await?;
        let waiting = statements::waiting(&mut tx).await?;
        tx.commit().await?;
        let (doubtful, unsent) = judge(record, &instance_id, epoch, triggering);
        // At once: until the record of this start is there, there is none.
        self.flights.begin(Author::new(&instance_id, epoch).as_ref(), &doubtful);
        let full = self.options.full;
        let connection = self.connection().await?;
        sqlx::query(USUAL_BUSY_TIMEOUT).execute(&mut *connection).await?;
        if !full {
            sqlx::query(USUAL_SYNCHRONOUS).execute(connection).await?;
        }
        let id = |(id, _): (i64, u32)| id;
        let (interrupted, unsent) =
            (doubtful.into_iter().map(id).collect(), unsent.into_iter().map(id).collect());
        Ok(Recovered { instance_id, epoch, interrupted, unsent, waiting })
    }

    async fn register(&mut self, triggers: &[Arc<Trigger>]) -> Result<(), sqlx::Error> {
        statements::register(self.connection().await?, triggers).await
    }

    async fn prune(&mut self, retention: &Retention, now: UnixMillis) -> Result<u64, sqlx::Error> {
        let pruned = prune_some(self.connection().await?, retention, now).await?;
        Ok(pruned.requests + pruned.outputs)
    }

    async fn changed(&mut self) -> Result<bool, sqlx::Error> {
        let version = statements::data_version(self.connection().await?).await?;
        Ok(self.surveyed != Some(version))
    }

    async fn write(&mut self, batch: &Batch) -> Result<Committed, sqlx::Error> {
        let surveyed = self.surveyed;
        let connection = self.connection().await?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut out = Committed::default();
        // First: a row that is still handed over takes no change.
        if !batch.taken_over.is_empty() {
            statements::take_handovers(&mut tx, &batch.taken_over).await?;
        }
        if !batch.changes.is_empty() {
            let stored: HashSet<i64> =
                statements::record(&mut tx, &batch.changes).await?.into_iter().collect();
            let stored_changes = || batch.changes.iter().filter(|change| stored.contains(&change.next.id));
            let ended = stored_changes().filter_map(|Change { next, attempt, .. }| {
                attempt.as_ref().map(|end| (next, next.attempt, end))
            });
            statements::attempts(&mut tx, ended).await?;
            statements::outputs(&mut tx, stored_changes()).await?;
            out.lost
                .extend(batch.changes.iter().map(|change| change.next.id).filter(|id| !stored.contains(id)));
        }
        if !batch.polled.is_empty() {
            statements::polled(&mut tx, &batch.polled).await?;
        }
        if !batch.returned.is_empty() {
            let given: HashSet<i64> =
                statements::give_back(&mut tx, &batch.returned).await?.into_iter().collect();
            let unsent = batch.returned.iter().filter(|returned| given.contains(&returned.before.id));
            let unsent = unsent.filter_map(|Return { before, unsent, .. }| {
                unsent.as_ref().map(|end| (before, before.attempt + 1, end))
            });
            statements::attempts(&mut tx, unsent).await?;
        }
        if !batch.spoiled.is_empty() {
            out.spoiled = statements::spoil(&mut tx, &batch.spoiled).await?;
        }
        let mut version = None;
        if let Some(look) = &batch.look {
            // Inside the write lock: what this look sees is what this version says.
            version = Some(statements::data_version(&mut tx).await?);
            out.foreign = version != surveyed;
            intake::look(&mut tx, look, &mut out).await?;
        }
        if let Some(status) = &batch.status {
            statements::status(&mut tx, status).await?;
        }
        if let Some(sign) = batch.sign {
            statements::sign(&mut tx, sign).await?;
        }
        tx.commit().await?;
        if batch.look.as_ref().is_some_and(|look| look.survey) {
            self.surveyed = version;
        }
        Ok(out)
    }
}
