//! Programs that insert all the time, and a ledger of what they have committed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::task::JoinSet;
use triggerd::clock::{Clock as _, SystemClock, UnixMillis};

use crate::kills::STALL;
use crate::site::Site;

const PRODUCERS: u64 = 3;
/// Rows of one transaction.
const MOST_ROWS: usize = 8;
const LONGEST_PAUSE: u64 = 100;
/// With so many that are not taken up yet, a producer waits: a start must not become slower from kill to kill.
const BACKLOG: i64 = 200;

/// A trigger of the configuration.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) repeatable: bool,
}

pub(crate) const MODES: [&str; 3] = ["AsyncRequestReply", "LongPolling", "FireAndForget"];
/// Those that may not be fired twice are called more often.
pub(crate) const KINDS: [Kind; 6] = [
    Kind { name: "polled", mode: MODES[0], repeatable: false },
    Kind { name: "held", mode: MODES[1], repeatable: false },
    Kind { name: "forgotten", mode: MODES[2], repeatable: false },
    Kind { name: "polled-again", mode: MODES[0], repeatable: true },
    Kind { name: "held-again", mode: MODES[1], repeatable: true },
    Kind { name: "forgotten-again", mode: MODES[2], repeatable: true },
];

/// What all producers know.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The requests whose commits were confirmed, by id: the producer's own number, and the trigger.
    pub(crate) committed: Mutex<HashMap<i64, (u64, &'static Kind)>>,
    /// Rows that were inserted and taken back.
    pub(crate) taken_back: AtomicU64,
    /// When a transaction did not come to its end: the table was locked, or the disk was slow, for the daemon as well.
    pub(crate) slow: Mutex<Vec<(UnixMillis, UnixMillis)>>,
    number: AtomicU64,
    stop: AtomicBool,
}

/// All of them.
pub(crate) struct Producers {
    pub(crate) ledger: Arc<Ledger>,
    tasks: JoinSet<()>,
}

impl Producers {
    /// The database must be there.
    pub(crate) async fn start(site: &Site, seed: u64) -> Self {
        let (ledger, mut tasks) = (Arc::<Ledger>::default(), JoinSet::new());
        for nth in 0..PRODUCERS {
            let rng = Rng::with_seed(seed.wrapping_add(nth + 1));
            tasks.spawn(insert(site.connect().await, Arc::clone(&ledger), rng));
        }
        Self { ledger, tasks }
    }

    pub(crate) async fn stop(self) -> Arc<Ledger> {
        self.ledger.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        self.ledger
    }
}

async fn insert(mut table: SqliteConnection, ledger: Arc<Ledger>, mut rng: Rng) {
    while !ledger.stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(rng.u64(0..=LONGEST_PAUSE))).await;
        let waiting = "SELECT count(*) FROM requests WHERE state = 'pending'";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut table).await.expect("it can be read");
        if waiting >= BACKLOG {
            continue;
        }
        let mut inserted = Vec::new();
        let begun = SystemClock.now();
        let mut tx = table.begin_with("BEGIN IMMEDIATE").await.expect("nobody holds the lock for long");
        for _ in 0..rng.usize(1..=MOST_ROWS) {
            let kind = &KINDS[if rng.u8(0..4) > 0 { rng.usize(0..3) } else { rng.usize(3..6) }];
            let number = ledger.number.fetch_add(1, Ordering::Relaxed) + 1;
            let arguments = json!({"n": number, "emulate": manners(kind, &mut rng)}).to_string();
            let sql = "INSERT INTO requests (trigger_name, arguments) VALUES (?1, ?2) RETURNING id";
            let ids: Vec<i64> = sqlx::query_scalar(sql)
                .bind(kind.name)
                .bind(arguments)
                .fetch_all(&mut *tx)
                .await
                .expect("the row is sound");
            inserted.push((ids[0], (number, kind)));
        }
        if rng.u8(0..10) == 0 {
            tx.rollback().await.expect("it can be taken back");
            ledger.taken_back.fetch_add(inserted.len() as u64, Ordering::Relaxed);
        } else {
            tx.commit().await.expect("the disk has room");
            ledger.committed.lock().unwrap_or_else(PoisonError::into_inner).extend(inserted);
        }
        let ended = SystemClock.now();
        if ended.since(begun) > STALL {
            ledger.slow.lock().unwrap_or_else(PoisonError::into_inner).push((begun, ended));
        }
    }
    table.close().await.expect("it closes");
}

/// How the far end shall treat it.
fn manners(kind: &Kind, rng: &mut Rng) -> Value {
    let longest = if rng.u8(0..5) == 0 { 2500 } else { 400 };
    let duration = format!("{}ms", rng.u64(20..longest));
    let end = if rng.u8(0..20) == 0 { "fault" } else { "success" };
    let slow = format!("{}ms", rng.u64(1..120));
    let trouble = match rng.u8(0..24) {
        0 => json!([{"on": "start", "status": 429}]),
        1 => json!([{"on": "start", "status": 503, "retry_after": "1s"}]),
        2 => json!([{"on": "start", "status": 502, "after": true}]),
        3 => json!([{"on": "start", "do": "drop"}]),
        4 => json!([{"on": "start", "do": "reset", "after": true}]),
        5 => json!([{"on": "status", "status": 502, "times": 2}]),
        6 => json!([{"on": "status", "do": "drop"}, {"on": "output", "do": "reset"}]),
        7 => json!([{"on": "output", "do": "cut"}]),
        8..16 => json!([{"on": "start", "do": "slow", "delay": slow}]),
        _ => json!([]),
    };
    // What is forgotten is never asked for.
    if kind.mode == MODES[2] && matches!(trouble[0]["on"].as_str(), Some("status" | "output")) {
        return json!({"duration": duration});
    }
    json!({"duration": duration, "end": end, "trouble": trouble})
}
