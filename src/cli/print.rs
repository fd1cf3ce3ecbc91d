//! What verbs print: lines, tables, JSON.
//!
//! Rows come from producers and far ends, so what a person sees is stripped of control characters: a terminal would
//! obey them.

use std::io::{ErrorKind, Write};

use jiff::tz::TimeZone;
use serde::ser::{Serialize, SerializeMap, Serializer};
use triggerd::queue::console::{Cell, Record};

use super::failure::{Failure, NOT_WELL};

/// Writes to standard output. A reader that has gone away (`| head`) has what it wanted.
pub(crate) fn out(bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(NOT_WELL, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error, beside the data.
pub(crate) fn note(line: &str) {
    // There is nobody left to tell if that fails.
    let _ = writeln!(std::io::stderr().lock(), "{}", plain(line));
}

/// A text without control characters.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_tricky(c) { plain.extend(c.escape_unicode()) } else { plain.push(c) }
    }
    plain
}

/// Control characters, and those that reorder a line.
fn is_tricky(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A value for a person; times, told by the name of their column, are local.
pub(crate) fn cell(column: &str, cell: &Cell) -> String {
    match cell {
        Cell::Null => "-".to_owned(),
        Cell::Int(millis) if column.ends_with("_at") || column == "until" => {
            local(*millis).unwrap_or_else(|| millis.to_string())
        }
        Cell::Int(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => plain(text),
        Cell::Bytes(bytes) => plain(&String::from_utf8_lossy(bytes)),
    }
}

/// An instant in the local time zone, to the second; none if it is out of all bounds.
fn local(millis: i64) -> Option<String> {
    let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
    let instant = jiff::Timestamp::from_millisecond(millis).ok()?;
    Some(instant.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %Z").to_string())
}

/// Rows under headers, aligned.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let headers: Vec<_> = headers.iter().map(|&header| header.to_owned()).collect();
    let lines = || std::iter::once(&headers).chain(rows);
    let width =
        |column: usize| lines().filter_map(|line| line.get(column)).map(|text| text.chars().count()).max();
    let widths: Vec<_> = (0..headers.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut table = String::new();
    for line in lines() {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        table.push_str(text.trim_end());
        table.push('\n');
    }
    table
}

/// One line with the JSON of anything.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value);
    text.map(|text| text + "\n")
        .map_err(|error| Failure::new(NOT_WELL, format!("cannot be written as JSON: {error}")))
}

/// A record as a JSON object, in the order of its columns and spelled as in SQL: times are Unix milliseconds.
pub(crate) struct Json<'r>(pub(crate) &'r Record);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.0.len()))?;
        for (column, cell) in &self.0.0 {
            map.serialize_key(column)?;
            match (column.as_str(), cell) {
                // Text or nothing, as in the view `results`; output_bytes tells that there is something.
                (_, Cell::Null) | ("output", Cell::Bytes(_)) => map.serialize_value(&())?,
                // Not a column: yes or no.
                ("already", Cell::Int(number)) => map.serialize_value(&(*number != 0))?,
                (_, Cell::Int(number)) => map.serialize_value(number)?,
                (_, Cell::Real(number)) => map.serialize_value(number)?,
                (_, Cell::Text(text)) => map.serialize_value(text)?,
                (_, Cell::Bytes(bytes)) => map.serialize_value(&String::from_utf8_lossy(bytes))?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_value_and_lines_have_no_tail() {
        let rows =
            [vec!["1".into(), "münchen".into(), "-".into()], vec!["22".into(), "b".into(), "x".into()]];
        assert_eq!(table(&["ID", "NAME", "E"], &rows), "ID  NAME     E\n1   münchen  -\n22  b        x\n");
    }

    #[test]
    fn a_terminal_gets_no_orders_from_a_row() {
        assert_eq!(plain("a\u{1b}[2J\r\nb\u{202e}ü"), "a\\u{1b}[2J\\u{d}\\u{a}b\\u{202e}ü");
        assert_eq!(cell("error_message", &Cell::Bytes(vec![0xff, 7])), "\u{fffd}\\u{7}");
    }

    #[test]
    fn a_time_out_of_all_bounds_is_shown_as_it_is() {
        assert_eq!(cell("run_at", &Cell::Int(i64::MAX)), i64::MAX.to_string());
        assert_eq!(cell("polls", &Cell::Int(1_800_000_000_000)), "1800000000000");
        assert!(cell("run_at", &Cell::Int(1_800_000_000_000)).starts_with("2027-01-1"));
    }

    #[test]
    fn json_keeps_the_order_of_the_columns_and_takes_any_value() {
        let record = Record(vec![
            ("id".into(), Cell::Int(1)),
            ("a".into(), Cell::Null),
            ("b".into(), Cell::Real(1.5)),
            ("c".into(), Cell::Text("x\"".into())),
            ("d".into(), Cell::Bytes(vec![0xff])),
            ("output".into(), Cell::Bytes(vec![0xff])),
        ]);
        let expected = "{\"id\":1,\"a\":null,\"b\":1.5,\"c\":\"x\\\"\",\"d\":\"\u{fffd}\",\"output\":null}\n";
        assert_eq!(json(&Json(&record)).unwrap(), expected);
    }
}
