//! `triggerd schedule show`: the row, its calendar, and what became of its times.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use triggerd::clock::UnixMillis;
use triggerd::queue::console::{Cell, Record, Schedule};

use super::list::{Line, line, told};
use super::{find, open};
use crate::cli::failure::Failure;
use crate::cli::print::{self, Json};

/// Columns that hold a span in milliseconds.
const SPANS: [&str; 3] = ["catch_up_window", "jitter", "disable_grace"];

#[derive(Serialize)]
struct Whole<'s> {
    #[serde(flatten)]
    row: Json<'s>,
    #[serde(flatten)]
    judged: Judged<'s>,
    calendar_row: Option<Json<'s>>,
    events: Vec<Json<'s>>,
}

/// What is not in the row.
#[derive(Serialize)]
struct Judged<'s> {
    state: &'s str,
    next_local: &'s Option<String>,
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Show) -> Result<(), Failure> {
    let mut console = open(file).await?;
    let mut schedule = find(&mut console, &verb.name).await?;
    let calendar = match schedule.row.text("calendar").map(str::to_owned) {
        Some(name) => console.calendar(&name).await?.map(|calendar| calendar.row),
        None => None,
    };
    let events = console.schedule_events(&verb.name, verb.events).await?;
    let judged = Shown::new(&schedule);
    judged.apply(&mut schedule.row);
    if verb.json {
        let whole = Whole {
            row: Json(&schedule.row),
            judged: Judged { state: &judged.state, next_local: &judged.next_local },
            calendar_row: calendar.as_ref().map(Json),
            events: events.iter().map(Json).collect(),
        };
        return print::out(print::json(&whole)?);
    }
    print::out(text(&schedule, &judged, calendar.as_ref(), &events))
}

/// What is found out about a row, to be put beside it or in place of what the daemon has not written yet.
struct Shown {
    state: String,
    told: String,
    next_local: Option<String>,
    words: Option<String>,
    problem: Option<String>,
    next_at: Option<i64>,
}

impl Shown {
    fn new(schedule: &Schedule) -> Self {
        let line: Line<'_> = line(schedule);
        Self {
            state: line.state.to_owned(),
            told: told(&line),
            next_local: line.next_local.clone(),
            words: line.words.clone(),
            problem: line.problem.map(str::to_owned),
            next_at: line.next_at,
        }
    }

    fn apply(&self, row: &mut Record) {
        let text = |text: &Option<String>| text.clone().map_or(Cell::Null, Cell::Text);
        for (column, cell) in &mut row.0 {
            match column.as_str() {
                "words" => *cell = text(&self.words),
                "problem" => *cell = text(&self.problem),
                "next_at" => *cell = self.next_at.map_or(Cell::Null, Cell::Int),
                _ => {}
            }
        }
    }
}

fn text(schedule: &Schedule, shown: &Shown, calendar: Option<&Record>, events: &[Record]) -> String {
    let mut rows = vec![("state".to_owned(), print::plain(&shown.told))];
    let zone = schedule.timetable.as_ref().ok().map(|timetable| &timetable.definition().zone);
    for (column, cell) in schedule.row.0.iter().filter(|(_, cell)| *cell != Cell::Null) {
        let value = match (column.as_str(), cell, zone) {
            // By its own clock.
            ("starts_at" | "ends_at" | "last_at" | "next_at", Cell::Int(at), Some(zone)) => {
                zone.local(UnixMillis(*at)).to_string()
            }
            ("calendar", Cell::Text(name), _) => calendar.map_or_else(
                || print::cell(column, cell),
                |calendar| print::plain(&format!("{name} ({})", dates(calendar))),
            ),
            (name, Cell::Int(millis), _) if SPANS.contains(&name) => span(*millis),
            _ => print::cell(column, cell),
        };
        rows.push((column.clone(), value));
    }
    let width = rows.iter().map(|(column, _)| column.len()).max().unwrap_or(0);
    let mut text: String = rows.iter().map(|(column, value)| format!("{column:width$}  {value}\n")).collect();
    if let Some(first) = events.first() {
        let headers: Vec<_> = first.0.iter().map(|(column, _)| column.to_uppercase()).collect();
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let cell = |(column, cell): &(String, Cell)| match (cell, column.as_str()) {
            // The only time whose name does not say so.
            (Cell::Int(_), "at") => print::cell("at_at", cell),
            _ => print::cell(column, cell),
        };
        let rows: Vec<Vec<_>> = events.iter().map(|event| event.0.iter().map(cell).collect()).collect();
        text.push_str(&format!("\n{}", print::table(&headers, &rows)));
    }
    text
}

/// `12 dates, 2026-01-01 to 2026-12-26`
fn dates(calendar: &Record) -> String {
    let count = calendar.int("dates").unwrap_or_default();
    match (calendar.text("first_date"), calendar.text("last_date")) {
        (Some(first), Some(last)) => format!("{count} dates, {first} to {last}"),
        _ => "no dates".to_owned(),
    }
}

/// `1h 30m`
pub(super) fn span(millis: i64) -> String {
    let Ok(millis) = u64::try_from(millis) else { return millis.to_string() };
    let mut left = Duration::from_millis(millis);
    let mut parts = Vec::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        let count = left.as_secs() / length;
        left -= Duration::from_secs(count * length);
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
    }
    if !left.is_zero() {
        parts.push(format!("{}ms", left.as_millis()));
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_the_units_of_people() {
        for (millis, said) in
            [(0, "0s"), (3_600_000, "1h"), (86_400_000, "1d"), (5_400_500, "1h 30m 500ms"), (-1, "-1")]
        {
            assert_eq!(span(millis), said);
        }
    }
}
