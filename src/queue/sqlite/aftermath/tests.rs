//! What follows from an end, step by step, on a database.

use sqlx::{AssertSqlSafe, Connection as _};
use url::Url;

use super::super::{Options, migrate};
use super::*;
use crate::trigger::{Hook, Trigger};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

struct Place {
    c: SqliteConnection,
    hooks: Hooks,
    _folder: tempfile::TempDir,
}

impl Place {
    /// With the triggers `t`, which has these hooks, and `u`, which takes 400 bytes of arguments.
    async fn hooked(on_end: Vec<Hook>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { path: folder.path().join("queue.db"), full: false, checkpoint: true };
        let trigger = |name: &str| Trigger::new(name, Url::parse("https://api.example/").unwrap());
        let triggers = [
            std::sync::Arc::new(Trigger { on_end, ..trigger("t") }),
            std::sync::Arc::new(Trigger { max_arguments: 400, ..trigger("u") }),
        ];
        migrate(&options, &triggers).await.unwrap();
        let c = SqliteConnection::connect_with(&options.writing()).await.unwrap();
        Self { c, hooks: Hooks::of(&triggers), _folder: folder }
    }

    async fn new() -> Self {
        Self::hooked(Vec::new()).await
    }

    async fn run(&mut self, sql: impl Into<String>) {
        let sql = sql.into();
        let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut self.c).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The first column of a query, as texts.
    async fn see(&mut self, sql: impl Into<String>) -> Vec<String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.into())).fetch_all(&mut self.c).await.unwrap();
        rows.iter().map(|row| text(row, 0).unwrap().unwrap_or_default()).collect()
    }

    /// State, code and what holds each request back.
    async fn all(&mut self) -> Vec<String> {
        self.see("SELECT state || coalesce(' ' || error_code, '') || coalesce(' ' || held_by, '') FROM requests ORDER BY id")
            .await
    }

    /// A request ends, as the writer stores it.
    async fn end(&mut self, id: i64, state: &str, code: Option<&str>) -> Followed {
        let code = code.map_or("NULL".to_owned(), |code| format!("'{code}'"));
        let set = format!("state = '{state}', error_code = {code}, finished_at = {}", NOW.0);
        self.run(format!("UPDATE requests SET {set} WHERE id = {id}")).await;
        let mut out = Followed::default();
        follow(&mut self.c, &self.hooks, &[id], NOW, &mut out).await.unwrap();
        out
    }

    async fn survey(&mut self, now: UnixMillis) -> Followed {
        let mut out = Followed::default();
        catch_up(&mut self.c, &self.hooks, now, &mut out).await.unwrap();
        out
    }

    /// The next wake-up that a survey would tell.
    async fn next(&mut self) -> Option<UnixMillis> {
        statements::next(&mut self.c, NOW).await.unwrap()
    }
}

#[tokio::test]
async fn who_waits_goes_on_or_ends_as_the_other_one_has_ended() {
    for (state, code, succeeded, ended) in [
        ("succeeded", None, "pending", "pending"),
        ("dispatched", None, "pending", "pending"),
        ("failed", Some("job_faulted"), "cancelled dependency_failed after", "pending"),
        ("rejected", Some("refused"), "cancelled dependency_failed after", "pending"),
        ("expired", Some("deadline"), "cancelled dependency_failed after", "pending"),
        ("cancelled", Some("cancelled_by_request"), "cancelled dependency_failed after", "pending"),
        ("uncertain", Some("interrupted"), "pending after", "pending after"),
    ] {
        let mut place = Place::new().await;
        place
            .run(
                "INSERT INTO requests (trigger_name) VALUES ('t');
                 INSERT INTO requests (trigger_name, after_id) VALUES ('u', 1);
                 INSERT INTO requests (trigger_name, after_id, after_when) VALUES ('u', 1, 'ended')",
            )
            .await;
        assert_eq!(place.all().await, ["pending", "pending after", "pending after"]);
        let out = place.end(1, state, code).await;
        assert_eq!(place.all().await[1..], [succeeded, ended], "{state}");
        assert_eq!(out.released.len(), usize::from(ended == "pending"), "{state}");
        if succeeded.starts_with("cancelled") {
            let why = format!("request 1, which it waits for, has ended as {state} ({})", code.unwrap());
            assert_eq!(out.cancelled, [(2, why.clone())]);
            assert_eq!(place.see("SELECT error_message FROM requests WHERE id = 2").await, [why]);
        }
        // Looked at again, nothing is left to do.
        assert!(place.survey(NOW).await.released.is_empty(), "{state}");
        assert_eq!(place.all().await[1..], [succeeded, ended], "{state}");
    }
}

#[tokio::test]
async fn somebody_may_come_to_wait_for_what_has_ended_already() {
    let mut place = Place::new().await;
    place.run("INSERT INTO requests (trigger_name) VALUES ('t'), ('t')").await;
    place.end(1, "succeeded", None).await;
    place.end(2, "failed", Some("refused")).await;
    place
        .run(
            "INSERT OR REPLACE INTO requests (trigger_name, after_id) VALUES ('u', 1);
             INSERT INTO requests (trigger_name, after_id) VALUES ('u', 2)",
        )
        .await;
    assert_eq!(place.all().await[2..], ["pending after", "pending after"]);
    place.survey(NOW).await;
    assert_eq!(place.all().await[2..], ["pending", "cancelled dependency_failed after"]);
    assert_eq!(place.see("SELECT count(*) || '' FROM endings").await, ["0"]);
}

#[tokio::test]
async fn nobody_waits_longer_for_an_uncertain_request_than_its_remote_job_may_take() {
    let mut place = Place::new().await;
    place
        .run(format!(
            "INSERT INTO requests (trigger_name, deadline_at) VALUES ('t', {0});
             INSERT INTO requests (trigger_name, after_id) VALUES ('u', 1);
             INSERT INTO requests (trigger_name, after_id, after_when) VALUES ('u', 1, 'ended')",
            NOW.0 + 5000
        ))
        .await;
    assert!(place.end(1, "uncertain", Some("interrupted")).await.more, "a survey tells the time");
    assert_eq!(place.next().await, Some(UnixMillis(NOW.0 + 5000)));
    let why = place.see("SELECT why FROM request_why WHERE id > 1 ORDER BY id").await;
    assert!(
        why[0].starts_with("waits for request 1, which is uncertain: find out, then triggerd resolve 1"),
        "{why:?}"
    );
    assert!(
        why[1].starts_with("waits for request 1, which is uncertain: goes on when the deadline"),
        "{why:?}"
    );
    let until = place.see("SELECT (\"until\" - 5000) || '' FROM request_why WHERE id = 3").await;
    assert_eq!(until, [NOW.0.to_string()]);
    // Another one comes, and is no reason to look sooner for good.
    place.run("INSERT INTO requests (trigger_name, after_id, after_when) VALUES ('u', 1, 'ended')").await;
    place.survey(UnixMillis(NOW.0 + 4999)).await;
    assert_eq!(place.all().await[1..], ["pending after"; 3]);
    assert_eq!(place.next().await, Some(UnixMillis(NOW.0 + 5000)));
    place.survey(UnixMillis(NOW.0 + 5000)).await;
    assert_eq!(place.all().await[1..], ["pending after", "pending", "pending"]);
    assert_eq!(place.next().await, None);
    place.end(1, "succeeded", None).await;
    assert_eq!(place.all().await[1..], ["pending"; 3]);
}

#[tokio::test]
async fn a_long_chain_ends_in_several_commits() {
    const LENGTH: usize = 10_000;
    let mut place = Place::new().await;
    place
        .run(format!(
            "INSERT INTO requests (trigger_name) VALUES ('t');
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {LENGTH})
             INSERT INTO requests (trigger_name, after_id) SELECT 'u', i FROM n"
        ))
        .await;
    let mut cancelled = place.end(1, "failed", None).await.cancelled.len();
    assert!(cancelled <= MOST, "{cancelled} in one commit");
    let mut commits = 1;
    loop {
        let out = place.survey(NOW).await;
        assert!(out.cancelled.len() <= MOST);
        cancelled += out.cancelled.len();
        commits += 1;
        if !out.more {
            break;
        }
    }
    assert_eq!(cancelled, LENGTH);
    assert!(commits <= LENGTH / DEEPEST + 2, "{commits}");
    let states = place.see("SELECT DISTINCT state FROM requests ORDER BY state").await;
    assert_eq!(states, ["cancelled", "failed"]);
}

#[tokio::test]
async fn many_that_wait_go_on_in_several_commits() {
    let mut place = Place::new().await;
    place
        .run(format!(
            "INSERT INTO requests (trigger_name) VALUES ('t');
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})
             INSERT INTO requests (trigger_name, after_id) SELECT 'u', 1 FROM n",
            2 * MOST + 1
        ))
        .await;
    let waiting = "SELECT count(*) || '' FROM requests WHERE held_by = 'after'";
    assert!(place.end(1, "succeeded", None).await.more);
    assert_eq!(place.see(waiting).await, [(MOST + 1).to_string()]);
    assert!(place.survey(NOW).await.more);
    assert!(!place.survey(NOW).await.more);
    assert_eq!(place.see(waiting).await, ["0"]);
}

#[tokio::test]
async fn an_output_is_passed_on_as_it_was_written_or_the_request_is_rejected() {
    let mut place = Place::new().await;
    place.run("INSERT INTO requests (trigger_name) VALUES ('t')").await;
    let wait = |arguments: &str, argument: &str, pointer: &str| {
        format!(
            "INSERT INTO requests (trigger_name, arguments, after_id, after_argument, after_pointer)
             VALUES ('u', '{arguments}', 1, '{argument}', {pointer})"
        )
    };
    let deep = format!("{{\"deep\":{}{}}}", "[".repeat(1200), "]".repeat(1200));
    for (arguments, argument, pointer) in [
        (r#"{"n": 1.00, "n": 2}"#, "x", "NULL"),
        (r#"{"x":0, "y":1}"#, "x", "'/big'"),
        ("{}", "x", "'/none'"),
        ("{}", "long", "'/long'"),
    ] {
        place.run(wait(arguments, argument, pointer)).await;
    }
    let long = "x".repeat(400);
    place
        .run("INSERT INTO outputs (request_id, bytes, body) VALUES (1, 9, '{\"big\":1e400,\"short\":[ 1 ]}')")
        .await;
    let out = place.end(1, "succeeded", None).await;
    let arguments = place.see("SELECT arguments FROM requests WHERE id > 1 ORDER BY id").await;
    assert_eq!(
        arguments[..2],
        [
            r#"{"n": 1.00, "n": 2,"x":{"big":1e400,"short":[ 1 ]}}"#.to_owned(),
            r#"{"x":1e400, "y":1}"#.to_owned()
        ]
    );
    assert_eq!(place.all().await[1..3], ["pending", "pending"]);
    assert_eq!(place.all().await[3..], ["rejected invalid_request after"; 2]);
    assert_eq!(out.rejected[0], (4, "after_pointer: leads to nothing in the output of request 1".to_owned()));

    // Too long, and too deep for the schema, which would refuse the whole commit.
    for (body, problem) in [
        (format!("{{\"long\":\"{long}\"}}"), "after_argument: with the output of request "),
        (deep, "after_argument: the output of request "),
    ] {
        place.run("UPDATE triggers SET max_arguments = CASE name WHEN 'u' THEN 5000 ELSE 400 END").await;
        let to = if body.len() > 1000 { "u" } else { "t" };
        place
            .run(format!(
                "INSERT INTO requests (trigger_name) VALUES ('t');
                 INSERT INTO outputs (request_id, bytes, body) SELECT max(id), 9, '{body}' FROM requests;
                 INSERT INTO requests (trigger_name, after_id, after_argument) SELECT '{to}', max(id), 'x' FROM requests"
            ))
            .await;
        let id: i64 = place.see("SELECT max(after_id) || '' FROM requests").await[0].parse().unwrap();
        let out = place.end(id, "succeeded", None).await;
        assert!(out.rejected[0].1.starts_with(problem), "{:?}", out.rejected);
    }
}

#[tokio::test]
async fn who_was_rejected_for_an_output_is_an_end_too() {
    let mut place = Place::new().await;
    place
        .run(
            "INSERT INTO requests (trigger_name) VALUES ('t');
             INSERT INTO requests (trigger_name, after_id, after_argument, after_pointer) VALUES ('u', 1, 'x', '/a');
             INSERT INTO requests (trigger_name, after_id) VALUES ('u', 2)",
        )
        .await;
    place.end(1, "succeeded", None).await;
    assert_eq!(
        place.all().await[1..],
        ["rejected invalid_request after", "cancelled dependency_failed after"]
    );
}

#[tokio::test]
async fn a_group_is_complete_when_its_last_member_has_ended_and_once() {
    let mut place = Place::new().await;
    place
        .run(
            "INSERT INTO requests (trigger_name, group_key) VALUES ('t', 'g'), ('t', 'g'), ('t', 'g'), ('t', 'h');
             INSERT INTO request_groups (group_key, trigger_name, arguments) VALUES ('g', 'u', '{\"a\":1}')",
        )
        .await;
    place.survey(NOW).await;
    place.end(1, "succeeded", None).await;
    place.end(2, "uncertain", None).await;
    place.end(3, "failed", None).await;
    assert_eq!(place.all().await.len(), 4, "an uncertain one may be running");
    let out = place.end(2, "succeeded", None).await;
    assert_eq!(Vec::from_iter(out.released), ["u"]);
    let inserted = "SELECT trigger_name || ' ' || arguments || ' ' || correlation_id || ' ' || run_at FROM requests WHERE id = 5";
    assert_eq!(place.see(inserted).await, [format!("u {{\"a\":1}} g {}", NOW.0)]);
    let group = "SELECT completed_at || ' ' || request_id FROM request_groups";
    assert_eq!(place.see(group).await, [format!("{} 5", NOW.0)]);
    place.end(3, "succeeded", None).await;
    place.survey(NOW).await;
    assert_eq!(place.all().await.len(), 5, "members that end again change nothing");
    place.run("DELETE FROM requests WHERE id IN (1, 2)").await;
    assert_eq!(place.see(group).await.len(), 1);
    place.run("DELETE FROM requests WHERE id = 3").await;
    assert_eq!(place.see(group).await.len(), 0, "it goes with the last of its members");
}

#[tokio::test]
async fn a_group_that_is_told_of_after_its_members_have_ended_is_complete_at_once() {
    let mut place = Place::new().await;
    place.run("INSERT INTO requests (trigger_name, group_key) VALUES ('t', 'g')").await;
    place.end(1, "failed", None).await;
    place.run("INSERT INTO request_groups (group_key, trigger_name) VALUES ('g', 'u'), ('none', NULL)").await;
    place.survey(NOW).await;
    let groups = "SELECT group_key || ' ' || (completed_at IS NOT NULL) || coalesce(' ' || request_id, '') FROM request_groups";
    assert_eq!(place.see(groups).await, ["g 1 2", "none 1"]);
}

#[tokio::test]
async fn a_group_whose_trigger_has_left_stays_open_until_it_is_back() {
    let mut place = Place::new().await;
    place
        .run(
            "INSERT INTO requests (trigger_name, group_key) VALUES ('t', 'g');
             INSERT INTO request_groups (group_key, trigger_name) VALUES ('g', 'u');
             UPDATE triggers SET active = 0 WHERE name = 'u'",
        )
        .await;
    place.end(1, "succeeded", None).await;
    place.survey(NOW).await;
    assert_eq!(place.all().await.len(), 1);
    place.run("UPDATE triggers SET active = 1 WHERE name = 'u'").await;
    statements::groups_again(&mut place.c).await.unwrap();
    place.survey(NOW).await;
    assert_eq!(place.see("SELECT request_id || '' FROM request_groups").await, ["2"]);
}

fn hook(trigger: &str, states: &[&'static str]) -> Hook {
    Hook { trigger: trigger.to_owned(), states: states.to_vec() }
}

#[tokio::test]
async fn a_hook_is_told_how_a_request_has_ended() {
    let mut place = Place::hooked(vec![hook("u", &["failed", "uncertain"])]).await;
    place
        .run(
            "INSERT INTO requests (trigger_name, priority, correlation_id, unique_key) VALUES ('t', 7, 'c', 'k\"');
             INSERT INTO requests (trigger_name) VALUES ('t'), ('u'), ('t');
             INSERT INTO outputs (request_id, bytes, body) VALUES (1, 9, ' {\"a\": 1e400} ');
             UPDATE requests SET http_status = 500, attempt = 2, error_message = 'no' WHERE id = 1",
        )
        .await;
    place.end(2, "succeeded", None).await;
    place.end(3, "failed", None).await;
    assert_eq!(place.all().await.len(), 4, "another state, another trigger");
    let out = place.end(1, "failed", Some("job_faulted")).await;
    assert_eq!(Vec::from_iter(out.released), ["u"]);
    let told = "SELECT trigger_name || ' ' || priority || ' ' || correlation_id || ' ' || arguments FROM requests WHERE id = 5";
    assert_eq!(
        place.see(told).await,
        [concat!(
            r#"u 7 c {"id":1,"trigger_name":"t","state":"failed","error_code":"job_faulted","error_message":"no","#,
            r#""http_status":500,"attempt":2,"correlation_id":"c","unique_key":"k\"","output":{"a": 1e400}}"#
        )]
    );
    place.end(4, "uncertain", Some("interrupted")).await;
    let output =
        "SELECT json_type(arguments, '$.output') = 'null' AND json_type(arguments, '$.http_status') = 'null'
                  FROM requests WHERE id = 6";
    let rows = sqlx::raw_sql(output).fetch_all(&mut place.c).await.unwrap();
    assert_eq!(rows[0].get::<i64, _>(0), 1);
}

#[tokio::test]
async fn a_hook_that_cannot_take_the_output_is_told_so_and_one_that_cannot_be_keeps_nothing_up() {
    let mut place = Place::hooked(vec![hook("u", &["failed"])]).await;
    let deep = format!("{}{}", "[".repeat(150), "]".repeat(150));
    place
        .run(format!(
            "INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('t'), ('t');
             INSERT INTO outputs (request_id, bytes, body) VALUES (1, 9, '{0}'), (2, 9, '{deep}'), (3, 9, '\"{1}\"')",
            "x".repeat(4000),
            "x".repeat(380),
        ))
        .await;
    for id in 1..=3 {
        place.end(id, "failed", None).await;
    }
    let omitted = "SELECT (json_type(arguments, '$.output_omitted') IS NOT NULL) || ' ' || (json_type(arguments, '$.output') IS NULL)
                   FROM requests WHERE id > 4 ORDER BY id";
    assert_eq!(place.see(omitted).await, ["1 1"; 3]);
    place.run("UPDATE triggers SET active = 0 WHERE name = 'u'").await;
    place.end(4, "failed", None).await;
    assert_eq!(place.all().await.len(), 7);
}

#[tokio::test]
async fn what_another_program_has_ended_fires_its_hook_once() {
    let mut place = Place::hooked(vec![hook("u", &["succeeded", "uncertain"])]).await;
    place.run("INSERT INTO requests (trigger_name) VALUES ('t')").await;
    place.end(1, "uncertain", None).await;
    assert_eq!(place.all().await.len(), 2);
    // As the command line settles it; somebody waits for it, too.
    place
        .run(
            "UPDATE requests SET state = 'succeeded' WHERE id = 1; INSERT INTO endings (request_id, whole) VALUES (1, 1);
             INSERT INTO requests (trigger_name, after_id) VALUES ('u', 1)",
        )
        .await;
    place.survey(NOW).await;
    place.survey(NOW).await;
    assert_eq!(place.all().await, ["succeeded", "pending", "pending", "pending"]);
}

#[tokio::test]
async fn a_schedule_counts_what_its_requests_came_to_and_pauses_itself() {
    let mut place = Place::new().await;
    place
        .run(format!(
            "INSERT INTO schedules (name, trigger_name, expression, time_zone, disable_after_launches, disable_after_faults, disable_grace)
             VALUES ('s', 't', '@daily', 'UTC', 2, 2, 1000);
             UPDATE schedules SET created_at = {}, revision = revision + 1;
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12)
             INSERT INTO requests (trigger_name) SELECT 't' FROM n;
             UPDATE requests SET schedule_name = 's'",
            NOW.0 - 10_000
        ))
        .await;
    let counts = "SELECT failed_launches || ' ' || faults || ' ' || (launched_at IS NOT NULL) || (well_at IS NOT NULL) || ' ' || paused FROM schedules";
    for (id, state, code, expected) in [
        (1, "expired", None, "1 0 00 0"),
        (2, "cancelled", None, "1 0 00 0"),
        (3, "uncertain", None, "1 0 00 0"),
        (4, "failed", Some("job_faulted"), "0 1 10 0"),
        (5, "rejected", None, "1 1 10 0"),
        (6, "dispatched", None, "0 0 11 0"),
        (7, "failed", Some("refused"), "1 0 11 0"),
        // Too many, but the last launch was within the grace.
        (8, "failed", Some("not_sent"), "2 0 11 0"),
    ] {
        place.end(id, state, code).await;
        assert_eq!(place.see(counts).await, [expected], "{id}: {state}");
    }
    place
        .run(format!(
            "UPDATE schedules SET launched_at = {0}, well_at = {0}, revision = revision + 1",
            NOW.0 - 1000
        ))
        .await;
    place.end(9, "rejected", None).await;
    assert_eq!(place.see(counts).await, ["3 0 11 1"]);
    let why = "paused by triggerd: 3 requests in a row started no remote job, and none did since 2027-01-15T07:59:59Z \
               (disable_after_launches)";
    assert_eq!(place.see("SELECT paused_reason FROM schedules").await, [why]);
    let events = "SELECT event || ' ' || reason || ' ' || request_id || ' ' || note FROM schedule_events";
    assert_eq!(place.see(events).await, [format!("disabled launches 9 {why}")]);
    place.end(10, "rejected", None).await;
    assert_eq!(place.see(events).await.len(), 1, "it is paused already");
    place.run("UPDATE schedules SET paused = 0").await;
    assert_eq!(place.see(counts).await, ["0 0 11 0"]);
    place.end(11, "failed", Some("job_faulted")).await;
    place.end(12, "failed", Some("job_faulted")).await;
    assert_eq!(place.see(counts).await, ["0 2 11 1"]);
    assert!(
        place.see(events).await[1]
            .starts_with("disabled faults 12 paused by triggerd: 2 requests in a row had")
    );
}

#[tokio::test]
async fn a_start_finds_who_waits_for_what_has_ended_or_is_gone() {
    let mut place = Place::new().await;
    place
        .run(
            "INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('t');
             INSERT INTO requests (trigger_name, after_id) VALUES ('u', 1), ('u', 2), ('u', 3);
             UPDATE requests SET state = 'succeeded' WHERE id IN (1, 2);
             DROP TRIGGER requests_awaited;
             DELETE FROM requests WHERE id = 2",
        )
        .await;
    statements::endings_found(&mut place.c).await.unwrap();
    let out = place.survey(NOW).await;
    assert_eq!(place.all().await[2..], ["pending", "cancelled dependency_failed after", "pending after"]);
    assert_eq!(out.cancelled, [(5, "request 2, which it waits for, is gone".to_owned())]);
}

#[tokio::test]
async fn without_room_it_is_only_noted_what_is_to_follow() {
    let mut place = Place::hooked(vec![hook("u", &["failed"])]).await;
    place
        .run(
            "INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('u');
             INSERT INTO requests (trigger_name, after_id, after_when) VALUES ('u', 3, 'ended');
             UPDATE requests SET state = 'failed', finished_at = 1 WHERE id < 4;
             UPDATE requests SET state = 'succeeded' WHERE id = 2",
        )
        .await;
    let mut out = Followed::default();
    note(&mut place.c, &place.hooks, &[1, 2, 3], &mut out).await.unwrap();
    assert!(out.more);
    assert_eq!(place.see("SELECT request_id || '' FROM endings ORDER BY request_id").await, ["1", "3"]);
    assert_eq!(place.all().await, ["failed", "succeeded", "failed", "pending after"]);
    place.survey(NOW).await;
    place.survey(NOW).await;
    assert_eq!(place.all().await, ["failed", "succeeded", "failed", "pending", "pending"]);
}

#[test]
fn every_outcome_may_have_a_hook() {
    assert_eq!(crate::trigger::ENDS, crate::invocation::Outcome::ALL.map(crate::invocation::Outcome::as_str));
}
