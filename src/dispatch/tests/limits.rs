//! How many at once, and in which order.

use std::time::Duration;

use url::Url;

use super::rig::*;
use crate::dispatch::{Limits, Settings};
use crate::request::CallMode;
use crate::trigger::{Rate, Trigger};

fn limited(max_in_flight: usize, max_per_origin: usize, max_long_polls: usize, t: Vec<Trigger>) -> Settings {
    Settings {
        limits: Limits { max_in_flight, max_per_origin, max_long_polls, poll_rate: None },
        ..settings(t)
    }
}

fn at(name: &str, origin: &str) -> Trigger {
    Trigger::new(name, Url::parse(origin).unwrap())
}

#[tokio::test]
async fn higher_priority_runs_first_then_ready_time_then_id() {
    let rig = Rig::with(limited(9, 1, 9, vec![trigger("t")]), |store| {
        store.memory.edit(|rows| {
            for (id, priority, run_at) in [(1, 0, 5), (2, 0, 3), (3, 9, 9), (4, 0, 3)] {
                let mut row = crate::queue::MemoryRow::new(id, "t", START);
                (row.priority, row.run_at.0) = (priority, run_at);
                rows.insert(id, row);
            }
        });
    })
    .await;
    rig.wire.script(|_| Some(answer(403)));
    rig.wire.answer(3, answer(403));
    rig.settle().await;
    assert_eq!(rig.wire.log(), ["3 fire", "2 fire", "4 fire", "1 fire"]);
}

#[tokio::test]
async fn max_concurrent_counts_the_whole_job_of_the_far_end() {
    let mut rig = Rig::new([Trigger { max_concurrent: Some(2), ..trigger("t") }]).await;
    for id in 1..=5 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    for id in 1..=2 {
        rig.wire.answer(id, accepted(id));
    }
    rig.pass(2 * SECOND).await;
    assert_eq!((rig.count("polling", 1..=5), rig.count("pending", 1..=5)), (2, 3));
    rig.restart().await;
    rig.pass(10 * SECOND).await;
    assert_eq!(rig.count("pending", 1..=5), 3, "also after a restart");
    rig.wire.answer(1, to(303, "/output/1"));
    rig.settle().await;
    assert_eq!(rig.count("pending", 1..=5), 3, "collecting counts");
    rig.wire.answer(1, output("x"));
    rig.settle().await;
    assert_eq!(rig.count("triggering", 1..=5), 1);
    rig.cancel(2);
    rig.settle().await;
    assert_eq!(rig.count("triggering", 1..=5), 2);
}

#[tokio::test]
async fn an_origin_has_its_connections_and_four_times_as_many_intents() {
    let rig = Rig::with(limited(99, 2, 9, vec![trigger("t")]), |_| {}).await;
    for id in 1..=50 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    assert_eq!((rig.wire.active(), rig.count("triggering", 1..=50)), (2, 8));
    // Full, with places for long polls: nothing is looked for in vain.
    let (commits, turns) = (rig.store.commits(), rig.turns());
    rig.pass(20 * SECOND).await;
    assert!(rig.store.commits() - commits < 5, "{} commits while full", rig.store.commits() - commits);
    assert!(rig.turns() - turns < 100, "{} turns while full", rig.turns() - turns);
    rig.wire.script(|_| Some(answer(403)));
    rig.wire.answer(1, answer(403));
    rig.settle().await;
    rig.wire.answer(2, answer(403));
    rig.settle().await;
    assert_eq!(rig.count("rejected", 1..=50), 50);
    assert_eq!(rig.wire.most(), 2);
}

#[tokio::test]
async fn all_exchanges_together_have_a_bound() {
    let origins: Vec<_> = (0..4).map(|n| at(&format!("t{n}"), &format!("http://o{n}.example/"))).collect();
    let rig = Rig::with(limited(40, 32, 9, origins), |_| {}).await;
    for id in 0..400 {
        rig.insert(id, &format!("t{}", id % 4));
    }
    rig.settle().await;
    // An origin with fewer than eight may always start one.
    assert!((40..=40 + 3 * 8).contains(&rig.wire.active()), "{}", rig.wire.active());
    for n in 0..4 {
        assert!(rig.wire.sent().iter().filter(|sent| sent.trigger == format!("t{n}")).count() >= 8);
    }
}

#[tokio::test]
async fn long_polls_have_their_own_bound() {
    let rig = Rig::with(limited(9, 1, 3, vec![held("h"), trigger("t")]), |_| {}).await;
    for id in 1..=10 {
        rig.insert(id, "h");
    }
    rig.insert(11, "t");
    rig.settle().await;
    assert_eq!((rig.wire.active(), rig.count("triggering", 1..=10)), (4, 3));
    assert_eq!(rig.wire.fired(11), 1, "held calls take no connection");
    let commits = rig.store.commits();
    rig.pass(20 * SECOND).await;
    assert!(rig.store.commits() - commits < 5, "{} commits while full", rig.store.commits() - commits);
    for id in 1..=3 {
        rig.wire.answer(id, to(303, &format!("/leg/{id}")));
    }
    rig.pass(SECOND).await;
    assert_eq!(rig.wire.most(), 4);
    rig.wire.script(|_| Some(output("x")));
    for id in rig.wire.waiting() {
        rig.wire.answer(id, output("x"));
    }
    rig.pass(5 * SECOND).await;
    assert_eq!(rig.count("succeeded", 1..=10), 10);
}

#[tokio::test]
async fn a_row_that_asks_for_another_mode_finds_its_place_though_the_others_are_full() {
    let rig = Rig::with(limited(9, 1, 3, vec![trigger("t")]), |_| {}).await;
    for id in 1..=20 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    rig.insert_with(21, "t", |row| {
        row.priority = 1;
        row.taken.invocation.requested_mode = Some(CallMode::LongPolling);
    });
    rig.settle().await;
    assert_eq!(rig.wire.fired(21), 1);
}

#[tokio::test]
async fn triggers_of_one_origin_share_its_places() {
    let rig = Rig::with(limited(99, 2, 9, vec![trigger("a"), trigger("b")]), |store| {
        store.memory.edit(|rows| {
            for id in 0..200 {
                let name = if id < 190 { "a" } else { "b" };
                rows.insert(id, crate::queue::MemoryRow::new(id, name, START));
            }
        });
    })
    .await;
    assert_eq!((rig.count("triggering", 0..190), rig.count("triggering", 190..200)), (4, 4));
}

#[tokio::test]
async fn a_dead_origin_costs_the_others_nothing() {
    let mut dead = at("dead", "http://dead.example/");
    dead.poll.initial = SECOND;
    let rig = Rig::with(limited(999, 1, 9, vec![dead, trigger("t")]), |store| {
        store.memory.edit(|rows| {
            for id in 1..=3000 {
                let mut row = crate::queue::MemoryRow::new(id, if id == 3000 { "t" } else { "dead" }, START);
                let host = if id == 3000 { "far" } else { "dead" };
                let uri = Url::parse(&format!("http://{host}.example/status/{id}")).unwrap();
                row.taken.invocation.status_uri = Some(uri.clone());
                row.taken.invocation.effective_mode = Some(CallMode::AsyncRequestReply);
                row.taken.invocation.phase = crate::invocation::Phase::Polling(uri);
                row.taken.invocation.attempt = 1;
                row.taken.due_at = Some(START);
                rows.insert(id, row);
            }
        });
    })
    .await;
    let asked = rig.wire.sent();
    assert!(asked.iter().any(|sent| sent.id == 3000), "the live one is asked");
    assert_eq!(rig.wire.active(), 2);
    // When it is back, every one of the others is asked, once.
    rig.wire.script(|_| Some(answer(200)));
    for id in rig.wire.waiting() {
        rig.wire.answer(id, answer(200));
    }
    rig.pass(Duration::from_millis(900)).await;
    let mut ids: Vec<i64> = rig.wire.sent().iter().map(|sent| sent.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3000);
    assert_eq!(rig.wire.sent().len(), 3000);
}

#[tokio::test]
async fn a_row_whose_stored_answer_was_taken_for_lost_keeps_its_part_of_max_concurrent() {
    let rig = Rig::new([Trigger { max_concurrent: Some(1), ..trigger("t") }]).await;
    rig.insert(1, "t");
    rig.insert(2, "t");
    rig.settle().await;
    let reads = rig.store.hold_loads();
    rig.store.next_commit(Fate::Unknown);
    rig.wire.answer(1, accepted(1));
    rig.pass(2 * SECOND).await;
    assert_eq!((rig.state(1), rig.state(2)), ("polling", "pending"));
    reads.close();
    rig.pass(2 * SECOND).await;
    assert_eq!((rig.state(1), rig.state(2)), ("polling", "pending"));
    rig.cancel(1);
    rig.settle().await;
    assert_eq!((rig.state(1), rig.state(2)), ("cancelled", "triggering"));
}

/// So many rows of `t` that are to be polled at `host` from the start on.
fn polled(store: &TestStore, ids: std::ops::RangeInclusive<i64>, host: &str, mode: CallMode) {
    store.memory.edit(|rows| {
        for id in ids {
            let mut row = crate::queue::MemoryRow::new(id, "t", START);
            let uri = Url::parse(&format!("http://{host}.example/status/{id}")).unwrap();
            row.taken.invocation.status_uri = Some(uri.clone());
            row.taken.invocation.effective_mode = Some(mode);
            row.taken.invocation.phase = crate::invocation::Phase::Polling(uri);
            row.taken.invocation.attempt = 1;
            row.taken.due_at = Some(START);
            rows.insert(id, row);
        }
    });
}

#[tokio::test]
async fn polls_keep_to_their_rate_and_none_is_forgotten() {
    let mut t = trigger("t");
    t.allowed_origins.push(Url::parse("http://near.example").unwrap().origin());
    (t.poll.initial, t.poll.max) = (3600 * SECOND, 3600 * SECOND);
    let mut settings = limited(999, 64, 99, vec![t, at("u", "http://near.example/t")]);
    settings.limits.poll_rate = Some(Rate { limit: 50, per: SECOND });
    // More than are kept in memory for one trigger.
    let rig = Rig::with(settings, |store| {
        store.memory.edit(|rows| rows.clear());
        polled(store, 1..=1000, "far", CallMode::AsyncRequestReply);
        polled(store, 2001..=2010, "near", CallMode::AsyncRequestReply);
        polled(store, 3001..=3010, "far", CallMode::LongPolling);
    })
    .await;
    rig.wire.script(|sent| (sent.what == "fire" || sent.id < 3000).then(|| answer(200)));
    for id in rig.wire.waiting().into_iter().filter(|id| *id < 3000) {
        rig.wire.answer(id, answer(200));
    }
    rig.settle().await;
    let held = |rig: &Rig| rig.wire.sent().iter().filter(|sent| sent.id > 3000).count();
    assert_eq!(held(&rig), 10, "held ones are bounded otherwise");
    for id in 1..=20 {
        rig.insert(5000 + id, "u");
        rig.insert(6000 + id, "t");
    }
    rig.settle().await;
    let fired = rig.wire.sent().iter().filter(|sent| sent.what == "fire").count();
    assert_eq!(fired, 40, "firings do not wait");
    let turns = rig.turns();
    rig.pass(30 * SECOND).await;
    let turns = rig.turns() - turns;
    assert!(turns < 10_000, "{turns} turns for 1,000 polls");
    // At the far end's own count.
    for (host, ids) in [("far", 1..=1000), ("near", 2001..=2010)] {
        let sent: Vec<_> = rig.wire.sent().into_iter().filter(|sent| ids.contains(&sent.id)).collect();
        assert!(sent.iter().all(|sent| sent.url.host_str() == Some(&format!("{host}.example"))));
        let apart = sent.windows(2).map(|two| two[1].at.0 - two[0].at.0);
        assert_eq!(apart.min(), Some(20), "{host}: 50 in a second, evenly");
        let mut asked: Vec<i64> = sent.iter().map(|sent| sent.id).collect();
        asked.sort_unstable();
        assert_eq!(asked, ids.collect::<Vec<_>>(), "{host}: each once");
    }
    assert!(
        rig.wire.sent().iter().filter(|sent| sent.id <= 1000).all(|sent| sent.at < START.plus(21 * SECOND))
    );
    // Nothing is left: the engine sleeps.
    let turns = rig.turns();
    rig.pass(20 * SECOND).await;
    assert!(rig.turns() - turns < 100, "{} turns in 20 s", rig.turns() - turns);
}
