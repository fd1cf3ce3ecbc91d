//! Answers that are in order, but strange: waits without sense, states that go back and forth.

use std::collections::HashMap;
use std::sync::Mutex;

use super::{accepted, at, firings, insert};
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd};

/// A refusal with this `Retry-After`, which may come several times.
fn refusal(status: u16, waits: &[&str]) -> Answer {
    waits.iter().fold(Answer::status(status), |answer, wait| answer.header("Retry-After", wait))
}

#[tokio::test]
async fn a_wait_that_makes_no_sense_is_clamped() {
    const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const FUTURE: &str = "Fri, 31 Dec 9999 23:59:59 GMT";
    /// What is waited at least, in ms: the trigger's own backoff, or all that it allows.
    const OWN: i64 = 0;
    const LONGEST: i64 = 1000;
    let cases: [(&str, &[&str], i64); 10] = [
        ("none", &[], OWN),
        ("zero", &["0"], OWN),
        ("negative", &["-1"], OWN),
        ("past", &[PAST], OWN),
        ("garbage", &["soon, or so"], OWN),
        ("fraction", &["0.5"], OWN),
        ("ages", &["1000000000000"], LONGEST),
        ("beyond-numbers", &["99999999999999999999999999"], LONGEST),
        ("future", &[FUTURE], LONGEST),
        ("several", &["1000000000000", "0", "soon"], LONGEST),
    ];
    let waits: HashMap<String, Vec<&str>> =
        cases.iter().map(|(name, waits, _)| ((*name).to_owned(), waits.to_vec())).collect();
    let asked = Mutex::new(HashMap::<String, usize>::new());
    let far = FarEnd::start(move |seen| {
        let nth = {
            let mut asked = asked.lock().unwrap();
            let nth = asked.entry(seen.target.clone()).or_default();
            *nth += 1;
            *nth
        };
        let mut parts = seen.target.split('/').skip(1);
        let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match (kind, nth) {
            ("429" | "503", 1) => refusal(kind.parse().unwrap(), &waits[name]),
            ("429" | "503", _) => Answer::status(202),
            ("polled", _) => accepted(&format!("/status/{name}")),
            ("status", 1) => refusal(200, &waits[name]),
            ("status", _) => Answer::status(303).header("Location", "/output"),
            _ => Answer::status(200),
        }
    })
    .await;
    let cap = "retry_after_max = \"1s\"\n";
    let triggers: String = cases
        .iter()
        .map(|(name, ..)| {
            let fire_and_forget = [cap, "call_mode = \"FireAndForget\""].concat();
            at(&format!("429-{name}"), &far, &format!("/429/{name}"), &fire_and_forget)
                + &at(&format!("503-{name}"), &far, &format!("/503/{name}"), &fire_and_forget)
                + &at(&format!("polled-{name}"), &far, &format!("/polled/{name}"), cap)
        })
        .collect();
    let site = Site::new(&["[log]\nfilter = \"triggerd=debug\"\n", &triggers].concat());
    let daemon = site.start().await;
    let mut table = site.table().await;
    for (name, _, least) in cases {
        let id = insert(&mut table, &format!("429-{name}")).await;
        table.meets(id, "dispatched").await;
        let apart = format!(
            "SELECT b.started_at - a.ended_at FROM attempts AS a JOIN attempts AS b USING (request_id)
             WHERE request_id = {id} AND a.attempt = 1 AND b.attempt = 2"
        );
        let apart = table.number(apart).await;
        assert!(apart >= least, "429 {name}: {apart} ms, not {least}");
        // Without a wait that can be read, 503 does not say that nothing was started.
        let id = insert(&mut table, &format!("503-{name}")).await;
        let says_so = !matches!(name, "none" | "negative" | "garbage" | "fraction");
        table.meets(id, if says_so { "dispatched" } else { "uncertain server_error" }).await;
        assert_eq!(firings(&far, &format!("/503/{name}")).len(), if says_so { 2 } else { 1 });
        let id = insert(&mut table, &format!("polled-{name}")).await;
        table.meets(id, "succeeded").await;
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_status_that_is_not_there_yet_or_goes_back_and_forth_is_followed_to_its_end() {
    let far = FarEnd::start(|seen| {
        let moved = |status: u16, to: &str| Answer::status(status).header("Location", to);
        match (seen.target.as_str(), seen.order) {
            ("/fire", _) => accepted("/status"),
            ("/status", 1..4) => Answer::status(404),
            ("/status", 4 | 6) => Answer::status(200),
            ("/status", 5) => Answer::status(202),
            ("/status", 7) => Answer::status(410),
            ("/status", _) => moved(202, "/status2"),
            ("/status2", 9) => Answer::status(200),
            ("/status2", _) => moved(303, "/output"),
            ("/output", 11 | 12) => Answer::status(404),
            ("/output", 13) => Answer::status(202),
            ("/output", 14) => Answer::status(200).body("done"),
            // Whoever asked once more would get this.
            _ => Answer::status(202).body("not done"),
        }
    })
    .await;
    let held = FarEnd::start(|seen| match (seen.target.as_str(), seen.order) {
        ("/fire", _) => Answer::status(303).header("Location", "/leg"),
        ("/leg", 1 | 2) => Answer::status(404),
        ("/leg", 3) => Answer::status(202),
        ("/leg", 4) => Answer::status(200).body("done"),
        _ => Answer::status(202),
    })
    .await;
    let none = FarEnd::start(|_| Answer::status(202)).await;
    let site = Site::new(
        &[
            at("t", &far, "/fire", ""),
            at("held", &held, "/fire", "call_mode = \"LongPolling\""),
            at("none", &none, "/fire", ""),
        ]
        .concat(),
    );
    let daemon = site.start().await;
    let mut table = site.table().await;
    for name in ["t", "held"] {
        let id = insert(&mut table, name).await;
        table.meets(id, "succeeded").await;
    }
    let id = insert(&mut table, "none").await;
    table.meets(id, "uncertain missing_location").await;
    // What has ended stays so, and nobody asks again.
    daemon.kill().await;
    let daemon = site.start().await;
    let id = insert(&mut table, "none").await;
    table.meets(id, "uncertain missing_location").await;
    daemon.stop().await;
    assert_eq!((far.all().len(), held.all().len(), none.all().len()), (15, 5, 2));
    for id in [1, 2] {
        assert_eq!(table.text(format!("SELECT output FROM results WHERE id = {id}")).await, "done");
    }
}
