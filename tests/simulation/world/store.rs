//! The table: one writer, as a file has; what goes wrong with it; and the laws after each commit.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use triggerd::clock::UnixMillis;
use triggerd::invocation::{Outcome, Phase};
use triggerd::queue::{
    Batch, Committed, Condition, Deleted, Error, Failed, Loaded, MemoryRow, Recovered, Retention, Settled,
    Store,
};
use triggerd::schedule::Plans;
use triggerd::trigger::Trigger;

use super::laws::{self, Part};
use super::variants::Variant;
use super::{Shared, World};

/// How likely what goes wrong with the table is, of one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    /// An error, and nothing is stored.
    pub(crate) refused: f64,
    /// An error, and all is stored.
    pub(crate) unknown: f64,
    /// It takes its time.
    pub(crate) slow: f64,
    /// There is no room: most writes fail; what is there can be read.
    pub(crate) full: bool,
    /// A read fails.
    pub(crate) unreadable: f64,
    /// The machine dies before or after.
    pub(crate) crash: f64,
    /// The writer ends.
    pub(crate) ended: f64,
    /// A hint does not come.
    pub(crate) hint_lost: f64,
    /// A hint comes late.
    pub(crate) hint_late: f64,
}

enum Command {
    Start(Vec<Arc<Trigger>>, UnixMillis, oneshot::Sender<Result<Recovered, Error>>),
    Register(Vec<Arc<Trigger>>, oneshot::Sender<Result<(), Error>>),
    Commit(Box<Batch>, oneshot::Sender<Result<Committed, Box<Failed>>>),
    Changed(oneshot::Sender<Result<bool, Error>>),
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stored,
    Refused,
    Unknown,
    Ended,
}

/// The table as one daemon has it.
#[derive(Clone)]
pub(crate) struct SimStore {
    world: Shared,
    daemon: u32,
    writer: mpsc::UnboundedSender<Command>,
}

/// The writer of one daemon; to be spawned.
pub(crate) struct Writer {
    world: Shared,
    daemon: u32,
    inbox: mpsc::UnboundedReceiver<Command>,
}

/// The table for a daemon that begins.
pub(crate) fn open(world: &Shared, daemon: u32) -> (SimStore, Writer) {
    let (writer, inbox) = mpsc::unbounded_channel();
    let store = SimStore { world: Arc::clone(world), daemon, writer };
    (store, Writer { world: Arc::clone(world), daemon, inbox })
}

fn unavailable() -> Error {
    Error::Unavailable { what: "the weather".to_owned(), source: None }
}

impl SimStore {
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        if !self.world.time.turn() {
            std::future::pending::<()>().await;
        }
        self.writer.send(command(answer)).ok()?;
        answered.await.ok()
    }
}

impl Store for SimStore {
    async fn start(&self, triggers: Vec<Arc<Trigger>>, now: UnixMillis) -> Result<Recovered, Error> {
        self.ask(|answer| Command::Start(triggers, now, answer)).await.unwrap_or(Err(Error::Ended))
    }

    async fn register(&self, triggers: Vec<Arc<Trigger>>) -> Result<(), Error> {
        self.ask(|answer| Command::Register(triggers, answer)).await.unwrap_or(Err(Error::Ended))
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, Box<Failed>> {
        let ended = || Err(Box::new(Failed { error: Error::Ended, batch: Batch::default() }));
        self.ask(|answer| Command::Commit(Box::new(batch), answer)).await.unwrap_or_else(ended)
    }

    async fn load(&self, ids: Vec<i64>, now: UnixMillis) -> Result<Loaded, Error> {
        let world = &self.world;
        let (fails, wait) = {
            let weather = world.weather();
            (world.chance(weather.unreadable), world.chance(weather.slow))
        };
        if !world.time.turn() {
            std::future::pending::<()>().await;
        }
        let asked = ids.clone();
        let rows = world.memory.load(ids, now).await;
        // What was read may be old when it comes.
        if wait {
            world.cancel_one_of(&asked);
        }
        world.pause(wait, 2_000).await;
        world.crash_point(self.daemon, world.weather().crash, "read").await;
        if fails {
            world.count("fault", "read failed");
            return Err(unavailable());
        }
        rows
    }

    async fn prune(&self, retention: Retention, now: UnixMillis, limit: u64) -> Result<Deleted, Error> {
        self.world.memory.prune(retention, now, limit).await
    }

    fn condition(&self) -> Condition {
        Condition { is_full: self.world.weather().full, notes: Vec::new() }
    }

    fn note_firing(&self, slot: usize, id: i64, attempt: u32) -> Result<(), Error> {
        let world = &self.world;
        if world.chance(world.weather().refused / 4.0) {
            world.count("fault", "firing not noted");
            return Err(unavailable());
        }
        if world.is(Variant::RecordLies) {
            return Ok(());
        }
        let slot = if world.is(Variant::RecordHasOneSlot) { 0 } else { slot };
        world.memory.note_firing(slot, id, attempt)
    }

    async fn settle(&self, _plans: Option<Arc<Plans>>, _now: UnixMillis) -> Result<Settled, Error> {
        Ok(Settled::default())
    }

    async fn changed(&self) -> Result<bool, Error> {
        self.ask(Command::Changed).await.unwrap_or(Err(Error::Ended))
    }

    async fn hint(&self) {
        loop {
            self.world.memory.hint().await;
            let weather = self.world.weather();
            if self.world.is(Variant::LostWakeUp) || self.world.chance(weather.hint_lost) {
                self.world.count("fault", "hint lost");
                continue;
            }
            if self.world.chance(weather.hint_late) {
                self.world.count("fault", "hint late");
                self.world.time.sleep(self.world.between(1, 3_000)).await;
            }
            return;
        }
    }
}

impl Writer {
    /// Serves until nobody can ask any more: what it was given it ends, also if nobody waits for it.
    pub(crate) async fn run(mut self) {
        while let Some(command) = self.inbox.recv().await {
            let world = Arc::clone(&self.world);
            let (writes, what) = match &command {
                Command::Start(..) => (true, "start"),
                Command::Register(..) => (true, "register"),
                Command::Commit(..) => (true, "commit"),
                Command::Changed(_) => (false, "look"),
            };
            let (fate, slow) = world.fate(writes);
            world.pause(slow, 3_000).await;
            let crash = world.weather().crash;
            world.crash_point(self.daemon, crash, "before storing").await;
            if fate != Fate::Stored {
                world.note(|| format!("{what}: {fate:?}"));
                world.count("fault", format!("{what} {fate:?}").to_lowercase());
            }
            let failed = match fate {
                Fate::Stored => None,
                Fate::Refused | Fate::Unknown => Some(unavailable()),
                Fate::Ended => Some(Error::Ended),
            };
            let stores = matches!(fate, Fate::Stored | Fate::Unknown);
            match command {
                Command::Start(triggers, now, answer) => {
                    let found = if stores { Some(self.start(triggers, now).await) } else { None };
                    self.crash_and_pause("after the start").await;
                    let _ = answer.send(failed.map_or_else(|| found.expect("it is stored"), Err));
                }
                Command::Register(triggers, answer) => {
                    if stores {
                        world.set_active(&triggers);
                        let _ = world.memory.register(triggers).await;
                    }
                    self.crash_and_pause("after registering").await;
                    let _ = answer.send(failed.map_or(Ok(()), Err));
                }
                Command::Commit(batch, answer) => self.commit(*batch, answer, failed, stores).await,
                Command::Changed(answer) => {
                    let changed = world.memory.changed().await;
                    let changed = changed.map(|changed| changed && !world.is(Variant::LostWakeUp));
                    let _ = answer.send(failed.map_or(changed, Err));
                }
            }
            if fate == Fate::Ended {
                return;
            }
        }
    }

    async fn crash_and_pause(&self, place: &'static str) {
        let weather = self.world.weather();
        self.world.crash_point(self.daemon, weather.crash, place).await;
        let slow = self.world.chance(weather.slow);
        self.world.pause(slow, 2_000).await;
    }

    async fn start(&self, triggers: Vec<Arc<Trigger>>, now: UnixMillis) -> Result<Recovered, Error> {
        let world = &self.world;
        world.set_active(&triggers);
        let mut found = world.memory.start(triggers, now).await?;
        found.instance_id = "simulated".to_owned();
        if world.is(Variant::ForgetsWaiting) {
            found.waiting.clear();
        }
        if world.is(Variant::InterruptedAgain) {
            world.memory.edit_unseen(|rows| {
                for id in found.interrupted.iter().chain(&found.unsent) {
                    rows.entry(*id).and_modify(|row| row.taken.invocation.phase = Phase::Pending);
                }
            });
        }
        if world.is(Variant::ForgetsInterrupted) || world.is(Variant::InterruptedAgain) {
            found.interrupted.clear();
            found.unsent.clear();
        }
        if world.is(Variant::ReopensUncertain) {
            world.memory.edit_unseen(|rows| {
                for row in rows.values_mut() {
                    if row.taken.invocation.phase == Phase::Finished(Outcome::Uncertain) {
                        row.taken.invocation.phase = Phase::Pending;
                        row.finished_at = None;
                    }
                }
            });
        }
        for _ in &found.interrupted {
            world.count("start", "interrupted row");
        }
        for _ in &found.unsent {
            world.count("start", "unsent row");
        }
        for _ in &found.waiting {
            world.count("start", "row to poll");
        }
        world.note(|| {
            let waiting: Vec<i64> = found.waiting.iter().map(|row| row.id).collect();
            format!(
                "start {}: interrupted {:?}, unsent {:?}, to be polled {waiting:?}",
                found.epoch, found.interrupted, found.unsent
            )
        });
        let attempt = |id: &i64| Some((*id, world.memory.row(*id)?.taken.invocation.attempt));
        let interrupted: Vec<(i64, u32)> =
            found.interrupted.iter().chain(&found.unsent).filter_map(attempt).collect();
        world.laws().started(interrupted.into_iter());
        Ok(found)
    }

    async fn commit(
        &self,
        batch: Batch,
        answer: oneshot::Sender<Result<Committed, Box<Failed>>>,
        failed: Option<Error>,
        stores: bool,
    ) {
        let world = &self.world;
        if world.is(Variant::AnswersBeforeStored) && failed.is_none() && batch.look.is_none() {
            let _ = answer.send(Ok(Committed::default()));
            self.crash_and_pause("before what is answered is stored").await;
            world.time.sleep(world.between(0, 200)).await;
            apply(world, batch).await;
            return;
        }
        if !stores && world.is(Variant::HalfABatch) {
            world.memory.edit_unseen(|rows| {
                for change in &batch.changes {
                    let row = rows.get_mut(&change.next.id).expect("it is of a row");
                    if row.taken.invocation.phase.as_str() == change.from {
                        row.taken.invocation = change.next.clone();
                        row.taken.due_at = change.due_at;
                        row.finished_at = change.finished_at;
                    }
                }
            });
        }
        let committed = if stores { apply(world, batch.clone()).await } else { Committed::default() };
        if failed.is_some() {
            world.laws().unsure(&committed.intended);
            let changed: Vec<i64> = batch.changes.iter().map(|change| change.next.id).collect();
            world.cancel_one_of(&changed);
        }
        self.crash_and_pause("after storing").await;
        let _ = answer.send(match failed {
            None => Ok(committed),
            Some(Error::Ended) => Err(Box::new(Failed { error: Error::Ended, batch: Batch::default() })),
            Some(error) => Err(Box::new(Failed { error, batch })),
        });
    }
}

impl World {
    /// Somebody cancels a request at the worst of times, sometimes.
    fn cancel_one_of(&self, ids: &[i64]) {
        if ids.is_empty() || !self.chance(0.3) {
            return;
        }
        let id = self.pick(ids);
        let is_open = |row: &MemoryRow| !matches!(row.taken.invocation.phase, Phase::Finished(_));
        if self.memory.row(id).is_some_and(|row| is_open(&row)) {
            self.note(|| format!("cancel {id}"));
            self.memory.edit(|rows| {
                rows.entry(id).and_modify(|row| row.taken.invocation.cancel_requested = true);
            });
        }
    }

    /// What becomes of the next call of the writer, and whether it is slow.
    fn fate(&self, writes: bool) -> (Fate, bool) {
        let weather = self.weather();
        let fate = if (writes && weather.full && self.chance(0.7)) || self.chance(weather.refused) {
            Fate::Refused
        } else if self.chance(weather.unknown) {
            Fate::Unknown
        } else if self.chance(weather.ended) {
            Fate::Ended
        } else {
            Fate::Stored
        };
        (fate, self.chance(weather.slow))
    }
}

/// Stores a batch, in the two parts of which the laws judge each; or what a broken variant makes of it.
async fn apply(world: &Shared, mut batch: Batch) -> Committed {
    let look = batch.look.take();
    let before = world.rows();
    tell(world, &batch);
    for change in &mut batch.changes {
        if world.is(Variant::LosesOutputs) {
            change.output = None;
        }
        if world.is(Variant::LosesAttempts) {
            change.attempt = None;
        }
    }
    if world.is(Variant::NoGuard) {
        world.memory.edit_unseen(|rows| {
            for change in std::mem::take(&mut batch.changes) {
                let row = rows.get_mut(&change.next.id).expect("it is of a row");
                row.taken.invocation = change.next;
                row.taken.due_at = change.due_at;
                row.finished_at = change.finished_at;
                if let Some(end) = change.attempt {
                    row.attempts.push(end);
                }
                row.output = change.output.or(row.output.take());
            }
        });
    }
    if world.is(Variant::NoGuardOnReturn) {
        world.memory.edit_unseen(|rows| {
            for returned in std::mem::take(&mut batch.returned) {
                let row = rows.get_mut(&returned.before.id).expect("it is of a row");
                row.taken.invocation = returned.before;
                row.taken.due_at = returned.due_at;
            }
        });
    }
    if world.is(Variant::UriStoredLate) {
        let (late, now): (Vec<_>, Vec<_>) =
            batch.changes.into_iter().partition(|change| matches!(change.next.phase, Phase::Polling(_)));
        batch.changes = now;
        if !late.is_empty() {
            let world = Arc::clone(world);
            tokio::spawn(async move {
                world.time.sleep(world.between(100, 5_000)).await;
                let _ = world.memory.commit(Batch { changes: late, ..Batch::default() }).await;
            });
        }
    }
    if world.is(Variant::Vanishes) {
        let well = Phase::Finished(Outcome::Succeeded);
        world.memory.edit_unseen(|rows| {
            for change in batch.changes.iter().filter(|change| change.next.phase == well) {
                rows.remove(&change.next.id);
            }
        });
    }
    for (name, why) in &batch.pauses {
        world.note(|| format!("{name} is {why}"));
        world.count("pause", "by the engine");
        world.standing().paused.insert(name.clone());
    }
    let mut out = world.memory.commit(batch).await.unwrap_or_default();
    let between = world.rows();
    laws::stored(world, Part::Changes, &before, &between);
    let Some(mut look) = look else { return out };

    let now = look.now;
    if world.is(Variant::TakesMore) {
        for want in &mut look.wants {
            want.limit = want.limit.saturating_add(2);
        }
    }
    if world.is(Variant::TakesEarly) {
        look.now = look.now.plus(std::time::Duration::from_secs(30));
    }
    let lists = look.list_triggering;
    let looked =
        world.memory.commit(Batch { look: Some(look), ..Batch::default() }).await.unwrap_or_default();
    let lost = std::mem::take(&mut out.lost);
    out = Committed { lost, ..looked };
    if world.is(Variant::HidesTriggering) && lists {
        out.triggering.clear();
    }
    if world.is(Variant::LostWakeUp) {
        out.foreign = false;
    }
    if let Some(survey) = &mut out.survey {
        if world.is(Variant::NeverLate) {
            survey.ending.retain(|row| row.invocation.cancel_requested);
        }
        if world.is(Variant::NeverCancelled) {
            survey.ending.retain(|row| !row.invocation.cancel_requested);
            survey.cancelling.clear();
        }
        if world.is(Variant::ForgetsHandovers) {
            survey.handed_over.clear();
        }
    }
    if world.is(Variant::NoDeadline) || world.is(Variant::NoAttempt) {
        world.memory.edit_unseen(|rows| {
            for taken in &out.intended {
                let row = rows.get_mut(&taken.invocation.id).expect("it was just taken");
                if world.is(Variant::NoDeadline) {
                    row.taken.invocation.deadline_at = taken.invocation.deadline_at;
                } else {
                    row.taken.invocation.attempt = taken.invocation.attempt;
                }
            }
        });
    }
    if world.is(Variant::IntentStoredLate) {
        let mut late = Vec::new();
        world.memory.edit_unseen(|rows| {
            for taken in &out.intended {
                let row = rows.get_mut(&taken.invocation.id).expect("it was just taken");
                late.push(std::mem::replace(&mut row.taken, taken.clone()));
            }
        });
        let world = Arc::clone(world);
        tokio::spawn(async move {
            world.time.sleep(world.between(1, 100)).await;
            world.memory.edit_unseen(|rows| {
                for taken in late {
                    rows.entry(taken.invocation.id).and_modify(|row| row.taken = taken);
                }
            });
        });
    }
    if !out.intended.is_empty() {
        world.note(|| {
            let ids: Vec<i64> = out.intended.iter().map(|row| row.invocation.id).collect();
            format!("intents {ids:?}")
        });
    }
    laws::stored(world, Part::Look(now), &between, &world.rows());
    out
}

fn tell(world: &World, batch: &Batch) {
    if !batch.changes.is_empty() {
        world.note(|| {
            let all: Vec<String> = batch
                .changes
                .iter()
                .map(|change| {
                    let (next, code) = (&change.next, change.next.trouble.as_ref().map(|t| t.code.as_str()));
                    format!("{} {}>{} {}", next.id, change.from, next.phase.as_str(), code.unwrap_or(""))
                })
                .collect();
            format!("changes [{}]", all.join(", "))
        });
    }
    if !batch.returned.is_empty() {
        world.note(|| {
            let ids: Vec<i64> = batch.returned.iter().map(|returned| returned.before.id).collect();
            format!("given back {ids:?}")
        });
    }
    if !batch.polled.is_empty() {
        world.note(|| {
            let ids: Vec<i64> = batch.polled.iter().map(|polled| polled.next.id).collect();
            format!("polled {ids:?}")
        });
    }
}
