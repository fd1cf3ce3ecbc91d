//! Rows of `schedules`, `calendars` and `calendar_dates` as what they mean.
//!
//! As with requests, no row is believed: whoever may write the file may switch the schema's checks off, so each column
//! is looked at, with its type. What is wrong is one line, `column: rule`, fit for the column `problem`.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;

use super::arguments_problem;
use super::console::{Cell, Record};
use crate::clock::UnixMillis;
use crate::schedule::{Calendar, Plan, Zone, named};

/// What is wrong with a row.
pub type Problem = String;

/// A row of `schedules`, with all columns that say what it is to do.
///
/// # Errors
///
/// The first column that is wrong. Expression and zone are judged by [`Plan::timetable`].
pub fn plan(row: &Record) -> Result<Plan, Problem> {
    let arguments = required(row, "arguments")?;
    if let Some(problem) = arguments_problem(arguments) {
        return Err(format!("arguments: {problem}"));
    }
    let name = name(row, "name")?;
    let mut plan = Plan::new(
        name,
        required(row, "trigger_name")?,
        required(row, "expression")?,
        required(row, "time_zone")?,
    );
    arguments.clone_into(&mut plan.arguments);
    plan.call_mode = text(row, "call_mode")?.map(|mode| parse("call_mode", mode)).transpose()?;
    plan.priority = within(row, "priority", -100, 100)?;
    plan.calendar = text(row, "calendar")?.map(str::to_owned);
    plan.on_excluded = parse("on_excluded", required(row, "on_excluded")?)?;
    plan.starts_at = time(row, "starts_at")?;
    plan.ends_at = time(row, "ends_at")?;
    plan.overlap = parse("overlap", required(row, "overlap")?)?;
    plan.misfire = parse("misfire", required(row, "misfire")?)?;
    plan.catch_up_window = span(row, "catch_up_window", i64::MAX)?;
    plan.max_catch_up = count(row, "max_catch_up", 10_000)?;
    plan.dst_gap = parse("dst_gap", required(row, "dst_gap")?)?;
    plan.dst_overlap = parse("dst_overlap", required(row, "dst_overlap")?)?;
    plan.jitter = span(row, "jitter", 24 * 3_600_000)?;
    plan.disable_after_launches = optional_count(row, "disable_after_launches")?;
    plan.disable_after_faults = optional_count(row, "disable_after_faults")?;
    plan.disable_grace = span(row, "disable_grace", i64::MAX)?;
    // For people only: nothing hangs on it.
    plan.description = text(row, "description").ok().flatten().map(str::to_owned);
    Ok(plan)
}

/// From where `@every` of this row of `schedules` counts, if nothing else says so.
///
/// # Errors
///
/// If `created_at` is no time.
pub fn created_at(row: &Record) -> Result<UnixMillis, Problem> {
    time(row, "created_at")?.ok_or_else(|| "created_at: is missing".to_owned())
}

/// A row of `calendars` with its dates, each a record with `excluded_date`.
///
/// # Errors
///
/// The first that is wrong. A calendar that is not understood whole is not used: a day that is left out of it would be a
/// working day.
pub fn calendar(row: &Record, dates: &[Record]) -> Result<Calendar, Problem> {
    let zone = text(row, "time_zone")?.map(Zone::parse).transpose();
    Ok(Calendar {
        name: name(row, "name")?.to_owned(),
        zone: zone.map_err(|problem| named("time_zone", &problem))?,
        dates: dates.iter().map(date).collect::<Result<_, _>>()?,
    })
}

fn date(row: &Record) -> Result<Date, Problem> {
    let text = required(row, "excluded_date")?;
    let date: Option<Date> = text.parse().ok();
    // One spelling, so that a date is not in it twice.
    date.filter(|date| date.to_string() == text)
        .ok_or_else(|| format!("excluded_date: {:?} is not a date, YYYY-MM-DD", short(text)))
}

fn text<'r>(row: &'r Record, column: &str) -> Result<Option<&'r str>, Problem> {
    match row.get(column) {
        Cell::Null => Ok(None),
        Cell::Text(text) if text.contains('\0') => Err(format!("{column}: has a NUL character")),
        Cell::Text(text) => Ok(Some(text)),
        Cell::Bytes(_) => Err(format!("{column}: is not TEXT in UTF-8")),
        Cell::Int(_) | Cell::Real(_) => Err(format!("{column}: is not TEXT")),
    }
}

fn required<'r>(row: &'r Record, column: &str) -> Result<&'r str, Problem> {
    text(row, column)?.ok_or_else(|| format!("{column}: is missing"))
}

fn name<'r>(row: &'r Record, column: &str) -> Result<&'r str, Problem> {
    let name = required(row, column)?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    if (1..=150).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(name);
    }
    Err(format!("{column}: must be 1 to 150 of a-z, 0-9, _ and -"))
}

fn parse<T: FromStr<Err: Display>>(column: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|problem| format!("{column}: {problem}"))
}

fn int(row: &Record, column: &str) -> Result<Option<i64>, Problem> {
    match row.get(column) {
        Cell::Null => Ok(None),
        Cell::Int(number) => Ok(Some(*number)),
        _ => Err(format!("{column}: is not an INTEGER")),
    }
}

fn within(row: &Record, column: &str, least: i64, most: i64) -> Result<i64, Problem> {
    let number = int(row, column)?.ok_or_else(|| format!("{column}: is missing"))?;
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(match most {
        i64::MAX => format!("{column}: must be {least} or more"),
        _ => format!("{column}: must be {least} to {most}"),
    })
}

fn span(row: &Record, column: &str, most: i64) -> Result<Duration, Problem> {
    let millis = within(row, column, 0, most)?;
    Ok(Duration::from_millis(u64::try_from(millis).expect("it is not negative")))
}

fn count(row: &Record, column: &str, most: i64) -> Result<u32, Problem> {
    within(row, column, 1, most).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

fn optional_count(row: &Record, column: &str) -> Result<Option<u32>, Problem> {
    int(row, column)?.map(|_| count(row, column, i64::MAX)).transpose()
}

/// As the schema has it: 13 digits.
fn time(row: &Record, column: &str) -> Result<Option<UnixMillis>, Problem> {
    match int(row, column)? {
        None => Ok(None),
        Some(ms) if (1_000_000_000_000..10_000_000_000_000).contains(&ms) => Ok(Some(UnixMillis(ms))),
        Some(_) => Err(format!("{column}: is not a time in Unix milliseconds")),
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::CallMode;
    use crate::schedule::{OnExcluded, Overlap};

    const HOUR: i64 = 3_600_000;

    fn row(change: Option<(&str, Cell)>) -> Record {
        let text = |text: &str| Cell::Text(text.to_owned());
        let mut cells = vec![
            ("name", text("s")),
            ("trigger_name", text("t")),
            ("arguments", text("{\"a\":1}")),
            ("call_mode", Cell::Null),
            ("priority", Cell::Int(0)),
            ("expression", text("0 7 * * *")),
            ("time_zone", text("UTC")),
            ("calendar", Cell::Null),
            ("on_excluded", text("skip")),
            ("starts_at", Cell::Null),
            ("ends_at", Cell::Null),
            ("overlap", text("skip")),
            ("misfire", text("run_once")),
            ("catch_up_window", Cell::Int(HOUR)),
            ("max_catch_up", Cell::Int(100)),
            ("dst_gap", text("run_after")),
            ("dst_overlap", text("first")),
            ("jitter", Cell::Int(0)),
            ("disable_after_launches", Cell::Null),
            ("disable_after_faults", Cell::Null),
            ("disable_grace", Cell::Int(24 * HOUR)),
            ("description", Cell::Null),
            ("created_at", Cell::Int(1_700_000_000_000)),
        ];
        if let Some((column, cell)) = change {
            cells.iter_mut().find(|(name, _)| *name == column).unwrap().1 = cell;
        }
        Record(cells.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect())
    }

    #[test]
    fn a_row_with_the_defaults_is_a_plan_with_the_defaults() {
        let expected = Plan { arguments: "{\"a\":1}".to_owned(), ..Plan::new("s", "t", "0 7 * * *", "UTC") };
        assert_eq!(plan(&row(None)), Ok(expected));
        assert_eq!(created_at(&row(None)), Ok(UnixMillis(1_700_000_000_000)));
    }

    #[test]
    fn each_column_becomes_its_part() {
        let with = |column: &str, cell| plan(&row(Some((column, cell)))).unwrap();
        let text = |text: &str| Cell::Text(text.to_owned());
        assert_eq!(with("call_mode", text("LongPolling")).call_mode, Some(CallMode::LongPolling));
        assert_eq!(with("overlap", text("queue_all")).overlap, Overlap::QueueAll);
        assert_eq!(with("on_excluded", text("next_working_day")).on_excluded, OnExcluded::NextWorkingDay);
        assert_eq!(with("jitter", Cell::Int(1500)).jitter, Duration::from_millis(1500));
        assert_eq!(with("disable_after_faults", Cell::Int(3)).disable_after_faults, Some(3));
        assert_eq!(
            with("ends_at", Cell::Int(1_800_000_000_000)).ends_at,
            Some(UnixMillis(1_800_000_000_000))
        );
        assert_eq!(with("calendar", text("holidays")).calendar.as_deref(), Some("holidays"));
        assert_eq!(with("description", Cell::Bytes(vec![0xff])).description, None);
    }

    #[test]
    fn no_column_of_any_type_is_believed() {
        let odd = [
            Cell::Int(-1),
            Cell::Int(i64::MAX),
            Cell::Real(0.5),
            Cell::Text("\0".to_owned()),
            Cell::Text("7".to_owned()),
            Cell::Bytes(vec![0xff]),
            Cell::Null,
        ];
        for (column, _) in row(None).0 {
            let mut wrong = 0;
            for cell in &odd {
                let changed = row(Some((&column, cell.clone())));
                let problem = match plan(&changed) {
                    Ok(plan) => {
                        plan.timetable(None, UnixMillis(0)).err().or_else(|| created_at(&changed).err())
                    }
                    Err(problem) => Some(problem),
                };
                if let Some(problem) = problem {
                    assert!(problem.starts_with(&format!("{column}: ")), "{column} {cell:?}: {problem}");
                    wrong += 1;
                }
            }
            assert!(wrong >= 3 || column == "description", "{column}: {wrong}");
        }
        assert_eq!(
            plan(&row(Some(("overlap", Cell::Text("wait".to_owned()))))).unwrap_err(),
            "overlap: must be one of skip, queue_one, queue_all, allow, cancel_running"
        );
        assert_eq!(
            plan(&row(Some(("max_catch_up", Cell::Int(0))))).unwrap_err(),
            "max_catch_up: must be 1 to 10000"
        );
    }

    #[test]
    fn a_calendar_is_understood_whole_or_not_at_all() {
        let row = |zone: Cell| {
            Record(vec![
                ("name".to_owned(), Cell::Text("holidays".to_owned())),
                ("time_zone".to_owned(), zone),
            ])
        };
        let date = |text: &str| Record(vec![("excluded_date".to_owned(), Cell::Text(text.to_owned()))]);
        let whole = calendar(&row(Cell::Null), &[date("2026-12-25"), date("2026-12-26")]).unwrap();
        assert_eq!((whole.name.as_str(), whole.zone, whole.dates.len()), ("holidays", None, 2));
        for bad in ["20261225", "2026-12-32", "2026-12-25T00:00", "", "+002026-12-25", " 2026-12-25"] {
            let problem = calendar(&row(Cell::Null), &[date("2026-12-25"), date(bad)]).unwrap_err();
            assert!(problem.starts_with("excluded_date: ") && problem.contains("YYYY-MM-DD"), "{problem}");
        }
        let zone = calendar(&row(Cell::Text("CET".to_owned())), &[]).unwrap_err();
        assert!(zone.starts_with("time_zone: \"CET\" "), "{zone}");
    }
}
