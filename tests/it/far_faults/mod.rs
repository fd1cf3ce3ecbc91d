//! The real daemon against a far end that fails, lies, dawdles or floods, over real sockets.
//!
//! What must hold each time: the failure is what the table of answers calls it; an unrepeatable trigger that may have
//! been reached is not fired again; memory stays bounded; what else there is goes on; and what has ended stays ended.

mod answers;
mod astray;
mod breaks;
mod floods;
mod garble;
mod slow;
mod tls;
mod uploads;

use crate::support::daemon::Table;
use crate::support::far_end::{Answer, FarEnd, Seen};

/// `[triggers.NAME]` at a path of its own, with quick intervals.
fn at(name: &str, far: &FarEnd, path: &str, keys: &str) -> String {
    let retry = if keys.contains("retry =") { "" } else { "retry = { initial = \"1ms\", max = \"1ms\" }\n" };
    format!(
        "[triggers.{name}]\nurl = \"{}\"\n\
         poll = {{ initial = \"20ms\", factor = 1.0, max = \"20ms\" }}\n{retry}{keys}\n",
        far.url(path)
    )
}

/// Accepts; the job is asked for at `status`.
fn accepted(status: &str) -> Answer {
    Answer::status(202).header("Location", status)
}

/// The firings of one path.
fn firings(far: &FarEnd, path: &str) -> Vec<Seen> {
    far.all().into_iter().filter(|seen| seen.method == "POST" && seen.target == path).collect()
}

/// Inserts one request for a trigger; its id.
async fn insert(table: &mut Table, trigger: &str) -> i64 {
    table.run(format!("INSERT INTO requests (trigger_name) VALUES ('{trigger}')")).await;
    table.number("SELECT last_insert_rowid()").await
}
