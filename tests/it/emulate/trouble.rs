//! What goes wrong on purpose, as a client sees it.

use serde_json::{Value, json};
use triggerd::clock::monotonic;

use crate::support::bounded;
use crate::support::emulator::{FOLDER, Response, call, emulator, get, post};

/// One call that starts a job which is over at once, in long polling, with one trouble.
async fn started_with(trouble: Value) -> (Response, usize) {
    let emulator = emulator("[defaults]\nduration = \"0s\"\ncall_mode = \"LongPolling\"\n").await;
    let response = post(&emulator, &json!({"text": "0123456789", "emulate": {"trouble": [trouble]}})).await;
    (response, emulator.jobs().len())
}

#[tokio::test]
async fn a_status_comes_before_or_after_the_job_is_made() {
    for (after, jobs) in [(false, 0), (true, 1)] {
        let (page, made) = started_with(json!({"on": "start", "status": 502, "after": after})).await;
        assert_eq!(
            (page.status, page.header("content-type"), made),
            (502, Some("text/html; charset=utf-8"), jobs)
        );
        assert!(page.text().contains("<h1>Bad gateway</h1>"));
    }
    let (refused, made) = started_with(json!({"on": "start", "status": 503, "retry_after": "7s"})).await;
    assert_eq!((refused.status, refused.header("retry-after"), made), (503, Some("7"), 0));
    assert!(refused.json()["errorCode"].is_number());
    let trouble = json!({"on": "start", "status": 429, "retry_after": "7s", "retry_after_form": "date", "body": "empty"});
    let (refused, _) = started_with(trouble).await;
    assert_eq!((refused.status, refused.text()), (429, ""));
    assert!(refused.header("retry-after").unwrap().ends_with(" GMT"));
    let (page, _) = started_with(json!({"on": "start", "status": 200, "body": "html"})).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
}

#[tokio::test]
async fn a_caller_who_gives_up_during_the_delay_does_not_know_that_the_job_runs() {
    for trouble in [
        json!({"on": "start", "do": "drop", "after": true, "delay": "10m"}),
        json!({"on": "start", "do": "slow", "delay": "10m"}),
    ] {
        let emulator = emulator("").await;
        let body = json!({"emulate": {"trouble": [trouble]}});
        tokio::select! {
            response = post(&emulator, &body) => panic!("answered in time: {response:?}"),
            () = bounded(emulator.until(|emulator| emulator.jobs().len() == 1)) => {}
        }
        let firings = emulator.firings();
        assert_eq!((firings.firings, firings.jobs), (1, 1));
    }
    let emulator = emulator("").await;
    let body = json!({"emulate": {"trouble": [{"on": "start", "do": "drop", "delay": "10m"}]}});
    tokio::select! {
        response = post(&emulator, &body) => panic!("answered in time: {response:?}"),
        () = bounded(emulator.until(|emulator| emulator.firings().firings == 1)) => {}
    }
    assert_eq!(emulator.jobs().len(), 0, "without after there is none");
}

#[tokio::test]
async fn a_connection_ends_before_or_after_the_job_is_made() {
    for (how, reset) in [("drop", false), ("reset", true)] {
        for (after, jobs) in [(false, 0), (true, 1)] {
            let (nothing, made) = started_with(json!({"on": "start", "do": how, "after": after})).await;
            assert_eq!((nothing.status, nothing.reset, made), (0, reset, jobs), "{how} {after}");
        }
    }
}

#[tokio::test]
async fn a_body_is_cut_or_huge_or_late() {
    let whole = r#"{"text":"0123456789"}"#;
    let (cut, made) = started_with(json!({"on": "start", "do": "cut"})).await;
    assert_eq!((cut.status, cut.text(), made), (200, &whole[..whole.len() / 2], 1));
    assert_eq!(cut.header("content-length"), Some("21"));
    let (huge, _) = started_with(json!({"on": "start", "do": "huge", "bytes": "3MiB"})).await;
    assert_eq!((huge.status, huge.body.len()), (200, 3 << 20));
    let begun = monotonic();
    let (slow, _) = started_with(json!({"on": "start", "do": "slow", "delay": "150ms"})).await;
    assert_eq!((slow.status, slow.text()), (200, whole));
    assert!(begun.elapsed().as_millis() >= 150);
}

#[tokio::test]
async fn a_location_is_missing_or_leads_elsewhere_or_back() {
    let emulator = emulator("[defaults]\nhold = \"0s\"\n").await;
    for mode in ["AsyncRequestReply", "LongPolling"] {
        // Without a key both modes are one caller.
        emulator.reset();
        let arguments = |trouble| json!({"$callMode": mode, "emulate": {"trouble": [trouble]}});
        let expected = if mode == "LongPolling" { 303 } else { 202 };
        let missing = post(&emulator, &arguments(json!({"on": "start", "do": "no_location"}))).await;
        assert_eq!((missing.status, missing.header("location")), (expected, None));

        let elsewhere = json!({"on": "status", "do": "elsewhere", "location": "http://elsewhere.example/x"});
        let started = post(&emulator, &arguments(elsewhere)).await;
        let foreign = get(&emulator, started.location()).await;
        assert_eq!((foreign.status, foreign.location()), (303, "http://elsewhere.example/x"));
        let good = get(&emulator, started.location()).await;
        assert_ne!(good.header("location"), Some("http://elsewhere.example/x"), "only once");

        let started =
            post(&emulator, &arguments(json!({"on": "status", "do": "loop", "times": "always"}))).await;
        for _ in 0..3 {
            let looped = get(&emulator, started.location()).await;
            assert_eq!((looped.status, looped.location()), (303, started.location()));
        }
    }
}

#[tokio::test]
async fn each_key_has_its_share_of_trouble_and_a_job_its_own() {
    let emulator = emulator(
        "[defaults]\nduration = \"0s\"\n[triggers.hello]\ntrouble = [\n\
         { on = \"start\", status = 502 }, { on = \"start\", status = 429, times = 2 },\n\
         { on = \"status\", status = 401 }, { on = \"output\", do = \"drop\" } ]\n",
    )
    .await;
    let fire = async |key: &str| {
        let headers = if key.is_empty() { String::new() } else { format!("Idempotency-Key: {key}\r\n") };
        call(emulator.address(), "POST", &format!("/t/{FOLDER}/hello"), &headers, "{}").await
    };
    for key in ["a", "b", ""] {
        for status in [502, 429, 429, 202, 202] {
            assert_eq!(fire(key).await.status, status, "{key}");
        }
    }
    for _ in 0..2 {
        let job = fire("a").await;
        assert_eq!(get(&emulator, job.location()).await.status, 401);
        let ended = get(&emulator, job.location()).await;
        assert_eq!(get(&emulator, ended.location()).await.status, 0);
        assert_eq!(get(&emulator, ended.location()).await.status, 200);
    }
    emulator.reset();
    assert_eq!(fire("a").await.status, 502, "a reset brings them back");
}

#[tokio::test]
async fn requests_that_bring_their_own_trouble_do_not_use_up_each_other_s() {
    let emulator = emulator("").await;
    for status in [500, 503, 504] {
        let arguments = json!({"emulate": {"trouble": [{"on": "start", "status": status}]}});
        assert_eq!(post(&emulator, &arguments).await.status, status);
        assert_eq!(post(&emulator, &arguments).await.status, 202);
    }
}
