//! `triggerd backup`: a copy of the database, while the daemon and producers go on.

use std::path::Path;

use serde::Serialize;
use triggerd::clock::{SystemClock, monotonic};
use triggerd::queue::sqlite;
use triggerd::shutdown::Signals;
use triggerd::{config, daemon};

use super::failure::{Failure, NOT_WELL};
use super::print;

#[derive(Serialize)]
struct Done {
    path: String,
    bytes: u64,
    requests: i64,
    duration_ms: u64,
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Backup) -> Result<(), Failure> {
    let config = config::load(file)?;
    let started = monotonic();
    let options = daemon::database_options(&config.database);
    let mut signals = Signals::new()
        .map_err(|error| Failure::new(NOT_WELL, format!("signals cannot be taken over: {error}")))?;
    let copied = tokio::select! {
        copied = sqlite::backup(&options, &verb.file, &SystemClock) => copied?,
        _ = signals.next() => {
            return Err(Failure::new(NOT_WELL, "ended by a signal: there is no backup, and nothing is left of it"));
        }
    };
    let done = Done {
        path: copied.path.display().to_string(),
        bytes: copied.bytes,
        requests: copied.requests,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    if verb.json {
        return print::out(print::json(&done)?);
    }
    let Done { path, bytes, requests, duration_ms } = done;
    print::out(format!(
        "{}: copied and found sound; requests: {requests}, bytes: {bytes}, in {duration_ms} ms\n",
        print::plain(&path)
    ))
}
