//! `[schedules.NAME]` and `[calendars.NAME]`.

use jiff::civil::date;

use super::*;
use crate::request::CallMode;
use crate::schedule::{CalendarPlan, DstGap, DstOverlap, Misfire, OnExcluded, Overlap, Plan};

/// A schedule that is good but for `lines`.
fn schedule(lines: &str) -> Result<Plan, Vec<String>> {
    let text = format!(
        "{MINIMAL}[schedules.s]\ntrigger = 't'\nexpression = '0 3 * * *'\ntime_zone = 'Europe/Berlin'\n{lines}\n"
    );
    read(&text).map(|config| config.plans.schedules[0].clone())
}

fn calendar(lines: &str) -> Result<CalendarPlan, Vec<String>> {
    read(&format!("{MINIMAL}[calendars.c]\n{lines}\n")).map(|config| config.plans.calendars[0].clone())
}

fn warnings(text: &str) -> Vec<String> {
    read(&format!("{MINIMAL}{text}")).unwrap().warnings
}

#[test]
fn a_schedule_of_which_only_the_least_is_said_is_the_one_that_the_code_takes_as_its_base() {
    assert_eq!(schedule("").unwrap(), Plan::new("s", "t", "0 3 * * *", "Europe/Berlin"));
    assert_eq!(warnings("[schedules.s]\ntrigger = 't'\nexpression = '@daily'\ntime_zone = 'UTC'\n"), [""; 0]);
}

#[test]
fn everything_that_may_be_said_of_a_schedule_is_taken() {
    let config = read(
        r#"
        [triggers.t]
        url = "https://api.example/t"
        [calendars.off]
        dates = ["2026-12-25", 2026-12-24]
        time_zone = "Asia/Tokyo"
        description = "h"
        [calendars.none]
        dates = []
        [schedules.z]
        trigger = "t"
        expression = "@every 90s"
        time_zone = "UTC"
        starts_at = 2026-07-30T12:00:00+02:00
        disable_after = { launches = 7 }
        [schedules.a]
        trigger = "t"
        expression = "0 0 3 ? * 2-6"
        time_zone = "America/New_York"
        arguments = { in_Name = "Grüße", "a.b" = [1, -2.5, true, { Z = {} }], day = 2026-01-31 }
        call_mode = "LongPolling"
        priority = -100
        calendar = "off"
        on_excluded = "previous_working_day"
        starts_at = 2026-07-01
        ends_at = "2036-01-31 08:00:00.250"
        overlap = "cancel_running"
        misfire = "run_all"
        catch_up_window = "0s"
        max_catch_up = 10000
        dst_gap = "skip"
        dst_overlap = "both"
        jitter = "24h"
        disable_after = { launches = 10, faults = 5, grace = "0s" }
        description = "Die Nächtlichen"
        "#,
    )
    .unwrap();
    assert_eq!(config.warnings, [""; 0]);
    let day = |day| date(2026, 12, day);
    let off = CalendarPlan {
        name: "off".into(),
        time_zone: Some("Asia/Tokyo".into()),
        description: Some("h".into()),
        dates: [day(25), day(24)].into(),
    };
    let none = CalendarPlan { name: "none".into(), time_zone: None, description: None, dates: [].into() };
    assert_eq!(config.plans.calendars, [none, off]);
    let a = Plan {
        arguments: r#"{"a.b":[1,-2.5,true,{"Z":{}}],"day":"2026-01-31","in_Name":"Grüße"}"#.into(),
        call_mode: Some(CallMode::LongPolling),
        priority: -100,
        calendar: Some("off".into()),
        on_excluded: OnExcluded::PreviousWorkingDay,
        // Midnight in New York, in summer; 08:00 there in winter.
        starts_at: Some(UnixMillis(1_782_878_400_000)),
        ends_at: Some(UnixMillis(2_085_397_200_250)),
        overlap: Overlap::CancelRunning,
        misfire: Misfire::RunAll,
        catch_up_window: Duration::ZERO,
        max_catch_up: 10_000,
        dst_gap: DstGap::Skip,
        dst_overlap: DstOverlap::Both,
        jitter: Duration::from_secs(86_400),
        disable_after_launches: Some(10),
        disable_after_faults: Some(5),
        disable_grace: Duration::ZERO,
        description: Some("Die Nächtlichen".into()),
        ..Plan::new("a", "t", "0 0 3 ? * 2-6", "America/New_York")
    };
    let z = Plan {
        starts_at: Some(UnixMillis(1_785_405_600_000)),
        disable_after_launches: Some(7),
        ..Plan::new("z", "t", "@every 90s", "UTC")
    };
    assert_eq!(config.plans.schedules, [a, z]);
}

#[test]
fn every_problem_of_schedules_and_calendars_is_listed_at_once() {
    let long = "x".repeat(151);
    let problems = read(&format!(
        r#"
        [triggers.t]
        url = "https://api.example/t"
        max_arguments = "16B"
        [triggers.broken]
        url = "ftp://api.example/"
        [calendars.{long}]
        dates = []
        [calendars.Bad]
        time_zone = "Europe/Berln"
        dates = ["2026-02-30"]
        stray = 1
        [calendars.empty]
        [calendars.lost]
        file = "nonexistent/holidays.csv"
        [schedules.none]
        [schedules.{long}]
        trigger = "broken"
        expression = "@daily"
        time_zone = "UTC"
        [schedules.a]
        trigger = "stranger"
        expression = "61 3 * * *"
        time_zone = "CET"
        calendar = "stranger"
        stray = 1
        disable_after = {{ grace = "1h", stray = 1 }}
        [schedules.b]
        trigger = "t"
        expression = "@every 90s"
        time_zone = "UTC"
        calendar = "Bad"
        on_excluded = "next_working_day"
        arguments = {{ token = "hunter2hunter2" }}
        call_mode = "longpolling"
        [schedules.c]
        trigger = "t"
        expression = "@daily"
        time_zone = "UTC"
        starts_at = "2030-01-01"
        ends_at = "2030-01-01T00:00:00Z"
        "#
    ))
    .unwrap_err();
    let expected = [
        "f.toml: triggers.broken.url: must begin with",
        &format!("f.toml: calendars.{long}: a name has at most 150 characters"),
        "f.toml: calendars.Bad: a name is made of",
        "f.toml: calendars.Bad.time_zone: \"Europe/Berln\" is not known; did you mean \"Europe/Berlin\"?",
        "f.toml: calendars.Bad.dates: number 1 must be a date that there is, such as 2026-12-25",
        "f.toml: calendars.Bad.stray: unknown key (known here: time_zone, description, dates, file)",
        "f.toml: calendars.empty.dates: is missing, and so is file",
        "f.toml: calendars.lost.file: nonexistent/holidays.csv: cannot be read: ",
        "f.toml: schedules.none.trigger: is missing",
        "f.toml: schedules.none.expression: is missing",
        "f.toml: schedules.none.time_zone: is missing: name the zone whose clock it goes by, such as \"Europe/Berlin\"; \"UTC\" has to be said too",
        &format!("f.toml: schedules.{long}: a name has at most 150 characters"),
        "f.toml: schedules.a.trigger: there is no [triggers.stranger]",
        "f.toml: schedules.a.expression: minute: ",
        "f.toml: schedules.a.time_zone: \"CET\" does not name a place; ",
        "f.toml: schedules.a.calendar: there is no [calendars.stranger]; a calendar that is only in the database",
        "f.toml: schedules.a.stray: unknown key (known here: trigger, expression, time_zone, arguments,",
        "f.toml: schedules.a.disable_after: must say launches, faults or both",
        "f.toml: schedules.a.disable_after.stray: unknown key (known here: launches, faults, grace)",
        "f.toml: schedules.b.on_excluded: next_working_day does not go with @every",
        "f.toml: schedules.b.arguments: has 26 bytes as JSON, above max_arguments of trigger t, which is 16",
        "f.toml: schedules.b.call_mode: must be one of AsyncRequestReply, FireAndForget, LongPolling",
        "f.toml: schedules.c.ends_at: it is not after starts_at",
    ];
    for expected in expected {
        let found = problems.iter().filter(|problem| problem.starts_with(expected)).count();
        assert_eq!(found, 1, "{expected} in {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    assert!(!problems.concat().contains("hunter2"), "{problems:#?}");
}

#[test]
fn values_out_of_their_range_are_refused() {
    for line in [
        "arguments = 'x'",
        "arguments = { '$callMode' = 1 }",
        "arguments = { a = [inf] }",
        "arguments = { a = { b = nan } }",
        "call_mode = 1",
        "priority = 101",
        "priority = -101",
        "priority = '1'",
        "calendar = ''",
        "on_excluded = 'Skip'",
        "starts_at = 1767225600000",
        "starts_at = 'tomorrow'",
        "starts_at = 08:00:00",
        "starts_at = '20260101'",
        "starts_at = '2026-01-01T08'",
        "starts_at = '2026-01-01T08:00[Asia/Tokyo]'",
        "starts_at = '2026-01-01T08:00:00Z[Asia/Tokyo]'",
        "starts_at = '2026-02-30'",
        "starts_at = '1999-12-31'",
        "ends_at = '2300-01-01'",
        // The clock of Berlin jumps over the one and shows the other twice.
        "starts_at = '2027-03-28T02:30:00'",
        "starts_at = '2027-10-31T02:30:00'",
        "overlap = 'queue'",
        "misfire = 'none'",
        "catch_up_window = '-1s'",
        "catch_up_window = 60",
        "max_catch_up = 0",
        "max_catch_up = 10001",
        "dst_gap = 'first'",
        "dst_overlap = 'twice'",
        "jitter = '86400001ms'",
        "disable_after = {}",
        "disable_after = { faults = 0 }",
        "description = 1",
        "paused = true",
    ] {
        let problems = schedule(line).expect_err(line);
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        assert!(problems[0].starts_with("f.toml: schedules.s."), "{problems:?}");
    }
    for line in [
        "dates = '2026-01-01'",
        "dates = [20260101]",
        "dates = ['20260101']",
        "dates = ['2026-01-01T00:00']",
        "dates = ['2026-02-29']",
        "dates = []\ntime_zone = 'Berlin'",
        "dates = []\ndescription = 1",
        "file = ''",
        "file = '/'",
        "file = 1",
    ] {
        let problems = calendar(line).expect_err(line);
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        assert!(problems[0].starts_with("f.toml: calendars.c."), "{problems:?}");
    }
}

#[test]
fn an_instant_is_by_the_clock_of_the_zone_unless_it_has_an_offset() {
    for (line, at) in [
        ("starts_at = '2027-01-31'", 1_801_350_000_000),
        ("starts_at = 2027-07-31", 1_816_984_800_000),
        ("starts_at = '2027-07-31T00:00'", 1_816_984_800_000),
        ("starts_at = 2027-07-31 00:00:00", 1_816_984_800_000),
        ("starts_at = 2027-07-30T22:00:00Z", 1_816_984_800_000),
        ("starts_at = '2027-07-31T00:00:00.001+02:00'", 1_816_984_800_001),
        // The second time that the clock shows it.
        ("starts_at = '2027-10-31T02:30:00+01:00'", 1_824_946_200_000),
    ] {
        assert_eq!(schedule(line).unwrap().starts_at, Some(UnixMillis(at)), "{line}");
    }
    // A date begins with its first instant, where there is no midnight too.
    let text = format!(
        "{MINIMAL}[schedules.s]\ntrigger = 't'\nexpression = '@daily'\ntime_zone = 'Africa/Cairo'\nstarts_at = '2027-04-30'"
    );
    assert_eq!(read(&text).unwrap().plans.schedules[0].starts_at, Some(UnixMillis(1_809_036_000_000)));
}

#[test]
fn the_dates_of_a_calendar_come_from_the_file_and_its_list_together() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    at("h.csv", "ExcludedDate\n2026-12-25\n2026-12-26\n");
    at(
        "h.ics",
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20000501\r\nRRULE:FREQ=YEARLY\r\n\
         END:VEVENT\r\nEND:VCALENDAR\r\n",
    );
    at("bad.csv", "ExcludedDate\n2026-12-25\nsoon\n2026-13-01\n");
    let read = |lines: &str| {
        let text = format!("{MINIMAL}[calendars.c]\n{lines}\n");
        parse(&folder.path().join("f.toml"), &text, [], NOW).map_err(|error| error.problems)
    };
    let dates = |lines: &str| read(lines).unwrap().plans.calendars[0].dates.clone();
    let christmas = [date(2026, 12, 25), date(2026, 12, 26)];
    assert_eq!(dates("file = 'h.csv'"), christmas.into());
    let both = dates("dates = ['2027-01-01', '2026-12-25']\nfile = './h.csv'");
    assert_eq!(both, [christmas[0], christmas[1], date(2027, 1, 1)].into());
    let absolute = folder.path().join("h.ics");
    // From the year before to the tenth after this one.
    assert_eq!(
        dates(&format!("file = {:?}", absolute.to_str().unwrap())),
        (2025..=2036).map(|year| date(year, 5, 1)).collect()
    );
    let problems = read("file = 'bad.csv'").unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    for (problem, line) in problems.iter().zip(["line 3: ", "line 4: "]) {
        assert!(problem.contains(&format!("f.toml: calendars.c.file: bad.csv: {line}")), "{problem}");
    }
    // What was read otherwise than somebody may think is told.
    at("two.csv", "ExcludedDate\n2026-12-25\n2026-12-25\n");
    let warnings = read("file = 'two.csv'").unwrap().warnings;
    assert_eq!(warnings, ["calendars.c.file: two.csv: line 3: 2026-12-25 is in line 2 already"]);
}

#[test]
fn what_was_probably_not_meant_is_a_warning() {
    let least = "[schedules.s]\ntrigger = 't'\ntime_zone = 'UTC'\n";
    for (lines, expected) in [
        ("expression = '@daily'\nends_at = '2026-07-01'", "schedules.s.ends_at: is past"),
        ("expression = '0 0 0 1 1 ? 2020'", "schedules.s.expression: names no time"),
        ("expression = '0 0 1 1 *'\nends_at = '2026-12-31'", "schedules.s.expression: names no time"),
        ("expression = '@daily'\non_excluded = 'next_working_day'", "schedules.s.on_excluded: has no effect"),
        (
            "expression = '0 0 25 12 *'\nends_at = '2027-01-01'\ncalendar = 'c'\n[calendars.c]\ndates = ['2026-12-25']",
            "schedules.s.expression: names no time",
        ),
    ] {
        let warnings = warnings(&format!("{least}{lines}\n"));
        assert!(warnings.len() == 1 && warnings[0].starts_with(expected), "{lines}: {warnings:?}");
    }
}

#[test]
fn the_sections_of_defaults_are_not_the_users() {
    let problems = read(&format!("{MINIMAL}[schedule]\njitter = '1s'\n")).unwrap_err();
    assert!(problems[0].starts_with("f.toml: schedule: unknown key"), "{problems:?}");
}
