//! Cancels, deadlines and expiries, in every state and in between.

use super::rig::*;
use crate::trigger::Trigger;

#[tokio::test]
async fn a_pending_request_is_cancelled_unfired() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert_with(1, "t", |row| row.run_at = START.plus(60 * SECOND));
    rig.settle().await;
    rig.cancel(1);
    rig.pass(120 * SECOND).await;
    assert_eq!((rig.state(1), rig.wire.log().len()), ("cancelled", 0));
    assert!(rig.row(1).finished_at.is_some());
}

#[tokio::test]
async fn a_cancel_waits_for_the_end_of_a_firing() {
    let rig = Rig::new([trigger("t"), held("h")]).await;
    rig.insert(1, "t");
    rig.insert(2, "h");
    rig.settle().await;
    rig.cancel(1);
    rig.cancel(2);
    rig.settle().await;
    assert_eq!(rig.count("triggering", 1..=2), 2);
    rig.wire.answer(1, accepted(1));
    rig.wire.answer(2, output("first come"));
    rig.pass(60 * SECOND).await;
    assert_eq!((rig.state(1), rig.state(2)), ("cancelled", "succeeded"));
    assert!(rig.row(1).taken.invocation.status_uri.is_some());
    assert_eq!(rig.wire.log().len(), 2, "nothing is asked");
}

#[tokio::test]
async fn a_firing_that_has_not_begun_is_cancelled_unfired() {
    let mut one = settings([trigger("t")]);
    one.limits.max_per_origin = 1;
    let rig = Rig::with(one, |_| {}).await;
    for id in 1..=3 {
        rig.insert(id, "t");
    }
    rig.insert_with(4, "t", |row| row.taken.invocation.expires_at = Some(START.plus(10 * SECOND)));
    rig.settle().await;
    assert_eq!(rig.count("triggering", 1..=4), 4);
    rig.cancel(2);
    rig.settle().await;
    assert_eq!(rig.state(2), "cancelled");
    rig.pass(10 * SECOND).await;
    rig.wire.script(|sent| Some(accepted(sent.id)));
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    assert_eq!((rig.state(2), rig.wire.fired(2)), ("cancelled", 0));
    assert_eq!((rig.state(4), rig.wire.fired(4)), ("expired", 0));
    assert_eq!((rig.state(3), rig.wire.fired(3)), ("polling", 1));
    assert_eq!(rig.row(2).taken.invocation.attempt, 0);
}

#[tokio::test]
async fn a_cancel_ends_a_poll_that_waits_and_one_on_the_wire() {
    let rig = Rig::new([Trigger { max_concurrent: Some(2), ..trigger("t") }]).await;
    for id in 1..=2 {
        rig.insert(id, "t");
        rig.settle().await;
        rig.wire.answer(id, accepted(id));
        rig.settle().await;
    }
    rig.cancel(1);
    rig.settle().await;
    assert_eq!(rig.state(1), "cancelled");
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.wire.log().last().unwrap(), "2 /status/2");
    rig.cancel(2);
    rig.settle().await;
    assert_eq!((rig.state(2), rig.wire.hung_up()), ("cancelled", vec![2]));
    // Both are off the count, and off the wire.
    for id in 3..=5 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    assert_eq!((rig.count("triggering", 3..=5), rig.wire.active()), (2, 2));
}

#[tokio::test]
async fn a_cancel_that_comes_while_an_acceptance_is_being_stored_is_carried_out() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    let hold = rig.store.hold_commits();
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    rig.cancel(1);
    rig.settle().await;
    hold.close();
    rig.pass(60 * SECOND).await;
    assert_eq!((rig.state(1), rig.wire.log().len()), ("cancelled", 1));
}

#[tokio::test]
async fn a_cancel_that_comes_while_its_intent_is_being_stored_is_carried_out() {
    let rig = Rig::new([trigger("t")]).await;
    let hold = rig.store.hold_commits();
    rig.insert(1, "t");
    rig.settle().await;
    rig.cancel(1);
    hold.close();
    rig.pass(SECOND).await;
    assert_eq!((rig.state(1), rig.wire.fired(1)), ("cancelled", 0));
}

#[tokio::test]
async fn a_cancel_survives_a_crash() {
    let mut rig = Rig::new([Trigger { repeatable: true, ..trigger("t") }]).await;
    for id in 1..=2 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    rig.kill().await;
    rig.cancel(1);
    rig.cancel(2);
    rig.launch();
    rig.pass(60 * SECOND).await;
    assert_eq!((rig.state(1), rig.state(2)), ("cancelled", "uncertain"), "the second may have run");
    assert_eq!(rig.wire.fired(2), 1);
}

#[tokio::test]
async fn a_request_expires_at_its_time_without_any_hint() {
    let rig = Rig::new([trigger("t")]).await;
    rig.store.memory.pause("t", true);
    rig.insert_with(1, "t", |row| row.taken.invocation.expires_at = Some(START.plus(90 * SECOND)));
    rig.insert_with(2, "t", |row| row.taken.invocation.deadline_at = Some(START.plus(95 * SECOND)));
    rig.pass(89 * SECOND).await;
    assert_eq!(rig.count("pending", 1..=2), 2);
    rig.pass(SECOND).await;
    assert_eq!((rig.state(1), rig.code(1)), ("expired", Some("not_started_in_time")));
    rig.pass(5 * SECOND).await;
    assert_eq!((rig.state(2), rig.code(2)), ("expired", Some("deadline")));
}

#[tokio::test]
async fn a_request_to_be_fired_again_that_finds_no_place_ends_at_its_deadline() {
    let one = Trigger { max_concurrent: Some(1), deadline: Some(60 * SECOND), ..trigger("t") };
    let rig = Rig::new([one]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.insert_with(2, "t", |row| row.priority = 1);
    rig.settle().await;
    rig.pass(SECOND).await;
    rig.wire.answer(1, answer(429));
    rig.settle().await;
    assert_eq!((rig.state(1), rig.state(2)), ("pending", "triggering"));
    rig.pass(59 * SECOND).await;
    assert_eq!((rig.state(1), rig.code(1)), ("expired", Some("deadline")));
}

#[tokio::test]
async fn a_job_that_still_runs_at_the_deadline_is_asked_once_more_and_expires() {
    let rig = Rig::new([Trigger { deadline: Some(10 * SECOND), ..trigger("t") }]).await;
    rig.insert(1, "t");
    rig.wire.script(|sent| Some(if sent.what == "fire" { accepted(sent.id) } else { answer(200) }));
    rig.pass(11 * SECOND).await;
    assert_eq!((rig.state(1), rig.code(1)), ("expired", Some("deadline")));
    assert_eq!(rig.wire.sent().last().unwrap().at, START.plus(10 * SECOND));
}

#[tokio::test]
async fn a_pause_stops_intents_and_not_polls() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.store.memory.pause("t", true);
    rig.insert(2, "t");
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.wire.log(), ["1 fire", "1 /status/1"]);
    rig.store.memory.pause("t", false);
    rig.settle().await;
    assert_eq!(rig.wire.fired(2), 1);
}

#[tokio::test]
async fn a_row_that_was_read_before_its_end_is_not_followed_after_it() {
    let rig = Rig::new([Trigger { max_concurrent: Some(2), ..trigger("t") }]).await;
    for id in 1..=2 {
        rig.insert(id, "t");
        rig.settle().await;
        rig.wire.answer(id, accepted(id));
        rig.settle().await;
    }
    let reads = rig.store.hold_loads();
    rig.pass(2 * SECOND).await;
    rig.cancel(1);
    rig.settle().await;
    assert_eq!(rig.state(1), "cancelled");
    reads.close();
    rig.settle().await;
    assert_eq!(rig.wire.log(), ["1 fire", "2 fire", "2 /status/2"], "nothing is asked of what has ended");
    // Its end is counted once.
    for id in 3..=5 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    assert_eq!(rig.count("triggering", 3..=5), 1);
}
