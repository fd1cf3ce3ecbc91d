//! `triggerd check`: everything that would keep the daemon from its work, at once and without touching anything.

use std::path::Path;

use serde::Serialize;
use triggerd::config::{self, Config, Database};
use triggerd::queue::console::{Console, Error};

use super::failure::{CONFIGURATION, Failure};
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
            credentials(&config, &mut findings);
            database(&config.database, &mut findings).await;
            if findings.code == 0 {
                let (triggers, credentials) = (config.triggers.len(), config.credentials.len());
                findings.add(Kind::Note, format!("good; triggers: {triggers}, credentials: {credentials}"));
            }
        }
    }
    print(&findings, verb.json)?;
    if findings.code == 0 { Ok(()) } else { Err(Failure::silent(findings.code)) }
}

/// Reads and drops them: whether one is the right one, only the far end can say.
fn credentials(config: &Config, findings: &mut Findings) {
    for (name, credential) in &config.credentials {
        if let Err(error) = credential.token() {
            findings.problem(CONFIGURATION, format!("credentials.{name}: {error}"));
        }
    }
}

async fn database(database: &Database, findings: &mut Findings) {
    match Console::open(&database.path).await {
        Ok(_) => {}
        Err(Error::Missing(path)) => {
            let note = format!("no database at {path} yet: `triggerd migrate` or the daemon makes it");
            findings.add(Kind::Note, note);
            // A relative path has an empty parent, which is here.
            let folder = database.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                findings.add(Kind::Warning, format!("database.url: there is no folder {}", folder.display()));
            }
        }
        Err(error) => {
            let failure = Failure::from(error);
            failure.lines.iter().for_each(|line| findings.problem(failure.code, line));
        }
    }
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
