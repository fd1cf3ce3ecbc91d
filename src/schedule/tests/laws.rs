//! What holds for every schedule, whatever it is made of.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{Span, Timestamp};
use proptest::prelude::*;

use super::{definition, fires, oracle};
use crate::clock::UnixMillis;
use crate::schedule::{Calendar, Definition, DstGap, DstOverlap, Expression, OnExcluded, Timetable};

/// Zones, and dates around which their clocks are changed or dates left out.
const CHANGES: [(&str, &[&str]); 10] = [
    ("Europe/Berlin", &["2026-03-29", "2026-10-25"]),
    ("America/New_York", &["2026-03-08", "2026-11-01"]),
    ("Australia/Lord_Howe", &["2026-04-05", "2026-10-04"]),
    ("America/Santiago", &["2026-04-04", "2026-09-06"]),
    ("Asia/Beirut", &["2026-03-29", "2026-10-24"]),
    ("America/Sao_Paulo", &["2018-02-17", "2018-11-04"]),
    ("Pacific/Apia", &["2011-09-24", "2011-12-30"]),
    ("Africa/Casablanca", &["2026-02-15", "2026-03-22"]),
    ("Asia/Kathmandu", &["2026-02-28", "1985-12-31"]),
    ("UTC", &["2028-02-29", "2026-12-31"]),
];

fn field(max: u32, min: u32) -> BoxedStrategy<String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        1 => (2..=max.min(20)).prop_map(|step| format!("*/{step}")),
        4 => prop::collection::vec(min..=max, 1..4).prop_map(|values| {
            values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
        }),
        2 => (min..=max, min..=max).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (min..=max, min..=max, 2..9u32).prop_map(|(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b))),
        1 => (min..=max, 2..9u32).prop_map(|(a, step)| format!("{a}/{step}")),
    ].boxed()
}

fn wrapping(max: u32, min: u32) -> BoxedStrategy<String> {
    prop_oneof![
        3 => field(max, min),
        1 => (min..=max, min..=max).prop_map(|(a, b)| format!("{a}-{b}")),
        1 => (min..=max, min..=max, 2..5u32).prop_map(|(a, b, step)| format!("{a}-{b}/{step}")),
    ]
    .boxed()
}

/// Few hours, and those at which clocks are changed.
fn hour() -> BoxedStrategy<String> {
    prop_oneof![
        4 => (0..5u32).prop_map(|hour| hour.to_string()),
        2 => (0..3u32, 0..4u32).prop_map(|(from, more)| format!("{from}-{}", from + more)),
        1 => Just("23".to_owned()),
        1 => Just("22-23".to_owned()),
        3 => field(23, 0),
    ]
    .boxed()
}

fn day() -> BoxedStrategy<String> {
    prop_oneof![
        5 => field(31, 1),
        1 => Just("L".to_owned()),
        1 => Just("LW".to_owned()),
        1 => (1..=31u32).prop_map(|day| format!("{day}W")),
    ]
    .boxed()
}

fn month() -> BoxedStrategy<String> {
    prop_oneof![6 => Just("*".to_owned()), 1 => field(12, 1), 1 => Just("MAR,OCT-DEC".to_owned())].boxed()
}

fn weekday(first: u32) -> BoxedStrategy<String> {
    prop_oneof![
        3 => field(first + 6, first),
        1 => Just("MON-FRI".to_owned()),
        1 => Just("sun,Wed".to_owned()),
        1 => (first..first + 7, 1..=5u32).prop_map(|(day, nth)| format!("{day}#{nth}")),
        1 => (first..first + 7).prop_map(|day| format!("{day}L")),
    ]
    .boxed()
}

fn posix() -> BoxedStrategy<String> {
    let star = || Just("*".to_owned());
    let days = prop_oneof![
        3 => Just(("*".to_owned(), "*".to_owned())),
        2 => (day(), star()),
        2 => (star(), weekday(0)),
        1 => (day(), weekday(0)),
    ];
    (field(59, 0), hour(), days, month())
        .prop_map(|(minute, hour, (day, weekday), month)| format!("{minute} {hour} {day} {month} {weekday}"))
        .boxed()
}

fn quartz() -> BoxedStrategy<String> {
    let open = || Just("?".to_owned());
    let second =
        prop_oneof![4 => Just("0".to_owned()), 1 => Just("*/20".to_owned()), 1 => Just("7".to_owned())];
    let day =
        prop_oneof![4 => day(), 1 => wrapping(31, 1), 1 => (1..=30u32).prop_map(|back| format!("L-{back}"))];
    let weekday = prop_oneof![4 => weekday(1), 1 => wrapping(7, 1), 1 => Just("L".to_owned())];
    let days = prop_oneof![
        2 => Just(("*".to_owned(), "?".to_owned())),
        2 => (day, open()),
        2 => (open(), weekday),
    ];
    let hour = prop_oneof![3 => hour(), 1 => wrapping(23, 0)];
    (second, wrapping(59, 0), hour, days, month())
        .prop_map(|(second, minute, hour, (day, weekday), month)| {
            format!("{second} {minute} {hour} {day} {month} {weekday}")
        })
        .boxed()
}

fn expression() -> BoxedStrategy<Expression> {
    prop_oneof![posix(), quartz()]
        .prop_filter_map("a date that never comes", |text| Expression::parse(&text).ok())
        .boxed()
}

/// A definition, and a date at which something happens there.
fn defined() -> BoxedStrategy<(Definition, Date)> {
    let way = prop::sample::select(OnExcluded::ALL.to_vec());
    let gap = prop::sample::select(DstGap::ALL.to_vec());
    let overlap = prop::sample::select(DstOverlap::ALL.to_vec());
    let excluded = prop::option::of(prop::collection::btree_set(-40..40i64, 0..40));
    let place = (0..CHANGES.len(), 0..2usize);
    (expression(), place, excluded, way, gap, overlap)
        .prop_map(|(expression, (place, change), excluded, way, gap, overlap)| {
            let (zone, dates) = CHANGES[place];
            let date: Date = dates[change].parse().unwrap();
            let mut definition = definition(expression, zone);
            definition.calendar = excluded.map(|days| {
                let dates: BTreeSet<Date> = days.iter().map(|days| plus(date, *days)).collect();
                Arc::new(Calendar { name: "c".to_owned(), zone: None, dates })
            });
            definition.on_excluded = way;
            definition.dst_gap = gap;
            definition.dst_overlap = overlap;
            (definition, date)
        })
        .boxed()
}

fn plus(date: Date, days: i64) -> Date {
    date.saturating_add(Span::new().days(days))
}

fn start_of(definition: &Definition, date: Date) -> UnixMillis {
    let zone = jiff::tz::TimeZone::get(definition.zone.name()).unwrap();
    UnixMillis(zone.to_timestamp(date.at(0, 0, 0, 0)).unwrap().as_millisecond())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_stumble(text in any::<String>(), junk in "[-0-9*/,LW#?@ A-Z]{0,40}") {
        for text in [text, junk] {
            if let Ok(expression) = Expression::parse(&text) {
                let _ = expression.describe();
                let again = Expression::parse(&expression.to_string()).unwrap();
                prop_assert_eq!(again, expression);
            }
        }
    }

    #[test]
    fn a_text_reads_as_it_is_written_again(text in prop_oneof![posix(), quartz()]) {
        if let Ok(expression) = Expression::parse(&text) {
            prop_assert_eq!(expression.to_string(), text.to_ascii_uppercase());
            prop_assert!(!expression.describe().is_empty());
        }
    }

    #[test]
    fn around_a_change_of_the_clock_it_fires_as_the_slow_reading_does((definition, date) in defined()) {
        let timetable = Timetable::new(definition).unwrap();
        let definition = timetable.definition();
        let (from, to) = (start_of(definition, plus(date, -2)), start_of(definition, plus(date, 3)));
        // A time may have been moved here by a month.
        let expected: Vec<_> = oracle::fires(definition, plus(date, -36), plus(date, 36))
            .into_iter()
            .filter(|at| *at > from && *at < to)
            .collect();
        let found: Vec<_> = fires(&timetable, from).take_while(|at| *at < to).take(expected.len() + 1).collect();
        prop_assert_eq!(&found, &expected, "{}", definition.expression);
        // Whoever begins in between goes on with the same ones.
        for (index, at) in expected.iter().enumerate().step_by(1 + expected.len() / 20) {
            prop_assert_eq!(timetable.next_after(UnixMillis(at.0 - 1)), Some(*at));
            if let Some(next) = expected.get(index + 1) {
                prop_assert_eq!(timetable.next_after(*at), Some(*next));
            }
        }
    }

    #[test]
    fn over_decades_it_goes_on_and_never_fires_on_an_excluded_date(
        (definition, _) in defined(), start in 0..1_800_000_000_000i64, excluded in 0..7i8, steps in 2..30usize,
    ) {
        let mut definition = definition;
        // One weekday of two years, from the start on.
        let begin = Timestamp::from_millisecond(start).unwrap().to_zoned(jiff::tz::TimeZone::UTC).date();
        let days = (0..730).map(|days| plus(begin, days));
        let dates = days.filter(|date| date.weekday().to_monday_zero_offset() == excluded).collect();
        definition.calendar = Some(Arc::new(Calendar { name: "c".to_owned(), zone: None, dates }));
        let timetable = Timetable::new(definition).unwrap();
        let definition = timetable.definition();
        let calendar = definition.calendar.as_ref().unwrap();
        let mut last = UnixMillis(start);
        for at in fires(&timetable, last).take(steps) {
            prop_assert!(at > last);
            let date = definition.zone.local(at).datetime.date();
            prop_assert!(!calendar.excludes(date), "{} on {date}", definition.expression);
            // From the middle of the way, and from just before, it is the same.
            prop_assert_eq!(timetable.next_after(UnixMillis(at.0 - 1)), Some(at));
            prop_assert_eq!(timetable.next_after(UnixMillis(last.0 + (at.0 - last.0) / 2)), Some(at));
            last = at;
        }
    }

    #[test]
    fn a_forecast_has_the_same_fires_in_order((definition, date) in defined(), n in 1..8usize) {
        let timetable = Timetable::new(definition).unwrap();
        let from = start_of(timetable.definition(), plus(date, -1));
        let forecast = timetable.forecast(from, n);
        let fired = |entry: &&crate::schedule::Entry| !matches!(entry.fate, crate::schedule::Fate::LeftOut(_));
        let shown: Vec<_> = forecast.iter().filter(fired).filter_map(|entry| entry.at).collect();
        let expected: Vec<_> = fires(&timetable, from).take(n).collect();
        prop_assert_eq!(shown, expected);
        prop_assert!(forecast.len() <= n + 200 + n + 1);
    }

    #[test]
    fn a_calendar_with_another_zone_keeps_its_dates_free_too(
        (definition, date) in defined(), other in 0..CHANGES.len(), days in prop::collection::btree_set(-9..9i64, 1..9),
    ) {
        let mut definition = definition;
        let zone = crate::schedule::Zone::parse(CHANGES[other].0).unwrap();
        let dates = days.iter().map(|days| plus(date, *days)).collect();
        definition.calendar =
            Some(Arc::new(Calendar { name: "c".to_owned(), zone: Some(zone.clone()), dates }));
        let timetable = Timetable::new(definition).unwrap();
        let calendar = timetable.definition().calendar.as_ref().unwrap();
        let from = start_of(timetable.definition(), plus(date, -6));
        let mut last = from;
        for at in fires(&timetable, from).take(30) {
            prop_assert!(at > last);
            prop_assert!(!calendar.excludes(zone.local(at).datetime.date()));
            prop_assert_eq!(timetable.next_after(UnixMillis(at.0 - 1)), Some(at));
            prop_assert_eq!(timetable.next_after(UnixMillis(last.0 + (at.0 - last.0) / 2)), Some(at));
            last = at;
        }
    }
}
