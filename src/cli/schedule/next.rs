//! `triggerd schedule next`: when a schedule will fire, and why not at other times.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use triggerd::clock::UnixMillis;
use triggerd::queue::console::Console;
use triggerd::schedule::{Calendar, Entry, Fate, Plan, Reason, Timetable, Zone};

use super::show::span;
use super::{begin, find, now, open};
use crate::cli::calendar::unknown;
use crate::cli::failure::{Failure, NOT_WELL};
use crate::cli::print;

#[derive(Serialize)]
struct Line {
    at: Option<i64>,
    local: String,
    utc: Option<String>,
    fires: bool,
    reason: Option<&'static str>,
    moved_from: Option<String>,
    run_at: Option<i64>,
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Next) -> Result<(), Failure> {
    let (plan, timetable, begin) = match (&verb.name, &verb.expression) {
        (Some(name), _) => of_schedule(&mut open(file).await?, name).await?,
        (None, Some(expression)) => of_expression(file, verb, expression).await?,
        (None, None) => unreachable!("the command line has one of the two"),
    };
    let definition = timetable.definition();
    let begin = match &verb.from {
        // A time at which it fires is among those from then on.
        Some(from) => UnixMillis(from.at(&definition.zone)?.0 - 1),
        None => begin,
    };
    if !verb.json {
        print::out(format!("{}\n", print::plain(&heading(&timetable))))?;
    }
    if let Some(start) = definition.starts_at.filter(|start| *start > begin) {
        print::note(&format!("starts_at: nothing fires before {}", definition.zone.local(start)));
    }
    if !plan.jitter.is_zero() {
        let most = span(i64::try_from(plan.jitter.as_millis()).unwrap_or(i64::MAX));
        print::note(&format!(
            "jitter: each request is fired up to {most} later than its time, as said behind it"
        ));
    }
    let entries = timetable.forecast(begin, usize::try_from(verb.count).unwrap_or(usize::MAX));
    let lines: Vec<_> = entries.iter().map(|entry| line(entry, &plan)).collect();
    if verb.json {
        let lines = lines.iter().map(print::json);
        print::out(lines.collect::<Result<String, Failure>>()?)?;
    } else {
        let rows: Vec<_> =
            entries.iter().zip(&lines).map(|(entry, line)| cells(entry, line, &plan)).collect();
        print::out(print::table(&["LOCAL", "UTC", ""], &rows))?;
    }
    if !entries.iter().any(|entry| fires(entry.fate)) {
        print::note("nothing fires, within 50 years");
    }
    Ok(())
}

async fn of_schedule(console: &mut Console, name: &str) -> Result<(Plan, Timetable, UnixMillis), Failure> {
    let schedule = find(console, name).await?;
    let begin = begin(&schedule, now());
    let row = &schedule.row;
    let timetable =
        schedule.timetable.map_err(|problem| Failure::new(NOT_WELL, format!("{name}: {problem}")))?;
    let plan = schedule.plan.map_err(|problem| Failure::new(NOT_WELL, format!("{name}: {problem}")))?;
    if row.int("active") != Some(1) {
        print::note(&format!("{name} has left the configuration: it does not fire until it is there again"));
    } else if row.int("paused") == Some(1) {
        let why = row.text("paused_reason").map(|reason| format!(" ({reason})")).unwrap_or_default();
        print::note(&format!(
            "{name} is paused{why}: it does not fire until `triggerd schedule resume {name}`"
        ));
    }
    Ok((plan, timetable, begin))
}

async fn of_expression(
    file: Option<&Path>,
    verb: &super::Next,
    expression: &str,
) -> Result<(Plan, Timetable, UnixMillis), Failure> {
    let now = now();
    let zone = verb.zone.as_deref().unwrap_or_default();
    let mut plan = Plan::new("expression", "", expression, zone);
    plan.on_excluded = verb.on_excluded.unwrap_or(plan.on_excluded);
    plan.dst_gap = verb.dst_gap.unwrap_or(plan.dst_gap);
    plan.dst_overlap = verb.dst_overlap.unwrap_or(plan.dst_overlap);
    let calendar = match &verb.calendar {
        Some(name) => Some(Arc::new(calendar(&mut open(file).await?, name).await?)),
        None => None,
    };
    let refused = |problem| Failure::new(NOT_WELL, problem);
    let mut timetable = plan.timetable(calendar.clone(), now).map_err(refused)?;
    if let Some(from) = &verb.from {
        // As if it had been inserted then, from where @every counts.
        let from = from.at(&timetable.definition().zone)?;
        timetable = plan.timetable(calendar, from).map_err(refused)?;
    }
    Ok((plan, timetable, now))
}

async fn calendar(console: &mut Console, name: &str) -> Result<Calendar, Failure> {
    match console.calendar(name).await? {
        Some(calendar) => calendar
            .meaning
            .map_err(|problem| Failure::new(NOT_WELL, format!("calendar {name} cannot be used: {problem}"))),
        None => Err(unknown(console, name).await?),
    }
}

/// The dialect, the words, and whose clock.
fn heading(timetable: &Timetable) -> String {
    let definition = timetable.definition();
    let mut text = format!("{}; {}", definition.expression.describe(), definition.zone.name());
    if let Some(calendar) = &definition.calendar {
        text.push_str(&format!("; without the dates of {} ({})", calendar.name, definition.on_excluded));
    }
    text
}

const fn fires(fate: Fate) -> bool {
    !matches!(fate, Fate::LeftOut(_))
}

fn line(entry: &Entry, plan: &Plan) -> Line {
    let (reason, moved_from) = match entry.fate {
        Fate::Fires => (None, None),
        Fate::MovedFrom(date) => (None, Some(date.to_string())),
        Fate::LeftOut(reason) => (Some(reason.as_str()), None),
    };
    let fires = fires(entry.fate);
    Line {
        at: entry.at.map(|at| at.0),
        local: entry.local.clone(),
        utc: entry.at.map(utc),
        fires,
        reason,
        moved_from,
        run_at: entry.at.filter(|_| fires).map(|at| plan.run_at(at).0),
    }
}

fn utc(at: UnixMillis) -> String {
    Zone::utc().local(at).datetime.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn cells(entry: &Entry, line: &Line, plan: &Plan) -> Vec<String> {
    let later = match (entry.at, line.run_at) {
        (Some(at), Some(run_at)) if run_at > at.0 => Some(format!("fired {} later", span(run_at - at.0))),
        _ => None,
    };
    let said = match entry.fate {
        Fate::Fires => None,
        Fate::MovedFrom(date) => Some(format!("moved from {date}")),
        Fate::LeftOut(Reason::Calendar) => {
            Some(format!("left out: calendar {}", plan.calendar.as_deref().unwrap_or_default()))
        }
        Fate::LeftOut(Reason::DstGap) => Some("left out: the clock jumps over it".to_owned()),
        Fate::LeftOut(Reason::DstOverlap) => Some("left out: the clock shows it a second time".to_owned()),
        Fate::LeftOut(Reason::Ended) => Some("left out: ends_at has passed".to_owned()),
    };
    let said: Vec<_> = [said, later].into_iter().flatten().collect();
    let utc = line.utc.clone().unwrap_or_else(|| "-".to_owned());
    vec![entry.local.clone(), utc, print::plain(&said.join("; "))]
}
