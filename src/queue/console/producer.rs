//! The file as any other program has it open: plain SQL in, rows out. For the demonstration, which shows what is run.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use super::{BUSY_TIMEOUT, Error, Record, judge};

/// A connection of a producer, with the settings that producers should have.
#[derive(Debug)]
pub struct Producer {
    connection: SqliteConnection,
    path: String,
}

impl Producer {
    /// Opens what is there.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("synchronous", "FULL")
            .pragma("wal_autocheckpoint", "0");
        let connection =
            SqliteConnection::connect_with(&options).await.map_err(|error| judge(&name, error))?;
        Ok(Self { connection, path: name })
    }

    /// Runs one INSERT, and gives the id of the new row. In a transaction, since only a COMMIT that was checked has stored
    /// something.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the schema's own words, or what keeps the row from being stored.
    pub async fn insert(&mut self, sql: &'static str) -> Result<i64, Error> {
        let inserted = async {
            let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
            let inserted = sqlx::query(sql).execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(inserted.last_insert_rowid())
        };
        inserted.await.map_err(|error| judge(&self.path, error))
    }

    /// The rows of a query.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn rows(&mut self, sql: &'static str) -> Result<Vec<Record>, Error> {
        let rows = sqlx::query(sql).fetch_all(&mut self.connection).await;
        let rows = rows.map_err(|error| judge(&self.path, error))?;
        let records: Result<_, sqlx::Error> = rows.iter().map(Record::read).collect();
        records.map_err(|error| judge(&self.path, error))
    }
}
