//! `triggerd schedule list`.

use std::path::Path;

use serde::Serialize;
use triggerd::queue::console::Schedule;
use triggerd::schedule::Zone;

use super::{next, now, open, problem, state};
use crate::cli::failure::Failure;
use crate::cli::print;

const HEADERS: [&str; 7] = ["NAME", "TRIGGER", "EXPRESSION", "ZONE", "NEXT", "STATE", "LAST"];

#[derive(Serialize)]
pub(super) struct Line<'s> {
    pub(super) name: &'s str,
    pub(super) trigger_name: &'s str,
    pub(super) expression: &'s str,
    pub(super) words: Option<String>,
    pub(super) time_zone: &'s str,
    pub(super) owner: &'s str,
    pub(super) state: &'s str,
    pub(super) paused_reason: Option<&'s str>,
    pub(super) problem: Option<&'s str>,
    pub(super) next_at: Option<i64>,
    pub(super) next_local: Option<String>,
    pub(super) last_request_id: Option<i64>,
    pub(super) last_state: Option<&'s str>,
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::List) -> Result<(), Failure> {
    let schedules = open(file).await?.schedules().await?;
    let lines: Vec<_> = schedules.iter().map(line).collect();
    if verb.json {
        let lines = lines.iter().map(print::json);
        return print::out(lines.collect::<Result<String, Failure>>()?);
    }
    if lines.is_empty() {
        print::note("no schedules");
        return Ok(());
    }
    let rows: Vec<_> = lines.iter().map(cells).collect();
    print::out(print::table(&HEADERS, &rows))
}

pub(super) fn line(schedule: &Schedule) -> Line<'_> {
    let text = |column| schedule.row.text(column);
    let now = now();
    let next = next(schedule, now);
    Line {
        name: text("name").unwrap_or_default(),
        trigger_name: text("trigger_name").unwrap_or_default(),
        expression: text("expression").unwrap_or_default(),
        words: words(schedule),
        time_zone: text("time_zone").unwrap_or_default(),
        owner: text("owner").unwrap_or_default(),
        state: state(schedule, now),
        paused_reason: text("paused_reason"),
        problem: problem(schedule),
        next_at: next.map(|at| at.0),
        next_local: next.and_then(|at| Some(zone(schedule)?.local(at).to_string())),
        last_request_id: schedule.row.int("last_request_id"),
        last_state: text("last_state"),
    }
}

fn zone(schedule: &Schedule) -> Option<&Zone> {
    schedule.timetable.as_ref().ok().map(|timetable| &timetable.definition().zone)
}

/// The expression, for people; also before the daemon has seen it.
pub(super) fn words(schedule: &Schedule) -> Option<String> {
    schedule.timetable.as_ref().ok().map(|timetable| timetable.definition().expression.describe())
}

/// In a sentence, where the word alone is not enough.
pub(super) fn told(line: &Line<'_>) -> String {
    let more = match line.state {
        "paused" => line.paused_reason.map(|reason| format!(" ({reason})")),
        "problem" => line.problem.map(|problem| format!(": {problem}")),
        _ => None,
    };
    format!("{}{}", line.state, more.unwrap_or_default())
}

fn cells(line: &Line<'_>) -> Vec<String> {
    let words = line.words.as_ref().map(|words| format!(" ({words})")).unwrap_or_default();
    let last = line.last_request_id.map(|id| format!("{id} {}", line.last_state.unwrap_or("(gone)")));
    let cells = [
        line.name.to_owned(),
        line.trigger_name.to_owned(),
        format!("{}{words}", line.expression),
        line.time_zone.to_owned(),
        line.next_local.clone().unwrap_or_else(|| "-".to_owned()),
        told(line),
        last.unwrap_or_else(|| "-".to_owned()),
    ];
    cells.iter().map(|cell| print::plain(cell)).collect()
}
