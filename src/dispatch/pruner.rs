//! Retention: deletes what has ended and is past its time.

use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, monotonic};
use crate::queue::{PRUNE_PAUSE, PRUNED_AT_ONCE, Retention, Store};

/// Times are in days; an hour late is in time.
const EVERY: Duration = Duration::from_secs(3600);
/// A commit that takes longer is a burden to those who wait for it: the next one deletes less.
const LONG: Duration = Duration::from_millis(10);
const FEWEST: u64 = 10;

/// Prunes at once, then each hour, by what `retention` says then. Ends only by being dropped.
pub async fn prune<S: Store, C: Clock>(store: S, clock: C, retention: watch::Receiver<Retention>) {
    let (mut limit, mut deleted) = (FEWEST, 0);
    loop {
        let keep = *retention.borrow();
        let now = clock.now();
        let begun = monotonic();
        let wait = match store.prune(keep, now, limit).await {
            Ok(some) => {
                deleted += some.rows;
                limit = next(limit, begun.elapsed());
                if some.more {
                    PRUNE_PAUSE
                } else {
                    tracing::debug!(deleted, "retention: {deleted} rows deleted");
                    (limit, deleted) = (FEWEST, 0);
                    EVERY
                }
            }
            Err(e) => {
                tracing::error!(error = %e, "retention: {e}; tries again in an hour");
                EVERY
            }
        };
        let until = now.plus(wait);
        // No longer than it was meant to be: a clock that is set back makes it longer.
        while clock.now() < until && until.since(clock.now()) <= wait {
            clock.sleep_until(until).await;
        }
    }
}

/// How many rows the next commit deletes, by how long the last one took.
fn next(limit: u64, took: Duration) -> u64 {
    let next = if took > LONG { limit / 2 } else { limit * 2 };
    next.clamp(FEWEST, PRUNED_AT_ONCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_gets_shorter_commits_and_a_quick_one_longer_ones_again() {
        let slow = (0..20).fold(PRUNED_AT_ONCE, |limit, _| next(limit, LONG * 2));
        assert_eq!(slow, FEWEST);
        assert_eq!(next(PRUNED_AT_ONCE, LONG), PRUNED_AT_ONCE);
        assert_eq!((0..20).fold(slow, |limit, _| next(limit, LONG)), PRUNED_AT_ONCE);
    }
}
