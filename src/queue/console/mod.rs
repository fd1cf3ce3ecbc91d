//! The table as a person at the command line sees it: a producer with one connection, and tolerant eyes.
//!
//! Opens the file as any producer would and never creates or migrates it. Rows may hold anything (a producer can switch
//! the schema's checks off), so a [`Cell`] takes whatever SQLite holds: one odd row never hides its neighbours.

mod calendars;
mod cancel;
mod pause;
mod producer;
mod record;
mod resolve;
mod retry;
mod schedules;
mod standing;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

pub use self::calendars::{Calendar, Imported};
pub use self::pause::Paused;
pub use self::producer::Producer;
pub use self::record::{Cell, Record};
pub use self::resolve::{Resolution, Settlement};
pub use self::retry::Selection;
pub use self::schedules::{Asked, Filled, Filling, Schedule};
pub use self::standing::{Refusal, Verdict};
use super::sqlite::{SCHEMA_VERSION, damage};
use crate::clock::UnixMillis;
use crate::request::CallMode;

/// "trgd", see the schema.
const APPLICATION_ID: i64 = 0x7472_6764;
/// Lines of damage that are told: more say nothing more.
const MOST_DAMAGES: usize = 5;
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
    /// The file is of an older version, which a start of the daemon upgrades.
    #[error("{0}")]
    Outdated(String),
    /// It cannot be read or written now.
    #[error("the database {path} cannot be used{hint}")]
    Unavailable {
        /// The file.
        path: String,
        /// What to do about it, in parentheses, if that is known.
        hint: &'static str,
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
            Self::Missing(_) | Self::Outdated(_) | Self::Unavailable { .. } => 69,
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
    /// `max_concurrent_per_key` and the like count by it.
    pub concurrency_key: Option<String>,
    /// The group that it is a member of.
    pub group_key: Option<String>,
    /// Fired only when another has ended.
    pub after: Option<After>,
}

/// What a request waits for.
#[derive(Clone, Debug, Default)]
pub struct After {
    /// The other request.
    pub id: i64,
    /// Any end will do; else it must succeed.
    pub ended: bool,
    /// The argument that becomes its output.
    pub argument: Option<String>,
    /// Or a part of that: a JSON pointer.
    pub pointer: Option<String>,
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
    options: SqliteConnectOptions,
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
        // An empty file is what is left of somebody who looked into a database before it was made.
        if matches!(path.try_exists(), Ok(false)) || std::fs::metadata(path).is_ok_and(|file| file.len() == 0)
        {
            return Err(Error::Missing(name));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let connection =
            SqliteConnection::connect_with(&options).await.map_err(|error| judge(&name, error))?;
        let mut console = Self { connection, options, path: name, seen: None };
        console.check_version().await?;
        Ok(console)
    }

    async fn check_version(&mut self) -> Result<(), Error> {
        let versions = self.records(include_str!("../sqlite/console_version.sql"), &[]).await?;
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
            _ => Err(Error::Outdated(format!(
                "{path} has schema version {version}, older than this program's {SCHEMA_VERSION}: restart the daemon, or run \
                 `triggerd migrate`"
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
        match self.insert(request).await {
            Err(error) if is_twin(&error) => Err(Error::Refused(self.twin(request).await)),
            inserted => inserted.map_err(|error| judge(&self.path, error)),
        }
    }

    /// Who has the unique key of a request that was refused for it.
    async fn twin(&mut self, request: &NewRequest) -> String {
        let key = request.unique_key.clone().map_or(Cell::Null, Cell::Text);
        let values = [Cell::Text(request.trigger_name.clone()), key];
        let twins =
            self.records(include_str!("../sqlite/console_key.sql"), &values).await.unwrap_or_default();
        let twin = twins.first().and_then(|twin| Some((twin.int("id")?, twin.text("state")?)));
        // It may have gone meanwhile.
        let Some((id, state)) = twin else {
            return "another request has this unique key: see `triggerd list`".to_owned();
        };
        let next = match state {
            "uncertain" => format!("settle it with `triggerd resolve {id}`"),
            "pending" | "triggering" | "polling" | "collecting" => {
                format!("`triggerd wait {id}`, or `triggerd cancel {id}`")
            }
            _ => "it has ended, but one of the two was inserted with the scope 'kept'; use another key"
                .to_owned(),
        };
        format!("request {id} ({state}) has this unique key: {next}")
    }

    /// In a transaction, since only a COMMIT that was checked has stored something: sqlx drops what an autocommitting
    /// statement has to say when it is reset. No RETURNING, which old SQLites lack: this is what a producer would do.
    async fn insert(&mut self, request: &NewRequest) -> Result<i64, sqlx::Error> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let inserted = sqlx::query(include_str!("../sqlite/console_submit.sql"))
            .bind(&request.trigger_name)
            .bind(&request.arguments)
            .bind(request.call_mode.map(CallMode::as_str))
            .bind(request.priority)
            .bind(request.run_at.map(|at| at.0))
            .bind(request.deadline_at.map(|at| at.0))
            .bind(&request.unique_key)
            .bind(&request.concurrency_key)
            .bind(&request.group_key)
            .bind(request.after.as_ref().map(|after| after.id))
            .bind(request.after.as_ref().filter(|after| after.ended).map(|_| "ended"))
            .bind(request.after.as_ref().and_then(|after| after.argument.as_deref()))
            .bind(request.after.as_ref().and_then(|after| after.pointer.as_deref()))
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
                include_str!("../sqlite/console_list_open.sql")
            }
            _ => include_str!("../sqlite/console_list.sql"),
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
        let found = self.records(include_str!("../sqlite/console_show.sql"), &[Cell::Int(id)]).await?;
        let Some(request) = found.into_iter().next() else { return Ok(None) };
        let attempts = self.records(include_str!("../sqlite/console_attempts.sql"), &[Cell::Int(id)]).await?;
        Ok(Some(Shown { request, attempts }))
    }

    /// How these requests stand, by id; those that are not there are left out.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn results(&mut self, ids: &[i64]) -> Result<Vec<Record>, Error> {
        let ids = Cell::Text(format!("{ids:?}"));
        self.records(include_str!("../sqlite/console_results.sql"), &[ids]).await
    }

    /// The output of a request; NULL if there is none.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn output(&mut self, id: i64) -> Result<Cell, Error> {
        let found = self.records(include_str!("../sqlite/console_output.sql"), &[Cell::Int(id)]).await?;
        Ok(found.first().map_or(Cell::Null, |record| record.get("body").clone()))
    }

    /// Whether anybody else has committed since the last call. The first call says yes.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn changed(&mut self) -> Result<bool, Error> {
        let found = self.records(include_str!("../sqlite/console_changed.sql"), &[]).await?;
        let version = found.first().and_then(|record| record.int("data_version"));
        Ok(std::mem::replace(&mut self.seen, version) != version)
    }

    /// The daemon of this file; `seen_at` is NULL if none ever ran.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn daemon(&mut self) -> Result<Option<Record>, Error> {
        Ok(self.records(include_str!("../sqlite/console_daemon.sql"), &[]).await?.into_iter().next())
    }

    /// What is wrong with the file itself, a few lines at most; reads all of it.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn damage(&mut self) -> Result<Vec<String>, Error> {
        let found = self.records(include_str!("../sqlite/console_damage.sql"), &[]).await?;
        let lines = found.iter().filter_map(|record| record.text("quick_check"));
        Ok(damage(lines).take(MOST_DAMAGES).collect())
    }

    /// Reads in one transaction, so that what is read belongs together.
    async fn read<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Error> {
        let read = async {
            let mut transaction = self.connection.begin().await?;
            let found = work(&mut transaction).await?;
            transaction.rollback().await?;
            Ok(found)
        };
        read.await.map_err(|error| judge(&self.path, error))
    }

    /// Runs one of the console's statements to its end: a row stream that is left open holds the write-ahead log.
    async fn records(&mut self, sql: &'static str, values: &[Cell]) -> Result<Vec<Record>, Error> {
        records(&mut self.connection, sql, values).await.map_err(|error| judge(&self.path, error))
    }
}

/// Runs one statement to its end.
async fn records(
    connection: &mut SqliteConnection,
    sql: &'static str,
    values: &[Cell],
) -> Result<Vec<Record>, sqlx::Error> {
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
    query.fetch_all(connection).await?.iter().map(Record::read).collect()
}

/// What an error of the driver means to somebody who only wanted to read or insert.
fn judge(path: &str, error: sqlx::Error) -> Error {
    let hint = match result_code(&error) {
        Some(CONSTRAINT) => return Error::Refused(refusal(&error)),
        Some(CORRUPT | NOT_A_DATABASE) => {
            return Error::Unusable(format!(
                "{path} is damaged or not a database of triggerd ({error}): see whether it is the right file; if so, stop the \
                 daemon, keep a copy of it and its -wal, and restore a backup or use sqlite3's .recover"
            ));
        }
        Some(BUSY) => " (another program holds it in a long transaction: end that one, or try again)",
        Some(PERMISSION | READ_ONLY | CANNOT_OPEN) => {
            " (this user must be able to read and write the file and its folder: see who owns them)"
        }
        Some(FULL) => " (make room on its disk)",
        _ => "",
    };
    Error::Unavailable { path: path.to_owned(), hint, source: error }
}

/// SQLite's primary result code: the lowest byte.
fn result_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?.parse::<u32>().ok()?;
    Some(code & 0xff)
}

const PERMISSION: u32 = 3;
const BUSY: u32 = 5;
const READ_ONLY: u32 = 8;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANNOT_OPEN: u32 = 14;
const CONSTRAINT: u32 = 19;
const NOT_A_DATABASE: u32 = 26;

/// Whether a unique key was taken.
fn is_twin(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().starts_with("UNIQUE constraint failed"))
}

/// The schema's own words, without the name of the program, which whoever prints them puts first.
fn refusal(error: &sqlx::Error) -> String {
    let message = error.as_database_error().map(|error| error.message().to_owned()).unwrap_or_default();
    message.strip_prefix("triggerd: ").map(str::to_owned).unwrap_or(message)
}
