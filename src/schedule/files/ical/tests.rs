//! Calendars as programs write them, and as they should not.

use jiff::civil::date;

use crate::schedule::files::{self, Format, Read};

/// What the calendar excludes from November 2025 to November 2030, and what is said of it.
fn read(text: &str) -> Result<Read, Vec<String>> {
    files::read(text.as_bytes(), None, &(date(2025, 11, 1)..=date(2030, 11, 1)))
}

/// A calendar of one event, whose properties begin in line 4.
fn event(properties: &str) -> String {
    format!("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\n{properties}\nEND:VEVENT\nEND:VCALENDAR\n")
}

fn dates(text: &str) -> Vec<String> {
    let read = read(text).unwrap();
    assert_eq!(read.format, Format::ICalendar);
    read.dates.iter().map(ToString::to_string).collect()
}

fn dates_of(properties: &str) -> Vec<String> {
    dates(&event(properties))
}

fn problems_of(properties: &str) -> Vec<String> {
    read(&event(properties)).unwrap_err()
}

#[test]
fn a_holiday_calendar_of_google() {
    let text = "BEGIN:VCALENDAR\r\nPRODID:-//Google Inc//Google Calendar//EN\r\nVERSION:2.0\r\nCALSCALE:GREGORIAN\r\n\
        METHOD:PUBLISH\r\nX-WR-CALNAME:Feiertage in Deutschland\r\nX-WR-TIMEZONE:UTC\r\nX-WR-CALDESC:Feiertage und \
        Gedenktage in Deutschland\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261226\r\n\
        DTSTAMP:20261101T120000Z\r\nUID:20261225_one@google.com\r\nCLASS:PUBLIC\r\nCREATED:20240517T093041Z\r\n\
        DESCRIPTION:Gesetzlicher Feiertag\\nUm Gedenktage auszublenden\\, bitte die E\r\n instellungen öffnen: \
        https://calendar.google.com/\r\nLAST-MODIFIED:20240517T093041Z\r\nSEQUENCE:0\r\nSTATUS:CONFIRMED\r\n\
        SUMMARY:Erster Weihnachtsfeiertag\r\nTRANSP:TRANSPARENT\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\n\
        DTSTART;VALUE=DATE:20261003\r\nDTEND;VALUE=DATE:20261004\r\nUID:20261003_two@google.com\r\n\
        SUMMARY:Tag der Deutschen Einheit\r\nTRANSP:TRANSPARENT\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    assert_eq!(dates(text), ["2026-10-03", "2026-12-25"]);
    assert_eq!(read(text).unwrap().notes, [""; 0]);
}

#[test]
fn a_calendar_of_outlook_with_a_zone_alarms_and_an_exception() {
    let text = "BEGIN:VCALENDAR
PRODID:-//Microsoft Corporation//Outlook 16.0 MIMEDIR//EN
VERSION:2.0
METHOD:PUBLISH
X-MS-OLK-FORCEINSPECTOROPEN:TRUE
BEGIN:VTIMEZONE
TZID:W. Europe Standard Time
BEGIN:STANDARD
DTSTART:16011028T030000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010325T020000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
END:VTIMEZONE
BEGIN:VEVENT
CLASS:PUBLIC
DTSTART;VALUE=DATE:20251126
DTEND;VALUE=DATE:20251127
RRULE:FREQ=YEARLY;UNTIL=20281231;INTERVAL=1;BYMONTH=11;BYDAY=WE;BYSETPOS=4
EXDATE;VALUE=DATE:20271124
SUMMARY;LANGUAGE=de:Werksruhe
UID:040000008200E00074C5B7101A82E008
X-MICROSOFT-CDO-BUSYSTATUS:OOF
X-MICROSOFT-CDO-ALLDAYEVENT:TRUE
BEGIN:VALARM
TRIGGER:-PT1080M
ACTION:DISPLAY
DESCRIPTION:Reminder
DURATION:PT5M
END:VALARM
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20261127
RECURRENCE-ID;VALUE=DATE:20261125
SUMMARY;LANGUAGE=de:Werksruhe (verlegt)
UID:040000008200E00074C5B7101A82E008
END:VEVENT
BEGIN:VEVENT
DTSTART;TZID=\"W. Europe Standard Time\":20261224T000000
DTEND;TZID=\"W. Europe Standard Time\":20261225T000000
SUMMARY:Heiligabend
UID:2
X-MICROSOFT-CDO-ALLDAYEVENT:TRUE
END:VEVENT
BEGIN:VEVENT
DTSTART;TZID=\"W. Europe Standard Time\":20261130T090000
DTEND;TZID=\"W. Europe Standard Time\":20261130T100000
RRULE:FREQ=WEEKLY;COUNT=10;BYDAY=MO
SUMMARY:Besprechung
UID:3
X-MICROSOFT-CDO-ALLDAYEVENT:FALSE
END:VEVENT
END:VCALENDAR
";
    assert_eq!(dates(text), ["2025-11-26", "2026-11-27", "2026-12-24", "2028-11-22"]);
    assert_eq!(
        read(text).unwrap().notes,
        ["events with a time of day are not taken: 1, the first in line 51"]
    );
}

#[test]
fn a_calendar_of_a_holiday_site() {
    let text = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:www.example.org\nX-WR-CALNAME:USA - Public Holidays\n\
        X-PUBLISHED-TTL:PT48H\nBEGIN:VEVENT\nCLASS:PUBLIC\nUID:2026-11-26US-54@www.example.org\n\
        CREATED:20260101T084322Z\nDESCRIPTION:On the fourth Thursday in November. \\n\\nInformation by\n  example.org\n\
        URL:https://www.example.org/holidays/usa/thanksgiving-day\nDTSTART;VALUE=DATE:20261126\nDTEND;VALUE=DATE:20261127\n\
        DTSTAMP:20080101T000000Z\nLOCATION:USA\nPRIORITY:5\nLAST-MODIFIED:20230425T000000Z\nSEQUENCE:1\n\
        SUMMARY;LANGUAGE=en-us:Thanksgiving Day\nTRANSP:OPAQUE\nX-MICROSOFT-CDO-BUSYSTATUS:BUSY\n\
        X-MICROSOFT-CDO-IMPORTANCE:1\nX-MICROSOFT-DISALLOW-COUNTER:FALSE\nX-MS-OLK-ALLOWEXTERNCHECK:TRUE\n\
        END:VEVENT\nEND:VCALENDAR\n\n";
    assert_eq!(dates(text), ["2026-11-26"]);
}

#[test]
fn an_event_has_each_of_its_days() {
    for (properties, expected) in [
        ("DTSTART;VALUE=DATE:20261224", vec!["2026-12-24"]),
        ("DTSTART:20261224", vec!["2026-12-24"]),
        ("DTSTART;VALUE=DATE:20261224T000000", vec!["2026-12-24"]),
        ("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261224", vec!["2026-12-24"]),
        (
            "DTSTART;VALUE=DATE:20261230\nDTEND;VALUE=DATE:20270102",
            vec!["2026-12-30", "2026-12-31", "2027-01-01"],
        ),
        ("DTSTART;VALUE=DATE:20261230\nDTEND:20270101T000000", vec!["2026-12-30", "2026-12-31"]),
        ("DURATION:P2D\nDTSTART;VALUE=DATE:20261224", vec!["2026-12-24", "2026-12-25"]),
        ("DTSTART;VALUE=DATE:20261224\nDURATION:PT24H", vec!["2026-12-24"]),
        ("DTSTART;VALUE=DATE:20261224\nDURATION:P1DT0H0M0S", vec!["2026-12-24"]),
        ("DTSTART;VALUE=DATE:20261224\nDURATION:+P0D", vec!["2026-12-24"]),
    ] {
        assert_eq!(dates_of(properties), expected, "{properties}");
    }
    assert_eq!(dates_of("DTSTART;VALUE=DATE:20260101\nDURATION:P2W").len(), 14);
    // Only rules end at the horizon.
    assert_eq!(
        dates_of("DTSTART;VALUE=DATE:19990101\nRDATE;VALUE=DATE:20990101"),
        ["1999-01-01", "2099-01-01"]
    );
}

#[test]
fn a_rule_is_written_out_within_the_horizon() {
    let thanksgiving = "DTSTART;VALUE=DATE:19981126\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH";
    assert_eq!(
        dates_of(thanksgiving),
        ["2025-11-27", "2026-11-26", "2027-11-25", "2028-11-23", "2029-11-22"]
    );
    assert_eq!(
        read(&event(thanksgiving)).unwrap().notes,
        ["events that repeat are taken from 2025-11-01 to 2030-11-01: read the file again before then"]
    );

    let bounded = "DTSTART;VALUE=DATE:20240101\nRRULE:FREQ=YEARLY;COUNT=4";
    assert_eq!(dates_of(bounded), ["2026-01-01", "2027-01-01"]);
    assert_eq!(read(&event(bounded)).unwrap().notes, [""; 0]);

    assert_eq!(dates_of("DTSTART;VALUE=DATE:20200229\nRRULE:FREQ=YEARLY"), ["2028-02-29"]);
    // Days of an occurrence that began before the horizon, or goes on after it.
    assert_eq!(
        dates_of("DTSTART;VALUE=DATE:20201030\nDURATION:P4D\nRRULE:FREQ=YEARLY;INTERVAL=5"),
        ["2025-11-01", "2025-11-02", "2030-10-30", "2030-10-31", "2030-11-01"]
    );
}

#[test]
fn dates_are_added_and_taken_out_one_by_one() {
    assert_eq!(
        dates_of(
            "DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=YEARLY;COUNT=4\nRDATE;VALUE=DATE:20260601,20270601\n\
             EXDATE;VALUE=DATE:20270101,20270601\nEXDATE:20280101T000000"
        ),
        ["2026-01-01", "2026-06-01", "2029-01-01"]
    );
    assert_eq!(dates_of("DTSTART;VALUE=DATE:20260101\nEXDATE;VALUE=DATE:20260101"), [""; 0]);
}

#[test]
fn the_first_day_counts_even_if_the_rule_does_not_name_it() {
    let text = event("DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=MONTHLY;BYMONTHDAY=15;COUNT=1");
    assert_eq!(dates(&text), ["2026-01-01", "2026-01-15"]);
    assert_eq!(
        read(&text).unwrap().notes,
        ["line 5: the rule does not name 2026-01-01, on which its event begins: that day counts"]
    );
}

#[test]
fn an_occurrence_may_be_moved_cancelled_or_given_a_time() {
    let series = "BEGIN:VEVENT\nUID:1\nDTSTART;VALUE=DATE:20260101\nRRULE:FREQ=YEARLY;COUNT=4\nEND:VEVENT\n";
    let calendar = |others: &str| format!("BEGIN:VCALENDAR\n{others}{series}END:VCALENDAR\n");
    let instead = |properties: &str| {
        dates(&calendar(&format!(
            "BEGIN:VEVENT\nUID:1\nRECURRENCE-ID;VALUE=DATE:20270101\n{properties}\nEND:VEVENT\n"
        )))
    };
    assert_eq!(
        instead("DTSTART;VALUE=DATE:20270104"),
        ["2026-01-01", "2027-01-04", "2028-01-01", "2029-01-01"]
    );
    assert_eq!(instead("STATUS:CANCELLED"), ["2026-01-01", "2028-01-01", "2029-01-01"]);
    assert_eq!(instead("DTSTART:20270101T090000Z"), ["2026-01-01", "2028-01-01", "2029-01-01"]);

    let one =
        |id: &str| read(&calendar(&format!("BEGIN:VEVENT\nUID:1\n{id}\nDTSTART:20270104\nEND:VEVENT\n")));
    assert_eq!(
        one("RECURRENCE-ID:20270101T090000").unwrap_err(),
        ["line 4: RECURRENCE-ID has a time of day, which its event has not"]
    );
    assert_eq!(
        one("RECURRENCE-ID;RANGE=THISANDFUTURE:20270101").unwrap_err(),
        ["line 4: RECURRENCE-ID stands for several occurrences (RANGE), which is not read"]
    );
    // The only all-day occurrence of a daily meeting.
    assert_eq!(dates_of("UID:7\nRECURRENCE-ID:20270101T090000Z\nDTSTART:20270101"), ["2027-01-01"]);
}

#[test]
fn cancelled_events_and_those_with_a_time_are_counted() {
    let one = |properties: &str| format!("BEGIN:VEVENT\n{properties}\nEND:VEVENT\n");
    let text = format!(
        "BEGIN:VCALENDAR\n{}{}{}{}END:VCALENDAR\n",
        one("DTSTART:20260101T090000Z\nRRULE:FREQ=HOURLY"),
        one("DTSTART;VALUE=DATE:20260101\nSTATUS:CANCELLED"),
        one("DTSTART;TZID=Europe/Berlin:20260101T000000"),
        one("DTSTART;VALUE=DATE:20260102\nSTATUS:CONFIRMED"),
    );
    assert_eq!(dates(&text), ["2026-01-02"]);
    assert_eq!(
        read(&text).unwrap().notes,
        [
            "events cancelled are not taken: 1, the first in line 6",
            "events with a time of day are not taken: 2, the first in line 2",
        ]
    );
    assert_eq!(
        read("BEGIN:VCALENDAR\nEND:VCALENDAR\n").unwrap().notes,
        ["the file names no date: with it the calendar excludes nothing"]
    );
}

#[test]
fn tasks_and_several_calendars_in_a_file_do_not_matter() {
    let text = event("DTSTART:20260101")
        + "BEGIN:VCALENDAR\nBEGIN:VTODO\nDTSTART:20260102\nEND:VTODO\nEND:VCALENDAR\n"
        + &event("DTSTART:20260103");
    assert_eq!(dates(&text), ["2026-01-01", "2026-01-03"]);
}

#[test]
fn each_problem_of_an_event_is_told_with_its_line() {
    for (properties, problem) in [
        ("SUMMARY:x", "line 3: begins an event without DTSTART"),
        ("DTSTART:20260101\nDTSTART:20260102", "line 5: DTSTART is there twice"),
        ("DTSTART:2026-01-01", "line 4: DTSTART `2026-01-01` is not a date as YYYYMMDD"),
        ("DTSTART:20260230", "line 4: DTSTART `20260230` is not a date as YYYYMMDD"),
        ("DTSTART:20260101T9", "line 4: DTSTART `20260101T9` is not a date as YYYYMMDD"),
        ("DTSTART;VALUE=DATE:20260101T090000", "line 4: DTSTART has a time of day, against its VALUE=DATE"),
        ("DTSTART:20260102\nDTEND:20260101", "line 5: DTEND is before the start"),
        (
            "DTSTART:20260102\nDTEND:20260103T120000",
            "line 5: DTEND has a time of day, which its event has not",
        ),
        (
            "DTSTART:20260101\nDTEND:99991231",
            "line 5: DTEND makes the event 2912442 days long: at most 10000",
        ),
        ("DTSTART:20260101\nDURATION:-P1D", "line 5: DURATION `-P1D` is not a number of days, such as P3D"),
        ("DTSTART:20260101\nDURATION:PT90M", "line 5: DURATION `PT90M` is not a number of days, such as P3D"),
        ("DTSTART:20260101\nDURATION:P", "line 5: DURATION `P` is not a number of days, such as P3D"),
        ("DTSTART:20260101\nDURATION:P1D\nDTEND:20260102", "line 6: DTEND is a second end of the event"),
        (
            "DTSTART:20260101\nRRULE:FREQ=YEARLY;BYEASTER=0",
            "line 5: RRULE has the part `BYEASTER`, which is not known",
        ),
        (
            "DTSTART:20260101\nEXRULE:FREQ=YEARLY",
            "line 5: EXRULE is not read: write the exceptions as EXDATE",
        ),
        (
            "DTSTART:20260101\nEXDATE:20270101T120000Z",
            "line 5: EXDATE has a time of day, which its event has not",
        ),
        ("DTSTART:20260101\nRDATE:20270101,x", "line 5: RDATE `x` is not a date as YYYYMMDD"),
        (
            "DTSTART:20260101\nRDATE;VALUE=PERIOD:20270101T000000Z/P1D",
            "line 5: RDATE `20270101T000000Z/P1D` is a period, which is not read",
        ),
        ("DTSTART:20260101\nno colon", "line 5: `no colon` is not a property: NAME:VALUE"),
        (
            "DTSTART:20260101\nRRULE:FREQ=DAILY;COUNT=1\n\n x",
            "line 5: RRULE is not a rule: Invalid recurrence count: invalid digit found in string",
        ),
    ] {
        assert_eq!(problems_of(properties), [problem], "{properties}");
    }
    assert_eq!(
        problems_of("DTSTART:20260101\nDTEND:x\nRRULE:FREQ=NEVER\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART:y"),
        [
            "line 5: DTEND `x` is not a date as YYYYMMDD",
            "line 6: RRULE is not a rule: Unknown recurrence frequency",
            "line 9: DTSTART `y` is not a date as YYYYMMDD",
        ]
    );
}

#[test]
fn a_calendar_that_is_cut_off_or_is_none_is_refused() {
    for (text, problem) in [
        (
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101\nEND:VEVENT\n",
            "line 1: begins `VCALENDAR`, and the file ends before its END",
        ),
        ("BEGIN:VCALENDAR\nEND:VEVENT\nEND:VCALENDAR\n", "line 2: ends `VEVENT`, which is not open"),
        ("BEGIN:VCALENDAR\nEND:VCALENDAR\nX:1\n", "line 3: is outside BEGIN:VCALENDAR and END:VCALENDAR"),
        ("BEGIN:VCALENDAR\nEND:VCALENDAR\nBEGIN:VEVENT\n", "line 3: begins `VEVENT` outside VCALENDAR"),
        ("BEGIN:VCALENDAR\nVERSION:1.0\nEND:VCALENDAR\n", "line 2: is of version `1.0`: only 2.0 is read"),
        (
            "BEGIN:VCALENDAR\nMETHOD:CANCEL\nEND:VCALENDAR\n",
            "line 2: cancels events of another file (METHOD:CANCEL)",
        ),
        (
            "BEGIN:VCALENDAR\nCALSCALE:HEBREW\nEND:VCALENDAR\n",
            "line 2: is for another calendar than the Gregorian (CALSCALE)",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), [problem], "{text}");
    }
    let cut = &event("DTSTART:20260101\nDTEND:20260102");
    for end in (0..cut.len() - "END:VCALENDAR\n".len()).filter(|end| *end >= "BEGIN:VCALENDAR".len()) {
        assert!(read(&cut[..end]).is_err(), "{}", &cut[..end]);
    }
}

#[test]
fn a_file_that_would_take_minutes_is_refused() {
    let since_the_flood =
        "DTSTART:00010101\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30\nEND:VEVENT\nBEGIN:VEVENT\n";
    let text = event(&(since_the_flood.repeat(100) + "DTSTART:20260101"));
    assert_eq!(
        read(&text).unwrap_err(),
        ["line 271: from here on the events repeat too often, or since too long ago"]
    );
    // A long event that begins anew each day has each of its days once.
    assert_eq!(dates_of("DTSTART:00010101\nDTEND:00250101\nRRULE:FREQ=DAILY").len(), 1827);
    assert_eq!(
        read(&event("DTSTART:20260101\nDURATION:P9000D\nRDATE:20660101")).unwrap_err(),
        ["the file names more than 10000 dates"]
    );
}
