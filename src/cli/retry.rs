//! `triggerd retry`: a new round for what has ended without success.

use std::path::Path;
use std::time::Duration;

use triggerd::clock::{Clock, SystemClock, UnixMillis};
use triggerd::config;
use triggerd::queue::console::{Console, Selection};

use super::failure::Failure;
use super::{print, submit, verdict};

pub(crate) async fn run(file: Option<&Path>, verb: super::Retry) -> Result<(), Failure> {
    let now = SystemClock.now();
    let config = config::load(file)?;
    let mut console = Console::open(&config.database.path).await?;
    let is_selection = verb.ids.is_empty();
    let ids = if is_selection {
        let since = verb.since.map(|since| match since {
            Since::At(at) => at,
            Since::Ago(ago) => UnixMillis(now.0.saturating_sub(UnixMillis(0).plus(ago).0)),
        });
        console.retryable(&Selection { state: verb.state, trigger_name: verb.trigger, since }).await?
    } else {
        verb.ids
    };
    let mut verdicts = Vec::new();
    let ended = console.retry(&ids, now, verb.may_run_twice, &mut verdicts).await;
    let reported = verdict::report(&verdicts, verb.json, |id, now| {
        format!("{id} pending: round {}", print::cell("round", now.get("round")))
    });
    if !verb.json {
        let done = verdicts.iter().filter(|verdict| verdict.done.is_ok()).count();
        if is_selection {
            print::out(format!("retried: {done} of {}\n", ids.len()))?;
        }
        verdict::is_whole(ended, &ids, &verdicts)?;
        if done > 0 {
            verdict::mind_the_daemon(&mut console).await?;
        }
    }
    reported
}

/// `--since`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Since {
    At(UnixMillis),
    Ago(Duration),
}

/// A time, or how long ago.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = config::units::duration(text) {
        return Ok(Since::Ago(ago));
    }
    submit::instant(text)
        .map(Since::At)
        .map_err(|error| format!("{error}; or how long ago, such as 90m, 2h, 7d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_a_duration_back() {
        assert_eq!(since("2h"), Ok(Since::Ago(Duration::from_secs(7200))));
        assert_eq!(since("2026-01-31T08:00:00Z"), Ok(Since::At(UnixMillis(1_769_846_400_000))));
        assert_eq!(since("1769846400000"), Ok(Since::At(UnixMillis(1_769_846_400_000))));
        for bad in ["", "2", "2 hours", "yesterday", "-2h"] {
            assert!(since(bad).unwrap_err().contains("or how long ago"), "{bad}");
        }
    }
}
