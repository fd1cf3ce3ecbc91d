//! `FireAndForget` from end to end: one answer, and nothing is ever asked.

use tokio::net::TcpListener;
use triggerd::request::CallMode;
use triggerd::trigger::Trigger;
use url::Url;

use crate::support::engine::{self, Engine, TOKEN};
use crate::support::far_end::{Answer, FarEnd, Then};

fn trigger(url: Url) -> Trigger {
    engine::trigger(url, CallMode::FireAndForget)
}

#[tokio::test]
async fn an_accepted_firing_is_dispatched_and_nothing_is_asked() {
    let far = FarEnd::queue([Answer::status(202).header("Location", "/status/7").body("noted")]).await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    let id = engine.submit().await;
    let outcome = engine.outcome(id).await;
    assert_eq!(outcome.end(), ("dispatched", None));
    assert_eq!(outcome.output.as_deref(), Some("noted"));
    assert_eq!(outcome.call_mode.as_deref(), Some("FireAndForget"));
    assert_eq!(engine.column("status_uri", id).await, Some(far.url("/status/7").to_string()));
    engine.stop().await;
    let seen = far.all();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].text(), r#"{"$callMode":"FireAndForget"}"#);
    assert_eq!(seen[0].header("authorization"), Some(TOKEN));
}

#[tokio::test]
async fn each_answer_has_its_end() {
    for (answer, end) in [
        (Answer::status(200), ("dispatched", None)),
        (Answer::status(204), ("dispatched", None)),
        (Answer::status(303).header("Location", "/x"), ("dispatched", None)),
        (Answer::status(202), ("dispatched", None)),
        (Answer::status(200).body("ha").announcing(4).then(Then::Close), ("dispatched", None)),
        (Answer::status(400), ("rejected", Some("refused"))),
        (Answer::status(302).header("Location", "/login"), ("rejected", Some("unexpected_redirect"))),
        (Answer::status(500), ("uncertain", Some("server_error"))),
        (Answer::status(504), ("uncertain", Some("gateway_error"))),
        (Answer::raw("").then(Then::Close), ("uncertain", Some("connection_lost"))),
    ] {
        let far = FarEnd::queue([answer]).await;
        let mut engine = Engine::start(trigger(far.url("/start"))).await;
        assert_eq!(engine.run().await.end(), end);
        engine.stop().await;
        assert_eq!(far.all().len(), 1, "{end:?}");
    }
}

#[tokio::test]
async fn a_row_may_ask_for_this_mode_though_its_trigger_has_another() {
    let far = FarEnd::queue([Answer::status(202).header("Location", "/status")]).await;
    let mut engine = Engine::start(engine::trigger(far.url("/start"), CallMode::AsyncRequestReply)).await;
    let id = engine
        .insert("INSERT INTO requests (trigger_name, call_mode) VALUES ('t', 'FireAndForget') RETURNING id")
        .await;
    assert_eq!(engine.outcome(id).await.end(), ("dispatched", None));
    assert_eq!(far.all()[0].text(), r#"{"$callMode":"FireAndForget"}"#);
}

#[tokio::test]
async fn the_call_mode_stays_at_home_where_it_is_not_wanted() {
    let far = FarEnd::queue([Answer::status(202)]).await;
    let mut engine = Engine::start(Trigger { send_call_mode: false, ..trigger(far.url("/start")) }).await;
    engine.run().await;
    assert_eq!(far.all()[0].text(), "{}");
}

#[tokio::test]
async fn a_401_renews_the_credential_and_fires_again() {
    let far = FarEnd::start(|seen| match seen.header("authorization") {
        Some("Bearer n3w") => Answer::status(202),
        _ => Answer::status(401),
    })
    .await;
    let mut engine = Engine::start(trigger(far.url("/start"))).await;
    engine.renew_token("n3w");
    let id = engine.submit().await;
    assert_eq!(engine.outcome(id).await.end(), ("dispatched", None));
    assert_eq!(engine.attempts(id).await, ["refused", "accepted"]);
}

#[tokio::test]
async fn a_far_end_that_is_not_there_is_tried_as_often_as_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/start", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let mut trigger = trigger(url);
    trigger.retry.max_refusals = 3;
    let mut engine = Engine::start(trigger).await;
    let id = engine.submit().await;
    assert_eq!(engine.outcome(id).await.end(), ("failed", Some("not_sent")));
    assert_eq!(engine.attempts(id).await, ["not_sent"; 3]);
}
