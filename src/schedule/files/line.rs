//! Content lines of iCalendar (RFC 5545, section 3.1): unfolded, and taken apart into name, parameters and value.

use std::borrow::Cow;

/// `NAME;PARAMETER=value:VALUE`, from however many lines of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it begins, counted from 1.
    pub(super) number: usize,
    /// In capitals.
    pub(super) name: String,
    /// Names in capitals, values without their quotation marks.
    parameters: Vec<(String, String)>,
    /// As it stands: text would have its escapes still, but only dates, rules and names are read here.
    pub(super) value: String,
}

impl Line {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether its value is this word.
    pub(super) fn says(&self, word: &str) -> bool {
        self.value.trim().eq_ignore_ascii_case(word)
    }

    fn parse(number: usize, text: &str) -> Option<Self> {
        let end = text.find([';', ':'])?;
        let (name, mut rest) = text.split_at(end);
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return None;
        }
        let mut parameters = Vec::new();
        while let Some(more) = rest.strip_prefix(';') {
            let end = unquoted(more, [';', ':'])?;
            // Older calendars have parameters without a name.
            let (name, value) = more[..end].split_once('=').unwrap_or((&more[..end], ""));
            parameters.push((name.trim().to_ascii_uppercase(), value.trim().trim_matches('"').to_owned()));
            rest = &more[end..];
        }
        let value = rest.strip_prefix(':')?.to_owned();
        Some(Self { number, name: name.to_ascii_uppercase(), parameters, value })
    }
}

/// Where the first of these marks is that is not within quotation marks.
fn unquoted(text: &str, marks: [char; 2]) -> Option<usize> {
    let mut inside = false;
    text.char_indices().find_map(|(at, c)| {
        inside ^= c == '"';
        (!inside && marks.contains(&c)).then_some(at)
    })
}

/// The content lines of a text, or where it has something else.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Result<Line, (usize, String)>> {
    unfolded(text).map(|(number, bytes)| {
        // A fold may stand within a character, so this comes after it. What is not UTF-8 is in a text that is not read.
        let text = String::from_utf8_lossy(&bytes);
        Line::parse(number, &text).ok_or_else(|| (number, text.into_owned()))
    })
}

/// A line that begins with a blank goes on where the one before it ended.
fn unfolded(text: &[u8]) -> impl Iterator<Item = (usize, Cow<'_, [u8]>)> {
    let physical = text.split(|byte| *byte == b'\n').zip(1..).map(|(line, number)| {
        let end = line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
        (number, &line[..end])
    });
    let mut physical = physical.filter(|(_, line)| !line.is_empty()).peekable();
    std::iter::from_fn(move || {
        let (number, first) = physical.next()?;
        let mut line = Cow::Borrowed(first);
        while let Some((_, [b' ' | b'\t', more @ ..])) = physical.peek() {
            line.to_mut().extend_from_slice(more);
            physical.next();
        }
        Some((number, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Line> {
        lines(text.as_bytes()).map(Result::unwrap).collect()
    }

    #[test]
    fn a_line_has_a_name_parameters_and_a_value() {
        let line = &all("dtstart;value=DATE;X-A=\"a;b:c\";X-B:20260101:x\r\n")[0];
        assert_eq!((line.name.as_str(), line.value.as_str()), ("DTSTART", "20260101:x"));
        assert_eq!(line.parameter("VALUE"), Some("DATE"));
        assert_eq!(line.parameter("X-A"), Some("a;b:c"));
        assert_eq!(line.parameter("X-B"), Some(""));
        assert_eq!(line.parameter("TZID"), None);
    }

    #[test]
    fn folded_lines_are_one_line_with_the_number_of_the_first() {
        let all = all("A:1\r\n 23\r\n\t 4\r\n\r\nB:5\r\n  \nC:\n 6");
        let parts: Vec<_> = all.iter().map(|line| (line.number, line.value.as_str())).collect();
        assert_eq!(parts, [(1, "123 4"), (5, "5 "), (7, "6")]);
    }

    #[test]
    fn a_character_may_be_cut_by_a_fold() {
        let text = b"SUMMARY:Fronleichnam f\xc3\n \xbcr alle\n";
        let all: Vec<_> = lines(text).map(Result::unwrap).collect();
        assert_eq!(all[0].value, "Fronleichnam für alle");
    }

    #[test]
    fn what_has_no_colon_or_no_name_is_no_line() {
        for text in ["BEGIN", ":x", "A B:c", "A;X=\"open:c", " A:b"] {
            assert_eq!(lines(text.as_bytes()).next(), Some(Err((1, text.to_owned()))), "{text}");
        }
    }
}
