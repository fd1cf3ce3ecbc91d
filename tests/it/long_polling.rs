//! `LongPolling` from end to end: calls that block, 303 from leg to leg, and the answer that is the output.

use triggerd::request::CallMode;
use triggerd::trigger::Trigger;
use url::Url;

use crate::support::engine::{self, Engine, TOKEN};
use crate::support::far_end::{Answer, FarEnd, Hold, Then};

fn trigger(url: Url) -> Trigger {
    engine::trigger(url, CallMode::LongPolling)
}

fn to(status: u16, location: &str) -> Answer {
    Answer::status(status).header("Location", location)
}

#[tokio::test]
async fn an_answer_that_comes_in_time_is_the_output() {
    let hold = Hold::new();
    let far = FarEnd::queue([Answer::status(200).body("42").held(&hold)]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    far.seen(1).await;
    assert_eq!(engine.column("state", id).await.as_deref(), Some("triggering"));
    hold.release();
    let outcome = engine.outcome(id).await;
    assert_eq!((outcome.end(), outcome.output.as_deref()), (("succeeded", None), Some("42")));
    assert_eq!(outcome.call_mode.as_deref(), Some("LongPolling"));
    assert_eq!(engine.attempts(id).await, ["answered"]);
    assert_eq!(far.all()[0].text(), r#"{"$callMode":"LongPolling"}"#);
}

#[tokio::test]
async fn a_303_leads_from_leg_to_leg_with_the_credential() {
    let hold = Hold::new();
    let far =
        FarEnd::queue([to(303, "/leg/1"), to(302, "/leg/2"), Answer::status(200).body("done").held(&hold)])
            .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    far.seen(3).await;
    let stored = engine.column("status_uri", id).await;
    assert_eq!(stored, Some(far.url("/leg/2").to_string()), "stored before it is asked");
    hold.release();
    assert_eq!(engine.outcome(id).await.output.as_deref(), Some("done"));
    assert!(far.all().iter().all(|seen| seen.header("authorization") == Some(TOKEN)));
    assert_eq!(far.all()[1].method, "GET");
}

#[tokio::test]
async fn legs_carry_no_credential_where_the_far_end_wants_none() {
    let far = FarEnd::queue([to(303, "/leg"), Answer::status(200).body("x")]).await;
    let mut engine =
        Engine::start(Trigger { credential_on_status: false, ..trigger(far.url("/start")) }).await;
    assert_eq!(engine.run().await.end(), ("succeeded", None));
    let seen = far.all();
    assert_eq!((seen[0].header("authorization"), seen[1].header("authorization")), (Some(TOKEN), None));
}

#[tokio::test]
async fn a_202_is_followed_by_the_rules_of_async_polling() {
    let far = FarEnd::queue([
        to(202, "/status"),
        Answer::status(200).body("not the output"),
        to(303, "/output"),
        Answer::status(200).body("the output"),
    ])
    .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let outcome = engine.run().await;
    assert_eq!(outcome.output.as_deref(), Some("the output"));
    assert_eq!(outcome.call_mode.as_deref(), Some("AsyncRequestReply"));
}

#[tokio::test]
async fn a_fault_fails_and_its_body_is_kept_whether_it_comes_first_or_later() {
    for status in [400, 409, 422, 500] {
        let far = FarEnd::queue([Answer::status(status).body("sold out")]).await;
        let mut engine = Engine::start(trigger(far.url("/start"))).await;
        let outcome = engine.run().await;
        assert_eq!(outcome.end(), ("failed", Some("job_faulted")), "{status}");
        assert_eq!(outcome.output.as_deref(), Some("sold out"));
    }
    let far = FarEnd::queue([to(303, "/leg"), Answer::status(422).body("sold out")]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let outcome = engine.run().await;
    assert_eq!(
        (outcome.end(), outcome.output.as_deref()),
        (("failed", Some("job_faulted")), Some("sold out"))
    );
}

#[tokio::test]
async fn each_other_answer_has_its_end() {
    let page = Answer::status(200).header("Content-Type", "text/html").body("<h1>Sign in</h1>");
    for (answer, end) in [
        (Answer::status(204), ("succeeded", None)),
        (Answer::status(403), ("rejected", Some("refused"))),
        (Answer::status(301).header("Location", "/x"), ("rejected", Some("unexpected_redirect"))),
        (Answer::status(303), ("uncertain", Some("missing_location"))),
        (Answer::status(503), ("uncertain", Some("server_error"))),
        (Answer::status(502), ("uncertain", Some("gateway_error"))),
        (page, ("uncertain", Some("output_unreadable"))),
        (
            Answer::status(200).body("ha").announcing(4).then(Then::Close),
            ("uncertain", Some("output_unreadable")),
        ),
        (Answer::raw("").then(Then::Reset), ("uncertain", Some("connection_lost"))),
    ] {
        let far = FarEnd::queue([answer]).await;
        let mut engine = Engine::start(trigger(far.url("/start"))).await;
        let id = engine.submit().await;
        assert_eq!(engine.outcome(id).await.end(), end);
        assert_eq!(engine.stored_output(id).await, None, "{end:?}");
        engine.stop().await;
        assert_eq!(far.all().len(), 1, "{end:?}");
    }
}

#[tokio::test]
async fn a_leg_that_breaks_off_is_asked_again() {
    let far = FarEnd::queue([
        to(303, "/leg"),
        Answer::raw("").then(Then::Close),
        Answer::status(504),
        Answer::status(200).body("x"),
    ])
    .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    assert_eq!(engine.outcome(id).await.end(), ("succeeded", None));
    assert_eq!(engine.attempts(id).await, ["accepted"], "nothing is fired again");
}

#[tokio::test]
async fn a_leg_at_a_foreign_origin_is_kept_and_not_asked() {
    let foreign = FarEnd::queue([Answer::status(200).body("stolen")]).await;
    let far = FarEnd::queue([to(303, foreign.url("/leg").as_str())]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    engine.until(id, "state = 'polling' AND error_code = 'forbidden_origin'").await;
    engine.stop().await;
    assert_eq!(foreign.connections(), 0);
}

#[tokio::test]
async fn an_output_above_the_cap_is_cut_and_says_so() {
    let far = FarEnd::queue([Answer::status(200).body([0xff; 500])]).await;
    let mut engine = Engine::start(Trigger { max_output: 100, ..trigger(far.url("/start")) }).await;
    let id = engine.submit().await;
    let outcome = engine.outcome(id).await;
    assert_eq!((outcome.end(), &outcome.output), (("succeeded", Some("output_too_large")), &None));
    assert_eq!(engine.stored_output(id).await, Some((vec![0xff; 100], 500, true)));
}

#[tokio::test]
async fn a_401_renews_the_credential_and_fires_again() {
    let far = FarEnd::start(|seen| match seen.header("authorization") {
        Some("Bearer n3w") => Answer::status(200).body("x"),
        _ => Answer::status(401),
    })
    .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    engine.renew_token("n3w");
    let id = engine.submit().await;
    assert_eq!(engine.outcome(id).await.end(), ("succeeded", None));
    assert_eq!(engine.attempts(id).await, ["refused", "answered"]);
}
