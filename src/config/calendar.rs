//! `[calendars.NAME]`: dates, written here or in a file beside the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use config::Value;
use jiff::civil::Date;

use super::section::{Section, list, text};
use crate::clock::UnixMillis;
use crate::schedule::files::{self, MOST_DATES};
use crate::schedule::{Calendar, CalendarPlan, Zone};

/// A longer name is refused by the tables.
pub(super) const LONGEST_NAME: usize = 150;

/// What was read of all calendars.
pub(super) struct Calendars {
    /// By name.
    pub(super) plans: Vec<CalendarPlan>,
    /// The same, as schedules use them.
    pub(super) known: BTreeMap<String, Arc<Calendar>>,
    pub(super) warnings: Vec<String>,
}

/// `folder` is the one of the configuration's file.
pub(super) fn read_all(section: Section<'_>, folder: &Path, now: UnixMillis) -> Calendars {
    let horizon = horizon(now);
    let mut calendars = Calendars { plans: Vec::new(), known: BTreeMap::new(), warnings: Vec::new() };
    for (name, section) in section.named() {
        let plan = read(&name, section, folder, &horizon, &mut calendars.warnings);
        // A zone that is none is a problem already.
        let zone = plan.time_zone.as_deref().and_then(|zone| Zone::parse(zone).ok());
        let calendar = Calendar { name: name.clone(), zone, dates: plan.dates.clone() };
        calendars.known.insert(name, Arc::new(calendar));
        calendars.plans.push(plan);
    }
    calendars
}

/// Whole years, so that the same file has the same dates each day: from the year before to the tenth one after this.
fn horizon(now: UnixMillis) -> RangeInclusive<Date> {
    let year = Zone::utc().local(now).datetime.year();
    Date::constant(year - 1, 1, 1)..=Date::constant(year + 10, 12, 31)
}

fn read(
    name: &str,
    mut section: Section<'_>,
    folder: &Path,
    horizon: &RangeInclusive<Date>,
    warnings: &mut Vec<String>,
) -> CalendarPlan {
    check_name(name, &section);
    let time_zone = section.take("time_zone", zone);
    let description = section.take("description", |value| text(value).map(str::to_owned));
    if !section.says("dates") && !section.says("file") {
        section.problem("dates", "is missing, and so is file: a calendar has one or both");
    }
    let mut dates = section.take("dates", dates).unwrap_or_default();
    if let Some(file) = section.take("file", |value| file(text(value)?)) {
        match of_file(&folder.join(&file), horizon) {
            Ok(read) => {
                dates.extend(read.dates);
                warnings
                    .extend(read.notes.iter().map(|note| format!("calendars.{name}.file: {file}: {note}")));
            }
            Err(problems) => {
                problems.iter().for_each(|problem| section.problem("file", &format!("{file}: {problem}")));
            }
        }
    }
    if dates.len() > MOST_DATES {
        section.problem("dates", &format!("has more than {MOST_DATES} dates, with those of file"));
    }
    section.finish();
    let time_zone = time_zone.map(|zone| zone.name().to_owned());
    CalendarPlan { name: name.to_owned(), time_zone, description, dates }
}

/// What the table of names does not know of.
pub(super) fn check_name(name: &str, section: &Section<'_>) {
    if name.len() > LONGEST_NAME {
        section.fault(&format!("a name has at most {LONGEST_NAME} characters"));
    }
}

pub(super) fn zone(value: &Value) -> Result<Zone, String> {
    let unknown = |error: crate::schedule::UnknownZone| error.to_string().replacen("time zone: ", "", 1);
    Zone::parse(text(value)?).map_err(unknown)
}

fn dates(value: &Value) -> Result<BTreeSet<Date>, String> {
    let each = |value: &Value| {
        let text = text(value)?;
        // The parser takes other spellings too.
        let date = text.parse::<Date>().ok().filter(|date| date.to_string() == text);
        date.ok_or_else(|| "must be a date that there is, such as 2026-12-25".to_owned())
    };
    let numbered = list(value)?.iter().enumerate();
    numbered.map(|(n, value)| each(value).map_err(|rule| format!("number {} {rule}", n + 1))).collect()
}

fn file(text: &str) -> Result<String, String> {
    match text {
        "" => Err("must be the path of a file, CSV or iCalendar".to_owned()),
        path => Ok(path.to_owned()),
    }
}

/// No more of a file than a calendar may have; a pipe would be waited for.
fn of_file(path: &Path, horizon: &RangeInclusive<Date>) -> Result<files::Read, Vec<String>> {
    let unreadable = |error: std::io::Error| {
        vec![format!("cannot be read: {error}: a relative path begins at the folder of the configuration")]
    };
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(vec!["is no file".to_owned()]);
    }
    let mut text = Vec::new();
    let most = u64::try_from(files::LARGEST_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut text)).map_err(unreadable)?;
    files::read(&text, None, horizon)
}
