//! Each call mode from row to outcome.

use super::rig::*;
use crate::clock::UnixMillis;
use crate::request::CallMode;
use crate::trigger::Trigger;

#[tokio::test]
async fn async_polling_goes_from_row_to_output() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    assert_eq!(rig.state(1), "triggering");
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    assert_eq!(rig.state(1), "polling");
    rig.pass(2 * SECOND).await;
    rig.wire.answer(1, answer(200));
    rig.pass(2 * SECOND).await;
    rig.wire.answer(1, to(303, "/output/1"));
    rig.settle().await;
    assert_eq!(rig.state(1), "collecting");
    rig.wire.answer(1, output("42"));
    rig.settle().await;
    assert_eq!(rig.state(1), "succeeded");
    let row = rig.row(1);
    assert_eq!(row.output.unwrap().body, b"42");
    assert_eq!((row.attempts.len(), row.taken.invocation.attempt, row.taken.invocation.polls), (1, 1, 3));
    assert_eq!(rig.wire.log(), ["1 fire", "1 /status/1", "1 /status/1", "1 /output/1"]);
}

#[tokio::test]
async fn long_polling_goes_from_leg_to_leg() {
    let rig = Rig::new([held("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, to(303, "/leg/1"));
    rig.pass(SECOND).await;
    assert_eq!(rig.state(1), "polling");
    rig.wire.answer(1, to(303, "/next/1"));
    rig.pass(SECOND).await;
    rig.wire.answer(1, output("done"));
    rig.settle().await;
    assert_eq!(rig.state(1), "succeeded");
    assert_eq!(rig.wire.log(), ["1 fire", "1 /leg/1", "1 /next/1"]);
}

#[tokio::test]
async fn fire_and_forget_ends_with_the_answer() {
    let rig = Rig::new([Trigger { call_mode: CallMode::FireAndForget, ..trigger("t") }]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.pass(60 * SECOND).await;
    assert_eq!(rig.state(1), "dispatched");
    assert_eq!(rig.wire.log(), ["1 fire"]);
}

#[tokio::test]
async fn nothing_is_fired_before_its_intent_is_stored() {
    let rig = Rig::new([trigger("t")]).await;
    let hold = rig.store.hold_commits();
    rig.insert(1, "t");
    rig.pass(10 * SECOND).await;
    assert_eq!((rig.wire.log().len(), rig.state(1)), (0, "pending"));
    hold.close();
    rig.settle().await;
    assert_eq!(rig.wire.log(), ["1 fire"]);
}

#[tokio::test]
async fn no_status_uri_is_asked_before_it_is_stored() {
    let rig = Rig::new([trigger("t"), held("h")]).await;
    rig.insert(1, "t");
    rig.insert(2, "h");
    rig.settle().await;
    let hold = rig.store.hold_commits();
    rig.wire.answer(1, accepted(1));
    rig.wire.answer(2, to(303, "/leg/2"));
    rig.pass(60 * SECOND).await;
    assert_eq!(rig.wire.log().len(), 2, "only the firings");
    hold.close();
    rig.settle().await;
    assert_eq!(rig.wire.log().len(), 4, "both are long due");
}

#[tokio::test]
async fn a_wire_that_panics_leaves_the_request_uncertain_and_the_engine_alive() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, Say::Panic);
    rig.settle().await;
    assert_eq!((rig.state(1), rig.code(1)), ("uncertain", Some("connection_lost")));
    rig.insert(2, "t");
    rig.settle().await;
    assert_eq!(rig.wire.log(), ["1 fire", "2 fire"]);
}

#[tokio::test]
async fn a_refused_firing_comes_again_by_time_alone_under_the_same_key() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, answer(429));
    rig.settle().await;
    assert_eq!((rig.state(1), rig.wire.fired(1)), ("pending", 1));
    rig.pass(SECOND).await;
    assert_eq!((rig.state(1), rig.wire.fired(1)), ("triggering", 2));
    let keys: Vec<_> = rig.wire.sent().into_iter().map(|sent| sent.key).collect();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0].as_deref(), Some("memory-1-1700000000000-1"));
}

#[tokio::test]
async fn a_request_for_later_is_fired_at_its_time_without_any_hint() {
    let rig = Rig::new([trigger("t")]).await;
    let at = UnixMillis(START.0 + 90_000);
    rig.insert_with(1, "t", |row| row.run_at = at);
    rig.pass(89 * SECOND).await;
    assert_eq!(rig.wire.log().len(), 0);
    rig.pass(SECOND).await;
    assert_eq!(rig.wire.sent()[0].at, at);
}

#[tokio::test]
async fn a_retry_that_becomes_due_during_a_slow_look_is_not_forgotten() {
    let mut one = settings([trigger("t")]);
    one.limits.max_per_origin = 3;
    let rig = Rig::with(one, |_| {}).await;
    for id in 1..=13 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    assert_eq!(rig.count("triggering", 1..=13), 12, "one finds no place");
    let first = rig.store.hold_commits();
    rig.wire.answer(1, answer(403));
    rig.wire.answer(2, answer(403));
    rig.settle().await;
    rig.wire.answer(3, answer(429));
    rig.settle().await;
    // The look for the last one goes with the commit that stores the retry, and takes long.
    let second = rig.store.hold_commits();
    first.close();
    rig.pass(30 * SECOND).await;
    second.close();
    rig.wire.script(|_| Some(answer(403)));
    for id in rig.wire.waiting() {
        rig.wire.answer(id, answer(403));
    }
    rig.pass(SECOND).await;
    assert_eq!((rig.wire.fired(3), rig.wire.fired(13)), (2, 1));
}
