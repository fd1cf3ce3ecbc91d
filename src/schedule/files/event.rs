//! An event of a calendar, as far as it matters which days it has.

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::line::Line;
use super::rule::Rule;
use super::{MOST_DATES, quoted};

/// One `VEVENT`.
pub(super) struct Event {
    pub(super) line: usize,
    pub(super) uid: Option<String>,
    pub(super) cancelled: bool,
    /// Which occurrence of the event of the same UID it stands for.
    pub(super) replaces: Option<(usize, Result<Date, String>)>,
    /// None if it has a time of day.
    pub(super) days: Option<Days>,
}

pub(super) struct Days {
    pub(super) start: Date,
    /// At least one.
    pub(super) length: i64,
    pub(super) rules: Vec<(usize, Rule)>,
    pub(super) more: BTreeSet<Date>,
    pub(super) except: BTreeSet<Date>,
}

impl Event {
    /// Reads it: the properties of a `VEVENT` that begins in this line.
    pub(super) fn new(line: usize, properties: &[Line]) -> Result<Self, Vec<(usize, String)>> {
        let find = |name: &str| properties.iter().find(|line| line.name == name);
        let cancelled = find("STATUS").is_some_and(|status| status.says("CANCELLED"));
        let all_day = find("X-MICROSOFT-CDO-ALLDAYEVENT").is_some_and(|flag| flag.says("TRUE"));
        let replaced = find("RECURRENCE-ID");
        let mut problems = Vec::new();
        if let Some(second) = properties.iter().filter(|line| line.name == "DTSTART").nth(1) {
            problems.push((second.number, "DTSTART is there twice".to_owned()));
        }
        if let Some(id) = replaced.filter(|id| id.parameter("RANGE").is_some()) {
            let problem = "RECURRENCE-ID stands for several occurrences (RANGE), which is not read";
            problems.push((id.number, problem.to_owned()));
        }
        let replaces = replaced.map(|id| (id.number, When::of(id).and_then(When::day)));
        let start = match find("DTSTART") {
            _ if cancelled => None,
            None => {
                problems.push((line, "begins an event without DTSTART".to_owned()));
                None
            }
            Some(start) => match When::of(start) {
                Ok(When::Day(day)) => Some(day),
                // Outlook writes some of its all-day events so.
                Ok(When::Midnight { day, local: true }) if all_day => Some(day),
                Ok(_) => None,
                Err(problem) => {
                    problems.push((start.number, format!("DTSTART {problem}")));
                    None
                }
            },
        };
        let days = start.map(|start| Days::new(start, properties, &mut problems));
        if !problems.is_empty() {
            return Err(problems);
        }
        let uid = find("UID").map(|uid| uid.value.trim().to_owned());
        Ok(Self { line, uid, cancelled, replaces, days })
    }
}

impl Days {
    fn new(start: Date, properties: &[Line], problems: &mut Vec<(usize, String)>) -> Self {
        let mut days =
            Self { start, length: 1, rules: Vec::new(), more: BTreeSet::new(), except: BTreeSet::new() };
        for property in properties {
            let result = match property.name.as_str() {
                "DTEND" => days_until(start, property).and_then(|length| days.last(length)),
                "DURATION" => duration_days(&property.value).and_then(|length| days.last(length)),
                "RRULE" => Rule::parse(&property.value).map(|rule| days.rules.push((property.number, rule))),
                "RDATE" => each_day(property, &mut days.more),
                "EXDATE" => each_day(property, &mut days.except),
                "EXRULE" => Err("is not read: write the exceptions as EXDATE".to_owned()),
                _ => Ok(()),
            };
            if let Err(problem) = result {
                problems.push((property.number, format!("{} {problem}", property.name)));
            }
        }
        let mut ends = properties.iter().filter(|line| matches!(line.name.as_str(), "DTEND" | "DURATION"));
        if let Some(second) = ends.nth(1) {
            problems.push((second.number, format!("{} is a second end of the event", second.name)));
        }
        days
    }

    fn last(&mut self, days: i64) -> Result<(), String> {
        if days < 0 {
            return Err("is before the start".to_owned());
        }
        if usize::try_from(days).is_ok_and(|days| days > MOST_DATES) {
            return Err(format!("makes the event {days} days long: at most {MOST_DATES}"));
        }
        // An end on the day of the start is a common slip for the day after.
        self.length = days.max(1);
        Ok(())
    }
}

/// The value of a date property.
#[derive(Clone, Copy)]
enum When {
    Day(Date),
    /// The beginning of a day, which some programs write for it; not local is in UTC.
    Midnight {
        day: Date,
        local: bool,
    },
    Time,
}

impl When {
    fn of(line: &Line) -> Result<Self, String> {
        Self::one_of(line, &line.value)
    }

    /// One value of several that the line has.
    fn one_of(line: &Line, value: &str) -> Result<Self, String> {
        let when = Self::parse(value.trim())
            .ok_or_else(|| format!("{} is not a date as YYYYMMDD", quoted(value)))?;
        let for_days = line.parameter("VALUE").is_some_and(|value| value.eq_ignore_ascii_case("DATE"));
        match when {
            Self::Midnight { day, .. } if for_days => Ok(Self::Day(day)),
            Self::Time if for_days => Err("has a time of day, against its VALUE=DATE".to_owned()),
            when => Ok(when),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (day, time) = text.split_once(['T', 't']).map_or((text, None), |(day, time)| (day, Some(time)));
        let digits =
            |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(day, 8) {
            return None;
        }
        let day = Date::new(day[..4].parse().ok()?, day[4..6].parse().ok()?, day[6..].parse().ok()?).ok()?;
        let Some(time) = time else { return Some(Self::Day(day)) };
        let clock = time.strip_suffix(['Z', 'z']).unwrap_or(time);
        match clock {
            "000000" => Some(Self::Midnight { day, local: clock.len() == time.len() }),
            _ => digits(clock, 6).then_some(Self::Time),
        }
    }

    fn day(self) -> Result<Date, String> {
        match self {
            Self::Day(day) | Self::Midnight { day, .. } => Ok(day),
            Self::Time => Err("has a time of day, which its event has not".to_owned()),
        }
    }
}

fn days_until(start: Date, end: &Line) -> Result<i64, String> {
    Ok(When::of(end)?.day()?.duration_since(start).as_hours() / 24)
}

/// A list of dates: of an `RDATE` or `EXDATE`.
fn each_day(line: &Line, into: &mut BTreeSet<Date>) -> Result<(), String> {
    for value in line.value.split(',') {
        if value.contains('/') {
            return Err(format!("{} is a period, which is not read", quoted(value)));
        }
        into.insert(When::one_of(line, value)?.day()?);
    }
    Ok(())
}

/// The days of a `DURATION`: `P3D`, `P2W`, `PT24H`.
fn duration_days(text: &str) -> Result<i64, String> {
    let wrong = || format!("{} is not a number of days, such as P3D", quoted(text));
    let rest = text.trim().trim_start_matches('+').strip_prefix(['P', 'p']).ok_or_else(wrong)?;
    let (mut seconds, mut number, mut in_time) = (0_i64, None, false);
    for c in rest.chars() {
        if let Some(digit) = c.to_digit(10) {
            let tens = number.unwrap_or(0_i64).checked_mul(10);
            number = Some(tens.and_then(|tens| tens.checked_add(digit.into())).ok_or_else(wrong)?);
            continue;
        }
        let unit = match (c.to_ascii_uppercase(), in_time) {
            ('T', false) if number.is_none() => {
                in_time = true;
                continue;
            }
            ('W', false) => 7 * 86_400,
            ('D', false) => 86_400,
            ('H', true) => 3600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return Err(wrong()),
        };
        let more = number.take().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)?;
        seconds = seconds.checked_add(more).ok_or_else(wrong)?;
    }
    let whole = number.is_none() && rest.len() > 1 && seconds % 86_400 == 0;
    if whole { Ok(seconds / 86_400) } else { Err(wrong()) }
}
