//! What is wrong with the table, since when, and whether that has been told.

use crate::clock::UnixMillis;
use crate::queue::{Condition, Error};

/// What is known of the table's health.
#[derive(Default)]
pub(super) struct Health {
    failing: Option<Failing>,
    condition: Condition,
    told: Vec<String>,
}

struct Failing {
    since: UnixMillis,
    why: String,
    /// Whether a write failed: a read that succeeds says nothing about that.
    is_write: bool,
}

impl Health {
    /// The table could not be used.
    pub(super) fn failed(&mut self, error: &Error, is_write: bool, now: UnixMillis) {
        let why = reason(error);
        match &mut self.failing {
            Some(failing) => {
                failing.why = why;
                failing.is_write |= is_write;
            }
            None => self.failing = Some(Failing { since: now, why, is_write }),
        }
    }

    /// The table could be used.
    pub(super) fn worked(&mut self, is_write: bool, now: UnixMillis) {
        let is_over = |failing: &mut Failing| is_write || !failing.is_write;
        if let Some(failing) = self.failing.take_if(is_over) {
            let seconds = now.since(failing.since).as_secs();
            tracing::info!("the database can be used again, after {seconds} s");
        }
    }

    /// What the table says of itself.
    pub(super) fn learn(&mut self, condition: Condition) {
        self.condition = condition;
    }

    /// Whether there is only room for what has come back.
    pub(super) const fn is_full(&self) -> bool {
        self.condition.is_full
    }

    /// All that is wrong, if that has changed since the last time.
    pub(super) fn news(&mut self) -> Option<Vec<String>> {
        let failing = self.failing.iter().map(|Failing { since, why, is_write }| {
            let what = if *is_write { "written" } else { "read" };
            format!("the database cannot be {what} since {}: {why}", time_of_day(*since))
        });
        let all: Vec<String> = failing.chain(self.condition.notes.iter().cloned()).collect();
        if all == self.told {
            return None;
        }
        self.told.clone_from(&all);
        Some(all)
    }
}

/// What is behind an error, in one line.
fn reason(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// As in `12:03:59Z`.
fn time_of_day(at: UnixMillis) -> String {
    let seconds = at.0.div_euclid(1000).rem_euclid(24 * 3600);
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(what: &str) -> Error {
        Error::Unavailable { what: what.to_owned(), source: None }
    }

    #[test]
    fn what_is_wrong_is_told_once_with_its_beginning_and_taken_back() {
        let at = |seconds: i64| UnixMillis(1_800_000_000_000 + seconds * 1000);
        let mut health = Health::default();
        assert_eq!(health.news(), None);
        health.failed(&error("write"), true, at(0));
        let words = "the database cannot be written since 08:00:00Z: the database cannot be used: write";
        assert_eq!(health.news(), Some(vec![words.to_owned()]));
        health.failed(&error("write"), true, at(5));
        assert_eq!(health.news(), None, "it says since when");
        health.worked(false, at(6));
        assert_eq!(health.news(), None, "a read that succeeds says nothing about writes");
        health.learn(Condition { is_full: true, notes: vec!["full".to_owned()] });
        assert_eq!(health.news().map(|all| all.len()), Some(2));
        health.worked(true, at(7));
        assert_eq!(health.news(), Some(vec!["full".to_owned()]));
        health.learn(Condition::default());
        assert_eq!(health.news(), Some(Vec::new()));
    }

    #[test]
    fn a_read_that_fails_is_over_with_the_next_one() {
        let mut health = Health::default();
        health.failed(&error("read"), false, UnixMillis(0));
        let words = "the database cannot be read since 00:00:00Z: the database cannot be used: read";
        assert_eq!(health.news(), Some(vec![words.to_owned()]));
        health.worked(false, UnixMillis(0));
        assert_eq!(health.news(), Some(Vec::new()));
    }
}
