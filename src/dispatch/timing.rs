//! A wall clock that is set back: every wait of the engine's own would become longer by as much.
//!
//! Rows carry wall-clock times because they outlive the process, and so do the waits here. A clock that is set
//! forward ends waits early, which costs a look; one that is set back by a day would keep polls, signs of life and the
//! pause after an error waiting for a day. The loop turns at least every 30 seconds, so it sees that soon.

use std::time::Duration;

use super::Dispatcher;
use crate::client::Client;
use crate::clock::{Clock, UnixMillis};
use crate::queue::Store;

/// A shorter step is what keeps a clock right, and makes no wait much longer.
const LEAST_STEP: Duration = Duration::from_secs(1);

impl<S: Store, W: Client, C: Clock> Dispatcher<S, W, C> {
    /// Takes note of the time, and makes all waits shorter by what the clock was set back since the last turn.
    pub(super) fn keep_time(&mut self, now: UnixMillis) {
        let step = self.turned_at.since(now);
        self.turned_at = now;
        if step < LEAST_STEP {
            return;
        }
        tracing::warn!(
            step_s = step.as_secs(),
            "the clock was set back by {} s: what waits, waits no longer for it",
            step.as_secs()
        );
        self.waiting.set_back(step);
        self.breakers.set_back(step);
        self.lanes.set_back(step);
        if let Some((_, until)) = &mut self.pause {
            *until = until.minus(step);
        }
        self.stopping = self.stopping.map(|grace| grace.minus(step));
        self.peek_at = self.peek_at.min(now);
        self.sign_at = self.sign_at.min(now);
        self.board.untold();
        // What changes in the table by time alone, only the table knows.
        self.intake.forget_times();
    }

    /// The latest time at which a row that is to be polled may be due: one that is due later was stored before the clock
    /// was set back.
    pub(super) fn latest_poll(&self, now: UnixMillis) -> UnixMillis {
        let waits = self.settings.triggers.values().map(|t| t.poll.max.max(t.retry_after_max));
        now.plus(waits.max().unwrap_or_default())
    }
}
