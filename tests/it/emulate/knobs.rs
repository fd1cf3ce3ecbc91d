//! Each knob, as a client sees it.

use std::time::Duration;

use serde_json::{Value, json};
use triggerd::clock::monotonic;

use crate::support::bounded;
use crate::support::emulator::{FOLDER, Response, call, emulator, get, post};

/// Starts a job that is over at once, with these knobs, and polls it by the rules of async polling to its output.
async fn ended(emulate: Value) -> (Response, Response, Response) {
    let emulator = emulator("[defaults]\nduration = \"0s\"\n").await;
    let started = post(&emulator, &json!({"a": 1, "emulate": emulate})).await;
    assert_eq!(started.status, 202, "{started:?}");
    let status = get(&emulator, started.location()).await;
    let output = get(&emulator, status.location()).await;
    (started, status, output)
}

#[tokio::test]
async fn async_polling_is_202_200_303_200() {
    let emulator = emulator("").await;
    let started = post(&emulator, &json!({"a": {"b": [1]}, "emulate": {"duration": "200ms"}})).await;
    assert_eq!((started.status, started.text()), (202, ""));
    let origin = format!("http://{}/t/status/", emulator.address());
    assert!(started.location().starts_with(&origin), "{}", started.location());
    let running = get(&emulator, started.location()).await;
    assert_eq!((running.status, running.text(), running.header("location")), (200, "{}", None));
    let mut status = running;
    while status.status == 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        status = get(&emulator, started.location()).await;
    }
    assert_eq!(status.status, 303);
    let again = get(&emulator, started.location()).await;
    assert_ne!(status.location(), again.location(), "each answer has a link of its own");
    for link in [status.location(), again.location(), status.location()] {
        let output = get(&emulator, link).await;
        assert_eq!((output.status, output.json()), (200, json!({"a": {"b": [1]}})));
    }
}

#[tokio::test]
async fn long_polling_holds_goes_on_and_answers_at_the_end_at_once() {
    let emulator = emulator("[defaults]\ncall_mode = \"LongPolling\"\n").await;
    let begun = monotonic();
    let leg = post(&emulator, &json!({"emulate": {"duration": "400ms", "hold": "150ms"}})).await;
    assert_eq!(leg.status, 303);
    assert!(begun.elapsed() >= Duration::from_millis(150));
    let next = get(&emulator, leg.location()).await;
    assert_eq!(next.status, 303);
    assert_ne!(leg.location(), next.location());
    let end = get(&emulator, next.location()).await;
    assert_eq!((end.status, end.text()), (200, "{}"));
    // Far below the 25 s for which a call is held.
    let end = post(&emulator, &json!({"emulate": {"duration": "50ms", "output": [1, "x"]}})).await;
    assert_eq!((end.status, end.json()), (200, json!([1, "x"])));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn fire_and_forget_is_200_and_the_job_runs_all_the_same() {
    let emulator = emulator("[defaults]\nduration = \"0s\"\n").await;
    let fired = post(&emulator, &json!({"$callMode": "FireAndForget"})).await;
    assert_eq!((fired.status, fired.text(), fired.header("location")), (200, "", None));
    let jobs = emulator.jobs();
    assert_eq!((jobs.len(), jobs[0].mode, jobs[0].state), (1, "FireAndForget", "Successful"));
}

#[tokio::test]
async fn a_get_has_its_arguments_in_the_query() {
    let emulator = emulator("").await;
    let query = "a=b%20c&%24callMode=LongPolling&emulate=%7B%22duration%22%3A%220s%22%7D";
    let end = get(&emulator, &format!("/acme/prod/orchestrator_/t/{FOLDER}/hello?{query}")).await;
    assert_eq!((end.status, end.json()), (200, json!({"a": "b c"})));
}

#[tokio::test]
async fn jobs_end_as_they_are_told_to() {
    for (end, code, state) in
        [("fault", "Faulted", "Faulted"), ("stopped", "Stopped", "Stopped"), ("killed", "Killed", "Stopped")]
    {
        let emulator = emulator("[defaults]\nduration = \"0s\"\n").await;
        let arguments = json!({"$callMode": "LongPolling", "emulate": {"end": end, "fault_status": 500}});
        let fault = post(&emulator, &arguments).await;
        assert_eq!((fault.status, &fault.json()["code"]), (500, &json!(code)));
        assert_eq!(emulator.jobs()[0].state, state);
    }
    let (_, status, output) =
        ended(json!({"end": "fault", "fault_status": 200, "fault_body": "message"})).await;
    assert_eq!((status.status, output.status), (303, 200));
    assert!(output.json()["message"].is_string() && output.json()["traceId"].is_string());

    let emulator = emulator("[defaults]\nduration = \"0s\"\nend = \"suspended\"\n").await;
    let started = post(&emulator, &json!({})).await;
    for _ in 0..3 {
        assert_eq!(get(&emulator, started.location()).await.status, 200);
    }
    assert_eq!(emulator.jobs()[0].state, "Suspended");
    let cut = post(&emulator, &json!({"$callMode": "LongPolling", "emulate": {"sync_cap": "50ms"}})).await;
    assert_eq!((cut.status, &cut.json()["code"]), (400, &json!("Timeout")));
}

#[tokio::test]
async fn servers_may_differ() {
    let (started, status, output) = ended(json!({
        "redirect_status": 302, "relative_location": true, "retry_after": "3s", "output": {"x": null},
    }))
    .await;
    assert!(started.location().starts_with("/t/status/"), "{}", started.location());
    assert!(status.location().starts_with("/t/output/"), "{}", status.location());
    assert_eq!((status.status, output.text()), (302, r#"{"x":null}"#));
    assert_eq!((started.header("retry-after"), status.header("retry-after")), (Some("3"), Some("3")));
    assert_eq!(output.header("retry-after"), None);
    let (started, ..) = ended(json!({"retry_after": "90s", "retry_after_form": "date"})).await;
    let date = |name| httpdate::parse_http_date(started.header(name).unwrap()).unwrap();
    let wait = date("retry-after").duration_since(date("date")).unwrap();
    assert!((89..=91).contains(&wait.as_secs()), "{wait:?}");

    let emulator = emulator("").await;
    for (body, text) in [("empty", ""), ("object", "{}"), ("state", r#"{"state":"Running"}"#)] {
        let started = post(&emulator, &json!({"emulate": {"running_body": body}})).await;
        assert_eq!(get(&emulator, started.location()).await.text(), text);
    }
}

#[tokio::test]
async fn links_may_stay_the_same_or_end_with_the_next_one_or_after_a_while() {
    let emulator = emulator("[defaults]\ncall_mode = \"LongPolling\"\nhold = \"0s\"\n").await;
    let same = post(&emulator, &json!({"emulate": {"fresh_links": false}})).await;
    assert_eq!(get(&emulator, same.location()).await.location(), same.location());

    let first = post(&emulator, &json!({"emulate": {"single_use_links": true}})).await;
    let second = get(&emulator, first.location()).await;
    let gone = get(&emulator, first.location()).await;
    assert_eq!((gone.status, &gone.json()["errorCode"]), (404, &json!(1002)));
    assert_eq!(get(&emulator, second.location()).await.status, 303);

    let arguments =
        json!({"$callMode": "AsyncRequestReply", "emulate": {"duration": "0s", "link_expiry": "0s"}});
    let expired = post(&emulator, &arguments).await;
    assert_eq!(get(&emulator, expired.location()).await.status, 404);
}

#[tokio::test]
async fn links_lead_to_the_portal_if_there_is_one() {
    let emulator = emulator("portal = \"127.0.0.1:0\"\n[defaults]\nduration = \"0s\"\n").await;
    let portal = format!("http://{}/", emulator.portal().unwrap());
    let started = post(&emulator, &json!({"a": 1})).await;
    let status = get(&emulator, started.location()).await;
    assert!(started.location().starts_with(&portal) && status.location().starts_with(&portal));
    assert_eq!(get(&emulator, status.location()).await.json(), json!({"a": 1}));
    let here = post(&emulator, &json!({"emulate": {"portal_links": false}})).await;
    assert!(!here.location().starts_with(&portal));
}

#[tokio::test]
async fn a_repeated_key_makes_another_job_unless_it_is_told_to_look() {
    let emulator = emulator("[triggers.blind]\n[triggers.looks]\ndeduplicate = true\n").await;
    for (slug, jobs) in [("blind", 2), ("looks", 1)] {
        for _ in 0..2 {
            let path = format!("/t/{FOLDER}/{slug}");
            let started = call(emulator.address(), "POST", &path, "Idempotency-Key: k\r\n", "{}").await;
            assert_eq!(started.status, 202);
        }
        let firings = emulator.firings();
        let fired = firings.keys.iter().find(|fired| &*fired.trigger == slug).unwrap();
        assert_eq!((fired.count.firings, fired.count.jobs), (2, jobs), "{slug}");
    }
    let doubles: Vec<_> = emulator.firings().doubles.iter().map(|fired| fired.trigger.to_string()).collect();
    assert_eq!(doubles, ["blind"]);
}

#[tokio::test]
async fn what_is_no_trigger_or_no_call_is_refused_in_the_vendor_s_words() {
    let emulator = emulator(&format!("max_body = \"1KiB\"\n[triggers.hello]\nfolder = \"{FOLDER}\"\nmethod = \"POST\"\n[triggers.get]\nmethod = \"GET\"\n")).await;
    let at = emulator.address();
    let hello = format!("/t/{FOLDER}/hello");
    let json = "Content-Type: application/json\r\n";
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2000));
    for (method, path, headers, body, status, code) in [
        ("POST", format!("/t/{FOLDER}/other"), json, "{}", 404, 1623),
        ("PUT", hello.clone(), json, "{}", 404, 1623),
        ("POST", hello.replace("0000-4000", "0000-5000"), json, "{}", 404, 1623),
        ("POST", "/t/no-folder/hello".to_owned(), json, "{}", 404, 1623),
        ("PATCH", "/whatever".to_owned(), "", "", 404, 1623),
        ("POST", hello.clone(), json, "", 400, 4804),
        ("POST", hello.clone(), json, "{", 400, 4804),
        ("POST", hello.clone(), json, "[1]", 400, 4804),
        ("POST", hello.clone(), json, r#"{"emulate":{"end":"well"}}"#, 400, 4804),
        ("POST", hello.clone(), json, &long, 413, 4804),
        ("GET", format!("/t/{FOLDER}/get?a=1"), json, "", 400, 4804),
        ("GET", format!("/t/{FOLDER}/get?emulate=%7B"), "", "", 400, 4804),
    ] {
        let refused = call(at, method, &path, headers, body).await;
        let error = refused.json();
        assert_eq!((refused.status, &error["errorCode"]), (status, &json!(code)), "{method} {path} {body}");
        assert!(error["message"].is_string() && error["traceId"].is_string(), "{error}");
    }
    assert_eq!(call(at, "POST", &hello, json, "{}").await.status, 202);
    assert_eq!(emulator.firings().jobs, 1);
}

#[tokio::test]
async fn a_link_that_was_changed_or_made_elsewhere_leads_nowhere() {
    let emulator = emulator("[defaults]\nduration = \"0s\"\n").await;
    let other = self::emulator("").await;
    let started = post(&emulator, &json!({})).await;
    let status = get(&emulator, started.location()).await;
    let foreign = post(&other, &json!({})).await;
    let foreign = foreign.location().replace(&other.address().to_string(), &emulator.address().to_string());
    let changed = |link: &str, from: &str, to: &str| {
        assert!(link.contains(from));
        link.replacen(from, to, 1)
    };
    let own = started.location();
    for link in [
        foreign,
        changed(own, "sig=", "sig=0"),
        changed(own, "?sig=", "?gis="),
        changed(own, "00000001?", "00000002?"),
        changed(own, "/status/", "/output/"),
        changed(status.location(), "/output/", "/status/"),
        own.split_once('?').unwrap().0.to_owned(),
    ] {
        let refused = get(&emulator, &link).await;
        assert_eq!((refused.status, &refused.json()["errorCode"]), (404, &json!(1002)), "{link}");
    }
    assert_eq!(call(emulator.address(), "DELETE", own, "", "").await.status, 404);
    assert_eq!(get(&emulator, own).await.status, 303);
}

#[tokio::test]
async fn every_leg_asks_for_the_token_but_one_where_it_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "s3cret\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let toml = format!(
        "token = {{ file = \"{}\" }}\n[defaults]\nhold = \"0s\"\n[triggers.closed]\n[triggers.open]\nrequire_bearer_on_status = false\n",
        path.display()
    );
    let emulator = emulator(&toml).await;
    let at = emulator.address();
    let bearer = "Authorization: bearer s3cret\r\n";
    for wrong in [
        "",
        "Authorization: Bearer s3cre\r\n",
        "Authorization: Bearer s3cret2\r\n",
        "Authorization: Basic s3cret\r\n",
    ] {
        let refused = call(at, "POST", &format!("/t/{FOLDER}/closed"), wrong, "{}").await;
        assert_eq!(
            (refused.status, &refused.json()["message"]),
            (401, &json!("You are not authenticated!")),
            "{wrong}"
        );
    }
    for (slug, mode, without) in [
        ("closed", "LongPolling", 401),
        ("closed", "AsyncRequestReply", 401),
        ("open", "LongPolling", 303),
        ("open", "AsyncRequestReply", 401),
    ] {
        let body = json!({"$callMode": mode}).to_string();
        let started = call(at, "POST", &format!("/t/{FOLDER}/{slug}"), bearer, &body).await;
        let asked = call(at, "GET", started.location(), "", "").await;
        assert_eq!(asked.status, without, "{slug} {mode}");
        assert!(matches!(call(at, "GET", started.location(), bearer, "").await.status, 200 | 303));
    }
    assert_eq!(
        call(at, "GET", "/t/status/abc?sig=00", "", "").await.status,
        401,
        "nobody learns which links are good"
    );
    assert_eq!(get(&emulator, "/ledger").await.status, 200, "the ledger is open");
}

#[tokio::test]
async fn a_stop_answers_those_who_are_held_and_a_caller_who_leaves_is_noticed() {
    let emulator = emulator("[defaults]\ncall_mode = \"LongPolling\"\nduration = \"1m\"\n").await;
    let at = emulator.address();
    let hello = format!("/t/{FOLDER}/hello");
    let leaving = tokio::spawn({
        let hello = hello.clone();
        async move { call(at, "POST", &hello, "", "{}").await }
    });
    bounded(emulator.until(|emulator| !emulator.jobs().is_empty())).await;
    leaving.abort();
    let left = |emulator: &triggerd::emulator::Emulator| {
        serde_json::to_value(&emulator.calls()[0]).unwrap()["status"] == json!("left")
    };
    bounded(emulator.until(left)).await;

    let held: Vec<_> = (0..200)
        .map(|_| {
            let hello = hello.clone();
            tokio::spawn(async move { call(at, "POST", &hello, "", "{}").await })
        })
        .collect();
    bounded(emulator.until(|emulator| emulator.jobs().len() == 201)).await;
    bounded(emulator.stop()).await;
    for held in held {
        assert_eq!(held.await.unwrap().status, 303);
    }
}
