//! Cases whose answers were worked out by hand.

use std::sync::Arc;

use super::{at, calendar, definition, fires, instants, plain, spell};
use crate::clock::UnixMillis;
use crate::schedule::{
    Calendar, Conflict, Definition, Dialect, DstGap, DstOverlap, Expression, Fate, Instants, OnExcluded,
    Reason, Timetable, Zone,
};

fn parse(text: &str) -> Expression {
    Expression::parse(text).unwrap()
}

/// The local times, without the year's beginning, at which a schedule fires.
fn local(timetable: &Timetable, from: &str, count: usize) -> Vec<String> {
    let zone = &timetable.definition().zone;
    fires(timetable, at(from)).take(count).map(|at| zone.local(at).to_string()).collect()
}

fn with(text: &str, zone: &str, change: impl FnOnce(&mut Definition)) -> Timetable {
    let mut definition = definition(parse(text), zone);
    change(&mut definition);
    Timetable::new(definition).unwrap()
}

#[test]
fn the_number_of_fields_tells_the_dialect() {
    for (text, dialect, normal) in [
        ("0 7 * * mon", Dialect::Posix, "0 7 * * MON"),
        ("  0\t7  * *   1 ", Dialect::Posix, "0 7 * * 1"),
        ("@Daily", Dialect::Posix, "@daily"),
        ("0 0 7 ? * mon", Dialect::Quartz, "0 0 7 ? * MON"),
        ("0 0 7 ? * 2 2030", Dialect::Quartz, "0 0 7 ? * 2 2030"),
        ("@every 90m", Dialect::Every, "@every 1h30m"),
    ] {
        let expression = parse(text);
        assert_eq!((expression.dialect(), expression.to_string().as_str()), (dialect, normal), "{text:?}");
    }
}

#[test]
fn a_refusal_names_the_field_and_what_would_be_right() {
    for (text, problem) in [
        ("", "expression: it is empty; write 5, 6 or 7 fields"),
        ("60 * * * *", "minute: \"60\": out of range; 0-59 is allowed"),
        ("0 0 * * FOO", "day of week: \"FOO\": not a value of this field; 0-7 or SUN-SAT is allowed"),
        ("0 0 12 ? * 0", "day of week: \"0\": out of range; 1-7 or SUN-SAT is allowed"),
        ("1,,2 * * * *", "minute: \"\": a value is missing; 0-59 is allowed"),
        ("*/0 * * * *", "minute: \"*/0\": a step of 0 leads nowhere; a step is 1 or more"),
        (
            "0 0 31 4,6 *",
            "day of month: the months that are named have 30 days at most, so it never comes; name a day that they have",
        ),
        (
            "0 0 0 29 2 ? 2027",
            "day of month: the months that are named have 28 days at most, so it never comes; name a day that they have",
        ),
        ("0 0 0 ? 2 2#5 2027", "expression: no date is all of it; name a day that comes"),
        ("0 0 * * 5\n", "expression: it has control characters; write it on one line"),
        (
            "@reboot",
            "expression: \"@reboot\" is not known; @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly and @every 90s are",
        ),
        (
            "@every 250ms",
            "@every: \"250ms\": shorter than 1s; write @every and numbers with ms, s, m, h or d, such as 90s, 10m, 24h, 7d, 1h30m",
        ),
    ] {
        assert_eq!(Expression::parse(text).unwrap_err().to_string(), problem, "{text:?}");
    }
    assert!(Expression::parse(&format!("{} * * * *", "1,".repeat(200))).is_err());
    for text in [
        "0 0 12 */0 * ?",
        "+1 * * * *",
        "0 0 * * +MON",
        "0 0 1W,15W * *",
        "0 0 L-3 * *",
        "0 0 ? 1 ? 2000 1 1",
        "0 0 * * L",
        "é * * * *",
        "0\u{a0}0 * * *",
        "0 0 * * MON\u{0}",
    ] {
        assert!(Expression::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn days_are_counted_from_the_end_of_a_month() {
    let next = |text, count| instants(&plain(parse(text), "UTC"), "2026-01-01T00:00:00Z", count);
    assert_eq!(
        next("0 0 12 L-3 * ?", 3),
        ["2026-01-28T12:00:00Z", "2026-02-25T12:00:00Z", "2026-03-28T12:00:00Z"]
    );
    // January 28th is a Wednesday; March 28th is a Saturday, the Friday before it is nearest.
    assert_eq!(
        next("0 0 12 L-3W * ?", 3),
        ["2026-01-28T12:00:00Z", "2026-02-25T12:00:00Z", "2026-03-27T12:00:00Z"]
    );
    assert_eq!(
        next("0 0 12 L-30 * ?", 3),
        ["2026-01-01T12:00:00Z", "2026-03-01T12:00:00Z", "2026-05-01T12:00:00Z"]
    );
    assert_eq!(next("0 0 12 L-28 2 ?", 2), ["2028-02-01T12:00:00Z", "2032-02-01T12:00:00Z"]);
    // February 1st 2026 is a Sunday; it does not leave its month.
    assert_eq!(next("0 0 12 1W 2 ?", 1), ["2026-02-02T12:00:00Z"]);
    assert_eq!(next("0 0 12 28W 2 ? 2026", 2), ["2026-02-27T12:00:00Z"]);
}

#[test]
fn both_crates_go_on_after_2100() {
    for text in ["0 0 0 29 2 ?", "0 0 29 2 *"] {
        let next = instants(&plain(parse(text), "UTC"), "2096-03-01T00:00:00Z", 2);
        assert_eq!(next, ["2104-02-29T00:00:00Z", "2108-02-29T00:00:00Z"], "{text}");
    }
    let next = instants(&plain(parse("0 0 0 1 1 ? 2099-2102"), "UTC"), "2098-01-01T00:00:00Z", 9);
    assert_eq!(next.len(), 4);
}

#[test]
fn schedules_of_elapsed_time_are_told_from_fixed_times() {
    for text in
        ["* * * * *", "0 */2 * * *", "*/20 2 * * *", "0 0-23 * * *", "@hourly", "0 0 0/2 * * ?", "@every 1h"]
    {
        assert!(parse(text).is_interval(), "{text}");
    }
    for text in [
        "30 2 * * *",
        "0 0/0 12 * * ?",
        "0 0/2 * * *",
        "0 2-3 * * *",
        "@daily",
        "0 30 2 * * ?",
        "0 0 8-18 ? * 2-6",
    ] {
        assert!(!parse(text).is_interval(), "{text}");
    }
}

#[test]
fn in_berlin_a_fixed_time_survives_both_changes() {
    let from = "2026-03-28T12:00:00Z";
    let daily = with("30 2 * * *", "Europe/Berlin", |_| {});
    assert_eq!(
        local(&daily, from, 2),
        ["2026-03-29 03:00:00 +02:00 CEST", "2026-03-30 02:30:00 +02:00 CEST"]
    );
    let skip = with("30 2 * * *", "Europe/Berlin", |it| it.dst_gap = DstGap::Skip);
    assert_eq!(local(&skip, from, 1), ["2026-03-30 02:30:00 +02:00 CEST"]);
    // Two times in the gap are one fire, and so is a time right after it.
    let several = with("10,40 2,3 * * *", "Europe/Berlin", |_| {});
    assert_eq!(
        local(&several, from, 3),
        [
            "2026-03-29 03:00:00 +02:00 CEST",
            "2026-03-29 03:10:00 +02:00 CEST",
            "2026-03-29 03:40:00 +02:00 CEST"
        ]
    );
    let touching = with("0 2,3 * * *", "Europe/Berlin", |_| {});
    assert_eq!(
        local(&touching, from, 2),
        ["2026-03-29 03:00:00 +02:00 CEST", "2026-03-30 02:00:00 +02:00 CEST"]
    );

    let from = "2026-10-24T12:00:00Z";
    assert_eq!(local(&daily, from, 2), ["2026-10-25 02:30:00 +02:00 CEST", "2026-10-26 02:30:00 +01:00 CET"]);
    let both = with("30 2 * * *", "Europe/Berlin", |it| it.dst_overlap = DstOverlap::Both);
    assert_eq!(
        local(&both, from, 3),
        [
            "2026-10-25 02:30:00 +02:00 CEST",
            "2026-10-25 02:30:00 +01:00 CET",
            "2026-10-26 02:30:00 +01:00 CET"
        ]
    );
    let listed = with("0,30 2 * * *", "Europe/Berlin", |it| it.dst_overlap = DstOverlap::Both);
    assert_eq!(
        instants(&listed, from, 4),
        ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"]
    );
}

#[test]
fn in_berlin_a_schedule_of_elapsed_time_follows_it() {
    let half = with("*/30 * * * *", "Europe/Berlin", |_| {});
    assert_eq!(
        instants(&half, "2026-10-25T00:15:00Z", 4),
        ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"]
    );
    assert_eq!(instants(&half, "2026-03-29T00:45:00Z", 2), ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
}

#[test]
fn once_a_year_in_the_repeated_hour_is_found_from_within_it() {
    let both = with("0 30 2 25 10 ? 2026", "Europe/Berlin", |it| it.dst_overlap = DstOverlap::Both);
    assert_eq!(instants(&both, "2026-10-25T00:30:00Z", 5), ["2026-10-25T01:30:00Z"]);
    let first = with("0 30 2 25 10 ? 2026", "Europe/Berlin", |_| {});
    assert!(first.never_fires(at("2026-10-25T00:30:00Z")));
}

#[test]
fn other_zones_have_other_changes() {
    for (zone, text, from, expected) in [
        // Half an hour forward at 02:00 and back.
        (
            "Australia/Lord_Howe",
            "15 2 * * *",
            "2026-10-03T00:00:00Z",
            "2026-10-04 02:30:00 +11:00 | 2026-10-05 02:15:00 +11:00",
        ),
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            "2026-04-04T00:00:00Z",
            "2026-04-05 01:45:00 +11:00 | 2026-04-06 01:45:00 +10:30",
        ),
        // At midnight: the day begins at 01:00.
        (
            "America/Santiago",
            "30 0 * * *",
            "2026-09-05T12:00:00Z",
            "2026-09-06 01:00:00 -03:00 | 2026-09-07 00:30:00 -03:00",
        ),
        (
            "America/Santiago",
            "30 23 * * *",
            "2026-04-04T12:00:00Z",
            "2026-04-04 23:30:00 -03:00 | 2026-04-05 23:30:00 -04:00",
        ),
        (
            "Asia/Beirut",
            "0 0 * * *",
            "2026-03-28T12:00:00Z",
            "2026-03-29 01:00:00 +03:00 EEST | 2026-03-30 00:00:00 +03:00 EEST",
        ),
        (
            "America/Sao_Paulo",
            "0 0 * * *",
            "2018-11-03T12:00:00Z",
            "2018-11-04 01:00:00 -02:00 | 2018-11-05 00:00:00 -02:00",
        ),
        // Never.
        (
            "Asia/Kathmandu",
            "15 0 * * *",
            "2026-03-28T12:00:00Z",
            "2026-03-29 00:15:00 +05:45 | 2026-03-30 00:15:00 +05:45",
        ),
        (
            "UTC",
            "30 2 * * *",
            "2026-03-28T12:00:00Z",
            "2026-03-29 02:30:00 +00:00 UTC | 2026-03-30 02:30:00 +00:00 UTC",
        ),
        // A day that never was.
        (
            "Pacific/Apia",
            "0 12 * * *",
            "2011-12-29T23:00:00Z",
            "2011-12-31 00:00:00 +14:00 | 2011-12-31 12:00:00 +14:00",
        ),
        (
            "America/New_York",
            "30 2 * * *",
            "2026-03-07T12:00:00Z",
            "2026-03-08 03:00:00 -04:00 EDT | 2026-03-09 02:30:00 -04:00 EDT",
        ),
        // Winter time that is called summer time backwards: forward on March 22nd.
        (
            "Africa/Casablanca",
            "30 2 * * *",
            "2026-03-21T12:00:00Z",
            "2026-03-22 03:00:00 +01:00 | 2026-03-23 02:30:00 +01:00",
        ),
    ] {
        let found = local(&with(text, zone, |_| {}), from, 2).join(" | ");
        assert_eq!(found, expected, "{zone} {text}");
    }
}

#[test]
fn a_zone_is_a_name_of_the_database() {
    for name in ["Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires", "Etc/UTC"] {
        assert_eq!(Zone::parse(name).unwrap().name(), name);
    }
    for (name, problem) in [
        ("Europe/Berln", "time zone: \"Europe/Berln\" is not known; did you mean \"Europe/Berlin\"?"),
        ("europe/berlin", "time zone: \"europe/berlin\" is not known; did you mean \"Europe/Berlin\"?"),
        ("Berlin", "time zone: \"Berlin\" does not name a place; did you mean \"Europe/Berlin\"?"),
        ("New York", "time zone: \"New York\" is not the name of a zone; did you mean \"America/New_York\"?"),
        ("", "time zone: \"\" is empty; write an IANA name such as \"Europe/Berlin\", or \"UTC\""),
    ] {
        assert_eq!(Zone::parse(name).unwrap_err().to_string(), problem);
    }
    for name in [
        "CET",
        "CEST",
        "EST5EDT",
        "+02:00",
        "UTC+2",
        "GMT",
        "Z",
        "utc",
        "/etc/localtime",
        "../UTC",
        "Europe/../UTC",
        "posix/Europe/Berlin",
        "Europe/",
        "Europe//Berlin",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        ":Europe/Berlin",
        "Europe/Berlin\n",
    ] {
        assert!(Zone::parse(name).is_err(), "{name:?}");
    }
}

#[test]
fn a_local_time_is_one_instant_or_none_or_two() {
    let berlin = Zone::parse("Europe/Berlin").unwrap();
    let instants = |text: &str| berlin.instants(text.parse().unwrap());
    assert_eq!(instants("2026-03-29T02:30:00"), Instants::Gap(at("2026-03-29T01:00:00Z")));
    assert_eq!(instants("2026-03-29T03:00:00"), Instants::Unambiguous(at("2026-03-29T01:00:00Z")));
    assert_eq!(
        instants("2026-10-25T02:30:00"),
        Instants::Fold(at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"))
    );
    let apia = Zone::parse("Pacific/Apia").unwrap();
    assert_eq!(
        apia.instants("2011-12-30T12:00:00".parse().unwrap()),
        Instants::Gap(at("2011-12-30T10:00:00Z"))
    );
}

/// Good Friday to Easter Monday 2026, and the 1st of May, a Friday.
fn easter() -> Arc<Calendar> {
    calendar(None, &["2026-04-03", "2026-04-04", "2026-04-05", "2026-04-06", "2026-05-01"])
}

#[test]
fn excluded_dates_are_left_out_or_moved() {
    let daily = |way| {
        with("0 9 * * 1-5", "Europe/Berlin", |it| {
            it.calendar = Some(easter());
            it.on_excluded = way;
        })
    };
    let from = "2026-04-01T12:00:00Z";
    let days = |way| -> Vec<String> {
        local(&daily(way), from, 3).iter().map(|text| text[5..16].to_owned()).collect()
    };
    assert_eq!(days(OnExcluded::Skip), ["04-02 09:00", "04-07 09:00", "04-08 09:00"]);
    // The moved ones meet those that are there anyway.
    assert_eq!(days(OnExcluded::NextWorkingDay), ["04-02 09:00", "04-07 09:00", "04-08 09:00"]);
    assert_eq!(days(OnExcluded::PreviousWorkingDay), ["04-02 09:00", "04-07 09:00", "04-08 09:00"]);

    let monthly = |way| {
        with("0 9 1 * *", "Europe/Berlin", |it| {
            it.calendar = Some(easter());
            it.on_excluded = way;
        })
    };
    let days = |way| -> Vec<String> {
        local(&monthly(way), from, 2).iter().map(|text| text[5..16].to_owned()).collect()
    };
    assert_eq!(days(OnExcluded::Skip), ["06-01 09:00", "07-01 09:00"]);
    // A Saturday that is not excluded is no working day either.
    assert_eq!(days(OnExcluded::NextWorkingDay), ["05-04 09:00", "06-01 09:00"]);
    assert_eq!(days(OnExcluded::PreviousWorkingDay), ["04-30 09:00", "06-01 09:00"]);
    // Found whether the asking begins before or after the place that it moved to.
    let back = monthly(OnExcluded::PreviousWorkingDay);
    assert_eq!(back.next_after(at("2026-04-30T06:59:59Z")), Some(at("2026-04-30T07:00:00Z")));
    assert_eq!(back.next_after(at("2026-04-30T07:00:00Z")), Some(at("2026-06-01T07:00:00Z")));
}

#[test]
fn a_move_that_leads_too_far_is_left_out() {
    let first: jiff::civil::Date = "2026-01-01".parse().unwrap();
    let dates: Vec<String> =
        (0..60).map(|days| first.saturating_add(jiff::Span::new().days(days)).to_string()).collect();
    let dates: Vec<&str> = dates.iter().map(String::as_str).collect();
    let moved = with("0 9 5,20 * *", "UTC", |it| {
        it.calendar = Some(calendar(None, &dates));
        it.on_excluded = OnExcluded::NextWorkingDay;
    });
    // March 2nd is the first working day; February 5th and 20th are near enough, and one fire there.
    assert_eq!(
        instants(&moved, "2025-12-31T00:00:00Z", 3),
        ["2026-03-02T09:00:00Z", "2026-03-05T09:00:00Z", "2026-03-20T09:00:00Z"]
    );
    let fates = moved.forecast(at("2025-12-31T00:00:00Z"), 1);
    let fates: Vec<_> = fates.iter().map(|entry| (&entry.local[..10], entry.fate)).collect();
    assert_eq!(
        fates,
        [
            ("2026-01-05", Fate::LeftOut(Reason::Calendar)),
            ("2026-01-20", Fate::LeftOut(Reason::Calendar)),
            ("2026-03-02", Fate::MovedFrom("2026-02-05".parse().unwrap())),
        ]
    );
}

#[test]
fn a_calendar_with_a_zone_of_its_own_decides_by_its_dates() {
    // 20:00 in New York is the next date in Berlin.
    let daily = |way| {
        with("0 20 * * *", "America/New_York", |it| {
            it.calendar = Some(calendar(Some("Europe/Berlin"), &["2026-05-01"]));
            it.on_excluded = way;
        })
    };
    let days = |way| -> Vec<String> {
        local(&daily(way), "2026-04-29T12:00:00Z", 3).iter().map(|text| text[5..16].to_owned()).collect()
    };
    assert_eq!(days(OnExcluded::Skip), ["04-29 20:00", "05-01 20:00", "05-02 20:00"]);
    let weekly = |way| {
        with("0 20 * * THU", "America/New_York", |it| {
            it.calendar = Some(calendar(Some("Europe/Berlin"), &["2026-05-01"]));
            it.on_excluded = way;
        })
    };
    let first = |way| local(&weekly(way), "2026-04-25T12:00:00Z", 1)[0][5..16].to_owned();
    // From Friday the 1st to Monday the 4th, in Berlin; to Thursday the 30th.
    assert_eq!(first(OnExcluded::NextWorkingDay), "05-03 20:00");
    assert_eq!(first(OnExcluded::PreviousWorkingDay), "04-29 20:00");
}

#[test]
fn a_moved_time_obeys_the_clock_where_it_lands() {
    // Friday the 27th is excluded, so 02:30 would come on Monday; the Sunday after it has a gap.
    let moved = with("30 2 30 3 *", "Europe/Berlin", |it| {
        it.calendar = Some(calendar(None, &["2026-03-30"]));
        it.on_excluded = OnExcluded::PreviousWorkingDay;
    });
    assert_eq!(local(&moved, "2026-03-01T00:00:00Z", 1), ["2026-03-27 02:30:00 +01:00 CET"]);
    // Beirut's day begins at 01:00; the time of the gap counts for its own date.
    let gap = with("0 0 28 3 *", "Asia/Beirut", |it| {
        it.calendar = Some(calendar(None, &["2027-03-28"]));
        it.on_excluded = OnExcluded::NextWorkingDay;
    });
    assert_eq!(local(&gap, "2027-01-01T00:00:00Z", 1), ["2027-03-29 00:00:00 +03:00 EEST"]);
}

#[test]
fn a_period_is_elapsed_time_from_its_anchor() {
    let every = with("@every 90m", "Europe/Berlin", |it| it.anchor = at("2026-10-25T00:10:00Z"));
    assert_eq!(
        instants(&every, "2026-10-25T00:10:00Z", 3),
        ["2026-10-25T01:40:00Z", "2026-10-25T03:10:00Z", "2026-10-25T04:40:00Z"]
    );
    assert_eq!(instants(&every, "2026-10-01T00:10:00Z", 1), ["2026-10-25T00:10:00Z"]);
    let started = with("@every 90m", "Europe/Berlin", |it| {
        it.starts_at = Some(at("2026-01-01T00:00:00Z"));
        it.calendar = Some(calendar(None, &["2026-01-01", "2026-01-02"]));
    });
    // Berlin's 2nd of January ends at 23:00 in UTC; 32 periods are two days.
    assert_eq!(
        instants(&started, "2020-01-01T00:00:00Z", 2),
        ["2026-01-03T00:00:00Z", "2026-01-03T01:30:00Z"]
    );
    let mut refused = definition(parse("@every 1d"), "UTC");
    refused.calendar = Some(easter());
    refused.on_excluded = OnExcluded::NextWorkingDay;
    assert_eq!(
        Timetable::new(refused).unwrap_err(),
        Conflict::MovedPeriod { way: OnExcluded::NextWorkingDay }
    );
}

#[test]
fn a_schedule_fires_from_its_start_and_before_its_end() {
    let bounded = with("0 9 * * *", "UTC", |it| {
        it.starts_at = Some(at("2026-01-02T09:00:00Z"));
        it.ends_at = Some(at("2026-01-04T09:00:00Z"));
    });
    let all = ["2026-01-02T09:00:00Z", "2026-01-03T09:00:00Z"];
    assert_eq!(instants(&bounded, "2020-01-01T00:00:00Z", 9), all);
    assert!(bounded.never_fires(at("2026-01-03T09:00:00Z")));
    let forecast = bounded.forecast(at("2020-01-01T00:00:00Z"), 9);
    let fates: Vec<_> = forecast.iter().map(|entry| (entry.at.map(spell), entry.fate)).collect();
    assert_eq!(
        fates,
        [
            (Some(all[0].to_owned()), Fate::Fires),
            (Some(all[1].to_owned()), Fate::Fires),
            (Some("2026-01-04T09:00:00Z".to_owned()), Fate::LeftOut(Reason::Ended)),
        ]
    );
    let mut empty = bounded.definition().clone();
    empty.ends_at = empty.starts_at;
    assert_eq!(Timetable::new(empty).unwrap_err(), Conflict::EndsBeforeStart);
}

#[test]
fn a_forecast_says_what_becomes_of_each_time() {
    let shown = |timetable: &Timetable, from: &str, n| -> Vec<String> {
        let forecast = timetable.forecast(at(from), n);
        forecast.iter().map(|entry| format!("{} {:?}", entry.local, entry.fate)).collect()
    };
    let skip = with("30 2 * * *", "Europe/Berlin", |it| it.dst_gap = DstGap::Skip);
    assert_eq!(
        shown(&skip, "2026-03-28T12:00:00Z", 1),
        ["2026-03-29 02:30:00 LeftOut(DstGap)", "2026-03-30 02:30:00 +02:00 CEST Fires"]
    );
    assert_eq!(
        shown(&skip, "2026-10-24T12:00:00Z", 2),
        [
            "2026-10-25 02:30:00 +02:00 CEST Fires",
            "2026-10-25 02:30:00 +01:00 CET LeftOut(DstOverlap)",
            "2026-10-26 02:30:00 +01:00 CET Fires"
        ]
    );
    let holidays = with("0 9 * * *", "Europe/Berlin", |it| {
        it.calendar = Some(easter());
        it.on_excluded = OnExcluded::Skip;
    });
    assert_eq!(shown(&holidays, "2026-04-02T08:00:00Z", 1).len(), 5);
    // Nothing fires; the next few say why.
    let never = with("0 9 3 4 *", "Europe/Berlin", |it| {
        it.calendar = Some(easter());
        it.ends_at = Some(at("2026-12-31T00:00:00Z"));
    });
    let shown_never = shown(&never, "2026-01-01T00:00:00Z", 3);
    assert_eq!(shown_never[0], "2026-04-03 09:00:00 +02:00 CEST LeftOut(Calendar)");
    // Bounded, also where every second of a year is excluded.
    let dates: Vec<String> = (0..365)
        .map(|days| {
            "2026-01-01".parse::<jiff::civil::Date>().unwrap().saturating_add(jiff::Span::new().days(days))
        })
        .map(|date| date.to_string())
        .collect();
    let dates: Vec<&str> = dates.iter().map(String::as_str).collect();
    let seconds = with("* * * * * ?", "UTC", |it| it.calendar = Some(calendar(None, &dates)));
    assert_eq!(shown(&seconds, "2026-01-01T00:00:00Z", 1).len(), 201);
}

#[test]
fn no_instant_is_too_far_away() {
    let timetable = with("30 2 * * *", "Europe/Berlin", |_| {});
    assert!(timetable.never_fires(UnixMillis(i64::MAX)));
    assert_eq!(timetable.next_after(UnixMillis(i64::MIN)), Some(at("1970-01-01T01:30:00Z")));
    let every = with("@every 1s", "Europe/Berlin", |_| {});
    assert!(every.never_fires(UnixMillis(i64::MAX)));
    assert_eq!(every.next_after(UnixMillis(i64::MIN)), Some(UnixMillis(0)));
    assert!(every.forecast(UnixMillis(i64::MAX), 3).is_empty());
}

#[test]
fn spellings_are_read_back() {
    for way in OnExcluded::ALL {
        assert_eq!(way.as_str().parse::<OnExcluded>().unwrap(), way);
    }
    for way in DstGap::ALL {
        assert_eq!(way.as_str().parse::<DstGap>().unwrap(), way);
    }
    for way in DstOverlap::ALL {
        assert_eq!(way.as_str().parse::<DstOverlap>().unwrap(), way);
    }
    assert!("Skip".parse::<OnExcluded>().is_err());
}
