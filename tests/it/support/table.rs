//! The table in a SQLite file of its own, and another program's connection to it.

use std::path::PathBuf;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};
use triggerd::clock::UnixMillis;
use triggerd::invocation::Output;
use triggerd::queue::sqlite::{Options, SqliteStore};

use crate::queue_contract::{New, Seen, Table, triggers};

pub(crate) struct SqliteTable {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: SqliteStore,
    producer: Mutex<SqliteConnection>,
}

/// How the tests open the database of a folder. `normal`: no test cuts the power.
pub(crate) fn options(folder: &tempfile::TempDir) -> Options {
    Options { path: database(folder), full: false, checkpoint: true }
}

pub(crate) fn database(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("queue.db")
}

/// A connection as any other program would have it.
pub(crate) async fn connect(folder: &tempfile::TempDir) -> SqliteConnection {
    SqliteConnectOptions::new().filename(database(folder)).connect().await.unwrap()
}

/// Runs statements of a test.
pub(crate) async fn run(connection: &mut SqliteConnection, sql: impl Into<String>) -> u64 {
    let sql = sql.into();
    sqlx::raw_sql(AssertSqlSafe(sql.clone()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .rows_affected()
}

/// The rows of a query of a test.
pub(crate) async fn rows(connection: &mut SqliteConnection, sql: impl Into<String>) -> Vec<SqliteRow> {
    let sql = sql.into();
    sqlx::raw_sql(AssertSqlSafe(sql.clone()))
        .fetch_all(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

impl SqliteTable {
    async fn open(folder: tempfile::TempDir) -> Self {
        let store = SqliteStore::open(options(&folder), &triggers()).await.unwrap();
        let producer = Mutex::new(connect(&folder).await);
        Self { folder, store, producer }
    }

    pub(crate) async fn producer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.producer.lock().await
    }

    pub(crate) async fn run(&self, sql: impl Into<String>) -> u64 {
        run(&mut *self.producer().await, sql).await
    }

    pub(crate) async fn rows(&self, sql: impl Into<String>) -> Vec<SqliteRow> {
        rows(&mut *self.producer().await, sql).await
    }
}

impl Table for SqliteTable {
    type Keeper = SqliteStore;

    async fn fresh() -> Self {
        Self::open(tempfile::tempdir().unwrap()).await
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    async fn insert(&self, new: New) -> i64 {
        sqlx::query(
            "INSERT INTO requests (trigger_name, arguments, call_mode, priority, run_at, expires_at, deadline_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .bind(new.trigger)
        .bind(new.arguments)
        .bind(new.call_mode.map(triggerd::request::CallMode::as_str))
        .bind(new.priority)
        .bind(new.run_at.0)
        .bind(new.expires_at.map(|at| at.0))
        .bind(new.deadline_at.map(|at| at.0))
        .execute(&mut *self.producer().await)
        .await
        .unwrap()
        .last_insert_rowid()
    }

    async fn cancel(&self, id: i64) {
        self.run(format!("UPDATE requests SET cancel_requested = 1 WHERE id = {id}")).await;
    }

    async fn delete(&self, id: i64) {
        self.run(format!("DELETE FROM requests WHERE id = {id}")).await;
    }

    async fn pause(&self, trigger: &str, paused: bool) {
        self.run(format!("UPDATE triggers SET paused = {paused} WHERE name = '{trigger}'")).await;
    }

    async fn why_paused(&self, trigger: &str) -> Option<String> {
        let paused = format!("SELECT paused_reason FROM triggers WHERE name = '{trigger}' AND paused = 1");
        self.rows(paused).await.first()?.get(0)
    }

    async fn read(&self, id: i64) -> Seen {
        let row = self
            .rows(format!(
                "SELECT r.state, r.attempt, r.due_at, r.started_at, r.deadline_at, r.finished_at, r.cancel_requested,
                   r.polls, r.status_uri, r.error_code,
                   (SELECT group_concat(outcome) FROM (SELECT outcome FROM attempts WHERE request_id = r.id ORDER BY attempt)) AS attempts,
                   CAST(o.body AS BLOB) AS body, o.content_type, o.bytes, o.truncated
                 FROM requests AS r LEFT JOIN outputs AS o ON o.request_id = r.id WHERE r.id = {id}"
            ))
            .await
            .remove(0);
        let time = |column: &str| row.get::<Option<i64>, _>(column).map(UnixMillis);
        let attempts: Option<String> = row.get("attempts");
        let output = row.get::<Option<Vec<u8>>, _>("body").map(|body| Output {
            body,
            content_type: row.get("content_type"),
            bytes: row.get::<i64, _>("bytes").cast_unsigned(),
            truncated: row.get("truncated"),
        });
        Seen {
            state: row.get("state"),
            attempt: row.get("attempt"),
            due_at: time("due_at"),
            started_at: time("started_at"),
            deadline_at: time("deadline_at"),
            finished_at: time("finished_at"),
            cancel_requested: row.get("cancel_requested"),
            polls: row.get("polls"),
            status_uri: row.get("status_uri"),
            error_code: row.get("error_code"),
            attempts: attempts.map(|all| all.split(',').map(str::to_owned).collect()).unwrap_or_default(),
            output,
        }
    }

    async fn is_ready(&self) -> bool {
        self.rows("SELECT ready_at IS NOT NULL FROM daemon").await[0].get(0)
    }

    async fn is_stopped(&self) -> bool {
        self.rows("SELECT stopped_at IS NOT NULL FROM daemon").await[0].get(0)
    }

    async fn hand_over(&self, id: i64, status_uri: &str) {
        self.run(format!(
            "BEGIN IMMEDIATE;
             UPDATE requests SET state = 'polling', status_uri = '{status_uri}', due_at = 1800000000000, finished_at = NULL WHERE id = {id};
             INSERT OR IGNORE INTO handovers VALUES ({id});
             COMMIT"
        ))
        .await;
    }

    async fn status(&self, trigger: &str) -> Option<(i64, Option<String>)> {
        let rows = self
            .rows(format!(
                "SELECT slots_used, waiting_for || ' ' || waiting_on FROM trigger_status WHERE trigger_name = '{trigger}'"
            ))
            .await;
        rows.first().map(|row| (row.get(0), row.get(1)))
    }

    async fn lose_flights(&self) {
        std::fs::remove_file(self.folder.path().join("queue.db.flights")).unwrap();
    }

    async fn reopen(self) -> Self {
        let Self { folder, store, producer } = self;
        producer.into_inner().close().await.unwrap();
        store.close().await;
        Self::open(folder).await
    }
}
