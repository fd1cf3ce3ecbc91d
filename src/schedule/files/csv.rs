//! The CSV that UiPath Orchestrator takes for non-working days: a column `ExcludedDate`, a date a line.

use std::collections::{BTreeMap, BTreeSet};

use csv::{ByteRecord, ReaderBuilder, Trim};
use jiff::civil::Date;

use super::{Remarks, quoted};

const HEADER: &str = "ExcludedDate";
const SPELLINGS: &str = "YYYY-MM-DD, YYYY/MM/DD or YYYY MM DD";

/// The dates as a file that [`super::read`] takes, and the vendor too.
#[must_use]
pub fn write<'a>(dates: impl IntoIterator<Item = &'a Date>) -> String {
    let mut text = format!("{HEADER}\n");
    for date in dates {
        // Its `Display` has the first of the three spellings.
        text.push_str(&format!("{date}\n"));
    }
    text
}

pub(super) fn read(text: &[u8], problems: &mut Remarks, notes: &mut Remarks) -> BTreeSet<Date> {
    let mut rows = Rows::new(text);
    // By the line that has it first.
    let mut found: BTreeMap<Date, usize> = BTreeMap::new();
    let Some((line, header)) = rows.next() else {
        problems.add(0, format!("the file is empty: its first line has to be the header {HEADER}"));
        return BTreeSet::new();
    };
    let Some(column) = column(line, &header, problems, notes) else { return BTreeSet::new() };

    for (line, row) in rows {
        if row.iter().skip(header.len()).any(|field| !field.is_empty()) {
            let (has, named) = (row.len(), header.len());
            problems.add(line, format!("has {has} columns, of which the header names {named}"));
            continue;
        }
        match date(&String::from_utf8_lossy(row.get(column).unwrap_or_default())) {
            Ok(date) => {
                let first = *found.entry(date).or_insert(line);
                if first != line {
                    notes.add(line, format!("{date} is in line {first} already"));
                }
            }
            Err(problem) => problems.add(line, problem),
        }
    }
    found.into_keys().collect()
}

/// Which column has the dates. Others need a name: what has none may be a date that was cut apart.
fn column(line: usize, header: &ByteRecord, problems: &mut Remarks, notes: &mut Remarks) -> Option<usize> {
    let names: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
    let mut columns = (0..names.len()).filter(|at| names[*at].eq_ignore_ascii_case(HEADER));
    let Some(column) = columns.next() else {
        let all = quoted(&names.join(","));
        problems.add(line, format!("the header has to be {HEADER}, not {all}"));
        return None;
    };
    if columns.next().is_some() {
        problems.add(line, format!("the header names {HEADER} twice"));
        return None;
    }
    let ignored: Vec<_> = names.iter().filter(|name| !name.eq_ignore_ascii_case(HEADER)).collect();
    if ignored.iter().any(|name| name.is_empty()) {
        problems.add(line, format!("has {} columns, one of them without a name", names.len()));
        return None;
    }
    if !ignored.is_empty() {
        let ignored: Vec<_> = ignored.into_iter().map(|name| quoted(name)).collect();
        notes.add(line, format!("only the column {HEADER} is read, not {}", ignored.join(", ")));
    }
    Some(column)
}

fn date(text: &str) -> Result<Date, String> {
    if text.is_empty() {
        return Err("has no date".to_owned());
    }
    let fits = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 => matches!(byte, b'-' | b'/' | b' '),
            7 => byte == text.as_bytes()[4],
            _ => byte.is_ascii_digit(),
        });
    if !fits {
        return Err(format!("{} is not a date as {SPELLINGS}", quoted(text)));
    }
    let parts = (text[..4].parse(), text[5..7].parse(), text[8..].parse());
    let date = match parts {
        (Ok(year), Ok(month), Ok(day)) => Date::new(year, month, day).ok(),
        _ => None,
    };
    date.ok_or_else(|| format!("{} is not a day that exists", quoted(text)))
}

/// The rows that have anything in them, each with the number of its line.
struct Rows<'a> {
    text: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    /// How far lines have been counted: this byte is in this line.
    at: (usize, usize),
}

impl<'a> Rows<'a> {
    fn new(text: &'a [u8]) -> Self {
        // Spreadsheets of countries with a decimal comma separate columns by semicolons.
        let first = text.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
        let semicolons = first.is_some_and(|line| line.contains(&b';') && !line.contains(&b','));
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .delimiter(if semicolons { b';' } else { b',' })
            .from_reader(text);
        Self { text, reader, at: (0, 1) }
    }

    /// The line in which the row begins that was read from this byte on. The reader's own number is of the end of
    /// the row before, and blank lines come in between.
    fn line(&mut self, byte: usize) -> usize {
        let rest = self.text.get(byte..).unwrap_or_default();
        let begin = byte + rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let (from, line) = self.at;
        let passed = self.text[from..begin].iter().filter(|byte| **byte == b'\n').count();
        self.at = (begin, line + passed);
        self.at.1
    }
}

impl Iterator for Rows<'_> {
    type Item = (usize, ByteRecord);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let byte = usize::try_from(self.reader.position().byte()).unwrap_or(usize::MAX);
            let mut row = ByteRecord::new();
            // Rows of any length are taken, and a slice can be read: nothing is left to fail.
            if !self.reader.read_byte_record(&mut row).unwrap_or(false) {
                return None;
            }
            let line = self.line(byte);
            if row.iter().any(|field| !field.is_empty()) {
                return Some((line, row));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::schedule::files::{self, Format, Read};

    use super::*;

    fn read(text: &str) -> Result<Read, Vec<String>> {
        let horizon = "2026-01-01".parse().unwrap()..="2036-12-31".parse().unwrap();
        files::read(text.as_bytes(), None, &horizon)
    }

    fn dates(text: &str) -> Vec<String> {
        let read = read(text).unwrap();
        assert_eq!(read.format, Format::Csv);
        read.dates.iter().map(ToString::to_string).collect()
    }

    fn problems(text: &str) -> Vec<String> {
        read(text).unwrap_err()
    }

    #[test]
    fn a_date_has_one_of_three_spellings() {
        assert_eq!(
            dates("ExcludedDate\n2026-12-25\n2026/12/26\n2027 01 01\n"),
            ["2026-12-25", "2026-12-26", "2027-01-01"]
        );
    }

    #[test]
    fn each_line_that_is_no_date_is_named() {
        for (text, problem) in [
            ("2026-02-29", "`2026-02-29` is not a day that exists"),
            ("2026-13-01", "`2026-13-01` is not a day that exists"),
            ("2026-00-10", "`2026-00-10` is not a day that exists"),
            ("26-01-01", "`26-01-01` is not a date as YYYY-MM-DD, YYYY/MM/DD or YYYY MM DD"),
            ("2026-1-1", "`2026-1-1` is not a date as YYYY-MM-DD, YYYY/MM/DD or YYYY MM DD"),
            ("2026-01/01", "`2026-01/01` is not a date as YYYY-MM-DD, YYYY/MM/DD or YYYY MM DD"),
            ("01.01.2026", "`01.01.2026` is not a date as YYYY-MM-DD, YYYY/MM/DD or YYYY MM DD"),
            ("01/02/2026", "`01/02/2026` is not a date as YYYY-MM-DD, YYYY/MM/DD or YYYY MM DD"),
            ("20260101", "`20260101` is not a date as YYYY-MM-DD, YYYY/MM/DD or YYYY MM DD"),
            (
                "2026-01-01T00:00:00",
                "`2026-01-01T00:00:00` is not a date as YYYY-MM-DD, YYYY/MM/DD or YYYY MM DD",
            ),
            ("٢٠٢٦-٠١-٠١", "`٢٠٢٦-٠١-٠١` is not a date as YYYY-MM-DD, YYYY/MM/DD or YYYY MM DD"),
        ] {
            let text = format!("ExcludedDate\n2026-01-06\n{text}\n");
            assert_eq!(problems(&text), [format!("line 3: {problem}")]);
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        assert_eq!(
            problems("ExcludedDate\nx\n2026-01-01\ny\n2026-02-30\n"),
            [
                "line 2: `x` is not a date as YYYY-MM-DD, YYYY/MM/DD or YYYY MM DD",
                "line 4: `y` is not a date as YYYY-MM-DD, YYYY/MM/DD or YYYY MM DD",
                "line 5: `2026-02-30` is not a day that exists",
            ]
        );
        let many = problems(&format!("ExcludedDate\n{}", "x\n".repeat(100)));
        assert_eq!((many.len(), many[20].as_str()), (21, "and 80 more"));
    }

    #[test]
    fn marks_blanks_quotes_and_line_ends_do_not_matter() {
        for text in [
            "\u{feff}ExcludedDate\r\n2026-01-01\r\n2026-01-06\r\n",
            "excludeddate\n2026-01-01\n2026-01-06",
            "\n\n  EXCLUDEDDATE \n\n 2026-01-01\t\n   \n2026-01-06\n\n\n",
            "\"ExcludedDate\"\n\"2026-01-01\"\n\"2026/01/06\"\n",
            "ExcludedDate\n2026-01-01,\n2026-01-06,,\n,,\n",
        ] {
            assert_eq!(dates(text), ["2026-01-01", "2026-01-06"], "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        for (text, line) in [
            ("ExcludedDate\nx", 2),
            ("ExcludedDate\r\n2026-01-01\r\nx\r\n", 3),
            ("\r\n\r\nExcludedDate\r\n\r\n\r\nx\r\n", 6),
            ("ExcludedDate\n  \n\n2026-01-01\n \n\nx\n", 7),
            ("ExcludedDate,Name\n2026-01-01,\"two\nlines\"\nx,y\n", 4),
            ("ExcludedDate,Name\r\n2026-01-01,\"two\r\nlines\"\r\n\r\nx,y\r\n", 5),
        ] {
            let problem = &problems(text)[0];
            assert!(problem.starts_with(&format!("line {line}: `x`")), "{text:?}: {problem}");
        }
    }

    #[test]
    fn other_columns_need_a_name_and_are_not_read() {
        let read_ = read("Name,ExcludedDate,Where\nNew Year,2026-01-01,all\nEpiphany,2026-01-06\n").unwrap();
        assert_eq!(read_.dates.len(), 2);
        assert_eq!(read_.notes, ["line 1: only the column ExcludedDate is read, not `Name`, `Where`"]);
        assert_eq!(dates("ExcludedDate;Name\n2026-01-01;New Year, all\n"), ["2026-01-01"]);

        assert_eq!(
            problems("ExcludedDate\n2026-01-01,New Year\n2026-01-06\n"),
            ["line 2: has 2 columns, of which the header names 1"]
        );
        assert_eq!(
            problems("ExcludedDate,\n2026-01-01,x\n"),
            ["line 1: has 2 columns, one of them without a name"]
        );
        assert_eq!(problems("ExcludedDate,Name\n,Epiphany\n"), ["line 2: has no date"]);
    }

    #[test]
    fn the_header_is_needed() {
        assert_eq!(problems(""), ["the file is empty: its first line has to be the header ExcludedDate"]);
        assert_eq!(problems("\u{feff}\r\n \r\n"), problems(""));
        assert_eq!(problems("2026-01-01\n"), ["line 1: the header has to be ExcludedDate, not `2026-01-01`"]);
        assert_eq!(problems("\nDate,Day\n"), ["line 2: the header has to be ExcludedDate, not `Date,Day`"]);
        assert_eq!(problems("ExcludedDate,excludeddate\n"), ["line 1: the header names ExcludedDate twice"]);
    }

    #[test]
    fn a_date_that_is_there_twice_is_noted() {
        let read = read("ExcludedDate\n2026-01-01\n2026-01-06\n2026/01/01\n").unwrap();
        assert_eq!(read.dates.len(), 2);
        assert_eq!(read.notes, ["line 4: 2026-01-01 is in line 2 already"]);
    }

    #[test]
    fn a_header_alone_empties_the_calendar_and_says_so() {
        let read = read("ExcludedDate\r\n").unwrap();
        assert!(read.dates.is_empty());
        assert_eq!(read.notes, ["the file names no date: with it the calendar excludes nothing"]);
    }

    #[test]
    fn what_is_written_is_in_the_vendor_s_format() {
        let dates: [Date; 2] = ["2026-01-01".parse().unwrap(), "2026-12-25".parse().unwrap()];
        assert_eq!(write(&dates), "ExcludedDate\n2026-01-01\n2026-12-25\n");
        assert_eq!(write([]), "ExcludedDate\n");
    }
}
