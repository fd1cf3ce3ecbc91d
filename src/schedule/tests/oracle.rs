//! The same rules, read slowly: every minute of the wall clock is asked whether a text names it, with a reading of the
//! text that has nothing in common with the room's, and every instant is made from it one by one.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp};

use crate::clock::UnixMillis;
use crate::schedule::{Definition, Dialect, DstGap, DstOverlap, OnExcluded};

/// All fires of a definition whose nominal date is within these dates, in order.
///
/// Texts have one second only, or all of some step; no `@every`.
pub(super) fn fires(definition: &Definition, first: Date, last: Date) -> Vec<UnixMillis> {
    let zone = TimeZone::get(definition.zone.name()).unwrap();
    let text = definition.expression.to_string();
    let words: Vec<&str> = text.split(' ').collect();
    let quartz = definition.expression.dialect() == Dialect::Quartz;
    let (seconds, words) = if quartz { (words[0], &words[1..]) } else { ("0", &words[..]) };
    let named =
        |word: &str, max: i32| -> Vec<i32> { (0..=max).filter(|value| one(word, *value, max)).collect() };
    let (hours, minutes, seconds) = (named(words[1], 23), named(words[0], 59), named(seconds, 59));
    let mut fires = BTreeSet::new();
    let mut date = first;
    while date <= last {
        if day_matches(words, date, quartz) {
            for (hour, minute) in
                hours.iter().flat_map(|hour| minutes.iter().map(move |minute| (hour, minute)))
            {
                for second in &seconds {
                    fires.extend(instants(
                        definition,
                        &zone,
                        date.at(i8(*hour), i8(*minute), i8(*second), 0),
                    ));
                }
            }
        }
        date = date.saturating_add(Span::new().days(1));
    }
    fires.into_iter().filter(|at| !excluded(definition, &zone, *at)).collect()
}

/// The instants of one local time that a text names.
fn instants(definition: &Definition, zone: &TimeZone, local: DateTime) -> Vec<UnixMillis> {
    let mut local = local;
    if let Some(calendar) = &definition.calendar {
        assert!(calendar.zone.is_none(), "not known here");
        let days = match definition.on_excluded {
            _ if !calendar.dates.contains(&local.date()) => 0,
            OnExcluded::Skip => return Vec::new(),
            OnExcluded::NextWorkingDay => 1,
            OnExcluded::PreviousWorkingDay => -1,
        };
        let working = |date: Date| {
            !calendar.dates.contains(&date) && !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
        };
        let mut moves = 0;
        while days != 0 && (moves == 0 || !working(local.date())) {
            local = local.saturating_add(Span::new().days(days));
            moves += 1;
            if moves > 31 {
                return Vec::new();
            }
        }
    }
    let interval = definition.expression.is_interval();
    let at = |offset: jiff::tz::Offset| {
        let at = offset.to_timestamp(local).unwrap();
        UnixMillis(at.as_millisecond())
    };
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => vec![at(offset)],
        AmbiguousOffset::Fold { before, after } => {
            let both = interval || definition.dst_overlap == DstOverlap::Both;
            if both { vec![at(before), at(after)] } else { vec![at(before)] }
        }
        AmbiguousOffset::Gap { .. } if interval || definition.dst_gap == DstGap::Skip => Vec::new(),
        AmbiguousOffset::Gap { .. } => {
            // The first minute after it that the clock shows.
            let mut later = local;
            while matches!(zone.to_ambiguous_timestamp(later).offset(), AmbiguousOffset::Gap { .. }) {
                later = later.saturating_add(Span::new().seconds(1));
            }
            vec![UnixMillis(zone.to_timestamp(later).unwrap().as_millisecond())]
        }
    }
}

fn excluded(definition: &Definition, zone: &TimeZone, at: UnixMillis) -> bool {
    let date = zone.to_datetime(Timestamp::from_millisecond(at.0).unwrap()).date();
    definition.calendar.as_ref().is_some_and(|calendar| calendar.dates.contains(&date))
}

/// `words` from the minute on.
fn day_matches(words: &[&str], date: Date, quartz: bool) -> bool {
    let free = |word: &str| word == "*" || word == "?";
    if !free(words[3]) && !one(&names(words[3], 1), i32::from(date.month()), 12) {
        return false;
    }
    let day = || words[2].split(',').any(|part| day_of_month(part, date));
    let sunday = i32::from(quartz);
    let weekday = i32::from(date.weekday().to_sunday_zero_offset()) + sunday;
    let weekday = || {
        let word = names(words[4], sunday);
        word.split(',').any(|part| day_of_week(part, weekday, date, quartz))
    };
    match (free(words[2]), free(words[4])) {
        (true, true) => true,
        (false, true) => day(),
        (true, false) => weekday(),
        (false, false) => day() || weekday(),
    }
}

fn day_of_month(part: &str, date: Date) -> bool {
    let last = date.last_of_month();
    if let Some(day) = part.strip_suffix('W') {
        let target = if day == "L" { i32::from(last.day()) } else { day.parse().unwrap() };
        let Ok(target) = Date::new(date.year(), date.month(), i8(target)) else { return false };
        // The nearest day of the month on which people work.
        let distance = |day: &Date| (day.day() - target.day()).abs();
        let days = (1..=last.day()).map(|day| Date::new(date.year(), date.month(), day).unwrap());
        let working = days.filter(|day| !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday));
        return working.min_by_key(distance) == Some(date);
    }
    if let Some(back) = part.strip_prefix('L') {
        let back: i32 = back.strip_prefix('-').map_or(0, |back| back.parse().unwrap());
        return i32::from(date.day()) == i32::from(last.day()) - back;
    }
    one(part, i32::from(date.day()), 31)
}

fn day_of_week(part: &str, weekday: i32, date: Date, quartz: bool) -> bool {
    if part == "L" {
        return weekday == 7;
    }
    let sunday_too = |number: i32| number == weekday || !quartz && number == 7 && weekday == 0;
    if let Some((day, nth)) = part.split_once('#') {
        let nth: i32 = nth.parse().unwrap();
        return sunday_too(day.parse().unwrap()) && (i32::from(date.day()) - 1) / 7 + 1 == nth;
    }
    if let Some(day) = part.strip_suffix('L') {
        return sunday_too(day.parse().unwrap()) && date.day() + 7 > date.last_of_month().day();
    }
    one(part, weekday, if quartz { 7 } else { 6 })
        || !quartz && weekday == 0 && !part.starts_with('*') && one(part, 7, 7)
}

/// Whether a list of numbers, ranges and steps has a value.
fn one(list: &str, value: i32, max: i32) -> bool {
    let min = if max == 59 || max == 23 || max == 6 { 0 } else { 1 };
    list.split(',').any(|part| {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step = step.map(|step| step.parse::<i32>().unwrap());
        let number = |text: &str| text.parse::<i32>().unwrap();
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from), number(to)),
            None if range == "*" => (min, max),
            None => (number(range), if step.is_some() { max } else { number(range) }),
        };
        let step = step.unwrap_or(1);
        if from <= to {
            value >= from && value <= to && (value - from) % step == 0
        } else {
            // Quartz: over the end and on.
            let turn = max + 1 - min;
            let value = if value < from { value + turn } else { value };
            value <= to + turn && (value - from) % step == 0
        }
    })
}

/// Names to numbers.
fn names(word: &str, first: i32) -> String {
    let all: &[&str] = if word.contains("JAN") || word.contains("JUN") || word.contains("DEC") {
        &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    } else {
        &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
    };
    let numbers = all.iter().zip(first..);
    numbers.fold(word.to_owned(), |word, (name, number)| word.replace(name, &number.to_string()))
}

fn i8(number: i32) -> i8 {
    i8::try_from(number).unwrap()
}
