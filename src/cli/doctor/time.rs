//! The wall clock, which due times and deadlines are counted by.

use triggerd::clock::UnixMillis;
use triggerd::queue::sqlite::Health;

use super::{Finding, tool};

const CHECK: &str = "clock";
/// A step that is worth a word.
const STEP_SECONDS: u64 = 2;

pub(super) fn check(health: &Health, now: UnixMillis) -> Finding {
    let said = tool::ask("timedatectl", &["show", "--property=NTPSynchronized", "--value"]);
    judge(health.newest_at.max(health.seen_at), said.as_deref(), now)
}

/// `newest`: the latest time that somebody has written as now; `synchronised`: what systemd says of it.
fn judge(newest: Option<UnixMillis>, synchronised: Option<&str>, now: UnixMillis) -> Finding {
    let ahead = newest.map_or(0, |newest| newest.since(now).as_secs());
    if ahead >= STEP_SECONDS {
        return Finding::error(
            CHECK,
            format!("something in the database was written {ahead} s from now: the clock has stepped back"),
            "set it; until then requests are fired late",
        );
    }
    match synchronised.map(str::trim) {
        Some("no") => Finding::warning(
            CHECK,
            "it is not synchronised, says timedatectl",
            "see whether a time service runs: `timedatectl`, `chronyc tracking`",
        ),
        Some("yes") => Finding::ok(CHECK, "it is synchronised, and was not set back"),
        _ => Finding::ok(CHECK, "it was not set back"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn a_clock_that_was_set_back_or_runs_by_itself_is_told() {
        let at = |ms| Some(UnixMillis(ms));
        let now = UnixMillis(10_000);
        assert_eq!(judge(None, None, now).level, Level::Ok);
        assert_eq!(judge(at(11_999), Some("yes\n"), now).level, Level::Ok);
        assert_eq!(judge(at(12_000), Some("yes\n"), now).level, Level::Error);
        assert_eq!(judge(at(9_000), Some("no\n"), now).level, Level::Warning);
    }
}
