//! One request and a SIGKILL at every point of its way: before and after each commit and each exchange.
//!
//! The far end lives in the test, so its ledger survives the daemon. Two means make the points exact. The far end
//! holds an answer: the daemon has sent a request and knows no more. And a producer holds the write lock: the
//! daemon has read an answer, which its log tells, but cannot store what follows from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::bounded;
use crate::support::daemon::{Daemon, Site, Table};
use crate::support::far_end::{Answer, FarEnd, Hold, Seen, Then};

/// Where the daemon is killed.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// The row is there, and no intent.
    Inserted,
    /// The intent is stored, and nothing was sent yet: another firing has the only connection.
    Intended,
    /// The exchange with this number, from 0, has reached the far end, which has not answered.
    Sent(usize),
    /// Its answer was read, but what follows from it is not stored.
    Answered(usize),
    /// This state is stored.
    Stored(&'static str),
}

/// What must have become of the request in the end.
#[derive(Debug, PartialEq)]
struct End {
    fate: String,
    firings: usize,
    /// Charged to the row.
    attempts: i64,
}

fn end(fate: &str, firings: usize, attempts: i64) -> End {
    End { fate: fate.to_owned(), firings, attempts }
}

/// Where it goes, how it is answered, what the log says once the answer is read.
type Exchange = (&'static str, fn() -> Answer, &'static str);

/// A far end that runs one remote job a firing, to the end.
struct Job {
    call_mode: &'static str,
    /// What each exchange of a run that nothing disturbs is answered with, in order.
    answers: &'static [Exchange],
    outcome: &'static str,
    output: &'static str,
}

const ASYNC: Job = Job {
    call_mode: "AsyncRequestReply",
    answers: &[
        ("/fire", || Answer::status(202).header("Location", "/status"), "triggering to polling"),
        ("/status", || Answer::status(200), "still running"),
        ("/status", || Answer::status(303).header("Location", "/output"), "polling to collecting"),
        ("/output", || Answer::status(200).body("done"), "collecting to succeeded"),
    ],
    outcome: "succeeded",
    output: "done",
};

const FIRE_AND_FORGET: Job = Job {
    call_mode: "FireAndForget",
    answers: &[("/fire", || Answer::status(202), "triggering to dispatched")],
    outcome: "dispatched",
    output: "",
};

const LONG_POLLING: Job = Job {
    call_mode: "LongPolling",
    answers: &[
        ("/fire", || Answer::status(303).header("Location", "/leg/1"), "triggering to polling"),
        ("/leg/1", || Answer::status(303).header("Location", "/leg/2"), "not ended"),
        ("/leg/2", || Answer::status(200).body("done"), "polling to succeeded"),
    ],
    outcome: "succeeded",
    output: "done",
};

impl Job {
    /// The far end of this job. The answer to the request with the number `held` waits for `hold`.
    async fn far_end(&'static self, held: Option<usize>, hold: &Hold) -> FarEnd {
        let asked = Arc::new(AtomicUsize::new(0));
        let hold = hold.clone();
        FarEnd::start(move |seen| {
            let answers: Vec<_> = self.answers.iter().filter(|(path, ..)| *path == seen.target).collect();
            let again = seen.target == "/status";
            let nth = if again { asked.fetch_add(1, Ordering::Relaxed) } else { 0 };
            let (_, answer, _) = answers[nth.min(answers.len() - 1)];
            let answer = answer();
            if held == Some(seen.order) { answer.held(&hold) } else { answer }
        })
        .await
    }

    fn configuration(&self, far: &FarEnd, repeatable: bool) -> String {
        format!(
            "[dispatch]\nmax_per_origin = 1\nfallback_poll = \"10s\"\n\
             [log]\nfilter = \"triggerd=debug\"\n\
             [triggers.t]\nurl = \"{}\"\ncall_mode = \"{}\"\nrepeatable = {repeatable}\n\
             poll = {{ initial = \"20ms\", factor = 1.0, max = \"20ms\" }}\n\
             retry = {{ initial = \"1ms\", max = \"1ms\" }}\n",
            far.url("/fire"),
            self.call_mode
        )
    }

    /// Kills at `point`, starts again, waits for the end.
    async fn killed_at(&'static self, point: Point, repeatable: bool) -> End {
        let hold = Hold::new();
        let held = match point {
            Point::Inserted | Point::Stored(_) => None,
            Point::Intended => Some(0),
            Point::Sent(n) | Point::Answered(n) => Some(n),
        };
        let far = self.far_end(held, &hold).await;
        let site = Site::new(&self.configuration(&far, repeatable));
        let daemon = site.start().await;
        let mut table = site.table().await;
        let id = self.run_to(point, &mut table, &daemon, &far, &hold).await;
        daemon.kill().await;
        // What was held goes to a connection that is closed.
        hold.release();
        match point {
            Point::Answered(_) => table.run("ROLLBACK").await,
            Point::Inserted => table.run("UPDATE triggers SET paused = 0").await,
            Point::Intended | Point::Sent(_) | Point::Stored(_) => {}
        }
        assert_eq!(table.text("PRAGMA integrity_check").await, "ok");

        let daemon = site.start().await;
        let ended = format!("SELECT count(*) FROM results WHERE id <= {id} AND is_final = 1");
        table.until(&ended, id).await;
        daemon.stop().await;
        let output = format!("SELECT CAST(body AS TEXT) FROM outputs WHERE request_id = {id}");
        if table.fate(id).await == "succeeded" {
            assert_eq!(table.text(output).await, self.output);
        }
        assert_eq!(
            table
                .number("SELECT count(*) FROM requests WHERE status_uri LIKE '%/status' AND polls = 0")
                .await,
            0,
            "a status URI was not followed"
        );
        let firings = firings(&far, id);
        let keys: Vec<_> = firings.iter().map(|seen| seen.header("idempotency-key")).collect();
        assert!(keys.windows(2).all(|two| two[0] == two[1]), "one key for all attempts: {keys:?}");
        let attempts = table.number(format!("SELECT attempt FROM requests WHERE id = {id}")).await;
        let listed = table.number(format!("SELECT count(*) FROM attempts WHERE request_id = {id}")).await;
        assert_eq!(listed, attempts, "each attempt has its row");
        End { fate: table.fate(id).await, firings: firings.len(), attempts }
    }

    /// Inserts the request and lets it go as far as `point`; its id. At [`Point::Answered`] the write lock is left held.
    async fn run_to(
        &self,
        point: Point,
        table: &mut Table,
        daemon: &Daemon,
        far: &FarEnd,
        hold: &Hold,
    ) -> i64 {
        const INSERT: &str = "INSERT INTO requests (trigger_name) VALUES ('t')";
        match point {
            Point::Inserted => {
                // Of the intent nothing is stored, wherever it would be.
                table.run(format!("UPDATE triggers SET paused = 1; {INSERT}")).await;
                assert_eq!(table.fate(1).await, "pending");
            }
            Point::Intended => {
                table.run(format!("{INSERT}, ('t')")).await;
                bounded(far.seen(1)).await;
                table.meets(2, "triggering").await;
                return 2;
            }
            Point::Sent(n) => {
                table.run(INSERT).await;
                let seen = bounded(far.seen(n + 1)).await;
                let stored =
                    "SELECT state || ' ' || coalesce(output_uri, status_uri, '') FROM requests WHERE id = 1";
                let stored = table.text(stored).await;
                let expected = far.url(&seen[n].target);
                assert!(
                    if n == 0 { stored == "triggering " } else { stored.ends_with(expected.as_str()) },
                    "{} was asked while the table said {stored}",
                    seen[n].target
                );
            }
            Point::Answered(n) => {
                table.run(INSERT).await;
                bounded(far.seen(n + 1)).await;
                table.run("BEGIN IMMEDIATE").await;
                hold.release();
                let (.., words) = self.answers[n];
                daemon.logged(words).await;
            }
            Point::Stored(state) => {
                table.run(INSERT).await;
                let sql = format!("SELECT count(*) FROM requests WHERE state = '{state}'");
                table.until(&sql, 1).await;
            }
        }
        1
    }
}

/// The firings of a request, as the far end saw them.
fn firings(far: &FarEnd, id: i64) -> Vec<Seen> {
    let key = format!("-{id}-");
    let mut all = far.all();
    all.retain(|seen| seen.header("idempotency-key").is_some_and(|value| value.contains(&key)));
    all
}

/// Each point in turn, for a trigger that may not be fired again and for one that may.
async fn check(job: &'static Job, points: &[(Point, End, End)]) {
    for (point, once, repeatable) in points {
        assert_eq!(&job.killed_at(*point, false).await, once, "{point:?}");
        assert_eq!(&job.killed_at(*point, true).await, repeatable, "{point:?}, repeatable");
    }
}

/// Killed where nothing is in doubt: it goes on as if nothing had happened, fired once.
fn undisturbed(job: &Job) -> (End, End) {
    (end(job.outcome, 1, 1), end(job.outcome, 1, 1))
}

/// Killed while the far end had it: `uncertain`, or fired a second time.
fn in_doubt(job: &Job) -> (End, End) {
    (end("uncertain interrupted", 1, 1), end(job.outcome, 2, 2))
}

fn at(point: Point, (once, repeatable): (End, End)) -> (Point, End, End) {
    (point, once, repeatable)
}

#[tokio::test]
async fn an_asynchronous_job_survives_a_kill_at_every_point_of_its_firing() {
    let job = &ASYNC;
    check(
        job,
        &[
            at(Point::Inserted, undisturbed(job)),
            at(Point::Intended, undisturbed(job)),
            at(Point::Sent(0), in_doubt(job)),
            at(Point::Answered(0), in_doubt(job)),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_asynchronous_job_is_followed_to_its_end_whenever_the_daemon_is_killed() {
    let job = &ASYNC;
    check(
        job,
        &[
            at(Point::Stored("polling"), undisturbed(job)),
            at(Point::Sent(1), undisturbed(job)),
            at(Point::Answered(1), undisturbed(job)),
            at(Point::Sent(2), undisturbed(job)),
            at(Point::Answered(2), undisturbed(job)),
            at(Point::Sent(3), undisturbed(job)),
            at(Point::Answered(3), undisturbed(job)),
            at(Point::Stored("succeeded"), undisturbed(job)),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_job_that_is_fired_and_forgotten_survives_a_kill_at_every_point() {
    let job = &FIRE_AND_FORGET;
    check(
        job,
        &[
            at(Point::Inserted, undisturbed(job)),
            at(Point::Intended, undisturbed(job)),
            at(Point::Sent(0), in_doubt(job)),
            at(Point::Answered(0), in_doubt(job)),
            at(Point::Stored("dispatched"), undisturbed(job)),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_job_that_holds_its_calls_survives_a_kill_at_every_point() {
    let job = &LONG_POLLING;
    check(
        job,
        &[
            at(Point::Inserted, undisturbed(job)),
            at(Point::Sent(0), in_doubt(job)),
            at(Point::Answered(0), in_doubt(job)),
            at(Point::Stored("polling"), undisturbed(job)),
            at(Point::Sent(1), undisturbed(job)),
            at(Point::Answered(1), undisturbed(job)),
            at(Point::Sent(2), undisturbed(job)),
            at(Point::Answered(2), undisturbed(job)),
            at(Point::Stored("succeeded"), undisturbed(job)),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_firing_that_the_far_end_holds_for_long_is_in_doubt_after_a_kill() {
    // The far end's first answer is the output: the whole job runs within the firing.
    const BLOCKING: Job = Job {
        call_mode: "LongPolling",
        answers: &[("/fire", || Answer::status(200).body("done"), "triggering to succeeded")],
        outcome: "succeeded",
        output: "done",
    };
    let job = &BLOCKING;
    check(
        job,
        &[
            at(Point::Sent(0), in_doubt(job)),
            at(Point::Answered(0), in_doubt(job)),
            at(Point::Stored("succeeded"), undisturbed(job)),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_limit_of_repeated_firings_outlives_the_daemon() {
    let far = FarEnd::start(|_| Answer::raw("").then(Then::Hang)).await;
    let site = Site::new(&format!(
        "[triggers.t]\nurl = \"{}\"\nrepeatable = true\n\
         retry = {{ max_attempts = 3, initial = \"1ms\", max = \"1ms\" }}\n",
        far.url("/fire")
    ));
    let mut daemon = site.start().await;
    let mut table = site.table().await;
    table.run("INSERT INTO requests (trigger_name) VALUES ('t')").await;
    for nth in 1..=3 {
        bounded(far.seen(nth)).await;
        daemon.kill().await;
        daemon = site.start().await;
    }
    table.meets(1, "uncertain interrupted").await;
    daemon.stop().await;
    assert_eq!(firings(&far, 1).len(), 3);
    assert_eq!(
        table.text("SELECT group_concat(outcome) FROM attempts").await,
        "ambiguous,ambiguous,ambiguous"
    );
}

/// A job that is asked for while it runs, and the daemon killed; then `sql`, and another start. What has become of it.
async fn after_a_night(sql: &str) -> (String, usize) {
    let far = FarEnd::start(|seen| match seen.target.as_str() {
        "/fire" => Answer::status(202).header("Location", "/status"),
        _ => Answer::status(200),
    })
    .await;
    let site = Site::new(&ASYNC.configuration(&far, false));
    let daemon = site.start().await;
    let mut table = site.table().await;
    table.run("INSERT INTO requests (trigger_name) VALUES ('t')").await;
    bounded(far.seen(2)).await;
    daemon.kill().await;
    table.run(sql).await;
    let daemon = site.start().await;
    table.until("SELECT count(*) FROM results WHERE is_final = 0", 0).await;
    daemon.stop().await;
    (table.fate(1).await, firings(&far, 1).len())
}

#[tokio::test]
async fn what_became_due_while_no_daemon_ran_is_done_at_the_next_start() {
    // As if the deadline had been then; producers may not move it any more.
    let late = "DROP TRIGGER requests_update; UPDATE requests SET deadline_at = created_at + 1";
    let (fate, firings) = after_a_night(late).await;
    assert_eq!((fate.as_str(), firings), ("expired deadline", 1));
    let (fate, firings) = after_a_night("UPDATE requests SET cancel_requested = 1").await;
    assert_eq!((fate.as_str(), firings), ("cancelled cancelled_by_request", 1));
}

#[tokio::test]
async fn a_cancel_while_no_daemon_ran_hides_no_doubt() {
    let far = FarEnd::start(|_| Answer::raw("").then(Then::Hang)).await;
    for repeatable in [false, true] {
        let site = Site::new(&FIRE_AND_FORGET.configuration(&far, repeatable));
        let before = far.all().len();
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run("INSERT INTO requests (trigger_name) VALUES ('t'), ('t')").await;
        bounded(far.seen(before + 1)).await;
        table.until("SELECT count(*) FROM requests WHERE state = 'triggering'", 2).await;
        daemon.kill().await;
        table.run("UPDATE requests SET cancel_requested = 1").await;
        let fired = far.all().len();
        let daemon = site.start().await;
        table.meets(1, "uncertain interrupted").await;
        // The only connection was the other's: it was surely never sent.
        table.meets(2, "cancelled cancelled_by_request").await;
        assert_eq!(
            table.text("SELECT group_concat(outcome) FROM attempts WHERE request_id = 2").await,
            "not_sent"
        );
        daemon.stop().await;
        assert_eq!(far.all().len(), fired, "nothing that is cancelled is fired again");
    }
}
