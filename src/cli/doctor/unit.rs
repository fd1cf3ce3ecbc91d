//! The limits under which the daemon runs.

use std::time::Duration;

use triggerd::config::Dispatch;

use super::processes::Processes;
use super::{Finding, size, tool};
use crate::cli::run::OTHER_FILES;

const CHECK: &str = "unit";

/// What the machine grants the daemon; what cannot be read is none.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    open_files: Option<u64>,
    core_bytes: Option<u64>,
    memory_bytes: Option<u64>,
    tasks: Option<u64>,
    stop: Option<Duration>,
}

pub(super) fn check(dispatch: &Dispatch, processes: &Processes) -> Vec<Finding> {
    // Without a daemon there is nothing to be read, and systemd does not know how it will be started.
    let Some(pid) = processes.daemon else { return Vec::new() };
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let group = |file: &str| {
        let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
        std::fs::read_to_string(format!("/sys/fs/cgroup{path}/{file}")).ok()?.trim().parse().ok()
    };
    let unit = tool::ask("systemctl", &["show", "triggerd.service", "--property=MainPID,TimeoutStopUSec"]);
    judge(
        dispatch,
        Limits {
            open_files: limit(&text, "Max open files"),
            core_bytes: limit(&text, "Max core file size"),
            memory_bytes: group("memory.max"),
            tasks: group("pids.max"),
            stop: unit.as_deref().and_then(|unit| stop_timeout(unit, pid)),
        },
    )
}

fn judge(dispatch: &Dispatch, limits: Limits) -> Vec<Finding> {
    const LEAST_MEMORY: u64 = 256 << 20;
    const LEAST_TASKS: u64 = 32;
    let mut findings = Vec::new();
    let needed =
        dispatch.max_in_flight.saturating_add(dispatch.max_long_polls).saturating_add(OTHER_FILES) as u64;
    if let Some(most) = limits.open_files.filter(|most| *most < needed) {
        findings.push(Finding::warning(
            CHECK,
            format!("the daemon may open {most} files, and [dispatch] allows for {needed}"),
            "raise LimitNOFILE=, or lower max_in_flight and max_long_polls",
        ));
    }
    if limits.core_bytes.is_some_and(|most| most > 0) {
        findings.push(Finding::warning(
            CHECK,
            "a crash may leave a core, with secrets in it",
            "set LimitCORE=0",
        ));
    }
    if let Some(most) = limits.memory_bytes.filter(|most| *most < LEAST_MEMORY) {
        findings.push(Finding::warning(
            CHECK,
            format!("the daemon is killed at {} of memory", size(most)),
            "raise MemoryMax=; 10,000 remote jobs at once were seen to take up to 300 MiB",
        ));
    }
    if let Some(most) = limits.tasks.filter(|most| *most < LEAST_TASKS) {
        findings.push(Finding::warning(
            CHECK,
            format!("the daemon may have {most} threads"),
            "raise TasksMax=",
        ));
    }
    if let Some(stop) = limits.stop.filter(|stop| *stop <= dispatch.shutdown_grace) {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "systemd kills the daemon after {} s of a stop, and shutdown_grace is {} s: a firing that is cut off is in doubt",
                stop.as_secs(),
                dispatch.shutdown_grace.as_secs()
            ),
            "raise TimeoutStopSec=, or lower shutdown_grace",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            CHECK,
            "open files, memory, threads and the time to stop are enough, as far as they are known",
        ));
    }
    findings
}

/// The soft limit of a line of /proc/PID/limits. One that is unlimited is the highest number.
fn limit(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// `TimeoutStopUSec=1min 30s`, if the unit's main process is this one.
fn stop_timeout(unit: &str, pid: u32) -> Option<Duration> {
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    if value("MainPID")?.parse() != Ok(pid) {
        return None;
    }
    let words = value("TimeoutStopUSec")?.split_whitespace();
    words.map(span).sum()
}

/// `30s` as systemd writes it.
fn span(word: &str) -> Option<Duration> {
    let digits = word.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = word[..digits].parse().ok()?;
    let unit = match &word[digits..] {
        "us" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        "d" => Duration::from_secs(24 * 3600),
        _ => return None,
    };
    Some(unit * u32::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;
    use triggerd::config::Breaker;

    const DISPATCH: Dispatch = Dispatch {
        max_in_flight: 1024,
        max_per_origin: 64,
        max_long_polls: 4096,
        breaker: Breaker { failures: 0, initial: Duration::ZERO, max: Duration::ZERO },
        poll_rate: None,
        shutdown_grace: Duration::from_secs(75),
        fallback_poll: Duration::from_secs(1),
        ageing: Duration::ZERO,
    };

    #[test]
    fn limits_that_are_too_low_are_told() {
        let seconds = |s| Some(Duration::from_secs(s));
        let good = Limits {
            open_files: Some(16_384),
            core_bytes: Some(0),
            memory_bytes: Some(2 << 30),
            tasks: Some(128),
            stop: seconds(90),
        };
        let level = |limits| judge(&DISPATCH, limits).iter().map(|f| f.level).max();
        assert_eq!(level(good), Some(Level::Ok));
        assert_eq!(level(Limits::default()), Some(Level::Ok), "nothing is known");
        for bad in [
            Limits { open_files: Some(1024), ..good },
            Limits { core_bytes: Some(u64::MAX), ..good },
            Limits { memory_bytes: Some(64 << 20), ..good },
            Limits { tasks: Some(10), ..good },
            Limits { stop: seconds(75), ..good },
        ] {
            assert_eq!(level(bad), Some(Level::Warning), "{bad:?}");
        }
    }

    #[test]
    fn what_the_kernel_and_systemd_write_is_read() {
        let limits = "Max core file size        unlimited            unlimited            bytes     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(limit(limits, "Max open files"), Some(1024));
        assert_eq!(limit(limits, "Max core file size"), Some(u64::MAX));
        assert_eq!(limit("", "Max open files"), None);
        let unit = "MainPID=7\nTimeoutStopUSec=1min 30s\n";
        assert_eq!(stop_timeout(unit, 7), Some(Duration::from_secs(90)));
        assert_eq!(stop_timeout(unit, 8), None, "another process");
        assert_eq!(stop_timeout("MainPID=7\nTimeoutStopUSec=infinity\n", 7), None);
    }
}
