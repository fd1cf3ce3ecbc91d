//! One field of a cron text: its grammar, and what it says in numbers that no dialect can misread.
//!
//! Weekdays leave here as 0 = Sunday to 6 = Saturday (7 is Sunday too), whatever the dialect counts; names, open
//! ranges and ranges that wrap around are gone. The evaluators get nothing else to read.

use std::fmt::Write as _;

use super::expression::{Dialect, Problem};

/// What a field counts, and how it may be written.
#[derive(Debug)]
pub(super) struct Kind {
    /// For messages.
    pub(super) name: &'static str,
    pub(super) min: u16,
    pub(super) max: u16,
    names: &'static [&'static str],
}

pub(super) const SECOND: Kind = Kind { name: "second", min: 0, max: 59, names: &[] };
pub(super) const MINUTE: Kind = Kind { name: "minute", min: 0, max: 59, names: &[] };
pub(super) const HOUR: Kind = Kind { name: "hour", min: 0, max: 23, names: &[] };
pub(super) const DAY: Kind = Kind { name: "day of month", min: 1, max: 31, names: &[] };
pub(super) const MONTH: Kind = Kind { name: "month", min: 1, max: 12, names: &MONTHS };
/// Far enough for anybody, and no more than both evaluators know.
pub(super) const YEAR: Kind = Kind { name: "year", min: 1970, max: 2199, names: &[] };
const POSIX_WEEKDAY: Kind = Kind { name: "day of week", min: 0, max: 7, names: &WEEKDAYS };
const QUARTZ_WEEKDAY: Kind = Kind { name: "day of week", min: 1, max: 7, names: &WEEKDAYS };

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The weekday field of a dialect.
pub(super) const fn weekday(dialect: Dialect) -> &'static Kind {
    match dialect {
        Dialect::Quartz => &QUARTZ_WEEKDAY,
        Dialect::Posix | Dialect::Every => &POSIX_WEEKDAY,
    }
}

/// A field that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// `*`: no restriction.
    All,
    /// `?`: no restriction, said in the way of Quartz.
    Open,
    /// Any of these.
    Some(Vec<Item>),
}

/// One member of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// `from`, `from + step`, ... up to `to`.
    Span { from: u16, to: u16, step: u16 },
    /// `L`, `L-3`: so many days before the last of the month; with `W` the working day nearest to it.
    Last { back: u16, nearest: bool },
    /// `15W`: the working day nearest to that one, in the same month.
    Nearest { day: u16 },
    /// `FRI#2`: the second Friday.
    Nth { weekday: u16, nth: u16 },
    /// `FRIL`: the last Friday.
    LastOf { weekday: u16 },
}

impl Field {
    /// Reads one field, in upper case.
    pub(super) fn parse(kind: &Kind, dialect: Dialect, text: &str) -> Result<Self, Problem> {
        let reader = Reader { kind, dialect };
        match text {
            "*" => return Ok(Self::All),
            "?" if kind.name.starts_with("day") => return Ok(Self::Open),
            _ => {}
        }
        let mut items = Vec::new();
        for part in text.split(',') {
            reader.part(part, &mut items)?;
        }
        reader.check_list(text, &items)?;
        Ok(Self::Some(items))
    }

    /// Whether it lets every value pass because nothing was asked of it.
    pub(super) const fn is_free(&self) -> bool {
        matches!(self, Self::All | Self::Open)
    }

    /// Its members; none if it is free.
    pub(super) fn items(&self) -> &[Item] {
        match self {
            Self::All | Self::Open => &[],
            Self::Some(items) => items,
        }
    }

    /// Whether it names a value without L, W and #. A free field names all.
    pub(super) fn has(&self, value: u16) -> bool {
        self.is_free()
            || self.items().iter().any(|item| match *item {
                Item::Span { from, to, step } => {
                    (from..=to).contains(&value) && (value - from).is_multiple_of(step)
                }
                _ => false,
            })
    }

    /// As both evaluators read it, with `plus` added to each value, and no value above `limit`.
    pub(super) fn canonical(&self, plus: u16, limit: u16) -> Option<String> {
        if self.is_free() {
            return Some("*".to_owned());
        }
        let mut text = String::new();
        for item in self.items() {
            let separator = if text.is_empty() { "" } else { "," };
            let written = match *item {
                Item::Span { from, .. } if from > limit => continue,
                Item::Span { from, to, step } => {
                    let to = to.min(limit);
                    let (first, last) = (from + plus, to + plus);
                    if from + step > to {
                        write!(text, "{separator}{first}")
                    } else if step == 1 {
                        write!(text, "{separator}{first}-{last}")
                    } else {
                        write!(text, "{separator}{first}-{last}/{step}")
                    }
                }
                Item::Last { back: 0, nearest } => {
                    write!(text, "{separator}L{}", if nearest { "W" } else { "" })
                }
                // Neither of them knows it: see `Pattern`.
                Item::Last { .. } => return None,
                Item::Nearest { day } => write!(text, "{separator}{day}W"),
                Item::Nth { weekday, nth } => write!(text, "{separator}{weekday}#{nth}"),
                Item::LastOf { weekday } => write!(text, "{separator}{weekday}L"),
            };
            written.ok()?;
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Reads the members of one field.
struct Reader<'a> {
    kind: &'a Kind,
    dialect: Dialect,
}

impl Reader<'_> {
    fn part(&self, part: &str, items: &mut Vec<Item>) -> Result<(), Problem> {
        if let Some(item) = self.special(part)? {
            items.push(item);
            return Ok(());
        }
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(self.step(part, step)?)),
            None => (part, None),
        };
        let quartz = self.dialect == Dialect::Quartz;
        let (from, to) = match range.split_once('-') {
            Some(_) if step == Some(0) => {
                return Err(self.problem(part, "a step of 0 leads nowhere", "a step is 1 or more"));
            }
            Some((from, to)) => (self.value(part, from)?, self.end_of_range(part, to)?),
            None if range == "*" || (range.is_empty() && quartz && step.is_some()) => {
                if step == Some(0) {
                    return Err(self.problem(part, "a step of 0 leads nowhere", "a step is 1 or more"));
                }
                (self.kind.min, self.last())
            }
            None => {
                let from = self.value(part, range)?;
                // Quartz takes `5/0` for `5`.
                (from, if matches!(step, None | Some(0)) { from } else { self.kind.max })
            }
        };
        self.spans(part, from, to, step.unwrap_or(1).max(1), items)
    }

    /// The same in terms of 0 = Sunday, with ranges that wrap around taken apart.
    fn spans(&self, part: &str, from: u16, to: u16, step: u16, items: &mut Vec<Item>) -> Result<(), Problem> {
        let less = u16::from(self.is_weekday() && self.dialect == Dialect::Quartz);
        if from <= to {
            items.push(Item::Span { from: from - less, to: to - less, step });
            return Ok(());
        }
        if self.dialect != Dialect::Quartz || self.kind.name == YEAR.name {
            return Err(self.problem(
                part,
                "the range ends before it begins",
                "write the smaller value first",
            ));
        }
        let turn = self.kind.max + 1 - self.kind.min;
        let values = (from..=to + turn).step_by(usize::from(step));
        let wrapped = values.map(|value| if value > self.kind.max { value - turn } else { value } - less);
        items.extend(wrapped.map(|value| Item::Span { from: value, to: value, step: 1 }));
        Ok(())
    }

    fn is_weekday(&self) -> bool {
        self.kind.name == POSIX_WEEKDAY.name
    }

    /// The last value of `*/n`. Sunday is not counted twice.
    fn last(&self) -> u16 {
        if self.is_weekday() && self.dialect != Dialect::Quartz { 6 } else { self.kind.max }
    }

    /// `L`, `LW`, `L-3`, `15W`, `6L`, `FRI#2`.
    fn special(&self, part: &str) -> Result<Option<Item>, Problem> {
        let weekday = self.is_weekday();
        let day = self.kind.name == DAY.name;
        if day && let Some(rest) = part.strip_prefix('L') {
            return self.counted_back(part, rest).map(Some);
        }
        if day && let Some(number) = part.strip_suffix('W') {
            return Ok(Some(Item::Nearest { day: self.value(part, number)? }));
        }
        if weekday && let Some((name, nth)) = part.split_once('#') {
            let nth = number(nth).filter(|nth| (1..=5).contains(nth));
            let nth = nth.ok_or_else(|| {
                self.problem(part, "there is no such week of a month", "# is followed by 1 to 5")
            })?;
            return Ok(Some(Item::Nth { weekday: self.sunday_is_0(self.value(part, name)?), nth }));
        }
        if weekday && part == "L" {
            return match self.dialect {
                // Quartz: the last day of the week.
                Dialect::Quartz => Ok(Some(Item::Span { from: 6, to: 6, step: 1 })),
                _ => {
                    Err(self.problem(part, "L needs its weekday", "FRIL or 5L is the last Friday of a month"))
                }
            };
        }
        if weekday && let Some(name) = part.strip_suffix('L') {
            return Ok(Some(Item::LastOf { weekday: self.sunday_is_0(self.value(part, name)?) }));
        }
        if part.contains('?') {
            return Err(self.problem(
                part,
                "? stands alone, in one of the day fields",
                "elsewhere * is every value",
            ));
        }
        Ok(None)
    }

    fn counted_back(&self, part: &str, rest: &str) -> Result<Item, Problem> {
        let (rest, nearest) = match rest.strip_suffix('W') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let back = match (rest, rest.strip_prefix('-')) {
            ("", _) => Some(0),
            (_, Some(number)) if self.dialect == Dialect::Quartz => self::number(number),
            _ => None,
        };
        let right = match self.dialect {
            Dialect::Quartz => "L, LW, L-3 and L-3W are known, with 30 days at most",
            _ => "L and LW are known",
        };
        match back {
            Some(back) if back <= 30 => Ok(Item::Last { back, nearest }),
            _ => Err(self.problem(part, "not a way to count from the end of a month", right)),
        }
    }

    /// What a list may not have together.
    fn check_list(&self, text: &str, items: &[Item]) -> Result<(), Problem> {
        if items.len() < 2 {
            return Ok(());
        }
        let quartz = self.dialect == Dialect::Quartz;
        for item in items {
            let (refused, what) = match item {
                Item::Span { .. } => (false, ""),
                Item::Nearest { .. } | Item::Last { nearest: true, .. } => (true, "W"),
                Item::Last { .. } | Item::LastOf { .. } => (quartz, "L"),
                Item::Nth { .. } => (quartz, "#"),
            };
            if refused {
                let wrong = format!("{what} is no member of a list");
                return Err(self.problem(text, &wrong, "write a schedule for each"));
            }
        }
        Ok(())
    }

    fn step(&self, part: &str, text: &str) -> Result<u16, Problem> {
        let quartz = self.dialect == Dialect::Quartz;
        let step = number(text).ok_or_else(|| {
            self.problem(part, "the step is not a number", "a step is written as in */15 or 8-18/2")
        })?;
        if step == 0 && !quartz {
            return Err(self.problem(part, "a step of 0 leads nowhere", "a step is 1 or more"));
        }
        // Quartz refuses what other engines take for a single value.
        let most = self.kind.max;
        if quartz && step > most {
            let right = format!("a step is {most} at most");
            return Err(self.problem(part, "the step is larger than the field", &right));
        }
        Ok(step)
    }

    fn end_of_range(&self, part: &str, text: &str) -> Result<u16, Problem> {
        // FRI-SUN: the Sunday at the end of the week.
        if text == "SUN" && self.dialect != Dialect::Quartz && self.is_weekday() {
            let from_sunday = part.starts_with("SUN-") || part.starts_with("0-");
            return Ok(if from_sunday { 0 } else { 7 });
        }
        self.value(part, text)
    }

    fn value(&self, part: &str, text: &str) -> Result<u16, Problem> {
        let Kind { min, max, names, .. } = *self.kind;
        let right = match names {
            [] => format!("{min}-{max} is allowed"),
            [first, .., last] => format!("{min}-{max} or {first}-{last} is allowed"),
            [only] => format!("{only} is allowed"),
        };
        if let Some(at) = names.iter().position(|name| *name == text) {
            // Weekdays begin where the dialect does, months with 1.
            return Ok(u16::try_from(at).expect("there are twelve names at most") + min);
        }
        match number(text) {
            Some(value) if (min..=max).contains(&value) => Ok(value),
            Some(_) => Err(self.problem(part, "out of range", &right)),
            None if text.is_empty() => Err(self.problem(part, "a value is missing", &right)),
            None => Err(self.problem(part, "not a value of this field", &right)),
        }
    }

    fn sunday_is_0(&self, weekday: u16) -> u16 {
        match self.dialect {
            Dialect::Quartz => weekday - 1,
            _ => weekday % 7,
        }
    }

    fn problem(&self, part: &str, wrong: &str, right: &str) -> Problem {
        Problem::new(self.kind.name, format!("{part:?}: {wrong}"), right)
    }
}

/// Digits only, and not many: `parse` alone takes a sign.
fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
