//! Whether the engine gets anywhere: what a watchdog asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what the engine has got done. Each count moves by work that was done, never because the loop has turned.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    writer: AtomicU64,
    look_up: AtomicU64,
    poller: AtomicU64,
}

/// The counts at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beats {
    /// What the writer of the table has answered. "It cannot be written now" is an answer too: a new start of the daemon
    /// cures neither a full disk nor a lock that a producer holds.
    pub writer: u64,
    /// How often it has been found out whether others changed the table.
    pub look_up: u64,
    /// How often rows whose poll was due have been read, or none was due. Where the table has just refused to be used,
    /// that counts for as long as the pause that follows.
    pub poller: u64,
}

impl Pulse {
    /// The counts as they are now.
    #[must_use]
    pub fn beats(&self) -> Beats {
        Beats {
            writer: self.0.writer.load(Ordering::Acquire),
            look_up: self.0.look_up.load(Ordering::Acquire),
            poller: self.0.poller.load(Ordering::Acquire),
        }
    }

    pub(super) fn wrote(&self) {
        self.0.writer.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn looked(&self) {
        self.0.look_up.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn polled(&self) {
        self.0.poller.fetch_add(1, Ordering::AcqRel);
    }
}

impl Beats {
    /// Who has done nothing since; empty if each has.
    #[must_use]
    pub fn idle_since(self, earlier: Self) -> Vec<&'static str> {
        let parts = [
            ("the writer", self.writer == earlier.writer),
            ("the look for changes", self.look_up == earlier.look_up),
            ("the poller", self.poller == earlier.poller),
        ];
        parts.into_iter().filter(|(_, idle)| *idle).map(|(name, _)| name).collect()
    }
}
