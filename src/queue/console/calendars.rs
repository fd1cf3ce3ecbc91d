//! Calendars, for the command line: their rows, what these mean, and the import of a whole one.

use std::collections::BTreeSet;

use jiff::civil::Date;
use sqlx::SqliteConnection;

use super::{Cell, Console, Error, Record, records};
use crate::queue::timetable;
use crate::schedule;

/// A calendar as it is in the table.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// Its columns; `dates`, `first_date`, `last_date`: how many, and from when to when; `schedules`: who names it.
    pub row: Record,
    /// What it says; or what is wrong with it.
    pub meaning: Result<schedule::Calendar, String>,
}

/// What an import came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is done.
    Done {
        /// The calendar is new.
        created: bool,
        /// Dates that it did not have before.
        new: u64,
        /// Dates that it does not have any more.
        gone: u64,
    },
    /// The configuration owns it.
    Owned,
}

impl Console {
    /// All calendars, by name.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn calendars(&mut self) -> Result<Vec<Record>, Error> {
        self.records(include_str!("../sqlite/console_calendars.sql"), &[Cell::Null]).await
    }

    /// One calendar, with its dates.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn calendar(&mut self, name: &str) -> Result<Option<Calendar>, Error> {
        self.read(async |connection| calendar(connection, name).await).await
    }

    /// Gives a calendar these dates and no others, in one commit, and makes it if it is not there. Zone and description stay
    /// where none is given.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the schema's own words, or what keeps it from being stored: then it is as it was.
    pub async fn import(
        &mut self,
        name: &str,
        dates: &BTreeSet<Date>,
        zone: Option<&str>,
        description: Option<&str>,
    ) -> Result<Imported, Error> {
        let text = |text: &str| Cell::Text(text.to_owned());
        let more = |more: Option<&str>| more.map_or(Cell::Null, text);
        let dates: Vec<String> = dates.iter().map(Date::to_string).collect();
        let dates = [text(name), Cell::Text(format!("{dates:?}"))];
        self.write(async |connection| {
            let sql = include_str!("../sqlite/console_calendars.sql");
            let before = records(connection, sql, &[text(name)]).await?.into_iter().next();
            if before.as_ref().is_some_and(|before| before.text("owner") != Some("sql")) {
                return Ok(Imported::Owned);
            }
            let values = [text(name), more(zone), more(description)];
            let sql = match before {
                None => include_str!("../sqlite/console_calendar_insert.sql"),
                Some(_) => include_str!("../sqlite/console_calendar_update.sql"),
            };
            records(connection, sql, &values).await?;
            let gone =
                changed(connection, include_str!("../sqlite/console_calendar_gone.sql"), &dates).await?;
            let new = changed(connection, include_str!("../sqlite/console_calendar_new.sql"), &dates).await?;
            Ok(Imported::Done { created: before.is_none(), new, gone })
        })
        .await
    }
}

/// Reads one calendar with its dates.
pub(super) async fn calendar(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<Calendar>, sqlx::Error> {
    let name = [Cell::Text(name.to_owned())];
    let rows = records(connection, include_str!("../sqlite/console_calendars.sql"), &name).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let dates = records(connection, include_str!("../sqlite/console_calendar_dates.sql"), &name).await?;
    let meaning = timetable::calendar(&row, &dates);
    Ok(Some(Calendar { row, meaning }))
}

/// Runs a statement with two texts, and says how many rows it changed.
async fn changed(
    connection: &mut SqliteConnection,
    sql: &'static str,
    values: &[Cell; 2],
) -> Result<u64, sqlx::Error> {
    let mut query = sqlx::query(sql);
    for value in values {
        if let Cell::Text(text) = value {
            query = query.bind(text.clone());
        }
    }
    Ok(query.execute(connection).await?.rows_affected())
}
