//! iCalendar (RFC 5545): each all-day event excludes its days.
//!
//! Events with a time of day are appointments, not holidays. Whether an event makes its owner busy (`TRANSP`) does not
//! matter: holiday calendars seldom say so.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use jiff::SignedDuration;
use jiff::civil::Date;

use super::event::{Days, Event};
use super::line::{Line, lines};
use super::{MOST_DATES, Remarks, quoted};

/// What all rules may be followed through together, so that no file keeps us busy for minutes: a thousand events that
/// repeat since 1900.
const MOST_DAYS_FOLLOWED: i64 = 50_000_000;

pub(super) fn read(
    text: &[u8],
    horizon: &RangeInclusive<Date>,
    problems: &mut Remarks,
    notes: &mut Remarks,
) -> BTreeSet<Date> {
    let mut events: Vec<Event> = Vec::new();
    for (begin, properties) in properties(text, problems) {
        match Event::new(begin, &properties) {
            Ok(event) => events.push(event),
            Err(found) => found.into_iter().for_each(|(line, problem)| problems.add(line, problem)),
        }
    }
    let cancelled = events.iter().filter(|event| event.cancelled);
    not_taken("cancelled", cancelled, notes);
    let timed = events.iter().filter(|event| !event.cancelled && event.days.is_none());
    not_taken("with a time of day", timed, notes);
    Expansion {
        horizon,
        replaced: replaced(&events, problems),
        dates: BTreeSet::new(),
        followed: 0,
        goes_on: false,
    }
    .of(&events, problems, notes)
}

fn not_taken<'a>(kind: &str, mut events: impl Iterator<Item = &'a Event>, notes: &mut Remarks) {
    if let Some(first) = events.next() {
        let count = 1 + events.count();
        notes.add(0, format!("events {kind} are not taken: {count}, the first in line {}", first.line));
    }
}

/// The properties of each event, with the line in which it begins. What stands inside it (alarms) is not its own.
fn properties(text: &[u8], problems: &mut Remarks) -> Vec<(usize, Vec<Line>)> {
    let mut events = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    for line in lines(text) {
        let line = match line {
            Ok(line) => line,
            Err((number, text)) => {
                problems.add(number, format!("{} is not a property: NAME:VALUE", quoted(&text)));
                continue;
            }
        };
        let component = line.value.trim().to_ascii_uppercase();
        let depth = open.len();
        let in_event = depth == 2 && open[1].1 == "VEVENT";
        match line.name.as_str() {
            "BEGIN" if depth == 0 && component != "VCALENDAR" => {
                problems.add(line.number, format!("begins {} outside VCALENDAR", quoted(&component)));
                return events;
            }
            "BEGIN" => {
                if depth == 1 && component == "VEVENT" {
                    events.push((line.number, Vec::new()));
                }
                open.push((line.number, component));
            }
            "END" => {
                if open.pop().is_none_or(|(_, begun)| begun != component) {
                    problems.add(line.number, format!("ends {}, which is not open", quoted(&component)));
                    return events;
                }
            }
            _ if depth == 0 => {
                problems.add(line.number, "is outside BEGIN:VCALENDAR and END:VCALENDAR".to_owned());
                return events;
            }
            "VERSION" if depth == 1 && !line.says("2.0") => {
                problems.add(line.number, format!("is of version {}: only 2.0 is read", quoted(&line.value)));
            }
            "CALSCALE" if depth == 1 && !line.says("GREGORIAN") => {
                problems.add(line.number, "is for another calendar than the Gregorian (CALSCALE)".to_owned());
            }
            "METHOD" if depth == 1 && line.says("CANCEL") => {
                problems.add(line.number, "cancels events of another file (METHOD:CANCEL)".to_owned());
            }
            _ => {
                if let Some((_, properties)) = events.last_mut().filter(|_| in_event) {
                    properties.push(line);
                }
            }
        }
    }
    for (line, component) in open {
        problems.add(line, format!("begins {}, and the file ends before its END", quoted(&component)));
    }
    events
}

/// Which occurrences have an event of their own instead, by UID.
fn replaced<'a>(events: &'a [Event], problems: &mut Remarks) -> BTreeMap<&'a str, BTreeSet<Date>> {
    let series = events.iter().filter(|event| event.days.is_some() && event.replaces.is_none());
    let series: BTreeSet<_> = series.filter_map(|event| event.uid.as_deref()).collect();
    let mut replaced: BTreeMap<&str, BTreeSet<Date>> = BTreeMap::new();
    for event in events {
        let (Some((line, day)), Some(uid)) = (&event.replaces, event.uid.as_deref()) else { continue };
        match day {
            _ if !series.contains(uid) => {}
            Ok(day) => {
                replaced.entry(uid).or_default().insert(*day);
            }
            Err(problem) => problems.add(*line, format!("RECURRENCE-ID {problem}")),
        }
    }
    replaced
}

/// The days of all events, as they come together.
struct Expansion<'a> {
    horizon: &'a RangeInclusive<Date>,
    replaced: BTreeMap<&'a str, BTreeSet<Date>>,
    dates: BTreeSet<Date>,
    followed: i64,
    goes_on: bool,
}

impl<'a> Expansion<'a> {
    fn of(mut self, events: &'a [Event], problems: &mut Remarks, notes: &mut Remarks) -> BTreeSet<Date> {
        let too_much = "from here on the events repeat too often, or since too long ago";
        let days = |event: &'a Event| event.days.as_ref().map(|days| (event, days));
        // Before any is followed.
        for (event, days) in events.iter().filter_map(days) {
            if !days.rules.iter().all(|_| self.follow(days.start, *self.horizon.end())) {
                problems.add(event.line, too_much.to_owned());
                return self.dates;
            }
        }
        for (event, days) in events.iter().filter_map(days) {
            if !self.add(event, days, notes) {
                problems.add(event.line, too_much.to_owned());
            }
            if !problems.is_empty() || self.dates.len() > MOST_DATES {
                return self.dates;
            }
        }
        if self.goes_on {
            let (from, to) = (self.horizon.start(), self.horizon.end());
            let note =
                format!("events that repeat are taken from {from} to {to}: read the file again before then");
            notes.add(0, note);
        }
        self.dates
    }

    /// False if that is more than all may have.
    fn add(&mut self, event: &Event, days: &Days, notes: &mut Remarks) -> bool {
        let everything = Date::MIN..=Date::MAX;
        let within = if days.rules.is_empty() { &everything } else { self.horizon };
        let rest = SignedDuration::from_hours(24 * (days.length - 1));

        let mut starts: BTreeSet<_> = days.more.iter().copied().chain([days.start]).collect();
        for (line, rule) in &days.rules {
            let found = rule.days(days.start, *within.end());
            self.goes_on |= found.goes_on;
            if found.days.first().is_some_and(|first| *first != days.start) {
                let start = days.start;
                notes.add(
                    *line,
                    format!("the rule does not name {start}, on which its event begins: that day counts"),
                );
            }
            let earliest = within.start().saturating_sub(rest);
            starts.extend(found.days.into_iter().filter(|day| *day >= earliest));
        }
        // What stands for an occurrence is an occurrence, and has none itself.
        let replaced = event.uid.as_deref().and_then(|uid| self.replaced.get(uid));
        let replaced = replaced.filter(|_| event.replaces.is_none());
        starts.retain(|day| !days.except.contains(day) && !replaced.is_some_and(|days| days.contains(day)));

        // Occurrences may overlap.
        let mut free = *within.start();
        for start in starts {
            let last = start.saturating_add(rest).min(*within.end());
            if !self.follow(free.max(start), last) {
                return false;
            }
            while free.max(start) <= last && self.dates.len() <= MOST_DATES {
                let day = free.max(start);
                self.dates.insert(day);
                let Ok(next) = day.tomorrow() else { break };
                free = next;
            }
        }
        true
    }

    fn follow(&mut self, from: Date, to: Date) -> bool {
        self.followed += whole_days(from, to).max(0);
        self.followed <= MOST_DAYS_FOLLOWED
    }
}

fn whole_days(from: Date, to: Date) -> i64 {
    to.duration_since(from).as_hours() / 24
}

#[cfg(test)]
mod tests;
