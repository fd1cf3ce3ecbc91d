//! The far end: the emulator in this process, which no kill reaches, and what we keep of its ledger.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use triggerd::clock::UnixMillis;
use triggerd::emulator::Emulator;
use triggerd::emulator::ledger::{Answered, Entry};
use triggerd::emulator::settings::Settings;

/// A folder as good as any.
pub(crate) const FOLDER: &str = "00000000-0000-4000-8000-000000000001";
/// Between two looks at the emulator's ledger, which keeps far more calls than come meanwhile.
const TICK: Duration = Duration::from_millis(5);
const SETTINGS: &str = r#"
listen = "127.0.0.1:0"
ledger_calls = 100000
max_jobs = 1000000
[defaults]
hold = "300ms"
"#;

/// One firing, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Firing {
    /// Counts all calls.
    pub(crate) n: u64,
    pub(crate) time: UnixMillis,
    /// When its answer went out, or its caller was gone.
    pub(crate) answered: Option<UnixMillis>,
    pub(crate) answer: Answered,
    pub(crate) made_job: bool,
    pub(crate) key: Arc<str>,
    /// The producer's own number of the request; none: its body did not come.
    pub(crate) number: Option<u64>,
}

impl Firing {
    /// The far end said that it starts nothing, and started nothing.
    pub(crate) fn is_refused(&self) -> bool {
        !self.made_job && matches!(self.answer, Answered::Status(429 | 503))
    }
}

/// All that has come so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The first call that is not done with.
    next: u64,
    /// The last call that was seen.
    seen: u64,
    /// Firings by request.
    pub(crate) firings: HashMap<i64, BTreeMap<u64, Firing>>,
    /// The request that each job is of.
    jobs: HashMap<String, i64>,
    /// The number of the first call of a status or output URI, by request.
    pub(crate) first_asked: HashMap<i64, u64>,
    pub(crate) asked: u64,
    /// Whom to wait for.
    pub(crate) awaited: Awaited,
    /// Calls that went by unseen, and keys that are none: there must be no such.
    pub(crate) strange: Vec<String>,
}

/// Requests that were polled when the daemon died, and are not seen to be polled again yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Awaited {
    pub(crate) left: HashSet<i64>,
    /// When the last of the others was.
    pub(crate) last: Option<UnixMillis>,
}

/// The emulator, and a task that reads its ledger.
pub(crate) struct FarEnd {
    pub(crate) emulator: Arc<Emulator>,
    ledger: Arc<Mutex<Ledger>>,
}

impl FarEnd {
    pub(crate) async fn start() -> Self {
        let settings = Settings::parse("emulator.toml", SETTINGS).expect("the settings are sound");
        let emulator = Emulator::start(settings).await.expect("loopback has a free port");
        let far = Self { emulator: Arc::new(emulator), ledger: Arc::default() };
        tokio::spawn({
            let (emulator, ledger) = (Arc::clone(&far.emulator), Arc::clone(&far.ledger));
            async move {
                loop {
                    lock(&ledger).look(&emulator);
                    tokio::time::sleep(TICK).await;
                }
            }
        });
        far
    }

    /// The ledger as it is now.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        let mut ledger = lock(&self.ledger);
        ledger.look(&self.emulator);
        ledger
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Waits from now on for these to be polled again.
    pub(crate) fn wait_for(&mut self, requests: HashSet<i64>) {
        self.awaited = Awaited { left: requests, last: None };
    }

    fn look(&mut self, emulator: &Emulator) {
        let from = self.next.max(1);
        let entries = emulator.calls_from(from);
        if let Some(first) = entries.first().filter(|first| first.n > from) {
            self.strange.push(format!("the calls {from} to {} were not seen", first.n - 1));
        }
        let mut next = None;
        for entry in &entries {
            let is_open = match entry.leg {
                Some("start") => self.start(entry),
                Some("status" | "output") => self.follow(entry),
                _ => {
                    self.strange.push(format!("a call of {} {}", entry.method, entry.path));
                    false
                }
            };
            if is_open && next.is_none() {
                next = Some(entry.n);
            }
            self.seen = self.seen.max(entry.n);
        }
        self.next = next.or_else(|| entries.last().map(|entry| entry.n + 1)).unwrap_or(from);
    }

    /// Whether it must be looked at again.
    fn start(&mut self, entry: &Entry) -> bool {
        let is_open = entry.answer == Answered::Open;
        let Some((key, request)) = entry.idempotency_key.as_ref().and_then(|key| Some((key, request(key)?)))
        else {
            self.strange.push(format!("a firing with the key {:?}", entry.idempotency_key));
            return false;
        };
        if let Some(job) = &entry.job {
            self.jobs.insert(job.clone(), request);
        }
        let number = entry.arguments.as_ref().and_then(|arguments| {
            serde_json::from_str::<serde_json::Value>(arguments.get()).ok()?.get("n")?.as_u64()
        });
        let firing = Firing {
            n: entry.n,
            time: entry.time,
            answered: entry.answered,
            answer: entry.answer,
            made_job: entry.job.is_some(),
            key: Arc::clone(key),
            number,
        };
        self.firings.entry(request).or_default().insert(entry.n, firing);
        is_open
    }

    fn follow(&mut self, entry: &Entry) -> bool {
        let Some(job) = &entry.job else {
            if entry.answer != Answered::Open && entry.answer != Answered::Left {
                self.strange.push(format!("a call of {} that leads to no job", entry.path));
            }
            return entry.answer == Answered::Open;
        };
        let Some(&request) = self.jobs.get(job) else {
            self.strange.push(format!("a call of job {job}, which nobody started"));
            return false;
        };
        self.asked += u64::from(entry.n > self.seen);
        self.first_asked.entry(request).or_insert(entry.n);
        if self.awaited.left.remove(&request) {
            self.awaited.last = self.awaited.last.max(Some(entry.time));
        }
        false
    }
}

/// The key is installation, request, time and round.
fn request(key: &str) -> Option<i64> {
    key.rsplit('-').nth(2)?.parse().ok()
}
