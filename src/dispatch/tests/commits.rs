//! Commits that fail, or whose end is not known.

use super::rig::*;
use crate::trigger::Trigger;

#[tokio::test]
async fn intents_of_unknown_end_are_given_back_and_fired_once() {
    let rig = Rig::new([trigger("t")]).await;
    rig.store.next_commit(Fate::Unknown);
    rig.insert(1, "t");
    rig.settle().await;
    assert_eq!((rig.state(1), rig.wire.log().len()), ("triggering", 0));
    rig.pass(SECOND).await;
    assert_eq!(rig.wire.log(), ["1 fire"]);
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    let row = rig.row(1);
    assert_eq!((row.taken.invocation.attempt, row.attempts.len()), (1, 1), "it was charged once");
}

#[tokio::test]
async fn intents_of_unknown_ends_in_a_row_are_fired_once() {
    for fates in [
        [Fate::Unknown, Fate::Unknown, Fate::Stored],
        [Fate::Unknown, Fate::Stored, Fate::Unknown],
        [Fate::Unknown, Fate::Refused, Fate::Unknown],
        [Fate::Refused, Fate::Unknown, Fate::Unknown],
    ] {
        let rig = Rig::new([trigger("t")]).await;
        for fate in fates {
            rig.store.next_commit(fate);
        }
        rig.insert(1, "t");
        rig.insert(2, "t");
        rig.pass(10 * SECOND).await;
        assert_eq!(rig.wire.log(), ["1 fire", "2 fire"]);
        assert_eq!(rig.row(1).taken.invocation.attempt, 1);
    }
}

#[tokio::test]
async fn an_intent_given_back_twice_is_fired_once() {
    let rig = Rig::new([trigger("t")]).await;
    rig.store.next_commit(Fate::Unknown);
    rig.insert(1, "t");
    rig.settle().await;
    // The next commit finds it; before it has been read, another one fails.
    let read = rig.store.hold_loads();
    rig.pass(SECOND / 5).await;
    rig.store.next_commit(Fate::Refused);
    rig.insert_with(2, "t", |row| row.run_at = START.plus(3600 * SECOND));
    rig.settle().await;
    // So the one after that finds it again, although it is about to be given back.
    let finds = rig.store.hold_commits();
    rig.pass(SECOND / 5).await;
    read.close();
    rig.settle().await;
    let gives_back = rig.store.hold_commits();
    finds.close();
    rig.settle().await;
    // And once more it is read as it was before that.
    gives_back.close();
    rig.pass(60 * SECOND).await;
    assert_eq!(rig.wire.log(), ["1 fire"]);
    assert_eq!(rig.row(1).taken.invocation.attempt, 1);
}

#[tokio::test]
async fn a_firing_whose_end_cannot_be_stored_is_never_taken_for_one_that_was_not_sent() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.store.store_none_of(1);
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    // A commit of unknown end makes the engine look for intents that were not acted on.
    rig.store.next_commit(Fate::Unknown);
    rig.insert(2, "t");
    rig.pass(60 * SECOND).await;
    assert_eq!(rig.wire.log(), ["1 fire", "2 fire"]);
    rig.restart().await;
    assert_eq!(rig.state(1), "triggering");
    assert_eq!(rig.wire.fired(1), 1);
}

#[tokio::test]
async fn an_acceptance_stored_by_a_commit_that_seemed_to_fail_is_followed() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.store.next_commit(Fate::Unknown);
    rig.wire.answer(1, accepted(1));
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.wire.log(), ["1 fire", "1 /status/1"]);
    rig.wire.answer(1, to(303, "/output/1"));
    rig.settle().await;
    rig.wire.answer(1, output("x"));
    rig.settle().await;
    assert_eq!((rig.state(1), rig.row(1).attempts.len()), ("succeeded", 1));
}

#[tokio::test]
async fn no_end_is_lost_or_doubled_whatever_a_commit_says() {
    for fate in [Fate::Refused, Fate::Unknown] {
        let rig = Rig::new([Trigger { max_concurrent: Some(3), ..held("t") }]).await;
        for id in 1..=3 {
            rig.insert(id, "t");
        }
        rig.settle().await;
        rig.store.next_commit(fate.clone());
        rig.store.next_commit(fate);
        rig.wire.answer(1, output("done"));
        rig.wire.answer(2, answer(403));
        rig.wire.answer(3, answer(429));
        rig.pass(60 * SECOND).await;
        assert_eq!((rig.state(1), rig.state(2), rig.state(3)), ("succeeded", "rejected", "triggering"));
        assert_eq!((rig.wire.fired(1), rig.wire.fired(2), rig.wire.fired(3)), (1, 1, 2));
        assert_eq!(rig.row(1).attempts.len(), 1);
        // Nothing leaked: two more may be with the far end.
        for id in 4..=9 {
            rig.insert(id, "t");
        }
        rig.settle().await;
        assert_eq!(rig.count("triggering", 1..=9), 3);
    }
}

#[tokio::test]
async fn a_table_that_is_down_for_a_minute_loses_nothing_and_is_not_hammered() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.insert(2, "t");
    rig.settle().await;
    rig.wire.answer(2, accepted(2));
    rig.settle().await;
    rig.store.every_commit(Some(Fate::Refused));
    rig.store.fail_loads(true);
    let before = rig.store.counts();
    rig.wire.answer(1, accepted(1));
    rig.insert(3, "t");
    rig.pass(60 * SECOND).await;
    let after = rig.store.counts();
    assert!(after.0 - before.0 < 25, "{} commits tried", after.0 - before.0);
    assert!(after.1 - before.1 < 25, "{} reads tried", after.1 - before.1);
    rig.store.every_commit(None);
    rig.store.fail_loads(false);
    rig.pass(10 * SECOND).await;
    assert_eq!(rig.wire.fired(3), 1);
    assert_eq!((rig.state(1), rig.state(2), rig.state(3)), ("polling", "polling", "triggering"));
    for id in [1, 2] {
        rig.wire.answer(id, answer(200));
    }
    rig.settle().await;
}

#[tokio::test]
async fn reads_that_fail_are_tried_again_and_nothing_turns_over_meanwhile() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    rig.store.fail_loads(true);
    rig.pass(10 * SECOND).await;
    assert_eq!(rig.wire.log(), ["1 fire"]);
    rig.store.fail_loads(false);
    let hold = rig.store.hold_loads();
    let turns = rig.turns();
    rig.pass(20 * SECOND).await;
    assert!(rig.turns() - turns < 200, "{} turns while a read is under way", rig.turns() - turns);
    hold.close();
    rig.settle().await;
    assert_eq!(rig.wire.log(), ["1 fire", "1 /status/1"]);
}

#[tokio::test]
async fn counters_of_polls_are_stored_within_a_second_and_known_until_then() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.pass(2 * SECOND).await;
    let commits = rig.store.commits();
    rig.wire.answer(1, answer(200));
    rig.settle().await;
    assert_eq!(rig.store.commits(), commits, "not at once");
    assert_eq!(rig.row(1).taken.invocation.polls, 0);
    rig.pass(SECOND).await;
    assert_eq!(rig.row(1).taken.invocation.polls, 1);
    // A changed URI is stored at once.
    rig.pass(2 * SECOND).await;
    rig.wire.answer(1, to(202, "/moved/1"));
    rig.settle().await;
    assert_eq!(rig.row(1).taken.invocation.status_uri.unwrap().path(), "/moved/1");
    rig.restart().await;
    rig.pass(10 * SECOND).await;
    rig.wire.answer(1, answer(200));
    rig.pass(SECOND).await;
    assert_eq!(rig.row(1).taken.invocation.polls, 3);
    assert_eq!(rig.wire.log().last().unwrap(), "1 /moved/1");
}

#[tokio::test]
async fn counters_stored_while_the_row_is_read_are_not_lost() {
    let mut t = trigger("t");
    t.poll.initial = SECOND / 2;
    t.poll.factor = 1.0;
    let rig = Rig::new([t]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.pass(SECOND).await;
    // The read begins before the counters are stored, and ends after.
    let hold = rig.store.hold_loads();
    let commits = rig.store.hold_commits();
    rig.wire.answer(1, answer(200));
    rig.pass(SECOND).await;
    commits.close();
    rig.settle().await;
    hold.close();
    rig.settle().await;
    rig.wire.answer(1, answer(200));
    rig.pass(SECOND).await;
    assert_eq!(rig.row(1).taken.invocation.polls, 2);
}

#[tokio::test]
async fn an_idle_hour_costs_one_look_a_second_and_a_sign_of_life() {
    let rig = Rig::new([trigger("t")]).await;
    let (before, turns) = (rig.store.counts(), rig.turns());
    rig.pass(3600 * SECOND).await;
    let after = rig.store.counts();
    assert_eq!(after.0 - before.0, 120, "one sign each half minute");
    assert_eq!(after.2 - before.2, 3600 - 120, "one look a second, also beside a sign");
    assert_eq!(after.1, before.1, "no row is read");
    assert!(rig.turns() - turns < 10_000, "{} turns", rig.turns() - turns);
    assert_eq!(rig.wire.log().len(), 0);
}

#[tokio::test]
async fn nothing_turns_over_while_a_commit_is_held() {
    let rig = Rig::new([trigger("t")]).await;
    let hold = rig.store.hold_commits();
    rig.insert(1, "t");
    rig.settle().await;
    let turns = rig.turns();
    rig.pass(3600 * SECOND).await;
    assert!(rig.turns() - turns < 10, "{} turns", rig.turns() - turns);
    hold.close();
    rig.settle().await;
    assert_eq!(rig.wire.log(), ["1 fire"]);
}

#[tokio::test]
async fn a_change_of_others_is_seen_within_the_fallback_without_hints_and_however_busy_it_is() {
    let mut t = trigger("t");
    t.poll.initial = SECOND / 4;
    t.poll.factor = 1.0;
    let rig = Rig::new([t]).await;
    rig.wire.script(|sent| (sent.what != "fire").then(|| answer(200)));
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.pass(10 * SECOND).await;
    rig.store.memory.edit_unseen(|rows| {
        rows.insert(2, crate::queue::MemoryRow::new(2, "t", START));
    });
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.wire.fired(2), 1);
}
