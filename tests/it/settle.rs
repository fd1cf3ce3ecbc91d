//! What an operator does to requests: cancel, retry, resolve, pause and resume, alone and beside a running daemon.

use serde_json::{Value, json};

use crate::cli::{Place, code, errors};
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd, Hold, Then};

/// One object a line.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_id_is_judged_alone_and_one_that_cannot_be_done_is_1() {
    let place = Place::migrated();
    place.sql(
        "INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('t');
         UPDATE requests SET state = 'succeeded', finished_at = created_at WHERE id = 2;
         UPDATE requests SET state = 'failed', error_code = 'refused', finished_at = created_at WHERE id = 3",
    );
    let cancelled = place.triggerd(&["cancel", "1", "2", "9"]);
    assert_eq!(code(&cancelled), 1);
    assert_eq!(
        String::from_utf8_lossy(&cancelled.stdout),
        "1 pending: cancel requested; it is not fired any more\n"
    );
    let said = errors(&cancelled);
    assert!(
        said.contains("triggerd: request 2: it has ended already: succeeded; see `triggerd show 2`\n"),
        "{said}"
    );
    assert!(said.contains("triggerd: request 9: there is none: "), "{said}");
    assert!(place.said(&["cancel", "1"]).contains("cancel requested already"));

    let json = place.triggerd(&["cancel", "--json", "1", "2"]);
    assert_eq!((code(&json), errors(&json).as_str()), (1, ""));
    let objects = lines(&String::from_utf8(json.stdout).unwrap());
    assert_eq!(
        objects[0],
        json!({"id": 1, "done": true, "state": "pending", "cancel_requested": 1, "already": true})
    );
    assert_eq!((&objects[1]["done"], &objects[1]["state"]), (&json!(false), &json!("succeeded")));
    assert!(objects[1]["error"].as_str().unwrap().starts_with("it has ended already"), "{objects:?}");

    let retried = place.triggerd(&["retry", "--json", "3", "2"]);
    assert_eq!(code(&retried), 1);
    let objects = lines(&String::from_utf8(retried.stdout).unwrap());
    assert_eq!(objects[0], json!({"id": 3, "done": true, "state": "pending", "round": 2}));
    assert_eq!(objects[1]["done"], json!(false));
    assert_eq!(place.json(&["show", "3", "--json"])["round"], 2);
}

#[test]
fn a_retry_by_selection_says_how_many() {
    let place = Place::migrated();
    place.sql(
        "INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('u'), ('t'), ('t');
         UPDATE requests SET state = 'failed', finished_at = created_at WHERE id IN (1, 2, 3);
         UPDATE requests SET state = 'expired', accepted_at = created_at, finished_at = created_at WHERE id = 4;
         UPDATE requests SET finished_at = created_at - 3 * 3600000 WHERE id = 1",
    );
    let recent = place.said(&["retry", "--state", "failed", "--trigger", "t", "--since", "2h"]);
    assert_eq!(recent, "2 pending: round 2\nretried: 1 of 1\n");
    let none = place.said(&["retry", "--trigger", "nobody"]);
    assert_eq!(none, "retried: 0 of 0\n");
    let rest = place.triggerd(&["retry", "--since", "2020-01-01T00:00:00Z"]);
    assert_eq!(code(&rest), 1, "one of them may run on");
    assert!(String::from_utf8_lossy(&rest.stdout).ends_with("retried: 2 of 3\n"), "{rest:?}");
    assert!(errors(&rest).contains("request 4: its remote job was accepted and not seen to end"), "{rest:?}");
    assert_eq!(place.said(&["retry", "--json", "--state", "failed"]), "");
    assert!(place.said(&["retry", "4", "--may-run-twice"]).starts_with("4 pending: round 2"));
}

#[test]
fn a_pause_is_told_with_its_reason_and_an_unknown_trigger_with_the_known_ones() {
    let place = Place::migrated();
    let paused = place.said(&["pause", "t", "--reason", "month end"]);
    assert!(paused.starts_with("t paused (month end): ") && paused.contains("polled on"), "{paused}");
    place.said(&["submit", "t"]);
    let why = place.json(&["show", "1", "--json"])["why"].to_string();
    assert!(why.contains("the trigger is paused (month end): waits for triggerd resume t"), "{why}");
    let again = place.json(&["pause", "t", "--json"]);
    assert_eq!(
        again,
        json!({"trigger": "t", "done": true, "paused": true, "paused_reason": null, "already": true})
    );
    assert!(place.said(&["resume", "t"]).starts_with("t resumed"));
    assert_eq!(place.said(&["resume", "t"]), "t was not paused\n");
    let unknown = place.triggerd(&["pause", "v"]);
    assert_eq!(
        (code(&unknown), errors(&unknown).as_str()),
        (1, "triggerd: there is no trigger v: there are t, u\n")
    );
    let unknown = place.triggerd(&["resume", "v", "--json"]);
    assert_eq!((code(&unknown), errors(&unknown).as_str()), (1, ""));
    assert_eq!(lines(&String::from_utf8(unknown.stdout).unwrap())[0]["done"], json!(false));
    place.configure("[database]\nurl = 'sqlite:queue.db'\n[triggers.u]\nurl = 'https://api.example/u'\n");
    place.said(&["migrate"]);
    assert!(place.said(&["pause", "t"]).contains("is not in the configuration"));
}

#[test]
fn no_daemon_is_needed_to_ask_and_that_none_runs_is_said() {
    let place = Place::migrated();
    place.said(&["submit", "t"]);
    let cancelled = place.triggerd(&["cancel", "1"]);
    assert_eq!(code(&cancelled), 0);
    assert!(errors(&cancelled).starts_with("no daemon seems to run"), "{cancelled:?}");
    place.sql("UPDATE daemon SET seen_at = CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)");
    assert_eq!(errors(&place.triggerd(&["cancel", "1"])), "");
}

#[test]
fn what_is_resolved_is_told_and_what_is_not_uncertain_is_refused() {
    let place = Place::migrated();
    place.sql(
        "INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('t');
         UPDATE requests SET state = 'uncertain', attempt = 1, error_code = 'interrupted', finished_at = created_at WHERE id < 3",
    );
    assert_eq!(place.said(&["resolve", "1", "--as", "failed", "--note", "nobody ran it"]), "1 failed\n");
    let shown = place.json(&["show", "1", "--json"]);
    assert_eq!(shown["error_message"], "resolved as failed by an operator: nobody ran it");
    let resolved = place.json(&["resolve", "2", "--as", "succeeded", "--json"]);
    assert_eq!(
        (&resolved["id"], &resolved["done"], &resolved["state"], &resolved["error_code"]),
        (&json!(2), &json!(true), &json!("succeeded"), &json!(null))
    );
    for id in ["1", "2", "3", "4"] {
        let refused = place.triggerd(&["resolve", id, "--as", "retry"]);
        assert_eq!((code(&refused), refused.stdout.len()), (1, 0), "{id}");
    }
    assert!(errors(&place.triggerd(&["resolve", "1", "--as", "retry"])).contains("`triggerd retry 1`"));
    let usage =
        place.triggerd(&["resolve", "1", "--as", "follow", "--status-uri", "https://u:hunter2@api.example/"]);
    assert_eq!(code(&usage), 2);
    assert!(!errors(&usage).contains("hunter2"), "{usage:?}");
}

fn configuration(far: &FarEnd, more: &str) -> String {
    format!(
        "[triggers.t]\nurl = \"{}\"\npoll = {{ initial = \"20ms\", max = \"20ms\" }}\n{more}",
        far.url("/t")
    )
}

fn accepted() -> Answer {
    Answer::status(202).header("Location", "/status")
}

#[tokio::test]
async fn a_running_daemon_carries_out_a_cancel() {
    let far =
        FarEnd::start(|seen| if seen.method == "POST" { accepted() } else { Answer::status(200) }).await;
    let site = Site::new(&configuration(&far, ""));
    let daemon = site.start().await;
    let mut table = site.table().await;
    assert_eq!(site.verb(&["submit", "t"]).await, (0, "1\n".to_owned()));
    table.meets(1, "polling").await;
    let (code, said) = site.verb(&["cancel", "1"]).await;
    assert_eq!(
        (code, said.as_str()),
        (0, "1 polling: cancel requested; it is not followed any more; its remote job may run on\n")
    );
    table.meets(1, "cancelled cancelled_by_request").await;
    let (code, said) = site.verb(&["retry", "1"]).await;
    assert!(code == 1 && said.contains("accepted and not seen to end"), "{said}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_paused_trigger_is_not_fired_and_goes_on_being_polled() {
    let hold = Hold::new();
    let ended = Answer::status(303).header("Location", "/output").held(&hold);
    let far = FarEnd::start(move |seen| match seen.target.as_str() {
        "/t" => accepted(),
        "/status" => ended.clone(),
        _ => Answer::status(200).body("done"),
    })
    .await;
    let site = Site::new(&configuration(&far, ""));
    let daemon = site.start().await;
    let mut table = site.table().await;
    site.verb(&["submit", "t"]).await;
    table.meets(1, "polling").await;
    assert_eq!(site.verb(&["pause", "t"]).await.0, 0);
    site.verb(&["submit", "t"]).await;
    hold.release();
    table.meets(1, "succeeded").await;
    assert_eq!(table.fate(2).await, "pending");
    assert_eq!(far.all().iter().filter(|seen| seen.target == "/t").count(), 1);
    assert_eq!(site.verb(&["resume", "t"]).await.0, 0);
    table.meets(2, "succeeded").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_retried_request_is_fired_in_a_new_round_with_a_new_key() {
    let far = FarEnd::queue([
        accepted(),
        Answer::status(303).header("Location", "/output"),
        Answer::status(418).body("no"),
        Answer::status(202).header("Location", "/status"),
        Answer::status(303).header("Location", "/output"),
        Answer::status(200).body("yes"),
    ])
    .await;
    let site = Site::new(&configuration(&far, ""));
    let daemon = site.start().await;
    let mut table = site.table().await;
    site.verb(&["submit", "t"]).await;
    table.meets(1, "failed job_faulted").await;
    daemon.stop().await;
    assert_eq!(table.number("SELECT deadline_at IS NOT NULL FROM requests").await, 1);

    // The deadline was the daemon's, whatever the configuration says by now.
    site.configure(&configuration(&far, "deadline = \"1h\"\n"));
    let (code, said) = site.verb(&["retry", "1"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        table.number("SELECT deadline_at IS NULL AND attempt = 1 AND round = 2 FROM requests").await,
        1
    );
    let daemon = site.start().await;
    table.meets(1, "succeeded").await;
    daemon.stop().await;
    assert_eq!(table.text("SELECT output FROM results").await, "yes");
    assert_eq!(table.text("SELECT group_concat(round || '.' || attempt) FROM attempts").await, "1.1,2.2");
    assert_eq!(table.number("SELECT deadline_at - started_at FROM requests").await, 3_600_000);
    let all = far.all();
    let keys: Vec<_> = all.iter().filter_map(|seen| seen.header("Idempotency-Key")).collect();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn an_uncertain_request_is_fired_again_with_the_same_key() {
    let far = FarEnd::queue([
        Answer::raw("").then(Then::Reset),
        accepted(),
        Answer::status(303).header("Location", "/output"),
        Answer::status(200).body("yes"),
    ])
    .await;
    let site = Site::new(&configuration(&far, ""));
    let daemon = site.start().await;
    let mut table = site.table().await;
    site.verb(&["submit", "t"]).await;
    table.meets(1, "uncertain connection_lost").await;
    let (code, said) = site.verb(&["retry", "1"]).await;
    assert!(code == 1 && said.contains("`triggerd resolve 1 --as retry`"), "{said}");
    let resolved = site.verb(&["resolve", "1", "--as", "retry", "--note", "it never came"]).await;
    assert_eq!(resolved, (0, "1 pending: fired again, with the same Idempotency-Key\n".to_owned()));
    table.meets(1, "succeeded").await;
    daemon.stop().await;
    let all = far.all();
    let keys: Vec<_> = all.iter().filter_map(|seen| seen.header("Idempotency-Key")).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    assert_eq!(table.number("SELECT round = 1 AND attempt = 2 FROM requests").await, 1);
}

#[tokio::test]
async fn a_running_daemon_follows_what_an_operator_hands_over() {
    let far = FarEnd::start(|seen| match seen.target.as_str() {
        "/t" => Answer::raw("").then(Then::Reset),
        "/status?sig=1" => Answer::status(303).header("Location", "/output"),
        "/output" => Answer::status(200).body("found"),
        other => panic!("{other} was not to be asked"),
    })
    .await;
    let site = Site::new(&configuration(&far, ""));
    let daemon = site.start().await;
    let mut table = site.table().await;
    site.verb(&["submit", "t"]).await;
    table.meets(1, "uncertain connection_lost").await;
    let (code, said) = site.verb(&["resolve", "1", "--as", "follow"]).await;
    assert!(code == 1 && said.contains("--status-uri"), "{said}");
    let elsewhere = ["resolve", "1", "--as", "follow", "--status-uri", "https://elsewhere.example/s"];
    let (code, said) = site.verb(&elsewhere).await;
    assert!(code == 1 && said.contains("allowed_origins"), "{said}");
    let uri = far.url("/status?sig=1");
    let resolved = site.verb(&["resolve", "1", "--as", "follow", "--status-uri", uri.as_str()]).await;
    assert_eq!(resolved, (0, "1 polling: by the rules of AsyncRequestReply\n".to_owned()));
    table.meets(1, "succeeded").await;
    assert_eq!(table.text("SELECT output FROM results").await, "found");
    assert_eq!(table.number("SELECT count(*) FROM handovers").await, 0);
    assert_eq!(far.all().iter().filter(|seen| seen.method == "POST").count(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_handed_over_while_no_daemon_runs_is_followed_from_the_next_start_on() {
    let far = FarEnd::start(|seen| match seen.target.as_str() {
        "/t" => Answer::status(200).header("Location", "/status"),
        "/status" => Answer::status(303).header("Location", "/output"),
        _ => Answer::status(200).body("found"),
    })
    .await;
    let site = Site::new(&configuration(&far, ""));
    let daemon = site.start().await;
    let mut table = site.table().await;
    site.verb(&["submit", "t"]).await;
    table.meets(1, "uncertain call_mode_mismatch").await;
    daemon.stop().await;
    let (code, said) = site.verb(&["resolve", "1", "--as", "follow"]).await;
    assert!(code == 0 && said.contains("no daemon seems to run"), "{said}");
    let daemon = site.start().await;
    table.meets(1, "succeeded").await;
    daemon.stop().await;
    assert_eq!(far.all().iter().filter(|seen| seen.method == "POST").count(), 1);
}
