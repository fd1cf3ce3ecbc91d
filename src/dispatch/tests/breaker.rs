//! Origins that answer badly.

use url::Url;

use super::rig::*;
use crate::dispatch::{Breaking, Order, Settings};
use crate::queue::{HeldBy, MemoryRow};
use crate::trigger::Trigger;

const ORIGIN: &str = "http://far.example";

fn breaking(failures: u32, triggers: impl IntoIterator<Item = Trigger>) -> Settings {
    Settings { breaking: Breaking { failures, initial: SECOND, max: 60 * SECOND }, ..settings(triggers) }
}

fn elsewhere(name: &str) -> Trigger {
    Trigger::new(name, Url::parse("http://near.example/t").unwrap())
}

fn fill(store: &TestStore, trigger: &str, ids: std::ops::RangeInclusive<i64>) {
    store.memory.edit(|rows| rows.extend(ids.map(|id| (id, MemoryRow::new(id, trigger, START)))));
}

fn firings(rig: &Rig) -> usize {
    rig.wire.sent().iter().filter(|sent| sent.what == "fire").count()
}

fn held(rig: &Rig, trigger: &str) -> Option<HeldBy> {
    rig.store.memory.status(trigger)?.hold.map(|hold| hold.by)
}

fn by_breaker() -> Option<HeldBy> {
    Some(HeldBy::Breaker(ORIGIN.into()))
}

/// One whose breaker has opened, with 1 failure: row 1 is `uncertain`, the others wait.
async fn open(triggers: impl IntoIterator<Item = Trigger>, rows: impl FnOnce(&TestStore)) -> Rig {
    let mut settings = breaking(1, triggers);
    settings.limits.max_per_origin = 1;
    let rig = Rig::with(settings, rows).await;
    // The table has been told of the start by then.
    rig.pass(3 * SECOND).await;
    rig.wire.answer(1, answer(500));
    rig.settle().await;
    rig
}

#[tokio::test]
async fn a_far_end_that_begins_to_fail_costs_few_of_ten_thousand_rows() {
    let rig = Rig::with(breaking(50, [trigger("t")]), |store| fill(store, "t", 1..=10_000)).await;
    assert_eq!(rig.wire.active(), 64);
    rig.wire.script(|_| Some(answer(500)));
    for id in rig.wire.waiting() {
        rig.wire.answer(id, answer(500));
    }
    rig.pass(SECOND / 2).await;
    let cost = rig.count("uncertain", 1..=10_000);
    assert!((50..=50 + 64).contains(&cost), "{cost}");
    assert_eq!(rig.count("pending", 1..=10_000), 10_000 - cost);
    assert_eq!(rig.row(9_000).taken.invocation.attempt, 0);
    // While it goes on, one more for each probe: after 1 s, 2 s, 4 s, and so on to a minute.
    let commits = rig.store.commits();
    rig.pass(600 * SECOND).await;
    let probes = rig.count("uncertain", 1..=10_000) - cost;
    assert!((13..=16).contains(&probes), "{probes} probes in ten minutes");
    let commits = rig.store.commits() - commits;
    assert!(commits < 1500, "{commits} commits in ten minutes: signs, status, looks");
    rig.wire.script(|_| Some(answer(204)));
    rig.pass(61 * SECOND).await;
    assert_eq!(rig.count("pending", 1..=10_000), 0, "goes on by itself");
}

#[tokio::test]
async fn requests_wait_and_no_attempt_is_charged() {
    let rig = open([trigger("t")], |store| fill(store, "t", 1..=9)).await;
    assert_eq!((rig.state(1), rig.count("pending", 2..=9)), ("uncertain", 8));
    assert!((2..=9).all(|id| rig.row(id).taken.invocation.attempt == 0 && rig.row(id).attempts.is_empty()));
    rig.pass(SECOND / 2).await;
    assert_eq!((firings(&rig), held(&rig, "t")), (1, by_breaker()));
    let status = rig.store.memory.status("t").unwrap().hold.unwrap();
    assert_eq!((status.since, status.until), (START.plus(3 * SECOND), Some(START.plus(4 * SECOND))));
    rig.pass(SECOND / 2).await;
    assert_eq!((firings(&rig), rig.count("triggering", 2..=9)), (2, 1), "one probe, at its time");
    rig.pass(30 * SECOND).await;
    assert_eq!(firings(&rig), 2, "one at a time");
    assert_eq!(held(&rig, "t"), by_breaker());
    rig.wire.script(|_| Some(answer(403)));
    rig.wire.answer(2, answer(403));
    rig.pass(2 * SECOND).await;
    assert_eq!((rig.count("rejected", 2..=9), held(&rig, "t")), (8, None));
}

#[tokio::test]
async fn other_origins_and_polls_go_on() {
    let rig = open([trigger("t"), elsewhere("u")], |store| {
        fill(store, "t", 1..=1);
        fill(store, "t", 21..=40);
        let uri = Url::parse("http://far.example/status/5").unwrap();
        let mut row = MemoryRow::new(5, "t", START);
        row.taken.invocation.status_uri = Some(uri.clone());
        row.taken.invocation.effective_mode = Some(crate::request::CallMode::AsyncRequestReply);
        row.taken.invocation.phase = crate::invocation::Phase::Polling(uri);
        row.taken.invocation.attempt = 1;
        row.taken.due_at = Some(START.plus(5 * SECOND));
        store.memory.edit(|rows| rows.insert(5, row));
    })
    .await;
    rig.insert(4, "u");
    rig.pass(SECOND / 2).await;
    assert_eq!((rig.wire.fired(4), firings(&rig)), (1, 2));
    rig.wire.script(|_| Some(answer(500)));
    rig.pass(60 * SECOND).await;
    let polls = rig.wire.log().iter().filter(|line| *line == "5 /status/5").count();
    assert_eq!(
        (polls > 3, firings(&rig)),
        (true, 2 + 5),
        "{polls} polls, and probes after 1, 3, 7, 15, 31 s"
    );
    rig.wire.script(|sent| Some(answer(if sent.what == "fire" { 403 } else { 500 })));
    rig.pass(61 * SECOND).await;
    assert_eq!(rig.count("rejected", 21..=40), 15, "the failing polls do not count");
}

#[tokio::test]
async fn good_ends_in_between_keep_it_closed() {
    let rig = Rig::with(breaking(3, [trigger("t")]), |_| {}).await;
    for id in 1..=60 {
        let status = [500, 502, 403, 500, 504, 429][usize::try_from(id % 6).unwrap()];
        rig.wire.script(move |_| Some(answer(status)));
        rig.insert(id, "t");
        rig.settle().await;
        assert_ne!((rig.state(id), rig.wire.fired(id)), ("pending", 0));
    }
}

#[tokio::test]
async fn it_opens_at_firings_that_are_never_sent_and_these_are_not_charged_while_it_is_open() {
    let rig = Rig::with(breaking(2, [trigger("t")]), |store| fill(store, "t", 1..=2)).await;
    for id in 1..=2 {
        rig.wire.answer(id, not_sent());
    }
    rig.wire.script(|_| Some(not_sent()));
    rig.pass(300 * SECOND).await;
    let attempts: u32 = (1..=2).map(|id| rig.row(id).taken.invocation.attempt).sum();
    assert!((8..=11).contains(&attempts), "{attempts}");
    rig.wire.script(|_| Some(accepted(1)));
    rig.pass(301 * SECOND).await;
    assert_eq!(rig.count("polling", 1..=2), 2);
}

#[tokio::test]
async fn triggers_of_one_origin_have_the_probe_by_turns() {
    let rig = open([trigger("a"), trigger("b"), trigger("c")], |store| {
        fill(store, "a", 1..=9);
        fill(store, "b", 11..=19);
        fill(store, "c", 21..=29);
    })
    .await;
    rig.wire.script(|_| Some(answer(500)));
    rig.pass(40 * SECOND).await;
    let fired: Vec<_> = rig.wire.sent().into_iter().skip(1).map(|sent| sent.trigger).collect();
    assert_eq!(fired, ["a", "b", "c", "a", "b"], "after 1, 3, 7, 15 and 31 s");
    for name in ["a", "b", "c"] {
        assert_eq!(held(&rig, name), by_breaker(), "{name}");
    }
}

#[tokio::test]
async fn a_probe_that_is_never_sent_leaves_the_place_to_the_next() {
    let rig = open([trigger("a"), trigger("b")], |store| {
        fill(store, "a", 1..=2);
        fill(store, "b", 11..=12);
    })
    .await;
    // The one whose turn it is has no row any more, or none that may be fired.
    rig.store.memory.pause("a", true);
    rig.pass(SECOND).await;
    assert_eq!(rig.wire.waiting(), [11]);
    // The probe that is under way ends by a deadline, or by a crash of its exchange.
    rig.wire.answer(11, Say::Panic);
    rig.store.memory.edit(|rows| rows.remove(&12));
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.wire.waiting(), [] as [i64; 0]);
    rig.insert(13, "b");
    rig.settle().await;
    assert_eq!(rig.wire.waiting(), [13], "at once: its time has come");
    rig.wire.answer(13, answer(403));
    rig.store.memory.pause("a", false);
    rig.settle().await;
    assert_eq!(rig.wire.waiting(), [2]);
}

#[tokio::test]
async fn a_probe_that_meets_a_shut_credential_or_is_lost_in_a_commit_is_followed_by_another() {
    let rig = open([trigger("t")], |store| fill(store, "t", 1..=4)).await;
    let hold = rig.store.hold_commits();
    rig.pass(SECOND).await;
    rig.wire.shut(START.plus(13 * SECOND));
    hold.close();
    rig.pass(5 * SECOND).await;
    assert_eq!((firings(&rig), rig.count("pending", 2..=4)), (1, 3));
    rig.wire.open();
    rig.store.next_commit(Fate::Unknown);
    rig.pass(10 * SECOND).await;
    assert_eq!(firings(&rig), 2);
    // A 401 is the gate's to deal with.
    rig.wire.answer(rig.wire.waiting()[0], answer(401));
    rig.pass(SECOND / 2).await;
    assert_eq!(firings(&rig), 2, "neither closed");
    rig.pass(SECOND / 2).await;
    assert_eq!(firings(&rig), 3, "nor waiting longer");
}

#[tokio::test]
async fn intents_of_before_do_not_leave_any_more() {
    let mut settings = breaking(1, [trigger("t")]);
    settings.limits.max_per_origin = 2;
    let rig = Rig::with(settings, |store| fill(store, "t", 1..=20)).await;
    assert_eq!(rig.count("triggering", 1..=20), 8);
    // A look is under way when it opens: its intents come when it is open.
    let hold = rig.store.hold_commits();
    rig.insert(21, "t");
    rig.wire.answer(1, answer(504));
    rig.settle().await;
    hold.close();
    rig.settle().await;
    assert_eq!((firings(&rig), rig.wire.waiting()), (2, vec![2]));
    assert_eq!(rig.count("triggering", 1..=21), 1);
    // What was on the wire when it opened is no news.
    rig.wire.answer(2, answer(202));
    rig.settle().await;
    assert_eq!(firings(&rig), 2);
}

#[tokio::test]
async fn a_reload_lets_a_probe_go_at_once() {
    let mut rig = open([trigger("t")], |store| fill(store, "t", 1..=9)).await;
    rig.wire.script(|_| Some(answer(500)));
    rig.pass(20 * SECOND).await;
    let before = firings(&rig);
    let same = rig.settings.clone();
    rig.reload(same).await;
    assert_eq!(firings(&rig), before + 1);
    let off = Settings { breaking: Breaking::NEVER, ..rig.settings.clone() };
    rig.reload(off).await;
    assert_eq!(rig.count("uncertain", 1..=9), 9);
}

#[tokio::test]
async fn a_restart_and_a_clock_that_is_set_back_do_not_keep_it_shut() {
    let mut rig = open([trigger("t")], |store| fill(store, "t", 1..=9)).await;
    rig.wire.script(|_| Some(answer(500)));
    rig.pass(20 * SECOND).await;
    assert_eq!(firings(&rig), 1 + 4, "after 1, 3, 7 and 15 s; the next one after 31");
    rig.step_back(20 * SECOND);
    rig.order(Order::Beat).await;
    rig.pass(12 * SECOND).await;
    let before = firings(&rig);
    assert_eq!(before, 1 + 5);
    rig.restart().await;
    assert_eq!(firings(&rig), before + 1);
}

#[tokio::test]
async fn a_held_firing_is_a_probe_like_any_other() {
    let rig = open([trigger("a"), super::rig::held("h")], |store| {
        fill(store, "a", 1..=1);
        fill(store, "h", 11..=13);
    })
    .await;
    rig.pass(SECOND).await;
    assert!(rig.wire.waiting().len() >= 3, "they had left before it opened");
    for id in rig.wire.waiting() {
        rig.wire.answer(id, answer(502));
    }
    rig.insert(14, "h");
    rig.insert(15, "h");
    rig.settle().await;
    assert_eq!(rig.wire.waiting(), [14]);
    rig.wire.answer(14, output("x"));
    rig.settle().await;
    assert_eq!(rig.wire.waiting(), [15]);
}
