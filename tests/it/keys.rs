//! Limits of a trigger by time and by concurrency key, on the table in a file: what one look may take, and a long random
//! history with starts in between, in which no limit is ever exceeded and nothing is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Row as _, SqliteConnection};
use triggerd::clock::UnixMillis;
use triggerd::invocation::{Invocation, Outcome, Phase};
use triggerd::queue::sqlite::SqliteStore;
use triggerd::queue::{Batch, Change, Committed, HeldBy, Look, Return, Store, Taken, Want};
use triggerd::trigger::{Quota, Rate, Trigger};
use url::Url;

use crate::queue_contract::{NOW, at, fired, ids, to};
use crate::support::bounded;
use crate::support::table::{connect, options, rows, run};

const SECOND: Duration = Duration::from_secs(1);

/// A table whose one trigger has limits.
struct Limited {
    folder: tempfile::TempDir,
    store: SqliteStore,
    trigger: Arc<Trigger>,
    now: UnixMillis,
}

fn trigger(set: impl FnOnce(&mut Trigger)) -> Arc<Trigger> {
    let mut trigger = Trigger::new("t", Url::parse("https://far.example/x").unwrap());
    set(&mut trigger);
    Arc::new(trigger)
}

fn quota(limit: u32, seconds: u64, burst: u32) -> Quota {
    Quota { rate: Rate { limit, per: Duration::from_secs(seconds) }, burst }
}

impl Limited {
    async fn new(set: impl FnOnce(&mut Trigger)) -> Self {
        let (folder, trigger) = (tempfile::tempdir().unwrap(), trigger(set));
        let store = SqliteStore::open(options(&folder), &[Arc::clone(&trigger)]).await.unwrap();
        store.start(vec![Arc::clone(&trigger)], NOW).await.unwrap();
        Self { folder, store, trigger, now: NOW }
    }

    async fn connection(&self) -> SqliteConnection {
        connect(&self.folder).await
    }

    async fn run(&self, sql: impl Into<String>) {
        run(&mut self.connection().await, sql).await;
    }

    /// Rows with these keys, ready since a while, in this order.
    async fn insert(&self, keys: &[&str]) {
        let rows: Vec<_> =
            keys.iter().map(|key| format!("('t', {}, {})", NOW.0 - 1000, quoted(key))).collect();
        self.run(format!(
            "INSERT INTO requests (trigger_name, run_at, concurrency_key) VALUES {}",
            rows.join(", ")
        ))
        .await;
    }

    fn look(&self) -> Look {
        let trigger = Arc::clone(&self.trigger);
        let want = Want { trigger, origin: 0, limit: 1000, ordinary: usize::MAX, held: usize::MAX };
        Look {
            now: self.now,
            survey: true,
            wants: vec![want],
            places: vec![1000],
            held_places: 100,
            held_back: Vec::new(),
            list_triggering: false,
            ageing: Duration::ZERO,
        }
    }

    async fn commit(&self, changes: Vec<Change>) -> Committed {
        let batch = Batch { changes, look: Some(self.look()), now: self.now, ..Batch::default() };
        self.store.commit(batch).await.unwrap()
    }

    /// All that one look after another takes.
    async fn take(&self) -> Vec<i64> {
        let mut taken = Vec::new();
        loop {
            let committed = self.commit(Vec::new()).await;
            taken.extend(ids(&committed.intended));
            let more = committed.survey.is_some_and(|survey| survey.more);
            if !more && !committed.hungry.contains(&"t".to_owned()) {
                return taken;
            }
        }
    }

    async fn held(&self) -> Vec<(i64, String)> {
        let sql = "SELECT id, held_by FROM requests WHERE held_by IS NOT NULL ORDER BY id";
        let rows = rows(&mut self.connection().await, sql).await;
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn why(&self, id: i64) -> String {
        let sql = format!("SELECT why FROM request_why WHERE id = {id}");
        rows(&mut self.connection().await, sql).await[0].get(0)
    }

    /// A change of the row that is being fired, as it is in the table.
    async fn ends(&self, id: i64, phase: Phase) -> Change {
        let loaded = self.store.load(vec![id], self.now).await.unwrap();
        let status_uri = match &phase {
            Phase::Polling(uri) => Some(uri.clone()),
            _ => None,
        };
        let next = Invocation { phase: phase.clone(), status_uri, ..loaded.rows[0].invocation.clone() };
        let change = to("triggering", next);
        match phase {
            Phase::Finished(_) => Change { finished_at: Some(self.now), ..change },
            _ => Change { due_at: Some(self.now.plus(SECOND)), ..change },
        }
    }

    async fn restart(&mut self) -> Vec<i64> {
        self.store.clone().close().await;
        self.store = SqliteStore::open(options(&self.folder), &[Arc::clone(&self.trigger)]).await.unwrap();
        let found = self.store.start(vec![Arc::clone(&self.trigger)], self.now).await.unwrap();
        [found.interrupted, found.unsent].concat()
    }
}

fn quoted(key: &str) -> String {
    if key.is_empty() { "NULL".to_owned() } else { format!("'{key}'") }
}

#[tokio::test]
async fn a_key_has_no_more_with_the_far_end_than_it_may_and_others_pass_it() {
    bounded(async {
        let table = Limited::new(|t| t.max_concurrent_per_key = Some(1)).await;
        table.insert(&["a", "a", "b", "", "", "a", "b"]).await;
        assert_eq!(table.take().await, [1, 3, 4, 5], "one of each key, and all without one");
        let key = |id| (id, "key".to_owned());
        assert_eq!(table.held().await, [key(2), key(6), key(7)]);
        assert!(table.why(2).await.contains("max_concurrent_per_key"), "{}", table.why(2).await);

        // What is accepted is with the far end still, what waits to be fired again is not.
        let polling = Phase::Polling(Url::parse("https://far.example/s").unwrap());
        let changes = vec![table.ends(1, polling).await, table.ends(3, Phase::Pending).await];
        assert_eq!(ids(&table.commit(changes).await.intended), [7]);
        assert_eq!(table.held().await, [key(2), key(6)]);

        let next = table.store.load(vec![1], table.now).await.unwrap().rows[0].invocation.clone();
        let next = Invocation { phase: Phase::Finished(Outcome::Succeeded), ..next };
        let ended = Change { finished_at: Some(table.now), ..to("polling", next) };
        assert_eq!(ids(&table.commit(vec![ended]).await.intended), [2], "in the commit that frees it");
    })
    .await;
}

#[tokio::test]
async fn the_first_of_a_key_to_be_let_go_is_that_of_the_highest_priority() {
    bounded(async {
        let table = Limited::new(|t| t.max_concurrent_per_key = Some(1)).await;
        table.insert(&["a", "a", "a", "a"]).await;
        table.run("UPDATE requests SET priority = 5 WHERE id = 3").await;
        assert_eq!(table.take().await, [3]);
        table.run("UPDATE requests SET priority = 9 WHERE id = 4").await;
        let ended = table.ends(3, Phase::Finished(Outcome::Succeeded)).await;
        assert_eq!(ids(&table.commit(vec![ended]).await.intended), [4]);
    })
    .await;
}

#[tokio::test]
async fn requests_of_a_key_are_worked_off_in_order_if_that_is_asked_for() {
    bounded(async {
        let table = Limited::new(|t| t.strict_order_per_key = true).await;
        table.insert(&["a", "a", "b", "a"]).await;
        table.run("UPDATE requests SET priority = 5 WHERE id = 4").await;
        assert_eq!(table.take().await, [1, 3]);
        assert!(table.why(2).await.contains("waits for request 1"), "{}", table.why(2).await);

        // One that waits to be fired again keeps the others waiting.
        let again = table.ends(1, Phase::Pending).await;
        assert_eq!(ids(&table.commit(vec![again]).await.intended), [0; 0]);
        let table = Limited { now: table.now.plus(SECOND * 2), ..table };
        assert_eq!(table.take().await, [1]);

        let ended = table.ends(1, Phase::Finished(Outcome::Failed)).await;
        assert_eq!(ids(&table.commit(vec![ended]).await.intended), [2]);

        // An uncertain one may be running, until its deadline.
        let loaded = table.store.load(vec![2], table.now).await.unwrap().rows.remove(0);
        let deadline = loaded.invocation.deadline_at.unwrap();
        let doubt = table.ends(2, Phase::Finished(Outcome::Uncertain)).await;
        let committed = table.commit(vec![doubt]).await;
        assert_eq!((ids(&committed.intended), committed.wake_at), (vec![], Some(deadline.plus(MILLI))));
        let table = Limited { now: deadline.plus(MILLI), ..table };
        assert_eq!(table.take().await, [4]);
    })
    .await;
}

const MILLI: Duration = Duration::from_millis(1);

#[tokio::test]
async fn an_uncertain_request_counts_for_as_long_as_is_said() {
    bounded(async {
        let limits = |t: &mut Trigger| {
            t.max_concurrent_per_key = Some(1);
            t.max_concurrent = Some(2);
            t.hold_uncertain = SECOND * 60;
        };
        let mut table = Limited::new(limits).await;
        table.insert(&["a", "a"]).await;
        assert_eq!(table.take().await, [1]);
        let doubt = table.ends(1, Phase::Finished(Outcome::Uncertain)).await;
        let committed = table.commit(vec![doubt]).await;
        assert_eq!((ids(&committed.intended), committed.wake_at), (vec![], Some(at(60_000))));
        table.insert(&["b", "c", "d"]).await;
        table.run("UPDATE requests SET cancel_requested = 1 WHERE id = 5").await;
        let mut look = table.look();
        look.wants[0].limit = 2;
        let batch = Batch { look: Some(look), now: table.now, ..Batch::default() };
        assert_eq!(ids(&table.store.commit(batch).await.unwrap().intended), [3], "one place is taken by 1");
        table.now = at(60_000);
        assert_eq!(table.take().await, [2, 4]);
    })
    .await;
}

#[tokio::test]
async fn a_trigger_is_fired_as_often_as_its_rate_allows_also_after_a_restart() {
    bounded(async {
        let mut table = Limited::new(|t| t.rate = Some(quota(3, 10, 3))).await;
        table.insert(&["", "", "", "", "", ""]).await;
        assert_eq!(table.commit(Vec::new()).await.intended.len(), 3);
        let over = at(10_100);
        let committed = table.commit(Vec::new()).await;
        assert_eq!(
            (committed.intended.len(), committed.waits),
            (0, vec![("t".to_owned(), HeldBy::Rate, over)])
        );
        table.restart().await;
        table.now = UnixMillis(over.0 - 1);
        assert_eq!(table.commit(Vec::new()).await.intended.len(), 0);
        table.now = over;
        assert_eq!(table.commit(Vec::new()).await.intended.len(), 3);
        // A clock that was set back by an hour makes nobody wait an hour.
        table.now = at(-3_600_000);
        let committed = table.commit(Vec::new()).await;
        let until = table.now.plus(Duration::from_millis(10_100));
        assert!(committed.waits.iter().all(|(_, _, at)| *at <= until), "{:?}", committed.waits);
    })
    .await;
}

#[tokio::test]
async fn a_burst_is_as_large_as_is_said_and_the_rest_comes_at_an_even_pace() {
    bounded(async {
        let mut table = Limited::new(|t| t.rate = Some(quota(60, 60, 2))).await;
        table.insert(&[""; 7]).await;
        let mut taken = Vec::new();
        for tick in 0..80 {
            table.now = at(tick * 100);
            let many = table.commit(Vec::new()).await.intended.len();
            taken.extend(std::iter::repeat_n(tick, many));
        }
        assert_eq!(taken, [0, 0, 21, 21, 42, 42, 63], "two in two seconds, and a little more");
    })
    .await;
}

#[tokio::test]
async fn a_rate_of_keys_holds_each_of_them_by_itself() {
    bounded(async {
        let mut table = Limited::new(|t| t.rate_per_key = Some(quota(1, 10, 1))).await;
        table.insert(&["a", "a", "b", ""]).await;
        assert_eq!(table.take().await, [1, 3, 4]);
        assert_eq!(table.held().await, [(2, "rate".to_owned())]);
        assert!(table.why(2).await.contains("rate_per_key"), "{}", table.why(2).await);
        table.restart().await;
        let committed = table.commit(Vec::new()).await;
        assert_eq!((committed.intended.len(), committed.wake_at), (0, Some(at(10_100))));
        table.now = at(10_100);
        assert_eq!(table.take().await, [2]);
    })
    .await;
}

#[tokio::test]
async fn a_configuration_without_the_limits_lets_go_what_they_held_back() {
    bounded(async {
        let mut table = Limited::new(|t| t.max_concurrent_per_key = Some(1)).await;
        table.insert(&["a", "a", "b", "b"]).await;
        assert_eq!(table.take().await, [1, 3]);
        table.trigger = trigger(|_| ());
        table.store.register(vec![Arc::clone(&table.trigger)]).await.unwrap();
        assert_eq!(table.take().await, [2, 4]);
        assert_eq!(table.held().await, []);
    })
    .await;
}

#[tokio::test]
async fn another_key_is_another_limit() {
    bounded(async {
        let table = Limited::new(|t| t.max_concurrent_per_key = Some(1)).await;
        table.insert(&["a", "a"]).await;
        assert_eq!(table.take().await, [1]);
        table.run("UPDATE requests SET concurrency_key = 'b' WHERE id = 2").await;
        assert_eq!(table.take().await, [2]);
    })
    .await;
}

/// What a random history has seen.
#[derive(Default)]
struct History {
    /// With the far end: its row, and in which state it was written last.
    active: BTreeMap<i64, (Taken, &'static str)>,
    key_of: BTreeMap<i64, String>,
    /// When each key was fired.
    fired: BTreeMap<String, Vec<i64>>,
    ended: BTreeSet<i64>,
}

const MOST: usize = 2;
const PER_KEY: (usize, i64) = (3, 2000);
const IN_ALL: (usize, i64) = (20, 1000);

impl History {
    /// No limit is exceeded by what is with the far end, and by what was fired in any stretch of time.
    fn check(&self, now: UnixMillis) {
        let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
        for id in self.active.keys() {
            *keys.entry(&self.key_of[id]).or_default() += 1;
        }
        assert!(keys.iter().all(|(key, many)| key.is_empty() || *many <= MOST), "{keys:?}");
        let within = |times: &[i64], (limit, per): (usize, i64)| {
            times.iter().filter(|at| **at > now.0 - per).count() <= limit
        };
        for (key, times) in self.fired.iter().filter(|(key, _)| !key.is_empty()) {
            assert!(within(times, PER_KEY), "{key} at {}: {times:?}", now.0);
        }
        let all: Vec<i64> = self.fired.values().flatten().copied().collect();
        assert!(within(&all, IN_ALL));
    }
}

#[tokio::test]
async fn in_a_random_history_with_sixty_kills_no_limit_is_exceeded_and_all_requests_end() {
    bounded(async {
        let mut random = fastrand::Rng::with_seed(5);
        let mut table = Limited::new(|t| {
            t.max_concurrent_per_key = Some(u32::try_from(MOST).unwrap());
            t.rate_per_key = Some(quota(3, 2, 2));
            t.rate = Some(quota(20, 1, 20));
        })
        .await;
        let keys = ["", "a", "b", "c", "d", "e", "f"];
        let mut history = History::default();
        for _ in 0..300 {
            let key = keys[random.usize(..keys.len())];
            table.insert(&[key]).await;
            let id = i64::try_from(history.key_of.len()).unwrap() + 1;
            history.key_of.insert(id, key.to_owned());
        }
        let mut kills = 0;
        let mut changes: Vec<Change> = Vec::new();
        while history.ended.len() < history.key_of.len() {
            table.now = table.now.plus(Duration::from_millis(random.u64(0..120)));
            let ending: Vec<i64> = history.active.keys().copied().filter(|_| random.u8(..4) == 0).collect();
            for id in ending {
                let Some((row, from)) = history.active.remove(&id) else { continue };
                let next = |phase| Invocation { phase, ..row.invocation.clone() };
                let change = match random.u8(..4) {
                    0 if from == "triggering" => {
                        let due_at = Some(table.now.plus(Duration::from_millis(random.u64(0..500))));
                        Change { due_at, ..to(from, next(Phase::Pending)) }
                    }
                    1 if from == "triggering" => {
                        let phase = Phase::Polling(Url::parse("https://far.example/s").unwrap());
                        let row = Taken { invocation: next(phase.clone()), ..row.clone() };
                        history.active.insert(id, (row, "polling"));
                        Change { due_at: Some(table.now), ..to(from, next(phase)) }
                    }
                    _ => {
                        history.ended.insert(id);
                        let phase = Phase::Finished(Outcome::Succeeded);
                        Change { finished_at: Some(table.now), ..to(from, next(phase)) }
                    }
                };
                changes.push(change);
            }
            let committed = table.commit(std::mem::take(&mut changes)).await;
            assert_eq!(committed.lost, [0; 0]);
            for row in committed.intended {
                let id = row.invocation.id;
                history.fired.entry(history.key_of[&id].clone()).or_default().push(table.now.0);
                let row = Taken { invocation: fired(&row), ..row };
                history.active.insert(id, (row, "triggering"));
            }
            history.check(table.now);
            if kills < 60 && random.u8(..5) == 0 {
                kills += 1;
                // None of them is in the flight record: they go back, not charged.
                let unsent = table.restart().await;
                let loaded = table.store.load(unsent, table.now).await.unwrap().rows;
                let returned = loaded.iter().map(|row| Return {
                    before: row.invocation.clone().before_intent(),
                    due_at: None,
                    unsent: None,
                });
                let returned: Vec<_> = returned.collect();
                for back in &returned {
                    history.active.remove(&back.before.id);
                }
                let batch = Batch { returned, now: table.now, ..Batch::default() };
                table.store.commit(batch).await.unwrap();
            }
        }
        assert_eq!((kills, table.held().await), (60, vec![]));
    })
    .await;
}

#[tokio::test]
async fn a_row_whose_key_somebody_has_spoiled_ends_alone_whenever_that_was() {
    bounded(async {
        let mut table = Limited::new(|t| {
            t.max_concurrent_per_key = Some(1);
            t.strict_order_per_key = true;
        })
        .await;
        table.insert(&["a", "a", "a", "b", "b"]).await;
        assert_eq!(table.take().await, [1, 4]);
        let sql = "SELECT group_concat('DROP TRIGGER ' || name || ';', ' ') FROM sqlite_schema WHERE type = 'trigger'";
        let drop: String = rows(&mut table.connection().await, sql).await[0].get(0);
        table
            .run(format!(
                "PRAGMA ignore_check_constraints = ON; {drop}
                 UPDATE requests SET concurrency_key = x'ff' WHERE id = 1;
                 UPDATE requests SET concurrency_key = x'61' WHERE id = 2;
                 UPDATE requests SET concurrency_key = CAST(x'61ff' AS TEXT), deadline_at = 'soon' WHERE id = 5;
                 INSERT INTO requests (trigger_name, run_at, concurrency_key) VALUES ('t', {0}, 7.5), ('t', {0}, x''), ('t', {0}, CAST(x'ff' AS TEXT));
                 INSERT INTO requests (trigger_name, run_at, concurrency_key, held_by) VALUES ('t', {0}, x'01', 'key'), ('t', {0}, NULL, 'rate');",
                NOW.0 - 1000
            ))
            .await;
        // A start sweeps over all that is held back.
        table.restart().await;
        let taken = table.take().await;
        assert!(taken.contains(&3), "its key has nobody else's rows any more: {taken:?}");
        let bad = "SELECT count(*) FROM requests WHERE state = 'rejected' AND error_code = 'invalid_request'";
        let bad: i64 = rows(&mut table.connection().await, bad).await[0].get(0);
        assert!(bad >= 5, "{bad}");
    })
    .await;
}

#[tokio::test]
async fn what_is_settled_or_goes_to_another_key_lets_go_who_stood_behind_it() {
    bounded(async {
        let table = Limited::new(|t| t.strict_order_per_key = true).await;
        table.insert(&["a", "a", "a"]).await;
        assert_eq!(table.take().await, [1]);
        let doubt = table.ends(1, Phase::Finished(Outcome::Uncertain)).await;
        assert_eq!(ids(&table.commit(vec![doubt]).await.intended), [0; 0]);
        // What `triggerd resolve` writes.
        table
            .run("UPDATE requests SET state = 'failed' WHERE id = 1; INSERT INTO endings (request_id, whole) VALUES (1, 1)")
            .await;
        assert_eq!(table.take().await, [2]);
        let ended = table.ends(2, Phase::Finished(Outcome::Succeeded)).await;
        table.commit(vec![ended]).await;

        // The first of those that wait is not ready, and goes away.
        let table = Limited::new(|t| t.strict_order_per_key = true).await;
        table.insert(&["a", "a"]).await;
        table.run(format!("UPDATE requests SET run_at = {} WHERE id = 1", at(3_600_000).0)).await;
        assert_eq!(table.take().await, [0; 0]);
        assert_eq!(table.held().await, [(2, "order".to_owned())]);
        assert!(table.why(2).await.contains("waits for request 1"), "{}", table.why(2).await);
        table.run("UPDATE requests SET concurrency_key = 'b' WHERE id = 1").await;
        assert_eq!(table.take().await, [2]);
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_key_waiting_for_longer_than_its_rate() {
    bounded(async {
        let mut table = Limited::new(|t| t.rate_per_key = Some(quota(1, 10, 1))).await;
        table.insert(&["a", "a"]).await;
        table.run(format!("UPDATE requests SET run_at = {}", at(-3_600_000).0)).await;
        assert_eq!(table.take().await, [1]);
        table.now = at(-300_000);
        let committed = table.commit(Vec::new()).await;
        let again = at(-300_000 + 10_100);
        assert_eq!((committed.intended.len(), committed.wake_at), (0, Some(again)));
        table.now = again;
        assert_eq!(table.take().await, [2]);
    })
    .await;
}

#[tokio::test]
async fn many_rows_of_a_key_that_is_at_its_limit_are_out_of_the_way_in_few_commits() {
    bounded(async {
        let table = Limited::new(|t| t.max_concurrent_per_key = Some(1)).await;
        table.insert(&[vec!["z"; 1500], vec!["y"]].concat()).await;
        let mut look = table.look();
        look.wants[0].limit = 1;
        let mut taken = Vec::new();
        for _ in 0..4 {
            let batch = Batch { look: Some(look.clone()), now: table.now, ..Batch::default() };
            taken.extend(ids(&table.store.commit(batch).await.unwrap().intended));
        }
        assert_eq!(taken, [1, 1501], "there is one place, and yet");
    })
    .await;
}
