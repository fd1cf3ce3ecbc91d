//! Calendar files: text in, the days out on which nothing is to fire.
//!
//! Two formats: the one-column CSV that UiPath Orchestrator takes for its non-working days, and iCalendar (RFC 5545),
//! which calendar programs and holiday sites export. A file with anything in it that is not understood is refused
//! whole, with every problem and its line: a holiday that is dropped without a word fires a job on that day.
//! Pure: no file, no clock. Whoever calls says how far rules that repeat for ever are written out.

mod csv;
mod event;
mod ical;
mod line;
mod rule;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use jiff::civil::Date;

pub use self::csv::write as write_csv;

/// A file of ten thousand dates has about 120 KiB as CSV and 1 MiB with an event for each.
pub const LARGEST_BYTES: usize = 1 << 20;

/// Thirty holidays a year for three hundred years. More is a mistake, such as an event that repeats daily.
pub const MOST_DATES: usize = 10_000;

/// So many problems or notes are listed, the others counted.
const LISTED: usize = 20;

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A column `ExcludedDate`, a date a line.
    Csv,
    /// RFC 5545: all-day events.
    ICalendar,
}

impl Format {
    /// Told by how the text begins.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        const BEGIN: &[u8] = b"BEGIN:VCALENDAR";
        let start = without_bom(text).trim_ascii_start().get(..BEGIN.len());
        if start.is_some_and(|start| start.eq_ignore_ascii_case(BEGIN)) { Self::ICalendar } else { Self::Csv }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "CSV",
            Self::ICalendar => "iCalendar",
        })
    }
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Given, or told by the text.
    pub format: Format,
    /// The days excluded.
    pub dates: BTreeSet<Date>,
    /// What a person should know of what was read: a line each.
    pub notes: Vec<String>,
}

/// The dates that `text` excludes. Events that repeat by a rule are written out within `horizon` only.
///
/// # Errors
///
/// Every problem, for a person: a line each, with the number of the line it is about.
pub fn read(
    text: &[u8],
    format: Option<Format>,
    horizon: &RangeInclusive<Date>,
) -> Result<Read, Vec<String>> {
    if text.len() > LARGEST_BYTES {
        return Err(vec![format!(
            "the file has {} bytes: at most 1 MiB ({LARGEST_BYTES}) is read",
            text.len()
        )]);
    }
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(vec!["the file is in UTF-16: save it as UTF-8".to_owned()]);
    }
    let format = format.unwrap_or_else(|| Format::of(text));
    let (mut problems, mut notes) = (Remarks::default(), Remarks::default());
    let text = without_bom(text);
    let dates = match format {
        Format::Csv => csv::read(text, &mut problems, &mut notes),
        Format::ICalendar => ical::read(text, horizon, &mut problems, &mut notes),
    };
    if dates.len() > MOST_DATES {
        problems.add(0, format!("the file names more than {MOST_DATES} dates"));
    }
    if !problems.is_empty() {
        return Err(problems.listed());
    }
    if dates.is_empty() {
        notes.add(0, "the file names no date: with it the calendar excludes nothing".to_owned());
    }
    Ok(Read { format, dates, notes: notes.listed() })
}

/// What is to be said of a file, each with its line; 0 is the whole of it.
#[derive(Default)]
struct Remarks(Vec<(usize, String)>);

impl Remarks {
    fn add(&mut self, line: usize, text: String) {
        self.0.push((line, text));
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of the lines, what is about the whole file last.
    fn listed(mut self) -> Vec<String> {
        self.0.sort_by_key(|(line, _)| line.wrapping_sub(1));
        let more = self.0.len().saturating_sub(LISTED);
        let mut listed: Vec<_> = self
            .0
            .into_iter()
            .take(LISTED)
            .map(|(line, text)| if line == 0 { text } else { format!("line {line}: {text}") })
            .collect();
        if more > 0 {
            listed.push(format!("and {more} more"));
        }
        listed
    }
}

fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// What the file has there, fit for a message: short, on one line.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut short: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn horizon() -> RangeInclusive<Date> {
        date(2025, 11, 1)..=date(2036, 11, 1)
    }

    fn problems(text: &[u8]) -> Vec<String> {
        read(text, None, &horizon()).unwrap_err()
    }

    #[test]
    fn the_format_is_told_by_how_the_text_begins() {
        for (text, format) in [
            ("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", Format::ICalendar),
            ("\u{feff}\r\n \nbegin:vcalendar", Format::ICalendar),
            ("ExcludedDate\n", Format::Csv),
            ("BEGIN:VCAL", Format::Csv),
            ("", Format::Csv),
        ] {
            assert_eq!(Format::of(text.as_bytes()), format, "{text:?}");
        }
        let given = read(b"BEGIN:VCALENDAR\n", Some(Format::Csv), &horizon()).unwrap_err();
        assert_eq!(given, ["line 1: the header has to be ExcludedDate, not `BEGIN:VCALENDAR`"]);
    }

    #[test]
    fn too_much_is_refused() {
        let large = b"ExcludedDate\n".iter().copied().chain(std::iter::repeat_n(b'\n', LARGEST_BYTES));
        assert_eq!(
            problems(&large.collect::<Vec<_>>()),
            ["the file has 1048589 bytes: at most 1 MiB (1048576) is read"]
        );

        let many: BTreeSet<_> =
            date(2000, 1, 1).series(jiff::Span::new().days(1)).take(MOST_DATES + 1).collect();
        assert_eq!(problems(write_csv(&many).as_bytes()), ["the file names more than 10000 dates"]);
        let just = write_csv(many.iter().skip(1));
        assert_eq!(read(just.as_bytes(), None, &horizon()).unwrap().dates.len(), MOST_DATES);
    }

    #[test]
    fn another_encoding_is_named() {
        let utf_16: Vec<u8> = "\u{feff}ExcludedDate".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(problems(&utf_16), ["the file is in UTF-16: save it as UTF-8"]);
        // Bytes of an older one do not matter where nothing is read.
        let read =
            read(b"ExcludedDate,Name\n2026-10-31,Bayern: Allerheiligen f\xfcr alle\n", None, &horizon());
        assert_eq!(read.unwrap().dates.len(), 1);
    }

    #[test]
    fn a_message_is_one_short_line() {
        let message = &problems(format!("ExcludedDate\n\"a\nb\u{1b}{}\n", "x".repeat(1000)).as_bytes())[0];
        assert!(message.starts_with("line 2: `a\\nb\\u{1b}xxx") && message.len() < 150, "{message}");
    }

    /// Pieces of both formats, so that what is put together gets past the first line.
    fn piece() -> impl Strategy<Value = String> {
        let line = prop::sample::select(vec![
            "BEGIN:VCALENDAR",
            "END:VCALENDAR",
            "BEGIN:VEVENT",
            "END:VEVENT",
            "BEGIN:VALARM",
            "END:VALARM",
            "VERSION:2.0",
            "UID:1",
            "STATUS:CANCELLED",
            "RECURRENCE-ID;VALUE=DATE:20260101",
            "X-MICROSOFT-CDO-ALLDAYEVENT:TRUE",
            "DTSTART:20260101T000000",
            "DURATION:P3D",
            "ExcludedDate",
            "2026-01-01",
            "\u{feff}",
            " ",
            "é",
        ]);
        let number = prop_oneof![-3..40_i64, any::<i64>()];
        let day = ("[0-9]{4}", 0..14_u8, 0..33_u8)
            .prop_map(|(year, month, day)| format!("{year}{month:02}{day:02}"));
        let name = prop::sample::select(vec!["DTSTART", "DTEND", "EXDATE", "RDATE", "RECURRENCE-ID"]);
        let frequency = prop::sample::select(vec!["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY"]);
        let part = prop::sample::select(vec![
            "COUNT",
            "INTERVAL",
            "BYMONTH",
            "BYMONTHDAY",
            "BYYEARDAY",
            "BYWEEKNO",
            "BYSETPOS",
            "BYDAY",
            "UNTIL",
        ]);
        prop_oneof![
            4 => line.prop_map(str::to_owned),
            2 => (name, day.clone()).prop_map(|(name, day)| format!("{name};VALUE=DATE:{day}")),
            1 => (frequency, part, number.clone(), "[A-Z]{0,2}").prop_map(|(frequency, part, number, weekday)| {
                format!("RRULE:FREQ={frequency};{part}={number}{weekday}")
            }),
            1 => number.prop_map(|number| format!("DURATION:P{number}D")),
            1 => "\\PC{0,12}",
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..400)) {
            for format in [None, Some(Format::Csv), Some(Format::ICalendar)] {
                let _ = read(&text, format, &horizon());
            }
        }

        #[test]
        fn any_lines_are_read_or_refused(lines in prop::collection::vec(piece(), 0..30)) {
            let event = format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{}\nEND:VEVENT\nEND:VCALENDAR\n", lines.join("\n"));
            for text in [lines.join("\r\n"), event] {
                if let Ok(read) = read(text.as_bytes(), None, &horizon()) {
                    prop_assert!(read.dates.len() <= MOST_DATES);
                }
            }
        }

        #[test]
        fn what_is_written_is_read_again(days in prop::collection::btree_set(0..80_000_i64, 0..200)) {
            let day = |day: i64| date(1900, 1, 1) + jiff::SignedDuration::from_hours(24 * day);
            let dates: BTreeSet<Date> = days.into_iter().map(day).collect();
            let read = read(write_csv(&dates).as_bytes(), None, &horizon()).unwrap();
            prop_assert_eq!(read.dates, dates);
        }
    }
}
