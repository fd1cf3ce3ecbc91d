//! One table of the configuration, read key by key, so that every problem is found and not only the first.
//!
//! A [`Section`] hands out its values by name; what nobody asked for when it is dropped into [`Section::finish`] is an
//! unknown key. Nothing here puts a value into a message unless its parser does: values may be secrets in the wrong
//! place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use config::{Map, Value, ValueKind};

use super::{source, units};
use crate::trigger::Rate;

/// What is wrong, in the order it was found. Shared by all sections, hence the cell.
#[derive(Debug)]
pub(crate) struct Problems {
    file: String,
    found: RefCell<Vec<String>>,
}

impl Problems {
    pub(crate) fn new(file: String) -> Self {
        Self { file, found: RefCell::default() }
    }

    /// Adds one; `origin` is where the value was written, none for what is missing (then: the file).
    pub(crate) fn add(&self, origin: Option<&str>, key: &str, rule: &str) {
        let problem = match origin {
            Some(source::ENVIRONMENT) => format!("{}: {rule}", source::variable(key)),
            Some(origin) => format!("{origin}: {key}: {rule}"),
            None => format!("{}: {key}: {rule}", self.file),
        };
        self.say(problem);
    }

    /// Adds one that is about no key.
    pub(crate) fn say(&self, problem: String) {
        self.found.borrow_mut().push(problem);
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.found.into_inner()
    }
}

/// A table that is being read.
pub(crate) struct Section<'p> {
    key: String,
    values: Map<String, Value>,
    asked: Vec<&'static str>,
    pub(crate) problems: &'p Problems,
}

impl<'p> Section<'p> {
    /// `key` is the dotted name of the table, empty for the root. What is no table is a problem and reads as empty.
    pub(crate) fn new(key: &str, value: Value, problems: &'p Problems) -> Self {
        let origin = value.origin().map(str::to_owned);
        let values = match value.kind {
            ValueKind::Table(table) => table,
            _ => {
                problems.add(origin.as_deref(), key, "must be a table");
                Map::new()
            }
        };
        Self { key: key.to_owned(), values, asked: Vec::new(), problems }
    }

    /// The dotted name of a key of this table.
    pub(crate) fn path(&self, name: &str) -> String {
        match (self.key.is_empty(), bare(name)) {
            (true, true) => name.to_owned(),
            (true, false) => format!("{name:?}"),
            (false, true) => format!("{}.{name}", self.key),
            (false, false) => format!("{}.{name:?}", self.key),
        }
    }

    /// The value of `name`, if it is there and `parse` takes it; else none, and a problem if it is there.
    pub(crate) fn take<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.asked.push(name);
        let value = self.values.remove(name)?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(rule) => {
                self.problems.add(value.origin(), &self.path(name), &rule);
                None
            }
        }
    }

    /// As [`Section::take`], for what must be there.
    pub(crate) fn require<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if !self.values.contains_key(name) {
            self.problem(name, "is missing");
        }
        self.take(name, parse)
    }

    /// The table `name` of this table; empty if it is not there.
    pub(crate) fn table(&mut self, name: &'static str) -> Section<'p> {
        self.asked.push(name);
        let value = self.values.remove(name).unwrap_or_else(empty);
        Section::new(&self.path(name), value, self.problems)
    }

    /// The tables of a table of names, each checked for its name.
    pub(crate) fn named(self) -> Vec<(String, Section<'p>)> {
        let mut named = Vec::new();
        for (name, value) in sorted(&self.values) {
            let path = self.path(name);
            if name.is_empty() || !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
            {
                self.problems.add(value.origin(), &path, "a name is made of a to z, 0 to 9, _ and - only");
            }
            named.push((name.clone(), Section::new(&path, value.clone(), self.problems)));
        }
        named
    }

    /// Whether this table says something about `name`.
    pub(crate) fn says(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Writes what this table does not say from `defaults` into it, at every depth.
    pub(crate) fn fill(&mut self, defaults: &Map<String, Value>) {
        fill(&mut self.values, defaults);
    }

    /// A rule that holds between values, blamed on the key `name`.
    pub(crate) fn problem(&self, name: &str, rule: &str) {
        self.problems.add(None, &self.path(name), rule);
    }

    /// A rule that this table breaks as a whole.
    pub(crate) fn fault(&self, rule: &str) {
        self.problems.add(None, &self.key, rule);
    }

    /// What is left is unknown.
    pub(crate) fn finish(self) {
        for (name, value) in sorted(&self.values) {
            let known = self.asked.join(", ");
            self.problems.add(
                value.origin(),
                &self.path(name),
                &format!("unknown key (known here: {known})"),
            );
        }
    }

    /// Forgets what is left, where it cannot be judged.
    pub(crate) fn ignore(self) {}
}

fn fill(table: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    for (name, default) in defaults {
        match (table.get_mut(name).map(|value| &mut value.kind), &default.kind) {
            (None, _) => drop(table.insert(name.clone(), default.clone())),
            (Some(ValueKind::Table(table)), ValueKind::Table(defaults)) => fill(table, defaults),
            (Some(_), _) => {}
        }
    }
}

fn empty() -> Value {
    Value::new(None, ValueKind::Table(Map::new()))
}

/// The map has no order; people expect the same messages each time.
fn sorted(table: &Map<String, Value>) -> BTreeMap<&String, &Value> {
    table.iter().collect()
}

/// Whether TOML lets `name` stand without quotes.
fn bare(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

// What a value may be. Each gives the rule it breaks.

pub(crate) fn text(value: &Value) -> Result<&str, String> {
    match &value.kind {
        ValueKind::String(text) => Ok(text),
        _ => Err("must be a string".to_owned()),
    }
}

pub(crate) fn boolean(value: &Value) -> Result<bool, String> {
    match &value.kind {
        ValueKind::Boolean(yes) => Ok(*yes),
        _ => Err("must be true or false".to_owned()),
    }
}

pub(crate) fn integer(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Result<u64, String> {
    move |value| {
        let number = match &value.kind {
            ValueKind::I64(number) => u64::try_from(*number).ok(),
            // The environment has nothing but text.
            ValueKind::String(text) if value.origin() == Some(source::ENVIRONMENT) => text.parse().ok(),
            _ => None,
        };
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
    }
}

pub(crate) fn number(value: &Value) -> Result<f64, String> {
    match &value.kind {
        ValueKind::Float(number) => Ok(*number),
        #[expect(clippy::cast_precision_loss, reason = "numbers that large are refused by every reader")]
        ValueKind::I64(number) => Ok(*number as f64),
        _ => Err("must be a number".to_owned()),
    }
}

pub(crate) fn list(value: &Value) -> Result<&[Value], String> {
    match &value.kind {
        ValueKind::Array(values) => Ok(values),
        _ => Err("must be a list".to_owned()),
    }
}

/// Zero is a duration here; see [`wait`].
pub(crate) fn duration(value: &Value) -> Result<Duration, String> {
    match &value.kind {
        ValueKind::I64(_) | ValueKind::Float(_) => {
            Err("needs a unit, such as 5s, 10m or 24h, in quotes".to_owned())
        }
        _ => units::duration(text(value)?),
    }
}

/// A duration for which zero makes no sense.
pub(crate) fn wait(value: &Value) -> Result<Duration, String> {
    duration(value)
        .and_then(|wait| if wait.is_zero() { Err("must be longer than zero".to_owned()) } else { Ok(wait) })
}

/// So many in so long.
pub(crate) fn rate(value: &Value) -> Result<Rate, String> {
    match &value.kind {
        ValueKind::I64(_) | ValueKind::Float(_) => {
            Err("needs a duration, such as 50/1m, in quotes".to_owned())
        }
        _ => units::rate(text(value)?),
    }
}

/// A number of bytes. The upper limit is far below the 1,000,000,000 bytes that SQLite takes in one row.
pub(crate) fn size(least: u64) -> impl Fn(&Value) -> Result<u64, String> {
    const MOST: u64 = 256 << 20;
    move |value| {
        let size = match &value.kind {
            ValueKind::I64(_) | ValueKind::Float(_) => {
                return Err("needs a unit, such as 64KiB or 1MiB, in quotes".to_owned());
            }
            _ => units::size(text(value)?)?,
        };
        if (least..=MOST).contains(&size) {
            Ok(size)
        } else {
            Err(format!("must be from {least}B to 256MiB"))
        }
    }
}

/// One of a few spellings.
pub(crate) fn one_of<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let spelled = text(value).ok();
        choices.iter().find(|(spelling, _)| spelled == Some(*spelling)).map(|(_, choice)| *choice).ok_or_else(
            || {
                let spellings: Vec<_> = choices.iter().map(|(spelling, _)| *spelling).collect();
                format!("must be one of {}", spellings.join(", "))
            },
        )
    }
}
