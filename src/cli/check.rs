//! `triggerd check`: everything that would keep the daemon from its work, at once and without touching anything.

use std::path::Path;

use serde::Serialize;
use triggerd::config;
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

pub(crate) async fn run(file: Option<&Path>, verb: &super::Check) -> Result<(), Failure> {
    let mut findings = Vec::new();
    let mut add = |kind, message: String| findings.push(Finding { kind, message });
    let mut code = 0;
    match config::load(file) {
        Err(error) => {
            code = error.exit_code();
            error.problems().iter().for_each(|problem| add(Kind::Problem, problem.clone()));
        }
        Ok(config) => {
            config.warnings.iter().for_each(|warning| add(Kind::Warning, warning.clone()));
            // Read and dropped: whether it is the right one, only the far end can say.
            for (name, credential) in &config.credentials {
                if let Err(error) = credential.token() {
                    code = CONFIGURATION;
                    add(Kind::Problem, format!("credentials.{name}: {error}"));
                }
            }
            match Console::open(&config.database.path).await {
                Ok(_) => {}
                Err(Error::Missing(path)) => {
                    add(
                        Kind::Note,
                        format!("no database at {path} yet: `triggerd migrate` or the daemon makes it"),
                    );
                    // A relative path has an empty parent, which is here.
                    let folder =
                        config.database.path.parent().filter(|folder| !folder.as_os_str().is_empty());
                    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                        add(Kind::Warning, format!("database.url: there is no folder {}", folder.display()));
                    }
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    // The configuration is what is put right first.
                    code = if code == 0 { failure.code } else { code };
                    failure.lines.into_iter().for_each(|line| add(Kind::Problem, line));
                }
            }
            let (triggers, credentials) = (config.triggers.len(), config.credentials.len());
            if code == 0 {
                add(Kind::Note, format!("good; triggers: {triggers}, credentials: {credentials}"));
            }
        }
    }
    let mut text = String::new();
    for finding in &findings {
        if verb.json {
            text.push_str(&print::json(finding)?);
        } else {
            let kind = match finding.kind {
                Kind::Problem => "problem: ",
                Kind::Warning => "warning: ",
                Kind::Note => "",
            };
            text.push_str(&format!("{kind}{}\n", print::plain(&finding.message)));
        }
    }
    print::out(text)?;
    if code == 0 { Ok(()) } else { Err(Failure::silent(code)) }
}
