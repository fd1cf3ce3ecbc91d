//! Whether a daemon runs, and is well.

use std::time::Duration;

use triggerd::clock::UnixMillis;
use triggerd::queue::sqlite::Health;

use super::Finding;

const CHECK: &str = "daemon";
/// It signs each 30 s.
const SILENCE: Duration = Duration::from_secs(90);

pub(super) fn check(health: &Health, now: UnixMillis) -> Finding {
    let running = format!("triggerd {} runs", health.version.as_deref().unwrap_or("?"));
    if !health.is_locked {
        return Finding::warning(
            CHECK,
            "no daemon runs on this database: requests wait",
            "`systemctl start triggerd`, or `triggerd run`",
        );
    }
    let silent = health.seen_at.map(|seen| now.since(seen)).filter(|silence| *silence > SILENCE);
    if let Some(silence) = silent {
        return Finding::error(
            CHECK,
            format!("{running}, but has not signed for {} s", silence.as_secs()),
            "it cannot write, or hangs: see its log and `systemctl status triggerd`, then restart it",
        );
    }
    if health.ready_at.is_none() {
        return Finding::warning(
            CHECK,
            format!("{running}, but is not ready yet"),
            "its start waits for somebody, or judges what the last one left: see its log",
        );
    }
    if health.version.as_deref() != Some(env!("CARGO_PKG_VERSION")) {
        return Finding::warning(
            CHECK,
            format!("{running}, and this program is {}", env!("CARGO_PKG_VERSION")),
            "restart it after an upgrade; else see which of the two is wanted",
        );
    }
    let up = health.started_at.map_or(0, |at| now.since(at).as_secs());
    Finding::ok(CHECK, format!("{running} since {up} s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn a_daemon_is_well_if_it_runs_signs_is_ready_and_is_this_version() {
        let now = UnixMillis(1_800_000_000_000);
        let well = Health {
            is_locked: true,
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            started_at: Some(now),
            ready_at: Some(now),
            seen_at: Some(now),
            ..Health::default()
        };
        let level = |health: &Health| check(health, now).level;
        assert_eq!(level(&well), Level::Ok);
        assert_eq!(level(&Health { is_locked: false, ..well.clone() }), Level::Warning);
        assert_eq!(level(&Health { ready_at: None, ..well.clone() }), Level::Warning);
        assert_eq!(level(&Health { version: Some("0.0.1".to_owned()), ..well.clone() }), Level::Warning);
        let silent = Some(UnixMillis(now.0 - 91_000));
        assert_eq!(level(&Health { seen_at: silent, ..well }), Level::Error);
    }
}
