//! The local times of an expression, found by two crates.
//!
//! Both are asked about a calendar without a zone only: a local time goes in as if it were UTC, and another one
//! comes out. What a change of the clock makes of it is decided elsewhere. Neither reads a text as a person wrote
//! it: they get the numbers that `field` made.
//!
//! `cron` (0.17) answers for what it is right about: Quartz texts without L, W and #, up to its last year, 2100. Given
//! a zone it would skip a daily 02:30 where the clock goes forward, run it twice where it goes back, and give instants
//! out of order there; given a text it would refuse five fields, 0 and ranges that wrap around, and count weekdays
//! from 1 in all.
//!
//! `croner` (4.0) answers for the rest: L, W and # are not known to `cron`, nor is that either of two day fields is
//! enough, as POSIX has it, nor a year after 2100. Given a text it would take no `5/20`; given a date that never
//! comes it searches to the year 5000 (61 ms for February 30th), so that those are refused before.
//!
//! `L-3` is known to neither: the days of a month are counted here, below every other field. Nor are the words of
//! `croner` used for people: it calls LW the last day of the month, and `0-30/15` every 15 minutes.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use jiff::civil::{Date, Weekday};

use super::expression::{Dialect, Fields, Problem};
use super::field::{Field, Item};
use super::zone::Wall;

/// The last year of `cron`.
const LAST_YEAR_OF_CRON: u16 = 2100;
/// `L-30` has at most a year without such a month between two with one, but a step may be long.
const MOST_MONTHS: usize = 12 * 250;

/// A pattern of local times.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// Where it is right.
    cron: Option<cron::Schedule>,
    croner: croner::Cron,
    /// `L-3`: a condition on top of what the two say.
    from_last: Option<FromLast>,
    /// The last year that is named.
    last_year: i16,
}

#[derive(Clone, Copy, Debug)]
struct FromLast {
    back: u16,
    nearest: bool,
}

impl Pattern {
    /// From checked fields.
    ///
    /// # Errors
    /// If its times never come.
    pub(super) fn new(fields: &Fields) -> Result<Self, Problem> {
        let from_last = match fields.day.items() {
            [Item::Last { back, nearest }] if *back > 0 => Some(FromLast { back: *back, nearest: *nearest }),
            _ => None,
        };
        let day = if from_last.is_some() { &Field::All } else { &fields.day };
        let text = |plus, last_year| {
            Some(format!(
                "{} {} {} {} {} {} {}",
                fields.second.canonical(0, u16::MAX)?,
                fields.minute.canonical(0, u16::MAX)?,
                fields.hour.canonical(0, u16::MAX)?,
                day.canonical(0, u16::MAX)?,
                fields.month.canonical(0, u16::MAX)?,
                fields.weekday.canonical(plus, u16::MAX)?,
                fields.year.canonical(0, last_year)?
            ))
        };
        let confused = |wrong: String| Problem::new("expression", wrong, "please report it");
        let croner = text(0, u16::MAX).ok_or_else(|| confused("it cannot be said in numbers".to_owned()))?;
        let croner = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Required)
            .year(croner::parser::Year::Required)
            .build()
            .parse(&croner)
            .map_err(|error| confused(error.to_string()))?;
        let plain = |field: &Field| field.items().iter().all(|item| matches!(item, Item::Span { .. }));
        let cron = match text(1, LAST_YEAR_OF_CRON) {
            Some(text) if fields.dialect == Dialect::Quartz && plain(day) && plain(&fields.weekday) => {
                Some(cron::Schedule::from_str(&text).map_err(|error| confused(error.to_string()))?)
            }
            _ => None,
        };
        let last_year = fields.year.items().iter().map(|item| match *item {
            Item::Span { to, .. } => i16::try_from(to).unwrap_or(i16::MAX),
            _ => i16::MAX,
        });
        let pattern = Self { cron, croner, from_last, last_year: last_year.max().unwrap_or(i16::MAX) };
        match pattern.next(Wall::FIRST) {
            Some(_) => Ok(pattern),
            None => Err(Problem::new("expression", "no date is all of it", "name a day that comes")),
        }
    }

    /// The first of its times after this one.
    pub(super) fn next(&self, mut after: Wall) -> Option<Wall> {
        let Some(from_last) = self.from_last else { return self.next_plain(after) };
        for _ in 0..MOST_MONTHS {
            let found = self.next_plain(after)?;
            let date = found.date();
            after = match from_last.day(date) {
                Some(day) if day == date => return Some(found),
                Some(day) if day > date => Wall::before(day),
                _ => Wall::before(date.last_of_month().saturating_add(jiff::Span::new().days(1))),
            };
        }
        None
    }

    fn next_plain(&self, after: Wall) -> Option<Wall> {
        if after.date().year() > self.last_year {
            return None;
        }
        let from = DateTime::<Utc>::from_timestamp(after.0, 0)?;
        let found = match self.cron.as_ref().and_then(|cron| cron.after(&from).next()) {
            Some(found) => found,
            None => self.croner.find_next_occurrence(&from, false).ok()?,
        };
        Some(Wall(found.timestamp()))
    }
}

impl FromLast {
    /// Its day in the month of this date.
    fn day(self, date: Date) -> Option<Date> {
        let last = date.last_of_month();
        let day = last.day() - i8::try_from(self.back).ok()?;
        let day = Date::new(date.year(), date.month(), day).ok()?;
        let moved = match day.weekday() {
            _ if !self.nearest => 0,
            Weekday::Saturday if day.day() == 1 => 2,
            Weekday::Saturday => -1,
            Weekday::Sunday if day == last => -2,
            Weekday::Sunday => 1,
            _ => 0,
        };
        day.checked_add(jiff::Span::new().days(moved)).ok()
    }
}
