//! A day's work: producers that insert, a daemon's store that takes up, follows, ends and deletes. Each change is noted on the
//! tape before it is begun, and again once it was answered well.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use triggerd::clock::UnixMillis;
use triggerd::invocation::{AttemptEnd, AttemptOutcome, Invocation, Outcome, Output, Phase};
use triggerd::queue::sqlite::SqliteStore;
use triggerd::queue::{
    Batch, Change, Committed, Look, Polled, Retention, Return, Sign, Status, Store as _, Taken,
    TriggerStatus, Want,
};
use triggerd::request::CallMode;
use url::Url;

use crate::table::{Content, FILE, NOW, content, look, options, triggers};
use crate::tape::{Act, Tape};

/// What the change of a producer is called.
pub(crate) const INSERT: &str = "an insert";

/// How a day is worked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// The daemon's `synchronous`.
    pub(crate) full: bool,
    /// That of the producers.
    pub(crate) producers_full: bool,
    /// The producers checkpoint at so many pages; 0: never.
    pub(crate) checkpoint: u32,
    pub(crate) rounds: usize,
    /// Bytes of the longest output.
    pub(crate) output: usize,
}

/// A folder with a database at work.
pub(crate) struct Day {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) tape: Arc<Tape>,
    pub(crate) store: SqliteStore,
    pub(crate) producer: SqliteConnection,
    /// Looks at what is committed, and writes nothing.
    observer: SqliteConnection,
    /// What there was before the first change, and after each.
    pub(crate) states: Vec<Content>,
    /// What each change was.
    pub(crate) changes: Vec<&'static str>,
}

impl Day {
    /// An empty database that is safely stored, and a daemon that has started.
    pub(crate) async fn begin(manner: Manner) -> Self {
        crate::vfs::install();
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), manner.full);
        SqliteStore::open(options.clone(), &triggers()).await.unwrap().close().await;
        let tape = Tape::begin(folder.path());
        let store = SqliteStore::open(options, &triggers()).await.unwrap();
        store.start(triggers(), NOW).await.unwrap();
        let synchronous =
            if manner.producers_full { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
        let producer = SqliteConnectOptions::new()
            .filename(folder.path().join(FILE))
            .synchronous(synchronous)
            .pragma("wal_autocheckpoint", manner.checkpoint.to_string())
            .connect()
            .await
            .unwrap();
        let mut observer = look(folder.path()).await.unwrap();
        // What was done so far is stored, whatever the manner.
        let states = vec![content(&mut observer).await.unwrap()];
        tape.note(Act::SyncAll);
        Self { folder, tape, store, producer, observer, states, changes: vec!["the start"] }
    }

    /// One change; `act` is it.
    pub(crate) async fn change<T>(&mut self, name: &'static str, act: impl AsyncFnOnce(&mut Self) -> T) -> T {
        self.tape.note(Act::Begun);
        let done = act(self).await;
        self.tape.note(Act::Promised);
        let state = self.now().await;
        self.states.push(state);
        self.changes.push(name);
        done
    }

    /// What is committed now.
    pub(crate) async fn now(&mut self) -> Content {
        content(&mut self.observer).await.unwrap()
    }

    pub(crate) async fn insert(&mut self, count: usize) {
        let arguments = |n: usize| format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(n * 37 % 900));
        let values: Vec<_> = (0..count)
            .map(|n| {
                format!(
                    "('{}', '{}', {})",
                    if n % 3 == 2 { "beta" } else { "alpha" },
                    arguments(n),
                    NOW.0 - 1000
                )
            })
            .collect();
        let sql =
            format!("INSERT INTO requests (trigger_name, arguments, run_at) VALUES {}", values.join(", "));
        self.change(INSERT, async |day| {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut day.producer).await.unwrap();
        })
        .await;
    }

    pub(crate) async fn commit(&mut self, name: &'static str, batch: Batch) -> Committed {
        self.change(name, async |day| day.store.commit(batch).await.unwrap()).await
    }

    /// One request of each way through the table, a few at a time.
    pub(crate) async fn round(&mut self, output: usize) {
        self.insert(4).await;
        let batch = Batch { look: Some(survey(10)), ..Batch::default() };
        let rows = self.commit("intents", batch).await.intended;
        assert!(rows.len() >= 4, "{} intents", rows.len());
        let (unsent, fired) = rows.split_last().unwrap();
        let (refused, accepted) = fired.split_last().unwrap();
        let changes = accepted.iter().map(accept).chain([refuse(refused)]).collect();
        let returned =
            vec![Return { before: unsent.invocation.clone(), due_at: unsent.due_at, unsent: None }];
        self.commit("answers", Batch { changes, returned, ..Batch::default() }).await;
        let following: Vec<_> = accepted.iter().map(|row| accept(row).next).collect();
        let polled = following.iter().map(poll).collect();
        let status = Status {
            now: NOW,
            triggers: vec![TriggerStatus {
                trigger_name: "alpha".to_owned(),
                slots_used: following.len(),
                hold: None,
            }],
        };
        self.commit("polls", Batch { polled, status: Some(status), ..Batch::default() }).await;
        let changes = following.iter().map(|next| end(next, output)).collect();
        let sign = Some(Sign { now: NOW, ready: true, stopped: false });
        self.commit("ends", Batch { changes, sign, ..Batch::default() }).await;
    }

    /// Deletes what has ended.
    pub(crate) async fn delete_ended(&mut self) -> Result<u64, triggerd::queue::Error> {
        let at_once = Some(std::time::Duration::ZERO);
        let all = Retention {
            succeeded: at_once,
            dispatched: at_once,
            others: at_once,
            uncertain: None,
            outputs: at_once,
        };
        self.store.prune(all, later(100), 500).await.map(|deleted| deleted.rows)
    }

    async fn prune(&mut self) {
        self.change("a prune", Self::delete_ended).await.unwrap();
    }

    /// All of it.
    pub(crate) async fn work(manner: Manner) -> Self {
        let mut day = Self::begin(manner).await;
        for n in 1..=manner.rounds {
            day.round(manner.output / (1 + n % 4)).await;
            if n % 4 == 0 {
                day.prune().await;
            }
        }
        day
    }

    /// Ends in order.
    pub(crate) async fn end(self) {
        self.observer.close().await.unwrap();
        self.producer.close().await.unwrap();
        self.store.close().await;
    }
}

const fn later(by: i64) -> UnixMillis {
    UnixMillis(NOW.0 + by)
}

/// A look that may take so many rows of each trigger.
pub(crate) fn survey(limit: usize) -> Look {
    let want = |(origin, trigger)| Want { trigger, origin, limit, ordinary: usize::MAX, held: usize::MAX };
    Look {
        now: NOW,
        survey: true,
        wants: triggers().into_iter().enumerate().map(want).collect(),
        places: vec![100; 2],
        held_places: 100,
        held_back: Vec::new(),
        list_triggering: false,
        ageing: std::time::Duration::ZERO,
    }
}

fn fired(row: &Taken) -> Invocation {
    let before = row.invocation.clone();
    Invocation { phase: Phase::Triggering, attempt: before.attempt + 1, ..before }
}

fn attempt(outcome: AttemptOutcome, status: u16) -> AttemptEnd {
    AttemptEnd {
        started_at: NOW,
        ended_at: later(20),
        http_status: Some(status),
        outcome,
        status_uri: None,
        trouble: None,
    }
}

/// The remote job was accepted: its status URI must never be forgotten.
pub(crate) fn accept(row: &Taken) -> Change {
    let uri =
        Url::parse(&format!("https://alpha.example/status/{}?sig={}", row.invocation.id, "s".repeat(60)))
            .unwrap();
    let next = Invocation {
        phase: Phase::Polling(uri.clone()),
        status_uri: Some(uri),
        effective_mode: Some(CallMode::AsyncRequestReply),
        accepted_at: Some(later(20)),
        http_status: Some(202),
        ..fired(row)
    };
    let attempt = Some(attempt(AttemptOutcome::Accepted, 202));
    Change { from: "triggering", next, due_at: Some(later(1000)), finished_at: None, attempt, output: None }
}

fn refuse(row: &Taken) -> Change {
    let next = Invocation { phase: Phase::Finished(Outcome::Rejected), http_status: Some(400), ..fired(row) };
    let attempt = Some(attempt(AttemptOutcome::Refused, 400));
    Change { from: "triggering", next, due_at: None, finished_at: Some(later(30)), attempt, output: None }
}

fn poll(next: &Invocation) -> Polled {
    let next = Invocation { polls: next.polls + 1, last_polled_at: Some(later(1000)), ..next.clone() };
    Polled { next, due_at: later(2000) }
}

fn end(next: &Invocation, output: usize) -> Change {
    let length = output / (1 + usize::try_from(next.id).unwrap() % 3);
    let body = (0..length).map(|n| b"0123456789abcdef"[(n * n / 7 + length) % 16]).collect();
    let output =
        Output { body, content_type: Some("text/plain".to_owned()), bytes: length as u64, truncated: false };
    let next =
        Invocation { phase: Phase::Finished(Outcome::Succeeded), http_status: Some(200), ..next.clone() };
    let output = (length > 0).then_some(output);
    Change { from: "polling", next, due_at: None, finished_at: Some(later(50)), attempt: None, output }
}
