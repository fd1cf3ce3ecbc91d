//! The schema as producers and the daemon meet it: what it refuses and in which words, what it lets through, its defaults,
//! uniqueness, the views and the plans of the queries it has indexes for. `tests/clients` asks the same of other SQLites.

use std::collections::BTreeSet;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqliteConnection};

/// Rows in every state; the numbers are told there.
const FIXTURE: &str = include_str!("../clients/fixture.sql");
/// Pairs of lines: `-- code: column`, then the statement.
const REFUSED: &str = include_str!("../clients/refused.sql");

/// A new, migrated database without rows. It lives as long as the folder.
async fn database() -> (tempfile::TempDir, SqliteConnection) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut connection = SqliteConnectOptions::new()
        .filename(folder.path().join("queue.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .connect()
        .await
        .expect("a new database");
    sqlx::migrate!("./migrations/sqlite").run(&mut connection).await.expect("the migrations run");
    (folder, connection)
}

/// The same with the rows of the fixture.
async fn filled_database() -> (tempfile::TempDir, SqliteConnection) {
    let (folder, mut connection) = database().await;
    run(&mut connection, FIXTURE).await.expect("the fixture is good");
    (folder, connection)
}

/// Runs a statement; an error is SQLite's own message.
async fn run(connection: &mut SqliteConnection, sql: &str) -> Result<u64, String> {
    match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await {
        Ok(done) => Ok(done.rows_affected()),
        Err(error) => Err(error.as_database_error().expect("an error of the database").message().to_owned()),
    }
}

/// All rows, a line each, columns parted by `|` as the sqlite3 program does; NULL is empty.
async fn rows(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .fetch_all(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let column = |row: &sqlx::sqlite::SqliteRow, i| {
        row.try_get_unchecked::<Option<String>, _>(i).expect("text").unwrap_or_default()
    };
    rows.iter().map(|row| (0..row.len()).map(|i| column(row, i)).collect::<Vec<_>>().join("|")).collect()
}

/// The whole content of the tables.
async fn content(connection: &mut SqliteConnection) -> Vec<String> {
    let mut all = Vec::new();
    for table in [
        "requests",
        "outputs",
        "attempts",
        "triggers",
        "daemon",
        "replace_guard",
        "trigger_status",
        "handovers",
        "sqlite_sequence",
    ] {
        all.extend(rows(connection, &format!("SELECT '{table}', * FROM {table} ORDER BY 2")).await);
    }
    all
}

async fn count(connection: &mut SqliteConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM requests").fetch_one(connection).await.expect("a count")
}

fn refused() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let mut lines = REFUSED.lines().filter(|line| !line.is_empty() && !line.starts_with("-- # ")).skip(2);
    std::iter::from_fn(move || {
        let (code, column) =
            lines.next()?.trim_start_matches("-- ").split_once(": ").expect("`-- code: column`");
        Some((code, column, lines.next().expect("a statement after each title")))
    })
}

#[tokio::test]
async fn each_bad_statement_is_refused_with_its_code_and_column_and_changes_nothing() {
    let (_folder, mut connection) = filled_database().await;
    let before = content(&mut connection).await;
    for (code, column, statement) in refused() {
        let error = run(&mut connection, statement).await.expect_err(statement);
        assert!(
            error.contains(&format!("triggerd: {code}: {column}: ")),
            "{statement}\n wanted {code}: {column}\n found {error}"
        );
        assert_eq!(content(&mut connection).await, before, "{statement}");
    }
}

#[test]
fn each_code_has_a_bad_statement() {
    let met: BTreeSet<_> = refused().map(|(code, _, _)| code).collect();
    let all = BTreeSet::from([
        "unknown_trigger",
        "inactive_trigger",
        "invalid_arguments",
        "arguments_too_large",
        "invalid_call_mode",
        "invalid_priority",
        "invalid_time",
        "invalid_value",
        "daemon_column",
        "fixed_column",
        "not_pending",
        "replaced",
        "not_finished",
    ]);
    assert_eq!(met, all);
}

#[tokio::test]
async fn the_file_says_whose_it_is_and_has_one_daemon() {
    let (_folder, mut connection) = database().await;
    assert_eq!(rows(&mut connection, "PRAGMA application_id").await, [0x7472_6764.to_string()]);
    assert_eq!(rows(&mut connection, "PRAGMA user_version").await, ["4"]);
    assert_eq!(
        rows(
            &mut connection,
            "SELECT count(*), length(instance_id), instance_id GLOB '*[^0-9a-f]*', ready_at FROM daemon"
        )
        .await,
        ["1|32|0|"]
    );
    run(&mut connection, "INSERT INTO daemon (id, instance_id) VALUES (2, 'x')")
        .await
        .expect_err("a second daemon");
}

#[tokio::test]
async fn a_minimal_insert_gets_every_default() {
    let (_folder, mut connection) = filled_database().await;
    run(&mut connection, "INSERT INTO requests (trigger_name) VALUES ('nightly-report')")
        .await
        .expect("good");
    let found = rows(
        &mut connection,
        "SELECT id, arguments, call_mode, priority, expires_at, deadline_at, unique_key, unique_scope, concurrency_key, correlation_id, traceparent,
                cancel_requested, state, round, attempt, due_at, status_uri, output_uri, effective_call_mode, polls, last_polled_at, http_status,
                error_code, error_message, started_at, accepted_at, finished_at, progress, unique_held
         FROM requests WHERE id = 11",
    )
    .await;
    assert_eq!(found, ["11|{}||0||||unfinished||||0|pending|1|0|||||0|||||||||0"]);
    // both times are one instant, in whole milliseconds, and now
    let times = "run_at = created_at AND typeof(run_at) = 'integer' AND abs(created_at - CAST(strftime('%s', 'now') AS INTEGER) * 1000) < 60000";
    assert_eq!(rows(&mut connection, &format!("SELECT count(*) FROM requests WHERE {times}")).await, ["11"]);
}

#[tokio::test]
async fn an_id_is_never_used_twice() {
    let (_folder, mut connection) = filled_database().await;
    run(
        &mut connection,
        "UPDATE requests SET state = 'cancelled' WHERE id = 10; DELETE FROM requests WHERE id = 10",
    )
    .await
    .expect("good");
    run(&mut connection, "INSERT INTO requests (trigger_name) VALUES ('nightly-report')")
        .await
        .expect("good");
    assert_eq!(rows(&mut connection, "SELECT max(id) FROM requests").await, ["11"]);
}

#[tokio::test]
async fn a_key_is_taken_by_the_unfinished_or_with_scope_kept_by_all_that_are_kept() {
    // key, scope of the new request, may it be inserted (what the fixture has under that key)
    let cases = [
        ("waiting", "unfinished", false),  // pending
        ("fired", "unfinished", false),    // triggering
        ("polled", "unfinished", false),   // polling
        ("doubtful", "unfinished", false), // uncertain
        ("doubtful", "kept", false),
        ("done", "unfinished", true), // succeeded, scope unfinished
        ("done", "kept", false),
        ("once", "kept", false), // dispatched, scope kept
        ("other", "unfinished", true),
        ("other", "kept", true),
    ];
    for (key, scope, free) in cases {
        let (_folder, mut connection) = filled_database().await;
        let before = content(&mut connection).await;
        let values =
            format!("(trigger_name, unique_key, unique_scope) VALUES ('nightly-report', '{key}', '{scope}')");
        let plain = run(&mut connection, &format!("INSERT INTO requests {values}")).await;
        if free {
            assert_eq!(plain, Ok(1), "{key}, {scope}");
        } else {
            let error = plain.expect_err(key);
            assert!(
                error.contains("UNIQUE constraint failed: requests.trigger_name, requests.unique_key"),
                "{key}, {scope}: {error}"
            );
            assert_eq!(
                content(&mut connection).await,
                before,
                "{key}, {scope}: a refused INSERT leaves nothing"
            );
        }
        let held = count(&mut connection).await;
        for quiet in [
            format!("INSERT INTO requests {values} ON CONFLICT DO NOTHING"),
            format!("INSERT OR IGNORE INTO requests {values}"),
        ] {
            assert_eq!(run(&mut connection, &quiet).await, Ok(0), "{quiet}");
            assert_eq!(count(&mut connection).await, held, "{quiet}");
        }
    }
}

#[tokio::test]
async fn a_key_is_free_again_once_retention_has_deleted_its_rows() {
    let (_folder, mut connection) = filled_database().await;
    let kept = "INSERT INTO requests (trigger_name, unique_key, unique_scope) VALUES ('nightly-report', 'done', 'kept')";
    // two finished rows of the key; the newer is held first, and the older still counts when the newer is gone
    run(&mut connection, "INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'done')")
        .await
        .expect("good");
    run(&mut connection, "UPDATE requests SET state = 'failed', finished_at = 1800000003000 WHERE id = 11")
        .await
        .expect("good");
    assert_eq!(run(&mut connection, &format!("{kept} ON CONFLICT DO NOTHING")).await, Ok(0));
    run(&mut connection, "DELETE FROM requests WHERE id = 11").await.expect("finished");
    assert_eq!(run(&mut connection, &format!("{kept} ON CONFLICT DO NOTHING")).await, Ok(0));
    run(&mut connection, "DELETE FROM requests WHERE id = 5").await.expect("finished");
    assert_eq!(run(&mut connection, kept).await, Ok(1));
    // holding a row for a kept request does not stop later ones of the other scope
    assert_eq!(
        rows(&mut connection, "SELECT unique_scope, unique_held FROM requests WHERE unique_key = 'done'")
            .await,
        ["kept|0"]
    );
}

#[tokio::test]
async fn an_upsert_may_change_the_pending_twin_under_the_rules_of_an_update() {
    let (_folder, mut connection) = filled_database().await;
    let upsert = |key: &str| {
        format!(
            "INSERT INTO requests (trigger_name, unique_key, priority) VALUES ('nightly-report', '{key}', 9)
             ON CONFLICT DO UPDATE SET priority = excluded.priority"
        )
    };
    assert_eq!(run(&mut connection, &upsert("waiting")).await, Ok(1));
    assert_eq!(rows(&mut connection, "SELECT priority FROM requests WHERE id = 1").await, ["9"]);
    let error = run(&mut connection, &upsert("polled")).await.expect_err("it is polled already");
    assert!(error.contains("triggerd: not_pending: priority: "), "{error}");
}

#[tokio::test]
async fn replace_is_refused_with_recursive_triggers_too_and_the_guard_stays_small() {
    let (_folder, mut connection) = filled_database().await;
    run(&mut connection, "PRAGMA recursive_triggers = ON").await.expect("good");
    for (key, scope) in [("waiting", "unfinished"), ("once", "kept"), ("done", "kept")] {
        let before = content(&mut connection).await;
        let replace = format!(
            "REPLACE INTO requests (trigger_name, unique_key, unique_scope) VALUES ('nightly-report', '{key}', '{scope}')"
        );
        let error = run(&mut connection, &replace).await.expect_err(key);
        assert!(
            error.contains("triggerd: replaced: ") || error.contains("triggerd: not_finished: "),
            "{key}: {error}"
        );
        assert_eq!(content(&mut connection).await, before, "{key}");
    }
    for key in ["waiting", "fired", "polled", "doubtful", "once", "done"] {
        let values =
            format!("(trigger_name, unique_key, unique_scope) VALUES ('nightly-report', '{key}', 'kept')");
        run(&mut connection, &format!("INSERT INTO requests {values} ON CONFLICT DO NOTHING"))
            .await
            .expect("nothing");
        assert!(rows(&mut connection, "SELECT * FROM replace_guard").await.len() <= 2);
    }
    run(
        &mut connection,
        "INSERT INTO requests (trigger_name, unique_key) VALUES ('nightly-report', 'fresh')",
    )
    .await
    .expect("good");
    assert!(rows(&mut connection, "SELECT * FROM replace_guard").await.is_empty());
}

#[tokio::test]
async fn the_daemon_may_write_producer_columns_together_with_a_new_state() {
    let (_folder, mut connection) = filled_database().await;
    for transition in [
        // the round's first firing sets the deadline
        "UPDATE requests SET state = 'triggering', attempt = attempt + 1, deadline_at = 1900000000000 WHERE id = 1 AND state = 'pending' AND attempt = 0",
        // an orderly stop gives it back
        "UPDATE requests SET state = 'pending', attempt = attempt - 1, deadline_at = NULL WHERE id = 1 AND state = 'triggering'",
        "UPDATE requests SET state = 'cancelled', finished_at = 1800000000000 WHERE id = 8",
        // a retry clears past limits and the cancel
        "UPDATE requests SET state = 'pending', round = round + 1, cancel_requested = 0, expires_at = NULL, deadline_at = NULL, finished_at = NULL WHERE id = 8",
        // its own columns, in any state
        "UPDATE requests SET due_at = 1800000000000, polls = polls + 1, progress = '{}', http_status = 202 WHERE id = 3",
        "UPDATE requests SET state = 'failed' WHERE id = 6",
    ] {
        assert_eq!(run(&mut connection, transition).await, Ok(1), "{transition}");
    }
}

#[tokio::test]
async fn a_producer_may_change_a_pending_row_repeat_a_value_and_cancel() {
    let (_folder, mut connection) = filled_database().await;
    for (change, changed) in [
        (
            "UPDATE requests SET arguments = '{\"a\":[1,{}]}', call_mode = 'LongPolling', priority = -100 WHERE id = 1",
            1,
        ),
        (
            "UPDATE requests SET run_at = 1000000000000, expires_at = 9999999999999, deadline_at = 9999999999999 WHERE id = 1",
            1,
        ),
        (
            "UPDATE requests SET concurrency_key = 'k', traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00' WHERE id = 1",
            1,
        ),
        (
            "UPDATE requests SET call_mode = NULL, expires_at = NULL, deadline_at = NULL, concurrency_key = NULL, correlation_id = NULL, traceparent = NULL WHERE id = 1",
            1,
        ),
        (
            "UPDATE requests SET priority = 0, arguments = '{}', trigger_name = trigger_name, id = id, run_at = run_at WHERE id IN (2, 3, 5, 6)",
            4,
        ),
        ("UPDATE requests SET cancel_requested = 1", 10),
    ] {
        assert_eq!(run(&mut connection, change).await, Ok(changed), "{change}");
    }
}

#[tokio::test]
async fn deleting_an_ended_request_deletes_its_output_and_attempts() {
    let (_folder, mut connection) = filled_database().await;
    assert_eq!(run(&mut connection, "DELETE FROM requests WHERE id = 5").await, Ok(1));
    assert_eq!(
        rows(&mut connection, "SELECT request_id FROM outputs UNION ALL SELECT request_id FROM attempts")
            .await,
        ["6"]
    );
}

#[tokio::test]
async fn the_checks_stand_when_somebody_has_dropped_the_sql_triggers() {
    let (_folder, mut connection) = filled_database().await;
    for trigger in rows(&mut connection, "SELECT name FROM sqlite_master WHERE type = 'trigger'").await {
        run(&mut connection, &format!("DROP TRIGGER {trigger}")).await.expect("good");
    }
    for bad in [
        "state = 'nonsense'",
        "call_mode = 'x'",
        "effective_call_mode = 'x'",
        "priority = 101",
        "unique_scope = 'x'",
        "cancel_requested = 2",
    ] {
        let error =
            run(&mut connection, &format!("UPDATE requests SET {bad} WHERE id = 1")).await.expect_err(bad);
        assert!(error.contains("CHECK constraint failed"), "{bad}: {error}");
    }
}

#[tokio::test]
async fn all_of_it_works_on_a_connection_that_does_not_trust_the_schema() {
    let (_folder, mut connection) = filled_database().await;
    run(&mut connection, "PRAGMA trusted_schema = OFF").await.expect("good");
    for good in [
        r#"INSERT INTO requests (trigger_name, unique_key, arguments) VALUES ('nightly-report', 'new', '{"a":"\n"}')"#,
        r#"UPDATE requests SET arguments = '{"b":"\n"}' WHERE id = 11"#,
        "DELETE FROM requests WHERE id = 5",
    ] {
        assert_eq!(run(&mut connection, good).await, Ok(1), "{good}");
    }
    assert_eq!(rows(&mut connection, "SELECT count(*), count(created) FROM results").await, ["10|10"]);
    assert_eq!(rows(&mut connection, "SELECT count(why) FROM request_why").await, ["9"]);
}

#[tokio::test]
async fn results_tell_a_producer_all_it_needs() {
    let (_folder, mut connection) = filled_database().await;
    let columns = "id, trigger_name, state, is_final, output, error_code, error_message, http_status, call_mode, attempt, correlation_id, unique_key";
    let names =
        rows(&mut connection, "SELECT group_concat(name, ', ') FROM pragma_table_info('results')").await;
    assert_eq!(names, [format!("{columns}, created, started, finished, duration_ms")]);
    for (id, row) in [
        (1, "1|nightly-report|pending|0||||||0|order-1|waiting|||"),
        (2, "2|nightly-report|triggering|0||||||1||fired|2027-01-15T08:00:00.000Z||"),
        (3, "3|nightly-report|polling|0||||202|AsyncRequestReply|1||polled|2027-01-15T08:00:00.000Z||"),
        (
            5,
            r#"5|nightly-report|succeeded|1|{"pages":3}|||200|AsyncRequestReply|1|order-5|done|2027-01-15T08:00:00.000Z|2027-01-15T08:00:01.234Z|1234"#,
        ),
        (
            6,
            "6|nightly-report|uncertain|1||interrupted||||1||doubtful|2027-01-15T08:00:00.000Z|2027-01-15T08:00:02.000Z|2000",
        ),
        (
            9,
            "9|nightly-report|dispatched|1||||||1||once|2027-01-15T08:00:00.000Z|2027-01-15T08:00:00.500Z|500",
        ),
    ] {
        let found = rows(
            &mut connection,
            &format!("SELECT {columns}, started, finished, duration_ms FROM results WHERE id = {id}"),
        )
        .await;
        assert_eq!(found, [row]);
    }
    let shape =
        "created GLOB '20[0-9][0-9]-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9]Z'";
    assert_eq!(rows(&mut connection, &format!("SELECT count(*) FROM results WHERE {shape}")).await, ["10"]);
}

#[tokio::test]
async fn an_output_is_shown_only_if_it_is_whole_text() {
    let (_folder, mut connection) = filled_database().await;
    for (body, truncated, shown) in
        [("'text'", 0, "text"), ("'text'", 1, ""), ("x'74657874'", 0, ""), ("x'ff'", 1, ""), ("'7'", 0, "7")]
    {
        let store = format!(
            "INSERT OR REPLACE INTO outputs (request_id, body, bytes, truncated) VALUES (9, {body}, 4, {truncated})"
        );
        run(&mut connection, &store).await.expect("good");
        assert_eq!(
            rows(&mut connection, "SELECT output FROM results WHERE id = 9").await,
            [shown],
            "{store}"
        );
    }
    run(&mut connection, "INSERT INTO outputs (request_id, body, bytes) VALUES (2, '', 0)")
        .await
        .expect_err("no row for an empty body");
}

#[tokio::test]
async fn request_why_says_in_plain_words_what_an_unfinished_request_waits_for() {
    let (_folder, mut connection) = filled_database().await;
    run(&mut connection, "UPDATE daemon SET seen_at = 9000000000000").await.expect("good");
    assert_eq!(
        rows(&mut connection, "SELECT id FROM request_why ORDER BY id").await,
        ["1", "2", "3", "4", "6", "7", "8", "10"]
    );
    // how the row comes to be so (in a transaction that is rolled back), its id, why, until
    let cases = [
        ("", 1, "ready: is fired at the next look", ""),
        (
            "INSERT INTO trigger_status (trigger_name, slots_used, waiting_for, waiting_on, updated_at) VALUES ('nightly-report', 4, 'slot', 'max_concurrent', 1)",
            1,
            "ready: waits for a free place (max_concurrent); of this trigger, 4 are with the far end",
            "",
        ),
        (
            "INSERT INTO trigger_status (trigger_name, slots_used, waiting_for, waiting_on, waiting_until, updated_at) VALUES ('nightly-report', 0, 'credential', 'credential_refused', 1800000005000, 1)",
            1,
            "the credential of the trigger was refused: waits until it works; renew it and reload the daemon",
            "1800000005000",
        ),
        (
            "INSERT INTO trigger_status (trigger_name, slots_used, waiting_for, waiting_on, waiting_until, updated_at) VALUES ('nightly-report', 0, 'credential', 'credential_unavailable', 1800000005000, 1)",
            1,
            "the credential of the trigger cannot be had: waits until its secret can be read; see triggerd check",
            "1800000005000",
        ),
        (
            "INSERT INTO trigger_status (trigger_name, slots_used, waiting_for, waiting_on, waiting_until, updated_at) VALUES ('nightly-report', 0, 'credential', 'credential_refused', 1800000005000, 1)",
            7,
            "waits to be fired again after not_sent (attempt 1)",
            "9000000000000",
        ),
        (
            "UPDATE daemon SET stopped_at = 1800000000000",
            1,
            "ready: is fired at the next look; but no daemon runs: start triggerd",
            "",
        ),
        (
            "UPDATE daemon SET seen_at = NULL",
            3,
            "the remote job is running: polled again; but no daemon runs: start triggerd",
            "1800000009000",
        ),
        (
            "UPDATE daemon SET stopped_at = 1800000000000",
            6,
            "the remote job may have run (interrupted): find out, then triggerd resolve 6",
            "",
        ),
        ("UPDATE requests SET run_at = 9000000000000 WHERE id = 1", 1, "waits for run_at", "9000000000000"),
        (
            "UPDATE requests SET expires_at = 1000000000000 WHERE id = 1",
            1,
            "expires_at has passed: ends at the next look",
            "",
        ),
        (
            "UPDATE triggers SET active = 0",
            1,
            "the trigger has left the configuration: waits until it is configured again",
            "",
        ),
        (
            "DELETE FROM triggers",
            1,
            "the trigger has left the configuration: waits until it is configured again",
            "",
        ),
        (
            "UPDATE triggers SET paused = 1",
            1,
            "the trigger is paused: waits for triggerd resume nightly-report",
            "",
        ),
        (
            "UPDATE triggers SET paused = 1, paused_reason = 'month end'",
            1,
            "the trigger is paused (month end): waits for triggerd resume nightly-report",
            "",
        ),
        ("", 7, "waits to be fired again after not_sent (attempt 1)", "9000000000000"),
        (
            "UPDATE requests SET error_code = 'credential_refused' WHERE id = 7",
            7,
            "the credential was refused: waits until it works; renew it and reload the daemon",
            "9000000000000",
        ),
        (
            "UPDATE requests SET error_code = 'credential_unavailable' WHERE id = 7",
            7,
            "the credential cannot be had: waits until its secret can be read; see triggerd check",
            "9000000000000",
        ),
        (
            "UPDATE requests SET due_at = 1000000000000 WHERE id = 7",
            7,
            "ready: is fired at the next look",
            "",
        ),
        (
            "UPDATE requests SET due_at = 9000000000000, error_code = NULL WHERE id = 7",
            7,
            "waits for due_at",
            "9000000000000",
        ),
        ("", 8, "a cancel was requested: ends as cancelled at the next look", ""),
        ("", 2, "is being fired (attempt 1)", ""),
        (
            "UPDATE requests SET cancel_requested = 1 WHERE id = 2",
            2,
            "is being fired (attempt 1): the cancel waits for the answer",
            "",
        ),
        ("", 3, "the remote job is running: polled again", "1800000009000"),
        (
            "UPDATE triggers SET active = 0",
            3,
            "the trigger has left the configuration: the status URI is not asked until it is configured again",
            "",
        ),
        (
            "UPDATE requests SET cancel_requested = 1 WHERE id = 3",
            3,
            "a cancel was requested: ends as cancelled at the next look",
            "",
        ),
        (
            "UPDATE requests SET http_status = 403 WHERE id = 3",
            3,
            "the status URI answered 403: asked again; the credential may lack a right",
            "1800000009000",
        ),
        (
            "UPDATE requests SET http_status = 401 WHERE id = 3",
            3,
            "the status URI refused the credential (401): asked again; renew it and reload the daemon",
            "1800000009000",
        ),
        (
            "UPDATE requests SET http_status = 404, error_code = 'status_lost' WHERE id = 3",
            3,
            "the status URI cannot be read (status_lost, 404): asked again",
            "1800000009000",
        ),
        (
            "UPDATE requests SET http_status = NULL, error_code = 'connection_lost' WHERE id = 4",
            4,
            "the output URI cannot be read (connection_lost): asked again",
            "1800000009000",
        ),
        (
            "UPDATE requests SET error_code = 'forbidden_origin' WHERE id = 3",
            3,
            "the status URI is at an origin that is not allowed: nothing is sent there until allowed_origins has it",
            "1800000009000",
        ),
        ("", 4, "the remote job has ended: its output is asked for", "1800000009000"),
        ("", 6, "the remote job may have run (interrupted): find out, then triggerd resolve 6", ""),
    ];
    for (change, id, why, until) in cases {
        run(&mut connection, "BEGIN").await.expect("good");
        run(&mut connection, change).await.expect(change);
        let found =
            rows(&mut connection, &format!("SELECT why, until FROM request_why WHERE id = {id}")).await;
        assert_eq!(found, [format!("{why}|{until}")], "{change}");
        run(&mut connection, "ROLLBACK").await.expect("good");
    }
}

#[tokio::test]
async fn request_why_misses_a_daemon_that_gives_no_sign() {
    let (_folder, mut connection) = filled_database().await;
    let now = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)";
    for (ago, missed) in [("0", "0"), ("60000", "0"), ("100000", "1")] {
        run(&mut connection, &format!("UPDATE daemon SET seen_at = {now} - {ago}")).await.expect("good");
        let sql = "SELECT why LIKE '%no daemon was seen for 1__ s%' FROM request_why WHERE id = 1";
        assert_eq!(rows(&mut connection, sql).await, [missed], "{ago} ms ago");
    }
}

#[tokio::test]
async fn each_query_has_its_index_and_results_by_id_are_two_primary_key_look_ups() {
    let (_folder, mut connection) = filled_database().await;
    let unfinished = "(state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting' OR state = 'uncertain')";
    let cases = [
        (
            "SELECT state, is_final, output, error_code FROM results WHERE id = 1".to_owned(),
            "SEARCH r USING INTEGER PRIMARY KEY (rowid=?), SEARCH o USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN",
        ),
        (
            "SELECT id FROM requests WHERE trigger_name = 'a' AND state = 'pending' AND held_by IS NULL ORDER BY priority DESC, coalesce(due_at, run_at), id".to_owned(),
            "SEARCH requests USING INDEX requests_candidates (trigger_name=?)",
        ),
        ("SELECT min(coalesce(due_at, run_at)) FROM requests WHERE state = 'pending'".to_owned(), "SEARCH requests USING INDEX requests_wake"),
        (
            "SELECT id FROM requests WHERE state IN ('polling', 'collecting') AND due_at <= 1 ORDER BY due_at, id".to_owned(),
            "SEARCH requests USING INDEX requests_due (due_at<?)",
        ),
        ("SELECT id FROM requests WHERE state = 'triggering' ORDER BY id".to_owned(), "SCAN requests USING INDEX requests_triggering"),
        ("SELECT id FROM requests WHERE state = 'uncertain' ORDER BY id".to_owned(), "SCAN requests USING INDEX requests_uncertain"),
        ("SELECT id FROM requests WHERE state = 'pending' AND expires_at <= 1".to_owned(), "SEARCH requests USING INDEX requests_expires (expires_at<?)"),
        ("SELECT id FROM requests WHERE state = 'pending' AND deadline_at <= 1".to_owned(), "SEARCH requests USING INDEX requests_deadline (deadline_at<?)"),
        (
            "SELECT id FROM requests WHERE cancel_requested = 1 AND (state = 'pending' OR state = 'triggering' OR state = 'polling' OR state = 'collecting')"
                .to_owned(),
            "SCAN requests USING INDEX requests_cancels",
        ),
        (
            "SELECT id FROM requests WHERE finished_at < 1 AND state = 'failed' ORDER BY finished_at".to_owned(),
            "SEARCH requests USING INDEX requests_finished (finished_at<?)",
        ),
        ("SELECT id FROM requests WHERE correlation_id = 'a'".to_owned(), "SEARCH requests USING INDEX requests_correlation (correlation_id=?)"),
        (
            "SELECT id FROM requests WHERE trigger_name = 'a' AND unique_key = 'b'".to_owned(),
            "SEARCH requests USING INDEX requests_key (trigger_name=? AND unique_key=?)",
        ),
        (
            format!("SELECT id FROM requests WHERE trigger_name = 'a' AND unique_key = 'b' AND {unfinished}"),
            "SEARCH requests USING INDEX requests_unique_unfinished (trigger_name=? AND unique_key=?)",
        ),
    ];
    for (query, plan) in cases {
        let found = rows(&mut connection, &format!("EXPLAIN QUERY PLAN {query}")).await;
        let found: Vec<_> = found.iter().filter_map(|line| line.splitn(4, '|').nth(3)).collect();
        // whether the index is enough by itself depends on SQLite's version
        assert_eq!(found.join(", ").replace("COVERING ", ""), plan, "{query}");
    }
}
