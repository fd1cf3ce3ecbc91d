//! The engine: moves rows from the table to the wire and back.
//!
//! One task decides and starts; exchanges run in tasks of their own that know nothing of the table; every change goes
//! into the next commit, and what follows from a change begins when it is stored. It knows no SQL, no HTTP and no
//! call mode: the table is a [`Store`], the wire a [`Client`], the rules are `invocation`.

mod board;
mod breaker;
mod commits;
mod course;
mod executor;
mod health;
mod intake;
mod lanes;
mod pruner;
mod pulse;
mod reading;
mod refusals;
mod scheduler;
mod slots;
mod timing;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use board::Figures;
pub use breaker::Breaking;
pub use lanes::Limits;
pub use pruner::prune;
pub use pulse::{Beats, Pulse};

use crate::client::Client;
use crate::clock::{Clock, UnixMillis};
use crate::invocation::{AttemptEnd, Break, Event, Reply};
use crate::queue::{
    Change, Committed, Error, Failed, Loaded, Recovered, Return, Spoiled, Store, Taken, Waiting as ToPoll,
};
use crate::schedule::Plans;
use crate::trigger::Trigger;
use board::Board;
use breaker::Breakers;
use commits::pause_after;
use executor::Flight;
use health::Health;
use intake::{Asked, Intake};
use lanes::Lanes;
use reading::Read;
use refusals::Refusals;
use scheduler::{Scheduler, Settling};
use slots::Slots;
use waiting::Waiting;

/// What the configuration says to the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All triggers, by name.
    pub triggers: BTreeMap<String, Arc<Trigger>>,
    /// Bounds of what is on the wire.
    pub limits: Limits,
    /// When the breaker of an origin opens.
    pub breaking: Breaking,
    /// How long an orderly stop waits for firings.
    pub shutdown_grace: Duration,
    /// The table is looked at this often although nothing hints at a change.
    pub fallback_poll: Duration,
    /// A ready request is worth one step of priority more each time that it has waited so long; zero: it is not.
    pub ageing: Duration,
    /// Schedules and calendars of the configuration.
    pub plans: Arc<Plans>,
}

/// What the engine is told from outside.
#[derive(Debug)]
pub enum Order {
    /// Another configuration.
    Reload(Settings),
    /// Look into the table now, so that the [`Pulse`] shows whether that is possible.
    Beat,
    /// Stop in order; a second one: at once.
    Stop,
}

/// What the engine tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Recovery and the first look are done.
    Ready,
    /// The stop has begun.
    Stopping,
    /// How much is going on; once a second at most, when it has changed.
    Figures(Figures),
    /// All that is wrong with the table now; when it has changed.
    Table(Vec<String>),
}

/// The table `daemon` is signed this often.
const SIGN_EVERY: Duration = Duration::from_secs(30);
/// The first pause after a failed commit; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Bytes of outputs that may wait to be stored before nothing more is asked for: what is on the wire by then comes on top.
const MOST_UNSTORED: usize = 64 * 1024 * 1024;
/// Rows read at once.
const PAGE: usize = 256;

type Exchanged = (i64, Result<Reply, Break>);
type Commit = Pin<Box<dyn Future<Output = Result<Committed, Box<Failed>>> + Send>>;
type Load = Pin<Box<dyn Future<Output = Read> + Send>>;
type Peek = Pin<Box<dyn Future<Output = Result<bool, Error>> + Send>>;

/// The engine.
pub struct Dispatcher<S, W, C> {
    store: S,
    client: W,
    clock: C,
    settings: Settings,
    instance_id: String,
    notices: mpsc::UnboundedSender<Notice>,
    pulse: Pulse,
    health: Health,

    lanes: Lanes,
    breakers: Breakers,
    refusals: Refusals,
    intake: Intake,
    board: Board,
    waiting: Waiting,
    flights: BTreeMap<i64, Flight>,
    exchanges: JoinSet<Exchanged>,
    slots: Slots,

    /// What the next commit takes.
    changes: Vec<Change>,
    returned: Vec<Return>,
    spoiled: Vec<Spoiled>,
    /// Rows to be read again: a write of ours found them changed. With the trigger on whose count they stay until then, if
    /// they are on one: they may still be with the far end.
    astray: BTreeMap<i64, Option<String>>,
    /// Rows that were handed over and are followed, of which the table has not been told for sure.
    handed: BTreeSet<i64>,
    /// Rows that are `triggering` by a commit that was thought to have failed: never sent.
    unsent: BTreeSet<i64>,
    /// Rows whose firing has an end that could not be stored, by the attempt, where that is known, and its slot: sent,
    /// whatever the table says.
    lost: HashMap<i64, (Option<u32>, Option<usize>)>,
    /// The triggers of this configuration are not in the table yet.
    unregistered: bool,
    /// The commit under way: the ids it changes, what it looks for.
    committing: Option<(Commit, Vec<i64>, Asked)>,
    /// Bytes of outputs that the commit under way has.
    storing: usize,
    loading: Option<Load>,
    /// The rows being read that have not been in flight since: what is read of the others may be old.
    reading: BTreeSet<i64>,
    peeking: Option<Peek>,
    scheduler: Scheduler,
    settling: Option<Settling>,
    /// The pause after a failed commit, and when it ends.
    pause: Option<(Duration, UnixMillis)>,
    peek_at: UnixMillis,
    sign_at: UnixMillis,
    /// When the loop last turned.
    turned_at: UnixMillis,
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
        let intake = Intake::new(settings.triggers.clone(), settings.ageing, &mut lanes);
        let breakers = Breakers::new(settings.breaking);
        let scheduler = Scheduler::new(Arc::clone(&settings.plans));
        let now = clock.now();
        Self {
            store,
            client,
            clock,
            settings,
            instance_id: String::new(),
            notices,
            pulse: Pulse::default(),
            health: Health::default(),
            lanes,
            breakers,
            refusals: Refusals::default(),
            intake,
            board: Board::default(),
            waiting: Waiting::default(),
            flights: BTreeMap::new(),
            exchanges: JoinSet::new(),
            slots: Slots::default(),
            changes: Vec::new(),
            returned: Vec::new(),
            spoiled: Vec::new(),
            astray: BTreeMap::new(),
            handed: BTreeSet::new(),
            unsent: BTreeSet::new(),
            lost: HashMap::new(),
            unregistered: false,
            committing: None,
            storing: 0,
            loading: None,
            reading: BTreeSet::new(),
            peeking: None,
            scheduler,
            settling: None,
            pause: None,
            peek_at: now,
            sign_at: now,
            turned_at: now,
            ready: false,
            stopping: None,
        }
    }

    /// Whether it gets anywhere, as long as it runs.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Resumes what the table holds, then dispatches until it is told to stop.
    ///
    /// # Errors
    /// Only what no waiting cures: a database that is damaged or newer. While it is merely unavailable, the
    /// engine keeps what it must write and tries again.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Result<(), Error> {
        let (found, loaded) = loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Reload(settings)) => self.configure(settings),
                    Some(Order::Beat) => {}
                    Some(Order::Stop) | None => return Ok(()),
                },
                found = recover(&self.store, &self.clock, &self.settings, &mut self.health, &self.notices) => {
                    break found?;
                }
            }
        };
        self.resume(found, loaded);
        let mut orphaned = false;
        loop {
            // One instant for the whole turn: what does not begin by it is what `wake_at` waits for.
            let now = self.clock.now();
            self.keep_time(now);
            if self.unregistered && self.stopping.is_none() && !self.is_paused(now) {
                self.register().await?;
            }
            self.forget_probes();
            self.start_exchanges(now);
            self.start_commit(now);
            self.start_load(now);
            self.start_settling(now);
            if self.is_stopped(now) {
                self.sign_off(now).await;
                return Ok(());
            }
            let wake = self.wake_at(now);
            tokio::select! {
                biased;
                order = orders.recv(), if !orphaned => match order {
                    Some(Order::Reload(settings)) => self.reload(settings),
                    Some(Order::Beat) => self.beat(),
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
                settled = once(&mut self.settling) => self.settled(settled)?,
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
    fn resume(&mut self, found: Recovered, loaded: Loaded) {
        self.instance_id = found.instance_id;
        let latest = self.latest_poll(self.clock.now());
        let waiting = found.waiting.into_iter();
        self.follow_all(waiting.map(|row| ToPoll { due_at: row.due_at.min(latest), ..row }).collect());
        let mut rows: HashMap<i64, Taken> =
            loaded.rows.into_iter().map(|row| (row.invocation.id, row)).collect();
        for row in loaded.spoiled {
            if let Some(name) = &row.trigger_name {
                self.board.enter(name);
            }
            self.spoiled.push(row);
        }
        for id in &found.interrupted {
            // One that cannot be read may be put right, and then it must not look as if it had never been sent.
            let slot = self.slots.take();
            let Some(row) = rows.remove(id) else {
                self.lost.insert(*id, (None, Some(slot)));
                continue;
            };
            self.board.enter(&row.trigger_name);
            self.judge(row, Event::Due);
            if let Some(flight) = self.flights.get_mut(id) {
                flight.slot = Some(slot);
            }
        }
        let now = self.clock.now();
        for row in found.unsent.iter().filter_map(|id| rows.remove(id)) {
            let unsent = Some(AttemptEnd::unsent(&row.invocation, now));
            self.returned.push(Return { before: row.invocation.before_intent(), due_at: None, unsent });
        }
        let (interrupted, unsent) = (found.interrupted.len(), found.unsent.len());
        tracing::info!(
            epoch = found.epoch,
            interrupted,
            unsent,
            "resumed: {interrupted} requests were being fired when the last daemon ended, {unsent} were about to be"
        );
    }

    /// Rows that are in the table to be polled, and not known here.
    fn follow_all(&mut self, rows: Vec<ToPoll>) {
        for row in rows {
            self.board.enter(&row.trigger_name);
            self.waiting.push(row.id, row.due_at);
        }
    }

    /// The next time that something must be looked at although nothing happens. What is under way already, or cannot
    /// be done now, sets no time: its end does.
    fn wake_at(&self, now: UnixMillis) -> UnixMillis {
        const FAR: UnixMillis = UnixMillis(i64::MAX);
        let mut times = [self.stopping, None, None, None, None, None, None, None];
        // Polls that wait for their time alone need nothing of the table.
        let polls = self.lanes.wake_at(now).filter(|_| !self.is_swamped()).unwrap_or(FAR);
        let stopping = self.stopping.is_some();
        if self.committing.is_none() {
            // Without room these wait until there is some, which is found out by peeking.
            let spare = !self.is_sparing();
            times[1] = self.waiting.store_at().filter(|_| spare);
            times[2] = Some(self.sign_at).filter(|_| self.ready);
            if !stopping {
                times[3] = self.intake.wake_at().filter(|_| spare);
                times[4] = Some(self.peek_at).filter(|_| self.peeking.is_none());
                times[6] = self.board.tell_at().filter(|_| spare);
            }
        }
        if self.loading.is_none() && !stopping && !self.is_swamped() {
            times[5] = self.waiting.next();
        }
        if self.settling.is_none() && !stopping && !self.is_sparing() {
            times[7] = self.scheduler.wake_at();
        }
        // While the table cannot be used, what waits for it waits for the next try.
        let table = |at: UnixMillis| self.pause.map_or(at, |(_, until)| at.max(until));
        let first = times[1..].iter().flatten().map(|at| table(*at)).min().unwrap_or(FAR);
        // A pause that is over waits for nothing: what it held back has begun in this turn.
        let retry = self.pause.map_or(FAR, |(_, until)| if until > now { until } else { FAR });
        first.min(retry).min(polls).min(times[0].unwrap_or(FAR))
    }
}

/// Registers this start, and reads what the last daemon left; while the table is unavailable, waits for it.
async fn recover<S: Store, C: Clock>(
    store: &S,
    clock: &C,
    settings: &Settings,
    health: &mut Health,
    notices: &mpsc::UnboundedSender<Notice>,
) -> Result<(Recovered, Loaded), Error> {
    let triggers: Vec<_> = settings.triggers.values().cloned().collect();
    let mut pause = None;
    loop {
        let found = match store.start(triggers.clone(), clock.now()).await {
            Ok(found) => {
                let ids = [&found.interrupted[..], &found.unsent[..]].concat();
                store.load(ids, clock.now()).await.map(|loaded| (found, loaded))
            }
            Err(e) => Err(e),
        };
        match found {
            Ok(found) => return Ok(found),
            Err(e) => {
                health.failed(&e, true, clock.now());
                health.learn(store.condition());
                let (_, until) = *pause.insert(pause_after(e, pause, clock.now())?);
                if let Some(all) = health.news() {
                    // Nobody listening is no trouble: the notice is for the service manager.
                    let _ = notices.send(Notice::Table(all));
                }
                clock.sleep_until(until).await;
            }
        }
    }
}

/// The result of the future in `slot` with what was kept beside it; never, while there is none.
async fn on(slot: &mut Option<(Commit, Vec<i64>, Asked)>) -> commits::Done {
    match slot {
        None => std::future::pending().await,
        Some((commit, ..)) => {
            let result = commit.await;
            let (_, ids, asked) = slot.take().expect("it is the one just awaited");
            commits::Done { result, ids, asked }
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
