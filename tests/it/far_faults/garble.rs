//! Answers that are not what they should be.

use super::{accepted, at, insert};
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd};

/// Outputs, and whether the `fault_pointer` `/error` finds a value there.
fn outputs() -> Vec<(&'static str, Vec<u8>, bool)> {
    let deep = |open: &str, close: &str| open.repeat(10_000) + &close.repeat(10_000);
    vec![
        ("not-utf8", b"\xff\xfe{\"error\":\"x\"}".to_vec(), false),
        ("utf8-within", b"{\"error\":\"\xc3\x28\"}".to_vec(), false),
        ("not-json", b"{\"error\":".to_vec(), false),
        ("nul", b"\0\0\0".to_vec(), false),
        ("an-array", b"[\"error\"]".to_vec(), false),
        ("a-text", b"\"error\"".to_vec(), false),
        ("a-number", b"{\"error\": 0}".to_vec(), true),
        ("an-object", b"{\"error\": {}}".to_vec(), true),
        ("no-fault", b"{\"error\": null}".to_vec(), false),
        // The last one counts, as in most parsers.
        ("twice", b"{\"error\": null, \"error\": \"x\"}".to_vec(), true),
        ("twice-the-other-way", b"{\"error\": \"x\", \"error\": null}".to_vec(), false),
        ("nan", b"{\"error\": NaN}".to_vec(), false),
        ("infinite", b"{\"error\": 1e999}".to_vec(), false),
        ("lone-surrogate", b"{\"error\": \"\\ud800\"}".to_vec(), false),
        ("bom", b"\xef\xbb\xbf{\"error\": \"x\"}".to_vec(), true),
        ("bom-and-no-fault", b"\xef\xbb\xbf{}".to_vec(), false),
        ("deep-arrays", deep("[", "]").into_bytes(), false),
        ("deep-objects", deep("{\"error\":", "}").into_bytes(), false),
        ("deep-fault", format!("{{\"error\":{}}}", deep("[", "]")).into_bytes(), false),
        ("unclosed", "[".repeat(500_000).into_bytes(), false),
    ]
}

#[tokio::test]
async fn outputs_that_are_no_json_are_kept_as_they_came_and_have_no_fault() {
    let far = FarEnd::start(|seen| {
        let name = seen.target.rsplit('/').next().unwrap_or_default().to_owned();
        let output = outputs().into_iter().find(|(case, ..)| *case == name).map(|(_, bytes, _)| bytes);
        match seen.target.split('/').nth(1) {
            Some("async") => accepted(&format!("/status/{name}")),
            // Nobody reads what a status says besides its head.
            Some("status") if seen.order % 2 == 0 => Answer::status(200).body(output.unwrap_or_default()),
            Some("status") => Answer::status(303).header("Location", &format!("/output/{name}")),
            _ => Answer::status(200)
                .header("Content-Type", "application/json; charset=nonsense")
                .body(output.unwrap_or_default()),
        }
    })
    .await;
    let fault_pointer = "fault_pointer = \"/error\"";
    let held = ["call_mode = \"LongPolling\"\n", fault_pointer].concat();
    let triggers: String = outputs()
        .iter()
        .map(|(name, ..)| {
            at(&format!("held-{name}"), &far, &format!("/held/{name}"), &held)
                + &at(&format!("async-{name}"), &far, &format!("/async/{name}"), fault_pointer)
        })
        .collect();
    let site = Site::new(&triggers);
    let daemon = site.start().await;
    let mut table = site.table().await;
    for (name, bytes, faulted) in outputs() {
        for mode in ["held", "async"] {
            let id = insert(&mut table, &format!("{mode}-{name}")).await;
            table.meets(id, if faulted { "failed job_faulted" } else { "succeeded" }).await;
            let kept: (Vec<u8>,) =
                table.row(format!("SELECT CAST(body AS BLOB) FROM outputs WHERE request_id = {id}")).await;
            assert!(kept.0 == bytes, "{mode}-{name} is not as it came");
        }
    }
    let log = daemon.stop().await;
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn heads_that_make_no_sense_are_no_reason_to_fire_again() {
    let huge = format!("/{}", "x".repeat(10_000));
    let cases = [
        ("no-url", Answer::status(202).header("Location", "http://[1"), "uncertain missing_location"),
        (
            "no-port",
            Answer::status(202).header("Location", "http://a:99999999/"),
            "uncertain missing_location",
        ),
        ("empty", Answer::status(202).header("Location", ""), "uncertain missing_location"),
        ("huge", Answer::status(202).header("Location", &huge), "uncertain missing_location"),
        (
            "scheme",
            Answer::status(202).header("Location", "file:///etc/passwd"),
            "uncertain missing_location",
        ),
        ("script", Answer::status(202).header("Location", "javascript:alert(1)"), "polling forbidden_origin"),
        (
            "status",
            Answer::raw("HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n"),
            "uncertain connection_lost",
        ),
        (
            "no-number",
            Answer::raw("HTTP/1.1 abc What\r\nContent-Length: 0\r\n\r\n"),
            "uncertain connection_lost",
        ),
        (
            "version",
            Answer::raw("HTTP/7.3 200 What\r\nContent-Length: 0\r\n\r\n"),
            "uncertain connection_lost",
        ),
        ("length", Answer::raw("HTTP/1.1 202 A\r\nContent-Length: -5\r\n\r\n"), "uncertain connection_lost"),
        ("colons", Answer::raw("HTTP/1.1 202 A\r\n::::\r\n\r\n"), "uncertain connection_lost"),
        ("tls", Answer::raw("\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{28}"), "uncertain connection_lost"),
    ];
    let answers: Vec<_> =
        cases.iter().map(|(name, answer, _)| (format!("/{name}"), answer.clone())).collect();
    let far = FarEnd::start(move |seen| {
        let (_, answer) = answers.iter().find(|(path, _)| *path == seen.target).expect("only firings");
        answer.clone()
    })
    .await;
    let triggers: String = cases
        .iter()
        .map(|(name, ..)| at(name, &far, &format!("/{name}"), "response_timeout = \"2s\""))
        .collect();
    let site = Site::new(&triggers);
    let daemon = site.start().await;
    let mut table = site.table().await;
    for (name, _, fate) in &cases {
        let id = insert(&mut table, name).await;
        let fate = fate.to_owned();
        table.meets(id, fate).await;
    }
    daemon.stop().await;
    assert_eq!(far.all().len(), cases.len());
}
