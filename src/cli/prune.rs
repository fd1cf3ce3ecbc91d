//! `triggerd prune`: retention, now.

use std::path::Path;

use serde::Serialize;
use triggerd::clock::{Clock, SystemClock};
use triggerd::queue::sqlite::{self, Pruned};
use triggerd::{config, daemon};

use super::failure::Failure;
use super::print;

#[derive(Serialize)]
struct Done {
    requests: u64,
    outputs: u64,
    dry_run: bool,
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Prune) -> Result<(), Failure> {
    let config = config::load(file)?;
    let (options, kept) = (daemon::database_options(&config.database), daemon::retention(&config));
    if verb.dry_run {
        return report(sqlite::prunable(&options, kept, SystemClock.now()).await?, verb);
    }
    let mut pruned = Pruned::default();
    let ended = sqlite::prune(&options, kept, &SystemClock, &mut pruned).await;
    if ended.is_ok() || pruned != Pruned::default() {
        report(pruned, verb)?;
    }
    Ok(ended?)
}

fn report(Pruned { requests, outputs }: Pruned, verb: &super::Prune) -> Result<(), Failure> {
    let dry_run = verb.dry_run;
    if verb.json {
        return print::out(print::json(&Done { requests, outputs, dry_run })?);
    }
    let what = if dry_run { "would be deleted" } else { "deleted" };
    print::out(format!("requests {what}: {requests}; outputs {what} of requests that stay: {outputs}\n"))
}
