//! `triggerd cancel`: asks for the end of requests.

use std::path::Path;

use triggerd::config;
use triggerd::queue::console::Console;

use super::failure::Failure;
use super::verdict;

pub(crate) async fn run(file: Option<&Path>, verb: &super::Cancel) -> Result<(), Failure> {
    let config = config::load(file)?;
    let mut console = Console::open(&config.database.path).await?;
    let mut verdicts = Vec::new();
    let ended = console.cancel(&verb.ids, &mut verdicts).await;
    let reported = verdict::report(&verdicts, verb.json, |id, now| {
        let state = now.text("state").unwrap_or_default();
        let what = match state {
            "pending" => "it is not fired any more",
            "triggering" => "it is being fired; the answer is waited for",
            _ => "it is not followed any more; its remote job may run on",
        };
        let already = if now.int("already") == Some(1) { " already" } else { "" };
        format!("{id} {state}: cancel requested{already}; {what}")
    });
    verdict::is_whole(ended, &verb.ids, &verdicts)?;
    if !verb.json && verdicts.iter().any(|verdict| verdict.done.is_ok()) {
        verdict::mind_the_daemon(&mut console).await?;
    }
    reported
}
