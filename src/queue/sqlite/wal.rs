//! How long the write-ahead log has grown. A reader that never ends keeps it from being begun anew, and it takes the disk.

use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;
/// From here on it is cut back as soon as nobody is in the way.
const LONG: u64 = 64 * MIB;
/// From here on somebody should look.
const TOO_LONG: u64 = 256 * MIB;
/// Between two tries to cut it back.
const TRY_EVERY: Duration = Duration::from_secs(5);
/// Between two lines about one that does not get twice as long meanwhile.
const SAY_EVERY: Duration = Duration::from_secs(600);

pub(super) struct Wal {
    /// Whether this daemon checkpoints.
    checkpoints: bool,
    try_at: Option<Instant>,
    /// Its length when it was last told of, and when that was.
    alarm: Option<(u64, Instant)>,
    size: u64,
}

impl Wal {
    pub(super) const fn new(checkpoints: bool) -> Self {
        Self { checkpoints, try_at: None, alarm: None, size: 0 }
    }

    /// Its length now; answers whether it should be cut back.
    pub(super) fn measured(&mut self, size: u64, now: Instant) -> bool {
        self.size = size;
        if size <= TOO_LONG {
            if self.alarm.take().is_some() {
                tracing::info!("the write-ahead log is down to {} MiB", size / MIB);
            }
        } else if self.alarm.is_none_or(|(said, at)| size >= 2 * said || now >= at + SAY_EVERY) {
            self.alarm = Some((size, now));
            tracing::warn!("{}", self.note().unwrap_or_default());
        }
        let is_due = self.checkpoints && size > LONG && self.try_at.is_none_or(|at| now >= at);
        if is_due {
            self.try_at = Some(now + TRY_EVERY);
        }
        is_due
    }

    /// For the log and the status text.
    pub(super) fn note(&self) -> Option<String> {
        let cause = if self.checkpoints {
            "a program that reads without end holds it back"
        } else {
            "nobody checkpoints it (checkpoint = \"external\")"
        };
        self.alarm.map(|_| format!("the write-ahead log has grown to {} MiB: {cause}", self.size / MIB))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn a_long_one_is_cut_back_now_and_then_and_one_too_long_is_told() {
        let now = monotonic();
        let mut wal = Wal::new(true);
        assert!(!wal.measured(LONG, now));
        assert!(wal.measured(LONG + 1, now));
        assert!(!wal.measured(LONG + 1, now + TRY_EVERY / 2), "not at each commit");
        assert!(wal.measured(LONG + 1, now + TRY_EVERY));
        assert_eq!(wal.note(), None);
        wal.measured(TOO_LONG + MIB, now);
        assert!(wal.note().unwrap().contains("has grown to 257 MiB: a program that reads"));
        wal.measured(0, now);
        assert_eq!(wal.note(), None);
    }

    #[test]
    fn it_is_told_again_when_it_has_doubled_or_after_a_while() {
        let now = monotonic();
        let mut wal = Wal::new(true);
        wal.measured(300 * MIB, now);
        wal.measured(500 * MIB, now + TRY_EVERY);
        assert_eq!(wal.alarm, Some((300 * MIB, now)));
        wal.measured(600 * MIB, now + TRY_EVERY);
        assert_eq!(wal.alarm, Some((600 * MIB, now + TRY_EVERY)));
        wal.measured(601 * MIB, now + TRY_EVERY + SAY_EVERY);
        assert_eq!(wal.alarm, Some((601 * MIB, now + TRY_EVERY + SAY_EVERY)));
    }

    #[test]
    fn one_that_is_not_ours_to_checkpoint_is_left_alone_and_told() {
        let mut wal = Wal::new(false);
        assert!(!wal.measured(TOO_LONG + MIB, monotonic()));
        assert!(wal.note().unwrap().contains("nobody checkpoints it"));
    }
}
