//! The real binary under its signals, its operators and its producers.
//!
//! Where a test says that something does not happen, it waits for something else that happens later: a request that
//! was inserted afterwards, or the end of the process.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use triggerd::clock::{Clock as _, SystemClock, monotonic};

use crate::support::bounded;
use crate::support::daemon::{Site, Table};
use crate::support::far_end::{Answer, FarEnd, Hold, Seen, Then};

/// A log for many rows: no line for each.
pub(crate) const QUIET: &str = "[log]\nfilter = \"warn,triggerd::daemon=info\"\n";
const INSERT: &str = "INSERT INTO requests (trigger_name) VALUES ('t')";

/// Accepts; the job is asked for at `/status`.
fn accepted() -> Answer {
    Answer::status(202).header("Location", "/status")
}

/// Says nothing until the peer hangs up.
fn silence() -> Answer {
    Answer::raw("").then(Then::Hang)
}

/// A far end that accepts each firing, on a connection that it then closes, and says `status` of the job.
async fn accepting(status: impl Fn() -> Answer + Send + Sync + 'static) -> FarEnd {
    FarEnd::start(move |seen| if seen.method == "POST" { accepted().then(Then::Close) } else { status() })
        .await
}

/// `[triggers.NAME]` with quick intervals.
pub(crate) fn trigger(name: &str, far: &FarEnd, keys: &str) -> String {
    format!(
        "[triggers.{name}]\nurl = \"{}\"\n\
         poll = {{ initial = \"20ms\", factor = 1.0, max = \"20ms\" }}\n\
         retry = {{ initial = \"1ms\", max = \"1ms\" }}\n{keys}\n",
        far.url("/fire")
    )
}

/// `n` requests in one transaction.
pub(crate) fn many(name: &str, n: usize) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})
         INSERT INTO requests (trigger_name, arguments) SELECT '{name}', json_object('n', i) FROM n"
    )
}

pub(crate) fn count(state: &str) -> String {
    format!("SELECT count(*) FROM requests WHERE state = '{state}'")
}

/// Unix milliseconds, `plus` from now.
fn soon(plus: Duration) -> i64 {
    SystemClock.now().plus(plus).0
}

/// The ids of the requests in the order of their firings.
pub(crate) fn fired(far: &FarEnd) -> Vec<i64> {
    far.all().iter().filter_map(request_id).collect()
}

/// Of a firing: the key is installation, request, time and round.
fn request_id(seen: &Seen) -> Option<i64> {
    seen.header("idempotency-key")?.rsplit('-').nth(2)?.parse().ok()
}

mod crashes {
    use super::*;

    /// How many are in doubt when 10,000 rows wait for a far end that never answers.
    async fn doubts_after_a_kill(limits: &str, per_origin: usize) {
        let far = FarEnd::start(|_| silence()).await;
        let site = Site::new(&format!("[dispatch]\n{limits}\n{QUIET}{}", trigger("t", &far, "")));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(many("t", 10_000)).await;
        bounded(far.seen(per_origin)).await;
        let places = i64::try_from(4 * per_origin).unwrap();
        table.until(&count("triggering"), places).await;
        daemon.kill().await;
        // Of those that were about to be fired, only those that were on the wire are in doubt.
        let doubts = i64::try_from(per_origin).unwrap();
        let daemon = site.start().await;
        table
            .until(
                "SELECT count(*) FROM requests WHERE state = 'uncertain' AND error_code = 'interrupted'",
                doubts,
            )
            .await;
        // The same places are used again, for other rows: nothing that is in doubt was fired once more.
        bounded(far.seen(2 * per_origin)).await;
        assert_eq!(table.number(count("uncertain")).await, doubts);
        daemon.kill().await;
        let mut fired = fired(&far);
        fired.sort_unstable();
        let firings = fired.len();
        fired.dedup();
        assert_eq!(fired.len(), firings, "a row was fired twice");
        assert_eq!(table.number("SELECT count(*) FROM requests").await, 10_000);
    }

    #[tokio::test]
    async fn few_of_ten_thousand_rows_are_in_doubt_after_a_kill() {
        doubts_after_a_kill("max_per_origin = 2", 2).await;
        doubts_after_a_kill("", 64).await;
    }

    #[tokio::test]
    async fn kills_at_any_time_neither_lose_nor_repeat_a_request() {
        const ROWS: usize = 300;
        let far = FarEnd::start(|seen| match (seen.method.as_str(), seen.target.as_str()) {
            ("POST", "/fire") => Answer::status(202).header("Location", &format!("/status/{}", seen.order)),
            ("GET", target) if target.starts_with("/status/") => {
                Answer::status(303).header("Location", &target.replace("status", "output"))
            }
            _ => Answer::status(200).body("done"),
        })
        .await;
        let site = Site::new(&format!("[dispatch]\nmax_per_origin = 4\n{QUIET}{}", trigger("t", &far, "")));
        let mut daemon = site.start().await;
        let mut table = site.table().await;
        table.run(many("t", ROWS)).await;
        for nth in 1..=8 {
            bounded(far.seen(nth * ROWS / 8)).await;
            daemon.kill().await;
            assert_eq!(table.text("PRAGMA integrity_check").await, "ok");
            daemon = site.start().await;
        }
        table.until("SELECT count(*) FROM results WHERE is_final = 0", 0).await;
        daemon.stop().await;
        let mut fired = fired(&far);
        let firings = fired.len();
        fired.sort_unstable();
        fired.dedup();
        assert_eq!(fired.len(), firings, "a row was fired twice");
        let (succeeded, doubts) =
            (table.number(count("succeeded")).await, table.number(count("uncertain")).await);
        assert_eq!(succeeded + doubts, i64::try_from(ROWS).unwrap());
        assert!(doubts <= 8 * 16, "{doubts}");
        eprintln!("{ROWS} rows, 8 kills: {succeeded} succeeded, {doubts} in doubt, {firings} firings");
    }
}

/// A start that is killed.
mod starts {
    use super::*;

    #[tokio::test]
    async fn a_migration_that_was_killed_before_it_made_anything_is_begun_anew() {
        let site = Site::new("");
        site.write("queue.db", "");
        let mut table = site.table().await;
        // What the migrator makes first, in a commit of its own.
        table
            .run(
                "CREATE TABLE _sqlx_migrations (
                   version BIGINT PRIMARY KEY, description TEXT NOT NULL,
                   installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
                   success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)",
            )
            .await;
        site.start().await.stop().await;
        assert_eq!(table.number("SELECT count(*) FROM daemon WHERE ready_at IS NOT NULL").await, 1);
    }

    #[tokio::test]
    async fn a_kill_during_the_first_start_leaves_nothing_half_made() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        for file in ["queue.db.lock", "queue.db", "queue.db-wal", "queue.db-shm"] {
            let site = Site::new(&trigger("t", &far, "call_mode = \"FireAndForget\""));
            let daemon = site.spawn();
            let made = async {
                while !site.path(file).exists() {
                    tokio::task::yield_now().await;
                }
            };
            bounded(made).await;
            daemon.kill().await;
            let daemon = site.start().await;
            let mut table = site.table().await;
            table.run(INSERT).await;
            table.meets(1, "dispatched").await;
            daemon.stop().await;
            assert_eq!(table.text("PRAGMA integrity_check").await, "ok");
        }
    }
}

mod intake {
    use super::*;

    #[tokio::test]
    async fn what_others_insert_is_taken_up_without_the_fallback_poll() {
        const ROWS: usize = 50;
        /// Half a fallback poll: what took longer was not noticed.
        const SLOW: Duration = Duration::from_secs(5);
        /// Not noticed because the producer's disk took longer than the daemon looks for its commit.
        const SLOW_DISK: usize = 5;
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&format!(
            "[dispatch]\nfallback_poll = \"10s\"\n{}",
            trigger("t", &far, "call_mode = \"FireAndForget\"")
        ));
        let daemon = site.start().await;
        let mut waits = Vec::new();
        let mut table = site.table().await;
        for nth in 1..=ROWS {
            // Some producers close their connection each time, as a shell does.
            if nth % 5 == 0 {
                table.close().await;
                table = site.table().await;
            }
            table.run("PRAGMA synchronous = FULL").await;
            let inserted = monotonic();
            table.run(INSERT).await;
            bounded(far.seen(nth)).await;
            waits.push(inserted.elapsed());
        }
        waits.sort_unstable();
        let slow = waits.iter().filter(|wait| **wait >= SLOW).count();
        eprintln!("from INSERT to the far end: median {:?}, worst {:?}", waits[ROWS / 2], waits[ROWS - 1]);
        assert!(slow <= SLOW_DISK, "{waits:?}");
        daemon.stop().await;
    }

    #[tokio::test]
    async fn twenty_thousand_rows_at_once_are_each_fired_once_in_flat_memory() {
        const ROWS: usize = 20_000;
        const MOST_KIB: u64 = 100 * 1024;
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&format!("{QUIET}{}", trigger("t", &far, "call_mode = \"FireAndForget\"")));
        let daemon = site.start().await;
        let mut table = site.table().await;
        let before = daemon.peak_memory();
        let begun = monotonic();
        table.run(many("t", ROWS)).await;
        for tenth in 1..=10 {
            bounded(far.seen(tenth * ROWS / 10)).await;
        }
        table.until(&count("triggering"), 0).await;
        let (took, peak) = (begun.elapsed(), daemon.peak_memory());
        let log = daemon.stop().await;
        eprintln!("{ROWS} rows in {took:?}; peak memory {before} KiB idle, {peak} KiB after");
        assert!(peak < MOST_KIB, "{peak} KiB");
        assert!(!log.contains("ERROR") && !log.contains("WARN triggerd::dispatch"), "{log}");
        assert_eq!(table.number(count("dispatched")).await, i64::try_from(ROWS).unwrap());
        let mut fired = fired(&far);
        fired.sort_unstable();
        assert!(fired.iter().copied().eq(1..=i64::try_from(ROWS).unwrap()), "each once");
    }

    #[tokio::test]
    async fn a_dead_far_end_delays_no_other_trigger() {
        const ROWS: usize = 1000;
        let dead = FarEnd::start(|_| silence()).await;
        let alive = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&format!(
            "{QUIET}{}{}",
            trigger("a", &dead, "call_mode = \"FireAndForget\""),
            trigger("t", &alive, "call_mode = \"FireAndForget\"")
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        let mut drains = Vec::new();
        for nth in 1..=2 {
            let (begun, used) = (monotonic(), daemon.cpu_time());
            table.run(many("t", ROWS)).await;
            bounded(alive.seen(nth * ROWS)).await;
            let left = "SELECT count(*) FROM requests WHERE trigger_name = 't' AND (state = 'pending' OR state = 'triggering')";
            table.until(left, 0).await;
            drains.push((begun.elapsed(), daemon.cpu_time().saturating_sub(used)));
            if nth == 1 {
                table.run(many("a", 10_000)).await;
                table.until(&count("triggering"), 256).await;
            }
        }
        let hanging =
            "SELECT count(*) FROM requests WHERE trigger_name = 'a' AND state IN ('pending', 'triggering')";
        assert_eq!(table.number(hanging).await, 10_000, "all end while the dead one's still hang");
        let ((alone, alone_cpu), (beside, beside_cpu)) = (drains[0], drains[1]);
        eprintln!(
            "{ROWS} rows: {alone:?} (processor {alone_cpu:?}) alone, {beside:?} ({beside_cpu:?}) beside 10,000 of a dead far end"
        );
        assert!(
            beside < 3 * alone + Duration::from_secs(2),
            "{alone:?} alone, {beside:?} beside a dead far end"
        );
        daemon.kill().await;
    }

    #[tokio::test]
    async fn what_cannot_go_on_costs_no_processor_time() {
        // Short of places for held calls, and not.
        for max_long_polls in [1, 100] {
            idles(max_long_polls).await;
        }
    }

    async fn idles(max_long_polls: usize) {
        // One trigger for each reason why ready rows wait.
        let silent = FarEnd::start(|_| silence()).await;
        let held = FarEnd::start(|seen| match seen.method.as_str() {
            "POST" => Answer::status(303).header("Location", "/leg"),
            _ => silence(),
        })
        .await;
        let refusing = FarEnd::start(|_| Answer::status(401)).await;
        let astray =
            FarEnd::start(|_| Answer::status(202).header("Location", "http://elsewhere.invalid/")).await;
        let alive = FarEnd::start(|_| Answer::status(200)).await;
        let configuration = |site: &Site| {
            let token = site.path("token").display().to_string();
            [
                format!(
                    "[dispatch]\nmax_per_origin = 1\nmax_long_polls = {max_long_polls}\nfallback_poll = \"10s\"\n{QUIET}"
                ),
                format!("[credentials.key]\nkind = \"bearer\"\ntoken = {{ file = \"{token}\" }}\n"),
                trigger("silent", &silent, ""),
                trigger("held", &held, "call_mode = \"LongPolling\""),
                trigger("refused", &refusing, "credential = \"key\""),
                trigger("astray", &astray, "max_concurrent = 1"),
                trigger("paused", &alive, ""),
                trigger("t", &alive, "call_mode = \"FireAndForget\""),
            ]
            .concat()
        };
        let site = Site::new("");
        site.write("token", "x");
        site.configure(&[configuration(&site), trigger("gone", &alive, "")].concat());
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run("UPDATE triggers SET paused = 1 WHERE name = 'paused'").await;
        site.configure(&configuration(&site));
        for name in ["silent", "held", "refused", "astray", "paused"] {
            table.run(many(name, 20)).await;
        }
        table.run("BEGIN").await;
        table.run(many("gone", 20)).await;
        table.run("UPDATE triggers SET active = 0 WHERE name = 'gone'").await;
        table.run("COMMIT").await;
        daemon.signal(Signal::HUP);
        daemon.logged("configuration reloaded").await;
        table
            .until("SELECT count(*) FROM requests WHERE trigger_name = 'silent' AND state = 'triggering'", 4)
            .await;
        table.until("SELECT count(*) FROM requests WHERE trigger_name = 'astray' AND error_code = 'forbidden_origin'", 1).await;
        bounded(held.seen(2)).await;
        // Three 401s: the probe after the second one was refused, too.
        bounded(refusing.seen(3)).await;
        let (used, begun) = (daemon.cpu_time(), monotonic());
        let later = soon(Duration::from_secs(1));
        table.run(format!("INSERT INTO requests (trigger_name, run_at) VALUES ('t', {later})")).await;
        bounded(alive.seen(1)).await;
        let (used, waited) = (daemon.cpu_time().saturating_sub(used), begun.elapsed());
        assert!(used < waited / 4, "{used:?} of {waited:?} while there was nothing to do");
        assert_eq!(alive.all().len(), 1);
        daemon.kill().await;
    }

    #[tokio::test]
    async fn held_calls_may_be_more_than_the_soft_limit_of_open_files() {
        const CALLS: usize = 120;
        let far = FarEnd::start(|_| silence()).await;
        let alive = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&format!(
            "[dispatch]\nmax_in_flight = 20\nmax_long_polls = 200\n{}{}",
            trigger("held", &far, "call_mode = \"LongPolling\""),
            trigger("t", &alive, "call_mode = \"FireAndForget\"")
        ));
        let daemon = site.spawn_with("-S -n 64");
        daemon.logged("triggerd::daemon: ready").await;
        let mut table = site.table().await;
        table.run(many("held", CALLS)).await;
        bounded(far.seen(CALLS)).await;
        table.run(INSERT).await;
        table.until(&count("dispatched"), 1).await;
        daemon.kill().await;

        let daemon = site.spawn_with("-n 64");
        daemon.logged("at most 64 files may be open, but [dispatch] allows for 284").await;
        daemon.kill().await;
    }

    #[tokio::test]
    async fn producers_that_insert_all_at_once_lose_nothing() {
        const PRODUCERS: usize = 4;
        const ROWS: usize = 50;
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&format!(
            "[dispatch]\nfallback_poll = \"10s\"\n{QUIET}{}",
            trigger("t", &far, "call_mode = \"FireAndForget\"")
        ));
        let daemon = site.start().await;
        let mut producers = tokio::task::JoinSet::new();
        for _ in 0..PRODUCERS {
            let mut table = site.table().await;
            producers.spawn(async move {
                for _ in 0..ROWS {
                    table.run(INSERT).await;
                }
            });
        }
        bounded(producers.join_all()).await;
        let mut table = site.table().await;
        table.until(&count("dispatched"), i64::try_from(PRODUCERS * ROWS).unwrap()).await;
        daemon.stop().await;
        assert_eq!(far.all().len(), PRODUCERS * ROWS);
    }

    #[tokio::test]
    async fn bad_rows_end_alone() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&format!(
            "[dispatch]\nmax_per_origin = 1\nfallback_poll = \"10s\"\n{}",
            trigger("t", &far, "call_mode = \"FireAndForget\"\nmax_concurrent = 1")
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        // A producer that has switched off everything that would have told it.
        let drop =
            "SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_schema WHERE type = 'trigger'";
        let drop = table.text(drop).await;
        table
            .run(format!(
                "PRAGMA ignore_check_constraints = ON; BEGIN; {drop};
                 INSERT INTO requests (trigger_name, arguments) VALUES ('t', '{{}}');
                 INSERT INTO requests (trigger_name, arguments) VALUES
                   ('t', '[1]'), ('t', CAST(x'7b22ff227d' AS TEXT)), ('t', x'7b7d'), ('t', 'x'), ('nobody', '{{}}'), (x'ff', '{{}}');
                 INSERT INTO requests (trigger_name, priority) VALUES ('t', 1000);
                 INSERT INTO requests (trigger_name, call_mode) VALUES ('t', 'x');
                 INSERT INTO requests (trigger_name, run_at) VALUES ('t', 5);
                 INSERT INTO requests (trigger_name, arguments) VALUES ('t', '{{}}');
                 COMMIT"
            ))
            .await;
        table.until(&count("dispatched"), 2).await;
        table
            .until(
                "SELECT count(*) FROM requests WHERE state = 'rejected' AND error_code = 'invalid_request'",
                9,
            )
            .await;
        daemon.stop().await;
        assert_eq!(fired(&far), [1, 11]);
    }

    #[tokio::test]
    async fn rows_that_somebody_spoils_while_they_are_with_the_far_end_end_uncertain_and_free_their_place() {
        let far = FarEnd::start(|seen| match seen.target.as_str() {
            "/fire" => Answer::status(202).header("Location", "/status"),
            _ => Answer::status(200),
        })
        .await;
        let keys = "max_concurrent = 1";
        let site = Site::new(&trigger("t", &far, keys));
        let mut daemon = site.start().await;
        let mut table = site.table().await;
        let spoil = [
            "status_uri = 'nowhere'",
            "status_uri = x'00ff'",
            "progress = '{\"waits\":'",
            "traceparent = 'x', state = 'collecting'",
            "attempt = 'many'",
        ];
        for (n, column) in spoil.iter().enumerate() {
            let id = i64::try_from(n + 1).unwrap();
            table.run(INSERT).await;
            table.meets(id, "polling").await;
            // Before a start as well as in the middle of things.
            if n % 2 == 0 {
                daemon.kill().await;
                table.run(format!("UPDATE requests SET {column} WHERE id = {id}")).await;
                daemon = site.start().await;
            } else {
                table.run(format!("UPDATE requests SET {column} WHERE id = {id}")).await;
            }
            table.meets(id, "uncertain invalid_request").await;
            daemon.logged(&format!("request {id} cannot be read any more and is uncertain")).await;
        }
        daemon.stop().await;
        assert_eq!(fired(&far), [1, 2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn a_row_that_is_spoiled_while_it_is_fired_stops_no_start() {
        let far = FarEnd::start(|_| silence()).await;
        let site = Site::new(&trigger("t", &far, ""));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(INSERT).await;
        bounded(far.seen(1)).await;
        daemon.kill().await;
        table.run("UPDATE requests SET attempt = 'one', error_code = 'nonsense'").await;
        let daemon = site.start().await;
        table.meets(1, "uncertain invalid_request").await;
        daemon.stop().await;
        assert_eq!(far.all().len(), 1);
    }

    #[tokio::test]
    async fn a_producer_that_keeps_the_table_locked_costs_time_and_nothing_else() {
        let hold = Hold::new();
        let holding = hold.clone();
        let far = FarEnd::start(move |_| Answer::status(200).held(&holding)).await;
        let site = Site::new(&trigger("t", &far, "call_mode = \"FireAndForget\""));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(INSERT).await;
        bounded(far.seen(1)).await;
        table.run("BEGIN IMMEDIATE").await;
        hold.release();
        // Longer than the daemon waits for a lock.
        daemon.logged("nothing is lost, next try in").await;
        table.run(INSERT).await;
        table.run("COMMIT").await;
        table.until(&count("dispatched"), 2).await;
        daemon.stop().await;
        assert_eq!(fired(&far), [1, 2]);
        assert_eq!(table.number("SELECT count(*) FROM attempts").await, 2);
    }

    #[tokio::test]
    async fn a_place_that_becomes_free_is_used_by_every_trigger_of_the_origin() {
        // Fewer places than triggers: each is short of one most of the time.
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let names = ["a", "b", "c", "d", "e", "f"];
        let triggers: String =
            names.iter().map(|name| trigger(name, &far, "call_mode = \"FireAndForget\"")).collect();
        let site = Site::new(&format!("[dispatch]\nmax_per_origin = 1\n{QUIET}{triggers}"));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run("BEGIN").await;
        for name in names {
            table.run(many(name, 40)).await;
        }
        table.run("COMMIT").await;
        table.until(&count("dispatched"), 240).await;
        daemon.stop().await;
    }

    #[tokio::test]
    async fn higher_priority_goes_first_then_ready_time_then_id() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&format!(
            "[dispatch]\nmax_per_origin = 1\n{}",
            trigger("t", &far, "call_mode = \"FireAndForget\"")
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        let (now, before) = (soon(Duration::ZERO), soon(Duration::ZERO) - 5000);
        table
            .run(format!(
                "INSERT INTO requests (trigger_name, priority, run_at) VALUES
                 ('t', 0, {now}), ('t', -100, {before}), ('t', 0, {before}), ('t', 100, {now}),
                 ('t', 7, {now}), ('t', 7, {now}), ('t', 0, {before}), ('t', 0, {now})"
            ))
            .await;
        bounded(far.seen(8)).await;
        assert_eq!(fired(&far), [4, 5, 6, 3, 7, 1, 8, 2]);
        daemon.stop().await;
    }

    #[tokio::test]
    async fn run_at_is_not_early() {
        let times = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&times);
        let far = FarEnd::start(move |_| {
            seen.lock().unwrap().push(SystemClock.now().0);
            Answer::status(200)
        })
        .await;
        let site = Site::new(&format!(
            "[dispatch]\nfallback_poll = \"10s\"\n{}",
            trigger("t", &far, "call_mode = \"FireAndForget\"")
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        let run_at: Vec<i64> = (1..=20).map(|n| soon(Duration::from_millis(25 * n))).collect();
        for at in run_at.iter().rev() {
            table.run(format!("INSERT INTO requests (trigger_name, run_at) VALUES ('t', {at})")).await;
        }
        bounded(far.seen(20)).await;
        let times = times.lock().unwrap().clone();
        let lag: Vec<i64> = times.iter().zip(&run_at).map(|(seen, at)| seen - at).collect();
        assert!(lag.iter().all(|lag| *lag >= 0), "{lag:?}");
        eprintln!("from run_at to the far end, in ms: {lag:?}");
        daemon.stop().await;
    }

    #[tokio::test]
    async fn no_more_than_max_concurrent_are_with_the_far_end() {
        let (active, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (now, peak) = (Arc::clone(&active), Arc::clone(&most));
        let far = FarEnd::start(move |seen| match seen.target.split('/').nth(1) {
            Some("fire") => {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                Answer::status(202).header("Location", &format!("/status/{}", seen.order))
            }
            Some("status") => Answer::status(303).header("Location", "/output"),
            _ => {
                now.fetch_sub(1, Ordering::SeqCst);
                Answer::status(200)
            }
        })
        .await;
        let site = Site::new(&trigger("t", &far, "max_concurrent = 2"));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(many("t", 5)).await;
        table.until(&count("succeeded"), 5).await;
        // A start counts what it finds, too.
        table.run(many("t", 8)).await;
        table.until("SELECT count(*) FROM requests WHERE state = 'polling' AND id > 5", 2).await;
        daemon.kill().await;
        let daemon = site.start().await;
        table.until(&count("succeeded"), 13).await;
        daemon.stop().await;
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }
}

mod stopping {
    use super::*;

    #[tokio::test]
    async fn a_stop_hangs_up_polls_gives_back_what_was_not_sent_and_waits_for_firings() {
        let polled = accepting(silence).await;
        let held = FarEnd::start(|seen| match seen.method.as_str() {
            "POST" => Answer::status(303).header("Location", "/leg").then(Then::Close),
            _ => silence(),
        })
        .await;
        let hold = Hold::new();
        let holding = hold.clone();
        let fired = FarEnd::start(move |_| accepted().held(&holding)).await;
        let site = Site::new(&format!(
            "[dispatch]\nmax_per_origin = 1\n{}{}{}",
            trigger("polled", &polled, ""),
            trigger("held", &held, "call_mode = \"LongPolling\""),
            trigger("t", &fired, ""),
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table
            .run("INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('t'), ('t'), ('t'), ('polled'), ('held')")
            .await;
        // The second request of each is the poll; the connection of its firing is closed by then, or soon.
        for far in [&polled, &held] {
            bounded(far.seen(2)).await;
            bounded(far.closed(1)).await;
        }
        bounded(fired.seen(1)).await;
        table.until(&count("triggering"), 4).await;
        daemon.signal(Signal::TERM);
        for far in [&polled, &held] {
            bounded(far.closed(2)).await;
        }
        let unsent = "SELECT count(*) FROM requests WHERE trigger_name = 't' AND state = 'pending' AND attempt = 0 \
                      AND started_at IS NULL AND deadline_at IS NULL AND due_at IS NULL";
        table.until(unsent, 4).await;
        assert_eq!(table.fate(1).await, "triggering", "its answer is waited for");
        hold.release();
        let ended = bounded(daemon.ended()).await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(
            !ended.log.contains("WARN triggerd::dispatch") && !ended.log.contains("ERROR"),
            "{}",
            ended.log
        );
        assert_eq!(table.fate(1).await, "polling");
        assert_eq!(table.number(count("polling")).await, 3);
        assert_eq!(fired.all().len(), 1);
        assert_eq!(table.number("SELECT count(*) FROM attempts").await, 3);
    }

    #[tokio::test]
    async fn a_firing_that_outlasts_the_grace_is_judged_at_the_next_start() {
        let far = FarEnd::start(|_| silence()).await;
        let site = Site::new(&format!("[dispatch]\nshutdown_grace = \"100ms\"\n{}", trigger("t", &far, "")));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(INSERT).await;
        bounded(far.seen(1)).await;
        let log = daemon.stop().await;
        assert!(log.contains("stopped before 1 firings had ended"), "{log}");
        assert_eq!(table.fate(1).await, "triggering");
        let daemon = site.start().await;
        table.meets(1, "uncertain interrupted").await;
        daemon.stop().await;
        assert_eq!(far.all().len(), 1);
    }

    #[tokio::test]
    async fn a_stop_while_the_table_is_locked_ends_and_forgets_nothing() {
        let hold = Hold::new();
        let holding = hold.clone();
        let far = FarEnd::start(move |_| Answer::status(200).held(&holding)).await;
        let keys = "call_mode = \"FireAndForget\"";
        let site =
            Site::new(&format!("[dispatch]\nshutdown_grace = \"100ms\"\n{}", trigger("t", &far, keys)));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(INSERT).await;
        bounded(far.seen(1)).await;
        table.run("BEGIN IMMEDIATE").await;
        hold.release();
        daemon.logged("triggering to dispatched").await;
        daemon.signal(Signal::TERM);
        daemon.logged("stopped before 1 firings had ended").await;
        table.run("ROLLBACK").await;
        let ended = bounded(daemon.ended()).await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        // The commit was under way, and still happens.
        assert_eq!(table.fate(1).await, "dispatched");
    }

    #[tokio::test]
    async fn a_second_signal_ends_it_at_once() {
        for second in [Signal::TERM, Signal::INT] {
            let far = FarEnd::start(|_| silence()).await;
            // The grace is longer than the test may take.
            let site =
                Site::new(&format!("[dispatch]\nshutdown_grace = \"10m\"\n{}", trigger("t", &far, "")));
            let daemon = site.start().await;
            let mut table = site.table().await;
            table.run(INSERT).await;
            bounded(far.seen(1)).await;
            daemon.signal(Signal::TERM);
            daemon.logged("stopping: waits for 1 firings").await;
            daemon.signal(second);
            let ended = bounded(daemon.ended()).await;
            assert_eq!(ended.code, Some(0), "{}", ended.log);
            assert_eq!(table.fate(1).await, "triggering");
        }
    }

    #[tokio::test]
    async fn a_stop_under_load_loses_nothing_and_the_next_start_goes_on() {
        const ROWS: usize = 600;
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&format!(
            "[dispatch]\nmax_per_origin = 4\n{QUIET}{}",
            trigger("t", &far, "call_mode = \"FireAndForget\"")
        ));
        let mut daemon = site.start().await;
        let mut table = site.table().await;
        table.run(many("t", ROWS)).await;
        for nth in 1..=3 {
            bounded(far.seen(nth * ROWS / 4)).await;
            daemon.stop().await;
            assert_eq!(table.number(count("triggering")).await, 0);
            daemon = site.start().await;
        }
        table.until(&count("dispatched"), i64::try_from(ROWS).unwrap()).await;
        daemon.stop().await;
        assert_eq!(far.all().len(), ROWS);
        assert_eq!(
            table.number("SELECT max(attempt) FROM requests").await,
            1,
            "what was given back is not charged"
        );
    }
}

mod reloading {
    use super::*;

    #[tokio::test]
    async fn a_reload_adds_and_changes_triggers() {
        let (old, new) =
            (FarEnd::start(|_| Answer::status(200)).await, FarEnd::start(|_| Answer::status(200)).await);
        let fire_and_forget = |name, far| trigger(name, far, "call_mode = \"FireAndForget\"");
        let site = Site::new(&fire_and_forget("t", &old));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(INSERT).await;
        table.meets(1, "dispatched").await;
        let early = table.refused("INSERT INTO requests (trigger_name) VALUES ('u')").await;
        assert!(early.contains("unknown_trigger"), "{early}");
        site.configure(&[fire_and_forget("t", &new), fire_and_forget("u", &new)].concat());
        daemon.signal(Signal::HUP);
        table.until("SELECT count(*) FROM triggers WHERE active = 1", 2).await;
        daemon.logged("configuration reloaded: 2 triggers").await;
        table.run("INSERT INTO requests (trigger_name) VALUES ('u')").await;
        table.meets(2, "dispatched").await;
        table.run(INSERT).await;
        table.meets(3, "dispatched").await;
        daemon.stop().await;
        assert_eq!((old.all().len(), new.all().len()), (1, 2));
    }

    #[tokio::test]
    async fn a_broken_configuration_is_refused_and_the_old_one_stays() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&trigger("t", &far, "call_mode = \"FireAndForget\""));
        let daemon = site.start().await;
        let mut table = site.table().await;
        site.configure("[triggers.t]\nurl = \"ftp://x\"\nmax_colours = 3\n");
        daemon.signal(Signal::HUP);
        for problem in ["triggers.t.url: ", "triggers.t.max_colours: ", "the old one stays in force"] {
            daemon.logged(problem).await;
        }
        site.write("triggerd.toml", "[triggers.t\n");
        daemon.signal(Signal::HUP);
        daemon.logged("line 1").await;
        table.run(INSERT).await;
        table.meets(1, "dispatched").await;
        assert_eq!(table.number("SELECT count(*) FROM triggers WHERE active = 1").await, 1);
        daemon.stop().await;
    }

    #[tokio::test]
    async fn reloads_under_load_neither_lose_nor_repeat_a_request() {
        const ROWS: usize = 400;
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let keys = "call_mode = \"FireAndForget\"";
        let configuration = |connections: usize| {
            format!("[dispatch]\nmax_per_origin = {connections}\n{QUIET}{}", trigger("t", &far, keys))
        };
        let site = Site::new(&configuration(4));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(many("t", ROWS)).await;
        for nth in 1..=10 {
            site.configure(&configuration(1 + nth % 8));
            daemon.signal(Signal::HUP);
            bounded(far.seen(nth * ROWS / 12)).await;
        }
        table.until(&count("dispatched"), i64::try_from(ROWS).unwrap()).await;
        daemon.stop().await;
        assert_eq!(far.all().len(), ROWS);
        assert_eq!(table.number("SELECT max(attempt) FROM requests").await, 1);
    }

    #[tokio::test]
    async fn rows_of_a_trigger_that_left_the_configuration_wait() {
        let hold = Hold::new();
        let holding = hold.clone();
        let far = FarEnd::start(move |seen| match seen.target.as_str() {
            "/fire" => accepted(),
            "/status" if seen.order == 1 => Answer::status(200).held(&holding),
            "/status" => Answer::status(303).header("Location", "/output"),
            _ => Answer::status(200).body("done"),
        })
        .await;
        let other = FarEnd::start(|_| Answer::status(200)).await;
        let t = trigger("t", &far, "max_concurrent = 1");
        let u = trigger("u", &other, "call_mode = \"FireAndForget\"");
        let site = Site::new(&[t.as_str(), &u].concat());
        let daemon = site.start().await;
        let mut table = site.table().await;
        // One is polled, its poll on the wire; one is pending.
        table.run(format!("{INSERT}, ('t')")).await;
        bounded(far.seen(2)).await;
        site.configure(&u);
        daemon.signal(Signal::HUP);
        table.until("SELECT count(*) FROM triggers WHERE active = 1", 1).await;
        daemon.logged("configuration reloaded: 1 triggers").await;
        hold.release();
        let refused = table.refused(INSERT).await;
        assert!(refused.contains("inactive_trigger"), "{refused}");
        // Also a daemon that is started without it leaves them alone.
        for id in [3, 4] {
            let sql = format!("INSERT INTO requests (id, trigger_name) VALUES ({id}, 'u')");
            let refused = table.refused(sql).await;
            assert!(refused.contains("daemon_column"), "{refused}");
            table.run("INSERT INTO requests (trigger_name) VALUES ('u')").await;
        }
        table.until(&count("dispatched"), 2).await;
        daemon.stop().await;
        let daemon = site.start().await;
        table.run("INSERT INTO requests (trigger_name) VALUES ('u')").await;
        table.until(&count("dispatched"), 3).await;
        assert_eq!((table.fate(1).await.as_str(), table.fate(2).await.as_str()), ("polling", "pending"));
        let why = table.text("SELECT why FROM request_why WHERE id = 2").await;
        assert!(why.contains("has left the configuration"), "{why}");

        site.configure(&[t.as_str(), &u].concat());
        daemon.signal(Signal::HUP);
        for id in [1, 2] {
            table.meets(id, "succeeded").await;
        }
        daemon.stop().await;
        assert_eq!(fired(&far), [1, 2]);
    }
}

mod credentials {
    use super::*;

    const KEY: &str = "credential = \"key\"";

    fn configuration(site_file: &str, triggers: &str) -> String {
        format!("[credentials.key]\nkind = \"bearer\"\ntoken = {{ file = \"{site_file}\" }}\n{triggers}")
    }

    /// A site whose token is in the file `token`.
    fn site(token: &str, triggers: &str) -> Site {
        let site = Site::new("");
        site.write("token", token);
        let file = site.path("token");
        site.configure(&configuration(&file.display().to_string(), triggers));
        site
    }

    /// Whom it knows by this token it accepts.
    fn knows(seen: &Seen, token: &str) -> Answer {
        if seen.header("authorization") == Some(&format!("Bearer {token}")) {
            Answer::status(200)
        } else {
            Answer::status(401)
        }
    }

    #[tokio::test]
    async fn one_401_is_answered_by_firing_again_with_the_secret_read_again() {
        let far = FarEnd::start(|seen| knows(seen, "new")).await;
        let keys =
            format!("call_mode = \"FireAndForget\"\n{KEY}\nretry.max_refusals = 1\nretry.max_attempts = 1");
        let plain = format!("[triggers.t]\nurl = \"{}\"\n{keys}\n", far.url("/fire"));
        let site = site("old", &plain);
        let daemon = site.start().await;
        let mut table = site.table().await;
        site.write("token", "new");
        table.run(INSERT).await;
        table.meets(1, "dispatched").await;
        daemon.stop().await;
        assert_eq!(far.all().len(), 2);
        let attempts = "SELECT group_concat(outcome || ' ' || http_status, ', ') FROM attempts";
        assert_eq!(table.text(attempts).await, "refused 401, accepted 200");
    }

    #[tokio::test]
    async fn a_second_401_holds_every_row_back_until_a_reload_frees_them_at_once() {
        let far = FarEnd::start(|seen| knows(seen, "new")).await;
        let site = site("old", &trigger("t", &far, &format!("call_mode = \"FireAndForget\"\n{KEY}")));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(INSERT).await;
        // Two firings, a probe after one second and one two seconds later. The next is four seconds away.
        bounded(far.seen(4)).await;
        let refused = monotonic();
        table.meets(1, "pending credential_refused").await;
        table.run(many("t", 3)).await;
        // Those that were never fired are told what the first one met.
        for id in 1..=4 {
            table.meets(id, "pending credential_refused").await;
            let why = table.text(&format!("SELECT why FROM request_why WHERE id = {id}")).await;
            assert!(why.contains("refused: waits until it works"), "{why}");
        }
        table.until("SELECT count(*) FROM trigger_status WHERE waiting_for = 'credential'", 1).await;
        site.write("token", "new");
        daemon.signal(Signal::HUP);
        table.until(&count("dispatched"), 4).await;
        assert!(refused.elapsed() < Duration::from_secs(4), "a probe did it, not the reload");
        daemon.stop().await;
        assert_eq!(far.all().len(), 8);
    }

    #[tokio::test]
    async fn rows_wait_for_a_secret_that_cannot_be_read_and_say_so() {
        let far = FarEnd::start(|seen| knows(seen, "new")).await;
        let site = site("old", &trigger("t", &far, &format!("call_mode = \"FireAndForget\"\n{KEY}")));
        std::fs::remove_file(site.path("token")).unwrap();
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(many("t", 2)).await;
        table.meets(1, "pending credential_unavailable").await;
        table.meets(2, "pending credential_unavailable").await;
        table
            .until("SELECT count(*) FROM trigger_status WHERE waiting_on = 'credential_unavailable'", 1)
            .await;
        let why = table.text("SELECT why FROM request_why WHERE id = 2").await;
        assert!(why.contains("waits until its secret can be read"), "{why}");
        site.write("token", "new");
        daemon.signal(Signal::HUP);
        table.until(&count("dispatched"), 2).await;
        table.until("SELECT count(*) FROM trigger_status WHERE waiting_for IS NULL", 1).await;
        daemon.stop().await;
        assert_eq!(far.all().len(), 2);
        let why = "SELECT count(*) FROM daemon WHERE stopped_at IS NOT NULL";
        assert_eq!(table.number(why).await, 1);
    }

    #[tokio::test]
    async fn rows_held_back_by_a_credential_go_on_when_a_probe_is_welcome() {
        let accepts = Arc::new(AtomicBool::new(false));
        let accepting = Arc::clone(&accepts);
        let far =
            FarEnd::start(move |_| Answer::status(if accepting.load(Ordering::SeqCst) { 200 } else { 401 }))
                .await;
        let keys = format!("call_mode = \"FireAndForget\"\n{KEY}");
        let site = site(
            "x",
            &format!(
                "[dispatch]\nmax_per_origin = 4\nfallback_poll = \"10s\"\n{}",
                trigger("t", &far, &keys)
            ),
        );
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(many("t", 20)).await;
        for _ in 0..20 {
            table.run(INSERT).await;
        }
        daemon.logged("only probes from now on").await;
        accepts.store(true, Ordering::SeqCst);
        table.until(&count("dispatched"), 40).await;
        daemon.stop().await;
    }
}

mod exit_codes {
    use super::*;

    async fn refused(site: &Site, code: i32, words: &str) {
        let ended = bounded(site.spawn().ended()).await;
        assert_eq!(ended.code, Some(code), "{}", ended.log);
        let last = ended.log.lines().last().unwrap_or_default();
        assert!(last.starts_with("triggerd: ") && last.contains(words), "{}", ended.log);
    }

    #[tokio::test]
    async fn a_second_daemon_is_75_and_the_first_goes_on() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&trigger("t", &far, "call_mode = \"FireAndForget\""));
        let daemon = site.start().await;
        refused(&site, 75, "another daemon holds the database").await;
        let mut table = site.table().await;
        table.run(INSERT).await;
        table.meets(1, "dispatched").await;
        daemon.kill().await;
        // The lock goes with the process that held it.
        site.start().await.stop().await;
    }

    #[tokio::test]
    async fn a_configuration_that_cannot_be_used_is_78() {
        let site = Site::new("[triggers.t]\nurl = \"ftp://x\"\n");
        refused(&site, 78, "triggers.t.url").await;
        site.write("triggerd.toml", "[database]\nurl = \"postgres://x/y\"\n");
        refused(&site, 78, "database.url").await;
    }

    #[tokio::test]
    async fn a_damaged_database_is_65() {
        let site = Site::new("");
        site.write("queue.db", vec![b'x'; 8192]);
        refused(&site, 65, "damaged or not a triggerd database").await;

        // Sound at the front, and garbage where the tables are.
        let site = Site::new("");
        site.start().await.stop().await;
        let mut bytes = std::fs::read(site.path("queue.db")).unwrap();
        bytes[4096..].fill(0xa5);
        site.write("queue.db", bytes);
        refused(&site, 65, "damaged or not a triggerd database").await;
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_65_and_stays_as_it_is() {
        let site = Site::new("");
        site.start().await.stop().await;
        let mut table = site.table().await;
        table.run("PRAGMA user_version = 99").await;
        table.close().await;
        let before = std::fs::read(site.path("queue.db")).unwrap();
        refused(&site, 65, "install the newer triggerd").await;
        assert!(std::fs::read(site.path("queue.db")).unwrap() == before, "the file was changed");
    }

    #[tokio::test]
    async fn a_database_of_somebody_else_is_65_and_stays_as_it_is() {
        for sql in ["CREATE TABLE t (c); PRAGMA application_id = 7", "CREATE TABLE t (c)"] {
            let site = Site::new("");
            // An empty file is an empty database, with a rollback journal as SQLite makes them.
            site.write("queue.db", "");
            let mut table = site.table().await;
            table.run(sql).await;
            table.close().await;
            let before = std::fs::read(site.path("queue.db")).unwrap();
            refused(&site, 65, "application_id is ").await;
            assert!(std::fs::read(site.path("queue.db")).unwrap() == before, "{sql}: the file was changed");
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_69() {
        // Not even by root.
        let site = Site::new("");
        for folder in ["/sys", "/nonexistent/folder"] {
            site.write("triggerd.toml", format!("[database]\nurl = \"sqlite:{folder}/queue.db\"\n"));
            refused(&site, 69, &format!("{folder}/queue.db")).await;
        }
    }
}

mod producers {
    use super::*;

    async fn cancel(table: &mut Table, id: i64) {
        table.run(format!("UPDATE requests SET cancel_requested = 1 WHERE id = {id}")).await;
    }

    #[tokio::test]
    async fn a_cancel_ends_what_is_pending_polled_or_held_at_once() {
        let polled = accepting(silence).await;
        let held = FarEnd::start(|seen| match seen.method.as_str() {
            "POST" => Answer::status(303).header("Location", "/leg").then(Then::Close),
            _ => silence(),
        })
        .await;
        let site = Site::new(&format!(
            "[dispatch]\nfallback_poll = \"10s\"\n{}{}",
            trigger("t", &polled, ""),
            trigger("held", &held, "call_mode = \"LongPolling\"")
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        let later = soon(Duration::from_secs(3600));
        table.run(format!("INSERT INTO requests (trigger_name, run_at) VALUES ('t', {later})")).await;
        cancel(&mut table, 1).await;
        table.meets(1, "cancelled cancelled_by_request").await;
        for (id, name, far) in [(2, "t", &polled), (3, "held", &held)] {
            table.run(format!("INSERT INTO requests (trigger_name) VALUES ('{name}')")).await;
            bounded(far.seen(2)).await;
            bounded(far.closed(1)).await;
            cancel(&mut table, id).await;
            table.meets(id, "cancelled cancelled_by_request").await;
            bounded(far.closed(2)).await;
            let kept = format!("SELECT count(*) FROM requests WHERE id = {id} AND status_uri IS NOT NULL");
            assert_eq!(table.number(kept).await, 1, "the status URI is kept");
        }
        daemon.stop().await;
        assert_eq!((polled.all().len(), held.all().len()), (2, 2));
    }

    #[tokio::test]
    async fn a_cancel_during_the_firing_waits_for_its_answer() {
        let (accept, finish) = (Hold::new(), Hold::new());
        let (hold_accept, hold_finish) = (accept.clone(), finish.clone());
        let far = FarEnd::start(move |_| accepted().held(&hold_accept)).await;
        let blocking = FarEnd::start(move |_| Answer::status(200).body("done").held(&hold_finish)).await;
        let breaks = Hold::new();
        let holding = breaks.clone();
        let broken = FarEnd::start(move |_| Answer::raw("").held(&holding).then(Then::Close)).await;
        let site = Site::new(
            &[
                trigger("t", &far, ""),
                trigger("held", &blocking, "call_mode = \"LongPolling\""),
                trigger("broken", &broken, ""),
            ]
            .concat(),
        );
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run("INSERT INTO requests (trigger_name) VALUES ('t'), ('held'), ('broken')").await;
        for far in [&far, &blocking, &broken] {
            bounded(far.seen(1)).await;
        }
        table.run("UPDATE requests SET cancel_requested = 1").await;
        breaks.release();
        // In doubt, it may not end as cancelled: a job may be running.
        table.meets(3, "uncertain connection_lost").await;
        assert_eq!(
            (table.fate(1).await.as_str(), table.fate(2).await.as_str()),
            ("triggering", "triggering")
        );
        accept.release();
        table.meets(1, "cancelled cancelled_by_request").await;
        assert!(table.text("SELECT status_uri FROM requests WHERE id = 1").await.ends_with("/status"));
        finish.release();
        table.meets(2, "succeeded").await;
        assert_eq!(table.text("SELECT output FROM results WHERE id = 2").await, "done");
        daemon.stop().await;
        assert_eq!(far.all().len(), 1, "a job that was cancelled is not polled");
    }

    #[tokio::test]
    async fn a_unique_key_is_held_until_its_request_has_ended_for_sure() {
        let hold = Hold::new();
        let holding = hold.clone();
        let far = FarEnd::start(move |seen| match seen.order {
            0 => Answer::status(200).held(&holding),
            _ => Answer::status(500),
        })
        .await;
        let site = Site::new(&trigger("t", &far, "call_mode = \"FireAndForget\""));
        let daemon = site.start().await;
        let mut table = site.table().await;
        let insert = "INSERT INTO requests (trigger_name, unique_key) VALUES ('t', 'k')";
        table.run(insert).await;
        bounded(far.seen(1)).await;
        assert!(table.refused(insert).await.contains("UNIQUE"));
        table.run(format!("{insert} ON CONFLICT DO NOTHING")).await;
        assert_eq!(table.number("SELECT count(*) FROM requests").await, 1);
        hold.release();
        table.meets(1, "dispatched").await;
        table.run(insert).await;
        table.until(&count("uncertain"), 1).await;
        assert!(table.refused(insert).await.contains("UNIQUE"), "a job may be running");
        daemon.stop().await;
    }

    #[tokio::test]
    async fn a_paused_trigger_fires_nothing_but_its_polls_go_on() {
        let hold = Hold::new();
        let holding = hold.clone();
        let far = FarEnd::start(move |seen| match seen.target.as_str() {
            "/fire" => accepted(),
            "/status" => Answer::status(303).header("Location", "/output").held(&holding),
            _ => Answer::status(200),
        })
        .await;
        let other = FarEnd::start(|_| Answer::status(200)).await;
        let site = Site::new(&format!(
            "[dispatch]\nfallback_poll = \"10s\"\n{}{}",
            trigger("t", &far, ""),
            trigger("u", &other, "call_mode = \"FireAndForget\"")
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(INSERT).await;
        bounded(far.seen(2)).await;
        table.run("UPDATE triggers SET paused = 1, paused_reason = 'maintenance' WHERE name = 't'").await;
        let expires = soon(Duration::from_millis(100));
        table
            .run(format!("{INSERT}; INSERT INTO requests (trigger_name, expires_at) VALUES ('t', {expires})"))
            .await;
        hold.release();
        table.meets(1, "succeeded").await;
        table.meets(3, "expired not_started_in_time").await;
        table.run("INSERT INTO requests (trigger_name) VALUES ('u')").await;
        table.meets(4, "dispatched").await;
        assert_eq!(table.fate(2).await, "pending");
        let why = table.text("SELECT why FROM request_why WHERE id = 2").await;
        assert!(why.contains("paused (maintenance)"), "{why}");
        // The pause is the operator's: neither a start nor a reload ends it.
        daemon.stop().await;
        let daemon = site.start().await;
        daemon.signal(Signal::HUP);
        daemon.logged("configuration reloaded").await;
        table.run("INSERT INTO requests (trigger_name) VALUES ('u')").await;
        table.meets(5, "dispatched").await;
        assert_eq!(table.fate(2).await, "pending");
        table.run("UPDATE triggers SET paused = 0 WHERE name = 't'").await;
        table.meets(2, "succeeded").await;
        daemon.stop().await;
        assert_eq!(fired(&far), [1, 2]);
    }

    #[tokio::test]
    async fn the_deadline_ends_polling_by_what_the_last_poll_said() {
        let running = accepting(|| Answer::status(200)).await;
        let failing = accepting(|| Answer::status(500)).await;
        let silent = accepting(silence).await;
        let site = Site::new(
            &[
                trigger("running", &running, ""),
                trigger("failing", &failing, ""),
                trigger("silent", &silent, ""),
                trigger("configured", &running, "deadline = \"1s\""),
            ]
            .concat(),
        );
        let daemon = site.start().await;
        let mut table = site.table().await;
        let deadline = soon(Duration::from_secs(1));
        table
            .run(format!(
                "INSERT INTO requests (trigger_name, deadline_at)
                 VALUES ('running', {deadline}), ('failing', {deadline}), ('silent', {deadline}), ('configured', NULL)"
            ))
            .await;
        table.meets(1, "expired deadline").await;
        table.meets(2, "uncertain server_error").await;
        table.meets(3, "expired deadline").await;
        table.meets(4, "expired deadline").await;
        let early = "SELECT count(*) FROM requests WHERE finished_at < deadline_at";
        assert_eq!(table.number(early).await, 0);
        daemon.stop().await;
    }
}
