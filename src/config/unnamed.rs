//! The sections without names: `[database]`, `[dispatch]`, `[retention]`, `[log]`.
//!
//! A reader gives none only together with a problem: the defaults have every key that must be there.

use std::path::PathBuf;
use std::time::Duration;

use config::{Value, ValueKind};

use super::section::{Section, duration, integer, one_of, rate, text, wait};
use super::{Breaker, Checkpoint, Database, Dispatch, Log, LogFormat, Retention, Rotation, Synchronous};

pub(super) fn database(mut section: Section<'_>) -> Option<Database> {
    let path = section.take("url", database_path);
    let synchronous = one_of(&[("full", Synchronous::Full), ("normal", Synchronous::Normal)]);
    let synchronous = section.take("synchronous", synchronous);
    let checkpoint = one_of(&[("daemon", Checkpoint::Daemon), ("external", Checkpoint::External)]);
    let checkpoint = section.take("checkpoint", checkpoint);
    section.finish();
    Some(Database { path: path?, synchronous: synchronous?, checkpoint: checkpoint? })
}

/// `sqlite:PATH` or `sqlite://PATH`. Only the scheme is repeated: the URL of a server would have a password in it.
fn database_path(value: &Value) -> Result<PathBuf, String> {
    const RULE: &str = "must be sqlite: and the path of a file, such as sqlite:/var/lib/triggerd/queue.db";
    let Some((scheme, path)) = text(value)?.split_once(':') else { return Err(RULE.to_owned()) };
    if scheme != "sqlite" {
        return Err(format!("{RULE}; this version knows no other database"));
    }
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.contains(":memory:") {
        return Err("must be a file: producers cannot reach a database in memory".to_owned());
    }
    if path.contains(['?', '#', '%', '\0']) {
        return Err(
            "must not contain ?, # or %: the path is taken as it is, and there are no options".to_owned()
        );
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(RULE.to_owned());
    }
    Ok(PathBuf::from(path))
}

pub(super) fn dispatch(mut section: Section<'_>) -> Option<Dispatch> {
    let count = |number| usize::try_from(number).ok();
    let max_in_flight = section.take("max_in_flight", integer(1..=65_536)).and_then(count);
    let max_per_origin = section.take("max_per_origin", integer(1..=65_536)).and_then(count);
    let max_long_polls = section.take("max_long_polls", integer(1..=65_536)).and_then(count);
    let breaker = breaker(section.table("breaker"));
    let poll_rate = section.take("poll_rate", rate);
    let shutdown_grace = section.take("shutdown_grace", duration);
    let fallback_poll = section.take("fallback_poll", wait);
    let ageing = section.take("ageing", duration);
    section.finish();
    Some(Dispatch {
        max_in_flight: max_in_flight?,
        max_per_origin: max_per_origin?,
        max_long_polls: max_long_polls?,
        breaker: breaker?,
        poll_rate,
        shutdown_grace: shutdown_grace?,
        fallback_poll: fallback_poll?,
        ageing: ageing?,
    })
}

fn breaker(mut section: Section<'_>) -> Option<Breaker> {
    let failures = section.take("failures", integer(0..=1_000_000)).and_then(|n| u32::try_from(n).ok());
    let initial = section.take("initial", wait);
    let max = section.take("max", wait);
    if let (Some(initial), Some(max)) = (initial, max)
        && initial > max
    {
        section.problem("initial", &format!("must not be longer than max, which is {max:?}"));
    }
    section.finish();
    Some(Breaker { failures: failures?, initial: initial?, max: max? })
}

pub(super) fn retention(mut section: Section<'_>) -> Option<Retention> {
    /// A duration or `never`.
    fn keep(value: &Value) -> Result<Option<Duration>, String> {
        match &value.kind {
            ValueKind::String(text) if text == "never" => Ok(None),
            _ => wait(value).map(Some).map_err(|rule| format!("{rule}; or \"never\"")),
        }
    }
    let succeeded = section.take("succeeded", keep);
    let dispatched = section.take("dispatched", keep);
    let others = section.take("others", keep);
    let outputs = section.take("outputs", keep);
    let uncertain = section.take("uncertain", keep);
    section.finish();
    Some(Retention {
        succeeded: succeeded?,
        dispatched: dispatched?,
        others: others?,
        outputs: outputs?,
        uncertain: uncertain?,
    })
}

pub(super) fn log(mut section: Section<'_>) -> Option<Log> {
    let filter = section.take("filter", |value| {
        let directives = text(value)?;
        match tracing_subscriber::EnvFilter::try_new(directives) {
            Ok(_) => Ok(directives.to_owned()),
            Err(error) => Err(format!("must be a level or directives such as info,triggerd=debug: {error}")),
        }
    });
    let format = section.take("format", one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)]));
    let directory = section.take("directory", |value| match text(value)? {
        "" => Err("must be a path; leave it out for standard error".to_owned()),
        path => Ok(PathBuf::from(path)),
    });
    let max_files =
        section.take("max_files", integer(1..=10_000)).and_then(|number| usize::try_from(number).ok());
    let rotation =
        one_of(&[("hourly", Rotation::Hourly), ("daily", Rotation::Daily), ("never", Rotation::Never)]);
    let rotation = section.take("rotation", rotation);
    section.finish();
    Some(Log { filter: filter?, format: format?, directory, max_files: max_files?, rotation: rotation? })
}
