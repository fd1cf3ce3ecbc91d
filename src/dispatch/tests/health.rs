//! A table that has no room, or cannot be used for a while.

use super::rig::*;
use crate::dispatch::Notice;
use crate::invocation::Output;
use crate::queue::Condition;

const MIB: usize = 1024 * 1024;

fn full() -> Condition {
    Condition { is_full: true, notes: vec!["the disk is full".to_owned()] }
}

/// What the table's trouble is by the last word, if there was one.
fn told(rig: &mut Rig) -> Option<Vec<String>> {
    let mut last = None;
    while let Ok(notice) = rig.notices.try_recv() {
        if let Notice::Table(all) = notice {
            last = Some(all);
        }
    }
    last
}

#[tokio::test]
async fn without_room_what_has_come_back_is_stored_and_nothing_new_is_begun() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.insert(2, "t");
    rig.settle().await;
    rig.wire.answer(2, accepted(2));
    rig.settle().await;
    rig.store.has(full());
    rig.pass(2 * SECOND).await;
    assert_eq!(told(&mut rig), Some(vec!["the disk is full".to_owned()]));
    rig.insert(3, "t");
    rig.cancel(2);
    rig.wire.answer(1, accepted(1));
    let turns = rig.turns();
    rig.pass(300 * SECOND).await;
    assert!(rig.turns() - turns < 3000, "{} turns", rig.turns() - turns);
    assert_eq!((rig.state(1), rig.state(3)), ("polling", "pending"));
    assert_eq!(rig.wire.fired(3), 0);
    rig.store.has(Condition::default());
    rig.pass(2 * SECOND).await;
    assert_eq!((rig.wire.fired(3), rig.state(2)), (1, "cancelled"));
    assert_eq!(told(&mut rig), Some(Vec::new()));
}

#[tokio::test]
async fn without_room_a_status_uri_is_stored_before_a_long_output() {
    let rig = Rig::new([trigger("t"), held("h")]).await;
    rig.insert(1, "h");
    rig.insert(2, "t");
    rig.insert(3, "t");
    rig.settle().await;
    rig.store.has(full());
    rig.pass(2 * SECOND).await;
    // Both come while a commit is under way, the output first.
    let hold = rig.store.hold_commits();
    rig.wire.answer(3, accepted(3));
    rig.settle().await;
    rig.wire.answer(1, output(&"x".repeat(MIB)));
    rig.wire.answer(2, accepted(2));
    rig.settle().await;
    let next = rig.store.hold_commits();
    hold.close();
    rig.settle().await;
    let last = rig.store.hold_commits();
    next.close();
    rig.settle().await;
    assert_eq!((rig.state(1), rig.state(2)), ("triggering", "polling"));
    last.close();
    rig.settle().await;
    assert_eq!(rig.row(1).output.map(|Output { bytes, .. }| bytes), Some(MIB as u64));
}

#[tokio::test]
async fn a_stop_without_room_stores_all_there_is() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.store.has(full());
    rig.pass(2 * SECOND).await;
    rig.wire.answer(1, answer(200));
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.row(1).taken.invocation.polls, 0, "it can wait");
    rig.order(crate::dispatch::Order::Stop).await;
    rig.pass(2 * SECOND).await;
    assert!(rig.is_ended() && rig.store.memory.is_stopped());
    assert_eq!(rig.row(1).taken.invocation.polls, 1);
}

#[tokio::test]
async fn a_table_that_cannot_be_written_is_told_with_its_time_and_taken_back() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.store.every_commit(Some(Fate::Refused));
    rig.insert(1, "t");
    rig.pass(20 * SECOND).await;
    let words =
        "the database cannot be written since 22:13:20Z: the database cannot be used: the test says so";
    assert_eq!(told(&mut rig), Some(vec![words.to_owned()]));
    rig.store.every_commit(None);
    rig.pass(10 * SECOND).await;
    assert_eq!(told(&mut rig), Some(Vec::new()));
    assert_eq!(rig.wire.fired(1), 1);
}

#[tokio::test]
async fn a_start_says_that_it_waits_for_the_table() {
    let mut rig = Rig::with(settings([trigger("t")]), |store| store.every_commit(Some(Fate::Refused))).await;
    assert_eq!(told(&mut rig).map(|all| all.len()), Some(1));
    rig.store.every_commit(None);
    rig.pass(10 * SECOND).await;
    assert_eq!(told(&mut rig), Some(Vec::new()));
}

#[tokio::test]
async fn no_more_is_asked_for_while_too_many_outputs_wait_to_be_stored() {
    let rig = Rig::new([trigger("t"), held("h")]).await;
    for id in 1..=3 {
        rig.insert(id, "h");
    }
    rig.insert(4, "t");
    rig.settle().await;
    rig.wire.answer(4, accepted(4));
    rig.settle().await;
    let hold = rig.store.hold_commits();
    for id in 1..=3 {
        rig.wire.answer(id, output(&"x".repeat(22 * MIB)));
        rig.settle().await;
    }
    let turns = rig.turns();
    rig.pass(3600 * SECOND).await;
    assert!(rig.turns() - turns < 10, "{} turns", rig.turns() - turns);
    assert_eq!(rig.wire.log().len(), 4, "its poll waits");
    hold.close();
    rig.settle().await;
    rig.pass(SECOND).await;
    assert_eq!(rig.wire.log().last().unwrap(), "4 /status/4");
    assert_eq!(rig.count("succeeded", 1..=3), 3);
}
