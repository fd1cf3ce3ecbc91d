//! The real daemon where there is too little of what the machine gives, and where it is suspended. What needs root or control
//! groups is in `tests/faults/limits.py`.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, prlimit};
use triggerd::clock::monotonic;

use crate::process::{QUIET, count, fired, many};
use crate::support::bounded;
use crate::support::daemon::{Daemon, Site};
use crate::support::far_end::{Answer, FarEnd, Hold};

/// Of a running daemon; the hard limit stays, so that there may be more again.
fn limit_files(daemon: &Daemon, most: u64) {
    let limit = Rlimit { current: Some(most), maximum: Some(1024) };
    prlimit(Some(daemon.pid()), Resource::Nofile, limit).unwrap();
}

/// `[triggers.NAME]` that tries again without end, each half second.
fn trying(name: &str, far: &FarEnd) -> String {
    format!(
        "[triggers.{name}]\nurl = \"{}\"\ncall_mode = \"FireAndForget\"\n\
         retry = {{ max_refusals = 100000, initial = \"200ms\", factor = 1.0, max = \"200ms\" }}\n",
        far.url("/fire")
    )
}

#[tokio::test]
async fn a_daemon_out_of_descriptors_waits_without_spinning_and_goes_on_by_itself() {
    // Fewer than the connections that are wanted, and none at all for what is not open yet.
    for most in [40, 4] {
        let hold = Hold::new();
        let holding = hold.clone();
        let far = FarEnd::start(move |_| Answer::status(202).held(&holding)).await;
        let alive = FarEnd::start(|_| Answer::status(202)).await;
        // What is counted here are tries that fail, far more in a row than a breaker lets through.
        let tries = "[dispatch]\nbreaker = { failures = 0 }\n";
        let site = Site::new(&[QUIET, tries, &trying("held", &far), &trying("t", &alive)].concat());
        let daemon = site.spawn_with("-n 1024");
        daemon.logged("triggerd::daemon: ready").await;
        let mut table = site.table().await;
        table.run(many("t", 1)).await;
        table.until(&count("dispatched"), 1).await;
        limit_files(&daemon, most);
        table.run(many("held", 60)).await;
        table.until("SELECT count(*) >= 20 FROM attempts WHERE outcome = 'not_sent'", 1).await;
        let why = "SELECT count(*) > 0 FROM attempts WHERE error_message LIKE '%Too many open files%'";
        assert_eq!(table.number(why).await, 1);
        let (used, begun) = (daemon.cpu_time(), monotonic());
        table.run(many("t", 5)).await;
        // Some rounds of tries.
        let tries = table.number("SELECT count(*) FROM attempts").await + 100;
        table.until(&format!("SELECT count(*) >= {tries} FROM attempts"), 1).await;
        let (used, waited) = (daemon.cpu_time().saturating_sub(used), begun.elapsed());
        assert!(
            used < waited / 2 + Duration::from_millis(500),
            "{used:?} of {waited:?} at {most} descriptors"
        );
        limit_files(&daemon, 1024);
        hold.release();
        table.until(&count("dispatched"), 66).await;
        daemon.stop().await;
        for far in [&far, &alive] {
            let mut ids = fired(far);
            let firings = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), firings, "a row was fired twice");
        }
    }
}

#[tokio::test]
async fn with_any_number_of_descriptors_a_start_is_one_or_says_why_not() {
    let far = FarEnd::start(|_| Answer::status(202)).await;
    for most in (6..40).step_by(3) {
        let site = Site::new(&trying("t", &far));
        let daemon = site.spawn_with(&format!("-n {most}"));
        // A database that cannot be opened is waited for, as one that is locked is.
        let words =
            ["triggerd::daemon: ready", "nothing is lost, next try in", "triggerd: ", "failed to create"];
        let said = daemon.logged_one_of(&words).await;
        if said <= 1 {
            daemon.stop().await;
        } else {
            let ended = bounded(daemon.ended()).await;
            assert!(ended.code.is_some_and(|code| code > 0), "{most} descriptors: {}", ended.log);
        }
    }
}

#[tokio::test]
async fn a_suspended_daemon_goes_on_where_it_was() {
    let hold = Hold::new();
    let holding = hold.clone();
    let far = FarEnd::start(move |seen| match (seen.method.as_str(), seen.order) {
        ("POST", 0) => Answer::status(202).header("Location", "/status"),
        ("POST", _) => Answer::status(202).header("Location", "/status").held(&holding),
        _ if seen.target == "/output" => Answer::status(200).body("done"),
        (_, 0..20) => Answer::status(200),
        _ => Answer::status(303).header("Location", "/output"),
    })
    .await;
    let site = Site::new(&format!(
        "[triggers.t]\nurl = \"{}\"\npoll = {{ initial = \"50ms\", factor = 1.0, max = \"50ms\" }}\n",
        far.url("/fire")
    ));
    let daemon = site.start().await;
    let mut table = site.table().await;
    table.run(many("t", 1)).await;
    bounded(far.seen(2)).await;
    table.run(many("t", 1)).await;
    table.until("SELECT count(*) FROM requests WHERE state = 'triggering'", 1).await;
    daemon.signal(Signal::STOP);
    // It is answered, and something is inserted, while it sleeps through some polls.
    hold.release();
    table.run(many("t", 3)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    daemon.signal(Signal::CONT);
    table.until(&count("succeeded"), 5).await;
    daemon.stop().await;
    let mut ids = fired(&far);
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    let wrong = "SELECT count(*) FROM results JOIN requests USING (id)
      WHERE duration_ms < 0 OR requests.started_at > accepted_at OR accepted_at > finished_at";
    assert_eq!(table.number(wrong).await, 0);
}
