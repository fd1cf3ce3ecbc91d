//! What is stored: all of it as text, and whether a disk's image still has it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use triggerd::clock::UnixMillis;
use triggerd::queue::Store as _;
use triggerd::queue::sqlite::{Options, SqliteStore};
use triggerd::request::CallMode;
use triggerd::trigger::Trigger;
use url::Url;

use crate::disk::Image;
use crate::vfs;

/// The instant of everything that is done.
pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
pub(crate) const FILE: &str = "queue.db";

pub(crate) fn triggers() -> Vec<Arc<Trigger>> {
    ["alpha", "beta"]
        .map(|name| {
            let mut trigger = Trigger::new(name, Url::parse(&format!("https://{name}.example/x")).unwrap());
            trigger.call_mode = CallMode::AsyncRequestReply;
            Arc::new(trigger)
        })
        .into()
}

pub(crate) fn options(folder: &Path, full: bool) -> Options {
    Options { path: folder.join(FILE), full, checkpoint: true }
}

/// A connection that SQLite's own VFS serves, for whoever only looks.
pub(crate) async fn look(folder: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(folder.join(FILE))
        .vfs(vfs::PLAIN)
        .synchronous(SqliteSynchronous::Off)
        .pragma("wal_autocheckpoint", "0")
        .connect()
        .await
}

type Digest = [u8; SHA256_OUTPUT_LEN];

/// A digest of texts, each with its length.
struct Texts(Context);

impl Texts {
    fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.update(&bytes.len().to_le_bytes());
        self.0.update(bytes);
    }

    fn end(self) -> Digest {
        self.0.finish().as_ref().try_into().unwrap()
    }
}

/// What a database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) version: i64,
    /// Of all tables, and of the schema.
    pub(crate) all: Digest,
    /// Of what belongs to requests, whatever the version.
    pub(crate) requests: Digest,
}

/// One row: the version, the schema, and a statement that selects each table as one text. Times that SQLite's own clock
/// gives are left out: what was tried twice has either.
const SCHEMA: &str = r#"SELECT (SELECT user_version FROM pragma_user_version),
  (SELECT group_concat(type || name || tbl_name || coalesce(sql, '')) FROM (SELECT * FROM sqlite_schema ORDER BY name)),
  (SELECT group_concat('SELECT ''' || name || ''', group_concat(line, char(10)) FROM (SELECT ' || (
       SELECT group_concat('quote("' || name || '")', ' || '','' || ') FROM pragma_table_info(s.name)
       WHERE name NOT IN ('installed_on', 'execution_time', 'created_at', 'run_at')
     ) || ' AS line FROM "' || name || '" ORDER BY 1)', ' UNION ALL ')
   FROM sqlite_schema AS s WHERE type = 'table')"#;

/// The requests with what came of them, as one text: what every version of the schema has.
const REQUESTS: &str = "SELECT group_concat(line, char(10)) FROM (
  SELECT quote(id) || quote(trigger_name) || quote(arguments) || quote(state) || quote(round) || quote(attempt) || quote(due_at)
    || quote(status_uri) || quote(error_code) || quote((SELECT body FROM outputs WHERE request_id = r.id))
    || (SELECT count(*) FROM attempts WHERE request_id = r.id) AS line
  FROM requests AS r ORDER BY id)";

/// What is in it as it is committed now.
pub(crate) async fn content(c: &mut SqliteConnection) -> Result<Content, sqlx::Error> {
    let (mut all, mut requests) = (Texts::new(), Texts::new());
    let schema = sqlx::query(SCHEMA).fetch_one(&mut *c).await?;
    let text = |text: Option<String>| text.unwrap_or_default().into_bytes();
    let version = schema.get(0);
    all.add(&text(schema.get(1)));
    if let Some(select) = schema.get::<Option<String>, _>(2) {
        for table in sqlx::query(AssertSqlSafe(select)).fetch_all(&mut *c).await? {
            all.add(&text(table.get(1)));
        }
    }
    let rows = if version > 0 { sqlx::query(REQUESTS).fetch_one(&mut *c).await?.get(0) } else { None };
    requests.add(&text(rows));
    Ok(Content { version, all: all.end(), requests: requests.end() })
}

/// Looks at images, at each only once.
pub(crate) struct Examiner {
    known: HashMap<Digest, Result<Content, String>>,
    pub(crate) images: usize,
}

impl Examiner {
    pub(crate) fn new() -> Self {
        Self { known: HashMap::new(), images: 0 }
    }

    /// Different images so far.
    pub(crate) fn different(&self) -> usize {
        self.known.len()
    }

    /// What is in it, or what is wrong with it; and whether it was not seen before.
    pub(crate) async fn examine(&mut self, image: &Image) -> (Result<Content, String>, bool) {
        self.images += 1;
        let mut texts = Texts::new();
        for (name, bytes) in image {
            texts.add(name.as_bytes());
            texts.add(bytes);
        }
        let key = texts.end();
        if let Some(known) = self.known.get(&key) {
            return (known.clone(), false);
        }
        let folder = put(image);
        let found = read(folder.path()).await.unwrap_or_else(|error| Err(error.to_string()));
        self.known.insert(key, found.clone());
        (found, true)
    }
}

/// The folder of an image, as it is after the power has come back.
pub(crate) fn put(image: &Image) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in image {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

async fn read(folder: &Path) -> Result<Result<Content, String>, sqlx::Error> {
    let mut connection = look(folder).await?;
    let sound: String = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut connection).await?.get(0);
    if sound != "ok" {
        return Ok(Err(sound));
    }
    if sqlx::query("PRAGMA foreign_key_check").fetch_optional(&mut connection).await?.is_some() {
        return Ok(Err("a foreign key leads nowhere".to_owned()));
    }
    let content = content(&mut connection).await?;
    connection.close().await?;
    Ok(Ok(content))
}

/// What the product makes of an image: it opens it as its own, and starts.
pub(crate) async fn reopen(image: &Image, full: bool) -> Result<Content, String> {
    let folder = put(image);
    let store =
        SqliteStore::open(options(folder.path(), full), &triggers()).await.map_err(|e| e.to_string())?;
    store.start(triggers(), NOW).await.map_err(|e| e.to_string())?;
    store.close().await;
    read(folder.path()).await.map_err(|e| e.to_string())?
}
