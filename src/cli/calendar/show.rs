//! `triggerd calendar show`: all calendars, or one with its dates.

use std::path::Path;

use serde::Serialize;
use triggerd::queue::console::{Calendar, Cell, Console, Record};
use triggerd::schedule::files::write_csv;

use super::{open, unknown};
use crate::cli::failure::{Failure, NOT_WELL};
use crate::cli::print::{self, Json};

const COLUMNS: [(&str, &str); 8] = [
    ("NAME", "name"),
    ("ZONE", "time_zone"),
    ("DATES", "dates"),
    ("FIRST", "first_date"),
    ("LAST", "last_date"),
    ("OWNER", "owner"),
    ("SCHEDULES", "schedules"),
    ("PROBLEM", "problem"),
];

/// A calendar, with its dates.
#[derive(Serialize)]
struct Whole<'c> {
    #[serde(flatten)]
    row: Json<'c>,
    excluded_dates: Vec<String>,
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Show) -> Result<(), Failure> {
    let mut console = open(file).await?;
    let Some(name) = &verb.name else { return list(&mut console, verb.json).await };
    let Some(mut calendar) = console.calendar(name).await? else {
        return Err(unknown(&mut console, name).await?);
    };
    if let Err(problem) = &calendar.meaning {
        // Found here, whether or not the daemon has looked.
        set(&mut calendar.row, "problem", problem);
    }
    if verb.json {
        let excluded_dates = dates(&calendar).map(|date| date.to_string()).collect();
        return print::out(print::json(&Whole { row: Json(&calendar.row), excluded_dates })?);
    }
    match &calendar.meaning {
        Ok(meaning) if verb.csv => print::out(write_csv(&meaning.dates)),
        Err(problem) if verb.csv => Err(Failure::new(NOT_WELL, format!("{name}: {problem}"))),
        _ => print::out(text(&calendar)),
    }
}

async fn list(console: &mut Console, json: bool) -> Result<(), Failure> {
    let rows = console.calendars().await?;
    if json {
        let lines = rows.iter().map(|row| print::json(&Json(row)));
        return print::out(lines.collect::<Result<String, Failure>>()?);
    }
    if rows.is_empty() {
        print::note("no calendars");
        return Ok(());
    }
    let cells = |row: &Record| COLUMNS.map(|(_, column)| print::cell(column, row.get(column))).to_vec();
    let rows: Vec<_> = rows.iter().map(cells).collect();
    print::out(print::table(&COLUMNS.map(|(header, _)| header), &rows))
}

fn set(row: &mut Record, column: &str, text: &str) {
    if let Some((_, cell)) = row.0.iter_mut().find(|(name, _)| name == column) {
        *cell = Cell::Text(text.to_owned());
    }
}

/// None of one that is not understood.
fn dates(calendar: &Calendar) -> impl Iterator<Item = &jiff::civil::Date> {
    calendar.meaning.iter().flat_map(|meaning| &meaning.dates)
}

fn text(calendar: &Calendar) -> String {
    let known = calendar.row.0.iter().filter(|(_, cell)| *cell != Cell::Null);
    let rows: Vec<_> = known.map(|(column, cell)| (column, print::cell(column, cell))).collect();
    let width = rows.iter().map(|(column, _)| column.len()).max().unwrap_or(0);
    let mut text: String = rows.iter().map(|(column, value)| format!("{column:width$}  {value}\n")).collect();
    for (n, date) in dates(calendar).enumerate() {
        let gap = if n == 0 { "\n" } else { "" };
        text.push_str(&format!("{gap}{date} {}\n", date.strftime("%A")));
    }
    text
}
