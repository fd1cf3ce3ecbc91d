//! The writer: one task, one connection, never cancelled.
//!
//! A commit is not put under a timeout or in a `select!`: dropping it does not undo it. Every write runs inside
//! `BEGIN IMMEDIATE` and counts only after a COMMIT that answered well, since a statement with RETURNING reports success
//! before its own commit has failed. After any error the connection is thrown away: sqlx takes it for being inside a
//! transaction for good.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot, watch};

use super::aftermath::{self, Followed, Hooks};
use super::care::{Care, Over};
use super::flights::{Author, Flights, Record};
use super::keys::Keys;
use super::plans::register_plans;
use super::prune::{Step, Walk, prune_some};
use super::shape::Shape;
use super::{
    Options, START_BUSY_TIMEOUT, explain, intake, modes, primary_code, rates, scheduling, schema, statements,
};
use crate::clock::UnixMillis;
use crate::invocation::Phase;
use crate::queue::{
    Batch, Change, Committed, Condition, Deleted, Error, Failed, Recovered, Retention, Return, Settled,
};
use crate::schedule::Plans;
use crate::trigger::Trigger;

/// SQLITE_IOERR.
const IO_ERROR: i64 = 10;

/// What the writer is asked to do.
pub(super) enum Command {
    Start {
        triggers: Vec<Arc<Trigger>>,
        now: UnixMillis,
        reply: oneshot::Sender<Result<Recovered, Error>>,
    },
    Register {
        triggers: Vec<Arc<Trigger>>,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    Commit {
        batch: Box<Batch>,
        reply: oneshot::Sender<Result<Committed, Box<Failed>>>,
    },
    Prune {
        retention: Retention,
        now: UnixMillis,
        limit: u64,
        reply: oneshot::Sender<Result<Deleted, Error>>,
    },
    Settle {
        plans: Option<Arc<Plans>>,
        now: UnixMillis,
        reply: oneshot::Sender<Result<Settled, Error>>,
    },
    Changed {
        reply: oneshot::Sender<Result<bool, Error>>,
    },
    Close(oneshot::Sender<()>),
}

impl Command {
    /// Answers that nothing is done any more; what needs no table comes back.
    fn refuse(self, error: Error) -> Option<Self> {
        // An answer that nobody waits for is dropped.
        match self {
            Self::Start { reply, .. } => drop(reply.send(Err(error))),
            Self::Register { reply, .. } => drop(reply.send(Err(error))),
            Self::Commit { batch, reply } => drop(reply.send(Err(Box::new(Failed { error, batch: *batch })))),
            Self::Prune { reply, .. } => drop(reply.send(Err(error))),
            Self::Settle { reply, .. } => drop(reply.send(Err(error))),
            Self::Changed { reply } => drop(reply.send(Err(error))),
            close @ Self::Close(_) => return Some(close),
        }
        None
    }
}

pub(super) struct Writer {
    options: Options,
    care: Care,
    /// Why the table is not used any more, if it is not.
    over: Option<Over>,
    connection: Option<SqliteConnection>,
    /// `data_version` at the last survey, of this connection; `None` before the first.
    surveyed: Option<i64>,
    /// Where the pass of retention is.
    walk: Walk,
    /// The triggers of the configuration.
    triggers: Vec<Arc<Trigger>>,
    /// Whether they are others than at the last sign of life.
    configured: bool,
    keys: Keys,
    /// When the daemon started: what its schedules say of times before came while none ran.
    since: UnixMillis,
    /// Of the configuration that was registered last.
    hooks: Arc<Hooks>,
    flights: Arc<Flights>,
    /// Keeps other daemons out for as long as this one lives.
    _lock: File,
}

/// Firings, by id and attempt.
type Firings = Vec<(i64, u32)>;

/// Which of the rows that are `triggering` at the start are in doubt, and which were surely never sent: those that the
/// record of the start before this one does not name.
fn judge(records: Vec<Record>, installation: &str, epoch: i64, triggering: Firings) -> (Firings, Firings) {
    let before = Author::new(installation, epoch - 1);
    match records.into_iter().find(|record| before.as_ref() == Some(&record.author)) {
        Some(record) => {
            let left: HashSet<_> = record.left.into_iter().collect();
            triggering.into_iter().partition(|firing| left.contains(firing))
        }
        None => (triggering, Vec::new()),
    }
}

impl Writer {
    pub(super) fn new(
        options: Options,
        flights: Arc<Flights>,
        lock: File,
        expected: Shape,
        told: watch::Sender<Condition>,
    ) -> Self {
        let care = Care::new(&options, expected, told);
        Self {
            options,
            care,
            over: None,
            connection: None,
            surveyed: None,
            walk: Walk::default(),
            triggers: Vec::new(),
            configured: false,
            keys: Keys::new(),
            since: UnixMillis(0),
            hooks: Arc::default(),
            flights,
            _lock: lock,
        }
    }

    /// Serves until closed. An answer that nobody waits for any more is dropped; what it told is stored all the same.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while let Some(mut command) = inbox.recv().await {
            self.tend(&mut command).await;
            if let Some(over) = &self.over {
                match command.refuse(over.error()) {
                    Some(close) => command = close,
                    None => continue,
                }
            }
            match command {
                Command::Start { triggers, now, reply } => {
                    let answer = self.start(&triggers, now).await;
                    self.care.soon();
                    let _ = reply.send(self.checked("start", answer));
                }
                Command::Register { triggers, reply } => {
                    let answer = self.register(&triggers).await;
                    let _ = reply.send(self.checked("register the triggers", answer));
                }
                Command::Commit { batch, reply } => {
                    let answer = self.write(&batch).await;
                    let _ = reply.send(
                        self.checked("commit", answer)
                            .map_err(|error| Box::new(Failed { error, batch: *batch })),
                    );
                }
                Command::Prune { retention, now, limit, reply } => {
                    let answer = self.prune(&retention, now, limit).await;
                    let _ = reply.send(self.checked("delete what is past its time", answer));
                }
                Command::Settle { plans, now, reply } => {
                    let answer = self.settle(plans.as_deref(), now).await;
                    let _ = reply.send(self.checked("settle schedules", answer));
                }
                Command::Changed { reply } => {
                    let answer = self.changed().await;
                    let _ = reply.send(self.checked("look for changes", answer));
                }
                Command::Close(done) => {
                    match self.connection.take() {
                        Some(connection) if self.over.is_none() => {
                            if let Err(e) = self.part(connection).await {
                                tracing::warn!(error = %e, "closing the database failed");
                            }
                        }
                        left => std::mem::forget(left),
                    }
                    // Whoever is told may open the file again at once.
                    drop(self);
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    /// The last thing that a connection does.
    async fn part(&self, mut connection: SqliteConnection) -> Result<(), sqlx::Error> {
        if !self.care.is_full() {
            statements::optimize(&mut connection).await?;
        }
        connection.close().await
    }

    /// Sees to what is around the table, and whether it may still be used.
    async fn tend(&mut self, command: &mut Command) {
        if self.over.is_none() {
            let found = self.care.look(self.connection.as_mut()).await;
            // An error here is met again by the command.
            self.over = self.checked("look after the database", found).ok().flatten();
            if let Some(Over::Replaced(what)) = &self.over {
                let mut what = what.clone();
                if let Some(copy) = self.last_words(command).await {
                    what.push_str(&format!("; they were copied to {}", copy.display()));
                }
                self.over = Some(Over::Replaced(what));
            }
        } else if matches!(command, Command::Commit { .. }) {
            // It was on its way when the end was found.
            self.store_last(command).await;
        }
    }

    /// The file is not where it was any more, or others have begun a log of their own on it. What has come back is stored all
    /// the same, where we have it. Then the connection is left open for as long as the process lives: at its end SQLite would
    /// move the log into the file, and remove it by a name that may be somebody else's by now.
    async fn last_words(&mut self, command: &mut Command) -> Option<PathBuf> {
        let severed = self.care.is_severed();
        self.store_last(command).await;
        let copied = if severed || self.care.is_deleted() { self.rescue().await } else { None };
        if severed {
            // What is in the file is older than what was fired by it.
            if let Err(error) = self.flights.outlive() {
                tracing::error!(%error, "the next start is not kept from the older rows: {error}");
            }
            std::mem::forget(self.connection.take());
        }
        copied
    }

    /// Stores what has come back, and moves all that belongs to the file out of its write-ahead log, whose name is another
    /// file's now; unless others are writing to the same file.
    async fn store_last(&mut self, command: &mut Command) {
        let Some(connection) = self.connection.as_mut() else { return };
        let severed = self.care.is_severed();
        if severed && sqlx::query("PRAGMA wal_autocheckpoint = 0").execute(&mut *connection).await.is_err() {
            std::mem::forget(self.connection.take());
            return;
        }
        let mut stored = Ok(());
        if let Command::Commit { batch, .. } = command {
            batch.look = None;
            // What could not be stored is in the log, as far as its requests are.
            stored = self.write(batch).await.map(drop);
        }
        if stored.is_ok()
            && !severed
            && let Some(connection) = self.connection.as_mut()
        {
            stored = statements::checkpoint(connection).await;
        }
        if let Err(error) = stored {
            tracing::error!(%error, "what came back last cannot be stored: {error}");
            std::mem::forget(self.connection.take());
        }
    }

    /// Copies all that we see.
    async fn rescue(&mut self) -> Option<PathBuf> {
        let named = |suffix: String| {
            let mut name = self.options.path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let more = (2..).map(|n| named(format!(".rescued-{n}")));
        let path = std::iter::once(named(".rescued".to_owned())).chain(more).find(|path| !path.exists())?;
        let connection = self.connection.as_mut()?;
        let copied = match modes::open_or_create(&path) {
            Ok(_) => schema::copy(connection, &path).await,
            Err(e) => Err(e.into()),
        };
        match copied {
            Ok(()) => Some(path),
            Err(error) => {
                tracing::error!(%error, "the database cannot be copied to {}: {error}", path.display());
                None
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
            self.keys.sweep_anew();
            self.care.failed(&e);
            explain(what, e)
        })
    }

    async fn connect(&mut self) -> Result<(), sqlx::Error> {
        if self.connection.is_none() {
            self.connection = Some(SqliteConnection::connect_with(&self.options.writing()).await?);
            self.surveyed = None;
        }
        Ok(())
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        self.connect().await?;
        Ok(self.connection.as_mut().expect("it was just made"))
    }

    async fn start(&mut self, triggers: &[Arc<Trigger>], now: UnixMillis) -> Result<Recovered, sqlx::Error> {
        self.since = now;
        let records = Record::all(&self.options.path);
        // Synced whatever the configuration says: the epoch in the table must never be behind the one in the record.
        let hasty = Options { full: true, ..self.options.clone() };
        let hasty = hasty.writing().busy_timeout(START_BUSY_TIMEOUT);
        self.connection = Some(SqliteConnection::connect_with(&hasty).await?);
        self.register(triggers).await?;
        let flights = Arc::clone(&self.flights);
        let connection = self.connection().await?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let (instance_id, epoch) = statements::start(&mut tx, now).await?;
        statements::forget_status(&mut tx, true).await?;
        statements::endings_found(&mut tx).await?;
        let triggering = statements::triggering(&mut tx).await?;
        let waiting = statements::waiting(&mut tx).await?;
        let (doubtful, unsent) = judge(records, &instance_id, epoch, triggering);
        flights.prepare(Author::new(&instance_id, epoch).as_ref(), &doubtful)?;
        tx.commit().await?;
        flights.begin();
        let full = self.options.full;
        let connection = self.connection().await?;
        statements::usual_busy_timeout(connection).await?;
        if !full {
            statements::sync(connection, false).await?;
        }
        let id = |(id, _): (i64, u32)| id;
        let (interrupted, unsent) =
            (doubtful.into_iter().map(id).collect(), unsent.into_iter().map(id).collect());
        Ok(Recovered { instance_id, epoch, interrupted, unsent, waiting })
    }

    async fn register(&mut self, triggers: &[Arc<Trigger>]) -> Result<(), sqlx::Error> {
        triggers.clone_into(&mut self.triggers);
        self.configured = true;
        self.keys.configure(triggers);
        statements::register(self.connection().await?, triggers).await?;
        self.hooks = Arc::new(Hooks::of(triggers));
        Ok(())
    }

    async fn prune(
        &mut self,
        retention: &Retention,
        now: UnixMillis,
        limit: u64,
    ) -> Result<Deleted, sqlx::Error> {
        // The next pass begins anew after one that fails.
        let mut walk = std::mem::take(&mut self.walk);
        // What is deleted must be written down first.
        if self.care.is_full() {
            return Ok(Deleted::default());
        }
        let Step { pruned, more, ended } =
            prune_some(self.connection().await?, retention, now, limit, &mut walk).await?;
        self.walk = walk;
        if ended {
            // It is for a survey to see what follows, and our own commits look like none.
            self.surveyed = None;
        }
        Ok(Deleted { rows: pruned.requests + pruned.outputs, more })
    }

    async fn settle(&mut self, plans: Option<&Plans>, now: UnixMillis) -> Result<Settled, sqlx::Error> {
        let since = self.since;
        let connection = self.connection().await?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(plans) = plans {
            register_plans(&mut tx, plans, now).await?;
        }
        let settled = scheduling::settle(&mut tx, since, now).await?;
        tx.commit().await?;
        Ok(settled)
    }

    async fn changed(&mut self) -> Result<bool, sqlx::Error> {
        let version = statements::data_version(self.connection().await?).await?;
        Ok(self.surveyed != Some(version))
    }

    async fn write(&mut self, batch: &Batch) -> Result<Committed, sqlx::Error> {
        let surveyed = self.surveyed;
        // With each sign of life all that was committed before reaches the disk, whatever the configuration says.
        let syncs = batch.sign.is_some() && !self.options.full;
        let (hooks, is_full) = (Arc::clone(&self.hooks), self.care.is_full());
        self.connect().await?;
        let connection = self.connection.as_mut().expect("it was just made");
        let keys = &mut self.keys;
        if syncs {
            statements::sync(connection, true).await?;
        }
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let (mut out, mut followed) = (Committed::default(), Followed::default());
        let mut ended: Vec<i64> = Vec::new();
        let mut ended_at = None;
        // First: a row that is still handed over takes no change.
        if !batch.taken_over.is_empty() {
            statements::take_handovers(&mut tx, &batch.taken_over).await?;
        }
        if !batch.changes.is_empty() {
            let stored: HashSet<i64> =
                statements::record(&mut tx, &batch.changes).await?.into_iter().collect();
            let stored_changes = || batch.changes.iter().filter(|change| stored.contains(&change.next.id));
            let firings = stored_changes().filter_map(|Change { next, attempt, .. }| {
                attempt.as_ref().map(|end| (next, next.attempt, end))
            });
            statements::attempts(&mut tx, firings).await?;
            statements::outputs(&mut tx, stored_changes()).await?;
            let left = stored_changes().map(|change| &change.next);
            let left = left.filter(|next| matches!(next.phase, Phase::Pending | Phase::Finished(_)));
            let left: Vec<_> = left.map(|next| next.id).collect();
            keys.left(&mut tx, &left, batch.now, &mut out).await?;
            let finished = stored_changes().filter(|change| change.finished_at.is_some());
            ended.extend(finished.clone().map(|change| change.next.id));
            ended_at = finished.filter_map(|change| change.finished_at).max();
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
            let given: Vec<_> = given.into_iter().collect();
            keys.left(&mut tx, &given, batch.now, &mut out).await?;
        }
        if !batch.spoiled.is_empty() {
            out.spoiled = statements::spoil(&mut tx, &batch.spoiled).await?;
            keys.left(&mut tx, &out.spoiled.clone(), batch.now, &mut out).await?;
            ended.extend(&out.spoiled);
        }
        // A clock that was set back makes no end earlier. Before the look, which finds what it lets go.
        let now = ended_at.map_or(batch.now, |at| batch.now.max(at));
        if !ended.is_empty() && is_full {
            aftermath::note(&mut tx, &hooks, &ended, &mut followed).await?;
        } else if !ended.is_empty() {
            aftermath::follow(&mut tx, &hooks, &ended, now, &mut followed).await?;
        }
        for (trigger, why) in &batch.pauses {
            statements::pause(&mut tx, trigger, why).await?;
        }
        let mut version = None;
        if let Some(look) = &batch.look {
            // Inside the write lock: what this look sees is what this version says.
            version = Some(statements::data_version(&mut tx).await?);
            out.foreign = version != surveyed;
            if look.survey {
                aftermath::catch_up(&mut tx, &hooks, look.now, &mut followed).await?;
                keys.left(&mut tx, &std::mem::take(&mut followed.noted), look.now, &mut out).await?;
            }
            intake::look(&mut tx, look, keys, &mut out).await?;
            if !out.rejected.is_empty() {
                let rejected: Vec<i64> = out.rejected.iter().map(|(id, _)| *id).collect();
                aftermath::follow(&mut tx, &hooks, &rejected, look.now, &mut followed).await?;
            }
        }
        followed.tell(&mut out);
        let over = out.cancelled.iter().chain(&out.rejected).map(|(id, _)| *id);
        keys.left(&mut tx, &over.collect::<Vec<_>>(), batch.now, &mut out).await?;
        if let Some(status) = &batch.status {
            statements::status(&mut tx, status).await?;
        }
        if let Some(sign) = batch.sign {
            statements::sign(&mut tx, sign).await?;
            let triggers = self.triggers.iter().map(Arc::as_ref);
            rates::forget(&mut tx, triggers, sign.now, std::mem::take(&mut self.configured)).await?;
        }
        tx.commit().await?;
        if syncs {
            statements::sync(connection, false).await?;
        }
        self.care.stored();
        if batch.look.as_ref().is_some_and(|look| look.survey) {
            self.surveyed = version;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::invocation::{Invocation, Outcome, Output};
    use crate::queue::{Change, Sign};
    use crate::trigger::Hook;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    /// A writer on a database with a row that is being fired.
    async fn firing(folder: &tempfile::TempDir) -> Writer {
        let options = Options { path: folder.path().join("queue.db"), full: true, checkpoint: true };
        let triggers = [Arc::new(Trigger::new("t", Url::parse("https://api.example/").unwrap()))];
        schema::migrate(&options, &triggers).await.unwrap();
        let lock = super::super::lock(&options.path).await.unwrap();
        let expected = schema::expected().await.unwrap();
        let flights = Arc::new(Flights::new(&options.path));
        let mut writer = Writer::new(options, flights, lock, expected, watch::Sender::default());
        writer.start(&triggers, NOW).await.unwrap();
        let sql = "INSERT INTO requests (trigger_name) VALUES ('t'); UPDATE requests SET state = 'triggering', attempt = 1";
        sqlx::raw_sql(sql).execute(writer.connection().await.unwrap()).await.unwrap();
        writer
    }

    /// From now on this connection finds no room for more pages than there are.
    async fn fill(writer: &mut Writer) {
        let connection = writer.connection().await.unwrap();
        sqlx::query("PRAGMA max_page_count = 1").fetch_all(connection).await.unwrap();
    }

    /// The end of the row, with an output that needs pages, and a sign of life.
    fn done() -> Batch {
        let phase = Phase::Finished(Outcome::Succeeded);
        let next = Invocation { attempt: 1, phase, ..Invocation::pending(1) };
        let output =
            Output { body: vec![b'x'; 1 << 20], content_type: None, bytes: 1 << 20, truncated: false };
        let change = Change {
            from: "triggering",
            next,
            due_at: None,
            finished_at: Some(NOW),
            attempt: None,
            output: Some(output),
        };
        let sign =
            Some(Sign { now: NOW.plus(std::time::Duration::from_secs(60)), ready: true, stopped: false });
        Batch { changes: vec![change], sign, ..Batch::default() }
    }

    /// The row's state, the number of outputs, and the last sign of life.
    async fn stored(writer: &mut Writer) -> (String, i64, i64) {
        let sql = "SELECT state, (SELECT count(*) FROM outputs), (SELECT seen_at FROM daemon) FROM requests";
        sqlx::query_as(sql).fetch_one(writer.connection().await.unwrap()).await.unwrap()
    }

    /// In sqlx an `UPDATE ... RETURNING` by itself says that it is done although its commit has failed.
    #[tokio::test]
    async fn no_success_is_told_of_a_write_that_found_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = firing(&folder).await;
        fill(&mut writer).await;
        let answer = writer.write(&done()).await;
        let error = writer.checked("commit", answer).unwrap_err();
        assert!(
            matches!(&error, Error::Unavailable { source: Some(e), .. } if super::super::code(e) == Some(13)),
            "{error}"
        );
        assert_eq!(stored(&mut writer).await, ("triggering".to_owned(), 0, NOW.0));
    }

    /// sqlx takes a connection whose COMMIT has failed for one inside a transaction, for good.
    #[tokio::test]
    async fn a_full_disk_does_not_spoil_the_writer_for_later() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = firing(&folder).await;
        for _ in 0..3 {
            fill(&mut writer).await;
            let answer = writer.write(&done()).await;
            assert!(writer.checked("commit", answer).is_err());
            assert!(writer.care.is_full(), "nothing new is begun meanwhile");
        }
        // Another connection, which finds room.
        writer.write(&done()).await.unwrap();
        assert_eq!(stored(&mut writer).await.0, "succeeded");
    }

    /// SQLite ends a transaction that finds no room, and each statement that followed would be stored by itself.
    #[tokio::test]
    async fn nothing_is_stored_of_what_follows_an_error_inside_a_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = firing(&folder).await;
        fill(&mut writer).await;
        let answer = writer.write(&done()).await;
        // The output fails; the state comes before it, and the sign of life after it.
        assert!(writer.checked("commit", answer).is_err());
        assert!(writer.connection.is_none(), "a connection that saw an error is not used again");
        assert_eq!(stored(&mut writer).await, ("triggering".to_owned(), 0, NOW.0));
    }

    /// The answer to a commit may be lost; then all of it is written again.
    #[tokio::test]
    async fn what_follows_from_an_end_that_is_written_twice_follows_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = firing(&folder).await;
        let trigger = |name: &str| Trigger::new(name, Url::parse("https://api.example/").unwrap());
        let hook = Hook { trigger: "u".to_owned(), states: vec!["succeeded"] };
        let triggers = [Arc::new(Trigger { on_end: vec![hook], ..trigger("t") }), Arc::new(trigger("u"))];
        writer.register(&triggers).await.unwrap();
        assert_eq!(writer.write(&done()).await.unwrap().released, ["u"]);
        let again = writer.write(&done()).await.unwrap();
        assert_eq!((again.released.len(), again.lost), (0, vec![1]));
        let count = sqlx::query_scalar("SELECT count(*) FROM requests WHERE trigger_name = 'u'");
        let count: i64 = count.fetch_one(writer.connection().await.unwrap()).await.unwrap();
        assert_eq!(count, 1);
    }
}
