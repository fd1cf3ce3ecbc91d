//! A whole world under a seed: the engine, a table in which everything goes wrong, a far end that answers everything,
//! and people who insert, cancel, pause, retry, reload, stop and kill. Whatever happens, the laws hold.
//!
//! One thread, virtual time, one source of chance: the same seed makes the same history.

mod far;
mod history;
mod laws;
mod play;
mod store;
mod time;
mod variants;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use triggerd::clock::Clock as _;
use triggerd::dispatch::{Breaking, Limits};
use triggerd::queue::{MemoryRow, MemoryStore};
use triggerd::trigger::{Rate, Trigger};

use far::Far;
use history::History;
pub(crate) use history::{Figures, Law};
use store::Weather;
use time::Time;
pub(crate) use variants::Variant;
use wire::{Gate, Open};

/// The table at one time.
type Rows = BTreeMap<i64, MemoryRow>;
type Shared = Arc<World>;

/// How a history went.
pub(crate) struct Told {
    pub(crate) seed: u64,
    pub(crate) lines: Vec<String>,
    pub(crate) hash: u64,
    pub(crate) broken: Vec<(Law, String)>,
    pub(crate) figures: Figures,
}

/// Plays the history of a seed. `is_loud`: tells all of it while it happens.
pub(crate) fn simulate(seed: u64, variant: Option<Variant>, is_loud: bool) -> Told {
    // The engine's own chance.
    fastrand::seed(seed);
    let world = Arc::new(World::new(seed, variant, is_loud));
    let time = world.time.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .on_thread_park(move || time.advance())
        .build()
        .expect("a runtime without drivers needs nothing");
    runtime.block_on(play::play(&world));
    drop(runtime);
    let mut history = world.history();
    history.figures.count("all", "histories");
    Told {
        seed,
        hash: history.hash(),
        lines: std::mem::take(&mut history.lines),
        broken: std::mem::take(&mut history.broken),
        figures: std::mem::take(&mut history.figures),
    }
}

/// Plays many, on all processors: those that broke a law, the first seed first, and the figures of all.
pub(crate) fn simulate_all(seeds: Range<u64>, variant: Option<Variant>) -> (Vec<Told>, Figures) {
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new((Vec::new(), Figures::default()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let play = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return;
        }
        let told = simulate(seed, variant, false);
        let mut all = lock(&all);
        all.1.add(&told.figures);
        if !told.broken.is_empty() {
            all.0.push(told);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(play);
        }
    });
    let (mut broken, figures) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    broken.sort_by_key(|told| told.seed);
    (broken, figures)
}

/// How likely the daemon dies around an exchange.
#[derive(Clone, Copy, Debug, Default)]
struct Perils {
    before_sending: f64,
    after_sending: f64,
    after_answer: f64,
}

/// One daemon.
struct Machine {
    engine: AbortHandle,
    writer: AbortHandle,
}

struct World {
    variant: Option<Variant>,
    time: Time,
    memory: MemoryStore,
    /// All triggers that there are, configured or not.
    triggers: BTreeMap<String, Arc<Trigger>>,
    /// When breakers open.
    breaking: Breaking,
    poll_rate: Option<Rate>,
    dice: Mutex<fastrand::Rng>,
    history: Mutex<History>,
    laws: Mutex<laws::Memory>,
    far: Mutex<Far>,
    weather: Mutex<Weather>,
    perils: Mutex<Perils>,
    gates: Mutex<BTreeMap<String, Gate>>,
    open: Mutex<BTreeMap<u32, Open>>,
    standing: Mutex<Standing>,
    machines: Mutex<BTreeMap<u32, Machine>>,
    /// A daemon has ended, somehow.
    died: Notify,
}

/// What is so just now.
struct Standing {
    /// Triggers that the table takes for active.
    active: BTreeSet<String>,
    paused: BTreeSet<String>,
    /// The highest limits since the daemon began.
    limits: Limits,
    has_stepped_back: bool,
    has_stepped_forward: bool,
    crashes_left: u32,
    last_id: i64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn new(seed: u64, variant: Option<Variant>, is_loud: bool) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let odd = [0.0, 0.1, 0.3, 0.6, 0.9][dice.usize(..5)];
        let moody = [0.0, 0.0, 0.05, 0.2][dice.usize(..4)];
        let far = Far::new(dice.u64(..), odd, moody);
        let time = Time::new(dice.u64(..));
        let triggers = play::triggers(&mut dice);
        let breaking = Breaking {
            failures: [0, 1, 2, 3, 50][dice.usize(..5)],
            initial: Duration::from_millis(dice.u64(100..=5_000)),
            max: Duration::from_millis(dice.u64(5_000..=60_000)),
        };
        let per = Duration::from_secs(1);
        let poll_rate = [None, None, Some(1), Some(3), Some(20)][dice.usize(..5)];
        let poll_rate = poll_rate.map(|limit| Rate { limit, per });
        let standing = Standing {
            active: BTreeSet::new(),
            paused: BTreeSet::new(),
            limits: Limits { max_in_flight: 0, max_per_origin: 0, max_long_polls: 0, poll_rate: None },
            has_stepped_back: false,
            has_stepped_forward: false,
            crashes_left: 12,
            last_id: 0,
        };
        Self {
            variant,
            time,
            memory: MemoryStore::default(),
            triggers,
            breaking,
            poll_rate,
            dice: Mutex::new(dice),
            history: Mutex::new(History { is_loud, ..History::default() }),
            laws: Mutex::default(),
            far: Mutex::new(far),
            weather: Mutex::default(),
            perils: Mutex::default(),
            gates: Mutex::default(),
            open: Mutex::default(),
            standing: Mutex::new(standing),
            machines: Mutex::default(),
            died: Notify::new(),
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    fn laws(&self) -> MutexGuard<'_, laws::Memory> {
        lock(&self.laws)
    }

    fn far(&self) -> MutexGuard<'_, Far> {
        lock(&self.far)
    }

    fn gates(&self) -> MutexGuard<'_, BTreeMap<String, Gate>> {
        lock(&self.gates)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u32, Open>> {
        lock(&self.open)
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        lock(&self.standing)
    }

    fn weather(&self) -> Weather {
        lock(&self.weather).clone()
    }

    fn perils(&self) -> Perils {
        *lock(&self.perils)
    }

    fn limits(&self) -> Limits {
        self.standing().limits
    }

    fn has_stepped_back(&self) -> bool {
        self.standing().has_stepped_back
    }

    fn is(&self, variant: Variant) -> bool {
        self.variant == Some(variant)
    }

    fn trigger(&self, name: &str) -> Option<Arc<Trigger>> {
        self.triggers.get(name).cloned()
    }

    /// The table takes these for active from now on.
    fn set_active(&self, triggers: &[Arc<Trigger>]) {
        self.standing().active = triggers.iter().map(|trigger| trigger.name.clone()).collect();
    }

    /// Whether rows of a trigger may be taken.
    fn is_fired(&self, name: &str) -> bool {
        let standing = self.standing();
        standing.active.contains(name) && !standing.paused.contains(name)
    }

    /// The table as it is now.
    fn rows(&self) -> Rows {
        let last = self.standing().last_id;
        (1..=last).filter_map(|id| Some((id, self.memory.row(id)?))).collect()
    }

    // ---- Chance ----

    fn chance(&self, share: f64) -> bool {
        share > 0.0 && lock(&self.dice).f64() < share
    }

    fn between(&self, least: i64, most: i64) -> i64 {
        lock(&self.dice).i64(least..=most)
    }

    fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[lock(&self.dice).usize(..from.len())]
    }

    /// Lets others go first: a few turns, or, if it is `slow`, up to so many milliseconds.
    async fn pause(&self, slow: bool, most: i64) {
        if slow {
            self.count("fault", "slow");
            self.time.sleep(self.between(1, most)).await;
        } else {
            for _ in 0..self.between(0, 2) {
                tokio::task::yield_now().await;
            }
        }
    }

    // ---- What is told ----

    fn note(&self, line: impl FnOnce() -> String) {
        let elapsed = self.time.elapsed();
        let line = line();
        self.history().note(format!("{:>8}.{:03} {line}", elapsed / 1000, elapsed % 1000));
    }

    fn count(&self, kind: &'static str, what: impl Into<String>) {
        self.history().figures.count(kind, what);
    }

    fn broken(&self, law: Law, what: String) {
        self.note(|| format!("BROKEN {law}: {what}"));
        self.history().broken.push((law, what));
    }

    // ---- The end of a daemon ----

    /// The daemon dies here, sometimes.
    async fn crash_point(&self, daemon: u32, share: f64, place: &'static str) {
        if self.chance(share) && self.crash(daemon, place) {
            std::future::pending::<()>().await;
        }
    }

    /// Kills the daemon where it stands.
    fn crash(&self, daemon: u32, place: &'static str) -> bool {
        let mut standing = self.standing();
        let machines = lock(&self.machines);
        let Some(machine) = machines.get(&daemon).filter(|_| standing.crashes_left > 0) else { return false };
        standing.crashes_left -= 1;
        machine.engine.abort();
        machine.writer.abort();
        drop(machines);
        drop(standing);
        self.note(|| format!("CRASH of daemon {daemon} {place}, at {}", self.time.now().0));
        self.count("crash", place);
        self.died.notify_one();
        true
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const TAIL: usize = 60;
        writeln!(f, "seed {}: {} laws broken", self.seed, self.broken.len())?;
        for (law, what) in self.broken.iter().take(5) {
            writeln!(f, "  {law}: {what}")?;
        }
        let first = self.lines.iter().position(|line| line.contains("BROKEN")).unwrap_or(self.lines.len());
        writeln!(f, "the history before the first of them:")?;
        for line in &self.lines[first.saturating_sub(TAIL)..self.lines.len().min(first + 1)] {
            writeln!(f, "  {line}")?;
        }
        write!(f, "all of it: cargo run --example simulate -- --seed {}", self.seed)
    }
}
