//! What the producers, the far end and the table say of each request, compared.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::PoisonError;
use std::time::Duration;

use sqlx::SqliteConnection;
use triggerd::clock::UnixMillis;
use triggerd::emulator::ledger::Answered;

use crate::far_end::{self, Firing};
use crate::kills::Story;
use crate::producers::{self, Kind, MODES};

/// An answer that was out so long before the daemon was killed, and is not known, is counted.
const LONG: Duration = Duration::from_millis(250);
/// Of a hundred rows that a kill has left in doubt, so many may not have been sent: each firing is noted right before it goes
/// to the wire, and what comes in between has not come to the far end.
const UNSENT_PERCENT: usize = 1;
/// And so many more, since few kills prove little.
const UNSENT_BY_CHANCE: usize = 5;
/// Findings that are told in full.
const MOST: usize = 20;

/// A row of the table.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: i64,
    trigger_name: String,
    number: i64,
    state: String,
    error_code: Option<String>,
    attempt: i64,
}

/// A firing as the table has it.
#[derive(Clone, Debug, sqlx::FromRow)]
struct Attempt {
    request_id: i64,
    attempt: i64,
    ended_at: i64,
    outcome: String,
    error_code: Option<String>,
}

/// Of one call mode.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Doubts {
    /// Rows that are `uncertain` since the daemon died.
    pub(crate) by_kill: usize,
    /// Those of them whose last firing never came to the far end.
    pub(crate) never_sent: usize,
    /// Rows that are `uncertain` for what the far end did.
    pub(crate) by_trouble: usize,
}

/// The figures, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) requests: usize,
    pub(crate) taken_back: u64,
    pub(crate) firings: usize,
    pub(crate) jobs: usize,
    pub(crate) asked: u64,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    /// Firings after the status URI of an earlier one had been asked.
    pub(crate) after_uri: usize,
    pub(crate) doubts: [Doubts; 3],
    /// The longest time between an answer and the kill that made it unknown; and without the time in which nothing could be
    /// done.
    pub(crate) longest_unnoticed: (Duration, Duration),
    /// How many of them were out for [`LONG`], without that time.
    pub(crate) long_unnoticed: usize,
    pub(crate) findings: Vec<String>,
}

/// All ledgers, when nothing moves any more.
pub(crate) struct Ledgers<'l> {
    pub(crate) producers: &'l producers::Ledger,
    pub(crate) far: &'l far_end::Ledger,
    pub(crate) story: &'l Story,
}

/// Compares them. An answer that was out for as long as `noticed` before a kill must be in the table, if that is said.
pub(crate) async fn judge(
    ledgers: &Ledgers<'_>,
    noticed: Option<Duration>,
    table: &mut SqliteConnection,
) -> Verdict {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, trigger_name, json_extract(arguments, '$.n') AS number, state, error_code, attempt FROM requests",
    )
    .fetch_all(&mut *table)
    .await
    .expect("it can be read");
    let rows: BTreeMap<i64, Row> = rows.into_iter().map(|row| (row.id, row)).collect();
    let found: Vec<Attempt> = sqlx::query_as(
        "SELECT request_id, attempt, ended_at, outcome, error_code FROM attempts ORDER BY request_id, attempt",
    )
    .fetch_all(&mut *table)
    .await
    .expect("it can be read");
    let mut attempts: HashMap<i64, Vec<Attempt>> = HashMap::new();
    for attempt in found {
        attempts.entry(attempt.request_id).or_default().push(attempt);
    }
    let committed = ledgers.producers.committed.lock().unwrap_or_else(PoisonError::into_inner);
    let mut verdict = Verdict {
        requests: committed.len(),
        taken_back: ledgers.producers.taken_back.load(std::sync::atomic::Ordering::Relaxed),
        asked: ledgers.far.asked,
        ..Verdict::default()
    };
    verdict.findings.extend(ledgers.story.findings.iter().chain(&ledgers.far.strange).cloned());
    for id in rows.keys().chain(ledgers.far.firings.keys()) {
        if !committed.contains_key(id) {
            verdict.findings.push(format!("request {id} was never committed"));
        }
    }
    let mut keys = HashSet::new();
    let mut ids: Vec<_> = committed.keys().copied().collect();
    ids.sort_unstable();
    for id in ids {
        let (number, kind) = committed[&id];
        let firings: Vec<&Firing> =
            ledgers.far.firings.get(&id).map(|firings| firings.values().collect()).unwrap_or_default();
        let one = One {
            number,
            kind,
            row: rows.get(&id),
            attempts: attempts.get(&id).map(Vec::as_slice).unwrap_or_default(),
            firings: &firings,
            first_asked: ledgers.far.first_asked.get(&id).copied(),
        };
        let mut problems = one.count(ledgers.story, noticed, &mut verdict);
        if firings.first().is_some_and(|first| !keys.insert(first.key.clone())) {
            problems.push("its key is another request's");
        }
        if !problems.is_empty() {
            verdict.findings.push(format!("request {id}: {}\n{one}", problems.join("; ")));
        }
    }
    let sum = |of: fn(&Doubts) -> usize| verdict.doubts.iter().map(of).sum::<usize>();
    let (doubts, never_sent) = (sum(|doubts| doubts.by_kill), sum(|doubts| doubts.never_sent));
    if never_sent > doubts * UNSENT_PERCENT / 100 + UNSENT_BY_CHANCE {
        verdict.findings.push(format!("{never_sent} of {doubts} that are uncertain were never sent"));
    }
    verdict
}

/// What is known of one request.
struct One<'o> {
    number: u64,
    kind: &'static Kind,
    row: Option<&'o Row>,
    attempts: &'o [Attempt],
    /// In the order in which they came.
    firings: &'o [&'o Firing],
    first_asked: Option<u64>,
}

impl One<'_> {
    /// Adds it to the figures; what is wrong with it.
    fn count(&self, story: &Story, noticed: Option<Duration>, verdict: &mut Verdict) -> Vec<&'static str> {
        let mut problems = Vec::new();
        verdict.firings += self.firings.len();
        verdict.jobs += self.firings.iter().filter(|firing| firing.made_job).count();
        let Some(row) = self.row else {
            verdict.lost += 1;
            return vec!["it was committed, and is gone"];
        };
        if u64::try_from(row.number) != Ok(self.number) || row.trigger_name != self.kind.name {
            problems.push("it is another one than was committed");
        }
        if self.firings.iter().any(|firing| firing.number.is_some_and(|number| number != self.number)) {
            problems.push("it was fired with another one's arguments");
        }
        if self.firings.windows(2).any(|two| two[0].key != two[1].key) {
            problems.push("its key has changed");
        }
        if matches!(row.state.as_str(), "pending" | "triggering" | "polling" | "collecting") {
            verdict.lost += 1;
            problems.push("it has not come to its end");
        }
        let [earlier @ .., _] = self.firings else {
            if !matches!(row.state.as_str(), "uncertain" | "failed") {
                problems.push("it ended without a firing");
            }
            self.doubt(row, verdict);
            return problems;
        };
        if !self.kind.repeatable && earlier.iter().any(|firing| !firing.is_refused()) {
            verdict.doubled += 1;
            problems.push("it was fired twice");
        }
        if self.first_asked.is_some_and(|asked| self.firings.iter().any(|firing| firing.n > asked))
            || self.attempts.iter().rev().skip(1).any(|attempt| attempt.outcome == "accepted")
        {
            verdict.after_uri += 1;
            problems.push("it was fired after its status URI was stored");
        }
        if self.firings.len() > usize::try_from(row.attempt).unwrap_or_default() {
            problems.push("it was fired more often than was intended");
        }
        if !self.attempts.iter().map(|attempt| attempt.attempt).eq(1..=row.attempt) {
            problems.push("not every attempt is recorded");
        }
        self.doubt(row, verdict);
        for (whole, unnoticed) in self.unnoticed(story) {
            let (longest, most) = &mut verdict.longest_unnoticed;
            (*longest, *most) = (whole.max(*longest), unnoticed.max(*most));
            verdict.long_unnoticed += usize::from(unnoticed >= LONG);
            if noticed.is_some_and(|noticed| unnoticed >= noticed) {
                problems.push("its answer was out long before the kill, and is not known");
            }
        }
        problems
    }

    /// If a kill has left it in doubt: whether there was anything to doubt.
    fn doubt(&self, row: &Row, verdict: &mut Verdict) {
        let mode = MODES.iter().position(|mode| *mode == self.kind.mode).expect("it is one of them");
        let doubts = &mut verdict.doubts[mode];
        if row.state == "uncertain" {
            if row.error_code.as_deref() == Some("interrupted") {
                doubts.by_kill += 1;
                doubts.never_sent += usize::from(self.last_firing().is_none());
            } else {
                doubts.by_trouble += 1;
            }
        }
    }

    /// The firing of the last attempt, if it came to the far end.
    fn last_firing(&self) -> Option<&Firing> {
        self.came().into_iter().last().and_then(|(_, firing)| firing)
    }

    /// The attempts, each with its firing if that came to the far end.
    fn came(&self) -> Vec<(&Attempt, Option<&Firing>)> {
        let mut firings = self.firings.iter().copied().peekable();
        let last = self.attempts.len().saturating_sub(1);
        let came = self.attempts.iter().enumerate().map(|(nth, attempt)| {
            let is_its = |firing: &&Firing| nth == last || firing.time.0 <= attempt.ended_at;
            (attempt, firings.next_if(is_its))
        });
        came.collect()
    }

    /// For each attempt that a kill has interrupted although its answer was out: since when it was out, and the
    /// same without the time in which nothing could be done.
    fn unnoticed(&self, story: &Story) -> Vec<(Duration, Duration)> {
        let came = self.came().into_iter();
        let answers = came.filter(|(attempt, _)| attempt.error_code.as_deref() == Some("interrupted"));
        let answers = answers.filter_map(|(attempt, firing)| {
            let firing = firing.filter(|firing| matches!(firing.answer, Answered::Status(_)))?;
            let ended = story.run_of(firing.time, UnixMillis(attempt.ended_at))?.ended;
            let answered = firing.answered?;
            let whole = ended.since(answered);
            Some((whole, whole.saturating_sub(story.still(answered, ended))))
        });
        answers.collect()
    }
}

impl std::fmt::Display for One<'_> {
    /// What the three ledgers say.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "  producer: number {} of {}", self.number, self.kind.name)?;
        writeln!(f, "  table: {:?}", self.row)?;
        for attempt in self.attempts {
            writeln!(f, "    {attempt:?}")?;
        }
        writeln!(f, "  far end: first asked by call {:?}", self.first_asked)?;
        self.firings.iter().try_for_each(|firing| writeln!(f, "    {firing:?}"))
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { requests, taken_back, firings, jobs, asked, lost, doubled, after_uri, .. } = self;
        writeln!(
            f,
            "requests: {requests} committed, {taken_back} taken back; {firings} firings, {jobs} jobs, {asked} polls"
        )?;
        writeln!(f, "lost: {lost}; doubled: {doubled}; fired after a stored status URI: {after_uri}")?;
        for (mode, doubts) in MODES.iter().zip(&self.doubts) {
            let Doubts { by_kill, never_sent, by_trouble } = doubts;
            writeln!(
                f,
                "uncertain, {mode}: {by_kill} by kills, of which {never_sent} were never sent; {by_trouble} by the far end"
            )?;
        }
        let (doubts, never_sent) =
            self.doubts.iter().fold((0, 0), |sum, one| (sum.0 + one.by_kill, sum.1 + one.never_sent));
        let percent = 100.0 * never_sent as f64 / doubts.max(1) as f64;
        let (whole, unnoticed) = self.longest_unnoticed;
        writeln!(f, "uncertain by kills: {doubts}, of which {percent:.1} % were never sent")?;
        writeln!(
            f,
            "longest answer out before the kill: {whole:?}, {unnoticed:?} without stalls of disk and machine; {} were out for {LONG:?}",
            self.long_unnoticed
        )?;
        for finding in self.findings.iter().take(MOST) {
            writeln!(f, "FOUND: {finding}")?;
        }
        let more = self.findings.len().saturating_sub(MOST);
        if more > 0 { writeln!(f, "and {more} more") } else { Ok(()) }
    }
}
