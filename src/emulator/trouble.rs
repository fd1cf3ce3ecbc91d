//! What goes wrong on purpose: for the first so many calls of a leg.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use ::config::Value;
use http::HeaderValue;

use super::knobs::retry_after;
use crate::config::section::{Section, boolean, duration, integer, list, one_of, size, text};
use crate::serving::manners::RetryAfter;

/// Entries of a list: each has a counter for each caller.
const MOST: usize = 100;
/// Twice what clients commonly take.
const LONGEST_LOCATION: usize = 16 * 1024;

/// One entry of a list `trouble`.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// Which calls it is about.
    pub on: On,
    /// How many of them; none: all.
    pub times: Option<u32>,
    /// Whether the job is made first, where the call is about making one.
    pub after: bool,
    /// A wait before the answer.
    pub delay: Duration,
    /// What happens.
    pub what: What,
}

/// The calls that a trouble is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Those that start a job; counted by Idempotency-Key, or by trigger for those that have none.
    Start,
    /// Those of the status URI, counted by job.
    Status,
    /// Those of the output URI, counted by job.
    Output,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Another answer in place of the right one.
    Status {
        /// Its status.
        status: u16,
        /// Its body.
        page: Page,
        /// Its Retry-After.
        retry_after: Option<RetryAfter>,
    },
    /// The connection is closed without an answer.
    Drop,
    /// The connection is reset without an answer.
    Reset,
    /// The right answer, without the second half of its body.
    Cut,
    /// The right answer, late.
    Slow,
    /// The right answer with a body of so many bytes.
    Huge(u64),
    /// The right answer without its Location.
    NoLocation,
    /// A redirect to the very URL that was asked.
    Loop,
    /// The right answer with this Location.
    Elsewhere(HeaderValue),
}

/// The body of an answer that is not the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// An error of the vendor's.
    Error,
    /// An HTML page, such as gateways send.
    Html,
    /// None.
    Empty,
}

impl Trouble {
    /// Whether it comes in place of what was asked for, so that no job is made.
    pub(super) fn is_instead(&self) -> bool {
        !self.after && matches!(self.what, What::Status { .. } | What::Drop | What::Reset)
    }

    /// The key `trouble` of a table: a list of tables.
    pub(super) fn list(section: &mut Section<'_>) -> Option<Vec<Self>> {
        let (path, problems) = (section.path("trouble"), section.problems);
        let values: Vec<Value> = section.take("trouble", |value| match list(value)? {
            list if list.len() > MOST => Err(format!("must have at most {MOST} entries")),
            list => Ok(list.to_vec()),
        })?;
        let troubles = values.into_iter().enumerate();
        let read = |(n, value)| Self::read(Section::new(&format!("{path}[{n}]"), value, problems));
        Some(troubles.filter_map(read).collect())
    }

    fn read(mut section: Section<'_>) -> Option<Self> {
        let on = one_of(&[("start", On::Start), ("status", On::Status), ("output", On::Output)]);
        let on = section.require("on", on);
        let times = section.take("times", times).unwrap_or(Some(1));
        let delay = section.take("delay", duration);
        let after = section.take("after", boolean).unwrap_or(false);
        let kind = section.take("do", |value| text(value).map(str::to_owned));
        let kind = kind.as_deref().unwrap_or("status");
        let what = match kind {
            "status" => status(&mut section),
            "drop" => Some(What::Drop),
            "reset" => Some(What::Reset),
            "cut" => Some(What::Cut),
            "slow" => {
                if delay.is_none() {
                    section.problem("delay", "must say how slow");
                }
                Some(What::Slow)
            }
            "huge" => section.require("bytes", size(1)).map(What::Huge),
            "no_location" => Some(What::NoLocation),
            "loop" => Some(What::Loop),
            "elsewhere" => section.require("location", location).map(What::Elsewhere),
            _ => {
                section.problem(
                    "do",
                    "must be one of status, drop, reset, cut, slow, huge, no_location, loop, elsewhere",
                );
                section.ignore();
                return None;
            }
        };
        if after && (on != Some(On::Start) || !matches!(kind, "status" | "drop" | "reset")) {
            section
                .problem("after", "is for a status, drop or reset on start: whether the job is made first");
        }
        section.finish();
        Some(Self { on: on?, times, after, delay: delay.unwrap_or_default(), what: what? })
    }
}

/// Which of `troubles` is next on this leg, given how often each has come; counts it.
pub(super) fn next<'t>(troubles: &'t [Trouble], on: On, counts: &mut Vec<u32>) -> Option<&'t Trouble> {
    counts.resize(troubles.len(), 0);
    let mut due = troubles
        .iter()
        .zip(counts)
        .filter(|(trouble, count)| trouble.on == on && trouble.times.is_none_or(|times| **count < times));
    let (trouble, count) = due.next()?;
    *count = count.saturating_add(1);
    Some(trouble)
}

/// Tells one list from another.
pub(super) fn identity(troubles: &[Trouble]) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{troubles:?}").hash(&mut hasher);
    hasher.finish()
}

fn status(section: &mut Section<'_>) -> Option<What> {
    let status = section.require("status", integer(200..=599)).and_then(|status| u16::try_from(status).ok());
    let pages = [("error", Page::Error), ("html", Page::Html), ("empty", Page::Empty)];
    let page = section.take("body", one_of(&pages));
    let retry_after = retry_after(section, None);
    let status = status?;
    // The gateway before the vendor's servers answers a 502 by a page of its own.
    let usual = if status == 502 { Page::Html } else { Page::Error };
    Some(What::Status { status, page: page.unwrap_or(usual), retry_after })
}

fn times(value: &Value) -> Result<Option<u32>, String> {
    match text(value) {
        Ok("always") => Ok(None),
        _ => integer(1..=1_000_000)(value)
            .map(|times| u32::try_from(times).ok())
            .map_err(|rule| format!("{rule}, or \"always\"")),
    }
}

fn location(value: &Value) -> Result<HeaderValue, String> {
    let text = text(value)?;
    let header = HeaderValue::from_str(text).ok().filter(|_| text.len() <= LONGEST_LOCATION);
    header.ok_or_else(|| format!("must be a URL in visible ASCII, of at most {LONGEST_LOCATION} bytes"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::emulator::knobs::Knobs;

    fn list(trouble: serde_json::Value) -> Result<Vec<Trouble>, Vec<String>> {
        Knobs::default().turned(&json!({ "trouble": trouble })).map(|knobs| knobs.trouble)
    }

    #[test]
    fn each_comes_so_often_and_in_its_turn() {
        let troubles = list(json!([
            {"on": "start", "status": 502},
            {"on": "status", "do": "drop", "times": "always"},
            {"on": "start", "status": 429, "times": 2},
        ]))
        .unwrap();
        let mut counts = Vec::new();
        let mut next = |on| {
            next(&troubles, on, &mut counts).map(|trouble| match &trouble.what {
                What::Status { status, .. } => *status,
                _ => 0,
            })
        };
        let starts: Vec<_> = (0..4).map(|_| next(On::Start)).collect();
        assert_eq!(starts, [Some(502), Some(429), Some(429), None]);
        assert_eq!((0..9).filter_map(|_| next(On::Status)).count(), 9);
        assert_eq!(next(On::Output), None);
    }

    #[test]
    fn a_502_is_a_page_unless_it_says_otherwise() {
        let troubles = list(json!([
            {"on": "start", "status": 502}, {"on": "start", "status": 502, "body": "empty"}, {"on": "start", "status": 503},
        ]))
        .unwrap();
        let pages: Vec<_> = troubles
            .iter()
            .map(|trouble| match trouble.what {
                What::Status { page, .. } => page,
                _ => unreachable!(),
            })
            .collect();
        assert_eq!(pages, [Page::Html, Page::Empty, Page::Error]);
    }

    #[test]
    fn a_list_is_bounded() {
        let many = |n| list(serde_json::Value::Array(vec![json!({"on": "start", "do": "drop"}); n]));
        assert_eq!(many(MOST).unwrap().len(), MOST);
        assert_eq!(
            many(MOST + 1).unwrap_err(),
            ["the arguments: emulate.trouble: must have at most 100 entries"]
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        for (trouble, problem) in [
            (json!({"status": 502}), "on: is missing"),
            (json!({"on": "end", "status": 502}), "on: must be one of start, status, output"),
            (json!({"on": "start"}), "status: is missing"),
            (json!({"on": "start", "status": 199}), "status: must be a whole number from 200 to 599"),
            (json!({"on": "start", "do": "explode"}), "do: must be one of status, drop"),
            (json!({"on": "start", "do": "slow"}), "delay: must say how slow"),
            (json!({"on": "start", "do": "huge"}), "bytes: is missing"),
            (json!({"on": "start", "do": "elsewhere"}), "location: is missing"),
            (json!({"on": "start", "do": "elsewhere", "location": "ü\n"}), "location: must be a URL"),
            (json!({"on": "start", "do": "drop", "times": 0}), "times: must be a whole number from 1"),
            (json!({"on": "start", "do": "drop", "status": 500}), "status: unknown key"),
            (json!({"on": "status", "do": "drop", "after": true}), "after: is for"),
            (json!({"on": "start", "do": "cut", "after": true}), "after: is for"),
        ] {
            let problems = list(json!([{"on": "start", "do": "drop"}, trouble])).unwrap_err();
            let expected = format!("the arguments: emulate.trouble[1].{problem}");
            assert!(problems.len() == 1 && problems[0].starts_with(&expected), "{problem}: {problems:?}");
        }
    }
}
