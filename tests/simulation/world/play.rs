//! The play: who does what, when; and the calm after it, in which everything must end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use triggerd::backoff::Backoff;
use triggerd::clock::{Clock as _, UnixMillis};
use triggerd::dispatch::{Breaking, Dispatcher, Limits, Order, Settings};
use triggerd::invocation::{Code, Memory, Outcome, Phase};
use triggerd::queue::MemoryRow as Row;
use triggerd::request::CallMode;
use triggerd::trigger::{Retry, Trigger};
use url::Url;

use super::far::{CANARY, OWN, PORTAL};
use super::history::Law;
use super::store::{self, Weather};
use super::variants::Variant;
use super::wire::SimClient;
use super::{Perils, Shared, laws, lock};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
/// Everything has ended by then, once nothing goes wrong any more.
const CALM: i64 = 90 * MINUTE;
/// How long the engine is watched when there is nothing to do.
const QUIET: i64 = 2 * MINUTE;

/// What may happen to a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Insert,
    Edit,
    Cancel,
    Pause,
    Resume,
    Retry,
    Resolve,
    Reload,
    Beat,
    Stop,
    StopTwice,
    Crash,
    ShutGate,
    OpenGate,
    StepClock,
    Weather,
    Perils,
    Rumour,
}

const ACTS: [Act; 18] = [
    Act::Insert,
    Act::Edit,
    Act::Cancel,
    Act::Pause,
    Act::Resume,
    Act::Retry,
    Act::Resolve,
    Act::Reload,
    Act::Beat,
    Act::Stop,
    Act::StopTwice,
    Act::Crash,
    Act::ShutGate,
    Act::OpenGate,
    Act::StepClock,
    Act::Weather,
    Act::Perils,
    Act::Rumour,
];

/// The triggers of a world.
pub(super) fn triggers(dice: &mut fastrand::Rng) -> BTreeMap<String, Arc<Trigger>> {
    let all = (0..dice.usize(1..=4)).map(|n| {
        let name = format!("t{n}");
        let url = format!("{}/{name}?code={CANARY}-code", OWN[dice.usize(..OWN.len())]);
        let mut trigger = Trigger::new(&name, Url::parse(&url).expect("it is a URL"));
        let millis = |dice: &mut fastrand::Rng, least, most| Duration::from_millis(dice.u64(least..=most));
        trigger.call_mode = CallMode::ALL[dice.usize(..3)];
        trigger.repeatable = dice.u8(..5) < 2;
        trigger.retry_faults = dice.bool();
        trigger.credential = [None, Some("key"), Some("other")][dice.usize(..3)].map(str::to_owned);
        trigger.headers = vec![("x-key".to_owned(), format!("{CANARY}-header"))];
        trigger.not_started = if dice.bool() { Vec::new() } else { vec![502, 503] };
        trigger.fault_pointer = dice.bool().then(|| "/error".to_owned());
        trigger.accept_html = dice.u8(..4) == 0;
        if dice.bool() {
            trigger.allowed_origins.push(Url::parse(PORTAL).expect("it is a URL").origin());
        }
        trigger.credential_on_status = dice.bool();
        trigger.response_timeout = millis(dice, 5_000, 60_000);
        trigger.deadline = Some(millis(dice, 20_000, 1_200_000));
        trigger.lost_grace = millis(dice, 5_000, 60_000);
        trigger.poll = Backoff {
            initial: millis(dice, 200, 3_000),
            factor: 1.0 + dice.f64(),
            max: millis(dice, 3_000, 30_000),
        };
        trigger.retry = Retry {
            max_attempts: dice.u32(1..=4),
            max_refusals: dice.u32(1..=6),
            backoff: Backoff {
                initial: millis(dice, 100, 3_000),
                factor: 2.0,
                max: millis(dice, 3_000, 30_000),
            },
        };
        trigger.retry_after_max = millis(dice, 10_000, 120_000);
        trigger.max_concurrent = [None, None, Some(1), Some(2), Some(3)][dice.usize(..5)];
        trigger.pause_after_refusals = [None, None, Some(1), Some(2), Some(5)][dice.usize(..5)];
        trigger.max_output = 60;
        (name, Arc::new(trigger))
    });
    all.collect()
}

/// Plays all of it.
pub(super) async fn play(world: &Shared) {
    let mut play = Play::new(world);
    play.launch().await;
    for _ in 0..play.acts {
        let gap = world.between(0, play.gap);
        play.wait(gap).await;
        let act = play.choose();
        play.act(act).await;
    }
    play.calm_down().await;
    laws::agree(world);
}

struct Play {
    world: Shared,
    settings: Settings,
    /// How often each act is chosen.
    weights: [u32; ACTS.len()],
    acts: i64,
    /// Milliseconds between two acts, at most.
    gap: i64,
    orders: Option<mpsc::Sender<Order>>,
    running: Vec<JoinHandle<()>>,
    daemons: u32,
    relaunch_at: Option<i64>,
    most_requests: i64,
}

impl Play {
    fn new(world: &Shared) -> Self {
        let mut weights = [0; ACTS.len()];
        for weight in &mut weights {
            *weight = world.pick(&[0, 0, 1, 2, 4]);
        }
        weights[0] = 6;
        let mut play = Self {
            world: Arc::clone(world),
            settings: Settings {
                triggers: world.triggers.clone(),
                limits: Limits { max_in_flight: 1, max_per_origin: 1, max_long_polls: 1, poll_rate: None },
                breaking: if world.is(Variant::NoBreaker) { Breaking::NEVER } else { world.breaking },
                shutdown_grace: Duration::from_millis(world.between(0, 60_000).unsigned_abs()),
                fallback_poll: Duration::from_millis(world.between(2_000, 20_000).unsigned_abs()),
                ageing: Duration::from_millis(world.between(0, 2_000).unsigned_abs()),
                plans: Arc::default(),
            },
            weights,
            acts: world.between(8, 50),
            gap: world.pick(&[200, 3_000, 20_000, 60_000]),
            orders: None,
            running: Vec::new(),
            daemons: 0,
            relaunch_at: None,
            most_requests: world.between(3, 12),
        };
        play.settings.limits = play.some_limits();
        play
    }

    fn some_limits(&self) -> Limits {
        let world = &self.world;
        let some = |least, most| usize::try_from(world.between(least, most)).unwrap_or(1);
        Limits {
            max_in_flight: some(1, 10),
            max_per_origin: some(1, 3),
            max_long_polls: some(1, 5),
            poll_rate: world.poll_rate.filter(|_| !world.is(Variant::NoPollRate)),
        }
    }

    fn choose(&self) -> Act {
        let all: u32 = self.weights.iter().sum();
        let mut n = self.world.between(0, i64::from(all) - 1);
        for (act, weight) in ACTS.into_iter().zip(self.weights) {
            n -= i64::from(weight);
            if n < 0 {
                return act;
            }
        }
        Act::Insert
    }

    // ---- Daemons ----

    /// A daemon begins, when nothing is left of the last one.
    async fn launch(&mut self) {
        let world = Arc::clone(&self.world);
        if !world.is(Variant::TwoDaemons) {
            let is_patient = world.chance(0.8);
            for last in std::mem::take(&mut self.running) {
                if !is_patient {
                    last.abort();
                }
                let _ = last.await;
            }
            lock(&world.machines).clear();
            world.open().clear();
        }
        self.relaunch_at = None;
        self.daemons += 1;
        let daemon = self.daemons;
        world.standing().limits = self.settings.limits;
        world.note(|| format!("daemon {daemon} begins"));
        let (store, writer) = store::open(&world, daemon);
        let (notices, _) = mpsc::unbounded_channel();
        let (orders, inbox) = mpsc::channel(4);
        let client = SimClient { world: Arc::clone(&world), daemon };
        let engine = Dispatcher::new(store, client, world.time.clone(), self.settings.clone(), notices);
        let here = Arc::clone(&world);
        let engine = tokio::spawn(async move {
            let end = engine.run(inbox).await;
            here.note(|| format!("daemon {daemon} has ended: {end:?}"));
            here.count("daemon", if end.is_ok() { "ended in order" } else { "ended by an error" });
            here.died.notify_one();
        });
        let writer = tokio::spawn(writer.run());
        let machine = super::Machine { engine: engine.abort_handle(), writer: writer.abort_handle() };
        lock(&world.machines).insert(daemon, machine);
        self.running.extend([engine, writer]);
        self.orders = Some(orders);
    }

    /// Time passes; a daemon that has ended is started again.
    async fn wait(&mut self, millis: i64) {
        let until = self.world.time.elapsed() + millis;
        loop {
            let world = Arc::clone(&self.world);
            let at = self.relaunch_at.map_or(until, |at| at.min(until));
            tokio::select! {
                biased;
                () = world.died.notified() => {
                    if self.running.iter().step_by(2).all(JoinHandle::is_finished) || !world.is(Variant::TwoDaemons) {
                        let down = world.pick(&[0, 0, 10, SECOND, 20 * SECOND, 2 * MINUTE]);
                        self.orders = None;
                        self.relaunch_at.get_or_insert(world.time.elapsed() + down);
                    }
                }
                () = world.time.sleep_to(at) => {
                    if self.relaunch_at.is_some_and(|at| at <= world.time.elapsed()) {
                        self.launch().await;
                    } else if world.time.elapsed() >= until {
                        return;
                    }
                }
            }
        }
    }

    async fn order(&mut self, mut order: Order) {
        // The daemon waits until there is room, and so does this; one that has ended hears nothing.
        while let Some(orders) = &self.orders {
            let Err(mpsc::error::TrySendError::Full(back)) = orders.try_send(order) else { break };
            order = back;
            self.wait(100).await;
        }
        tokio::task::yield_now().await;
    }

    // ---- Acts ----

    async fn act(&mut self, act: Act) {
        let world = Arc::clone(&self.world);
        world.count("act", format!("{act:?}").to_lowercase());
        match act {
            Act::Insert => self.insert(),
            Act::Edit => self.edit_pending(),
            Act::Cancel => self.on_some(
                |row| !matches!(row.taken.invocation.phase, Phase::Finished(_)),
                |row, _| row.taken.invocation.cancel_requested = true,
                "cancel",
            ),
            Act::Pause | Act::Resume => {
                let names: Vec<&str> = world.triggers.keys().map(String::as_str).collect();
                self.pause(world.pick(&names), act == Act::Pause);
            }
            Act::Retry => self.retry(),
            Act::Resolve => self.resolve(),
            Act::Reload => {
                let triggers = world.triggers.clone();
                let kept = triggers.into_iter().filter(|_| world.chance(0.75)).collect();
                self.reload(kept).await;
            }
            Act::Beat => self.order(Order::Beat).await,
            Act::Stop => {
                world.note(|| "stop".to_owned());
                self.order(Order::Stop).await;
            }
            Act::StopTwice => {
                world.note(|| "stop, and stop".to_owned());
                self.order(Order::Stop).await;
                let gap = world.pick(&[0, 5, 500]);
                self.wait(gap).await;
                self.order(Order::Stop).await;
            }
            Act::Crash => {
                if world.chance(0.2) {
                    world.note(|| "the machine goes down".to_owned());
                    world.memory.lose_flights();
                }
                world.crash(self.daemons, "at any time");
            }
            Act::ShutGate => {
                let name = world.pick(&["key", "other"]);
                let code = world.pick(&[Code::CredentialRefused, Code::CredentialUnavailable]);
                let wait = world.between(SECOND, MINUTE);
                world.note(|| format!("the credential {name} is shut: {}", code.as_str()));
                let (elapsed, now) = (world.time.elapsed(), world.time.now());
                world.gates().entry(name.to_owned()).or_default().shut(code, elapsed, now, wait);
            }
            Act::OpenGate => world.gates().values_mut().for_each(super::Gate::open),
            Act::StepClock => {
                let by = world.pick(&[-120, -5, -1, 1, 10, 300]) * SECOND;
                world.note(|| format!("the wall clock steps by {by} ms"));
                world.standing().has_stepped_back |= by < 0;
                world.standing().has_stepped_forward |= by > 0;
                world.time.step(by);
            }
            Act::Weather => self.change_weather(),
            Act::Perils => {
                let some = || world.pick(&[0.0, 0.0, 0.05, 0.3]);
                let perils = Perils { before_sending: some(), after_sending: some(), after_answer: some() };
                *lock(&world.perils) = perils;
            }
            Act::Rumour => world.memory.edit(|_| ()),
        }
        if world.is(Variant::TwoDaemons) && self.daemons == 1 && world.chance(0.2) {
            self.launch().await;
        }
    }

    fn change_weather(&self) {
        let world = &self.world;
        let some = |all: &[f64]| world.pick(all);
        let weather = if world.chance(0.3) {
            Weather::default()
        } else {
            Weather {
                refused: some(&[0.0, 0.0, 0.1, 0.5]),
                unknown: some(&[0.0, 0.0, 0.1, 0.5]),
                slow: some(&[0.0, 0.1, 0.5]),
                full: world.chance(0.1),
                unreadable: some(&[0.0, 0.0, 0.3]),
                crash: some(&[0.0, 0.0, 0.02, 0.1]),
                ended: some(&[0.0, 0.0, 0.02]),
                hint_lost: some(&[0.0, 0.5, 1.0]),
                hint_late: some(&[0.0, 0.5]),
            }
        };
        world.note(|| format!("{weather:?}"));
        *lock(&world.weather) = weather;
    }

    /// Producers insert with a hint, or with none.
    fn write(&self, edit: impl FnOnce(&mut BTreeMap<i64, Row>)) {
        if self.world.chance(0.8) {
            self.world.memory.edit(edit)
        } else {
            self.world.memory.edit_unseen(edit)
        }
    }

    fn insert(&self) {
        let world = &self.world;
        let now = world.time.now();
        for _ in 0..world.pick(&[1, 1, 2, 4]) {
            let id = {
                let mut standing = world.standing();
                if standing.last_id >= self.most_requests {
                    return;
                }
                standing.last_id += 1;
                standing.last_id
            };
            let names: Vec<&str> = world.triggers.keys().map(String::as_str).collect();
            let mut row = Row::new(id, world.pick(&names), now);
            row.priority = world.between(-2, 2);
            let later = |share, most| world.chance(share).then(|| UnixMillis(now.0 + world.between(0, most)));
            row.run_at = later(0.2, 2 * MINUTE).unwrap_or(now);
            let invocation = &mut row.taken.invocation;
            invocation.requested_mode = world.chance(0.2).then(|| world.pick(&CallMode::ALL));
            invocation.expires_at = later(0.2, world.pick(&[500, 3 * SECOND, 3 * MINUTE]));
            invocation.deadline_at = later(0.2, 5 * MINUTE);
            world.note(|| {
                let i = &row.taken.invocation;
                format!(
                    "insert {id} of {} (run at {}, expires {:?}, deadline {:?})",
                    row.taken.trigger_name, row.run_at.0, i.expires_at, i.deadline_at
                )
            });
            world.count("all", "requests");
            self.write(|rows| {
                rows.insert(id, row);
            });
        }
    }

    /// A producer changes what it may change while it has not been fired.
    fn edit_pending(&self) {
        let now = self.world.time.now();
        let (run_at, expires_at) =
            (now.0 + self.world.between(-MINUTE, MINUTE), now.0 + self.world.between(0, MINUTE));
        self.on_some(
            |row| row.taken.invocation.phase == Phase::Pending && row.taken.invocation.attempt == 0,
            |row, _| {
                row.run_at = UnixMillis(run_at);
                row.taken.invocation.expires_at = Some(UnixMillis(expires_at));
            },
            "edit",
        );
    }

    /// Does something to one request, if there is one of the kind.
    fn on_some(&self, is_one: impl Fn(&Row) -> bool, act: impl FnOnce(&mut Row, UnixMillis), what: &str) {
        let world = &self.world;
        let ids: Vec<i64> =
            world.rows().values().filter(|row| is_one(row)).map(|row| row.taken.invocation.id).collect();
        if ids.is_empty() {
            return;
        }
        let (id, now) = (world.pick(&ids), world.time.now());
        world.note(|| format!("{what} {id}"));
        self.write(|rows| {
            if let Some(row) = rows.get_mut(&id) {
                act(row, now);
            }
        });
    }

    fn pause(&self, name: &str, pauses: bool) {
        self.world.note(|| format!("{} {name}", if pauses { "pause" } else { "resume" }));
        let mut standing = self.world.standing();
        if pauses {
            standing.paused.insert(name.to_owned());
        } else {
            standing.paused.remove(name);
        }
        drop(standing);
        self.world.memory.pause(name, pauses && !self.world.is(Variant::TakesPaused));
    }

    async fn reload(&mut self, triggers: BTreeMap<String, Arc<Trigger>>) {
        let world = Arc::clone(&self.world);
        self.settings.triggers = triggers;
        self.settings.limits = self.some_limits();
        let new = self.settings.limits;
        {
            let limits = &mut world.standing().limits;
            limits.max_in_flight = limits.max_in_flight.max(new.max_in_flight);
            limits.max_per_origin = limits.max_per_origin.max(new.max_per_origin);
            limits.max_long_polls = limits.max_long_polls.max(new.max_long_polls);
        }
        world.note(|| format!("reload: {:?}, {new:?}", self.settings.triggers.keys().collect::<Vec<_>>()));
        self.order(Order::Reload(self.settings.clone())).await;
    }

    /// A new round, as `triggerd retry` opens it.
    fn retry(&self) {
        use Outcome::{Cancelled, Expired, Failed, Rejected};
        let world = &self.world;
        self.on_some(
            |row| {
                matches!(row.taken.invocation.phase, Phase::Finished(Failed | Rejected | Expired | Cancelled))
            },
            |row, now| {
                start_over(row, now);
                row.taken.invocation.round += 1;
                world.laws().allow(row.taken.invocation.id);
            },
            "retry",
        );
    }

    /// What an operator makes of an uncertain request.
    fn resolve(&self) {
        let world = &self.world;
        let way = world.between(0, 3);
        let mut follows = None;
        self.on_some(
            |row| row.taken.invocation.phase == Phase::Finished(Outcome::Uncertain),
            |row, now| {
                let id = row.taken.invocation.id;
                let trigger = &world.triggers[&row.taken.trigger_name];
                let kept = row.taken.invocation.status_uri.clone();
                let known =
                    kept.or_else(|| world.far().job_of(id, trigger)).filter(|uri| trigger.allows(uri));
                match (way, known) {
                    (0, _) => {
                        row.taken.invocation.phase = Phase::Finished(Outcome::Succeeded);
                        row.taken.invocation.trouble = None;
                        row.finished_at = Some(now);
                        world.laws().settle(id);
                    }
                    (1, _) => {
                        start_over(row, now);
                        world.laws().allow(id);
                    }
                    (_, Some(uri)) => {
                        follow(row, uri, trigger, now);
                        world.laws().hand_over(id);
                        follows = Some(id);
                    }
                    _ => {}
                }
            },
            "resolve",
        );
        if let Some(id) = follows {
            world.note(|| format!("{id} is to be followed"));
            world.count("act", "hand over");
            world.memory.hand_over(id);
        }
    }

    // ---- The calm ----

    /// Faults are over, and the far end behaves: everything must end, and the engine come to rest.
    async fn calm_down(&mut self) {
        let world = Arc::clone(&self.world);
        world.note(|| "CALM".to_owned());
        *lock(&world.weather) = Weather::default();
        *lock(&world.perils) = Perils::default();
        world.standing().crashes_left = 0;
        world.far().calm_down();
        world.gates().values_mut().for_each(super::Gate::open);
        // Sometimes a trigger stays paused: its requests may wait, but not longer than they say.
        let names: Vec<String> = world.triggers.keys().cloned().collect();
        let stays = (names.len() > 1 && world.chance(0.2)).then(|| names[0].clone());
        for name in &names {
            let pauses = stays.as_ref() == Some(name);
            if pauses || world.standing().paused.contains(name) {
                self.pause(name, pauses);
            }
        }
        // What only a reload would heal must not be healed by one.
        let is_whole = self.settings.triggers.len() == world.triggers.len();
        if !is_whole || world.chance(0.5) {
            self.reload(world.triggers.clone()).await;
        }
        self.all_end(stays.as_deref()).await;
        // Late producers find an engine that has nothing to do.
        self.most_requests += 4;
        for _ in 0..3 {
            self.insert();
            if world.chance(0.5) {
                // A credential is refused when all seems well, and accepted again.
                let gap = world.between(0, 60);
                self.wait(gap).await;
                self.act(Act::ShutGate).await;
            }
            self.all_end(stays.as_deref()).await;
        }
        let (before, fallback) = (world.time.turns(), self.settings.fallback_poll);
        self.wait(QUIET).await;
        let turns = world.time.turns() - before;
        let most = 8 * (QUIET.unsigned_abs() / fallback.as_millis().max(1) as u64) + 60;
        if turns > most || world.time.has_spun() {
            world.broken(Law::Quiet, format!("{turns} turns with nothing to do, more than {most}"));
        }
    }

    /// Waits until all has ended that should; once it is known not to, no longer.
    async fn all_end(&mut self, paused: Option<&str>) {
        let time = self.world.time.clone();
        if self.world.history().broken.iter().any(|(law, _)| *law == Law::Liveness) {
            return;
        }
        let end = time.elapsed() + CALM;
        while time.elapsed() < end && !self.unended(paused).is_empty() && !time.has_spun() {
            self.wait(10 * SECOND).await;
            // An answer of before may have paused one since.
            let names: Vec<String> = self.world.standing().paused.iter().cloned().collect();
            for name in names.iter().filter(|name| Some(name.as_str()) != paused) {
                self.pause(name, false);
            }
        }
        for row in self.unended(paused) {
            self.world.broken(Law::Liveness, format!("it has not ended: {row:?}"));
        }
    }

    /// What should have ended.
    fn unended(&self, paused: Option<&str>) -> Vec<Row> {
        let waits = |row: &Row| {
            let i = &row.taken.invocation;
            let has_limit = i.expires_at.is_some() || i.deadline_at.is_some() || i.cancel_requested;
            i.phase == Phase::Pending && Some(&*row.taken.trigger_name) == paused && !has_limit
        };
        let ended = |row: &Row| matches!(row.taken.invocation.phase, Phase::Finished(_));
        self.world.rows().into_values().filter(|row| !ended(row) && !waits(row)).collect()
    }
}

/// As if it had never been fired.
fn start_over(row: &mut Row, now: UnixMillis) {
    let i = &mut row.taken.invocation;
    let own_deadline = i.deadline_at.filter(|at| *at > now && !i.memory.counted_deadline);
    i.phase = Phase::Pending;
    i.cancel_requested = false;
    i.expires_at = i.expires_at.filter(|at| *at > now);
    i.deadline_at = own_deadline;
    i.status_uri = None;
    i.effective_mode = None;
    i.polls = 0;
    i.last_polled_at = None;
    i.http_status = None;
    i.trouble = None;
    i.started_at = None;
    i.accepted_at = None;
    i.memory = Memory::default();
    row.taken.due_at = None;
    row.finished_at = None;
    row.output = None;
}

/// As `triggerd resolve --as follow` leaves it.
fn follow(row: &mut Row, uri: Url, trigger: &Trigger, now: UnixMillis) {
    let i = &mut row.taken.invocation;
    let own_deadline = i.deadline_at.filter(|at| *at > now && !i.memory.counted_deadline);
    let mode = match i.effective_mode.or(i.requested_mode).unwrap_or(trigger.call_mode) {
        CallMode::FireAndForget => CallMode::AsyncRequestReply,
        mode => mode,
    };
    i.phase = Phase::Polling(uri.clone());
    i.cancel_requested = false;
    i.status_uri = Some(uri);
    i.effective_mode = Some(mode);
    i.started_at = i.started_at.or(Some(now));
    i.accepted_at = i.accepted_at.or(Some(now));
    i.deadline_at = own_deadline.or_else(|| Some(now.plus(trigger.deadline(mode))));
    i.polls = 0;
    i.last_polled_at = None;
    i.http_status = None;
    i.trouble = None;
    i.memory = Memory { counted_deadline: own_deadline.is_none(), ..Memory::default() };
    row.taken.due_at = Some(now);
    row.finished_at = None;
    row.output = None;
}
