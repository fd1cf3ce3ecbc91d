//! `triggerd wait`: follows requests to their ends.

use std::path::Path;
use std::time::Duration;

use triggerd::config;
use triggerd::queue::console::{Console, Record};

use super::failure::{Failure, NOT_WELL, no_request};
use super::print::{self, Json};
use super::verdict;

/// How often to ask whether anybody has committed: quick for a person, and next to nothing for the machine, since it
/// reads one number and no table.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) async fn run(file: Option<&Path>, verb: &super::Wait) -> Result<(), Failure> {
    let config = config::load(file)?;
    let mut console = Console::open(&config.database.path).await?;
    let all_well = follow(&mut console, &verb.ids, |end| {
        print::out(if verb.json { print::json(&Json(end))? } else { line(end) + "\n" })
    })
    .await?;
    if all_well { Ok(()) } else { Err(Failure::silent(NOT_WELL)) }
}

/// Calls `ended` for each of `ids` when it has ended, and says whether all ended well. A request that is not there has
/// not.
pub(super) async fn follow(
    console: &mut Console,
    ids: &[i64],
    mut ended: impl FnMut(&Record) -> Result<(), Failure>,
) -> Result<bool, Failure> {
    let mut open = ids.to_vec();
    open.sort_unstable();
    open.dedup();
    let mut all_well = true;
    let mut minded = false;
    loop {
        // Before the rows are read, so that no commit can fall between the two.
        while !console.changed().await? {
            tokio::time::sleep(LOOK).await;
        }
        let results = console.results(&open).await?;
        open.retain(|id| {
            let found = results.iter().any(|result| result.int("id") == Some(*id));
            if !found {
                print::note(&format!("triggerd: {}", no_request(*id)));
                all_well = false;
            }
            found
        });
        for result in results.iter().filter(|result| result.int("is_final") == Some(1)) {
            all_well &= matches!(result.text("state"), Some("succeeded" | "dispatched"));
            open.retain(|id| result.int("id") != Some(*id));
            ended(result)?;
        }
        if open.is_empty() {
            return Ok(all_well);
        }
        if !std::mem::replace(&mut minded, true) {
            verdict::mind_the_daemon(console).await?;
        }
    }
}

/// `17 failed job_faulted: what was said`
pub(super) fn line(end: &Record) -> String {
    let cell = |column| print::cell(column, end.get(column));
    let mut line = format!("{} {}", cell("id"), cell("state"));
    if let Some(code) = end.text("error_code") {
        line.push_str(&format!(" {}", print::plain(code)));
    }
    if let Some(message) = end.text("error_message") {
        line.push_str(&format!(": {}", print::plain(message)));
    }
    line
}
