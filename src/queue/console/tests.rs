//! The console on files of its own: what others may have done to them, and what it makes of it.

mod acts;

use sqlx::sqlite::SqliteJournalMode;
use sqlx::{AssertSqlSafe, Row as _};

use super::*;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A migrated database with the trigger `t`.
    async fn migrated() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let sql = concat!(
            include_str!("../../../migrations/sqlite/0001_init.sql"),
            include_str!("../../../migrations/sqlite/0002_status.sql"),
            include_str!("../../../migrations/sqlite/0003_backups.sql"),
            include_str!("../../../migrations/sqlite/0004_when_and_how_much.sql"),
            "INSERT INTO triggers (name, max_arguments) VALUES ('t', 100);"
        );
        place.run(sql).await;
        place
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("queue.db")
    }

    /// What some other connection does.
    async fn run(&self, sql: impl Into<String>) {
        let options = SqliteConnectOptions::new()
            .filename(self.path())
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The last column of each row that a query of a test gives, a line each.
    async fn text(&self, sql: impl Into<String>) -> String {
        let options = SqliteConnectOptions::new().filename(self.path());
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.into())).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let text = |row: &sqlx::sqlite::SqliteRow| match row.try_get::<String, _>(row.len() - 1) {
            Ok(text) => text,
            Err(_) => row.get::<i64, _>(row.len() - 1).to_string(),
        };
        rows.iter().map(text).collect::<Vec<_>>().join("\n")
    }

    async fn number(&self, sql: impl Into<String>) -> i64 {
        self.text(sql).await.parse().unwrap()
    }

    async fn open(&self) -> Console {
        Console::open(&self.path()).await.unwrap()
    }
}

fn to(trigger: &str) -> NewRequest {
    NewRequest { trigger_name: trigger.to_owned(), ..NewRequest::default() }
}

const ALL: Filter = Filter { state: None, trigger_name: None, limit: 10 };

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let error = Console::open(&path).await.unwrap_err();
    assert_eq!(error.exit_code(), 69);
    assert_eq!(error.to_string(), format!("no database at {}: run `triggerd migrate` first", path.display()));
    assert!(!path.exists());
    std::fs::write(&path, b"").unwrap();
    assert_eq!(Console::open(&path).await.unwrap_err().to_string(), error.to_string(), "nor an empty one");
}

#[tokio::test]
async fn a_file_of_somebody_else_or_of_another_version_is_left_alone() {
    for (sql, expected) in [
        ("PRAGMA user_version = 1; CREATE TABLE requests (id)", "is not a database of triggerd"),
        ("PRAGMA application_id = 1953654628; PRAGMA user_version = 5;", "newer than this program's 4"),
        ("PRAGMA application_id = 1953654628;", "run `triggerd migrate`"),
    ] {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.run(sql).await;
        let error = Console::open(&place.path()).await.unwrap_err();
        let code = if expected.contains("migrate") { 69 } else { 65 };
        assert_eq!(error.exit_code(), code, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let text = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(text.path(), "This is a text of more than a hundred bytes. ".repeat(40)).unwrap();
    let error = Console::open(text.path()).await.unwrap_err();
    assert_eq!(error.exit_code(), 65, "{error}");
}

#[tokio::test]
async fn what_is_left_out_of_a_request_gets_the_default_of_the_schema() {
    let place = Place::migrated().await;
    let mut console = place.open().await;
    assert_eq!(console.submit(&to("t")).await.unwrap(), 1);
    place.run("INSERT INTO requests (trigger_name) VALUES ('t')").await;
    let mut ours = console.show(1).await.unwrap().unwrap().request.0;
    let mut plain = console.show(2).await.unwrap().unwrap().request.0;
    for record in [&mut ours, &mut plain] {
        record.retain(|(column, _)| !matches!(column.as_str(), "id" | "run_at" | "created_at"));
    }
    assert_eq!(ours, plain);
    let run = console.show(1).await.unwrap().unwrap().request;
    assert_eq!(run.int("run_at"), run.int("created_at"));
}

#[tokio::test]
async fn what_is_said_of_a_request_is_stored() {
    let place = Place::migrated().await;
    let mut console = place.open().await;
    let request = NewRequest {
        trigger_name: "t".into(),
        arguments: Some(r#"{"a":1}"#.into()),
        call_mode: Some(CallMode::LongPolling),
        priority: Some(-5),
        run_at: Some(UnixMillis(1_800_000_000_001)),
        deadline_at: Some(UnixMillis(1_800_000_000_002)),
        unique_key: Some("k".into()),
        concurrency_key: Some("k".to_owned()),
        group_key: Some("g".to_owned()),
        after: None,
    };
    let id = console.submit(&request).await.unwrap();
    let shown = console.show(id).await.unwrap().unwrap().request;
    assert_eq!(shown.text("arguments"), Some(r#"{"a":1}"#));
    assert_eq!(shown.text("call_mode"), Some("LongPolling"));
    assert_eq!(shown.int("priority"), Some(-5));
    assert_eq!(shown.int("run_at"), Some(1_800_000_000_001));
    assert_eq!(shown.int("deadline_at"), Some(1_800_000_000_002));
    assert_eq!(shown.text("unique_key"), Some("k"));
    assert_eq!(shown.text("why"), Some("waits for run_at; but no daemon runs: start triggerd"));
}

#[tokio::test]
async fn a_row_that_the_schema_refuses_is_refused_in_its_words() {
    let place = Place::migrated().await;
    let refused = |request: NewRequest| {
        let path = place.path();
        async move {
            let error = Console::open(&path).await.unwrap().submit(&request).await.unwrap_err();
            assert_eq!(error.exit_code(), 1, "{error}");
            error.to_string()
        }
    };
    assert!(refused(to("u")).await.starts_with("unknown_trigger: trigger_name: must be"));
    let mut large = to("t");
    large.arguments = Some(format!(r#"{{"a":"{}"}}"#, "x".repeat(100)));
    assert!(refused(large).await.starts_with("arguments_too_large: arguments: "));
    let mut keyed = to("t");
    keyed.unique_key = Some("k".into());
    place.open().await.submit(&keyed).await.unwrap();
    assert_eq!(
        refused(keyed.clone()).await,
        "request 1 (pending) has this unique key: `triggerd wait 1`, or `triggerd cancel 1`"
    );
    place.run("UPDATE requests SET state = 'uncertain', finished_at = created_at").await;
    assert_eq!(
        refused(keyed).await,
        "request 1 (uncertain) has this unique key: settle it with `triggerd resolve 1`"
    );
    assert_eq!(place.open().await.list(&ALL).await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_odd_row_does_not_hide_its_neighbours() {
    let place = Place::migrated().await;
    place
        .run(
            "INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('t');
             DROP TRIGGER requests_fixed; DROP TRIGGER requests_update; PRAGMA ignore_check_constraints = 1;
             UPDATE requests SET trigger_name = CAST(x'74ff' AS TEXT), error_code = x'00', run_at = 'soon', attempt = 1.5,
               correlation_id = CAST(x'ff' AS TEXT) WHERE id = 2",
        )
        .await;
    let mut console = place.open().await;
    let listed = console.list(&ALL).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.int("id")).collect::<Vec<_>>(), [Some(3), Some(2), Some(1)]);
    assert_eq!(listed[1].get("trigger_name"), &Cell::Bytes(vec![0x74, 0xff]));
    assert_eq!(listed[1].get("attempt"), &Cell::Real(1.5));
    assert_eq!(listed[1].text("run_at"), Some("soon"));
    let shown = console.show(2).await.unwrap().unwrap().request;
    assert_eq!(shown.get("correlation_id"), &Cell::Bytes(vec![0xff]));
    assert!(console.results(&[1, 2, 3]).await.is_ok());
}

#[tokio::test]
async fn lists_the_newest_of_a_state_and_a_trigger() {
    let place = Place::migrated().await;
    place
        .run(
            "INSERT INTO triggers (name) VALUES ('u');
             INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('t'), ('t'), ('u'), ('t'), ('t'), ('t'), ('t');
             UPDATE requests SET state = 'succeeded', finished_at = created_at WHERE id IN (1, 2);
             UPDATE requests SET state = 'triggering' WHERE id = 6;
             UPDATE requests SET state = 'polling' WHERE id = 7;
             UPDATE requests SET state = 'collecting' WHERE id = 8;
             UPDATE requests SET state = 'uncertain', finished_at = created_at WHERE id = 9",
        )
        .await;
    let mut console = place.open().await;
    for (state, trigger, limit, expected) in [
        (None, None, 2, vec![9, 8]),
        (None, Some("u"), 9, vec![5]),
        (Some("pending"), None, 9, vec![5, 4, 3]),
        (Some("pending"), Some("t"), 1, vec![4]),
        (Some("succeeded"), Some("t"), 9, vec![2, 1]),
        (Some("triggering"), None, 9, vec![6]),
        (Some("polling"), None, 9, vec![7]),
        (Some("collecting"), None, 9, vec![8]),
        (Some("uncertain"), None, 9, vec![9]),
        (Some("failed"), None, 9, vec![]),
    ] {
        let filter =
            Filter { state: state.map(str::to_owned), trigger_name: trigger.map(str::to_owned), limit };
        let listed = console.list(&filter).await.unwrap();
        let ids: Vec<_> = listed.iter().filter_map(|record| record.int("id")).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn shows_a_request_with_its_firings_and_its_output() {
    let place = Place::migrated().await;
    place
        .run(
            "INSERT INTO requests (trigger_name) VALUES ('t');
             UPDATE requests SET state = 'succeeded', attempt = 2, finished_at = created_at, started_at = created_at;
             INSERT INTO attempts (request_id, attempt, round, started_at, ended_at, outcome) VALUES (1, 2, 1, 3, 4, 'accepted'), (1, 1, 1, 1, 2, 'refused');
             INSERT INTO outputs (request_id, content_type, bytes, body) VALUES (1, 'text/plain', 2, 'hi')",
        )
        .await;
    let mut console = place.open().await;
    let shown = console.show(1).await.unwrap().unwrap();
    assert_eq!(shown.request.text("output"), Some("hi"));
    assert_eq!(shown.request.get("why"), &Cell::Null);
    let outcomes: Vec<_> = shown.attempts.iter().map(|attempt| attempt.text("outcome")).collect();
    assert_eq!(outcomes, [Some("refused"), Some("accepted")]);
    assert_eq!(console.output(1).await.unwrap(), Cell::Text("hi".into()));
    assert_eq!(console.show(2).await.unwrap(), None);
    let results = console.results(&[1, 2]).await.unwrap();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].int("is_final"), Some(1));
}

#[tokio::test]
async fn notices_the_commits_of_others_only() {
    let place = Place::migrated().await;
    let mut console = place.open().await;
    assert!(console.changed().await.unwrap());
    assert!(!console.changed().await.unwrap());
    console.submit(&to("t")).await.unwrap();
    assert!(!console.changed().await.unwrap());
    place.run("UPDATE requests SET priority = 1").await;
    assert!(console.changed().await.unwrap());
    assert!(!console.changed().await.unwrap());
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_is_no_damage_to_the_file() {
    let place = Place::migrated().await;
    place
        .run(
            "PRAGMA ignore_check_constraints = ON;
             DROP TRIGGER requests_insert;
             INSERT INTO requests (trigger_name, priority) VALUES ('t', 1000)",
        )
        .await;
    let rows = place.open().await.list(&ALL).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(place.open().await.damage().await.unwrap(), [""; 0]);
}
