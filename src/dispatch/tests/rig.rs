//! What the tests stand on.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use url::Url;

use crate::client::{Admission, Client, Order as Exchange, Wish};
use crate::clock::{Clock, UnixMillis};
use crate::dispatch::{Breaking, Dispatcher, Limits, Notice, Order, Pulse, Settings};
use crate::invocation::{Body, BodyEnd, Break, Code, Phase, Reply};
use crate::queue::{
    Batch, Committed, Condition, Deleted, Error, Failed, Loaded, Look, MemoryRow as Row, MemoryStore,
    Recovered, Retention, Settled, Store,
};
use crate::request::CallMode;
use crate::schedule::Plans;
use crate::trigger::Trigger;

pub(super) const START: UnixMillis = UnixMillis(1_700_000_000_000);
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// More turns than any test needs for one change of the world.
const SPIN: u64 = 20_000;

/// Moved by the test; tells when the engine wants to wake, and how often it went to sleep.
#[derive(Clone)]
pub(super) struct TestClock {
    now: watch::Sender<i64>,
    sleep: Arc<Mutex<(i64, u64)>>,
}

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(*self.now.borrow())
    }

    fn sleep_until(&self, at: UnixMillis) -> impl Future<Output = ()> + Send {
        {
            let mut sleep = self.sleep.lock().unwrap();
            *sleep = (at.0, sleep.1 + 1);
            assert!(sleep.1 < 10_000_000, "the engine spins");
        }
        let mut now = self.now.subscribe();
        async move {
            tokio::task::yield_now().await;
            let _ = now.wait_for(|now| *now >= at.0).await;
        }
    }
}

/// What becomes of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stored,
    /// An error, and nothing is stored.
    Refused,
    /// An error, and all is stored.
    Unknown,
}

#[derive(Default)]
struct Faults {
    commits: VecDeque<Fate>,
    always: Option<Fate>,
    loads_fail: bool,
    condition: Condition,
    unstorable: Option<i64>,
    commits_held: Option<Arc<Semaphore>>,
    loads_held: Option<Arc<Semaphore>>,
    commits_tried: usize,
    loads: usize,
    peeks: usize,
}

/// The table, and what goes wrong with it.
#[derive(Clone, Default)]
pub(super) struct TestStore {
    pub(super) memory: MemoryStore,
    faults: Arc<Mutex<Faults>>,
}

impl TestStore {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }

    /// The fate of the next commit, after those already decided.
    pub(super) fn next_commit(&self, fate: Fate) {
        self.faults().commits.push_back(fate);
    }

    /// The fate of every commit, or none: stored.
    pub(super) fn every_commit(&self, fate: Option<Fate>) {
        self.faults().always = fate;
    }

    /// From now on no change of this row can be stored, though its commits succeed.
    pub(super) fn store_none_of(&self, id: i64) {
        self.faults().unstorable = Some(id);
    }

    pub(super) fn fail_loads(&self, fail: bool) {
        self.faults().loads_fail = fail;
    }

    /// What the table says of itself from now on.
    pub(super) fn has(&self, condition: Condition) {
        self.faults().condition = condition;
    }

    /// Holds commits until the answer is closed, unless they are held already.
    pub(super) fn hold_commits(&self) -> Arc<Semaphore> {
        let hold = Arc::new(Semaphore::new(0));
        self.faults().commits_held = Some(Arc::clone(&hold));
        hold
    }

    pub(super) fn hold_loads(&self) -> Arc<Semaphore> {
        let hold = Arc::new(Semaphore::new(0));
        self.faults().loads_held = Some(Arc::clone(&hold));
        hold
    }

    /// Nothing goes wrong any more.
    pub(super) fn clear(&self) {
        let mut faults = self.faults();
        faults.commits.clear();
        faults.always = None;
        faults.loads_fail = false;
    }

    /// Commits tried, reads, looks for changes.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let faults = self.faults();
        (faults.commits_tried, faults.loads, faults.peeks)
    }

    pub(super) fn commits(&self) -> usize {
        self.faults().commits_tried
    }
}

fn unavailable() -> Error {
    Error::Unavailable { what: "the test says so".to_owned(), source: None }
}

fn copy(batch: &Batch) -> Batch {
    Batch {
        status: batch.status.clone(),
        taken_over: batch.taken_over.clone(),
        spoiled: batch.spoiled.clone(),
        changes: batch.changes.clone(),
        polled: batch.polled.clone(),
        returned: batch.returned.clone(),
        pauses: batch.pauses.clone(),
        look: batch.look.as_ref().map(|look| Look {
            now: look.now,
            survey: look.survey,
            wants: look.wants.clone(),
            places: look.places.clone(),
            held_places: look.held_places,
            held_back: look.held_back.clone(),
            list_triggering: look.list_triggering,
            ageing: look.ageing,
        }),
        sign: batch.sign,
        now: batch.now,
    }
}

impl Store for TestStore {
    async fn start(&self, triggers: Vec<Arc<Trigger>>, now: UnixMillis) -> Result<Recovered, Error> {
        if self.faults().always == Some(Fate::Refused) {
            return Err(unavailable());
        }
        self.memory.start(triggers, now).await
    }

    async fn register(&self, triggers: Vec<Arc<Trigger>>) -> Result<(), Error> {
        if self.faults().always == Some(Fate::Refused) {
            return Err(unavailable());
        }
        self.memory.register(triggers).await
    }

    async fn commit(&self, mut batch: Batch) -> Result<Committed, Box<Failed>> {
        let (fate, hold) = {
            let mut faults = self.faults();
            faults.commits_tried += 1;
            let fate = faults.commits.pop_front().or_else(|| faults.always.clone());
            (fate.unwrap_or(Fate::Stored), faults.commits_held.clone())
        };
        tokio::task::yield_now().await;
        if let Some(hold) = hold {
            let _ = hold.acquire().await;
            let mut faults = self.faults();
            faults.commits_held = faults.commits_held.take().filter(|newer| !Arc::ptr_eq(newer, &hold));
        }
        match fate {
            Fate::Stored => {
                let unstorable = self.faults().unstorable;
                let before = batch.changes.len();
                batch.changes.retain(|change| Some(change.next.id) != unstorable);
                let lost = batch.changes.len() < before;
                let mut committed = self.memory.commit(batch).await?;
                committed.lost.extend(unstorable.filter(|_| lost));
                Ok(committed)
            }
            Fate::Refused => Err(Box::new(Failed { error: unavailable(), batch })),
            Fate::Unknown => {
                let _ = self.memory.commit(copy(&batch)).await;
                Err(Box::new(Failed { error: unavailable(), batch }))
            }
        }
    }

    async fn load(&self, ids: Vec<i64>, now: UnixMillis) -> Result<Loaded, Error> {
        let (fail, hold) = {
            let mut faults = self.faults();
            faults.loads += 1;
            (faults.loads_fail, faults.loads_held.clone())
        };
        tokio::task::yield_now().await;
        let rows = self.memory.load(ids, now).await;
        if let Some(hold) = hold {
            let _ = hold.acquire().await;
            let mut faults = self.faults();
            faults.loads_held = faults.loads_held.take().filter(|newer| !Arc::ptr_eq(newer, &hold));
        }
        if fail { Err(unavailable()) } else { rows }
    }

    async fn prune(&self, retention: Retention, now: UnixMillis, limit: u64) -> Result<Deleted, Error> {
        self.memory.prune(retention, now, limit).await
    }

    async fn settle(&self, plans: Option<Arc<Plans>>, now: UnixMillis) -> Result<Settled, Error> {
        self.memory.settle(plans, now).await
    }

    async fn changed(&self) -> Result<bool, Error> {
        self.faults().peeks += 1;
        tokio::task::yield_now().await;
        self.memory.changed().await
    }

    fn condition(&self) -> Condition {
        self.faults().condition.clone()
    }

    async fn hint(&self) {
        self.memory.hint().await;
    }

    fn note_firing(&self, slot: usize, id: i64, attempt: u32) -> Result<(), Error> {
        self.memory.note_firing(slot, id, attempt)
    }
}

/// What was put on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) id: i64,
    /// `fire`, or the path of what was asked.
    pub(super) what: String,
    pub(super) trigger: String,
    pub(super) url: Url,
    pub(super) key: Option<String>,
    pub(super) at: UnixMillis,
}

/// What the far end does.
#[derive(Clone, Debug)]
pub(super) enum Say {
    Answer { status: u16, location: Option<String>, retry_after: Option<Duration>, body: String },
    Broken(Break),
    Panic,
}

pub(super) fn answer(status: u16) -> Say {
    Say::Answer { status, location: None, retry_after: None, body: String::new() }
}

pub(super) fn to(status: u16, location: &str) -> Say {
    Say::Answer { status, location: Some(location.to_owned()), retry_after: None, body: String::new() }
}

pub(super) fn output(body: &str) -> Say {
    Say::Answer { status: 200, location: None, retry_after: None, body: body.to_owned() }
}

/// 202 with the status URI of a request.
pub(super) fn accepted(id: i64) -> Say {
    to(202, &format!("/status/{id}"))
}

pub(super) fn not_sent() -> Say {
    Say::Broken(Break::NotSent { code: Code::NotSent, why: "refused".to_owned() })
}

pub(super) fn lost() -> Say {
    Say::Broken(Break::MaybeSent { code: Code::ConnectionLost, why: "lost".to_owned() })
}

type Script = Box<dyn FnMut(&Sent) -> Option<Say> + Send>;

#[derive(Default)]
struct Far {
    script: Option<Script>,
    sent: Vec<Sent>,
    open: HashMap<i64, oneshot::Sender<Say>>,
    active: usize,
    most: usize,
    hung_up: Vec<i64>,
    wrong: Vec<String>,
    /// When the gate lets a probe through; none: it is open.
    gate: Option<(UnixMillis, bool)>,
}

/// The wire: what the script does not answer waits for the test.
#[derive(Clone)]
pub(super) struct Wire {
    far: Arc<Mutex<Far>>,
    memory: MemoryStore,
    clock: TestClock,
}

/// An exchange under way.
struct Active(Wire, i64, bool);

impl Drop for Active {
    fn drop(&mut self) {
        let mut far = self.0.far();
        far.active -= 1;
        if !self.2 {
            far.hung_up.push(self.1);
            far.open.remove(&self.1);
        }
    }
}

impl Wire {
    fn far(&self) -> MutexGuard<'_, Far> {
        self.far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn script(&self, script: impl FnMut(&Sent) -> Option<Say> + Send + 'static) {
        self.far().script = Some(Box::new(script));
    }

    /// Everything sent, as `id what`.
    pub(super) fn log(&self) -> Vec<String> {
        self.far().sent.iter().map(|sent| format!("{} {}", sent.id, sent.what)).collect()
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.far().sent.clone()
    }

    pub(super) fn fired(&self, id: i64) -> usize {
        self.far().sent.iter().filter(|sent| sent.id == id && sent.what == "fire").count()
    }

    pub(super) fn active(&self) -> usize {
        self.far().active
    }

    /// The most exchanges at once since the last call.
    pub(super) fn most(&self) -> usize {
        let mut far = self.far();
        let now = far.active;
        std::mem::replace(&mut far.most, now)
    }

    pub(super) fn hung_up(&self) -> Vec<i64> {
        self.far().hung_up.clone()
    }

    /// Whose exchanges wait for an answer.
    pub(super) fn waiting(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.far().open.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Shuts the gate: the next probe at `until`.
    pub(super) fn shut(&self, until: UnixMillis) {
        self.far().gate = Some((until, false));
    }

    pub(super) fn open(&self) {
        self.far().gate = None;
    }

    /// Answers the exchange that waits for it.
    pub(super) fn answer(&self, id: i64, say: Say) {
        let open = self.far().open.remove(&id);
        open.unwrap_or_else(|| panic!("nothing of {id} is on the wire")).send(say).unwrap();
    }

    /// What is wrong with sending this. Kept for the test to find: a panic here would be the engine's to bear.
    fn problem(&self, sent: &Sent) -> Option<String> {
        let Some(row) = self.memory.row(sent.id) else { return Some(format!("{sent:?} is of no row")) };
        let phase = row.taken.invocation.phase;
        let firing = sent.what == "fire";
        let right = match &phase {
            Phase::Triggering => firing,
            // What 307 leads to is asked, and not stored.
            Phase::Polling(url) | Phase::Collecting(url) => {
                !firing && (sent.url == *url || sent.what.starts_with("/hop/"))
            }
            // A poll that was begun when a cancel came.
            Phase::Finished(_) => !firing,
            Phase::Pending => false,
        };
        (!right).then(|| format!("{sent:?} was sent while the table says {phase:?}"))
    }

    fn pass(&self, now: UnixMillis, take: bool) -> Admission {
        let mut far = self.far();
        match &mut far.gate {
            None => Admission::Open,
            Some((next, probing)) if now < *next || *probing => {
                Admission::Shut { until: (*next).max(now.plus(SECOND)), code: Code::CredentialRefused }
            }
            Some((_, probing)) => {
                *probing = take;
                Admission::Probe
            }
        }
    }
}

impl Client for Wire {
    async fn exchange(&self, order: Exchange) -> Result<Reply, Break> {
        let (id, what, url, key) = match &order.wish {
            Wish::Fire { request, idempotency_key, departure, .. } => {
                departure.tell().expect("the table in memory takes it");
                (request.id, "fire".to_owned(), order.trigger.url.clone(), Some(idempotency_key.clone()))
            }
            Wish::Ask { url, .. } => {
                let id = url.path_segments().and_then(|mut s| s.next_back()?.parse().ok()).unwrap();
                (id, url.path().to_owned(), url.clone(), None)
            }
        };
        let sent = Sent {
            id,
            what,
            trigger: order.trigger.name.clone(),
            url: url.clone(),
            key,
            at: self.clock.now(),
        };
        let problem = self.problem(&sent);
        let (mut active, said, waits) = {
            let mut far = self.far();
            far.sent.push(sent.clone());
            far.wrong.extend(problem);
            far.active += 1;
            far.most = far.most.max(far.active);
            let active = Active(self.clone(), id, false);
            let mut script = far.script.take();
            let said = script.as_mut().and_then(|script| script(&sent));
            far.script = script;
            let (answer, waits) = oneshot::channel();
            if said.is_none() && far.open.insert(id, answer).is_some() {
                far.wrong.push(format!("two exchanges of {id} at once"));
            }
            (active, said, waits)
        };
        let said = match said {
            Some(said) => said,
            None => waits.await.expect("the test holds the other end"),
        };
        active.2 = true;
        match said {
            Say::Answer { status, location, retry_after, body } => Ok(Reply {
                status,
                url,
                location,
                retry_after,
                content_type: None,
                body: Body { total: body.len() as u64, bytes: body.into_bytes(), end: BodyEnd::Complete },
            }),
            Say::Broken(broke) => Err(broke),
            // Not `panic!`: there is nothing to be said about it.
            Say::Panic => std::panic::resume_unwind(Box::new("the script says so")),
        }
    }

    fn admission(&self, _trigger: &Trigger, now: UnixMillis) -> Admission {
        self.pass(now, true)
    }

    fn outlook(&self, _trigger: &Trigger, now: UnixMillis) -> Admission {
        self.pass(now, false)
    }
}

/// One engine with all that it stands on.
pub(super) struct Rig {
    pub(super) store: TestStore,
    pub(super) wire: Wire,
    pub(super) clock: TestClock,
    pub(super) settings: Settings,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) notices: mpsc::UnboundedReceiver<Notice>,
    pub(super) pulse: Pulse,
    engine: JoinHandle<Result<(), Error>>,
}

/// A trigger at `http://far.example`.
pub(super) fn trigger(name: &str) -> Trigger {
    Trigger::new(name, Url::parse("http://far.example/t").unwrap())
}

pub(super) fn held(name: &str) -> Trigger {
    Trigger { call_mode: CallMode::LongPolling, ..trigger(name) }
}

pub(super) fn settings(triggers: impl IntoIterator<Item = Trigger>) -> Settings {
    Settings {
        triggers: triggers.into_iter().map(|t| (t.name.clone(), Arc::new(t))).collect(),
        limits: Limits { max_in_flight: 1024, max_per_origin: 64, max_long_polls: 4096, poll_rate: None },
        // As by default.
        breaking: Breaking { failures: 50, initial: SECOND, max: 60 * SECOND },
        shutdown_grace: Duration::from_secs(75),
        fallback_poll: SECOND,
        ageing: Duration::ZERO,
        plans: Arc::default(),
    }
}

impl Rig {
    pub(super) async fn new(triggers: impl IntoIterator<Item = Trigger>) -> Self {
        Self::with(settings(triggers), |_| {}).await
    }

    /// One that finds the rows that `rows` makes.
    pub(super) async fn with(settings: Settings, rows: impl FnOnce(&TestStore)) -> Self {
        let clock = TestClock { now: watch::Sender::new(START.0), sleep: Arc::default() };
        let store = TestStore::default();
        rows(&store);
        let wire = Wire { far: Arc::default(), memory: store.memory.clone(), clock: clock.clone() };
        let (orders, notices, pulse, engine) = start(&store, &wire, &clock, &settings);
        let rig = Self { store, wire, clock, settings, orders, notices, pulse, engine };
        rig.settle().await;
        rig
    }

    /// Kills the engine where it stands.
    pub(super) async fn kill(&mut self) {
        self.engine.abort();
        let _ = (&mut self.engine).await;
        self.quiet().await;
    }

    pub(super) fn launch(&mut self) {
        (self.orders, self.notices, self.pulse, self.engine) =
            start(&self.store, &self.wire, &self.clock, &self.settings);
    }

    /// Kills the engine and starts another one.
    pub(super) async fn restart(&mut self) {
        self.kill().await;
        self.launch();
        self.settle().await;
    }

    pub(super) fn insert(&self, id: i64, trigger: &str) {
        self.insert_with(id, trigger, |_| {});
    }

    pub(super) fn insert_with(&self, id: i64, trigger: &str, with: impl FnOnce(&mut Row)) {
        let mut row = Row::new(id, trigger, self.clock.now());
        with(&mut row);
        self.store.memory.edit(|rows| rows.insert(id, row));
    }

    pub(super) fn cancel(&self, id: i64) {
        self.store.memory.edit(|rows| rows.get_mut(&id).unwrap().taken.invocation.cancel_requested = true);
    }

    pub(super) fn row(&self, id: i64) -> Row {
        self.store.memory.row(id).unwrap()
    }

    pub(super) fn state(&self, id: i64) -> &'static str {
        self.row(id).taken.invocation.phase.as_str()
    }

    pub(super) fn code(&self, id: i64) -> Option<&'static str> {
        self.row(id).taken.invocation.trouble.map(|trouble| trouble.code.as_str())
    }

    pub(super) fn count(&self, state: &str, ids: impl IntoIterator<Item = i64>) -> usize {
        ids.into_iter().filter(|id| self.state(*id) == state).count()
    }

    pub(super) fn turns(&self) -> u64 {
        self.clock.sleep.lock().unwrap().1
    }

    /// Lets everything happen that happens at this instant.
    pub(super) async fn settle(&self) {
        let began = self.turns();
        let mut before = began;
        loop {
            self.quiet().await;
            let now = self.turns();
            let wrong = &self.wire.far().wrong;
            assert!(wrong.is_empty(), "{wrong:#?}");
            if now == before {
                return;
            }
            assert!(now - began < SPIN, "the engine spins");
            before = now;
        }
    }

    async fn quiet(&self) {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets time pass, from one wake-up of the engine to the next.
    pub(super) async fn pass(&self, time: Duration) {
        let end = self.clock.now().plus(time).0;
        self.settle().await;
        for _ in 0..200_000 {
            let now = self.clock.now().0;
            let wake = if self.is_ended() { end } else { self.clock.sleep.lock().unwrap().0 };
            self.clock.now.send_replace(wake.clamp(now, end));
            self.settle().await;
            if self.clock.now().0 == end {
                return;
            }
            assert!(wake > now || self.is_ended(), "the engine wakes at a time that is over");
        }
        panic!("the engine wakes without end");
    }

    /// The wall clock steps back.
    pub(super) fn step_back(&self, time: Duration) {
        let back = i64::try_from(time.as_millis()).unwrap();
        self.clock.now.send_modify(|now| *now -= back);
    }

    pub(super) async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
        self.settle().await;
    }

    pub(super) async fn reload(&mut self, settings: Settings) {
        self.settings = settings.clone();
        self.order(Order::Reload(settings)).await;
    }

    pub(super) fn is_ended(&self) -> bool {
        self.engine.is_finished()
    }
}

type Started = (mpsc::Sender<Order>, mpsc::UnboundedReceiver<Notice>, Pulse, JoinHandle<Result<(), Error>>);

fn start(store: &TestStore, wire: &Wire, clock: &TestClock, settings: &Settings) -> Started {
    let (notices, noticed) = mpsc::unbounded_channel();
    let (orders, inbox) = mpsc::channel(4);
    let engine = Dispatcher::new(store.clone(), wire.clone(), clock.clone(), settings.clone(), notices);
    (orders, noticed, engine.pulse(), tokio::spawn(engine.run(inbox)))
}
