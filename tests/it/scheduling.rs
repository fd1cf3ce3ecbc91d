//! Schedules on the table in a file: each time becomes one request, or a row that says why not, whatever restarts, dies or
//! sets the clock. And the real binary, which keeps to the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Row as _;
use triggerd::clock::UnixMillis;
use triggerd::queue::{Settled, Store};

use crate::queue_contract::{Table, triggers};
use crate::support::bounded;
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd};
use crate::support::table::SqliteTable;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A table with a schedule `s` of the trigger `alpha`, and when that was inserted.
async fn scheduled(columns: &str, values: &str) -> (SqliteTable, i64) {
    let table = SqliteTable::fresh().await;
    table
        .run(format!(
            "INSERT INTO schedules (name, trigger_name, expression, time_zone{columns})
             VALUES ('s', 'alpha', {values})"
        ))
        .await;
    let begun = number(&table, "SELECT created_at FROM schedules").await;
    table.store.start(triggers(), UnixMillis(begun)).await.unwrap();
    (table, begun)
}

async fn number(table: &SqliteTable, sql: &str) -> i64 {
    table.rows(sql).await[0].get(0)
}

/// Settles until there is nothing more to do at `now`.
async fn settle(table: &SqliteTable, now: i64) -> Settled {
    let mut all = Settled::default();
    loop {
        let settled = table.store.settle(None, UnixMillis(now)).await.unwrap();
        all.requests.extend(settled.requests);
        all.problems.extend(settled.problems);
        all.next = settled.next;
        if settled.next.is_none_or(|next| next.0 > now) {
            return all;
        }
    }
}

async fn restart(table: SqliteTable, now: i64) -> SqliteTable {
    let table = table.reopen().await;
    table.store.start(triggers(), UnixMillis(now)).await.unwrap();
    table
}

/// The times of the requests, in the order of insertion.
async fn times(table: &SqliteTable) -> Vec<i64> {
    let rows = table.rows("SELECT scheduled_at FROM requests WHERE schedule_name = 's' ORDER BY id").await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// What was told of the times: event, reason, how many.
async fn events(table: &SqliteTable) -> Vec<String> {
    let rows =
        table.rows("SELECT event || ' ' || reason || ' ' || times FROM schedule_events ORDER BY id").await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// The first full hour after an instant.
fn hour_after(at: i64) -> i64 {
    at - at.rem_euclid(HOUR) + HOUR
}

#[tokio::test]
async fn each_time_gets_one_request_that_says_which_it_is() {
    bounded(async {
        let (table, begun) = scheduled(", arguments, priority", "'@hourly', 'UTC', '{\"a\":1}', 7").await;
        let first = hour_after(begun);
        let settled = settle(&table, begun).await;
        assert_eq!((settled.requests.len(), settled.next), (0, Some(UnixMillis(first))));
        assert_eq!(number(&table, "SELECT next_at FROM schedules").await, first);
        let words: String = table.rows("SELECT words FROM schedules").await[0].get(0);
        assert!(!words.is_empty());

        let settled = settle(&table, first + 5).await;
        assert_eq!(settled.next, Some(UnixMillis(first + HOUR)));
        assert_eq!(settle(&table, first + 5).await.requests.len(), 0, "once");
        let row = table
            .rows(
                "SELECT trigger_name, arguments, priority, run_at, scheduled_at, schedule_name FROM requests",
            )
            .await
            .remove(0);
        let (trigger, arguments, priority): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!((trigger.as_str(), arguments.as_str(), priority), ("alpha", "{\"a\":1}", 7));
        let (run_at, at, name): (i64, i64, String) = (row.get(3), row.get(4), row.get(5));
        assert_eq!((run_at, at, name.as_str()), (first, first, "s"));
        assert_eq!(events(&table).await, ["fired due 1"]);
        assert_eq!(number(&table, "SELECT last_request_id FROM schedules").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_time_that_meets_a_request_that_has_not_ended_goes_by_the_policy() {
    bounded(async {
        for (overlap, requests, told, waits) in [
            ("skip", 1, vec!["fired due 1", "skipped overlap 1", "skipped overlap 1"], vec![]),
            ("queue_one", 2, vec!["fired due 1", "fired due 1", "skipped overlap 1"], vec![(2, 1)]),
            ("queue_all", 3, vec!["fired due 1"; 3], vec![(2, 1), (3, 2)]),
            ("allow", 3, vec!["fired due 1"; 3], vec![]),
            ("cancel_running", 3, vec!["fired due 1"; 3], vec![(2, 1), (3, 2)]),
        ] {
            let (table, begun) = scheduled(", overlap", &format!("'@hourly', 'UTC', '{overlap}'")).await;
            for n in 0..3 {
                settle(&table, hour_after(begun) + n * HOUR).await;
            }
            assert_eq!(times(&table).await.len(), requests, "{overlap}");
            assert_eq!(events(&table).await, told, "{overlap}");
            let rows =
                table.rows("SELECT id, after_id FROM requests WHERE after_id IS NOT NULL ORDER BY id").await;
            let after: Vec<(i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            assert_eq!(after, waits, "{overlap}");
            let cancelled = number(&table, "SELECT count(*) FROM requests WHERE cancel_requested = 1").await;
            assert_eq!(cancelled, if overlap == "cancel_running" { 2 } else { 0 }, "{overlap}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_uncertain_request_is_in_the_way_until_its_deadline() {
    bounded(async {
        let (table, begun) = scheduled("", "'@hourly', 'UTC'").await;
        let first = hour_after(begun);
        settle(&table, first).await;
        table
            .run(format!("UPDATE requests SET state = 'uncertain', deadline_at = {}", first + 90 * MINUTE))
            .await;
        settle(&table, first + HOUR).await;
        settle(&table, first + 2 * HOUR).await;
        assert_eq!(times(&table).await, [first, first + 2 * HOUR]);
    })
    .await;
}

#[tokio::test]
async fn what_came_while_no_daemon_ran_goes_by_the_policy() {
    bounded(async {
        for (misfire, hours, told) in [
            ("run_once", vec![5], vec!["missed misfire 5", "fired caught_up 1"]),
            ("skip", vec![], vec!["missed misfire 6"]),
            ("run_all", vec![0, 1, 2, 3, 4, 5], vec!["fired caught_up 1"; 6]),
        ] {
            let values = format!("'@hourly', 'UTC', '{misfire}', 'allow', {}", 10 * HOUR);
            let (table, begun) = scheduled(", misfire, overlap, catch_up_window", &values).await;
            settle(&table, begun).await;
            let first = hour_after(begun);
            let later = first + 5 * HOUR + 30 * MINUTE;
            let table = restart(table, later).await;
            let settled = settle(&table, later).await;
            assert_eq!(settled.next, Some(UnixMillis(first + 6 * HOUR)), "{misfire}");
            let expected: Vec<i64> = hours.iter().map(|n| first + n * HOUR).collect();
            assert_eq!(times(&table).await, expected, "{misfire}");
            assert_eq!(events(&table).await, told, "{misfire}");
            // What is settled stays so, whatever the clock says.
            let table = restart(table, begun).await;
            settle(&table, begun).await;
            settle(&table, later).await;
            assert_eq!(times(&table).await, expected, "{misfire}");
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_that_came_during_a_pause_or_before_a_change_is_made_up_for() {
    bounded(async {
        let (table, begun) = scheduled("", "'* * * * *', 'UTC'").await;
        settle(&table, begun).await;
        table.run("UPDATE schedules SET paused = 1, paused_reason = 'why not' WHERE name = 's'").await;
        assert_eq!(settle(&table, begun + HOUR).await.next, None);
        // The SQL triggers say "now", which is the real one.
        table.run("UPDATE schedules SET paused = 0 WHERE name = 's'").await;
        let resumed = number(&table, "SELECT last_at FROM schedules").await;
        assert!(resumed >= begun);
        let next = settle(&table, resumed).await.next.unwrap().0;
        assert!(next > resumed && next <= resumed + MINUTE);
        table.run("UPDATE schedules SET expression = '@daily', time_zone = 'Europe/Berlin'").await;
        assert!(settle(&table, resumed).await.next.unwrap().0 > resumed + MINUTE || next == resumed + MINUTE);
        assert_eq!(times(&table).await, [0; 0]);
        // One that asks for what is its own business.
        let refused =
            sqlx::raw_sql("UPDATE schedules SET last_at = 0").execute(&mut *table.producer().await).await;
        assert!(refused.unwrap_err().to_string().contains("triggerd: daemon_column"));
    })
    .await;
}

#[tokio::test]
async fn a_schedule_that_cannot_be_understood_says_so_and_stops_no_other() {
    bounded(async {
        let (table, begun) = scheduled("", "'61 * * * *', 'UTC'").await;
        table
            .run(
                "INSERT INTO schedules (name, trigger_name, expression, time_zone) VALUES ('zone', 'alpha', '@daily', 'Mars/Olympus');
                 INSERT INTO schedules (name, trigger_name, expression, time_zone) VALUES ('good', 'alpha', '@hourly', 'UTC')",
            )
            .await;
        let settled = settle(&table, begun + 1000).await;
        let names: Vec<&str> = settled.problems.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["s", "zone"]);
        assert!(settled.next.is_some());
        let problem: String = table.rows("SELECT problem FROM schedules WHERE name = 's'").await[0].get(0);
        assert!(problem.starts_with("expression: "), "{problem}");
        table.run("UPDATE schedules SET expression = '1 * * * *' WHERE name = 's'").await;
        assert_eq!(settle(&table, begun + 2000).await.problems, []);
        assert_eq!(number(&table, "SELECT count(*) FROM schedules WHERE next_at IS NOT NULL").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_date_of_the_calendar_is_left_out_and_told_also_if_it_is_added_later() {
    bounded(async {
        let table = SqliteTable::fresh().await;
        table.run("INSERT INTO calendars (name) VALUES ('holidays')").await;
        table
            .run(
                "INSERT INTO schedules (name, trigger_name, expression, time_zone, calendar)
                 VALUES ('s', 'alpha', '0 12 * * *', 'UTC', 'holidays')",
            )
            .await;
        let begun = number(&table, "SELECT created_at FROM schedules").await;
        table.store.start(triggers(), UnixMillis(begun)).await.unwrap();
        let first = settle(&table, begun).await.next.unwrap().0;
        let date = format!("strftime('%Y-%m-%d', {first} / 1000, 'unixepoch')");
        table.run(format!("INSERT INTO calendar_dates (calendar, excluded_date) VALUES ('holidays', {date})")).await;
        assert_eq!(settle(&table, begun + 1).await.next, Some(UnixMillis(first + DAY)));
        settle(&table, first + DAY).await;
        assert_eq!(times(&table).await, [first + DAY]);
        assert_eq!(events(&table).await, ["skipped calendar 1", "fired due 1"]);
        // A date that is taken out again may bring the next time forward.
        table.run(format!("INSERT INTO calendar_dates (calendar, excluded_date) VALUES ('holidays', strftime('%Y-%m-%d', {} / 1000, 'unixepoch'))", first + 2 * DAY)).await;
        assert_eq!(settle(&table, first + DAY + 1).await.next, Some(UnixMillis(first + 3 * DAY)));
        table.run("DELETE FROM calendar_dates").await;
        assert_eq!(settle(&table, first + DAY + 2).await.next, Some(UnixMillis(first + 2 * DAY)));
    })
    .await;
}

#[tokio::test]
async fn a_year_with_crashes_and_a_restless_clock_has_no_time_twice_and_loses_none_but_by_the_policy() {
    let year = async {
        let mut random = fastrand::Rng::with_seed(11);
        let (mut table, begun) = scheduled(
            ", misfire, overlap, catch_up_window, max_catch_up",
            &format!("'0 */3 * * *', 'Europe/Berlin', 'run_all', 'allow', {}, 10000", 30 * DAY),
        )
        .await;
        table
            .run(
                "INSERT INTO schedules (name, trigger_name, expression, time_zone, overlap) VALUES ('once', 'alpha', '30 2 * * *', 'America/New_York', 'allow');
                 INSERT INTO schedules (name, trigger_name, expression, time_zone, overlap, misfire) VALUES ('every', 'alpha', '@every 5h', 'UTC', 'allow', 'skip')",
            )
            .await;
        let (mut now, mut crashes) = (begun, 0);
        while now < begun + 366 * DAY {
            // As a rule the alarm comes in time; at times late, and at times the clock was wrong.
            let next = table.store.settle(None, UnixMillis(now)).await.unwrap().next.unwrap().0;
            match random.u32(..60) {
                0 => now = (now - random.i64(0..2 * DAY)).max(begun),
                1 => now += random.i64(0..5 * DAY),
                2..=5 => {
                    crashes += 1;
                    // Dies while it settles: nobody knows whether that was stored.
                    let dying = table.store.settle(None, UnixMillis(now.max(next)));
                    drop(tokio::time::timeout(Duration::ZERO, dying).await);
                    now = now.max(next) + random.i64(0..2 * HOUR);
                    table = restart(table, now).await;
                }
                _ => now = now.max(next) + random.i64(0..20_000),
            }
        }
        settle(&table, now).await;
        assert!(crashes > 50, "{crashes}");

        // Twice: the index would have refused it. Lost: each time is fired, or told to be missed.
        for (name, misses) in [("s", false), ("once", true), ("every", true)] {
            let rows = table
                .rows(format!(
                    "SELECT scheduled_at, id FROM requests WHERE schedule_name = '{name}' ORDER BY id"
                ))
                .await;
            let fired: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            assert!(fired.is_sorted_by(|a, b| a < b), "{name}: {fired:?}");
            let missed = format!(
                "SELECT coalesce(sum(times), 0) FROM schedule_events WHERE schedule_name = '{name}' AND event = 'missed'"
            );
            let missed = number(&table, &missed).await;
            assert!(misses || missed == 0, "{name}: {missed}");
            let last = number(&table, &format!("SELECT last_at FROM schedules WHERE name = '{name}'")).await;
            let plan: BTreeMap<&str, (&str, &str)> = BTreeMap::from([
                ("s", ("0 */3 * * *", "Europe/Berlin")),
                ("once", ("30 2 * * *", "America/New_York")),
                ("every", ("@every 5h", "UTC")),
            ]);
            let (expression, zone) = plan[name];
            let created =
                number(&table, &format!("SELECT created_at FROM schedules WHERE name = '{name}'")).await;
            let plan = triggerd::schedule::Plan::new(name, "alpha", expression, zone);
            let timetable = plan.timetable(None, UnixMillis(created)).unwrap();
            let due = std::iter::successors(timetable.next_after(UnixMillis(created)), |at| {
                timetable.next_after(*at)
            });
            let due: Vec<i64> = due.take_while(|at| at.0 <= last).map(|at| at.0).collect();
            assert!(fired.iter().all(|at| due.contains(at)), "{name}");
            assert_eq!(fired.len() + usize::try_from(missed).unwrap(), due.len(), "{name}");
            let told = format!(
                "SELECT count(*) FROM schedule_events WHERE schedule_name = '{name}' AND event = 'fired'"
            );
            assert_eq!(number(&table, &told).await, i64::try_from(fired.len()).unwrap(), "{name}");
        }
    };
    tokio::time::timeout(Duration::from_secs(300), year).await.expect("the test hangs");
}

#[tokio::test]
async fn the_daemon_keeps_to_the_clock_and_sees_a_new_schedule_at_once() {
    bounded(async {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&format!(
            "[dispatch]\nfallback_poll = \"30d\"\n[triggers.t]\nurl = \"{}\"\ncall_mode = \"FireAndForget\"\n",
            far.url("/fire")
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run("INSERT INTO schedules (name, trigger_name, expression, time_zone, arguments) VALUES ('s', 't', '@every 1s', 'UTC', '{\"n\":1}')").await;
        let seen = far.seen(3).await;
        assert!(seen.iter().all(|seen| seen.text().contains("\"n\":1")));
        daemon.logged("inserted by schedule s").await;
        table.until("SELECT count(*) >= 3 FROM requests WHERE state = 'dispatched' AND schedule_name = 's'", 1).await;
        assert_eq!(table.number("SELECT count(*) FROM requests GROUP BY scheduled_at ORDER BY 1 DESC LIMIT 1").await, 1);
        table.run("UPDATE schedules SET paused = 1").await;
        daemon.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_schedule_has_waiting_for_its_running_request_is_fired_when_that_has_ended() {
    bounded(async {
        let hold = crate::support::far_end::Hold::new();
        let held = hold.clone();
        let far = FarEnd::start(move |seen| match seen.order {
            0 => Answer::status(200).held(&held),
            _ => Answer::status(200),
        })
        .await;
        let site = Site::new(&format!(
            "[triggers.t]\nurl = \"{}\"\ncall_mode = \"FireAndForget\"\n",
            far.url("/fire")
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run("INSERT INTO schedules (name, trigger_name, expression, time_zone, overlap) VALUES ('s', 't', '@every 1s', 'UTC', 'queue_one')").await;
        far.seen(1).await;
        table.until("SELECT count(*) > 0 FROM request_why WHERE why LIKE 'waits for request 1 %to end%'", 1).await;
        table.until("SELECT count(*) > 0 FROM schedule_events WHERE event = 'skipped' AND reason = 'overlap'", 1).await;
        hold.release();
        far.seen(2).await;
        daemon.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_schedule_of_the_configuration_fires_and_a_reload_replaces_it() {
    bounded(async {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let url = far.url("/fire");
        let configuration = |trigger: &str, schedule: &str| {
            format!(
                "[triggers.{trigger}]\nurl = \"{url}\"\ncall_mode = \"FireAndForget\"\n\
                 [calendars.c]\ndates = [\"2001-01-01\"]\n\
                 [schedules.{schedule}]\ntrigger = \"{trigger}\"\nexpression = \"@every 1s\"\ntime_zone = \"UTC\"\n\
                 calendar = \"c\"\narguments = {{ from = \"{schedule}\" }}\n"
            )
        };
        let site = Site::new(&configuration("t", "first"));
        let daemon = site.start().await;
        assert!(far.seen(1).await[0].text().contains("\"from\":\"first\""));
        // The trigger is new too, and is registered before the schedule that names it.
        site.configure(&configuration("u", "second"));
        daemon.signal(rustix::process::Signal::HUP);
        daemon.logged("inserted by schedule second").await;
        let mut table = site.table().await;
        table.until("SELECT count(*) > 0 FROM requests WHERE state = 'dispatched' AND schedule_name = 'second'", 1).await;
        let rows = "SELECT count(*) FROM schedules WHERE owner = 'configuration' AND active = (name = 'second')";
        assert_eq!(table.number(rows).await, 2);
        daemon.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_row_that_somebody_has_spoiled_stops_no_schedule_and_is_not_looked_at_all_the_time() {
    bounded(async {
        let (table, begun) = scheduled("", "'@hourly', 'UTC'").await;
        let sql = "SELECT group_concat('DROP TRIGGER ' || name || ';', ' ') FROM sqlite_schema WHERE type = 'trigger'";
        let drop: String = table.rows(sql).await[0].get(0);
        table.run(format!("PRAGMA ignore_check_constraints = ON; {drop}")).await;
        let columns = [
            "name", "trigger_name", "arguments", "call_mode", "priority", "expression", "time_zone", "calendar",
            "on_excluded", "starts_at", "ends_at", "overlap", "misfire", "catch_up_window", "max_catch_up", "dst_gap",
            "dst_overlap", "jitter", "disable_after_launches", "last_at", "created_at", "revision", "look_at",
        ];
        for (n, column) in columns.into_iter().enumerate() {
            for (m, value) in ["x'ff'", "CAST(x'ff' AS TEXT)", "'x'", "-1.5", "-9223372036854775808"].iter().enumerate() {
                let name = format!("bad-{n}-{m}");
                table
                    .run(format!(
                        "INSERT INTO schedules (name, trigger_name, expression, time_zone) VALUES ('{name}', 'alpha', '@hourly', 'UTC');
                         UPDATE OR IGNORE schedules SET {column} = {value} WHERE name = '{name}'"
                    ))
                    .await;
            }
        }
        table.run("INSERT INTO calendars (name) VALUES (x'ff'); INSERT INTO calendar_dates VALUES ('c', x'00')").await;
        let first = hour_after(begun);
        for now in [begun, first, first + HOUR] {
            // More than one commit, and not without end.
            for _ in 0..10 {
                let settled = table.store.settle(None, UnixMillis(now)).await.unwrap();
                if settled.next.is_none_or(|next| next.0 > now) {
                    break;
                }
            }
            assert!(table.store.settle(None, UnixMillis(now)).await.unwrap().next.unwrap().0 > now);
        }
        assert!(times(&table).await.contains(&first), "the sound one has fired");
    })
    .await;
}

#[tokio::test]
async fn many_times_that_are_made_up_for_come_in_several_commits_and_none_twice() {
    bounded(async {
        let values = format!("'* * * * * ?', 'UTC', 'run_all', 'allow', {DAY}, 3000");
        let (table, begun) = scheduled(", misfire, overlap, catch_up_window, max_catch_up", &values).await;
        settle(&table, begun).await;
        let later = begun + HOUR + 7;
        let table = restart(table, later).await;
        let first = table.store.settle(None, UnixMillis(later)).await.unwrap();
        assert_eq!(first.requests.len(), 200);
        assert!(first.next.unwrap().0 <= later, "there is more");
        settle(&table, later).await;
        let times = times(&table).await;
        assert_eq!(times.len(), 3000);
        assert!(times.windows(2).all(|pair| pair[1] == pair[0] + 1000));
        assert_eq!(events(&table).await.iter().filter(|event| event.starts_with("missed")).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_schedule_whose_last_time_is_spoiled_is_not_settled_anew_and_hides_no_other() {
    bounded(async {
        let (table, begun) = scheduled("", "'* * * * * ?', 'UTC'").await;
        table
            .run("INSERT INTO calendars (name) VALUES ('c'); UPDATE calendars SET revision = 'odd';
                  INSERT INTO schedules (name, trigger_name, expression, time_zone) VALUES ('bad', 'alpha', '@hourly', 'UTC');
                  UPDATE schedules SET last_at = 'odd', revision = revision + 1 WHERE name = 'bad'")
            .await;
        let settled = table.store.settle(None, UnixMillis(begun)).await.unwrap();
        assert_eq!(settled.problems.len(), 1);
        let next = begun - begun % 1000 + 1000;
        assert_eq!(settled.next, Some(UnixMillis(next)), "of the sound one");
        // What counts its failures is the daemon's.
        let refused = sqlx::raw_sql("UPDATE schedules SET launched_at = 'odd'").execute(&mut *table.producer().await).await;
        assert!(refused.unwrap_err().to_string().contains("daemon_column"));
    })
    .await;
}
