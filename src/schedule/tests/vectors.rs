//! Other engines' answers to the same texts.
//!
//! `cron` and `own` are what most of croniter 7.0.0, cronsim 2.8, croner 11.0.1 and cron-parser 5.10.5 say (`own` where three
//! of them or all agree), `quartz` is Quartz 2.3.2.

use super::{instants, plain};
use crate::schedule::Expression;

const CASES: &str = include_str!("vectors.tsv");

/// Source, text and start of a case, what we answer, and why.
type Difference = (&'static str, &'static str, &'static str, &'static str, &'static str);

const NEVER_COMES: &str = "a date that never comes is refused when it is written, not accepted to do nothing";
const RUN_AFTER: &str = "two of four; dst_gap = run_after has a fixed time fire after the gap, one of a list as well as a single one";
const WHOLE_DAY: &str = "two of four; a whole day that the clock jumps over is a gap as any other";
const BOTH_DAYS: &str = "six fields are Quartz, which knows no two day fields together";
const QUARTZ_NUMBERS: &str = "six fields are Quartz, which counts weekdays from 1 = Sunday";
const QUARTZ_TOKENS: &str = "six fields are Quartz, which knows LW and ranges that wrap around";
const ONCE: &str = "two of four; dst_overlap = first has a fixed time fire once";

const DIFFERENCES: [Difference; 12] = [
    ("cron", "0 0 30 2 *", "2026-01-01T00:00:00Z", "ERR", NEVER_COMES),
    ("quartz", "0 0 12 30 2 ?", "2026-01-01T00:00:00Z", "ERR", NEVER_COMES),
    ("quartz", "0 0 12 31 4,6 ?", "2026-01-01T00:00:00Z", "ERR", NEVER_COMES),
    (
        "cron",
        "15 2-3 * * *",
        "2026-03-28T12:00:00+01:00",
        "2026-03-29T01:00:00Z,2026-03-29T01:15:00Z,2026-03-30T00:15:00Z,2026-03-30T01:15:00Z,2026-03-31T00:15:00Z",
        RUN_AFTER,
    ),
    (
        "cron",
        "15 1-3 * * *",
        "2026-10-24T12:00:00+02:00",
        "2026-10-24T23:15:00Z,2026-10-25T00:15:00Z,2026-10-25T02:15:00Z,2026-10-26T00:15:00Z,2026-10-26T01:15:00Z",
        ONCE,
    ),
    (
        "cron",
        "0 12 * * *",
        "2011-12-28T12:30:00-10:00",
        "2011-12-29T22:00:00Z,2011-12-30T10:00:00Z,2011-12-30T22:00:00Z,2011-12-31T22:00:00Z,2012-01-01T22:00:00Z",
        WHOLE_DAY,
    ),
    (
        "cron",
        "0 12 30 * *",
        "2011-12-01T00:00:00-10:00",
        "2011-12-30T10:00:00Z,2012-01-29T22:00:00Z,2012-03-29T22:00:00Z,2012-04-29T23:00:00Z,2012-05-29T23:00:00Z",
        WHOLE_DAY,
    ),
    (
        "quartz",
        "0 0 12 * *",
        "2026-01-01T00:00:00Z",
        "2026-01-12T00:00:00Z,2026-02-12T00:00:00Z,2026-03-12T00:00:00Z,2026-04-12T00:00:00Z,2026-05-12T00:00:00Z",
        "five fields are POSIX cron",
    ),
    ("own", "0 0 12 * * MON", "2026-01-01T00:00:00Z", "ERR", BOTH_DAYS),
    (
        "own",
        "0 0 12 ? * 6",
        "2026-01-01T00:00:00Z",
        "2026-01-02T12:00:00Z,2026-01-09T12:00:00Z,2026-01-16T12:00:00Z,2026-01-23T12:00:00Z,2026-01-30T12:00:00Z",
        QUARTZ_NUMBERS,
    ),
    (
        "own",
        "0 0 12 LW * ?",
        "2026-01-01T00:00:00Z",
        "2026-01-30T12:00:00Z,2026-02-27T12:00:00Z,2026-03-31T12:00:00Z,2026-04-30T12:00:00Z,2026-05-29T12:00:00Z",
        QUARTZ_TOKENS,
    ),
    (
        "own",
        "0 0 22-2 * * *",
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00Z,2026-01-01T02:00:00Z,2026-01-01T22:00:00Z,2026-01-01T23:00:00Z,2026-01-02T00:00:00Z",
        QUARTZ_TOKENS,
    ),
];

#[test]
fn the_answers_are_those_of_other_engines_but_for_what_is_said_here() {
    let mut wrong = Vec::new();
    let mut met = 0;
    let cases = CASES.lines().filter(|line| !line.starts_with('#'));
    for case in cases {
        let [source, text, zone, from, theirs] = case.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let ours = answer(text, zone, from);
        let difference = DIFFERENCES.iter().find(|known| (known.0, known.1, known.2) == (source, text, from));
        met += usize::from(difference.is_some());
        match difference {
            Some(_) if ours == theirs => wrong.push(format!("no difference any more: {case}")),
            Some((.., expected, _)) if ours != *expected => wrong.push(format!("{case}: {ours}")),
            None if ours != theirs => wrong.push(format!("{case}: {ours}")),
            _ => {}
        }
    }
    assert_eq!(wrong.join("\n"), "");
    assert_eq!(met, DIFFERENCES.len(), "a difference names no case");
    assert!(DIFFERENCES.iter().all(|(.., why)| !why.is_empty()));
}

/// The next five, or what comes instead.
fn answer(text: &str, zone: &str, from: &str) -> String {
    let Ok(expression) = Expression::parse(text) else { return "ERR".to_owned() };
    let found = instants(&plain(expression, zone), from, 5);
    if found.is_empty() { "NEVER".to_owned() } else { found.join(",") }
}
