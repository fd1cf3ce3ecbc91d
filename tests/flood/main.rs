//! Floods: a great many rows at once, a producer that never stops, many producers at the same time. Prints figures, and fails
//! where something is lost, fired twice, starved, or not bounded.
//!
//! `cargo test` runs a small one. The one that the documentation speaks of:
//!
//! ```sh
//! cargo test --release --test flood -- --rows 1000000 --producers 64 --seconds 20
//! ```
#![expect(dead_code, reason = "what it shares with the other tests has more than it needs")]
#![expect(clippy::print_stdout, reason = "it prints figures")]

#[path = "../it/support/arguments.rs"]
mod arguments;
#[path = "../it/support/daemon.rs"]
mod daemon;
mod far_end;

use std::future::Future;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::task::JoinSet;
use triggerd::clock::monotonic;

use arguments::Wish;
use daemon::{Daemon, Site, Table};
use far_end::FarEnd;

const LONGEST: Duration = Duration::from_secs(600);
/// Between two rows of the quiet trigger.
const QUIET_PAUSE: Duration = Duration::from_millis(100);
/// Memory that no flood may drive the daemon beyond, in KiB.
const MOST_MEMORY: u64 = 256 << 10;
/// Rows of a flood that may be fired between the INSERT of a quiet row and its firing: two commits of the most rows that
/// one takes, and the places of two origins.
const MOST_AHEAD: i64 = 4000;

async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONGEST, future).await.expect("the flood hangs")
}

fn main() -> ExitCode {
    const OPTIONS: [&str; 3] = ["--rows", "--producers", "--seconds"];
    let numbers = match arguments::read("flood", &OPTIONS, std::env::args().skip(1)) {
        Ok(Wish::Run(numbers)) => numbers,
        Ok(Wish::List) => {
            println!("flood: test");
            return ExitCode::SUCCESS;
        }
        Ok(Wish::Nothing) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let number = |name: &str, usual| numbers.get(name).copied().unwrap_or(usual);
    let (rows, producers) = (number("--rows", 10_000), number("--producers", 16));
    let time = Duration::from_secs(number("--seconds", 2));
    tokio::runtime::Runtime::new().expect("the system has threads").block_on(async {
        println!("\nflood: {rows} rows in one transaction");
        one_transaction(rows).await;
        println!("flood: a producer that never stops, {} s", time.as_secs());
        never_stops(time).await;
        println!("flood: {producers} producers at once, {} s", time.as_secs());
        many_producers(producers, time).await;
    });
    println!("flood: ok");
    ExitCode::SUCCESS
}

/// A daemon with two triggers of one origin: `flood`, and `quiet`, of which somebody wants one firing now and then.
async fn begin() -> (FarEnd, Site, Daemon) {
    let far = FarEnd::start().await;
    let trigger = |name: &str| {
        format!("[triggers.{name}]\nurl = \"http://{}/{name}\"\ncall_mode = \"FireAndForget\"\n", far.address)
    };
    let site = Site::new(&format!(
        "[log]\nfilter = \"warn,triggerd::daemon=info\"\n{}{}",
        trigger("flood"),
        trigger("quiet")
    ));
    let daemon = site.start().await;
    (far, site, daemon)
}

/// All is fired once; prints how long the quiet ones waited, and what the daemon took.
async fn end(far: FarEnd, mut table: Table, daemon: Daemon, quiet: Waits, begun: Instant) {
    let open = "SELECT count(*) FROM (SELECT 1 FROM requests WHERE state = 'pending' UNION ALL SELECT 1 FROM requests WHERE state = 'triggering' LIMIT 1)";
    while table.number(open).await > 0 {
        assert!(begun.elapsed() < LONGEST, "the flood does not end");
        tokio::time::sleep(QUIET_PAUSE).await;
    }
    let took = begun.elapsed();
    let total = table.number("SELECT count(*) FROM requests").await;
    let dispatched = table.number("SELECT count(*) FROM requests WHERE state = 'dispatched'").await;
    let memory = daemon.peak_memory();
    println!(
        "  {total} requests ended in {:.1} s, {:.0} a second; memory at most {:.1} MiB; CPU {:.1} s",
        took.as_secs_f64(),
        f64::from(u32::try_from(total).unwrap_or(u32::MAX)) / took.as_secs_f64(),
        memory as f64 / 1024.0,
        daemon.cpu_time().as_secs_f64()
    );
    let waits = "SELECT max(started_at - created_at), (SELECT max(n) FROM (SELECT (SELECT count(*) FROM requests AS f \
         WHERE f.trigger_name = 'flood' AND f.started_at > q.created_at AND f.started_at < q.started_at) AS n \
         FROM (SELECT * FROM requests WHERE trigger_name = 'quiet' ORDER BY started_at - created_at DESC LIMIT 3) AS q)) \
         FROM requests WHERE trigger_name = 'quiet'";
    let (longest, ahead): (Option<i64>, Option<i64>) = table.row(waits).await;
    quiet.print("INSERTs of the quiet trigger");
    println!(
        "  from such an INSERT to its intent at most {} ms; {} rows of the flood were fired in between",
        longest.unwrap_or(0),
        ahead.unwrap_or(0)
    );
    assert!(ahead.unwrap_or(0) <= MOST_AHEAD, "the flood keeps others waiting");
    assert_eq!(dispatched, total, "some did not end well");
    assert_eq!(far.firings(), u64::try_from(total).expect("a count"), "fired twice, or not at all");
    assert!(memory < MOST_MEMORY, "memory is not bounded: {memory} KiB");
    table.close().await;
    daemon.stop().await;
}

async fn one_transaction(rows: u64) {
    let (far, site, daemon) = begin().await;
    let mut table = site.table().await;
    let quiet = Producer::start(&site, "quiet", QUIET_PAUSE).await;
    let begun = monotonic();
    table
        .run(format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {rows}) \
             INSERT INTO requests (trigger_name, arguments) SELECT 'flood', json_object('n', i) FROM n"
        ))
        .await;
    println!("  the transaction took {:.1} s", begun.elapsed().as_secs_f64());
    let counting = "SELECT count(*) FROM (SELECT 1 FROM requests WHERE state = 'pending' LIMIT 2)";
    while table.number(counting).await > 1 {
        assert!(begun.elapsed() < LONGEST, "the flood does not end");
        tokio::time::sleep(QUIET_PAUSE).await;
    }
    end(far, table, daemon, quiet.stop().await, begun).await;
}

async fn never_stops(time: Duration) {
    let (far, site, daemon) = begin().await;
    let table = site.table().await;
    let quiet = Producer::start(&site, "quiet", QUIET_PAUSE).await;
    let flood = Producer::start(&site, "flood", Duration::ZERO).await;
    let begun = monotonic();
    tokio::time::sleep(time).await;
    flood.stop().await.print("INSERTs without a pause");
    end(far, table, daemon, quiet.stop().await, begun).await;
}

async fn many_producers(producers: u64, time: Duration) {
    let (far, site, daemon) = begin().await;
    let table = site.table().await;
    let quiet = Producer::start(&site, "quiet", QUIET_PAUSE).await;
    let mut crowd = Vec::new();
    for _ in 0..producers {
        crowd.push(Producer::start(&site, "flood", Duration::ZERO).await);
    }
    let begun = monotonic();
    tokio::time::sleep(time).await;
    let mut waits = Waits::default();
    let mut stopping: JoinSet<Waits> = crowd.into_iter().map(Producer::stop).collect();
    while let Some(more) = stopping.join_next().await {
        waits.0.extend(more.expect("a producer ends").0);
    }
    waits.print("INSERTs of all of them");
    end(far, table, daemon, quiet.stop().await, begun).await;
}

/// How long each INSERT took, with its commit.
#[derive(Default)]
struct Waits(Vec<Duration>);

impl Waits {
    fn print(mut self, what: &str) {
        self.0.sort_unstable();
        let at = |share: usize| {
            self.0.get((self.0.len().saturating_sub(1)) * share / 1000).copied().unwrap_or_default()
        };
        println!(
            "  {what}: {}; p50 {:.2} ms, p99 {:.1} ms, longest {:.0} ms",
            self.0.len(),
            at(500).as_secs_f64() * 1e3,
            at(990).as_secs_f64() * 1e3,
            at(1000).as_secs_f64() * 1e3
        );
    }
}

/// One that inserts a row, waits, and inserts the next.
struct Producer {
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<Waits>,
}

impl Producer {
    async fn start(site: &Site, trigger: &'static str, pause: Duration) -> Self {
        // As a careful producer has it: synced, and as patient as it takes.
        let options = SqliteConnectOptions::new()
            .filename(site.path("queue.db"))
            .create_if_missing(false)
            .busy_timeout(Duration::from_secs(60))
            .pragma("wal_autocheckpoint", "0");
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the database opens");
        let (stop, stopping) = tokio::sync::watch::channel(false);
        let task = tokio::spawn(async move {
            let mut waits = Waits::default();
            while !*stopping.borrow() {
                let begun = monotonic();
                sqlx::query("INSERT INTO requests (trigger_name) VALUES (?1)")
                    .bind(trigger)
                    .execute(&mut connection)
                    .await
                    .expect("an INSERT is not starved");
                waits.0.push(begun.elapsed());
                if pause > Duration::ZERO {
                    tokio::time::sleep(pause).await;
                }
            }
            connection.close().await.expect("it closes");
            waits
        });
        Self { stop, task }
    }

    async fn stop(self) -> Waits {
        self.stop.send_replace(true);
        bounded(self.task).await.expect("a producer ends")
    }
}
