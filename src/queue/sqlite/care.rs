//! What the writer sees to between two commands: that the files are those it has opened, that the write-ahead log does not grow
//! without end, what others did to the schema, and room on the disk.

use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnection;
use tokio::sync::watch;

use super::ballast::Ballast;
use super::files::Files;
use super::shape::Shape;
use super::wal::Wal;
use super::{Options, code, statements};
use crate::clock;
use crate::queue::{Condition, Error};

/// Not more often: it costs a few system calls and the reading of a number.
const EVERY: Duration = Duration::from_secs(1);
/// Statistics change slowly, and each new set makes all programs prepare their statements anew.
const OPTIMIZE_EVERY: Duration = Duration::from_secs(24 * 3600);

pub(super) struct Care {
    files: Files,
    wal: Wal,
    ballast: Ballast,
    /// What the schema should be.
    expected: Shape,
    /// What SQLite counts up with each change of the schema, when that was last compared.
    schema_version: Option<i64>,
    /// What others have done to the schema that is not fatal.
    odd: Vec<String>,
    due: Instant,
    optimize_at: Instant,
    told: watch::Sender<Condition>,
}

/// Why the table must not be used any more.
pub(super) enum Over {
    /// Another file is in its place.
    Replaced(String),
    /// It is not the schema of this program any more.
    Broken(String),
}

impl Over {
    pub(super) fn error(&self) -> Error {
        match self {
            Self::Replaced(what) => Error::Replaced(what.clone()),
            Self::Broken(what) => Error::Corrupt(what.clone()),
        }
    }
}

impl Care {
    pub(super) fn new(options: &Options, expected: Shape, told: watch::Sender<Condition>) -> Self {
        Self {
            files: Files::new(&options.path),
            wal: Wal::new(options.checkpoint),
            ballast: Ballast::new(&options.path),
            expected,
            schema_version: None,
            odd: Vec::new(),
            due: clock::monotonic(),
            optimize_at: clock::monotonic() + OPTIMIZE_EVERY,
            told,
        }
    }

    /// Whether there is no room for anything new.
    pub(super) const fn is_full(&self) -> bool {
        self.ballast.is_given_up()
    }

    /// Whether nobody but this process has the database any more.
    pub(super) fn is_deleted(&self) -> bool {
        self.files.is_deleted()
    }

    /// Whether what is written from now on must not get into the file: others have begun a log of their own on it.
    pub(super) fn is_severed(&self) -> bool {
        self.files.is_severed()
    }

    /// A commit has succeeded.
    pub(super) fn stored(&mut self) {
        self.files.note();
        self.ballast.stored();
    }

    /// Something has failed, and the connection is gone.
    pub(super) fn failed(&mut self, error: &sqlx::Error) {
        self.files.forget();
        self.ballast.failed(code(error).unwrap_or_default());
        self.tell();
    }

    /// Next time in any case.
    pub(super) fn soon(&mut self) {
        self.due = clock::monotonic();
    }

    /// Looks after all of it, if it is time; answers why the table must not be used any more.
    pub(super) async fn look(
        &mut self,
        connection: Option<&mut SqliteConnection>,
    ) -> Result<Option<Over>, sqlx::Error> {
        let now = clock::monotonic();
        if now < self.due {
            return Ok(None);
        }
        self.due = now + EVERY;
        if let Some(what) = self.files.replaced() {
            return Ok(Some(Over::Replaced(what)));
        }
        self.ballast.tend();
        let size = self.files.wal().metadata().map_or(0, |file| file.len());
        let is_long = self.wal.measured(size, now);
        let mut over = None;
        if let Some(connection) = connection {
            if is_long {
                statements::checkpoint(connection).await?;
            }
            if self.optimize_at <= now && !self.is_full() {
                self.optimize_at = now + OPTIMIZE_EVERY;
                statements::optimize(connection).await?;
            }
            over = self.compare(connection).await?;
        }
        self.tell();
        Ok(over)
    }

    /// Whether the schema is still the one that this program relies on.
    async fn compare(&mut self, connection: &mut SqliteConnection) -> Result<Option<Over>, sqlx::Error> {
        let version = Some(statements::schema_version(connection).await?);
        if self.schema_version == version {
            return Ok(None);
        }
        let found = Shape::read(connection).await?;
        self.schema_version = version;
        let found = found.differences(&self.expected);
        if !found.fatal.is_empty() {
            return Ok(Some(Over::Broken(format!("its schema was changed: {}", found.fatal.join(", ")))));
        }
        if found.odd != self.odd {
            self.odd = found.odd;
            match self.strange() {
                Some(what) => tracing::warn!("{what}"),
                None => tracing::info!("the schema is what it should be again"),
            }
        }
        Ok(None)
    }

    fn strange(&self) -> Option<String> {
        let odd = self.odd.join(", ");
        (!odd.is_empty())
            .then(|| format!("the schema was changed by another program: {odd}; see `triggerd doctor`"))
    }

    fn tell(&self) {
        let notes = [self.ballast.note(), self.wal.note(), self.strange()].into_iter().flatten().collect();
        let condition = Condition { is_full: self.is_full(), notes };
        self.told.send_if_modified(|told| {
            let is_news = *told != condition;
            *told = condition;
            is_news
        });
    }
}
