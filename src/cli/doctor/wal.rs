//! The write-ahead log: whether it is moved into the file, and who is in the way.

use std::path::Path;

use triggerd::queue::sqlite::{Health, Moved};

use super::processes::{self, Processes};
use super::{Finding, size};

const CHECK: &str = "wal";
const MIB: u64 = 1 << 20;
/// It is cut back to this after a checkpoint; what is longer, was not moved for long.
const LARGE: u64 = 64 * MIB;
const HELD_BACK: u64 = 16 * MIB;
const HUGE: u64 = 256 * MIB;

pub(super) fn check(database: &Path, health: &Health, processes: &Processes) -> Finding {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    let bytes = std::fs::metadata(name).map_or(0, |file| file.len());
    let readers: Vec<_> = processes.readers.iter().map(|pid| processes::name(*pid)).collect();
    judge(bytes, health.moved, &readers)
}

/// `moved`: none if something else than the daemon moves it.
fn judge(bytes: u64, moved: Option<Moved>, readers: &[String]) -> Finding {
    let length = format!("the write-ahead log has {}", size(bytes));
    // Less is left over all the time where much is written.
    let stuck = moved.filter(|moved| moved.held_back > HELD_BACK);
    let cause = match stuck {
        None => String::new(),
        Some(Moved { pages, of, .. }) => {
            let who = match readers {
                [] => "somebody reads in a long transaction".to_owned(),
                readers => format!("in transactions that read: {}", readers.join(", ")),
            };
            format!(", of which only {pages} of {of} pages can be moved into the database: {who}")
        }
    };
    let advice = match (stuck, moved) {
        (Some(_), _) => "end that transaction: every reader and writer gets slower as the log grows",
        (None, None) => "database.checkpoint is external: see whether what is to move it runs",
        (None, Some(_)) => "it is cut back once nobody reads; start the daemon if it does not run",
    };
    if bytes > HUGE {
        Finding::error(CHECK, length + &cause, advice)
    } else if bytes > LARGE || stuck.is_some() {
        Finding::warning(CHECK, length + &cause, advice)
    } else {
        Finding::ok(CHECK, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    #[test]
    fn a_log_that_is_long_or_cannot_be_moved_is_told_with_whoever_reads() {
        let stuck = Some(Moved { pages: 5, of: 9000, held_back: 17 * MIB });
        let busy = Some(Moved { pages: 5, of: 9000, held_back: 0 });
        let little = Some(Moved { pages: 5, of: 4000, held_back: 16 * MIB });
        let free = Some(Moved { pages: 9000, of: 9000, held_back: 0 });
        let readers = ["77 (python3)".to_owned()];
        for (bytes, moved, level) in [
            (0, free, Level::Ok),
            (35 * MIB, busy, Level::Ok),
            (35 * MIB, little, Level::Ok),
            (65 * MIB, busy, Level::Warning),
            (17 * MIB, stuck, Level::Warning),
            (17 * MIB, free, Level::Ok),
            (65 * MIB, free, Level::Warning),
            (65 * MIB, None, Level::Warning),
            (257 * MIB, stuck, Level::Error),
        ] {
            let finding = judge(bytes, moved, &readers);
            assert_eq!(finding.level, level, "{bytes} {moved:?}");
            let named = finding.message.contains("77 (python3)");
            assert_eq!(named, level > Level::Ok && moved == stuck, "{}", finding.message);
        }
    }
}
