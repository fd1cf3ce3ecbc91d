//! A far end that answers a byte at a time, or not at all.

use super::{accepted, at, firings, insert};
use crate::support::bounded;
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd, Then};

/// The whole exchange, of which a dripping answer would take seconds.
const SHORT: &str = "response_timeout = \"300ms\"\nmax_concurrent = 1";

#[tokio::test]
async fn an_answer_that_drips_or_never_comes_ends_by_response_timeout_and_frees_its_place() {
    let far = FarEnd::start(|seen| match seen.target.as_str() {
        "/silent" => Answer::raw("").then(Then::Hang),
        "/endless" => Answer::raw("").then(Then::Hang),
        "/drip" => accepted("/status").dripping(),
        _ => Answer::status(202),
    })
    .await;
    let site = Site::new(
        &[
            at("silent", &far, "/silent", SHORT),
            at("drip", &far, "/drip", SHORT),
            at("endless", &far, "/endless", ""),
            at("t", &far, "/t", "call_mode = \"FireAndForget\""),
        ]
        .concat(),
    );
    let daemon = site.start().await;
    let mut table = site.table().await;
    let endless = insert(&mut table, "endless").await;
    bounded(far.seen(1)).await;
    // One place each: the second of each is fired when the first has ended.
    let mut ids = Vec::new();
    for name in ["silent", "silent", "drip", "drip"] {
        ids.push(insert(&mut table, name).await);
    }
    let other = insert(&mut table, "t").await;
    table.meets(other, "dispatched").await;
    for id in ids {
        table.meets(id, "uncertain response_timeout").await;
    }
    assert_eq!(table.fate(endless).await, "triggering", "by its own, longer time");
    for path in ["/silent", "/drip"] {
        assert_eq!(firings(&far, path).len(), 2, "{path}");
    }
    // Nothing hangs on at the far end either.
    daemon.kill().await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_off_and_the_head_decides() {
    let far = FarEnd::start(|seen| match seen.target.as_str() {
        "/accepts" => accepted("/status").then(Then::Hang).announcing(1000),
        "/status" => Answer::status(303).header("Location", "/output"),
        "/answers" => Answer::status(200).announcing(1000).body("half").then(Then::Hang),
        "/output" => Answer::status(200).body("done"),
        _ => Answer::status(202).announcing(1000).body("x").then(Then::Hang),
    })
    .await;
    let held = [SHORT, "\ncall_mode = \"LongPolling\""].concat();
    let forgotten = [SHORT, "\ncall_mode = \"FireAndForget\""].concat();
    let site = Site::new(
        &[
            at("accepts", &far, "/accepts", SHORT),
            at("answers", &far, "/answers", &held),
            at("forgotten", &far, "/forgotten", &forgotten),
        ]
        .concat(),
    );
    let daemon = site.start().await;
    let mut table = site.table().await;
    for (name, fate) in
        [("accepts", "succeeded"), ("answers", "uncertain output_unreadable"), ("forgotten", "dispatched")]
    {
        let id = insert(&mut table, name).await;
        table.meets(id, fate).await;
        assert_eq!(firings(&far, &format!("/{name}")).len(), 1);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn polls_that_drip_or_hang_are_asked_again_and_never_fired_again() {
    let far = FarEnd::start(|seen| match (seen.target.as_str(), seen.order) {
        ("/fire", _) => accepted("/status"),
        ("/status", 1) => Answer::raw("").then(Then::Hang),
        ("/status", 2) => Answer::status(200).body("x".repeat(100)).dripping(),
        ("/status", 3) => Answer::status(303).header("Location", "/output").dripping(),
        ("/status", _) => Answer::status(303).header("Location", "/output"),
        (_, 5) => Answer::status(200).announcing(9).body("half").then(Then::Hang),
        (_, 6) => Answer::status(200).body("x".repeat(100)).dripping(),
        _ => Answer::status(200).body("done"),
    })
    .await;
    let site = Site::new(&at("t", &far, "/fire", SHORT));
    let daemon = site.start().await;
    let mut table = site.table().await;
    let id = insert(&mut table, "t").await;
    table.meets(id, "succeeded").await;
    assert_eq!(table.text("SELECT output FROM results").await, "done");
    let targets: Vec<_> = far.all().into_iter().map(|seen| seen.target).collect();
    let whole = ["/fire", "/status", "/status", "/status", "/status", "/output", "/output", "/output"];
    assert_eq!(targets, whole);
    daemon.stop().await;
}
