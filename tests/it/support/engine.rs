//! The engine with its real parts, in this process: a database in a temporary folder, the wire, the machine's clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqliteConnection};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use triggerd::backoff::Backoff;
use triggerd::client::HttpClient;
use triggerd::clock::SystemClock;
use triggerd::dispatch::{Breaking, Dispatcher, Limits, Order, Settings};
use triggerd::queue::Error;
use triggerd::queue::sqlite::{Options, SqliteStore};
use triggerd::request::CallMode;
use triggerd::secret::{Credential, Reference};
use triggerd::trigger::Trigger;
use url::Url;

use super::bounded;

/// The token that every trigger of these tests carries.
pub(crate) const TOKEN: &str = "Bearer s3cret";

/// A trigger that waits no longer than a test should.
pub(crate) fn trigger(url: Url, call_mode: CallMode) -> Trigger {
    let quick = Backoff { initial: Duration::from_millis(10), factor: 1.5, max: Duration::from_millis(50) };
    let mut trigger = Trigger::new("t", url);
    trigger.call_mode = call_mode;
    trigger.credential = Some("key".to_owned());
    trigger.poll = quick;
    trigger.retry.backoff = quick;
    trigger
}

/// A running engine, and a producer's connection to its database.
pub(crate) struct Engine {
    folder: tempfile::TempDir,
    producer: SqliteConnection,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<Result<(), Error>>,
    store: SqliteStore,
}

/// A row of the view `results`.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) state: String,
    pub(crate) output: Option<String>,
    pub(crate) error_code: Option<String>,
    pub(crate) http_status: Option<i64>,
    pub(crate) call_mode: Option<String>,
    pub(crate) attempt: i64,
}

impl Outcome {
    /// State and code, as most tests want them.
    pub(crate) fn end(&self) -> (&str, Option<&str>) {
        (&self.state, self.error_code.as_deref())
    }
}

impl Engine {
    pub(crate) async fn start(trigger: Trigger) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        write_secret(&token, TOKEN.trim_start_matches("Bearer "));
        let credential = Credential::Bearer { token: Reference::File(token) };
        let client = HttpClient::new([("key".to_owned(), credential)].into(), SystemClock).unwrap();
        let path = folder.path().join("queue.db");
        let triggers = BTreeMap::from([(trigger.name.clone(), Arc::new(trigger))]);
        let all: Vec<_> = triggers.values().cloned().collect();
        let options = Options { path: path.clone(), full: false, checkpoint: true };
        let store = SqliteStore::open(options, &all).await.unwrap();
        let settings = Settings {
            triggers,
            limits: Limits { max_in_flight: 64, max_per_origin: 8, max_long_polls: 64, poll_rate: None },
            breaking: Breaking::NEVER,
            shutdown_grace: Duration::from_secs(5),
            fallback_poll: Duration::from_secs(1),
            ageing: Duration::ZERO,
            plans: Arc::default(),
        };
        let (notices, _) = mpsc::unbounded_channel();
        let (orders, inbox) = mpsc::channel(1);
        let task =
            tokio::spawn(Dispatcher::new(store.clone(), client, SystemClock, settings, notices).run(inbox));
        let producer = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        Self { folder, producer, orders, task, store }
    }

    /// Replaces the secret where the credential reads it.
    pub(crate) fn renew_token(&self, token: &str) {
        write_secret(&self.folder.path().join("token"), token);
    }

    /// The minimal request; its id.
    pub(crate) async fn submit(&mut self) -> i64 {
        self.insert("INSERT INTO requests (trigger_name) VALUES ('t') RETURNING id").await
    }

    /// A statement that returns an id.
    pub(crate) async fn insert(&mut self, sql: &str) -> i64 {
        self.row(sql).await.unwrap().get(0)
    }

    async fn row(&mut self, sql: &str) -> Option<SqliteRow> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_optional(&mut self.producer).await.unwrap()
    }

    /// One column of one request, as text.
    pub(crate) async fn column(&mut self, name: &str, id: i64) -> Option<String> {
        let row = self.row(&format!("SELECT CAST({name} AS TEXT) FROM requests WHERE id = {id}")).await;
        row.unwrap().get(0)
    }

    /// Waits, as a producer does, until `condition` holds for the request.
    pub(crate) async fn until(&mut self, id: i64, condition: &str) {
        let sql = format!("SELECT 1 FROM requests WHERE id = {id} AND {condition}");
        bounded(async {
            while self.row(&sql).await.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// The outcome, once there is one.
    pub(crate) async fn outcome(&mut self, id: i64) -> Outcome {
        self.until(id, "finished_at IS NOT NULL").await;
        let row = self.row(&format!("SELECT * FROM results WHERE id = {id}")).await.unwrap();
        assert_eq!(row.get::<i64, _>("is_final"), 1);
        Outcome {
            state: row.get("state"),
            output: row.get("output"),
            error_code: row.get("error_code"),
            http_status: row.get("http_status"),
            call_mode: row.get("call_mode"),
            attempt: row.get("attempt"),
        }
    }

    /// Submits the minimal request and waits for its outcome.
    pub(crate) async fn run(&mut self) -> Outcome {
        let id = self.submit().await;
        self.outcome(id).await
    }

    /// The bytes in `outputs`, and whether they are all.
    pub(crate) async fn stored_output(&mut self, id: i64) -> Option<(Vec<u8>, i64, bool)> {
        let sql =
            format!("SELECT CAST(body AS BLOB), bytes, truncated = 1 FROM outputs WHERE request_id = {id}");
        self.row(&sql).await.map(|row| (row.get(0), row.get(1), row.get(2)))
    }

    /// How each firing of the request ended.
    pub(crate) async fn attempts(&mut self, id: i64) -> Vec<String> {
        let sql = "SELECT outcome FROM attempts WHERE request_id = ? ORDER BY attempt";
        sqlx::query_scalar(sql).bind(id).fetch_all(&mut self.producer).await.unwrap()
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.orders.send(Order::Stop).await.unwrap();
        bounded(self.task).await.unwrap().unwrap();
        self.store.close().await;
    }
}

fn write_secret(path: &PathBuf, secret: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, secret).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
