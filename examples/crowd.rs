//! How long the table takes to give out work among many rows that wait: schedules, concurrency keys, pending requests.
//!
//! `cargo run --release --example crowd` prints figures: the same work in tables of growing size, so that what grows with
//! the size shows. It uses a temporary folder, no network, and commits that do not wait for the disk.

#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::sync::Arc;
use std::time::Duration;

use triggerd::clock::{UnixMillis, monotonic};
use triggerd::invocation::{Invocation, Outcome, Phase};
use triggerd::queue::sqlite::{Options, SqliteStore};
use triggerd::queue::{Batch, Change, Committed, Look, Store, Taken, Want};
use triggerd::schedule::{Plan, Plans};
use triggerd::trigger::{Quota, Rate, Trigger};
use url::Url;

/// 2026-11-24T12:00:00Z.
const NOW: UnixMillis = UnixMillis(1_795_521_600_000);
const KEYS: usize = 1000;
const SCHEDULES: usize = 10_000;

type Failure = Box<dyn std::error::Error>;

struct Crowd {
    folder: tempfile::TempDir,
    store: SqliteStore,
    triggers: Vec<Arc<Trigger>>,
    now: UnixMillis,
}

impl Crowd {
    async fn new() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let url = Url::parse("http://far.example/")?;
        let mut keyed = Trigger::new("keyed", url.clone());
        keyed.max_concurrent_per_key = Some(1);
        keyed.rate_per_key =
            Some(Quota { rate: Rate { limit: 1000, per: Duration::from_secs(1) }, burst: 1000 });
        let triggers = vec![Arc::new(keyed), Arc::new(Trigger::new("plain", url))];
        let options = Options { path: folder.path().join("queue.db"), full: false, checkpoint: true };
        let store = SqliteStore::open(options, &triggers).await?;
        store.start(triggers.clone(), NOW).await?;
        Ok(Self { folder, store, triggers, now: NOW })
    }

    /// What a producer does.
    async fn run(&self, sql: String) -> Result<(), Failure> {
        use sqlx::ConnectOptions as _;
        let path = self.folder.path().join("queue.db");
        let mut producer = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut producer).await?;
        sqlx::Connection::close(producer).await?;
        Ok(())
    }

    async fn insert(&self, rows: usize) -> Result<(), Failure> {
        self.run(format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO requests (trigger_name, run_at, concurrency_key) SELECT 'keyed', {}, 'key ' || (i % {KEYS}) FROM n",
            NOW.0 - 1000
        ))
        .await
    }

    async fn commit(&self, survey: bool, changes: Vec<Change>) -> Result<(Committed, Duration), Failure> {
        let want = |trigger: &Arc<Trigger>| Want {
            trigger: Arc::clone(trigger),
            origin: 0,
            limit: 1000,
            ordinary: usize::MAX,
            held: usize::MAX,
        };
        let look = Look {
            now: self.now,
            survey,
            wants: self.triggers.iter().map(want).collect(),
            places: vec![2000],
            held_places: 0,
            held_back: Vec::new(),
            list_triggering: false,
            ageing: Duration::from_secs(600),
        };
        let begun = monotonic();
        let batch = Batch { changes, look: Some(look), now: self.now, ..Batch::default() };
        let committed = self.store.commit(batch).await.map_err(|failed| failed.error)?;
        Ok((committed, begun.elapsed()))
    }

    /// Looks until nothing more is taken: what was taken, how many commits, the longest.
    async fn drain(&self) -> Result<(Vec<Taken>, usize, Duration), Failure> {
        let (mut taken, mut commits, mut longest) = (Vec::new(), 0, Duration::ZERO);
        loop {
            let (committed, took) = self.commit(commits == 0, Vec::new()).await?;
            commits += 1;
            longest = longest.max(took);
            let hungry = committed.hungry.iter().any(|name| name == "keyed");
            taken.extend(committed.intended);
            if !hungry {
                return Ok((taken, commits, longest));
            }
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ended(row: &Taken, now: UnixMillis) -> Change {
    let before = row.invocation.clone();
    let phase = Phase::Finished(Outcome::Succeeded);
    let next = Invocation { phase, attempt: before.attempt + 1, ..before };
    Change { from: "triggering", next, due_at: None, finished_at: Some(now), attempt: None, output: None }
}

/// Keys with one request each at the far end, and all the others behind them.
async fn keys(rows: usize) -> Result<(), Failure> {
    let mut crowd = Crowd::new().await?;
    crowd.insert(rows).await?;
    let begun = monotonic();
    let (mut taken, commits, longest) = crowd.drain().await?;
    let put_aside = begun.elapsed();
    // Nothing to do: every row waits for its key.
    let mut idle = Vec::new();
    // A row of another trigger among them.
    let mut other = Vec::new();
    // One request ends, and the next of its key begins.
    let mut next = Vec::new();
    for _ in 0..200 {
        crowd.now = crowd.now.plus(Duration::from_millis(10));
        idle.push(crowd.commit(true, Vec::new()).await?.1);
        crowd.run(format!("INSERT INTO requests (trigger_name, run_at) VALUES ('plain', {})", NOW.0)).await?;
        let (committed, took) = crowd.commit(true, Vec::new()).await?;
        assert!(committed.intended.iter().any(|row| row.trigger_name == "plain"), "it was not taken");
        other.push(took);
        let Some(row) = taken.pop() else { break };
        let (committed, took) = crowd.commit(false, vec![ended(&row, crowd.now)]).await?;
        next.push(took);
        taken.splice(0..0, committed.intended.into_iter().filter(|row| row.trigger_name == "keyed"));
    }
    println!(
        "{rows:>8} | {:>9.1?} in {commits:>3}, longest {:>6.1?} | {:>7.3?} | {:>7.3?} | {:>7.3?}",
        put_aside,
        longest,
        median(idle),
        median(other),
        median(next)
    );
    crowd.store.close().await;
    Ok(())
}

/// Schedules that are all due at one instant, and then none of them.
async fn schedules(many: usize) -> Result<(), Failure> {
    let mut crowd = Crowd::new().await?;
    let plan = |n: usize| Plan::new(&format!("s{n}"), "plain", "0 0 * * * ?", "Europe/Berlin");
    let plans = Arc::new(Plans { schedules: (0..many).map(plan).collect(), calendars: Vec::new() });
    let registered = monotonic();
    crowd.store.settle(Some(plans), NOW).await?;
    let register = registered.elapsed();
    let settle = async |now: UnixMillis| -> Result<(usize, usize, Duration), Failure> {
        let (mut requests, mut commits, mut longest) = (0, 0, Duration::ZERO);
        loop {
            let begun = monotonic();
            let settled = crowd.store.settle(None, now).await?;
            longest = longest.max(begun.elapsed());
            requests += settled.requests.len();
            commits += 1;
            if settled.next.is_none_or(|next| next > now) {
                return Ok((requests, commits, longest));
            }
        }
    };
    settle(NOW).await?;
    let begun = monotonic();
    let (requests, commits, longest) = settle(NOW.plus(Duration::from_secs(3600))).await?;
    let all = begun.elapsed();
    crowd.now = NOW.plus(Duration::from_secs(3601));
    let mut idle = Vec::new();
    for _ in 0..200 {
        let begun = monotonic();
        crowd.store.settle(None, crowd.now).await?;
        idle.push(begun.elapsed());
    }
    println!(
        "{many:>8} | {register:>8.1?} | {requests:>6} in {all:>8.1?} ({:.0}/s), {commits} commits, longest {longest:.1?} | {:>7.3?}",
        requests as f64 / all.as_secs_f64(),
        median(idle)
    );
    crowd.store.close().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    println!("{KEYS} concurrency keys, max_concurrent_per_key = 1, a rate for each; medians of 200 commits");
    println!("pending  | put aside once, in commits       | nothing  | of another | next of its");
    println!("rows     |                                  | to take  | trigger    | key");
    for rows in [1000, 10_000, 100_000] {
        keys(rows).await?;
    }
    println!();
    println!("schedules | registered | all due at once | one more look, none due (median of 200)");
    for many in [100, 1000, SCHEDULES] {
        schedules(many).await?;
    }
    Ok(())
}
