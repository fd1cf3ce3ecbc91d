//! What the table and the service manager are told of it all, and rows that come from another hand.

use url::Url;

use super::rig::*;
use crate::dispatch::{Figures, Notice};
use crate::invocation::{Code, Memory, Phase};
use crate::queue::HeldBy;
use crate::trigger::Trigger;

fn slots(rig: &Rig, trigger: &str) -> usize {
    rig.store.memory.status(trigger).unwrap().slots_used
}

fn held(rig: &Rig, trigger: &str) -> Option<HeldBy> {
    rig.store.memory.status(trigger).unwrap().hold.map(|hold| hold.by)
}

#[tokio::test]
async fn the_table_is_told_of_slots_and_of_what_is_at_its_limit() {
    let rig = Rig::new([Trigger { max_concurrent: Some(2), ..trigger("t") }, trigger("u")]).await;
    for id in 1..=3 {
        rig.insert(id, "t");
    }
    rig.pass(2 * SECOND).await;
    assert_eq!((slots(&rig, "t"), held(&rig, "t")), (2, Some(HeldBy::Slot("max_concurrent"))));
    assert_eq!((slots(&rig, "u"), held(&rig, "u")), (0, None));
    rig.insert_with(4, "t", |row| row.taken.invocation.expires_at = Some(START.plus(4 * SECOND)));
    rig.pass(2 * SECOND).await;
    assert_eq!((rig.state(4), slots(&rig, "t")), ("expired", 2), "what ends unfired never had a slot");
    rig.wire.answer(1, answer(403));
    rig.wire.answer(2, accepted(2));
    rig.settle().await;
    rig.wire.answer(3, answer(403));
    rig.pass(2 * SECOND).await;
    assert_eq!((slots(&rig, "t"), held(&rig, "t")), (1, None), "the one that is polled");
}

#[tokio::test]
async fn ready_rows_are_told_of_a_shut_gate_and_the_table_of_its_trigger() {
    let rig = Rig::new([trigger("t")]).await;
    rig.wire.shut(START.plus(60 * SECOND));
    rig.insert(1, "t");
    rig.pass(2 * SECOND).await;
    assert_eq!((rig.state(1), rig.code(1)), ("pending", Some("credential_refused")));
    assert_eq!(held(&rig, "t"), Some(HeldBy::Credential(Code::CredentialRefused)));
    rig.insert(2, "t");
    rig.settle().await;
    assert_eq!(rig.code(2), Some("credential_refused"), "it came later");
    let commits = rig.store.commits();
    rig.pass(20 * SECOND).await;
    assert!(
        rig.store.commits() - commits < 4,
        "{} commits while nothing changes",
        rig.store.commits() - commits
    );
    rig.wire.open();
    rig.pass(41 * SECOND).await;
    assert_eq!((held(&rig, "t"), rig.wire.log().len()), (None, 2));
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    assert_eq!((rig.state(1), rig.code(1)), ("polling", None));
}

#[tokio::test]
async fn what_could_not_be_stored_is_told_again() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    assert_eq!(slots(&rig, "t"), 1);
    let commits = rig.store.commits();
    rig.store.every_commit(Some(Fate::Refused));
    rig.wire.answer(1, answer(403));
    rig.pass(5 * SECOND).await;
    assert!(rig.store.commits() > commits);
    rig.store.every_commit(None);
    rig.pass(10 * SECOND).await;
    assert_eq!(slots(&rig, "t"), 0);
}

#[tokio::test]
async fn the_service_manager_is_told_how_much_is_going_on() {
    let mut rig = Rig::new([trigger("t")]).await;
    for id in 1..=3 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.wire.answer(2, answer(502));
    rig.pass(2 * SECOND).await;
    let mut figures = None;
    while let Ok(notice) = rig.notices.try_recv() {
        if let Notice::Figures(newest) = notice {
            figures = Some(newest);
        }
    }
    assert_eq!(figures, Some(Figures { firing: 1, following: 1, uncertain: 1, broken: 0 }));
}

#[tokio::test]
async fn a_row_that_is_handed_over_is_followed_at_once() {
    let mut rig = Rig::new([Trigger { max_concurrent: Some(1), ..trigger("t") }]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, answer(502));
    rig.settle().await;
    assert_eq!(rig.state(1), "uncertain");
    let hand_over = |rig: &Rig| {
        rig.store.memory.edit_unseen(|rows| {
            let row = rows.get_mut(&1).unwrap();
            let status: Url = "http://far.example/status/1".parse().unwrap();
            row.taken.invocation.status_uri = Some(status.clone());
            row.taken.invocation.phase = Phase::Polling(status);
            row.taken.invocation.memory = Memory::default();
            row.taken.invocation.cancel_requested = false;
            row.taken.due_at = Some(START);
        });
        rig.store.memory.hand_over(1);
    };
    hand_over(&rig);
    rig.settle().await;
    assert_eq!(rig.wire.log(), ["1 fire", "1 /status/1"]);
    rig.insert(2, "t");
    rig.settle().await;
    assert_eq!(rig.state(2), "pending", "it has the only slot");
    rig.wire.answer(1, answer(200));
    rig.settle().await;
    rig.cancel(1);
    rig.settle().await;
    assert_eq!((rig.state(1), rig.state(2)), ("cancelled", "triggering"));

    rig.wire.answer(2, answer(403));
    rig.settle().await;
    rig.kill().await;
    hand_over(&rig);
    rig.launch();
    rig.settle().await;
    assert_eq!(rig.wire.log(), ["1 fire", "1 /status/1", "2 fire", "1 /status/1"], "once after a start too");
}

#[tokio::test]
async fn a_handover_is_not_lost_with_the_answer_to_the_commit_that_told_it() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, answer(502));
    rig.settle().await;
    rig.store.next_commit(Fate::Unknown);
    rig.store.memory.edit_unseen(|rows| {
        let row = rows.get_mut(&1).unwrap();
        let status: Url = "http://far.example/status/1".parse().unwrap();
        row.taken.invocation.status_uri = Some(status.clone());
        row.taken.invocation.phase = Phase::Polling(status);
        row.taken.due_at = Some(START);
    });
    rig.store.memory.hand_over(1);
    rig.pass(10 * SECOND).await;
    assert_eq!(rig.wire.log(), ["1 fire", "1 /status/1"]);
}

#[tokio::test]
async fn a_hold_lasts_as_long_as_rows_wait_and_probes_do_not_end_it() {
    let rig = Rig::new([Trigger { max_concurrent: Some(1), ..trigger("t") }]).await;
    let since = || rig.store.memory.status("t").unwrap().hold.map(|hold| hold.since);
    for id in 1..=4 {
        rig.insert(id, "t");
    }
    rig.pass(2 * SECOND).await;
    let begun = since();
    assert!(begun.is_some());
    rig.wire.answer(1, answer(403));
    rig.pass(2 * SECOND).await;
    assert_eq!((rig.state(2), since()), ("triggering", begun), "two are still waiting");
    for id in 2..=4 {
        rig.wire.answer(id, answer(403));
        rig.settle().await;
    }
    rig.pass(2 * SECOND).await;
    assert_eq!(since(), None);

    rig.wire.shut(START.plus(20 * SECOND));
    rig.insert(5, "t");
    rig.insert(6, "t");
    rig.pass(2 * SECOND).await;
    let begun = since();
    rig.pass(15 * SECOND).await;
    assert_eq!((rig.wire.fired(5), since()), (1, begun), "the probe is under way");
}

#[tokio::test]
async fn an_orderly_stop_says_so_in_the_table() {
    let rig = Rig::new([trigger("t")]).await;
    assert!(!rig.store.memory.is_stopped());
    rig.order(crate::dispatch::Order::Stop).await;
    assert!(rig.store.memory.is_stopped() && rig.is_ended());
}
