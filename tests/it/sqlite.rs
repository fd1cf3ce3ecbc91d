//! The table in a SQLite file where it is more than a table: rows that got past the checks, bytes of outputs, files that
//! are not ours, other programs' locks, writes that fail.

use std::time::Duration;

use sqlx::{Connection as _, Row as _};
use triggerd::clock::monotonic;
use triggerd::invocation::{Invocation, Outcome, Output, Phase};
use triggerd::queue::sqlite::{Migrated, Options, SCHEMA_VERSION, SqliteStore, migrate};
use triggerd::queue::{Batch, Change, Error, Look, Store};

use crate::queue_contract::{
    NOW, Table, at, change, ended, fired, ids, intended, look, new, see, started, to, triggers, want,
};
use crate::support::bounded;
use crate::support::table::{SqliteTable, connect, database, options, rows, run};

/// Long enough for what must not happen to happen, if it can.
const A_WHILE: Duration = Duration::from_millis(100);

/// Lets everything into the table: what a program may do that means no good, or that has its own idea of a schema.
async fn open_the_gates(table: &SqliteTable) {
    let drop: Vec<String> = table
        .rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .await
        .iter()
        .map(|row| format!("DROP TRIGGER {};", row.get::<String, _>(0)))
        .collect();
    table.run(format!("PRAGMA ignore_check_constraints = ON; {}", drop.concat())).await;
}

/// Inserts a row of trigger `alpha`, ready since a second, with `column` set to an SQL expression.
async fn slip_in(table: &SqliteTable, column: &str, value: &str) -> i64 {
    let mut columns = vec![("trigger_name", "'alpha'".to_owned()), ("run_at", (NOW.0 - 1000).to_string())];
    columns.retain(|(name, _)| *name != column);
    columns.push((column, value.to_owned()));
    let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    table.run(format!("INSERT INTO requests ({}) VALUES ({})", names.join(", "), values.join(", "))).await;
    table.rows("SELECT max(id) FROM requests").await[0].get(0)
}

/// What is wrong with each row by the daemon's own word, as it is stored.
async fn verdict(table: &SqliteTable, id: i64) -> String {
    let row = table
        .rows(format!("SELECT state, error_code, error_message, finished_at FROM requests WHERE id = {id}"))
        .await
        .remove(0);
    let text = |column: &str| row.get::<Option<String>, _>(column).unwrap_or_default();
    let finished: Option<i64> = row.get("finished_at");
    format!(
        "{} {} {} {}",
        text("state"),
        text("error_code"),
        finished.unwrap_or(0) - NOW.0,
        text("error_message")
    )
}

#[tokio::test]
async fn a_bad_row_ends_alone_and_is_told_what_is_wrong_with_it() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        open_the_gates(&table).await;
        let deep = format!("'{{\"a\":{}1{}}}'", "[".repeat(2000), "]".repeat(2000));
        let large = format!("'{{\"a\":\"{}\"}}'", "x".repeat(64 * 1024));
        const BAD_UTF8: &str = "CAST(x'ff' AS TEXT)";
        let cases = [
            ("trigger_name", "'nobody'"),
            ("trigger_name", "''"),
            ("trigger_name", "x'616c706861'"),
            ("trigger_name", BAD_UTF8),
            ("trigger_name", "CAST(x'616c706861ff' AS TEXT)"),
            ("arguments", BAD_UTF8),
            ("arguments", "x'7b7d'"),
            ("arguments", "5"),
            ("arguments", "''"),
            ("arguments", "'{'"),
            ("arguments", "'[]'"),
            ("arguments", "'{} {}'"),
            ("arguments", "'{\"$callMode\":null}'"),
            ("arguments", "'{\"a\":1,\"\\u0024callMode\":1}'"),
            ("arguments", "'{\"a\":\"' || CAST(x'c3' AS TEXT) || '\"}'"),
            ("arguments", &deep),
            ("arguments", &large),
            ("call_mode", "'async'"),
            ("call_mode", "''"),
            ("call_mode", "1"),
            ("call_mode", "x'00'"),
            ("call_mode", BAD_UTF8),
            ("priority", "101"),
            ("priority", "-101"),
            ("priority", "9223372036854775807"),
            ("priority", "'high'"),
            ("priority", "1.5"),
            ("priority", "x'01'"),
            ("run_at", "0"),
            ("run_at", "-9223372036854775808"),
            ("run_at", "9223372036854775807"),
            ("run_at", "10000000000000"),
            ("run_at", "'tomorrow'"),
            ("run_at", "1700000000000.5"),
            ("run_at", "x'01'"),
            ("expires_at", "9223372036854775807"),
            ("expires_at", "-1"),
            ("expires_at", "'never'"),
            ("expires_at", BAD_UTF8),
            ("deadline_at", "10000000000000"),
            ("deadline_at", "1"),
            ("deadline_at", "x'01'"),
            ("traceparent", BAD_UTF8),
            ("traceparent", "'00-0'"),
            ("traceparent", "7"),
            ("cancel_requested", "2"),
            ("cancel_requested", "-1"),
            ("cancel_requested", "'yes'"),
            ("cancel_requested", "x'01'"),
            ("round", "-1"),
            ("round", "'one'"),
            ("round", "4294967296"),
            ("attempt", "-1"),
            ("attempt", "9223372036854775807"),
            ("attempt", "4294967295"),
            ("attempt", "x'00'"),
            ("due_at", "'soon'"),
            ("due_at", "9223372036854775807"),
            ("due_at", "x'01'"),
            ("status_uri", BAD_UTF8),
            ("status_uri", "'nowhere'"),
            ("effective_call_mode", "'async'"),
            ("effective_call_mode", BAD_UTF8),
            ("polls", "-1"),
            ("polls", "'x'"),
            ("last_polled_at", "'x'"),
            ("http_status", "'x'"),
            ("error_code", "'bad_luck'"),
            ("error_code", BAD_UTF8),
            ("created_at", "'x'"),
            ("started_at", "'x'"),
            ("accepted_at", "x'01'"),
            ("progress", "'{'"),
            ("progress", "'{\"waits\":-1}'"),
            ("progress", BAD_UTF8),
        ];
        let mut bad = Vec::new();
        let mut good = Vec::new();
        for (column, value) in cases {
            bad.push((column, value, slip_in(&table, column, value).await));
            good.push(table.insert(new("alpha")).await);
        }
        // One bad row may be found at each step of a look: as a name, as a candidate, as one that ends.
        let mut intended = Vec::new();
        let mut rejected = Vec::new();
        for _ in 0..3 {
            let committed = see(table.store(), look(vec![want("alpha", 0, 1000)])).await;
            intended.extend(ids(&committed.intended));
            rejected.extend(committed.rejected);
        }
        intended.sort_unstable();
        assert_eq!(intended, good);
        for (column, value, id) in bad {
            let verdict = verdict(&table, id).await;
            let value = &value[..value.len().min(60)];
            assert!(
                verdict.starts_with(&format!("rejected invalid_request 0 {column}: ")),
                "{column} = {value}: {verdict}"
            );
            let told = rejected.iter().filter(|(rejected, _)| *rejected == id).count();
            assert_eq!(told, 1, "{column} = {value}: told so often");
        }
    })
    .await;
}

#[tokio::test]
async fn a_bad_row_whose_end_is_due_ends_as_bad() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        open_the_gates(&table).await;
        let bad = slip_in(&table, "arguments", "'{'").await;
        let good = table.insert(new("alpha")).await;
        table.cancel(bad).await;
        table.cancel(good).await;
        let committed = see(table.store(), look(Vec::new())).await;
        assert_eq!(ids(&committed.survey.unwrap().ending), [good]);
        assert_eq!(committed.rejected, [(bad, "arguments: is not valid JSON".to_owned())]);
        assert_eq!(see(table.store(), look(Vec::new())).await.rejected, []);
    })
    .await;
}

#[tokio::test]
async fn a_survey_that_ends_as_many_bad_rows_as_it_lists_asks_for_another() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        open_the_gates(&table).await;
        table
            .run(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 501)
                 INSERT INTO requests (trigger_name) SELECT 'nobody' FROM n",
            )
            .await;
        let first = see(table.store(), look(Vec::new())).await;
        assert_eq!((first.rejected.len(), first.survey.unwrap().more), (500, true));
        let second = see(table.store(), look(Vec::new())).await;
        assert_eq!((second.rejected.len(), second.survey.unwrap().more), (1, false));
    })
    .await;
}

#[tokio::test]
async fn what_breaks_a_check_when_it_is_written_does_not_hold_up_its_batch() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        let odd = intended(&table, new("alpha")).await;
        let sound = intended(&table, new("alpha")).await;
        let (odd_id, sound_id) = (odd.invocation.id, sound.invocation.id);
        // A constraint that the daemon knows nothing of: rows 1 and 3 may not have failed both.
        table
            .run(format!(
                "CREATE UNIQUE INDEX mine ON requests (state) WHERE id = {odd_id} OR id = 3;
                 INSERT INTO requests (trigger_name) VALUES ('beta');
                 UPDATE requests SET state = 'failed', finished_at = 1 WHERE id = 3"
            ))
            .await;
        let changes = vec![ended(fired(&odd), Outcome::Failed), ended(fired(&sound), Outcome::Failed)];
        assert_eq!(change(table.store(), changes).await, [odd_id]);
        assert_eq!(table.read(odd_id).await.state, "triggering");
        assert_eq!(table.read(sound_id).await.state, "failed");
    })
    .await;
}

#[tokio::test]
async fn a_remote_job_is_not_forgotten_for_what_no_longer_matters() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        let row = intended(&table, new("alpha")).await;
        let id = row.invocation.id;
        let status: url::Url = "https://alpha.example/status".parse().unwrap();
        let next = Invocation { phase: Phase::Polling(status.clone()), status_uri: Some(status), ..fired(&row) };
        change(table.store(), vec![Change { due_at: Some(at(5)), ..to("triggering", next) }]).await;
        open_the_gates(&table).await;
        table
            .run(format!(
                "UPDATE requests SET priority = 'x', run_at = 0, cancel_requested = 2, arguments = x'00' WHERE id = {id}"
            ))
            .await;
        assert_eq!(ids(&table.store().load(vec![id], NOW).await.unwrap().rows), [id]);
        assert_eq!(table.store().start(triggers(), NOW).await.unwrap().waiting.len(), 1);
    })
    .await;
}

/// Stores `output` with a row of its own, and tells how it lies in the table.
async fn keep(table: &SqliteTable, output: Output) -> (String, Vec<u8>) {
    let row = intended(table, new("alpha")).await;
    let id = row.invocation.id;
    let done = Change { output: Some(output), ..ended(fired(&row), Outcome::Succeeded) };
    assert_eq!(change(table.store(), vec![done]).await, [] as [i64; 0]);
    let stored = table
        .rows(format!("SELECT typeof(body), CAST(body AS BLOB) FROM outputs WHERE request_id = {id}"))
        .await
        .remove(0);
    (stored.get(0), stored.get(1))
}

#[tokio::test]
async fn an_output_is_kept_byte_for_byte_as_text_where_it_is_text() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        let large: Vec<u8> = "é\"\\\n".bytes().cycle().take(1_000_000).collect();
        let random: Vec<u8> =
            (0..1024 * 1024_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let cases: [(&str, &[u8]); 12] = [
            ("text", b"x"),
            ("text", b" \n"),
            ("text", br#"{"a":"\u0000"}"#),
            ("text", "é\u{1F600}\u{FEFF}\u{FFFF}".as_bytes()),
            ("text", b"a\0b\0"),
            ("text", b"\0"),
            ("text", &large),
            ("blob", b"\xff"),
            ("blob", b"a\0\xc3"),
            ("blob", b"\xed\xa0\x80"),
            ("blob", "é".as_bytes().split_at(1).0),
            ("blob", &random),
        ];
        for (kind, body) in cases {
            let whole = Output {
                body: body.to_vec(),
                content_type: None,
                bytes: body.len() as u64,
                truncated: false,
            };
            let (found, stored) = keep(&table, whole).await;
            let name = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
            assert_eq!((found.as_str(), stored.len()), (kind, body.len()), "{name:?}");
            assert!(stored == body, "{name:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn many_outputs_long_and_short_are_stored_in_one_commit() {
    const COUNT: usize = 300;
    bounded(async {
        let table = started::<SqliteTable>().await;
        for _ in 0..COUNT {
            table.insert(new("alpha")).await;
        }
        let all = Look { places: vec![COUNT + 1], ..look(vec![want("alpha", 0, COUNT + 1)]) };
        let rows = see(table.store(), all).await.intended;
        let length = |n: usize| 64 * 1024 - 10 + n % 20;
        let changes = rows.iter().enumerate().map(|(n, row)| {
            // Texts and bytes in turn, on both sides of what is a long one.
            let body = if n % 3 == 0 { vec![0xff; length(n)] } else { vec![b'x'; length(n)] };
            let output = Output { bytes: body.len() as u64, body, content_type: None, truncated: false };
            Change { output: Some(output), ..ended(fired(row), Outcome::Succeeded) }
        });
        assert_eq!(change(table.store(), changes.collect()).await, [] as [i64; 0]);
        let stored = table.rows("SELECT request_id, typeof(body), length(body) FROM outputs").await;
        assert_eq!(stored.len(), COUNT);
        for (n, row) in stored.iter().enumerate() {
            let kind = if n % 3 == 0 { "blob" } else { "text" };
            let found: (i64, String, i64) = (row.get(0), row.get(1), row.get(2));
            assert_eq!(found, (n as i64 + 1, kind.to_owned(), length(n) as i64));
        }
    })
    .await;
}

#[tokio::test]
async fn a_text_that_was_cut_within_a_character_is_kept_without_it() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        let cut = |body: &[u8]| Output {
            body: body.to_vec(),
            content_type: Some("text/plain; charset=utf-8".to_owned()),
            bytes: 4711,
            truncated: true,
        };
        for (kind, body, kept) in [
            ("text", &b"ab\xe2\x82"[..], &b"ab"[..]),
            ("text", b"ab\xf0\x9f\x98", b"ab"),
            ("text", b"ab", b"ab"),
            ("blob", b"\xe2\x82", b"\xe2\x82"),
            ("blob", b"ab\xff", b"ab\xff"),
            ("blob", b"a\xe2b\xe2\x82", b"a\xe2b\xe2\x82"),
        ] {
            assert_eq!(keep(&table, cut(body)).await, (kind.to_owned(), kept.to_vec()));
        }
        let seen = table.read(1).await.output.unwrap();
        assert_eq!((seen.bytes, seen.truncated), (4711, true));
        assert_eq!(seen.content_type.as_deref(), Some("text/plain; charset=utf-8"));
    })
    .await;
}

#[tokio::test]
async fn a_second_migration_finds_nothing_to_do_and_keeps_all_there_is() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let first = migrate(&options(&folder), &triggers()).await.unwrap();
        assert_eq!(first, Migrated { created: true, from: 0, to: SCHEMA_VERSION, backup: None });
        let mut producer = connect(&folder).await;
        run(&mut producer, "INSERT INTO requests (trigger_name) VALUES ('alpha')").await;
        let second = migrate(&options(&folder), &triggers()[1..]).await.unwrap();
        assert_eq!(
            second,
            Migrated { created: false, from: SCHEMA_VERSION, to: SCHEMA_VERSION, backup: None }
        );
        let stored = rows(
            &mut producer,
            "SELECT (SELECT count(*) FROM requests), (SELECT group_concat(name || active) FROM triggers)",
        )
        .await;
        assert_eq!(stored[0].get::<i64, _>(0), 1);
        assert_eq!(stored[0].get::<String, _>(1), "alpha0,beta1,held1");
    })
    .await;
}

#[tokio::test]
async fn a_database_of_the_first_version_is_upgraded_with_all_that_is_in_it_after_a_copy() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(database(&folder), b"").unwrap();
        let first: Vec<_> = sqlx::migrate!("./migrations/sqlite").iter().take(1).cloned().collect();
        let mut producer = connect(&folder).await;
        sqlx::migrate::Migrator::with_migrations(first).run(&mut producer).await.unwrap();
        run(
            &mut producer,
            "PRAGMA journal_mode = WAL;
             INSERT INTO triggers (name) VALUES ('alpha');
             INSERT INTO requests (trigger_name, unique_key) VALUES ('alpha', 'k'), ('alpha', 'l');
             UPDATE requests SET state = 'polling', attempt = 1, status_uri = 'https://alpha.example/1', due_at = 1 WHERE id = 2",
        )
        .await;
        producer.close().await.unwrap();
        let migrated = migrate(&options(&folder), &triggers()).await.unwrap();
        assert_eq!((migrated.from, migrated.to), (1, SCHEMA_VERSION));
        let copy = migrated.backup.expect("a copy was made");
        let mut copy = sqlx::SqliteConnection::connect(&copy.display().to_string()).await.unwrap();
        let mut now = connect(&folder).await;
        for connection in [&mut copy, &mut now] {
            let kept = rows(connection, "SELECT group_concat(state || coalesce(status_uri, '')) FROM requests").await;
            assert_eq!(kept[0].get::<String, _>(0), "pending,pollinghttps://alpha.example/1");
        }
        let why = rows(&mut now, "SELECT count(*) FROM request_why WHERE why LIKE '%no daemon runs%'").await;
        assert_eq!(why[0].get::<i64, _>(0), 2);
        let found = SqliteStore::open(options(&folder), &triggers()).await.unwrap();
        let found = found.start(triggers(), NOW).await.unwrap();
        assert_eq!(found.waiting.iter().map(|row| row.id).collect::<Vec<_>>(), [2]);
    })
    .await;
}

async fn refused(folder: &tempfile::TempDir) -> Error {
    let migrated = migrate(&options(folder), &triggers()).await.expect_err("it is none of ours");
    let opened = SqliteStore::open(options(folder), &triggers()).await.err().expect("it is none of ours");
    assert_eq!(migrated.to_string(), opened.to_string());
    opened
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        migrate(&options(&folder), &triggers()).await.unwrap();
        run(&mut connect(&folder).await, format!("PRAGMA user_version = {}", SCHEMA_VERSION + 1)).await;
        let error = refused(&folder).await;
        assert!(
            matches!(error, Error::Newer { found, known } if (found, known) == (SCHEMA_VERSION + 1, SCHEMA_VERSION)),
            "{error}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_as_it_is() {
    bounded(async {
        for setup in ["PRAGMA application_id = 7", "CREATE TABLE theirs (a)"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(database(&folder), b"").unwrap();
            run(&mut connect(&folder).await, setup).await;
            let before = std::fs::read(database(&folder)).unwrap();
            let error = refused(&folder).await;
            assert!(matches!(error, Error::Corrupt(_)), "{setup}: {error}");
            assert!(std::fs::read(database(&folder)).unwrap() == before, "{setup}: was changed");
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    bounded(async {
        for content in [&b"hello"[..], &[b'x'; 10_000]] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(database(&folder), content).unwrap();
            let error = refused(&folder).await;
            assert!(matches!(error, Error::Corrupt(_)), "{error}");
            assert!(std::fs::read(database(&folder)).unwrap() == content);
        }
    })
    .await;
}

#[tokio::test]
async fn an_empty_file_becomes_a_database() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(database(&folder), b"").unwrap();
        let migrated = migrate(&options(&folder), &triggers()).await.unwrap();
        assert_eq!((migrated.from, migrated.to), (0, SCHEMA_VERSION));
    })
    .await;
}

#[tokio::test]
async fn a_start_waits_for_a_lock_a_second_at_a_time_and_a_commit_waits_longer() {
    bounded(async {
        /// Well between the two.
        const LONG: Duration = Duration::from_secs(4);
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(options(&folder), &triggers()).await.unwrap();
        let url = folder.path().join("queue.db");
        let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(url);
        let mut producer = sqlx::SqliteConnection::connect_with(&connect).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut producer).await.unwrap();
        let begun = monotonic();
        let error = store.start(triggers(), NOW).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
        sqlx::raw_sql("ROLLBACK").execute(&mut producer).await.unwrap();
        store.start(triggers(), NOW).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut producer).await.unwrap();
        let begun = monotonic();
        store.register(triggers()).await.unwrap_err();
        assert!(begun.elapsed() > LONG, "{:?}", begun.elapsed());
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_link_to_a_database_is_the_same_database() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(options(&folder), &triggers()).await.unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("link.db");
        std::os::unix::fs::symlink(folder.path().join("queue.db"), &link).unwrap();
        let linked = Options { path: link, ..options(&folder) };
        let error = SqliteStore::open(linked.clone(), &triggers()).await.err().unwrap();
        assert!(matches!(error, Error::Locked(_)), "{error}");
        assert!(matches!(migrate(&linked, &triggers()).await.unwrap_err(), Error::Locked(_)));
        store.close().await;
        SqliteStore::open(linked, &triggers()).await.unwrap().close().await;
        assert!(!elsewhere.path().join("link.db.lock").exists());
    })
    .await;
}

#[tokio::test]
async fn a_file_has_one_daemon_and_is_free_again_once_that_is_closed() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..5 {
            let store = SqliteStore::open(options(&folder), &triggers()).await.unwrap();
            let error = refused(&folder).await;
            assert!(matches!(&error, Error::Locked(file) if file.ends_with("queue.db.lock")), "{error}");
            // The last one out leaves no WAL behind.
            store.close().await;
            assert!(!folder.path().join("queue.db-wal").exists());
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_is_free_again_once_the_writer_is_gone() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (opened, is_open) = tokio::sync::oneshot::channel();
        let options_there = options(&folder);
        // A daemon with a runtime of its own, which goes down with all that runs on it.
        let daemon = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let store = runtime.block_on(SqliteStore::open(options_there, &triggers())).unwrap();
            opened.send(()).unwrap();
            stopped.recv().unwrap_err();
            drop(runtime);
            store
        });
        is_open.await.unwrap();
        assert!(matches!(refused(&folder).await, Error::Locked(_)));
        drop(stop);
        let orphan = daemon.join().unwrap();
        SqliteStore::open(options(&folder), &triggers()).await.unwrap().close().await;
        // Whoever still holds the handle is told.
        assert!(matches!(orphan.changed().await, Err(Error::Ended)));
        let failed = orphan.commit(Batch::default()).await.unwrap_err();
        assert!(matches!(failed.error, Error::Ended));
    })
    .await;
}

#[tokio::test]
async fn a_stop_leaves_statistics_for_the_queries_of_others() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        table
            .run(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO requests (trigger_name, correlation_id) SELECT 'beta', i FROM n",
            )
            .await;
        intended(&table, new("alpha")).await;
        let table = table.reopen().await;
        assert!(!table.rows("SELECT * FROM sqlite_stat1 WHERE tbl = 'requests'").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_closed_store_says_so() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        let other = table.store.clone();
        table.store.close().await;
        assert!(matches!(other.changed().await, Err(Error::Ended)));
        assert!(other.load(vec![1], NOW).await.is_err());
        other.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_commit_waits_for_another_program_that_writes() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        let row = intended(&table, new("alpha")).await;
        table.run("BEGIN IMMEDIATE; INSERT INTO requests (trigger_name) VALUES ('beta')").await;
        let store = table.store.clone();
        let changes = vec![ended(fired(&row), Outcome::Succeeded)];
        let batch = Batch { changes, look: Some(look(vec![want("beta", 1, 10)])), ..Batch::default() };
        let mut commit = tokio::spawn(async move { store.commit(batch).await });
        assert!(tokio::time::timeout(A_WHILE, &mut commit).await.is_err(), "it did not wait");
        // Reads go on meanwhile.
        assert_eq!(table.store.load(vec![row.invocation.id], NOW).await.unwrap().rows.len(), 1);
        table.run("COMMIT").await;
        let committed = commit.await.unwrap().unwrap();
        assert_eq!(ids(&committed.intended), [row.invocation.id + 1], "what came before it is seen");
        assert!(committed.foreign);
        assert_eq!(table.read(row.invocation.id).await.state, "succeeded");
    })
    .await;
}

#[tokio::test]
async fn a_commit_goes_on_although_nobody_waits_for_its_end() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        let row = intended(&table, new("alpha")).await;
        table.run("BEGIN IMMEDIATE").await;
        let changes = vec![ended(fired(&row), Outcome::Succeeded)];
        let commit = table.store.commit(Batch { changes, ..Batch::default() });
        assert!(tokio::time::timeout(A_WHILE, commit).await.is_err());
        table.run("COMMIT").await;
        // The writer takes one after the other.
        table.store.changed().await.unwrap();
        assert_eq!(table.read(row.invocation.id).await.state, "succeeded");
    })
    .await;
}

/// A commit that nobody waits for any more is no rollback: not one of them.
#[tokio::test]
async fn commits_whose_answer_nobody_waits_for_are_all_stored() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        for _ in 0..50 {
            let row = intended(&table, new("alpha")).await;
            let changes = vec![ended(fired(&row), Outcome::Succeeded)];
            let commit = table.store.commit(Batch { changes, ..Batch::default() });
            // Polled once, it is with the writer.
            assert!(futures_util::FutureExt::now_or_never(commit).is_none());
        }
        table.store.changed().await.unwrap();
        let left = table.rows("SELECT id FROM requests WHERE state <> 'succeeded'").await;
        assert_eq!(left.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_write_that_fails_stores_nothing_and_gives_its_batch_back() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        let row = intended(&table, new("alpha")).await;
        let (id, ready) = (row.invocation.id, table.insert(new("alpha")).await);
        let body = Output { body: b"x".to_vec(), content_type: None, bytes: 1, truncated: false };
        let done = Change { output: Some(body), ..ended(fired(&row), Outcome::Succeeded) };
        let all = look(vec![want("alpha", 0, 100)]);
        let mut batch = Batch { changes: vec![done.clone()], look: Some(all), ..Batch::default() };
        let before = table.read(id).await;
        // The state is written before the output: it must go too.
        table
            .run("CREATE TRIGGER theirs BEFORE INSERT ON outputs BEGIN SELECT RAISE(ABORT, 'no'); END")
            .await;
        for _ in 0..3 {
            let failed = table.store.commit(batch).await.unwrap_err();
            assert!(matches!(failed.error, Error::Unavailable { .. }), "{}", failed.error);
            batch = failed.batch;
            assert_eq!(batch.changes, std::slice::from_ref(&done));
            assert!(batch.look.is_some());
        }
        table.run("DROP TRIGGER theirs").await;
        assert_eq!(table.read(id).await, before);
        assert_eq!(table.read(ready).await.state, "pending");

        let committed = table.store.commit(batch).await.unwrap();
        assert_eq!((committed.lost.len(), ids(&committed.intended)), (0, vec![ready]));
        assert!(committed.foreign, "what happened on the lost connection is not known");
        let seen = table.read(id).await;
        assert_eq!((seen.state.as_str(), seen.output.is_some()), ("succeeded", true));
    })
    .await;
}
