//! Retention: deletes what has ended and is past its time.

use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::queue::{PRUNE_PAUSE, PRUNED_AT_ONCE, Retention, Store};

/// Times are in days; an hour late is in time.
const EVERY: Duration = Duration::from_secs(3600);

/// Prunes at once, then each hour, by what `retention` says then. Ends only by being dropped.
pub async fn prune<S: Store, C: Clock>(store: S, clock: C, retention: watch::Receiver<Retention>) {
    loop {
        let keep = *retention.borrow();
        let now = clock.now();
        let wait = match store.prune(keep, now).await {
            Ok(deleted) if deleted >= PRUNED_AT_ONCE => PRUNE_PAUSE,
            Ok(deleted) => {
                tracing::debug!(deleted, "retention: {deleted} rows deleted");
                EVERY
            }
            Err(e) => {
                tracing::error!(error = %e, "retention: {e}; tries again in an hour");
                EVERY
            }
        };
        let until = now.plus(wait);
        while clock.now() < until {
            clock.sleep_until(until).await;
        }
    }
}
