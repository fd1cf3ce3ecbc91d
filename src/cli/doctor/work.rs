//! What waits for an operator.

use triggerd::config::Config;
use triggerd::queue::MANY_UNCERTAIN;
use triggerd::queue::sqlite::Health;

use super::{Finding, size};

const MIB: u64 = 1 << 20;
/// A database that is worth a thought about how long what has ended is kept.
const LARGE: u64 = 1024 * MIB;

pub(super) fn check(config: &Config, health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    match health.uncertain {
        0 => findings.push(Finding::ok("requests", "none is uncertain")),
        many => {
            let many = if many < MANY_UNCERTAIN { many.to_string() } else { format!("{many} or more") };
            findings.push(Finding::warning(
                "requests",
                format!("uncertain: {many}"),
                "find out what became of each, then `triggerd resolve`; see `triggerd list --state uncertain`",
            ));
        }
    }
    for (name, reason) in &health.paused {
        let reason = reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        findings.push(Finding::warning(
            "triggers",
            format!("{name} is paused{reason}: its requests wait"),
            format!("`triggerd resume {name}`, once the reason is gone"),
        ));
    }
    for (name, is_paused, why) in &health.idle_schedules {
        let why = why.as_deref().unwrap_or("no reason is given");
        findings.push(match is_paused {
            true => Finding::warning(
                "schedules",
                format!("{name} is paused ({why}): it inserts nothing"),
                format!("`triggerd schedule resume {name}`, once the reason is gone"),
            ),
            false => Finding::warning(
                "schedules",
                format!("{name} cannot be used: {why}"),
                format!("change it, then `triggerd schedule next {name}`"),
            ),
        });
    }
    let kept = &config.retention;
    let for_ever = [kept.succeeded, kept.dispatched, kept.others, kept.outputs].contains(&None);
    findings.extend(keeping(health.bytes, health.free_bytes, for_ever));
    findings
}

/// `for_ever`: something that ended is never deleted.
fn keeping(bytes: u64, free: u64, for_ever: bool) -> Option<Finding> {
    const CHECK: &str = "retention";
    if for_ever && bytes > LARGE {
        return Some(Finding::warning(
            CHECK,
            format!("the database has {}, and something of it is kept for ever", size(bytes)),
            "give each key of [retention] a time",
        ));
    }
    (free > 256 * MIB && free > bytes / 2).then(|| {
        Finding::warning(
            CHECK,
            format!("of the {} of the database, {} are free within", size(bytes), size(free)),
            "they are used again, and given back little by little; to have them at once, stop the daemon and the producers and \
             run `sqlite3 FILE VACUUM`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_that_is_kept_for_ever_or_half_empty_is_told() {
        assert!(keeping(LARGE + 1, 0, true).is_some_and(|f| f.advice.contains("[retention]")));
        assert!(keeping(LARGE + 1, 600 * MIB, false).is_some_and(|f| f.advice.contains("VACUUM")));
        for (bytes, free, for_ever) in
            [(LARGE, 0, true), (LARGE * 2, LARGE / 2, false), (300 * MIB, 200 * MIB, false)]
        {
            assert_eq!(keeping(bytes, free, for_ever), None);
        }
    }
}
