//! `triggerd check`: everything that would keep the daemon from its work, at once and without touching anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use triggerd::clock::{Clock as _, SystemClock};
use triggerd::config::{self, Config, Database};
use triggerd::daemon;
use triggerd::queue::console::{Console, Error};
use triggerd::schedule::{Dialect, Plans};

use super::failure::{CONFIGURATION, DAMAGED, Failure, UNAVAILABLE};
use super::print;

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Problem,
    Warning,
    Note,
}

#[derive(Serialize)]
struct Finding {
    kind: Kind,
    message: String,
}

/// What was found, and the exit code that it calls for.
#[derive(Default)]
struct Findings {
    all: Vec<Finding>,
    code: u8,
}

impl Findings {
    fn add(&mut self, kind: Kind, message: impl Into<String>) {
        self.all.push(Finding { kind, message: message.into() });
    }

    /// The first problem's code wins: problems are found in the order in which they are best put right.
    fn problem(&mut self, code: u8, message: impl Into<String>) {
        self.add(Kind::Problem, message);
        self.code = if self.code == 0 { code } else { self.code };
    }
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Check) -> Result<(), Failure> {
    let mut findings = Findings::default();
    match config::load(file) {
        Err(error) => {
            error.problems().iter().for_each(|problem| findings.problem(error.exit_code(), problem));
        }
        Ok(config) => {
            config.warnings.iter().for_each(|warning| findings.add(Kind::Warning, warning));
            schedules(&config.plans, &mut findings);
            unreadable(&config).for_each(|problem| findings.problem(CONFIGURATION, problem));
            database(&config.database, &mut findings).await;
            if verb.probe {
                hosts(&config, &mut findings).await?;
            }
            if findings.code == 0 {
                let (triggers, credentials) = (config.triggers.len(), config.credentials.len());
                let mut good = format!("good; triggers: {triggers}, credentials: {credentials}");
                if !config.plans.schedules.is_empty() {
                    good.push_str(&format!(", schedules: {}", config.plans.schedules.len()));
                }
                findings.add(Kind::Note, good);
            }
        }
    }
    print(&findings, verb.json)?;
    if findings.code == 0 { Ok(()) } else { Err(Failure::silent(findings.code)) }
}

/// What each schedule means, and when it fires next.
fn schedules(plans: &Plans, findings: &mut Findings) {
    let now = SystemClock.now();
    let calendars: BTreeMap<_, _> = plans
        .calendars
        .iter()
        .filter_map(|plan| Some((plan.name.as_str(), Arc::new(plan.calendar().ok()?))))
        .collect();
    for plan in &plans.schedules {
        let calendar = plan.calendar.as_deref().and_then(|name| calendars.get(name)).cloned();
        // What cannot be understood was a problem of the configuration.
        let Ok(timetable) = plan.timetable(calendar, now) else { continue };
        let definition = timetable.definition();
        let counted = definition.expression.dialect() == Dialect::Every && plan.starts_at.is_none();
        let next = match timetable.next_after(now) {
            Some(_) if counted => "counted from its registration".to_owned(),
            Some(at) => format!("{} ({})", definition.zone.local(at), definition.zone),
            None => "never".to_owned(),
        };
        let words = definition.expression.describe();
        findings.add(Kind::Note, format!("schedule {}: {words}; next: {next}", plan.name));
    }
}

/// The credentials that cannot be had. Reads and drops them: whether one is the right one, only the far end can say.
pub(crate) fn unreadable(config: &Config) -> impl Iterator<Item = String> {
    config.credentials.iter().filter_map(|(name, credential)| {
        credential.token().err().map(|error| format!("credentials.{name}: {error}"))
    })
}

async fn database(database: &Database, findings: &mut Findings) {
    // A relative path has an empty parent, which is here.
    let folder = database.path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let problem = format!(
            "database.url: there is no folder {}: make it, writable for the daemon's user, or change the key",
            folder.display()
        );
        return findings.problem(UNAVAILABLE, problem);
    }
    let failure = match Console::open(&database.path).await {
        Ok(console) => match damage(database, console, findings).await {
            Ok(()) => return,
            Err(error) => Failure::from(error),
        },
        Err(Error::Missing(path)) => {
            let note = format!("no database at {path} yet: `triggerd migrate` or the daemon makes it");
            return findings.add(Kind::Note, note);
        }
        Err(error) => Failure::from(error),
    };
    failure.lines.iter().for_each(|line| findings.problem(failure.code, line));
}

/// Reads the whole file, which takes about a second for each gigabyte of a quick disk; so no more than that.
async fn damage(database: &Database, mut console: Console, findings: &mut Findings) -> Result<(), Error> {
    const LARGEST: u64 = 1 << 30;
    let (name, bytes) = (database.path.display(), database.path.metadata().map_or(0, |file| file.len()));
    if bytes > LARGEST {
        let note = format!(
            "{name} is larger than 1 GiB and was not looked through for damage: `sqlite3 {name} 'PRAGMA quick_check'` does it"
        );
        findings.add(Kind::Note, note);
        return Ok(());
    }
    for damage in console.damage().await? {
        let problem = format!(
            "{name} is damaged: {damage}: stop the daemon, keep a copy of the file and its -wal, and restore a backup or use \
             sqlite3's .recover"
        );
        findings.problem(DAMAGED, problem);
    }
    Ok(())
}

/// Whether each trigger's host can be reached. A credential is not tried: only a firing would.
async fn hosts(config: &Config, findings: &mut Findings) -> Result<(), Failure> {
    for host in daemon::probe(config).await? {
        let (origin, names) = (&host.origin, host.triggers.join(", "));
        let Some(problem) = &host.problem else {
            let how = if origin.starts_with("https:") { "by TCP and TLS" } else { "by TCP" };
            findings.add(Kind::Note, format!("{origin} can be reached {how} (triggers: {names})"));
            continue;
        };
        let problem = format!(
            "{origin} cannot be reached (triggers: {names}): {problem}: see url, the name service, the way there and the \
             certificate; connect_timeout is {:?}",
            host.timeout
        );
        findings.problem(UNAVAILABLE, problem);
    }
    Ok(())
}

fn print(findings: &Findings, json: bool) -> Result<(), Failure> {
    let mut text = String::new();
    for finding in &findings.all {
        if json {
            text.push_str(&print::json(finding)?);
            continue;
        }
        let kind = match finding.kind {
            Kind::Problem => "problem: ",
            Kind::Warning => "warning: ",
            Kind::Note => "",
        };
        text.push_str(&format!("{kind}{}\n", print::plain(&finding.message)));
    }
    print::out(text)
}
