//! Stops in order, and at once.

use super::rig::*;
use crate::dispatch::{Notice, Order};

#[tokio::test]
async fn an_idle_engine_stops_at_once() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.order(Order::Stop).await;
    assert!(rig.is_ended());
    assert_eq!(rig.notices.try_recv(), Ok(Notice::Ready));
    assert_eq!(rig.notices.try_recv(), Ok(Notice::Stopping));
}

#[tokio::test]
async fn an_orderly_stop_gives_back_what_was_not_sent_and_waits_for_what_was() {
    let mut one = settings([trigger("t")]);
    one.limits.max_per_origin = 1;
    let mut rig = Rig::with(one, |_| {}).await;
    for id in 1..=3 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    assert_eq!(rig.count("triggering", 1..=3), 3);
    rig.order(Order::Stop).await;
    rig.insert(4, "t");
    rig.pass(10 * SECOND).await;
    assert!(!rig.is_ended());
    assert_eq!(rig.count("pending", 1..=4), 3);
    assert_eq!(rig.row(2).taken.invocation.attempt, 0);
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    assert!(rig.is_ended());
    assert_eq!((rig.state(1), rig.wire.log().len()), ("polling", 1));
    rig.wire.script(|sent| Some(accepted(sent.id)));
    rig.launch();
    rig.pass(SECOND / 2).await;
    assert_eq!(rig.count("polling", 1..=4), 4);
    assert_eq!(rig.row(2).attempts.len(), 1);
}

#[tokio::test]
async fn an_orderly_stop_hangs_up_polls_and_stores_what_they_counted() {
    let rig = Rig::new([trigger("t")]).await;
    for id in 1..=2 {
        rig.insert(id, "t");
        rig.settle().await;
        rig.wire.answer(id, accepted(id));
    }
    rig.pass(2 * SECOND).await;
    rig.wire.answer(1, answer(200));
    rig.settle().await;
    rig.order(Order::Stop).await;
    assert!(rig.is_ended());
    assert_eq!(rig.wire.hung_up(), [2]);
    assert_eq!(rig.row(1).taken.invocation.polls, 1);
    assert_eq!(rig.count("polling", 1..=2), 2);
}

#[tokio::test]
async fn the_second_stop_ends_at_once_but_not_within_a_commit() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.insert(2, "t");
    rig.settle().await;
    let hold = rig.store.hold_commits();
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    rig.order(Order::Stop).await;
    rig.order(Order::Stop).await;
    assert!(!rig.is_ended(), "the commit is under way");
    hold.close();
    rig.settle().await;
    assert!(rig.is_ended());
    assert_eq!(rig.state(1), "polling");
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_its_grace() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.order(Order::Stop).await;
    rig.pass(74 * SECOND).await;
    assert!(!rig.is_ended());
    rig.pass(SECOND).await;
    assert!(rig.is_ended());
    rig.launch();
    rig.settle().await;
    assert_eq!((rig.state(1), rig.code(1)), ("uncertain", Some("interrupted")));
}

#[tokio::test]
async fn a_stop_after_a_commit_of_unknown_end_still_gives_its_intents_back() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.store.next_commit(Fate::Unknown);
    rig.insert(1, "t");
    rig.settle().await;
    assert_eq!(rig.state(1), "triggering");
    rig.order(Order::Stop).await;
    rig.pass(10 * SECOND).await;
    assert!(rig.is_ended());
    assert_eq!((rig.state(1), rig.row(1).taken.invocation.attempt), ("pending", 0));
    rig.launch();
    rig.settle().await;
    assert_eq!(rig.wire.fired(1), 1);
}

#[tokio::test]
async fn a_stop_while_the_table_is_down_keeps_trying_until_its_grace_is_over() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.store.every_commit(Some(Fate::Refused));
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    rig.order(Order::Stop).await;
    rig.pass(30 * SECOND).await;
    assert!(!rig.is_ended());
    rig.store.every_commit(None);
    rig.pass(10 * SECOND).await;
    assert!(rig.is_ended());
    assert_eq!(rig.state(1), "polling");
}

#[tokio::test]
async fn intents_that_are_being_stored_at_a_stop_are_given_back() {
    let rig = Rig::new([trigger("t")]).await;
    let hold = rig.store.hold_commits();
    rig.insert(1, "t");
    rig.settle().await;
    rig.order(Order::Stop).await;
    hold.close();
    rig.settle().await;
    assert!(rig.is_ended());
    assert_eq!((rig.state(1), rig.wire.log().len()), ("pending", 0));
}

#[tokio::test]
async fn an_engine_that_nobody_can_give_orders_to_stops_in_order() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.orders = tokio::sync::mpsc::channel(1).0;
    rig.pass(10 * SECOND).await;
    assert!(!rig.is_ended());
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    assert!(rig.is_ended());
    assert_eq!(rig.state(1), "polling");
}
