//! Time: the only place of the program that reads a clock.
//!
//! Owns [`UnixMillis`], the instant that rows carry, and [`Clock`], the source that everything else is handed.
//! Nothing else may call `SystemTime::now` or `Instant::now` (`clippy.toml` refuses it).

use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant in whole milliseconds since 1970-01-01T00:00:00Z, as every time column of the database holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// This instant plus `wait`; saturates at the far end of time.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This instant less `time`; saturates at the near end of time.
    #[must_use]
    pub fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to this instant; zero when `earlier` is later (a wall clock may step back).
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Where "now" comes from, and how to wait for a later now.
pub trait Clock: Clone + Send + Sync + 'static {
    /// The wall clock, truncated to milliseconds.
    fn now(&self) -> UnixMillis;

    /// Ends once `now()` has reached `at`, or somewhat earlier: the caller looks again.
    fn sleep_until(&self, at: UnixMillis) -> impl Future<Output = ()> + Send;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// Sleeps end at least this often, since a timer of the runtime does not count a suspended machine or a stepped
/// wall clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
    fn now(&self) -> UnixMillis {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMillis(0).plus(since)
    }

    async fn sleep_until(&self, at: UnixMillis) {
        let wait = at.since(self.now());
        if wait.is_zero() {
            // Also then others get their turn: a caller whose time is always over must not starve them.
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(wait.min(LONGEST_SLEEP)).await;
        }
    }
}

/// A monotonic instant, for what is measured within one life of the process (idle connections, watchdogs).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
pub fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// `CLOCK_MONOTONIC` in microseconds since the machine's start, as other programs of the machine read it too.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
pub fn monotonic_micros() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_gives_no_negative_duration() {
        assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
        assert_eq!(UnixMillis(9).since(UnixMillis(5)), Duration::from_millis(4));
    }

    #[test]
    fn adding_without_bound_saturates() {
        assert_eq!(UnixMillis(i64::MAX - 1).plus(Duration::from_secs(1)), UnixMillis(i64::MAX));
        assert_eq!(UnixMillis(0).plus(Duration::MAX), UnixMillis(i64::MAX));
    }
}
