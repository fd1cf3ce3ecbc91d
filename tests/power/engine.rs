//! The whole engine, between that disk and a far end that remembers what it was sent: after the power has come back, no trigger
//! is fired a second time, and what was accepted is followed to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::mpsc;
use triggerd::backoff::Backoff;
use triggerd::client::{Admission, Client, Order as Exchange, Wish};
use triggerd::clock::{SystemClock, UnixMillis};
use triggerd::dispatch::{Breaking, Dispatcher, Limits, Order, Settings};
use triggerd::invocation::{Body, Break, Reply};
use triggerd::queue::sqlite::SqliteStore;
use triggerd::request::CallMode;
use triggerd::trigger::Trigger;
use url::Url;

use crate::disk::{Disk, Fate, Player};
use crate::survey::effort;
use crate::table::{FILE, look, options, put};
use crate::tape::Tape;

/// Requests of a day.
const REQUESTS: usize = 12;
/// Engines that start after a loss of power, in a usual run.
const RESTARTS: usize = 40;

/// What the far end was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sent {
    Firing,
    Poll,
}

/// Accepts each firing, and has the output at the second poll.
#[derive(Clone, Default)]
struct FarEnd {
    /// Tells when, by the operations before it.
    tape: Option<Arc<Tape>>,
    ledger: Arc<Mutex<Vec<(usize, Sent, i64)>>>,
}

impl FarEnd {
    /// The requests of which it was sent this, up to an operation; with repetitions.
    fn seen(&self, what: Sent, until: usize) -> Vec<i64> {
        let ledger = self.ledger.lock().unwrap();
        ledger.iter().filter(|(at, sent, _)| *at <= until && *sent == what).map(|(.., id)| *id).collect()
    }
}

impl Client for FarEnd {
    async fn exchange(&self, order: Exchange) -> Result<Reply, Break> {
        let (sent, id, url) = match order.wish {
            Wish::Fire { request, .. } => (Sent::Firing, request.id, order.trigger.url.clone()),
            Wish::Ask { url, .. } => {
                let id = url.path_segments().and_then(|mut path| path.next_back()?.parse().ok()).unwrap();
                (Sent::Poll, id, url)
            }
        };
        let at = self.tape.as_ref().map_or(0, |tape| tape.len());
        self.ledger.lock().unwrap().push((at, sent, id));
        let (status, location) = match (sent, url.path().starts_with("/status")) {
            (Sent::Firing, _) => (202, Some(format!("/status/{id}"))),
            (Sent::Poll, true) => (303, Some(format!("/output/{id}"))),
            (Sent::Poll, false) => (200, None),
        };
        let body = Body { bytes: b"done".to_vec(), total: 4, ..Body::default() };
        Ok(Reply { status, url, location, retry_after: None, content_type: None, body })
    }

    fn admission(&self, _: &Trigger, _: UnixMillis) -> Admission {
        Admission::Open
    }

    fn outlook(&self, _: &Trigger, _: UnixMillis) -> Admission {
        Admission::Open
    }
}

fn trigger() -> Arc<Trigger> {
    let quick = Backoff { initial: Duration::from_millis(5), factor: 1.0, max: Duration::from_millis(5) };
    let mut trigger = Trigger::new("t", Url::parse("https://far.example/fire").unwrap());
    trigger.call_mode = CallMode::AsyncRequestReply;
    trigger.poll = quick;
    assert!(!trigger.repeatable);
    Arc::new(trigger)
}

/// A daemon's engine on the database of a folder.
struct Engine {
    store: SqliteStore,
    orders: mpsc::Sender<Order>,
    task: tokio::task::JoinHandle<Result<(), triggerd::queue::Error>>,
    observer: SqliteConnection,
}

impl Engine {
    async fn start(folder: &Path, full: bool, far_end: FarEnd) -> Self {
        let store = SqliteStore::open(options(folder, full), &[trigger()]).await.unwrap();
        let settings = Settings {
            triggers: BTreeMap::from([("t".to_owned(), trigger())]),
            limits: Limits { max_in_flight: 64, max_per_origin: 8, max_long_polls: 64, poll_rate: None },
            breaking: Breaking::NEVER,
            shutdown_grace: Duration::from_secs(5),
            fallback_poll: Duration::from_millis(50),
            ageing: Duration::ZERO,
            plans: Arc::default(),
        };
        let (notices, _) = mpsc::unbounded_channel();
        let (orders, inbox) = mpsc::channel(1);
        let engine = Dispatcher::new(store.clone(), far_end, SystemClock, settings, notices);
        Self { store, orders, task: tokio::spawn(engine.run(inbox)), observer: look(folder).await.unwrap() }
    }

    /// Waits, as a producer does, until everything has ended: the state of each request.
    async fn outcomes(&mut self) -> BTreeMap<i64, String> {
        const TRIES: usize = 20_000;
        for tried in 0.. {
            assert!(tried < TRIES, "the engine gets nowhere");
            let open: i64 = sqlx::query_scalar("SELECT count(*) FROM requests WHERE finished_at IS NULL")
                .fetch_one(&mut self.observer)
                .await
                .unwrap();
            if open == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let all: Vec<(i64, String)> =
            sqlx::query_as("SELECT id, state FROM requests").fetch_all(&mut self.observer).await.unwrap();
        all.into_iter().collect()
    }

    async fn stop(self) {
        self.observer.close().await.unwrap();
        self.orders.send(Order::Stop).await.unwrap();
        self.task.await.unwrap().unwrap();
        self.store.close().await;
    }
}

/// What came of starting again after each loss of power.
#[derive(Debug, Default)]
struct Found {
    restarts: usize,
    firings: usize,
    /// Requests that were fired before and after.
    repeated: usize,
    /// Inserts that were answered, and are gone.
    gone: usize,
    /// Accepted jobs whose status URI had been asked, and which were not followed to their end.
    forgotten: usize,
    /// Firings in doubt: it is not known whether they were answered.
    uncertain: usize,
}

async fn lose_power(full: bool) -> Found {
    crate::vfs::install();
    let folder = tempfile::tempdir().unwrap();
    let tape = Tape::begin(folder.path());
    let far_end = FarEnd { tape: Some(tape.clone()), ..FarEnd::default() };
    let mut engine = Engine::start(folder.path(), full, far_end.clone()).await;
    tape.note(crate::tape::Act::SyncAll);
    let producer = SqliteConnectOptions::new().filename(folder.path().join(FILE));
    let mut producer = producer.connect().await.unwrap();
    let mut inserted = Vec::new();
    for _ in 0..REQUESTS {
        let mut insert = producer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let done = sqlx::query("INSERT INTO requests (trigger_name) VALUES ('t')")
            .execute(&mut *insert)
            .await
            .unwrap();
        insert.commit().await.unwrap();
        inserted.push((tape.len(), done.last_insert_rowid()));
    }
    let outcomes = engine.outcomes().await;
    assert!(outcomes.values().all(|state| state == "succeeded"), "{outcomes:?}");
    let mut found = Found { firings: far_end.seen(Sent::Firing, usize::MAX).len(), ..Found::default() };
    assert_eq!(found.firings, REQUESTS);

    // The power is lost while something is on the wire, and at other times.
    let mut points: BTreeSet<_> = far_end.ledger.lock().unwrap().iter().map(|(at, ..)| *at).collect();
    let mut rng = fastrand::Rng::with_seed(5);
    let first = inserted[0].0;
    while points.len() < RESTARTS * effort().min(20) {
        points.insert(rng.usize(first..tape.len()));
    }
    let mut player = Player::new(&tape, Disk::Honest);
    while player.step() {
        if !points.contains(&player.played) {
            continue;
        }
        let fate = if rng.bool() { Fate::None } else { Fate::Some(rng.u64(..)) };
        let again = FarEnd::default();
        let image = put(&player.image(fate));
        let mut engine = Engine::start(image.path(), full, again.clone()).await;
        let outcomes = engine.outcomes().await;
        engine.stop().await;
        let (before, after) = (far_end.seen(Sent::Firing, player.played), again.seen(Sent::Firing, 0));
        let polled = far_end.seen(Sent::Poll, player.played);
        let is = |id: &i64, state| outcomes.get(id).is_some_and(|found| found == state);
        found.restarts += 1;
        found.repeated += after.iter().filter(|id| before.contains(id)).count();
        found.gone +=
            inserted.iter().filter(|(at, id)| *at <= player.played && !outcomes.contains_key(id)).count();
        found.forgotten +=
            polled.iter().collect::<BTreeSet<_>>().iter().filter(|id| !is(id, "succeeded")).count();
        found.uncertain += outcomes.values().filter(|state| *state == "uncertain").count();
        assert_eq!(after.len(), after.iter().collect::<BTreeSet<_>>().len(), "fired twice by one engine");
    }
    engine.stop().await;
    producer.close().await.unwrap();
    found
}

#[tokio::test]
async fn with_full_no_trigger_is_fired_twice_and_no_accepted_job_forgotten_by_a_loss_of_power() {
    let found = lose_power(true).await;
    println!("the engine, full: {found:?}");
    assert_eq!((found.repeated, found.gone, found.forgotten), (0, 0, 0));
    assert!(found.uncertain > 0, "the power was never lost between a firing and its answer");
}

#[tokio::test]
async fn with_normal_a_loss_of_power_may_fire_a_trigger_twice_but_loses_no_insert_of_a_careful_producer() {
    let found = lose_power(false).await;
    println!("the engine, normal: {found:?}");
    assert_eq!(found.gone, 0);
    // What was committed since the last sign of life may be lost: an intent, or a status URI.
    assert!(found.repeated + found.forgotten > 0, "is it normal at all?");
}
