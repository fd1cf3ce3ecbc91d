//! The engine: moves rows from the table to the wire and back.
//!
//! One task decides and starts; exchanges run in tasks of their own that know nothing of the table; every change goes
//! into the next commit, and what follows from a change begins when it is stored. It knows no SQL, no HTTP and no
//! call mode: the table is a [`Store`], the wire a [`Client`], the rules are `invocation`.

mod executor;
mod intake;
mod lanes;
mod pruner;
mod waiting;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use lanes::Limits;
pub use pruner::prune;

use crate::client::Client;
use crate::clock::{Clock, UnixMillis};
use crate::invocation::{Break, Event, Invocation, Phase, Reply};
use crate::queue::{Batch, Change, Committed, Error, Failed, Recovered, Return, Sign, Store, Taken};
use crate::trigger::Trigger;
use executor::Flight;
use intake::{Asked, Intake};
use lanes::Lanes;
use waiting::Waiting;

/// What the configuration says to the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All triggers, by name.
    pub triggers: BTreeMap<String, Arc<Trigger>>,
    /// Bounds of what is on the wire.
    pub limits: Limits,
    /// How long an orderly stop waits for firings.
    pub shutdown_grace: Duration,
    /// The table is looked at this often although nothing hints at a change.
    pub fallback_poll: Duration,
}

/// What the engine is told from outside.
#[derive(Debug)]
pub enum Order {
    /// Another configuration.
    Reload(Settings),
    /// Stop in order; a second one: at once.
    Stop,
}

/// What the engine tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Recovery and the first look are done.
    Ready,
    /// The stop has begun.
    Stopping,
}

/// The table `daemon` is signed this often.
const SIGN_EVERY: Duration = Duration::from_secs(30);
/// The first pause after a failed commit; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Rows read at once.
const PAGE: usize = 256;

type Exchanged = (i64, Result<Reply, Break>);
type Commit = Pin<Box<dyn Future<Output = Result<Committed, Box<Failed>>> + Send>>;
type Load = Pin<Box<dyn Future<Output = Loaded> + Send>>;
type Peek = Pin<Box<dyn Future<Output = Result<bool, Error>> + Send>>;

/// Rows that were read.
struct Loaded {
    ids: Vec<i64>,
    /// Those of them that a write of ours found changed.
    astray: HashSet<i64>,
    /// What the table may not have known of them when they were read.
    newest: HashMap<i64, Invocation>,
    rows: Result<Vec<Taken>, Error>,
}

/// The engine.
pub struct Dispatcher<S, W, C> {
    store: S,
    client: W,
    clock: C,
    settings: Settings,
    instance_id: String,
    notices: mpsc::UnboundedSender<Notice>,

    lanes: Lanes,
    intake: Intake,
    waiting: Waiting,
    flights: HashMap<i64, Flight>,
    exchanges: JoinSet<Exchanged>,

    /// What the next commit takes.
    changes: Vec<Change>,
    returned: Vec<Return>,
    /// Rows to be read again: a write of ours found them changed.
    astray: Vec<i64>,
    /// Rows that are `triggering` by a commit that was thought to have failed: never sent.
    unsent: HashSet<i64>,
    /// Rows whose firing ended in a change that could not be stored, by the attempt: sent, whatever the table says.
    lost: HashMap<i64, u32>,
    /// The triggers of this configuration are not in the table yet.
    unregistered: bool,
    /// The commit under way: the ids it changes, what it looks for.
    committing: Option<(Commit, Vec<i64>, Asked)>,
    loading: Option<Load>,
    peeking: Option<Peek>,
    /// The pause after a failed commit, and when it ends.
    pause: Option<(Duration, UnixMillis)>,
    peek_at: UnixMillis,
    sign_at: UnixMillis,
    ready: bool,
    stopping: Option<UnixMillis>,
}

impl<S: Store, W: Client, C: Clock> Dispatcher<S, W, C> {
    /// An engine on a table and a wire. Nothing happens before [`Dispatcher::run`].
    pub fn new(
        store: S,
        client: W,
        clock: C,
        settings: Settings,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        let mut lanes = Lanes::new(settings.limits);
        let intake = Intake::new(settings.triggers.clone(), &mut lanes);
        let now = clock.now();
        Self {
            store,
            client,
            clock,
            settings,
            instance_id: String::new(),
            notices,
            lanes,
            intake,
            waiting: Waiting::default(),
            flights: HashMap::new(),
            exchanges: JoinSet::new(),
            changes: Vec::new(),
            returned: Vec::new(),
            astray: Vec::new(),
            unsent: HashSet::new(),
            lost: HashMap::new(),
            unregistered: false,
            committing: None,
            loading: None,
            peeking: None,
            pause: None,
            peek_at: now,
            sign_at: now,
            ready: false,
            stopping: None,
        }
    }

    /// Resumes what the table holds, then dispatches until it is told to stop.
    ///
    /// # Errors
    /// Only what no waiting cures: a database that is damaged or newer. While it is merely unavailable, the
    /// engine keeps what it must write and tries again.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Result<(), Error> {
        let (found, interrupted) = loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Reload(settings)) => self.configure(settings),
                    Some(Order::Stop) | None => return Ok(()),
                },
                found = recover(&self.store, &self.clock, &self.settings) => break found?,
            }
        };
        self.resume(found, interrupted);
        let mut orphaned = false;
        loop {
            // One instant for the whole turn: what does not begin by it is what `wake_at` waits for.
            let now = self.clock.now();
            if self.unregistered && self.stopping.is_none() && !self.is_paused(now) {
                self.register().await?;
            }
            self.start_exchanges();
            self.start_commit(now);
            self.start_load(now);
            if self.is_stopped(now) {
                return Ok(());
            }
            let wake = self.wake_at(now);
            tokio::select! {
                biased;
                order = orders.recv(), if !orphaned => match order {
                    Some(Order::Reload(settings)) => self.reload(settings),
                    Some(Order::Stop) if self.stopping.is_some() => {
                        self.abandon().await;
                        return Ok(());
                    }
                    Some(Order::Stop) => self.stop(),
                    None => {
                        orphaned = true;
                        if self.stopping.is_none() {
                            self.stop();
                        }
                    }
                },
                done = on(&mut self.committing) => self.committed(done)?,
                loaded = once(&mut self.loading) => self.loaded(loaded)?,
                changed = once(&mut self.peeking) => self.peeked(changed)?,
                Some(done) = self.exchanges.join_next(), if !self.exchanges.is_empty() => {
                    self.exchanged(done);
                    while let Some(done) = self.exchanges.try_join_next() {
                        self.exchanged(done);
                    }
                }
                () = self.store.hint(), if self.stopping.is_none() => self.intake.hint(),
                () = self.clock.sleep_until(wake) => {}
            }
        }
    }

    /// What a start finds: rows in which the last daemon died, rows to be polled.
    fn resume(&mut self, found: Recovered, interrupted: Vec<Taken>) {
        self.instance_id = found.instance_id;
        for row in found.waiting {
            self.intake.enter(&row.trigger_name);
            self.waiting.push(row.id, row.due_at);
        }
        for row in interrupted {
            self.intake.enter(&row.trigger_name);
            self.judge(row, Event::Due);
        }
        tracing::info!(
            epoch = found.epoch,
            interrupted = found.interrupted.len(),
            "resumed: {} requests were being fired when the last daemon ended",
            found.interrupted.len()
        );
    }

    /// The table cannot be used: says so, and when to try again; or it never can.
    fn fail(&mut self, e: Error) -> Result<UnixMillis, Error> {
        let pause = pause_after(e, self.pause, self.clock.now())?;
        self.pause = Some(pause);
        Ok(pause.1)
    }

    /// Whether the table is left alone after an error.
    fn is_paused(&self, now: UnixMillis) -> bool {
        self.pause.is_some_and(|(_, until)| until > now)
    }

    /// Begins the next commit, if there is anything to store or to look for.
    fn start_commit(&mut self, now: UnixMillis) {
        if self.committing.is_some() || self.is_paused(now) {
            return;
        }
        // What came back twice, after commits of unknown end, may be on the wire again by now.
        self.returned.retain(|returned| !self.flights.contains_key(&returned.before.id));
        let mut batch = Batch {
            changes: std::mem::take(&mut self.changes),
            returned: std::mem::take(&mut self.returned),
            ..Batch::default()
        };
        let idle = self.stopping.is_some() && self.flights.is_empty();
        if self.waiting.store_at().is_some_and(|at| at <= now || idle) {
            batch.polled = self.waiting.store();
        }
        if self.ready && self.sign_at <= now {
            batch.sign = Some(Sign { now, ready: true });
        }
        if self.stopping.is_none() {
            if self.peek_at <= now && self.peeking.is_none() {
                self.intake.hint();
            }
            batch.look = self.intake.look(&self.lanes, &self.client, now, !batch.is_empty());
        } else {
            batch.look = self.intake.last_look(now);
        }
        if batch.is_empty() {
            // A hint that comes while an answer is under way may be about something newer.
            if self.stopping.is_none() && self.peeking.is_none() && self.intake.take_hint() {
                self.peek();
            }
            return;
        }
        if batch.look.is_some() {
            self.peek_at = now.plus(self.settings.fallback_poll);
        }
        let ids = batch.changes.iter().map(|change| change.next.id).collect();
        let asked = Asked::of(batch.look.as_ref());
        let store = self.store.clone();
        self.committing = Some((Box::pin(async move { store.commit(batch).await }), ids, asked));
    }

    fn peek(&mut self) {
        let store = self.store.clone();
        self.peeking = Some(Box::pin(async move { store.changed().await }));
    }

    fn peeked(&mut self, changed: Result<bool, Error>) -> Result<(), Error> {
        self.peek_at = self.clock.now().plus(self.settings.fallback_poll);
        match changed {
            Ok(true) => self.intake.survey_soon(),
            Ok(false) => {}
            Err(e) => {
                self.fail(e)?;
                self.intake.survey_soon();
            }
        }
        Ok(())
    }

    /// Reads the rows whose poll is due.
    fn start_load(&mut self, now: UnixMillis) {
        if self.loading.is_some() || self.is_paused(now) {
            return;
        }
        let mut ids: Vec<i64> = self.unsent.iter().copied().collect();
        let mut astray = HashSet::new();
        if self.stopping.is_none() {
            astray.extend(self.astray.drain(..));
            ids.extend(&astray);
            for id in self.lanes.take_aside() {
                self.waiting.push(id, now);
            }
            ids.extend(self.waiting.take_due(now, PAGE));
        }
        ids.retain(|id| !self.flights.contains_key(id));
        if !ids.is_empty() {
            let store = self.store.clone();
            let newest = ids
                .iter()
                .filter_map(|id| self.waiting.newest(*id))
                .map(|next| (next.id, next.clone()))
                .collect();
            self.loading = Some(Box::pin(async move {
                let rows = store.load(ids.clone()).await;
                Loaded { ids, astray, newest, rows }
            }));
        }
    }

    fn loaded(&mut self, loaded: Loaded) -> Result<(), Error> {
        let Loaded { ids, astray, mut newest, rows } = loaded;
        let rows = match rows {
            Ok(rows) => rows,
            Err(e) => {
                let until = self.fail(e)?;
                for id in ids.into_iter().filter(|id| !self.unsent.contains(id)) {
                    if astray.contains(&id) { self.astray.push(id) } else { self.waiting.push(id, until) }
                }
                return Ok(());
            }
        };
        for mut row in rows {
            let id = row.invocation.id;
            if self.flights.contains_key(&id) {
                continue;
            }
            if row.invocation.phase == Phase::Triggering
                && self.lost.get(&id) == Some(&row.invocation.attempt)
            {
                tracing::error!(
                    request.id = id,
                    "request {id} was fired, and the end of that cannot be stored; the next start judges it"
                );
                continue;
            }
            self.lost.remove(&id);
            if self.unsent.remove(&id) && row.invocation.phase == Phase::Triggering {
                row.invocation.attempt -= 1;
                if row.invocation.attempt == 0 {
                    row.invocation.started_at = None;
                }
                self.returned.push(Return { before: row.invocation, due_at: None });
                // Nothing else says that it is ready again.
                self.intake.survey_soon();
                continue;
            }
            if self.stopping.is_none()
                && matches!(row.invocation.phase, Phase::Polling(_) | Phase::Collecting(_))
            {
                if astray.contains(&id) {
                    self.intake.enter(&row.trigger_name);
                }
                if let Some(newest) = newest.remove(&id) {
                    executor::catch_up(&mut row, newest);
                }
                self.follow(row);
            }
        }
        for id in ids {
            // Gone, or no longer triggering: nothing to give back.
            self.unsent.remove(&id);
        }
        Ok(())
    }

    /// The next time that something must be looked at although nothing happens. What is under way already, or cannot
    /// be done now, sets no time: its end does.
    fn wake_at(&self, now: UnixMillis) -> UnixMillis {
        const FAR: UnixMillis = UnixMillis(i64::MAX);
        let mut times = [self.stopping, None, None, None, None, None];
        let stopping = self.stopping.is_some();
        if self.committing.is_none() {
            times[1] = self.waiting.store_at();
            times[2] = Some(self.sign_at).filter(|_| self.ready);
            if !stopping {
                times[3] = self.intake.wake_at();
                times[4] = Some(self.peek_at).filter(|_| self.peeking.is_none());
            }
        }
        if self.loading.is_none() && !stopping {
            times[5] = self.waiting.next();
        }
        // While the table cannot be used, what waits for it waits for the next try.
        let table = |at: UnixMillis| self.pause.map_or(at, |(_, until)| at.max(until));
        let first = times[1..].iter().flatten().map(|at| table(*at)).min().unwrap_or(FAR);
        // A pause that is over waits for nothing: what it held back has begun in this turn.
        let retry = self.pause.map_or(FAR, |(_, until)| if until > now { until } else { FAR });
        first.min(retry).min(times[0].unwrap_or(FAR))
    }

    fn configure(&mut self, settings: Settings) {
        self.lanes.set_limits(settings.limits);
        self.intake.configure(settings.triggers.clone(), &mut self.lanes);
        self.settings = settings;
    }

    /// Another configuration. What has not been sent yet is sent by it, or waits for the next.
    fn reload(&mut self, settings: Settings) {
        self.configure(settings);
        self.unregistered = true;
        if self.stopping.is_some() {
            return;
        }
        let now = self.clock.now();
        for id in self.lanes.drain() {
            self.put_back(id, now);
        }
        self.waiting.unpark(now);
    }

    /// Tells the table of the triggers.
    async fn register(&mut self) -> Result<(), Error> {
        let triggers = self.settings.triggers.values().cloned().collect();
        match self.store.register(triggers).await {
            Ok(()) => {
                self.unregistered = false;
                self.intake.survey_soon();
            }
            Err(e) => {
                self.fail(e)?;
            }
        }
        Ok(())
    }

    /// An orderly stop: no intents any more, polls are dropped (they are stored), firings may end.
    fn stop(&mut self) {
        let now = self.clock.now();
        self.stopping = Some(now.plus(self.settings.shutdown_grace));
        // Nobody listening is no trouble: the notice is for the service manager.
        let _ = self.notices.send(Notice::Stopping);
        self.sign_at = now.plus(self.settings.shutdown_grace);
        for id in self.lanes.drain() {
            self.give_up_turn(id);
        }
        self.hang_up();
        tracing::info!(firings = self.flights.len(), "stopping: waits for {} firings", self.flights.len());
    }

    fn is_stopped(&self, now: UnixMillis) -> bool {
        let Some(grace) = self.stopping else { return false };
        let stored = self.committing.is_none()
            && self.changes.is_empty()
            && self.returned.is_empty()
            && self.unsent.is_empty()
            && !self.intake.is_unsure()
            && self.waiting.store_at().is_none();
        let out_of_time = now >= grace;
        if out_of_time && !self.flights.is_empty() {
            tracing::warn!(
                firings = self.flights.len(),
                "stopped before {} firings had ended: the next start judges them",
                self.flights.len()
            );
        }
        out_of_time || (stored && self.flights.is_empty())
    }

    /// Stops at once; a commit under way still ends, since it cannot be undone.
    async fn abandon(&mut self) {
        if let Some((commit, ..)) = self.committing.take() {
            // Its answer changes nothing any more: the next start reads what was stored.
            let _ = commit.await;
        }
    }
}

/// Registers this start, and reads what the last daemon left; while the table is unavailable, waits for it.
async fn recover<S: Store, C: Clock>(
    store: &S,
    clock: &C,
    settings: &Settings,
) -> Result<(Recovered, Vec<Taken>), Error> {
    let triggers: Vec<_> = settings.triggers.values().cloned().collect();
    let mut pause = None;
    loop {
        let found = match store.start(triggers.clone(), clock.now()).await {
            Ok(found) => store.load(found.interrupted.clone()).await.map(|rows| (found, rows)),
            Err(e) => Err(e),
        };
        match found {
            Ok(found) => return Ok(found),
            Err(e) => {
                let (_, until) = *pause.insert(pause_after(e, pause, clock.now())?);
                clock.sleep_until(until).await;
            }
        }
    }
}

/// How long to leave the table alone after an error, and until when; or the error, if no waiting cures it.
fn pause_after(
    e: Error,
    last: Option<(Duration, UnixMillis)>,
    now: UnixMillis,
) -> Result<(Duration, UnixMillis), Error> {
    if !matches!(e, Error::Unavailable { .. }) {
        return Err(e);
    }
    let pause = last.map_or(FIRST_PAUSE, |(pause, _)| (pause * 2).min(LONGEST_PAUSE));
    let cause = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
    tracing::error!(
        error = %e, cause, retry_in_ms = pause.as_millis(),
        "{e} ({cause}); nothing is lost, next try in {} ms", pause.as_millis()
    );
    Ok((pause, now.plus(pause)))
}

/// The result of the future in `slot` with what was kept beside it; never, while there is none.
async fn on(slot: &mut Option<(Commit, Vec<i64>, Asked)>) -> executor::Done {
    match slot {
        None => std::future::pending().await,
        Some((commit, ..)) => {
            let result = commit.await;
            let (_, ids, asked) = slot.take().expect("it is the one just awaited");
            executor::Done { result, ids, asked }
        }
    }
}

/// The result of the future in `slot`, which is empty then; never, while there is none.
async fn once<T>(slot: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match slot {
        None => std::future::pending().await,
        Some(future) => {
            let value = future.await;
            *slot = None;
            value
        }
    }
}

#[cfg(test)]
mod tests;
