//! What a start finds, and what waits for another configuration.

use url::Url;

use super::rig::*;
use crate::clock::UnixMillis;
use crate::dispatch::{Notice, Order};
use crate::trigger::Trigger;

fn allowing(name: &str, origin: &str) -> Trigger {
    Trigger { allowed_origins: vec![Url::parse(origin).unwrap().origin()], ..trigger(name) }
}

#[tokio::test]
async fn a_firing_cut_off_by_a_crash_is_uncertain_or_repeated_as_its_trigger_says() {
    let mut rig = Rig::new([trigger("once"), Trigger { repeatable: true, ..trigger("again") }]).await;
    rig.insert(1, "once");
    rig.insert(2, "again");
    rig.settle().await;
    rig.restart().await;
    rig.pass(10 * SECOND).await;
    assert_eq!((rig.state(1), rig.code(1)), ("uncertain", Some("interrupted")));
    assert_eq!((rig.state(2), rig.row(2).taken.invocation.attempt), ("triggering", 2));
    assert_eq!((rig.wire.fired(1), rig.wire.fired(2)), (1, 2));
}

#[tokio::test]
async fn a_firing_that_never_left_is_not_charged_and_begins_again() {
    // One connection: of the rows that are to be fired, one is on the wire.
    let narrow = |mut settings: crate::dispatch::Settings| {
        settings.limits.max_per_origin = 1;
        settings
    };
    for machine_dies in [false, true] {
        let mut rig = Rig::with(narrow(settings([trigger("t")])), |_| {}).await;
        for id in 1..=3 {
            rig.insert(id, "t");
        }
        rig.settle().await;
        assert_eq!(rig.count("triggering", 1..=3), 3);
        rig.kill().await;
        if machine_dies {
            rig.store.memory.lose_flights();
        }
        rig.launch();
        rig.settle().await;
        assert_eq!((rig.state(1), rig.code(1)), ("uncertain", Some("interrupted")));
        if machine_dies {
            assert_eq!(rig.count("uncertain", 1..=3), 3);
            continue;
        }
        assert_eq!(rig.wire.log(), ["1 fire", "2 fire"], "the next one has the connection");
        rig.wire.answer(2, accepted(2));
        rig.settle().await;
        let row = rig.row(2).taken.invocation;
        assert_eq!((row.attempt, row.phase.as_str()), (1, "polling"));
        // Killed once more: who waited for the connection all the time is still free of doubt.
        rig.restart().await;
        assert_eq!(
            (rig.state(3), rig.code(3)),
            ("uncertain", Some("interrupted")),
            "it had the connection by then"
        );
        assert_eq!(rig.wire.fired(3), 1);
    }
}

#[tokio::test]
async fn a_doubt_that_was_not_judged_before_the_next_crash_stays_one() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.kill().await;
    for _ in 0..3 {
        // The start itself is stored, and nothing after it.
        let hold = rig.store.hold_commits();
        rig.launch();
        rig.settle().await;
        assert_eq!(rig.state(1), "triggering");
        rig.kill().await;
        hold.close();
    }
    rig.launch();
    rig.settle().await;
    assert_eq!((rig.state(1), rig.code(1)), ("uncertain", Some("interrupted")));
    assert_eq!(rig.wire.fired(1), 1);
}

#[tokio::test]
async fn a_restart_asks_in_the_order_of_due_times() {
    let mut rig = Rig::new([trigger("t")]).await;
    for (id, wait) in [(1, 9), (2, 3), (3, 6)] {
        rig.insert(id, "t");
        rig.settle().await;
        let Say::Answer { status, location, body, .. } = accepted(id) else { unreachable!() };
        rig.wire.answer(id, Say::Answer { status, location, retry_after: Some(wait * SECOND), body });
    }
    rig.settle().await;
    rig.restart().await;
    rig.pass(60 * SECOND).await;
    let asked: Vec<i64> = rig.wire.sent().iter().skip(3).map(|sent| sent.id).collect();
    assert_eq!(asked, [2, 3, 1]);
    assert_eq!(rig.wire.log().len(), 6, "nothing is fired again");
}

#[tokio::test]
async fn rows_of_a_trigger_that_is_not_configured_wait_for_it() {
    let mut rig = Rig::new([trigger("a"), trigger("b")]).await;
    rig.insert(1, "a");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    rig.kill().await;
    rig.settings = settings([trigger("b")]);
    rig.launch();
    rig.insert(2, "a");
    rig.insert(3, "b");
    rig.pass(3600 * SECOND).await;
    assert_eq!((rig.state(1), rig.state(2), rig.wire.fired(3)), ("polling", "pending", 1));
    assert_eq!(rig.wire.log().len(), 2);
    rig.reload(settings([trigger("a"), trigger("b")])).await;
    assert_eq!(rig.wire.fired(2), 1);
    assert_eq!(rig.wire.log().iter().filter(|line| *line == "1 /status/1").count(), 1);
}

#[tokio::test]
async fn a_forbidden_origin_waits_for_a_configuration_that_allows_it() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, to(202, "http://other.example/status/1"));
    rig.pass(3600 * SECOND).await;
    assert_eq!((rig.state(1), rig.code(1)), ("polling", Some("forbidden_origin")));
    assert_eq!(rig.wire.log(), ["1 fire"]);
    rig.reload(settings([allowing("t", "http://other.example")])).await;
    assert_eq!(rig.wire.log(), ["1 fire", "1 /status/1"]);
    rig.wire.answer(1, answer(200));
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.wire.log().len(), 3, "one chain of polls");
}

#[tokio::test]
async fn a_forbidden_origin_ends_at_the_deadline() {
    let rig = Rig::new([Trigger { deadline: Some(60 * SECOND), ..trigger("t") }]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, to(202, "http://other.example/status/1"));
    rig.pass(61 * SECOND).await;
    assert_eq!((rig.state(1), rig.code(1)), ("uncertain", Some("forbidden_origin")));
}

#[tokio::test]
async fn it_is_ready_after_the_first_look_and_not_before() {
    let mut rig = Rig::new([trigger("t")]).await;
    assert_eq!(rig.notices.try_recv(), Ok(Notice::Ready));
    rig.kill().await;
    rig.store.every_commit(Some(Fate::Refused));
    rig.launch();
    rig.pass(60 * SECOND).await;
    assert!(matches!(rig.notices.try_recv(), Ok(Notice::Table(_))));
    assert!(rig.notices.try_recv().is_err());
    rig.store.every_commit(None);
    rig.pass(10 * SECOND).await;
    assert_eq!(rig.notices.try_recv(), Ok(Notice::Table(Vec::new())));
    assert_eq!(rig.notices.try_recv(), Ok(Notice::Ready));
    assert!(rig.store.memory.is_ready());
}

#[tokio::test]
async fn a_stop_and_a_reload_are_heard_while_the_table_cannot_be_read() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "new");
    rig.kill().await;
    rig.store.every_commit(Some(Fate::Refused));
    rig.launch();
    rig.pass(10 * SECOND).await;
    rig.reload(settings([trigger("new")])).await;
    rig.store.every_commit(None);
    rig.pass(10 * SECOND).await;
    assert_eq!(rig.wire.fired(1), 1);
    rig.kill().await;
    rig.store.every_commit(Some(Fate::Refused));
    rig.launch();
    rig.pass(10 * SECOND).await;
    rig.order(Order::Stop).await;
    assert!(rig.is_ended());
}

#[tokio::test]
async fn a_reload_sends_what_still_waits_by_the_new_configuration() {
    let mut one = settings([trigger("t")]);
    one.limits.max_per_origin = 1;
    let mut rig = Rig::with(one, |_| {}).await;
    for id in 1..=3 {
        rig.insert(id, "t");
    }
    rig.settle().await;
    assert_eq!((rig.wire.log().len(), rig.count("triggering", 1..=3)), (1, 3));
    let moved = Trigger { url: Url::parse("http://new.example/t").unwrap(), ..trigger("t") };
    rig.reload(settings([moved])).await;
    let hosts: Vec<_> = rig.wire.sent().iter().map(|s| s.url.host_str().unwrap().to_owned()).collect();
    assert_eq!(hosts, ["far.example", "new.example", "new.example"]);
    assert_eq!(rig.row(2).taken.invocation.attempt, 1);
}

#[tokio::test]
async fn a_trigger_that_leaves_fires_nothing_more() {
    let mut one = settings([trigger("t")]);
    one.limits.max_per_origin = 1;
    let mut rig = Rig::with(one, |_| {}).await;
    rig.insert(1, "t");
    rig.insert(2, "t");
    rig.settle().await;
    rig.reload(settings([])).await;
    rig.wire.answer(1, accepted(1));
    rig.pass(60 * SECOND).await;
    assert_eq!((rig.state(1), rig.state(2)), ("polling", "pending"));
    assert_eq!(rig.wire.log(), ["1 fire"]);
    rig.reload(settings([trigger("t")])).await;
    assert_eq!(rig.wire.log().len(), 3);
}

#[tokio::test]
async fn a_reload_that_cannot_be_registered_is_registered_later() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.store.every_commit(Some(Fate::Refused));
    rig.reload(settings([trigger("new")])).await;
    rig.insert(1, "new");
    rig.pass(SECOND).await;
    rig.store.every_commit(None);
    rig.pass(10 * SECOND).await;
    assert_eq!(rig.wire.fired(1), 1);
}

#[tokio::test]
async fn a_clock_that_steps_back_fires_nothing_twice() {
    let rig = Rig::new([trigger("t")]).await;
    rig.insert_with(1, "t", |row| row.run_at = UnixMillis(START.0 + 1000));
    rig.pass(2 * SECOND).await;
    rig.step_back(3600 * SECOND);
    rig.insert_with(2, "t", |row| row.run_at = UnixMillis(0));
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.pass(7200 * SECOND).await;
    assert_eq!((rig.wire.fired(1), rig.wire.fired(2)), (1, 1));
    assert_eq!(rig.state(1), "polling");
}

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Wakes the engine, as a real clock does at least every 30 seconds.
async fn wake(rig: &Rig) {
    rig.order(Order::Beat).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_poll_and_no_time_in_disorder() {
    let rig = Rig::new([trigger("t"), trigger("u")]).await;
    rig.insert(1, "t");
    rig.insert(2, "u");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    rig.step_back(DAY);
    wake(&rig).await;
    rig.pass(2 * SECOND).await;
    assert_eq!(rig.wire.log(), ["1 fire", "2 fire", "1 /status/1"], "not a day later");
    // What was accepted, or ended, after the clock was set back, was so no earlier than it began.
    rig.wire.answer(2, accepted(2));
    rig.wire.answer(1, to(303, "/output/1"));
    rig.settle().await;
    rig.wire.answer(1, output("done"));
    rig.settle().await;
    assert_eq!((rig.state(1), rig.state(2)), ("succeeded", "polling"));
    for id in [1, 2] {
        let row = rig.row(id);
        let times = &row.taken.invocation;
        assert!(times.started_at.is_some() && times.started_at <= times.accepted_at, "{times:?}");
        assert!(row.finished_at.is_none_or(|end| Some(end) >= times.accepted_at), "{row:?}");
        assert!(row.attempts.iter().all(|attempt| attempt.started_at <= attempt.ended_at), "{row:?}");
    }
    rig.pass(7200 * SECOND).await;
    assert_eq!((rig.wire.fired(1), rig.wire.fired(2)), (1, 1));
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_pause_longer() {
    let rig = Rig::new([trigger("t")]).await;
    rig.store.every_commit(Some(Fate::Refused));
    rig.insert(1, "t");
    rig.pass(3 * SECOND).await;
    rig.step_back(DAY);
    wake(&rig).await;
    rig.store.every_commit(None);
    rig.pass(10 * SECOND).await;
    assert_eq!(rig.wire.fired(1), 0, "it is to run a day from now");
    rig.insert_with(2, "t", |row| row.run_at = UnixMillis(0));
    rig.pass(10 * SECOND).await;
    assert_eq!(rig.wire.fired(2), 1);
}

#[tokio::test]
async fn a_start_after_the_clock_was_set_back_asks_within_the_longest_wait() {
    let mut rig = Rig::new([trigger("t")]).await;
    rig.insert(1, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.settle().await;
    rig.kill().await;
    rig.step_back(DAY);
    rig.launch();
    rig.pass(3600 * SECOND).await;
    assert_eq!(rig.wire.log(), ["1 fire", "1 /status/1"]);
}

#[tokio::test]
async fn a_clock_that_is_set_forward_fires_nothing_twice() {
    let rig = Rig::new([Trigger { deadline: Some(7 * DAY), ..trigger("t") }]).await;
    rig.insert(1, "t");
    rig.insert(2, "t");
    rig.settle().await;
    rig.wire.answer(1, accepted(1));
    rig.pass(DAY).await;
    wake(&rig).await;
    rig.wire.answer(1, to(303, "/output/1"));
    rig.settle().await;
    rig.wire.answer(1, output("done"));
    rig.wire.answer(2, accepted(2));
    rig.settle().await;
    assert_eq!((rig.state(1), rig.state(2)), ("succeeded", "polling"));
    assert_eq!((rig.wire.fired(1), rig.wire.fired(2)), (1, 1));
}
