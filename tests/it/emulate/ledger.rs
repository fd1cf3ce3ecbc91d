//! The ledger over HTTP.

use serde_json::json;

use crate::support::emulator::{FOLDER, call, emulator, get};

#[tokio::test]
async fn the_ledger_has_calls_jobs_and_firings_and_no_secret() {
    let emulator = emulator("[defaults]\nduration = \"0s\"\n").await;
    let at = emulator.address();
    let path = format!("/acme/t/{FOLDER}/hello");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = format!("Idempotency-Key: k-1\r\ntraceparent: {trace}\r\nAuthorization: Bearer c4n4ry\r\n");
    let started = call(at, "POST", &path, &headers, r#"{"a":1,"$callMode":"AsyncRequestReply"}"#).await;
    let status = call(at, "GET", started.location(), "Authorization: Bearer c4n4ry\r\n", "").await;
    get(&emulator, status.location()).await;
    call(at, "POST", &path, &headers, "{}").await;
    let trouble = r#"{"emulate":{"trouble":[{"on":"start","do":"drop"}]}}"#;
    call(at, "POST", &path, "", trouble).await;
    get(&emulator, "/elsewhere?sig=c4n4ry").await;

    let page = get(&emulator, "/ledger").await;
    for secret in
        ["c4n4ry", "sig", started.location().split("/status/").nth(1).unwrap().split('?').next().unwrap()]
    {
        assert!(!page.text().contains(secret), "{secret}: {}", page.text());
    }
    let calls = page.json()["calls"].clone();
    let job = calls[0]["job"].clone();
    let time = calls[0]["time"].as_str().unwrap();
    let answered = calls[0]["answered"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert!(answered >= time, "{time}, answered {answered}");
    assert_eq!(
        calls[0],
        json!({
            "n": 1, "time": time, "leg": "start", "trigger": "hello", "method": "POST", "path": path,
            "idempotency_key": "k-1", "traceparent": trace, "arguments": {"a": 1}, "status": 202,
            "answered": answered, "job": job,
        })
    );
    let short: Vec<_> = calls
        .as_array()
        .unwrap()
        .iter()
        .map(|call| format!("{} {} {}", call["leg"], call["status"], call["job"] == job))
        .collect();
    assert_eq!(
        short,
        [
            "\"start\" 202 true",
            "\"status\" 303 true",
            "\"output\" 200 true",
            "\"start\" 202 false",
            "\"start\" \"dropped\" false",
            "null 404 false",
        ]
    );
    assert_eq!(page.json()["total"], 6);

    let jobs = get(&emulator, "/ledger/jobs").await.json();
    let first = &jobs["jobs"][0];
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&first["n"], &first["id"], &first["trigger"], &first["mode"], &first["state"], &first["calls"]),
        (&json!(1), &job, &json!("hello"), &json!("AsyncRequestReply"), &json!("Successful"), &json!(3))
    );
    assert!(first["created"].is_string() && first["ended"].is_string());

    let firings = get(&emulator, "/ledger/firings").await.json();
    let twice = json!({"idempotency_key": "k-1", "trigger": "hello", "firings": 2, "jobs": 2});
    assert_eq!(
        firings,
        json!({
            "firings": 3, "jobs": 2, "without_key": 1, "forgotten_keys": 0,
            "doubles": [twice.clone()], "keys": [twice],
        })
    );

    assert_eq!(call(at, "DELETE", "/ledger", "", "").await.status, 204);
    assert_eq!(get(&emulator, "/ledger").await.json(), json!({"total": 0, "calls": []}));
    assert_eq!(get(&emulator, "/ledger/jobs").await.json(), json!({"jobs": []}));
    assert_eq!(get(&emulator, "/ledger/firings").await.json()["jobs"], 0);
    assert_eq!(get(&emulator, started.location()).await.status, 303, "jobs go on");
    for (method, path) in [("POST", "/ledger"), ("DELETE", "/ledger/jobs"), ("GET", "/ledger/x")] {
        assert_eq!(call(at, method, path, "", "").await.status, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn the_ledger_keeps_the_newest_calls_and_jobs_are_forgotten_some_time_after_their_end() {
    let emulator = emulator("ledger_calls = 2\nforget_after = \"1ms\"\nmax_jobs = 1\n").await;
    let path = format!("/t/{FOLDER}/hello");
    let fire = async |body| call(emulator.address(), "POST", &path, "", body).await;
    let first = fire(r#"{"emulate":{"duration":"0s"}}"#).await;
    while get(&emulator, first.location()).await.status != 404 {}
    assert_eq!(fire(r#"{"emulate":{"end":"suspended"}}"#).await.status, 202);
    assert_eq!(fire("{}").await.status, 503, "there is room for one that runs");
    let calls = emulator.calls();
    assert_eq!((calls.len(), calls[1].n), (2, calls[0].n + 1));
    assert_eq!(emulator.firings().jobs, 2);
}
