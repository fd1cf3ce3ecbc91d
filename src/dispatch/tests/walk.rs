//! Random histories: rows, answers, failing commits, crashes. What must hold always is checked at each firing, the rest
//! at the end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::rig::*;
use crate::clock::Clock as _;
use crate::dispatch::Order;
use crate::invocation::Phase;
use crate::request::CallMode;
use crate::trigger::Trigger;

const SEEDS: u64 = 250;
const ROWS: i64 = 8;

fn triggers() -> Vec<Trigger> {
    let quick = |mut t: Trigger| {
        t.retry.backoff.max = Duration::from_secs(4);
        t.poll.max = Duration::from_secs(4);
        t.deadline = Some(Duration::from_secs(300));
        t
    };
    vec![
        quick(trigger("once")),
        quick(Trigger { repeatable: true, ..trigger("again") }),
        quick(held("held")),
        quick(Trigger { call_mode: CallMode::FireAndForget, ..trigger("forget") }),
        quick(Trigger { max_concurrent: Some(1), ..trigger("single") }),
    ]
}

/// What the far end does next.
fn say(random: &mut fastrand::Rng, sent: &Sent) -> Option<Say> {
    let id = sent.id;
    let firing = sent.what == "fire";
    Some(match random.u8(0..14) {
        0 => return None,
        1 => lost(),
        2 => not_sent(),
        3 => answer(429),
        4 => answer(503),
        5 => answer(401),
        6 => Say::Panic,
        7 if firing => answer(403),
        7 | 8 => to(303, &format!("/next/{id}")),
        9 | 10 if !firing => output("x"),
        9 | 10 if sent.trigger == "held" => output("x"),
        11 => to(307, &format!("/hop/{id}")),
        _ => accepted(id),
    })
}

async fn walk(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut all = settings(triggers());
    all.limits.max_per_origin = 2;
    all.limits.max_long_polls = 2;
    // Nothing that is forgotten is found by chance.
    all.fallback_poll = Duration::from_secs(24 * 3600);
    let mut rig = Rig::with(all, |_| {}).await;
    let script = Arc::new(Mutex::new(fastrand::Rng::with_seed(!seed)));
    let answers = Arc::clone(&script);
    rig.wire.script(move |sent| say(&mut answers.lock().unwrap(), sent));
    for id in 1..=ROWS {
        let name = random.choice(["once", "again", "held", "forget", "single"]).unwrap();
        rig.insert(id, name);
        if random.bool() {
            rig.settle().await;
        }
    }
    let fates = [Fate::Stored, Fate::Stored, Fate::Refused, Fate::Unknown];
    for _ in 0..40 {
        match random.u8(0..14) {
            0 => rig.cancel(random.i64(1..=ROWS)),
            1 | 2 => rig.store.next_commit(random.choice(&fates).unwrap().clone()),
            3 => {
                // The engine dies at some await.
                for _ in 0..random.u8(0..40) {
                    tokio::task::yield_now().await;
                }
                rig.kill().await;
                rig.launch();
            }
            4 => {
                let _ = rig.orders.try_send(Order::Stop);
                rig.pass(Duration::from_secs(80)).await;
                rig.kill().await;
                rig.launch();
            }
            5 => {
                for id in rig.wire.waiting() {
                    let say = if random.bool() { lost() } else { accepted(id) };
                    rig.wire.answer(id, say);
                }
            }
            6 => {
                let mut some = rig.settings.clone();
                some.triggers.retain(|_, _| random.u8(0..4) > 0);
                let _ = rig.orders.try_send(Order::Reload(some));
            }
            7 => {
                for _ in 0..random.u8(0..10) {
                    tokio::task::yield_now().await;
                }
            }
            8 => rig.wire.shut(rig.clock.now().plus(SECOND)),
            9 => rig.wire.open(),
            10 => rig.store.fail_loads(random.bool()),
            _ => rig.pass(Duration::from_millis(random.u64(0..5000))).await,
        }
        check(&rig);
    }
    // From here on nothing goes wrong: everything ends.
    rig.store.clear();
    rig.wire.open();
    let all = rig.settings.clone();
    rig.reload(all).await;
    rig.wire.script(|sent| Some(if sent.what == "fire" { answer(403) } else { output("x") }));
    for id in rig.wire.waiting() {
        rig.wire.answer(id, accepted(id));
    }
    rig.pass(Duration::from_secs(400)).await;
    check(&rig);
    for id in 1..=ROWS {
        let row = rig.row(id);
        assert!(matches!(row.taken.invocation.phase, Phase::Finished(_)), "seed {seed}: {row:?}");
    }
    // And nothing leaked: there is a place for each that comes now.
    for (n, name) in ["once", "again", "held", "forget", "single"].into_iter().enumerate() {
        let id = ROWS + 1 + i64::try_from(n).unwrap();
        rig.insert(id, name);
        rig.settle().await;
        assert_eq!(rig.wire.fired(id), 1, "seed {seed}: {name}");
    }
    assert_eq!(rig.wire.active(), 0);
}

/// What must hold at any time.
fn check(rig: &Rig) {
    for id in 1..=ROWS {
        let row = rig.row(id);
        let charged = row.taken.invocation.attempt as usize;
        let ends: Vec<_> = row.attempts.iter().map(|end| end.outcome.as_str()).collect();
        let (ends, uncharged) = ends.split_at(charged.min(ends.len()));
        assert!(uncharged.is_empty() || uncharged == ["not_sent"], "{row:?}");
        let sure = ends.iter().filter(|end| matches!(**end, "refused" | "not_sent"));
        let unsure = rig.wire.fired(id).saturating_sub(sure.count());
        if row.taken.trigger_name != "again" {
            assert!(unsure <= 1, "{id} may have been started {unsure} times: {row:?}");
        }
    }
}

#[tokio::test]
async fn no_history_fires_twice_or_forgets() {
    for seed in 0..SEEDS {
        walk(seed).await;
    }
}
