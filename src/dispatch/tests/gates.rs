//! Credentials that are refused.

use super::rig::*;
use crate::trigger::Trigger;

#[tokio::test]
async fn a_shut_gate_holds_intents_back_and_lets_one_probe_through() {
    let rig = Rig::new([trigger("t")]).await;
    rig.wire.shut(START.plus(5 * SECOND));
    for id in 1..=3 {
        rig.insert(id, "t");
    }
    rig.pass(4 * SECOND).await;
    assert_eq!((rig.count("pending", 1..=3), rig.wire.log().len()), (3, 0));
    rig.pass(SECOND).await;
    assert_eq!((rig.count("pending", 1..=3), rig.wire.log().len()), (2, 1));
    rig.pass(60 * SECOND).await;
    assert_eq!(rig.wire.log().len(), 1, "one probe");
    rig.wire.open();
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    assert_eq!(rig.count("triggering", 1..=3), 2, "open again");
}

#[tokio::test]
async fn intents_that_meet_a_shut_gate_are_given_back_uncharged() {
    let mut one = settings([trigger("t")]);
    one.limits.max_per_origin = 1;
    let rig = Rig::with(one, |_| {}).await;
    for id in 1..=4 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    assert_eq!(rig.count("triggering", 1..=4), 4);
    rig.wire.shut(START.plus(10 * SECOND));
    rig.wire.answer(1, answer(401));
    rig.settle().await;
    assert_eq!(rig.count("pending", 1..=4), 4);
    assert_eq!(rig.row(2).taken.invocation.attempt, 0);
    let commits = rig.store.commits();
    rig.pass(9 * SECOND).await;
    assert!(rig.store.commits() - commits < 15, "{} commits while shut", rig.store.commits() - commits);
    assert_eq!(rig.wire.log().len(), 1);
    rig.wire.open();
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.count("triggering", 1..=4), 4);
}

#[tokio::test]
async fn an_intent_given_back_at_a_gate_while_a_look_is_under_way_is_not_forgotten() {
    let mut one = settings([trigger("t")]);
    one.limits.max_per_origin = 1;
    let rig = Rig::with(one, |_| {}).await;
    rig.insert(1, "t");
    rig.insert(2, "t");
    rig.settle().await;
    let hold = rig.store.hold_commits();
    rig.store.memory.edit(|_| ());
    rig.settle().await;
    rig.wire.shut(START.plus(5 * SECOND));
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    hold.close();
    rig.settle().await;
    rig.wire.open();
    rig.wire.script(|_| Some(answer(403)));
    rig.pass(10 * SECOND).await;
    assert_eq!(rig.wire.fired(2), 1);
}

#[tokio::test]
async fn polls_wait_at_a_shut_gate_and_go_on_in_one_chain() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    rig.wire.shut(START.plus(60 * SECOND));
    rig.pass(50 * SECOND).await;
    assert_eq!(rig.wire.log(), ["1 fire"]);
    rig.wire.open();
    rig.wire.script(|_| Some(answer(200)));
    let same = rig.settings.clone();
    rig.reload(same).await;
    assert_eq!(rig.wire.log().len(), 2, "at once after a reload");
    rig.pass(60 * SECOND).await;
    let polls = rig.wire.log().len();
    assert!(polls <= 10, "{polls} polls in a minute");
}

#[tokio::test]
async fn a_poll_at_a_shut_gate_ends_at_the_deadline() {
    let rig = Rig::new([Trigger { deadline: Some(30 * SECOND), ..trigger("t") }]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    rig.wire.shut(START.plus(3600 * SECOND));
    rig.pass(31 * SECOND).await;
    assert_eq!((rig.state(1), rig.code(1)), ("uncertain", Some("credential_refused")));
    assert_eq!(rig.wire.log(), ["1 fire"]);
}
