//! `triggerd restored`: what becomes of the requests that wait in a backup that was put back.

use std::path::Path;

use serde::Serialize;
use triggerd::clock::{Clock, SystemClock};
use triggerd::queue::console::Cell;
use triggerd::queue::sqlite::{self, Choice};
use triggerd::{config, daemon};

use super::failure::Failure;
use super::print;

#[derive(Serialize)]
struct Done {
    path: String,
    backed_up_at: Option<i64>,
    held: usize,
    pending: i64,
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Restored) -> Result<(), Failure> {
    let config = config::load(file)?;
    let triggers: Vec<_> = config.triggers.values().cloned().collect();
    let choice = if verb.what.hold { Choice::Hold } else { Choice::Fire };
    let options = daemon::database_options(&config.database);
    let restored = sqlite::restored(&options, &triggers, choice, SystemClock.now()).await?;
    let done = Done {
        path: config.database.path.display().to_string(),
        backed_up_at: restored.backed_up_at.map(|at| at.0),
        held: restored.held,
        pending: restored.pending,
    };
    if verb.json {
        return print::out(print::json(&done)?);
    }
    let Done { path, backed_up_at, held, pending } = done;
    let what = match backed_up_at {
        Some(at) => format!("backup of {}", print::cell("backed_up_at", &Cell::Int(at))),
        None => "older copy".to_owned(),
    };
    let mut text = format!("{}: the {what} may be used now\n", print::plain(&path));
    if choice == Choice::Hold {
        text.push_str(&format!("uncertain, for you to settle: {held}"));
        text.push_str(if held > 0 { "; see `triggerd list --state uncertain`\n" } else { "\n" });
    }
    text.push_str(&format!(
        "fired when the daemon is started, with the Idempotency-Key that they had: {pending}\n"
    ));
    print::out(text)
}
