//! How a verb fails: an exit code and one line a problem.

use std::error::Error;
use std::io::Write;

use triggerd::queue::{self, console};
use triggerd::{config, daemon, emulator, logging};

/// A request did not end well, or was refused.
pub(crate) const NOT_WELL: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;
/// The database is damaged.
pub(crate) const DAMAGED: u8 = 65;
/// What is needed cannot be had now: the database, a host, an address.
pub(crate) const UNAVAILABLE: u8 = 69;
/// The configuration cannot be used.
pub(crate) const CONFIGURATION: u8 = 78;

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// Nothing is printed if it is empty: then it has been said already.
    pub(crate) lines: Vec<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, line: impl Into<String>) -> Self {
        Self { code, lines: vec![line.into()] }
    }

    pub(crate) const fn silent(code: u8) -> Self {
        Self { code, lines: Vec::new() }
    }

    /// To standard error. There is nobody left to tell if that fails.
    pub(crate) fn print(&self) {
        let mut stderr = std::io::stderr().lock();
        for line in self.lines.iter().flat_map(|line| line.lines()) {
            let _ = writeln!(stderr, "triggerd: {}", super::print::plain(line));
        }
    }
}

/// What to say of an id that is not in the table.
pub(crate) fn no_request(id: i64) -> String {
    format!("no request {id}: it was never inserted, or retention has deleted it; see `triggerd list`")
}

/// How many names a person reads.
const NAMES: usize = 12;

/// What to say of a name that is not there: which there are, or those most like it; `none`: what to do where there are none.
pub(crate) fn unknown(what: &str, name: &str, names: &[String], none: &str) -> String {
    if names.is_empty() {
        return format!("there is no {what} {name}, nor any other: {none}");
    }
    let mut known: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = known.len() <= NAMES;
    if !all {
        known.sort_by_key(|known| strsim::damerau_levenshtein(name, known));
        known.truncate(NAMES);
    }
    let which = if all { "there are" } else { "most like it are" };
    format!("there is no {what} {name}: {which} {}", known.join(", "))
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self { code: error.exit_code(), lines: error.problems().to_vec() }
    }
}

impl From<console::Error> for Failure {
    fn from(error: console::Error) -> Self {
        Self::new(error.exit_code(), chain(&error))
    }
}

impl From<queue::Error> for Failure {
    fn from(error: queue::Error) -> Self {
        Self::new(error.exit_code(), format!("{}{}", chain(&error), remedy(&error)))
    }
}

impl From<daemon::Error> for Failure {
    fn from(error: daemon::Error) -> Self {
        match error {
            daemon::Error::Queue(error) => error.into(),
            error => Self::new(error.exit_code(), chain(&error)),
        }
    }
}

/// What to do about it, if it does not say so itself.
const fn remedy(error: &queue::Error) -> &'static str {
    match error {
        queue::Error::Locked(_) => ": stop that one first, or use another database.url",
        queue::Error::Corrupt(_) => {
            ": see whether database.url names the right file; `triggerd check` looks for damage"
        }
        queue::Error::Unavailable { .. } => {
            ": see database.url, the room on its disk, and who owns the file and its folder"
        }
        queue::Error::Newer { .. }
        | queue::Error::Replaced(_)
        | queue::Error::Ended
        | queue::Error::Restored { .. }
        | queue::Error::Copy(_)
        | queue::Error::Refused(_) => "",
    }
}

impl From<emulator::Error> for Failure {
    fn from(error: emulator::Error) -> Self {
        Self::new(
            UNAVAILABLE,
            format!("{}; --listen takes another address, and port 0 a free one", chain(&error)),
        )
    }
}

impl From<logging::Error> for Failure {
    fn from(error: logging::Error) -> Self {
        Self::new(CONFIGURATION, chain(&error))
    }
}

/// An error with its causes, in one line. Some libraries repeat a cause in their own words; we do not.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_there_is_answered_with_those_that_are() {
        let names = |n: usize| (0..n).map(|n| format!("report-{n}")).collect::<Vec<_>>();
        let unknown = |name, names: &[String]| unknown("trigger", name, names, "configure one");
        assert_eq!(unknown("x", &[]), "there is no trigger x, nor any other: configure one");
        assert_eq!(unknown("report", &names(2)), "there is no trigger report: there are report-0, report-1");
        let many = unknown("reprot-77", &names(100));
        assert!(many.starts_with("there is no trigger reprot-77: most like it are report-77, "), "{many}");
        assert_eq!(many.matches(", ").count(), NAMES - 1);
    }
}
