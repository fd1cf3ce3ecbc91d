//! What cannot be seen from outside: that each statement is sound, how SQLite runs it, and that a row survives its columns.

use proptest::prelude::*;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _};
use url::Url;

use super::*;
use crate::invocation::{Code, Invocation, Memory, Outcome, Phase, Run, RunKind, Trouble};
use crate::queue::Change;
use crate::queue::row::Raw;
use crate::request::CallMode;

const NOW: i64 = 1_800_000_000_000;

struct Database {
    connection: sqlx::SqliteConnection,
    folder: tempfile::TempDir,
}

impl Database {
    /// Migrated, with one trigger, as the writer has it.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { path: folder.path().join("queue.db"), full: false, checkpoint: true };
        let trigger = Arc::new(Trigger::new("t", Url::parse("https://api.example/").unwrap()));
        migrate(&options, &[trigger]).await.unwrap();
        let connection = sqlx::SqliteConnection::connect_with(&options.writing()).await.unwrap();
        Self { connection, folder }
    }

    async fn run(&mut self, sql: impl Into<String>) {
        sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&mut self.connection).await.unwrap();
    }

    /// SQLite learns how many rows there are of each kind, which it knows from the next connection on.
    async fn analyze(mut self) -> Self {
        self.run("ANALYZE").await;
        let file = self.folder.path().join("queue.db");
        self.connection = sqlx::SqliteConnection::connect(&file.display().to_string()).await.unwrap();
        self
    }

    /// Much history, and little to do.
    async fn with_history(mut self) -> Self {
        self.run(format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
             INSERT INTO requests (trigger_name) SELECT 't' FROM n;
             UPDATE requests SET state = 'succeeded', attempt = 1, finished_at = {NOW} WHERE id > 20;
             UPDATE requests SET state = 'triggering', attempt = 1 WHERE id <= 5;
             UPDATE requests SET state = 'polling', attempt = 1, due_at = {NOW} WHERE id BETWEEN 6 AND 10;
             INSERT INTO calendars (name) VALUES ('c'), ('d');
             WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO calendar_dates SELECT 'c', date('2026-01-01', i || ' days') FROM n;
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
             INSERT INTO schedules (name, trigger_name, expression, time_zone, calendar)
             SELECT 's' || i, 't', '@daily', 'UTC', iif(i % 2, 'c', 'd') FROM n;"
        ))
        .await;
        self
    }

    /// The first rows of an installation.
    async fn with_few(mut self) -> Self {
        self.run(
            "INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('t'), ('t');
             UPDATE requests SET state = 'triggering', attempt = 1 WHERE id <= 2;
             INSERT INTO calendars (name) VALUES ('c');
             INSERT INTO calendar_dates VALUES ('c', '2026-01-01');
             INSERT INTO schedules (name, trigger_name, expression, time_zone, calendar) VALUES
               ('a', 't', '@daily', 'UTC', 'c'), ('b', 't', '@daily', 'UTC', NULL)",
        )
        .await;
        self
    }

    /// The lines of the plan that say how `requests` and `outputs` are read.
    async fn plan(&mut self, sql: &str) -> Vec<String> {
        let query = format!("EXPLAIN QUERY PLAN {sql}");
        let lines = sqlx::query(AssertSqlSafe(query)).fetch_all(&mut self.connection).await.unwrap();
        let mut lines: Vec<String> = lines
            .iter()
            .map(|line| line.get::<String, _>(3))
            .filter(|line| line.starts_with("SCAN ") || line.starts_with("SEARCH "))
            .map(|line| line.replace("COVERING INDEX", "INDEX"))
            .filter(|line| {
                line.contains("requests")
                    || line.contains(" r ")
                    || line.contains(" n ")
                    || line.contains(" outputs")
                    || line.contains(" w ")
                    || line.contains(" p ")
                    || ["SCAN r", "SCAN w", "SCAN p"].contains(&line.as_str())
            })
            .collect();
        lines.sort();
        lines.dedup();
        lines
    }
}

#[tokio::test]
async fn each_statement_is_sound_on_a_new_database() {
    let mut database = Database::new().await;
    for (file, sql) in statements::ALL {
        let statement = database.connection.prepare(AssertSqlSafe(*sql).into_sql_str()).await;
        assert!(statement.is_ok(), "{file}: {}", statement.err().unwrap());
    }
}

#[tokio::test]
async fn an_opening_heeds_whoever_gives_it_up_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { path: folder.path().join("queue.db"), full: false, checkpoint: true };
    // It is given up when it has waited so often, which is never in the last round.
    for moment in 1.. {
        let (give_up, given_up) = signal::channel(false);
        let mut opening = std::pin::pin!(SqliteStore::open_patiently(options.clone(), &[], given_up));
        let mut waits = 0;
        let opened = std::future::poll_fn(|context| {
            let polled = opening.as_mut().poll(context);
            waits += usize::from(polled.is_pending());
            if polled.is_pending() && waits == moment {
                give_up.send_replace(true);
            }
            polled
        });
        let opened = opened.await.unwrap();
        assert_eq!(opened.is_none(), waits >= moment, "given up at wait {moment} of {waits}");
        if let Some(store) = opened {
            store.close().await;
            return;
        }
    }
}

#[test]
fn each_statement_says_what_it_does_before_it_does_it() {
    for (file, sql) in statements::ALL {
        assert!(sql.starts_with("-- "), "{file}");
    }
}

#[tokio::test]
async fn each_statement_has_its_index_whatever_the_history_of_the_table() {
    const BY_ID: &[&str] = &["SEARCH requests USING INTEGER PRIMARY KEY (rowid=?)"];
    const AFTER: &str = "SEARCH w USING INDEX requests_after (after_id=?)";
    let expected = |file| -> &[&str] {
        match file {
            "record.sql"
            | "polled.sql"
            | "give_back.sql"
            | "intend.sql"
            | "reject.sql"
            | "spoil.sql"
            | "hold.sql"
            | "restored_hold.sql"
            | "waiters_release.sql"
            | "waiters_cancel.sql"
            | "waiter_fill.sql" => BY_ID,
            "load.sql" | "noted.sql" => &["SEARCH r USING INTEGER PRIMARY KEY (rowid=?)"],
            // SCAN with an index that holds nothing but what is asked for, or up to a LIMIT.
            "heads.sql" => &[
                "SCAN requests USING INDEX requests_candidates",
                "SEARCH r USING INDEX requests_candidates (trigger_name>?)",
            ],
            "prune.sql" | "prune_count.sql" => {
                &["SEARCH requests USING INDEX requests_finished (finished_at>? AND finished_at<?)", AFTER]
            }
            "prune_uncertain.sql" | "prune_ids.sql" => {
                &["SEARCH requests USING INDEX requests_finished (finished_at>? AND finished_at<?)"]
            }
            "prune_look.sql" => &["SEARCH outputs USING INTEGER PRIMARY KEY (rowid>?)"],
            "prune_outputs.sql" => &[
                "SEARCH outputs USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
                AFTER,
            ],
            // What there is of hooks, groups and who waits: one step each.
            "ends.sql" => &[
                "SCAN requests USING INDEX requests_after",
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN",
                AFTER,
            ],
            "endings_found.sql" => &[
                "SCAN w USING INDEX requests_after",
                "SEARCH p USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN",
            ],
            "given_up.sql" => &["SEARCH r USING INTEGER PRIMARY KEY (rowid=?)", AFTER],
            "waiters.sql" => &[AFTER],
            "waiter.sql" => &["SEARCH w USING INTEGER PRIMARY KEY (rowid=?)"],
            "waiter_output.sql" => &["SEARCH outputs USING INTEGER PRIMARY KEY (rowid=?)"],
            "groups_done.sql" => &["SEARCH r USING INDEX requests_group_open (group_key=?)"],
            "hooked.sql" => &["SEARCH r USING INTEGER PRIMARY KEY (rowid=?)"],
            "never.sql" => &["SEARCH requests USING INDEX requests_wake (<expr>>?)"],
            "strangers.sql" => &["SCAN requests USING INDEX requests_candidates"],
            "candidates.sql" | "levels.sql" => &[
                "SEARCH r USING INDEX requests_candidates (trigger_name=? AND priority<?)",
                "SEARCH r USING INDEX requests_candidates (trigger_name=? AND priority=? AND <expr><?)",
                "SEARCH requests USING INDEX requests_candidates (trigger_name=?)",
            ],
            "key_states.sql" => &[
                "SEARCH requests USING INDEX requests_key_active (trigger_name=? AND concurrency_key=?)",
                "SEARCH requests USING INDEX requests_key_doubtful (trigger_name=? AND concurrency_key=? AND finished_at>?)",
                "SEARCH requests USING INDEX requests_key_doubtful (trigger_name=? AND concurrency_key=?)",
                "SEARCH requests USING INDEX requests_key_open (trigger_name=? AND concurrency_key=?)",
            ],
            "doubtful.sql" => {
                &["SEARCH requests USING INDEX requests_doubtful (trigger_name=? AND finished_at>?)"]
            }
            "held_keys.sql" => &[
                "SEARCH n USING INDEX requests_held (trigger_name=? AND concurrency_key>?)",
                "SEARCH n USING INDEX requests_held (trigger_name>?)",
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH requests USING INDEX requests_held ((trigger_name,concurrency_key)>(?,?))",
            ],
            "park.sql" | "release.sql" => BY_ID,
            "held.sql" => {
                &["SEARCH requests USING INDEX requests_held (trigger_name=? AND concurrency_key=?)"]
            }
            "timetable_open.sql" => &["SEARCH requests USING INDEX requests_schedule_open (schedule_name=?)"],
            "timetable_taken.sql" => {
                &["SEARCH requests USING INDEX requests_scheduled (schedule_name=? AND scheduled_at=?)"]
            }
            "timetable_mark.sql" | "timetable_cancel.sql" => BY_ID,
            "keys_of.sql" => &["SEARCH r USING INTEGER PRIMARY KEY (rowid=?)"],
            "ending.sql" => &[
                "SCAN requests USING INDEX requests_cancels",
                "SEARCH requests USING INDEX requests_deadline (deadline_at>? AND deadline_at<?)",
                "SEARCH requests USING INDEX requests_expires (expires_at>? AND expires_at<?)",
            ],
            "next.sql" => &[
                "SEARCH requests USING INDEX requests_deadline (deadline_at>?)",
                "SEARCH requests USING INDEX requests_expires (expires_at>?)",
                "SEARCH requests USING INDEX requests_wake (<expr>>?)",
            ],
            "triggering.sql" => &["SCAN requests USING INDEX requests_triggering"],
            "waiting.sql" => &["SCAN requests USING INDEX requests_due"],
            "handovers.sql" => &["SEARCH r USING INTEGER PRIMARY KEY (rowid=?)"],
            "uncertain.sql" => &["SCAN requests USING INDEX requests_uncertain"],
            "restored_doubtful.sql" | "restored_pending.sql" => &["SCAN requests USING INDEX requests_wake"],
            "prune_count_outputs.sql" => &["SEARCH r USING INTEGER PRIMARY KEY (rowid=?)", AFTER],
            "plans_change.sql"
            | "plans_adjust.sql"
            | "plans_insert.sql"
            | "plans_calendar_change.sql"
            | "plans_calendar_insert.sql" => &["SEARCH p USING PRIMARY KEY (name=?)"],
            "plans_dates_delete.sql" => &["SEARCH p USING PRIMARY KEY (calendar=?)"],
            "plans_dates_insert.sql" => &["SEARCH p USING PRIMARY KEY (calendar=? AND excluded_date=?)"],
            // All of the configuration is looked through.
            "plans_leave.sql" | "plans_calendar_delete.sql" => &["SCAN p"],
            "plans_calendar_leave.sql" => &["SCAN p", "SEARCH r USING INDEX schedules_calendar (calendar=?)"],
            // Backwards, and only one.
            "health.sql" => &["SCAN requests"],
            // Of a copy, which nobody else waits for.
            "mark_set.sql" => &["SEARCH requests"],
            "backup_rows.sql" => &["SCAN requests"],
            _ => &[],
        }
    };
    let databases = [
        ("new", Database::new().await),
        ("analyzed when it was young", Database::new().await.with_few().await.analyze().await),
        ("analyzed with a history", Database::new().await.with_history().await.analyze().await),
    ];
    for (name, mut database) in databases {
        for (file, sql) in statements::ALL {
            assert_eq!(database.plan(sql).await, expected(*file), "{file}, {name}");
        }
    }
}

prop_compose! {
    fn url()(path in "[a-z0-9/%~é ]{0,12}", query in "[a-z0-9=&+]{0,8}") -> Url {
        let mut url = Url::parse("https://api.example:8443/").unwrap();
        url.set_path(&path);
        url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
        url
    }
}

fn instant() -> impl Strategy<Value = UnixMillis> {
    (1_000_000_000_000..10_000_000_000_000_i64).prop_map(UnixMillis)
}

fn mode() -> impl Strategy<Value = CallMode> {
    proptest::sample::select(&CallMode::ALL[..])
}

fn code() -> impl Strategy<Value = Code> {
    proptest::sample::select(&Code::ALL[..])
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        Just(Phase::Pending),
        Just(Phase::Triggering),
        url().prop_map(Phase::Polling),
        url().prop_map(Phase::Collecting),
        proptest::sample::select(&Outcome::ALL[..]).prop_map(Phase::Finished),
    ]
}

fn memory() -> impl Strategy<Value = Memory> {
    let kind = prop_oneof![Just(RunKind::Lost), Just(RunKind::Fault), Just(RunKind::Unreadable)];
    let run = (kind, any::<u32>(), instant()).prop_map(|(kind, count, since)| Run { kind, count, since });
    let doubt = proptest::option::of(code());
    let flags = (any::<bool>(), any::<bool>());
    (0..3_u32, any::<u32>(), doubt, any::<u32>(), proptest::option::of(run), flags).prop_map(
        |(refusals, repeats, doubt, waits, run, (uncounted, counted_deadline))| Memory {
            refusals,
            repeats,
            uncounted,
            doubt,
            waits,
            run,
            counted_deadline,
        },
    )
}

prop_compose! {
    /// What a change may write of an invocation.
    fn written()(
        phase in phase(),
        effective_mode in proptest::option::of(mode()),
        accepted_at in proptest::option::of(instant()),
        (polls, last_polled_at) in (0..i32::MAX.cast_unsigned(), proptest::option::of(instant())),
        status_uri in proptest::option::of(url()),
        http_status in proptest::option::of(100..1000_u16),
        trouble in proptest::option::of((code(), any::<String>())),
        memory in memory(),
        due_at in proptest::option::of(instant()),
    ) -> (Invocation, Option<UnixMillis>) {
        // While polling, the status URI is what is polled.
        let status_uri = if let Phase::Polling(uri) = &phase { Some(uri.clone()) } else { status_uri };
        let trouble = trouble.map(|(code, message)| Trouble::new(code, message));
        let next = Invocation {
            attempt: 1, phase, effective_mode, accepted_at, polls, last_polled_at, status_uri, http_status, trouble,
            memory, started_at: Some(UnixMillis(NOW)), deadline_at: Some(UnixMillis(NOW + 1)), ..Invocation::pending(1)
        };
        (next, due_at)
    }
}

#[test]
fn what_is_written_of_an_invocation_is_read_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let table = runtime.block_on(async {
        let mut database = Database::new().await;
        database
            .run(format!(
                "INSERT INTO requests (trigger_name) VALUES ('t');
                 UPDATE requests SET state = 'triggering', attempt = 1, started_at = {NOW}, deadline_at = {NOW} + 1"
            ))
            .await;
        tokio::sync::Mutex::new((database, Phase::Triggering.as_str()))
    });
    proptest!(ProptestConfig::with_cases(64), |((next, due_at) in written())| {
        let (stored, read) = runtime.block_on(async {
            let (database, from) = &mut *table.lock().await;
            let change =
                Change { from, next: next.clone(), due_at, finished_at: None, attempt: None, output: None };
            let stored = statements::record(&mut database.connection, &[change]).await.unwrap();
            *from = next.phase.as_str();
            (stored, statements::load(&mut database.connection, &[1]).await.unwrap())
        });
        prop_assert_eq!(stored, [1]);
        let row = read.first().map(Raw::check).unwrap().unwrap();
        prop_assert_eq!((row.invocation, row.due_at), (next, due_at));
    });
}

#[tokio::test]
async fn whoever_holds_the_lock_for_a_moment_keeps_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("queue.db");
    let looks = modes::open_or_create(&lock_path(&database)).unwrap();
    looks.try_lock_shared().unwrap();
    // The first try comes before that.
    let (held, ()) = tokio::join!(lock(&database), async { drop(looks) });
    let held = held.unwrap();
    assert!(matches!(lock(&database).await, Err(Error::Locked(_))));
    drop(held);
}
