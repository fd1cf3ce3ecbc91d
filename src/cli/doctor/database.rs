//! The file itself: whether it is ours, sound, of this version, and the one that was last used here.

use std::path::Path;

use triggerd::queue;
use triggerd::queue::sqlite::{Health, SCHEMA_VERSION};

use super::{Finding, size};
use crate::cli::failure::Failure;

const CHECK: &str = "database";

pub(super) fn unusable(error: queue::Error) -> Finding {
    let lines = Failure::from(error).lines.join("; ");
    Finding::error(CHECK, lines, "`triggerd check` tells more, and `triggerd migrate` makes or upgrades it")
}

pub(super) fn check(database: &Path, health: &Health) -> Vec<Finding> {
    let name = database.display();
    let mut findings = Vec::new();
    for damage in &health.damage {
        findings.push(Finding::error(
            CHECK,
            format!("{name} is damaged: {damage}"),
            "stop the daemon, keep a copy of the file and its -wal, and restore a backup or use sqlite3's .recover",
        ));
    }
    if health.journal_mode != "wal" {
        findings.push(Finding::error(
            CHECK,
            format!("{name} is in the journal mode {}", health.journal_mode),
            "somebody has switched it: a start of the daemon makes it WAL again",
        ));
    }
    if !health.schema.is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!("somebody has changed the schema: {}", health.schema.join("; ")),
            "what is promised may not hold: put it back as migrations/sqlite/ has it",
        ));
    }
    if let Some(origin) = &health.put_back {
        findings.push(Finding::error(
            CHECK,
            format!("{name} {origin}, and the daemon does not start on it"),
            "`triggerd restored --hold` or `--fire`: see `triggerd restored --help`",
        ));
    }
    if findings.is_empty() {
        let bytes = size(health.bytes);
        let looked =
            if health.was_looked_through { "sound" } else { "too large to be looked through without --full" };
        findings.push(Finding::ok(
            CHECK,
            format!(
                "{name} has schema version {SCHEMA_VERSION}, {bytes}, {looked}; SQLite {}",
                health.library
            ),
        ));
    }
    findings
}
