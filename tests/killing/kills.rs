//! The loop: start, kill, start again; and what else a service manager or an operator does to a process.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use sqlx::SqliteConnection;
use triggerd::clock::{Clock as _, SystemClock, UnixMillis, monotonic};

use crate::far_end::{FOLDER, FarEnd};
use crate::producers::{KINDS, Producers};
use crate::site::{Daemon, LONGEST, Site};

/// A kill comes at most so long after whatever is waited for.
const LATEST: u64 = 400;
/// Kills between two looks at the whole table.
const LOOK_EVERY: u32 = 10;
/// A start and a kill take less than a second even on a busy machine.
const MOST_A_KILL: Duration = Duration::from_secs(5);
/// Between two looks at what is waited for.
const TICK: Duration = Duration::from_millis(5);
/// What took this much longer than it should have stood still.
pub(crate) const STALL: Duration = Duration::from_millis(20);

/// What came before the end of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Stop,
    /// SIGTERM, and another one.
    StopTwice,
    /// SIGTERM when there was nothing left to do.
    Idle,
}

/// One process, from its start to its end.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) end: End,
    pub(crate) spawned: UnixMillis,
    /// When it said that it is ready; none: it did not come to that.
    pub(crate) ready: Option<UnixMillis>,
    /// When all that its predecessor had been polling was polled again; none: it did not come to that, or there was nothing.
    pub(crate) polling: Option<UnixMillis>,
    /// How many those were.
    pub(crate) polled: usize,
    /// When the signal was sent after which it did nothing more.
    pub(crate) ended: UnixMillis,
    /// From that signal to the end of the process.
    pub(crate) took: Duration,
}

/// All that the loop has seen.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) runs: Vec<Run>,
    pub(crate) pauses: usize,
    /// When the daemon, the disk or the whole machine stood still.
    pub(crate) still: Vec<(UnixMillis, UnixMillis)>,
    pub(crate) findings: Vec<String>,
    /// Requests that have ended, and how.
    ended: HashMap<i64, (String, i64)>,
}

/// Everything that takes part.
pub(crate) struct Stage<'s> {
    pub(crate) site: &'s Site,
    pub(crate) far: &'s FarEnd,
    pub(crate) rng: Rng,
}

/// Triggers of all kinds at this far end. Few connections, so that there is always somebody who waits for one.
pub(crate) fn configuration(far: &FarEnd) -> String {
    let mut text = "[dispatch]\nmax_per_origin = 8\nshutdown_grace = \"20s\"\n".to_owned();
    for kind in &KINDS {
        text.push_str(&format!(
            "[triggers.{}]\nurl = \"{}\"\ncall_mode = \"{}\"\nrepeatable = {}\n\
             response_timeout = \"10s\"\npoll = {{ initial = \"100ms\", factor = 1.0, max = \"100ms\" }}\n\
             retry = {{ initial = \"20ms\", max = \"100ms\" }}\n",
            kind.name,
            far.emulator.trigger_url(FOLDER, kind.name),
            kind.mode,
            kind.repeatable
        ));
    }
    text
}

impl Stage<'_> {
    /// Kills so often, while producers insert; then lets everything come to its end.
    pub(crate) async fn play(&mut self, kills: u32, producers: Producers) -> Story {
        let mut story = Story::default();
        let still = Arc::<Mutex<Vec<_>>>::default();
        let stalls = tokio::spawn(watch_stalls(Arc::clone(&still)));
        let mut table = self.site.connect().await;
        let mut typical = Duration::from_millis(300);
        let mut killed = 0_u32;
        let begun = monotonic();
        while killed < kills && story.findings.is_empty() {
            if begun.elapsed() > LONGEST + MOST_A_KILL * killed {
                story.findings.push("it takes too long".to_owned());
            }
            let nth = story.runs.len();
            let end = match nth % 12 {
                5 => End::Stop,
                9 => End::StopTwice,
                _ => End::Kill,
            };
            let run = self.run(end, typical, &mut table, &mut story).await;
            typical = run.ready.map_or(typical, |ready| ready.since(run.spawned));
            story.runs.push(run);
            if end == End::Stop {
                nothing_is_sent(&mut table, &mut story).await;
            }
            if end == End::Kill {
                killed += 1;
                if killed.is_multiple_of(LOOK_EVERY) {
                    look(&mut table, &mut story).await;
                    println!("{killed} kills, {} requests", story.ended.len());
                }
            }
        }
        let inserted = producers.stop().await;
        self.settle(&mut table, &mut story).await;
        look(&mut table, &mut story).await;
        stalls.abort();
        story.still.append(&mut still.lock().unwrap_or_else(PoisonError::into_inner));
        story.still.append(&mut inserted.slow.lock().unwrap_or_else(PoisonError::into_inner));
        story.still = merged(story.still);
        story
    }

    async fn run(
        &mut self,
        end: End,
        typical: Duration,
        table: &mut SqliteConnection,
        story: &mut Story,
    ) -> Run {
        let rng = &mut self.rng;
        let polled = "SELECT id FROM requests WHERE state IN ('polling', 'collecting')";
        let polled: Vec<i64> =
            sqlx::query_scalar(polled).fetch_all(&mut *table).await.expect("it can be read");
        let awaited = polled.len();
        self.far.ledger().wait_for(HashSet::from_iter(polled));
        let mut daemon = self.site.spawn("run", rng.u8(0..4) == 0);
        let is_early = end == End::Kill && rng.u8(0..5) == 0;
        if is_early {
            let most = u64::try_from(typical.as_millis()).unwrap_or(u64::MAX);
            tokio::time::sleep(Duration::from_millis(rng.u64(0..=most))).await;
        } else if daemon.ready().await.is_none() {
            story.findings.push("a daemon did not become ready".to_owned());
        } else {
            if story.runs.len() % 12 == 7 {
                self.pause(&daemon, story).await;
            }
            if self.rng.bool() && !self.all_are_polled().await {
                let left = self.far.ledger().awaited.left.clone();
                story.findings.push(format!("these are not polled again: {left:?}"));
            }
            tokio::time::sleep(Duration::from_millis(self.rng.u64(0..=LATEST))).await;
        }
        let (ended, begun) = (self.end(&mut daemon, end, story).await, SystemClock.now());
        let polling = {
            let ledger = self.far.ledger();
            let awaited = &ledger.awaited;
            awaited.last.filter(|_| awaited.left.is_empty())
        };
        Run {
            end,
            spawned: daemon.spawned,
            ready: daemon.is_ready(),
            polling,
            polled: awaited,
            ended,
            took: begun.since(ended),
        }
    }

    /// Makes it end; when the last signal was sent.
    async fn end(&mut self, daemon: &mut Daemon, end: End, story: &mut Story) -> UnixMillis {
        let mut sent = daemon.signal(if end == End::Kill { Signal::KILL } else { Signal::TERM });
        if end == End::StopTwice {
            tokio::time::sleep(Duration::from_millis(self.rng.u64(0..=30))).await;
            sent = daemon.signal(Signal::TERM);
        }
        match daemon.ended().await {
            None => story.findings.push(format!("it did not end after {end:?}")),
            Some(status) if end == End::Kill => {
                if let Some(code) = status.code() {
                    story.findings.push(format!("it ended by itself, with code {code}"));
                }
            }
            Some(status) if status.code() == Some(0) => {}
            Some(status) => story.findings.push(format!("it ended with {status} after {end:?}")),
        }
        sent
    }

    async fn pause(&mut self, daemon: &Daemon, story: &mut Story) {
        let stopped = daemon.signal(Signal::STOP);
        tokio::time::sleep(Duration::from_millis(self.rng.u64(50..=700))).await;
        let resumed = daemon.signal(Signal::CONT);
        story.still.push((stopped, resumed));
        story.pauses += 1;
    }

    async fn all_are_polled(&self) -> bool {
        let polled = async {
            while !self.far.ledger().awaited.left.is_empty() {
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::time::timeout(LONGEST, polled).await.is_ok()
    }

    /// Nobody inserts any more, nobody kills: all that is left comes to its end.
    async fn settle(&mut self, table: &mut SqliteConnection, story: &mut Story) {
        let mut daemon = self.site.spawn("run", false);
        let settled = async {
            let left = "SELECT count(*) FROM results WHERE is_final = 0";
            loop {
                let left: i64 =
                    sqlx::query_scalar(left).fetch_one(&mut *table).await.expect("it can be read");
                if left == 0 {
                    return;
                }
                tokio::time::sleep(10 * TICK).await;
            }
        };
        if tokio::time::timeout(LONGEST, settled).await.is_err() {
            story.findings.push("not all requests have come to their end".to_owned());
        }
        let ended = self.end(&mut daemon, End::Idle, story).await;
        let (spawned, ready) = (daemon.spawned, daemon.is_ready());
        let took = SystemClock.now().since(ended);
        story.runs.push(Run { end: End::Idle, spawned, ready, polling: None, polled: 0, ended, took });
    }
}

impl Story {
    /// How long nothing could be done between two instants.
    pub(crate) fn still(&self, from: UnixMillis, to: UnixMillis) -> Duration {
        let overlaps = self.still.iter().map(|(begin, end)| to.min(*end).since(from.max(*begin)));
        overlaps.sum()
    }

    /// The process in which this firing was under way, of an attempt that a later process found interrupted then.
    pub(crate) fn run_of(&self, firing: UnixMillis, found: UnixMillis) -> Option<&Run> {
        let last = |at| self.runs.iter().rposition(|run| run.spawned <= at);
        // What the far end reads of a process that is dead already may come when the next one is there.
        self.runs.get(last(firing)?.min(last(found)?.checked_sub(1)?))
    }
}

/// The same times, without those that overlap.
fn merged(mut times: Vec<(UnixMillis, UnixMillis)>) -> Vec<(UnixMillis, UnixMillis)> {
    times.sort_unstable();
    let mut merged: Vec<(UnixMillis, UnixMillis)> = Vec::new();
    for (begin, end) in times {
        match merged.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((begin, end)),
        }
    }
    merged
}

/// Notes when this process did not get its turn: neither did the daemon.
async fn watch_stalls(still: Arc<Mutex<Vec<(UnixMillis, UnixMillis)>>>) {
    loop {
        let before = SystemClock.now();
        tokio::time::sleep(TICK).await;
        let now = SystemClock.now();
        if now.since(before) > TICK + STALL {
            still.lock().unwrap_or_else(PoisonError::into_inner).push((before, now));
        }
    }
}

/// A stop in order has waited for the answers, which take less than the grace, and given back what was not sent.
async fn nothing_is_sent(table: &mut SqliteConnection, story: &mut Story) {
    let sent = "SELECT group_concat(id) FROM requests WHERE state = 'triggering'";
    let sent: Option<String> = sqlx::query_scalar(sent).fetch_one(table).await.expect("it can be read");
    if let Some(sent) = sent {
        story.findings.push(format!("a stop left these in doubt: {sent}"));
    }
}

/// The file is whole, its rows are such as may be, and what had ended has not changed.
async fn look(table: &mut SqliteConnection, story: &mut Story) {
    for (what, sql) in [
        ("integrity", "SELECT group_concat(integrity_check) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
        (
            "rows that may not be",
            "SELECT group_concat(id) FROM requests WHERE CASE state
               WHEN 'pending' THEN status_uri IS NOT NULL OR output_uri IS NOT NULL OR finished_at IS NOT NULL
               WHEN 'triggering' THEN status_uri IS NOT NULL OR finished_at IS NOT NULL OR attempt = 0 OR started_at IS NULL
               WHEN 'polling' THEN status_uri IS NULL OR finished_at IS NOT NULL OR accepted_at IS NULL
               WHEN 'collecting' THEN output_uri IS NULL OR finished_at IS NOT NULL OR accepted_at IS NULL
               ELSE finished_at IS NULL OR attempt = 0 END",
        ),
        (
            "attempts without a request",
            "SELECT group_concat(request_id) FROM attempts WHERE request_id NOT IN (SELECT id FROM requests)",
        ),
    ] {
        let found: Option<String> = sqlx::query_scalar(sql).fetch_one(&mut *table).await.expect("it can be read");
        if let Some(found) = found {
            story.findings.push(format!("{what}: {found}"));
        }
    }
    let ended = "SELECT id, state, finished_at FROM requests WHERE finished_at IS NOT NULL";
    let ended: Vec<(i64, String, i64)> =
        sqlx::query_as(ended).fetch_all(&mut *table).await.expect("it can be read");
    let ended: HashMap<_, _> = ended.into_iter().map(|(id, state, at)| (id, (state, at))).collect();
    for (id, end) in &story.ended {
        if ended.get(id) != Some(end) {
            story.findings.push(format!("request {id} had ended as {end:?}, and now {:?}", ended.get(id)));
        }
    }
    story.ended = ended;
}
