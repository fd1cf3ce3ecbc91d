//! What the watchdog sees.

use std::time::Duration;

use super::rig::*;
use crate::dispatch::{Beats, Order};

/// Who does nothing between two looks of a watchdog.
async fn idle(rig: &Rig, time: Duration) -> Vec<&'static str> {
    let before: Beats = rig.pulse.beats();
    rig.order(Order::Beat).await;
    rig.pass(time).await;
    rig.pulse.beats().idle_since(before)
}

#[tokio::test]
async fn an_idle_engine_has_a_pulse_however_rarely_it_looks_by_itself() {
    let mut rarely = settings([trigger("t")]);
    rarely.fallback_poll = 86_400 * SECOND;
    let rig = Rig::with(rarely, |_| {}).await;
    for _ in 0..3 {
        assert_eq!(idle(&rig, SECOND).await, [""; 0]);
    }
}

#[tokio::test]
async fn an_engine_that_waits_for_firings_before_it_stops_has_a_pulse() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.order(Order::Stop).await;
    for _ in 0..3 {
        assert_eq!(idle(&rig, 20 * SECOND).await, [""; 0]);
    }
    assert!(!rig.is_ended());
}

#[tokio::test]
async fn a_table_that_cannot_be_used_leaves_the_pulse_alone() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    rig.store.every_commit(Some(Fate::Refused));
    rig.store.fail_loads(true);
    rig.insert(2, "t");
    for _ in 0..5 {
        assert_eq!(idle(&rig, 10 * SECOND).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_poller_that_gets_no_rows_has_no_pulse_although_all_else_goes_on() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    let _held = rig.store.hold_loads();
    rig.pass(10 * SECOND).await;
    assert_eq!(idle(&rig, 60 * SECOND).await, ["the poller"]);
}
