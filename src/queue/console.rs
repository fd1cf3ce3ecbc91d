//! The table as a person at the command line sees it: a producer with one connection, and tolerant eyes.
//!
//! Opens the file as any producer would and never creates or migrates it. Rows may hold anything (a producer can switch
//! the schema's checks off), so a [`Cell`] takes whatever SQLite holds: one odd row never hides its neighbours.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow, SqliteValueRef};
use sqlx::{Column, Connection, Decode, Row, Sqlite, SqliteConnection, TypeInfo, ValueRef};

use super::sqlite::SCHEMA_VERSION;
use crate::clock::UnixMillis;
use crate::request::CallMode;

/// "trgd", see the schema.
const APPLICATION_ID: i64 = 0x7472_6764;
/// As long as a producer waits: the daemon's commits take milliseconds, a slow disk now and then a second.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What kept the console from its answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no file.
    #[error("no database at {0}: run `triggerd migrate` first")]
    Missing(String),
    /// The file is not ours, damaged, or of another version.
    #[error("{0}")]
    Unusable(String),
    /// It cannot be read or written now.
    #[error("the database {path} cannot be used")]
    Unavailable {
        /// The file.
        path: String,
        /// The driver's word.
        #[source]
        source: sqlx::Error,
    },
    /// The schema refused a row; its own words.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// The exit code of a process that cannot go on because of it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Unusable(_) => 65,
            Self::Missing(_) | Self::Unavailable { .. } => 69,
        }
    }
}

/// A request to insert; what is none gets the schema's default.
#[derive(Clone, Debug, Default)]
pub struct NewRequest {
    /// `requests.trigger_name`.
    pub trigger_name: String,
    /// The text of a JSON object.
    pub arguments: Option<String>,
    /// Overrides the trigger's.
    pub call_mode: Option<CallMode>,
    /// Higher runs first.
    pub priority: Option<i64>,
    /// Not fired before this.
    pub run_at: Option<UnixMillis>,
    /// Ended by then.
    pub deadline_at: Option<UnixMillis>,
    /// At most one unfinished request has it.
    pub unique_key: Option<String>,
}

/// Which requests to list.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only these; spelled as in SQL.
    pub state: Option<String>,
    /// Only these.
    pub trigger_name: Option<String>,
    /// At most so many, the newest.
    pub limit: u32,
}

/// One value as SQLite holds it, whatever its declared type.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// An INTEGER.
    Int(i64),
    /// A REAL.
    Real(f64),
    /// A TEXT.
    Text(String),
    /// A BLOB, or a TEXT that is not UTF-8.
    Bytes(Vec<u8>),
}

/// One row: column names and values, in the order of the statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Record(pub Vec<(String, Cell)>);

impl Record {
    /// The value of a column; NULL where there is none.
    #[must_use]
    pub fn get(&self, column: &str) -> &Cell {
        self.0.iter().find(|(name, _)| name == column).map_or(&Cell::Null, |(_, cell)| cell)
    }

    /// The integer of a column, if it is one.
    #[must_use]
    pub fn int(&self, column: &str) -> Option<i64> {
        match self.get(column) {
            Cell::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The text of a column, if it is one.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.get(column) {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let cells = row.columns().iter().map(|column| {
            let cell = Cell::read(row.try_get_raw(column.ordinal())?).map_err(sqlx::Error::Decode)?;
            Ok((column.name().to_owned(), cell))
        });
        cells.collect::<Result<_, sqlx::Error>>().map(Self)
    }
}

impl Cell {
    fn read(value: SqliteValueRef<'_>) -> Result<Self, sqlx::error::BoxDynError> {
        if value.is_null() {
            return Ok(Self::Null);
        }
        let kind = value.type_info().name().to_owned();
        Ok(match kind.as_str() {
            "INTEGER" => Self::Int(<i64 as Decode<Sqlite>>::decode(value)?),
            "REAL" => Self::Real(<f64 as Decode<Sqlite>>::decode(value)?),
            "TEXT" => match String::from_utf8(<Vec<u8> as Decode<Sqlite>>::decode(value)?) {
                Ok(text) => Self::Text(text),
                Err(error) => Self::Bytes(error.into_bytes()),
            },
            _ => Self::Bytes(<Vec<u8> as Decode<Sqlite>>::decode(value)?),
        })
    }
}

/// A request, with its firings.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The columns of the request, then of its output.
    pub request: Record,
    /// One record each, oldest first.
    pub attempts: Vec<Record>,
}

/// An open database.
#[derive(Debug)]
pub struct Console {
    connection: SqliteConnection,
    path: String,
    seen: Option<i64>,
}

impl Console {
    /// Opens what is there.
    ///
    /// # Errors
    ///
    /// If there is no file, or it is not a database of this version.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        if matches!(path.try_exists(), Ok(false)) {
            return Err(Error::Missing(name));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let connection =
            SqliteConnection::connect_with(&options).await.map_err(|error| judge(&name, error))?;
        let mut console = Self { connection, path: name, seen: None };
        console.check_version().await?;
        Ok(console)
    }

    async fn check_version(&mut self) -> Result<(), Error> {
        let versions = self.records(include_str!("sqlite/console_version.sql"), &[]).await?;
        let (application, version) = versions
            .first()
            .and_then(|record| Some((record.int("application_id")?, record.int("user_version")?)))
            .unwrap_or_default();
        let path = &self.path;
        match version {
            _ if application != APPLICATION_ID => {
                Err(Error::Unusable(format!("{path} is not a database of triggerd")))
            }
            SCHEMA_VERSION => Ok(()),
            _ if version > SCHEMA_VERSION => Err(Error::Unusable(format!(
                "{path} has schema version {version}, newer than this program's {SCHEMA_VERSION}: use the newer triggerd"
            ))),
            _ => Err(Error::Unusable(format!(
                "{path} has schema version {version}, older than this program's {SCHEMA_VERSION}: run `triggerd migrate`"
            ))),
        }
    }

    /// Inserts a request and gives its id.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the schema's own words, or what keeps the row from being stored. No more than one call
    /// should be made after that.
    pub async fn submit(&mut self, request: &NewRequest) -> Result<i64, Error> {
        let path = self.path.clone();
        self.insert(request).await.map_err(|error| judge(&path, error))
    }

    /// In a transaction, since only a COMMIT that was checked has stored something: sqlx drops what an autocommitting
    /// statement has to say when it is reset. No RETURNING, which old SQLites lack: this is what a producer would do.
    async fn insert(&mut self, request: &NewRequest) -> Result<i64, sqlx::Error> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let inserted = sqlx::query(include_str!("sqlite/console_submit.sql"))
            .bind(&request.trigger_name)
            .bind(&request.arguments)
            .bind(request.call_mode.map(CallMode::as_str))
            .bind(request.priority)
            .bind(request.run_at.map(|at| at.0))
            .bind(request.deadline_at.map(|at| at.0))
            .bind(&request.unique_key)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(inserted.last_insert_rowid())
    }

    /// The newest requests, newest first.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn list(&mut self, filter: &Filter) -> Result<Vec<Record>, Error> {
        let sql = match filter.state.as_deref() {
            Some("pending" | "triggering" | "polling" | "collecting" | "uncertain") => {
                include_str!("sqlite/console_list_open.sql")
            }
            _ => include_str!("sqlite/console_list.sql"),
        };
        let text = |text: &Option<String>| text.clone().map_or(Cell::Null, Cell::Text);
        self.records(sql, &[text(&filter.state), text(&filter.trigger_name), Cell::Int(filter.limit.into())])
            .await
    }

    /// All there is to know of one request; none if there is no such request.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn show(&mut self, id: i64) -> Result<Option<Shown>, Error> {
        let found = self.records(include_str!("sqlite/console_show.sql"), &[Cell::Int(id)]).await?;
        let Some(request) = found.into_iter().next() else { return Ok(None) };
        let attempts = self.records(include_str!("sqlite/console_attempts.sql"), &[Cell::Int(id)]).await?;
        Ok(Some(Shown { request, attempts }))
    }

    /// How these requests stand, by id; those that are not there are left out.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn results(&mut self, ids: &[i64]) -> Result<Vec<Record>, Error> {
        let ids = Cell::Text(format!("{ids:?}"));
        self.records(include_str!("sqlite/console_results.sql"), &[ids]).await
    }

    /// The output of a request; NULL if there is none.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn output(&mut self, id: i64) -> Result<Cell, Error> {
        let found = self.records(include_str!("sqlite/console_output.sql"), &[Cell::Int(id)]).await?;
        Ok(found.first().map_or(Cell::Null, |record| record.get("body").clone()))
    }

    /// Whether anybody else has committed since the last call. The first call says yes.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn changed(&mut self) -> Result<bool, Error> {
        let found = self.records(include_str!("sqlite/console_changed.sql"), &[]).await?;
        let version = found.first().and_then(|record| record.int("data_version"));
        Ok(std::mem::replace(&mut self.seen, version) != version)
    }

    /// Runs one of the console's statements to its end: a row stream that is left open holds the write-ahead log.
    async fn records(&mut self, sql: &'static str, values: &[Cell]) -> Result<Vec<Record>, Error> {
        let mut query = sqlx::query(sql);
        for value in values {
            query = match value {
                Cell::Null => query.bind(None::<i64>),
                Cell::Int(number) => query.bind(*number),
                Cell::Real(number) => query.bind(*number),
                Cell::Text(text) => query.bind(text.clone()),
                Cell::Bytes(bytes) => query.bind(bytes.clone()),
            };
        }
        let rows = query.fetch_all(&mut self.connection).await.map_err(|error| judge(&self.path, error))?;
        let records: Result<_, sqlx::Error> = rows.iter().map(Record::read).collect();
        records.map_err(|error| judge(&self.path, error))
    }
}

/// What an error of the driver means to somebody who only wanted to read or insert.
fn judge(path: &str, error: sqlx::Error) -> Error {
    let code = |error: &sqlx::Error| error.as_database_error()?.code()?.parse::<u32>().ok();
    // The lowest byte is the primary result code.
    match code(&error).map(|code| code & 0xff) {
        Some(CONSTRAINT) => Error::Refused(refusal(&error)),
        Some(CORRUPT | NOT_A_DATABASE) => {
            Error::Unusable(format!("{path} is damaged or not a database of triggerd ({error})"))
        }
        _ => Error::Unavailable { path: path.to_owned(), source: error },
    }
}

const CORRUPT: u32 = 11;
const CONSTRAINT: u32 = 19;
const NOT_A_DATABASE: u32 = 26;

fn refusal(error: &sqlx::Error) -> String {
    let message = error.as_database_error().map(|error| error.message().to_owned()).unwrap_or_default();
    if message.starts_with("UNIQUE constraint failed") {
        return format!("another request that is unfinished, or kept, has this unique key ({message})");
    }
    message
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteJournalMode;

    use super::*;

    struct Place {
        folder: tempfile::TempDir,
    }

    impl Place {
        /// A migrated database with the trigger `t`.
        async fn migrated() -> Self {
            let place = Self { folder: tempfile::tempdir().unwrap() };
            let sql = concat!(
                include_str!("../../migrations/sqlite/0001_init.sql"),
                include_str!("../../migrations/sqlite/0002_status.sql"),
                "INSERT INTO triggers (name, max_arguments) VALUES ('t', 100);"
            );
            place.run(sql).await;
            place
        }

        fn path(&self) -> std::path::PathBuf {
            self.folder.path().join("queue.db")
        }

        /// What some other connection does.
        async fn run(&self, sql: &'static str) {
            let options = SqliteConnectOptions::new()
                .filename(self.path())
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
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
        assert_eq!(
            error.to_string(),
            format!("no database at {}: run `triggerd migrate` first", path.display())
        );
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_of_somebody_else_or_of_another_version_is_left_alone() {
        for (sql, expected) in [
            ("PRAGMA user_version = 1; CREATE TABLE requests (id)", "is not a database of triggerd"),
            ("PRAGMA application_id = 1953654628; PRAGMA user_version = 3;", "newer than this program's 2"),
            ("PRAGMA application_id = 1953654628;", "run `triggerd migrate`"),
        ] {
            let place = Place { folder: tempfile::tempdir().unwrap() };
            place.run(sql).await;
            let error = Console::open(&place.path()).await.unwrap_err();
            assert_eq!(error.exit_code(), 65, "{error}");
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
        assert!(refused(to("u")).await.starts_with("triggerd: unknown_trigger: trigger_name: must be"));
        let mut large = to("t");
        large.arguments = Some(format!(r#"{{"a":"{}"}}"#, "x".repeat(100)));
        assert!(refused(large).await.starts_with("triggerd: arguments_too_large: arguments: "));
        let mut keyed = to("t");
        keyed.unique_key = Some("k".into());
        place.open().await.submit(&keyed).await.unwrap();
        assert!(
            refused(keyed)
                .await
                .starts_with("another request that is unfinished, or kept, has this unique key")
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
        assert_eq!(
            listed.iter().map(|record| record.int("id")).collect::<Vec<_>>(),
            [Some(3), Some(2), Some(1)]
        );
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
}
