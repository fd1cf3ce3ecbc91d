//! `AsyncRequestReply` from end to end: a row in, 202, polls, 303, the output; and what may come instead.

use triggerd::request::CallMode;
use triggerd::trigger::Trigger;
use url::Url;

use crate::support::engine::{self, Engine, TOKEN};
use crate::support::far_end::{Answer, FarEnd, Seen, Then};

fn trigger(url: Url) -> Trigger {
    engine::trigger(url, CallMode::AsyncRequestReply)
}

fn to(status: u16, location: &str) -> Answer {
    Answer::status(status).header("Location", location)
}

fn json(body: &str) -> Answer {
    Answer::status(200).header("Content-Type", "application/json").body(body)
}

/// A far end whose remote job has ended at the first poll; its output URI answers `output`.
async fn ending_with(output: Answer) -> (FarEnd, Engine) {
    let far = FarEnd::start(move |seen| match seen.target.as_str() {
        "/start" => to(202, "/status"),
        "/status" => to(303, "/output"),
        _ => output.clone(),
    })
    .await;
    let engine = Engine::start(trigger(far.url("/start"))).await;
    (far, engine)
}

fn targets(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.target.as_str()).collect()
}

#[tokio::test]
async fn a_row_becomes_an_output() {
    let far = FarEnd::queue([
        to(202, "/status/7?sig=x"),
        Answer::status(200),
        to(202, "/status/8"),
        to(303, "/output/7"),
        Answer::status(202),
        json(r#"{"total": 42}"#),
    ])
    .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine
        .insert(
            r#"INSERT INTO requests (trigger_name, arguments, traceparent, correlation_id)
               VALUES ('t', '{"month": 11}', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'c-1')
               RETURNING id"#,
        )
        .await;
    let outcome = engine.outcome(id).await;
    assert_eq!(outcome.end(), ("succeeded", None));
    assert_eq!(outcome.output.as_deref(), Some(r#"{"total": 42}"#));
    assert_eq!(outcome.call_mode.as_deref(), Some("AsyncRequestReply"));
    assert_eq!((outcome.http_status, outcome.attempt), (Some(200), 1));
    assert_eq!(engine.column("polls", id).await.as_deref(), Some("5"));
    assert_eq!(engine.column("status_uri", id).await, Some(far.url("/status/8").to_string()));
    assert_eq!(engine.column("output_uri", id).await, Some(far.url("/output/7").to_string()));
    assert_eq!(engine.attempts(id).await, ["accepted"]);

    let seen = far.all();
    assert_eq!(
        targets(&seen),
        ["/start", "/status/7?sig=x", "/status/7?sig=x", "/status/8", "/output/7", "/output/7"]
    );
    assert_eq!(seen[0].method, "POST");
    let body: serde_json::Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(body, serde_json::json!({"month": 11, "$callMode": "AsyncRequestReply"}));
    assert_eq!(
        seen[0].header("traceparent"),
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    );
    for poll in &seen[1..] {
        assert_eq!((poll.method.as_str(), poll.body.len()), ("GET", 0));
        assert_eq!(poll.header("idempotency-key"), None);
    }
    assert!(seen.iter().all(|seen| seen.header("authorization") == Some(TOKEN)), "on every leg");
    engine.stop().await;
}

#[tokio::test]
async fn a_location_may_be_relative_to_what_answered() {
    let far = FarEnd::queue([to(202, "jobs/7"), to(303, "../out?of=7"), json("1")]).await;
    let mut engine = Engine::start(trigger(far.url("/api/start"))).await;
    assert_eq!(engine.run().await.end(), ("succeeded", None));
    assert_eq!(targets(&far.all()), ["/api/start", "/api/jobs/7", "/api/out?of=7"]);
}

#[tokio::test]
async fn a_location_at_a_foreign_origin_is_kept_and_not_asked() {
    let foreign = FarEnd::queue([json("stolen")]).await;
    let far = FarEnd::queue([to(202, foreign.url("/status").as_str())]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    engine.until(id, "state = 'polling' AND error_code = 'forbidden_origin'").await;
    assert_eq!(engine.column("status_uri", id).await, Some(foreign.url("/status").to_string()));
    engine.stop().await;
    assert_eq!((foreign.connections(), far.all().len()), (0, 1));
}

#[tokio::test]
async fn an_output_at_a_foreign_origin_is_kept_and_not_asked() {
    let foreign = FarEnd::queue([json("stolen")]).await;
    let far = FarEnd::queue([to(202, "/status"), to(303, foreign.url("/output").as_str())]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    engine.until(id, "state = 'collecting' AND error_code = 'forbidden_origin'").await;
    engine.stop().await;
    assert_eq!(foreign.connections(), 0);
}

#[tokio::test]
async fn an_origin_that_is_allowed_is_asked_with_the_credential() {
    let portal = FarEnd::queue([to(303, "/output"), json("1")]).await;
    let far = FarEnd::queue([to(202, portal.url("/status").as_str())]).await;
    let allowed_origins = vec![portal.url("/").origin()];
    let mut engine = Engine::start(Trigger { allowed_origins, ..trigger(far.url("/start")) }).await;
    assert_eq!(engine.run().await.end(), ("succeeded", None));
    assert!(portal.all().iter().all(|seen| seen.header("authorization") == Some(TOKEN)));
}

#[tokio::test]
async fn a_refused_firing_is_rejected_and_nothing_is_asked() {
    let far = FarEnd::queue([Answer::status(403)]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    let outcome = engine.outcome(id).await;
    assert_eq!((outcome.end(), outcome.http_status), (("rejected", Some("refused")), Some(403)));
    assert_eq!(engine.attempts(id).await, ["refused"]);
    assert_eq!(far.all().len(), 1);
}

#[tokio::test]
async fn a_401_renews_the_credential_and_fires_again_under_the_same_key() {
    let far = FarEnd::start(|seen| match (seen.target.as_str(), seen.header("authorization")) {
        ("/start", Some("Bearer n3w")) => to(202, "/status"),
        ("/status", Some("Bearer n3w")) => to(303, "/output"),
        ("/output", _) => json("1"),
        _ => Answer::status(401),
    })
    .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    engine.renew_token("n3w");
    let id = engine.submit().await;
    assert_eq!(engine.outcome(id).await.end(), ("succeeded", None));
    assert_eq!(engine.attempts(id).await, ["refused", "accepted"]);
    let keys: Vec<_> =
        far.all()[..2].iter().map(|seen| seen.header("idempotency-key").map(str::to_owned)).collect();
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
}

#[tokio::test]
async fn a_401_of_a_poll_renews_the_credential_and_fires_nothing() {
    let far = FarEnd::start(|seen| match (seen.target.as_str(), seen.header("authorization")) {
        ("/start", _) => to(202, "/status"),
        (_, Some(TOKEN)) => Answer::status(401),
        ("/status", _) => to(303, "/output"),
        _ => json("1"),
    })
    .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    engine.until(id, "state = 'polling'").await;
    engine.renew_token("n3w");
    assert_eq!(engine.outcome(id).await.end(), ("succeeded", None));
    assert_eq!(far.all().iter().filter(|seen| seen.target == "/start").count(), 1);
}

#[tokio::test]
async fn all_attempts_of_a_round_carry_one_key_and_another_request_another() {
    let far = FarEnd::queue([
        Answer::status(429),
        Answer::status(503).header("Retry-After", "0"),
        Answer::status(403),
        Answer::status(403),
    ])
    .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    assert_eq!(engine.outcome(id).await.end(), ("rejected", Some("refused")));
    assert_eq!(engine.attempts(id).await, ["refused"; 3]);
    engine.run().await;
    let keys: Vec<_> =
        far.all().iter().map(|seen| seen.header("idempotency-key").unwrap().to_owned()).collect();
    assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3], "{keys:?}");
}

#[tokio::test]
async fn an_unrepeatable_firing_that_breaks_off_is_uncertain_and_not_repeated() {
    let far = FarEnd::queue([Answer::raw("").then(Then::Close)]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    assert_eq!(engine.outcome(id).await.end(), ("uncertain", Some("connection_lost")));
    assert_eq!(engine.attempts(id).await, ["ambiguous"]);
    engine.stop().await;
    assert_eq!(far.all().len(), 1);
}

#[tokio::test]
async fn a_repeatable_one_is_fired_again() {
    let far = FarEnd::queue([
        Answer::raw("").then(Then::Close),
        Answer::status(502),
        to(202, "/status"),
        to(303, "/output"),
        json("1"),
    ])
    .await;
    let mut engine = Engine::start(Trigger { repeatable: true, ..trigger(far.url("/start")) }).await;
    let id = engine.submit().await;
    assert_eq!(engine.outcome(id).await.end(), ("succeeded", None));
    assert_eq!(engine.attempts(id).await, ["ambiguous", "ambiguous", "accepted"]);
}

#[tokio::test]
async fn an_answer_without_anything_to_follow_is_uncertain() {
    for (answer, code) in [(Answer::status(202), "missing_location"), (json("1"), "call_mode_mismatch")] {
        let far = FarEnd::queue([answer]).await;
        let mut engine = Engine::start(trigger(far.url("/start"))).await;
        assert_eq!(engine.run().await.end(), ("uncertain", Some(code)));
    }
}

#[tokio::test]
async fn a_302_ends_the_job_at_its_status_uri_but_is_a_login_page_at_the_trigger() {
    let far = FarEnd::queue([to(202, "/status"), to(302, "/output"), json("1")]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    assert_eq!(engine.run().await.end(), ("succeeded", None));

    let far = FarEnd::queue([to(302, "/login")]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    assert_eq!(engine.run().await.end(), ("rejected", Some("unexpected_redirect")));
    assert_eq!(far.all().len(), 1);
}

#[tokio::test]
async fn redirects_of_a_poll_are_followed_and_only_lasting_ones_are_stored() {
    let far = FarEnd::start(|seen| match seen.target.as_str() {
        "/start" => to(202, "/status"),
        "/status" => to(307, "/elsewhere"),
        "/elsewhere" => to(308, "/for-good"),
        "/for-good" => to(303, "/output"),
        "/output" => to(303, "/really"),
        _ => json("1"),
    })
    .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    assert_eq!(engine.outcome(id).await.end(), ("succeeded", None));
    assert_eq!(engine.column("status_uri", id).await, Some(far.url("/for-good").to_string()));
    assert_eq!(engine.column("output_uri", id).await, Some(far.url("/output").to_string()));
}

#[tokio::test]
async fn redirects_in_a_circle_are_given_up() {
    let far = FarEnd::start(|seen| match seen.target.as_str() {
        "/start" => to(202, "/a"),
        "/a" => to(307, "/b"),
        _ => to(307, "/a"),
    })
    .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    assert_eq!(engine.run().await.end(), ("uncertain", Some("redirect_loop")));
    assert_eq!(far.all().len(), 1 + 6);
}

#[tokio::test]
async fn a_redirect_of_a_poll_to_a_foreign_origin_carries_no_credential_there() {
    let foreign = FarEnd::queue([json("stolen")]).await;
    let far = FarEnd::queue([to(202, "/status"), to(307, foreign.url("/x").as_str())]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    engine.until(id, "error_code = 'forbidden_origin'").await;
    engine.stop().await;
    assert_eq!(foreign.connections(), 0);
}

#[tokio::test]
async fn the_first_poll_waits_as_long_as_the_202_asks() {
    let far = FarEnd::queue([to(202, "/status").header("Retry-After", "30")]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    engine.until(id, "state = 'polling'").await;
    let wait: i64 = engine.column("due_at - accepted_at", id).await.unwrap().parse().unwrap();
    assert!((30_000..=32_000).contains(&wait), "{wait} ms");
    engine.stop().await;
    assert_eq!(far.all().len(), 1);
}

#[tokio::test]
async fn an_output_is_kept_as_it_came() {
    let (_far, mut engine) = ending_with(Answer::status(200).body("grüße")).await;
    assert_eq!(engine.run().await.output.as_deref(), Some("grüße"));

    let binary = b"\x89PNG\r\n\x1a\n\x00\xff".to_vec();
    let (_far, mut engine) = ending_with(Answer::status(200).body(binary.clone())).await;
    let id = engine.submit().await;
    let outcome = engine.outcome(id).await;
    assert_eq!((outcome.end(), &outcome.output), (("succeeded", None), &None));
    let length = i64::try_from(binary.len()).unwrap();
    assert_eq!(engine.stored_output(id).await, Some((binary, length, false)));

    for empty in [Answer::status(200), Answer::status(204)] {
        let (_far, mut engine) = ending_with(empty).await;
        let id = engine.submit().await;
        let outcome = engine.outcome(id).await;
        assert_eq!((outcome.end(), &outcome.output), (("succeeded", None), &None));
        assert_eq!(engine.stored_output(id).await, None);
    }
}

#[tokio::test]
async fn an_output_above_the_cap_is_cut_and_says_so() {
    let far =
        FarEnd::queue([to(202, "/status"), to(303, "/output"), Answer::status(200).body([b'x'; 5000])]).await;
    let mut engine = Engine::start(Trigger { max_output: 100, ..trigger(far.url("/start")) }).await;
    let id = engine.submit().await;
    let outcome = engine.outcome(id).await;
    assert_eq!((outcome.end(), &outcome.output), (("succeeded", Some("output_too_large")), &None));
    assert_eq!(engine.stored_output(id).await, Some((vec![b'x'; 100], 5000, true)));
}

#[tokio::test]
async fn a_page_is_no_output_unless_the_trigger_says_so() {
    let page =
        || Answer::status(200).header("Content-Type", "text/html; charset=utf-8").body("<h1>Sign in</h1>");
    let (_far, mut engine) = ending_with(page()).await;
    let id = engine.submit().await;
    assert_eq!(engine.outcome(id).await.end(), ("uncertain", Some("output_unreadable")));
    assert_eq!(engine.stored_output(id).await, None);

    let far = FarEnd::queue([to(202, "/status"), to(303, "/output"), page()]).await;
    let mut engine = Engine::start(Trigger { accept_html: true, ..trigger(far.url("/start")) }).await;
    assert_eq!(engine.run().await.output.as_deref(), Some("<h1>Sign in</h1>"));
}

#[tokio::test]
async fn a_fault_at_the_output_uri_fails_and_its_body_is_kept() {
    for (status, asked) in [(400, 1), (500, 3)] {
        let (far, mut engine) = ending_with(Answer::status(status).body("no such month")).await;
        let outcome = engine.run().await;
        assert_eq!(outcome.end(), ("failed", Some("job_faulted")));
        assert_eq!(outcome.output.as_deref(), Some("no such month"));
        assert_eq!(far.all().iter().filter(|seen| seen.target == "/output").count(), asked);
    }
}

#[tokio::test]
async fn an_output_that_breaks_off_is_asked_again() {
    let far = FarEnd::queue([
        to(202, "/status"),
        to(303, "/output"),
        Answer::status(200).body("hal").announcing(4).then(Then::Close),
        Answer::status(200).body("half"),
    ])
    .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    assert_eq!(engine.run().await.output.as_deref(), Some("half"));
}

#[tokio::test]
async fn a_value_at_the_fault_pointer_is_a_fault() {
    let fault = Some("/error".to_owned());
    let far = FarEnd::queue([to(202, "/status"), to(303, "/output"), json(r#"{"error": "sold out"}"#)]).await;
    let mut engine = Engine::start(Trigger { fault_pointer: fault, ..trigger(far.url("/start")) }).await;
    let outcome = engine.run().await;
    assert_eq!(outcome.end(), ("failed", Some("job_faulted")));
    assert!(outcome.output.is_some());
}
