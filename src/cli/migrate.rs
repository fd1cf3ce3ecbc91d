//! `triggerd migrate`: the database is made or upgraded, and knows what is configured.

use std::path::Path;

use serde::Serialize;
use triggerd::clock::{Clock as _, SystemClock};
use triggerd::queue::sqlite;
use triggerd::{config, daemon};

use super::failure::Failure;
use super::print;

#[derive(Serialize)]
struct Done {
    path: String,
    from_version: i64,
    to_version: i64,
    backup: Option<String>,
    triggers: usize,
    schedules: usize,
    calendars: usize,
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Migrate) -> Result<(), Failure> {
    let config = config::load(file)?;
    let triggers: Vec<_> = config.triggers.values().cloned().collect();
    let options = daemon::database_options(&config.database);
    let migrated = sqlite::migrate_with(&options, &triggers, &config.plans, SystemClock.now()).await?;
    let done = Done {
        path: config.database.path.display().to_string(),
        from_version: migrated.from,
        to_version: migrated.to,
        backup: migrated.backup.map(|backup| backup.display().to_string()),
        triggers: config.triggers.len(),
        schedules: config.plans.schedules.len(),
        calendars: config.plans.calendars.len(),
    };
    if verb.json {
        return print::out(print::json(&done)?);
    }
    let version = done.to_version;
    let what = match done.from_version {
        0 => format!("created, schema version {version}"),
        from if from == version => format!("schema version {version} already"),
        from => format!("upgraded from schema version {from} to {version}"),
    };
    let mut text = format!("{}: {what}; triggers registered: {}", print::plain(&done.path), done.triggers);
    if done.schedules + done.calendars > 0 {
        text.push_str(&format!(", schedules: {}, calendars: {}", done.schedules, done.calendars));
    }
    text.push('\n');
    if let Some(backup) = &done.backup {
        text.push_str(&format!("the database as it was: {}\n", print::plain(backup)));
    }
    print::out(text)
}
