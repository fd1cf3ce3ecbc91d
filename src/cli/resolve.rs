//! `triggerd resolve`: settles an uncertain request.

use std::path::Path;

use clap::ValueEnum;
use triggerd::clock::{Clock, SystemClock};
use triggerd::config;
use triggerd::queue::console::{Console, Resolution, Settlement};
use url::Url;

use super::failure::{Failure, USAGE};
use super::{print, verdict};

/// `--as`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum As {
    /// The remote job ran and did well
    Succeeded,
    /// The remote job ran and failed, or will not be run
    Failed,
    /// No remote job ran or runs: fire it again, with the same Idempotency-Key
    Retry,
    /// A remote job runs, or has run: ask its status URI
    Follow,
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Resolve) -> Result<(), Failure> {
    let given = verb.status_uri.as_deref().map(status_uri).transpose()?;
    let settlement = match verb.to {
        As::Follow => Settlement::Follow(given),
        _ if given.is_some() => {
            return Err(Failure::new(USAGE, "--status-uri is of use with --as follow only"));
        }
        As::Succeeded => Settlement::Succeeded,
        As::Failed => Settlement::Failed,
        As::Retry => Settlement::Retry,
    };
    let config = config::load(file)?;
    let mut console = Console::open(&config.database.path).await?;
    let resolution = Resolution {
        settlement: &settlement,
        note: verb.note.as_deref(),
        now: SystemClock.now(),
        triggers: &config.triggers,
    };
    let verdict = console.resolve(verb.id, &resolution).await?;
    let reported = verdict::report(std::slice::from_ref(&verdict), verb.json, |id, now| match verb.to {
        As::Succeeded | As::Failed => {
            format!("{id} {}", print::cell("state", now.get("state")))
        }
        As::Retry => format!("{id} pending: fired again, with the same Idempotency-Key"),
        As::Follow => {
            format!("{id} polling: by the rules of {}", now.text("effective_call_mode").unwrap_or_default())
        }
    });
    if !verb.json && verdict.done.is_ok() && matches!(verb.to, As::Retry | As::Follow) {
        verdict::mind_the_daemon(&mut console).await?;
    }
    reported
}

/// A URL to poll. No message has it in it: its query may be a secret.
fn status_uri(text: &str) -> Result<Url, Failure> {
    const LONGEST: usize = 2048;
    let problem = |rule: &str| Failure::new(USAGE, format!("--status-uri {rule}"));
    if text.len() > LONGEST {
        return Err(problem("must have at most 2048 bytes"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err(problem("must not contain spaces, control characters or backslashes"));
    }
    let mut url =
        Url::parse(text).map_err(|_| problem("must be a whole URL, such as https://host/status/1"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(problem("must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(problem("must not contain a user or password: the credential is the trigger's"));
    }
    // Never sent.
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_uri_is_whole_and_has_no_user() {
        let good = status_uri("https://api.example/status/1?sig=a%20b#part").unwrap();
        assert_eq!(good.as_str(), "https://api.example/status/1?sig=a%20b");
        let long = format!("https://api.example/{}", "x".repeat(2048));
        for bad in [
            "",
            "/status/1",
            "ftp://x/",
            "https://u@x/",
            "https://u:secret@x/",
            "https://x/a b",
            "https://x\\y",
            &long,
        ] {
            let failure = status_uri(bad).unwrap_err();
            assert_eq!(failure.code, USAGE, "{bad}");
            assert!(!failure.lines[0].contains("secret"), "{failure:?}");
        }
    }
}
