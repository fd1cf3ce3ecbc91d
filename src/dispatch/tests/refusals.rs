//! Triggers whose requests are refused one after the other.

use super::rig::*;
use crate::queue::MemoryRow;
use crate::trigger::Trigger;

const WHY: &str =
    "paused by triggerd: 3 requests in a row were refused (last: 403 refused); see pause_after_refusals";

fn careful(name: &str) -> Trigger {
    Trigger { pause_after_refusals: Some(3), ..trigger(name) }
}

/// One with so many rows of `t`, and one of `u`, at one connection.
async fn rig(rows: i64) -> Rig {
    let mut settings = settings([careful("t"), trigger("u")]);
    settings.limits.max_per_origin = 1;
    Rig::with(settings, |store| {
        store.memory.edit(|table| table.extend((1..=rows).map(|id| (id, MemoryRow::new(id, "t", START)))));
    })
    .await
}

fn paused(rig: &Rig) -> Option<String> {
    rig.store.memory.paused("t")
}

#[tokio::test]
async fn a_trigger_whose_requests_are_refused_is_paused_and_what_waits_is_spared() {
    let rig = rig(1000).await;
    rig.wire.script(|_| Some(answer(403)));
    rig.wire.answer(1, answer(403));
    rig.pass(60 * SECOND).await;
    assert_eq!((rig.count("rejected", 1..=1000), rig.count("pending", 1..=1000)), (3, 997));
    assert_eq!(paused(&rig).as_deref(), Some(WHY));
    assert!((4..=1000).all(|id| rig.row(id).taken.invocation.attempt == 0), "none is charged");
    rig.insert(2000, "u");
    rig.settle().await;
    assert_eq!(rig.state(2000), "rejected", "others go on");
    // The count begins anew.
    rig.store.memory.pause("t", false);
    rig.pass(60 * SECOND).await;
    assert_eq!((rig.count("rejected", 1..=1000), paused(&rig).as_deref()), (6, Some(WHY)));
    rig.store.memory.pause("t", false);
    rig.wire.script(|_| Some(answer(204)));
    rig.pass(SECOND).await;
    assert_eq!(rig.count("pending", 1..=1000), 0);
}

#[tokio::test]
async fn the_pause_is_stored_with_the_last_refusal_and_nothing_leaves_in_between() {
    for fate in [Fate::Stored, Fate::Refused, Fate::Unknown] {
        let rig = rig(50).await;
        for id in 1..=2 {
            rig.wire.answer(id, answer(302));
            rig.settle().await;
        }
        // A look is under way at the third: its intents come when the pause is decided and not stored.
        let hold = rig.store.hold_commits();
        rig.store.memory.edit(|_| ());
        rig.settle().await;
        rig.wire.answer(3, answer(403));
        rig.settle().await;
        assert_eq!((rig.state(3), paused(&rig)), ("triggering", None), "{fate:?}");
        rig.store.next_commit(fate.clone());
        hold.close();
        rig.settle().await;
        assert_eq!(rig.state(3) == "rejected", paused(&rig).is_some(), "{fate:?}: both or none");
        rig.pass(60 * SECOND).await;
        assert_eq!((rig.state(3), paused(&rig).as_deref()), ("rejected", Some(WHY)), "{fate:?}");
        assert_eq!((rig.wire.log().len(), rig.count("pending", 4..=50)), (3, 47), "{fate:?}");
    }
}

#[tokio::test]
async fn what_was_on_the_wire_does_not_pause_it_again_after_a_resume() {
    let rig = Rig::new([careful("t")]).await;
    for id in 1..=8 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    for id in 1..=5 {
        rig.wire.answer(id, answer(403));
        rig.settle().await;
    }
    assert!(paused(&rig).is_some());
    rig.store.memory.pause("t", false);
    rig.settle().await;
    for id in 6..=8 {
        rig.wire.answer(id, answer(403));
    }
    rig.settle().await;
    assert_eq!(paused(&rig), None);
}

#[tokio::test]
async fn good_answers_a_restart_and_a_reload_without_the_key_begin_anew() {
    let mut rig = Rig::new([careful("t")]).await;
    let mut id = 0;
    let mut refuse = async |rig: &Rig, statuses: &[u16]| {
        for status in statuses {
            id += 1;
            rig.insert(id, "t");
            rig.settle().await;
            rig.wire.answer(id, answer(*status));
            rig.settle().await;
        }
        paused(rig).is_some()
    };
    assert!(!refuse(&rig, &[403, 403, 202, 403, 400]).await);
    rig.restart().await;
    assert!(!refuse(&rig, &[403, 403]).await);
    let (none, same) = (settings([trigger("t")]), rig.settings.clone());
    rig.reload(none).await;
    assert!(!refuse(&rig, &[403, 403, 403, 403]).await);
    rig.reload(same).await;
    assert!(!refuse(&rig, &[403, 502, 403]).await);
    assert!(refuse(&rig, &[403]).await, "a doubt in between is neither");
}
