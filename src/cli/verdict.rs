//! What verbs print that act on requests, each of which is judged alone.

use std::time::Duration;

use serde::Serialize;
use triggerd::clock::{Clock, SystemClock, UnixMillis};
use triggerd::queue::console::{self, Console, Record, Verdict};

use super::failure::{Failure, NOT_WELL};
use super::print::{self, Json};

/// Three signs of life: a daemon that is busy or has just been stopped is not called missing.
const SILENCE: Duration = Duration::from_secs(90);

/// One line a request: what is done to standard output, in the words of `say`; what is not to standard error, with the
/// reason. As JSON, all of it to standard output. Fails if anything was not done.
pub(crate) fn report(
    verdicts: &[Verdict],
    json: bool,
    say: impl Fn(i64, &Record) -> String,
) -> Result<(), Failure> {
    let mut text = String::new();
    let mut failure = Failure::silent(NOT_WELL);
    for verdict in verdicts {
        match &verdict.done {
            _ if json => text.push_str(&print::json(&Line::from(verdict))?),
            Ok(now) => text.push_str(&format!("{}\n", print::plain(&say(verdict.id, now)))),
            Err(refusal) => failure.lines.push(format!("request {}: {}", verdict.id, refusal.why)),
        }
    }
    print::out(text)?;
    if verdicts.iter().all(|verdict| verdict.done.is_ok()) { Ok(()) } else { Err(failure) }
}

/// Fails if an error came before all of `ids` were judged; which were is printed by then, and has happened.
pub(crate) fn is_whole(
    ended: Result<(), console::Error>,
    ids: &[i64],
    verdicts: &[Verdict],
) -> Result<(), Failure> {
    let Err(error) = ended else { return Ok(()) };
    let mut failure = Failure::from(error);
    if !verdicts.is_empty() {
        let refused = verdicts.iter().filter_map(|verdict| {
            Some(format!("request {}: {}", verdict.id, verdict.done.as_ref().err()?.why))
        });
        let left = ids.len() - verdicts.len();
        failure.lines.splice(0..0, refused);
        failure
            .lines
            .push(format!("nothing was done to the last {left} of {}: say it again for them", ids.len()));
    }
    Err(failure)
}

#[derive(Serialize)]
struct Line<'v> {
    id: i64,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'v str>,
    #[serde(flatten)]
    now: Option<Json<'v>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'v str>,
}

impl<'v> From<&'v Verdict> for Line<'v> {
    fn from(verdict: &'v Verdict) -> Self {
        let refusal = verdict.done.as_ref().err();
        Self {
            id: verdict.id,
            done: refusal.is_none(),
            state: refusal.and_then(|refusal| refusal.state.as_deref()),
            now: verdict.done.as_ref().ok().map(Json),
            error: refusal.map(|refusal| refusal.why.as_str()),
        }
    }
}

/// Says so if what was asked for waits for a daemon, and none seems to run. It is asked for all the same.
pub(crate) async fn mind_the_daemon(console: &mut Console) -> Result<(), Failure> {
    let daemon = console.daemon().await?;
    let running =
        daemon.filter(|daemon| daemon.int("stopped_at").is_none()).and_then(|daemon| daemon.int("seen_at"));
    let now = SystemClock.now();
    if running.is_none_or(|seen| now.since(UnixMillis(seen)) > SILENCE) {
        print::note("no daemon seems to run on this database: it is done when `triggerd run` is started");
    }
    Ok(())
}

/// A text for one line of the table.
pub(crate) fn one_line(text: &str) -> Result<String, String> {
    const LONGEST: usize = 500;
    let text = text.trim();
    if text.is_empty() || text.len() > LONGEST {
        return Err(format!("must have 1 to {LONGEST} bytes"));
    }
    if print::plain(text) != text {
        return Err("must be one line without control characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_and_has_no_control_characters() {
        assert_eq!(one_line(" asked Müller, who saw it run ").as_deref(), Ok("asked Müller, who saw it run"));
        assert_eq!(one_line(&"x".repeat(500)).map(|text| text.len()), Ok(500));
        for bad in ["", "  ", "a\nb", "a\tb", "a\u{1b}[2J", "a\u{202e}b", &"x".repeat(501)] {
            assert!(one_line(bad).is_err(), "{bad:?}");
        }
    }
}
