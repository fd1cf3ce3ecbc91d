//! `triggerd doctor`: what is wrong with this installation, one finding a line, each with what to do.
//!
//! Each check gathers its facts and judges them apart from that, so that a test can have any. What cannot be found out (another
//! user's process, a machine without systemd) is left out, not guessed.

mod daemon;
mod database;
mod disk;
mod files;
mod processes;
mod producers;
mod time;
mod tool;
mod unit;
mod wal;
mod work;

use std::path::Path;

use serde::Serialize;
use triggerd::clock::{Clock, SystemClock};
use triggerd::config::{self, Config};
use triggerd::daemon::database_options;
use triggerd::queue::sqlite;

use self::processes::Processes;
use super::failure::{Failure, NOT_WELL};
use super::{check, print};

const CONFIGURATION: &str = "configuration";
const WHAT_KEYS_MEAN: &str = "what each key means is in docs/configuration.md";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    /// It works, and may not for long, or not as it should.
    Warning,
    /// It does not work, or something is about to be lost.
    Error,
}

/// What one check has to say.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    message: String,
    /// What to do; empty if there is nothing to be done.
    advice: String,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, message: message.into(), advice: String::new() }
    }

    fn warning(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, message: message.into(), advice: advice.into() }
    }

    fn error(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, level: Level::Error, message: message.into(), advice: advice.into() }
    }
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Doctor) -> Result<(), Failure> {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(error) => {
            print(&unusable(&error), verb.json)?;
            return Err(Failure::silent(error.exit_code()));
        }
    };
    let findings = examine(&config, verb.full).await;
    print(&findings, verb.json)?;
    let worst = findings.iter().map(|finding| finding.level).max();
    if worst > Some(Level::Ok) { Err(Failure::silent(NOT_WELL)) } else { Ok(()) }
}

async fn examine(config: &Config, full: bool) -> Vec<Finding> {
    let mut findings = configuration(config);
    let path = std::fs::canonicalize(&config.database.path).unwrap_or_else(|_| config.database.path.clone());
    findings.extend(files::check(&path, config.log.directory.as_deref()));
    findings.extend(disk::check(&path));
    let options = database_options(&config.database);
    match sqlite::health(&options, full).await {
        Err(error) => findings.push(database::unusable(error)),
        Ok(health) => {
            let (processes, now) = (Processes::read(&path), SystemClock.now());
            findings.extend(database::check(&path, &health));
            findings.push(wal::check(&path, &health, &processes));
            findings.push(daemon::check(&health, now));
            findings.push(time::check(&health, now));
            // What is left of a lock in /proc/locks may be anybody's otherwise.
            if health.is_locked {
                findings.extend(unit::check(&config.dispatch, &processes));
            }
            findings.extend(work::check(config, &health));
        }
    }
    findings.push(producers::check());
    findings
}

/// What can be said without a configuration that can be used: where the database is, nobody knows.
fn unusable(error: &config::Error) -> Vec<Finding> {
    let problems = error.problems().iter();
    let told = problems.map(|problem| Finding::error(CONFIGURATION, problem, WHAT_KEYS_MEAN));
    told.chain([producers::check()]).collect()
}

/// What is said of a configuration that can be used, and whether its secrets can be had, by whoever runs this.
fn configuration(config: &Config) -> Vec<Finding> {
    let warned =
        config.warnings.iter().map(|warning| Finding::warning(CONFIGURATION, warning, WHAT_KEYS_MEAN));
    let missing = check::unreadable(config).map(|problem| {
        Finding::error(
            "credentials",
            problem,
            "see where the secret is, and whether the daemon's user may read it; if the unit has it (LoadCredential=), run doctor \
             with the same property: docs/operating.md, Install, step 6",
        )
    });
    let mut findings: Vec<_> = warned.chain(missing).collect();
    if findings.is_empty() {
        let (triggers, credentials) = (config.triggers.len(), config.credentials.len());
        findings
            .push(Finding::ok(CONFIGURATION, format!("triggers: {triggers}, credentials: {credentials}")));
    }
    findings
}

fn print(findings: &[Finding], json: bool) -> Result<(), Failure> {
    let mut text = String::new();
    for finding in findings {
        if json {
            text.push_str(&print::json(finding)?);
            continue;
        }
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let Finding { check, message, advice, .. } = finding;
        let advice = if advice.is_empty() { String::new() } else { format!(": {advice}") };
        text.push_str(&format!("{level:<8} {check}: {}\n", print::plain(&format!("{message}{advice}"))));
    }
    print::out(text)
}

/// A number of bytes for a person.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.iter().find(|(_, bits)| bytes >> bits > 0) {
        // One digit behind the point is enough.
        Some((unit, bits)) => {
            let tenths = (u128::from(bytes) * 10) >> bits;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!([0, 1023].map(size), ["0 bytes", "1023 bytes"]);
        assert_eq!([1024, 143_360, 64 << 20].map(size), ["1.0 KiB", "140.0 KiB", "64.0 MiB"]);
        assert_eq!([1_500_000_000, u64::MAX].map(size), ["1.3 GiB", "16777215.9 TiB"]);
    }
}
