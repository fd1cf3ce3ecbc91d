//! The idle connections of one origin, and whether it may be trusted with them. Pure: `now` is passed in.
//!
//! A firing cannot be repeated, so it must not meet a connection that the far end is about to close: only those are
//! used again whose last answer ended a moment ago, and only while the origin has not been seen to close one unannounced.

use std::time::{Duration, Instant};

/// An answer that ended longer ago does not vouch for its connection.
pub(super) const FRESH: Duration = Duration::from_secs(1);
/// How long an origin that closed a connection unannounced gets none twice.
const DISTRUST: Duration = Duration::from_secs(10 * 60);

/// Idle connections, the latest last.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    idle: Vec<(T, Instant)>,
    distrusted_until: Option<Instant>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { idle: Vec::new(), distrusted_until: None }
    }
}

impl<T> Shelf<T> {
    /// Takes the connection whose answer ended last, of those that are `ready`.
    pub(super) fn take(&mut self, now: Instant, ready: impl Fn(&T) -> bool) -> Option<T> {
        if self.is_distrusted(now) {
            return None;
        }
        let found = self.idle.iter().rposition(|(one, since)| is_fresh(*since, now) && ready(one))?;
        Some(self.idle.remove(found).0)
    }

    /// Puts back a connection whose answer has just ended; gives it back if it is not to be used again.
    pub(super) fn put(&mut self, one: T, now: Instant) -> Option<T> {
        if self.is_distrusted(now) {
            return Some(one);
        }
        self.idle.push((one, now));
        None
    }

    /// The origin closed a connection unannounced.
    pub(super) fn distrust(&mut self, now: Instant) {
        self.distrusted_until = now.checked_add(DISTRUST);
    }

    /// Takes out what will not be used again.
    pub(super) fn sweep(&mut self, now: Instant) -> Vec<T> {
        let all = self.is_distrusted(now);
        self.idle.extract_if(.., |(_, since)| all || !is_fresh(*since, now)).map(|(one, _)| one).collect()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.idle.is_empty()
    }

    /// Whether no connection is used twice at present.
    pub(super) fn is_distrusted(&self, now: Instant) -> bool {
        self.distrusted_until.is_some_and(|until| now < until)
    }
}

fn is_fresh(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < FRESH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn gives_the_latest_that_is_ready_and_nothing_older_than_a_second() {
        let start = monotonic();
        let mut shelf = Shelf::default();
        for (n, at) in [(1, 0), (2, 500), (3, 600), (4, 700)] {
            assert_eq!(shelf.put(n, start + ms(at)), None);
        }
        assert_eq!(shelf.take(start + ms(900), |n| *n != 4), Some(3));
        assert_eq!(shelf.take(start + ms(900), |_| true), Some(4));
        assert_eq!(shelf.take(start + ms(1499), |_| true), Some(2));
        assert_eq!(shelf.take(start + ms(1499), |_| true), None, "the first is too old");
        assert_eq!(shelf.sweep(start + ms(1499)), [1]);
        assert!(shelf.is_empty());
    }

    #[test]
    fn an_origin_that_closes_unannounced_gets_no_connection_twice_for_ten_minutes() {
        let start = monotonic();
        let mut shelf = Shelf::default();
        assert_eq!(shelf.put(1, start), None);
        shelf.distrust(start);
        assert_eq!(shelf.take(start, |_| true), None);
        assert_eq!(shelf.put(2, start + ms(599_999)), Some(2));
        assert_eq!(shelf.sweep(start), [1]);
        assert_eq!(shelf.put(3, start + ms(600_000)), None);
        assert_eq!(shelf.take(start + ms(600_001), |_| true), Some(3));
    }
}
