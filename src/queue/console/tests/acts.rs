//! What an operator does to requests and triggers.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::*;
use crate::trigger::Trigger;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const HOUR: i64 = 3_600_000;

/// `t` as the table of triggers and the configuration have it.
fn triggers() -> BTreeMap<String, Arc<Trigger>> {
    let mut trigger = Trigger::new("t", Url::parse("https://api.example/t").unwrap());
    trigger.allowed_origins.push(Url::parse("https://portal.example").unwrap().origin());
    BTreeMap::from([("t".to_owned(), Arc::new(trigger))])
}

/// What each of `ids` comes to: its state, or why not.
async fn retry(place: &Place, ids: &[i64], may_run_twice: bool) -> Vec<String> {
    let mut verdicts = Vec::new();
    place.open().await.retry(ids, NOW, may_run_twice, &mut verdicts).await.unwrap();
    told(verdicts)
}

async fn cancel(place: &Place, ids: &[i64]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    place.open().await.cancel(ids, &mut verdicts).await.unwrap();
    verdicts
}

async fn resolve(place: &Place, id: i64, settlement: Settlement, note: Option<&str>) -> String {
    let resolution = Resolution { settlement: &settlement, note, now: NOW, triggers: &triggers() };
    told(vec![place.open().await.resolve(id, &resolution).await.unwrap()]).remove(0)
}

fn told(verdicts: Vec<Verdict>) -> Vec<String> {
    let tell = |verdict: Verdict| match verdict.done {
        Ok(now) => now.text("state").unwrap().to_owned(),
        Err(refusal) => refusal.why,
    };
    verdicts.into_iter().map(tell).collect()
}

async fn shown(place: &Place, id: i64) -> Record {
    place.open().await.show(id).await.unwrap().unwrap().request
}

/// Rows 1 to 11, one in each state, as the daemon leaves them; 12 is not there.
async fn one_of_each() -> Place {
    let place = Place::migrated().await;
    place
        .run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 11)
             INSERT INTO requests (trigger_name) SELECT 't' FROM n;
             UPDATE requests SET attempt = 1, started_at = created_at WHERE id > 1;
             UPDATE requests SET state = 'triggering' WHERE id = 2;
             UPDATE requests SET state = 'polling', status_uri = 'https://api.example/s' WHERE id = 3;
             UPDATE requests SET state = 'collecting', output_uri = 'https://api.example/o' WHERE id = 4;
             UPDATE requests SET state = 'succeeded' WHERE id = 5;
             UPDATE requests SET state = 'dispatched' WHERE id = 6;
             UPDATE requests SET state = 'failed', error_code = 'job_faulted' WHERE id = 7;
             UPDATE requests SET state = 'rejected', error_code = 'refused' WHERE id = 8;
             UPDATE requests SET state = 'expired', error_code = 'not_started_in_time' WHERE id = 9;
             UPDATE requests SET state = 'cancelled', error_code = 'cancelled_by_request' WHERE id = 10;
             UPDATE requests SET state = 'uncertain', error_code = 'interrupted' WHERE id = 11;
             UPDATE requests SET finished_at = 1799999000000 + id WHERE id > 4",
        )
        .await;
    place
}

#[tokio::test]
async fn a_cancel_is_asked_for_once_and_only_of_what_has_not_ended() {
    let place = one_of_each().await;
    let ids: Vec<i64> = (1..=12).collect();
    let told = told(cancel(&place, &ids).await);
    assert_eq!(told[..4], ["pending", "triggering", "polling", "collecting"]);
    assert_eq!(told[4], "it has ended already: succeeded; see `triggerd show 5`");
    assert_eq!(told[6], "it has ended already: failed (job_faulted); see `triggerd show 7`");
    assert!(told[10].contains("`triggerd resolve 11`"), "{}", told[10]);
    assert!(told[11].starts_with("there is none"), "{}", told[11]);
    for id in 1..=11 {
        assert_eq!(shown(&place, id).await.int("cancel_requested"), Some(i64::from(id <= 4)), "{id}");
    }
    let again = cancel(&place, &[3]).await;
    assert_eq!(again[0].done.as_ref().unwrap().int("already"), Some(1));
}

#[tokio::test]
async fn a_retry_is_for_what_has_ended_without_success() {
    let place = one_of_each().await;
    let told = retry(&place, &(1..=12).collect::<Vec<_>>(), false).await;
    for (id, expected) in [
        (1, "it has not ended (pending): `triggerd wait 1`, or `triggerd cancel 1` first"),
        (2, "it has not ended (triggering)"),
        (3, "it has not ended (polling)"),
        (4, "it has not ended (collecting)"),
        (5, "it has succeeded"),
        (6, "it is dispatched"),
        (7, "pending"),
        (8, "pending"),
        (9, "pending"),
        (10, "pending"),
        (11, "it is uncertain: its remote job may have run; find out, then `triggerd resolve 11 --as retry`"),
        (12, "there is none"),
    ] {
        assert!(told[id - 1].starts_with(expected), "{id}: {}", told[id - 1]);
    }
}

#[tokio::test]
async fn a_new_round_forgets_what_the_old_one_left_and_keeps_the_rest() {
    let place = Place::migrated().await;
    place
        .run(
            "INSERT INTO requests (trigger_name, arguments, priority, run_at, unique_key, correlation_id, call_mode)
               VALUES ('t', '{\"a\":1}', 5, 1700000000000, 'k', 'c', 'LongPolling');
             UPDATE requests SET state = 'failed', attempt = 3, due_at = 1, status_uri = 'https://api.example/s',
               output_uri = 'https://api.example/o', effective_call_mode = 'LongPolling', polls = 4, last_polled_at = 5,
               http_status = 500, error_code = 'job_faulted', error_message = 'm', started_at = 6, accepted_at = 7,
               finished_at = 8, cancel_requested = 1, progress = '{\"waits\":2}';
             INSERT INTO attempts (request_id, attempt, round, started_at, ended_at, outcome) VALUES (1, 3, 1, 6, 7, 'accepted');
             INSERT INTO outputs (request_id, bytes, body) VALUES (1, 2, 'hi')",
        )
        .await;
    let before = shown(&place, 1).await;
    assert_eq!(retry(&place, &[1], false).await, ["pending"]);
    let shown = place.open().await.show(1).await.unwrap().unwrap();
    let after = shown.request;
    for column in [
        "id",
        "arguments",
        "priority",
        "run_at",
        "unique_key",
        "correlation_id",
        "call_mode",
        "created_at",
        "attempt",
    ] {
        assert_eq!(after.get(column), before.get(column), "{column}");
    }
    for column in [
        "due_at",
        "status_uri",
        "output_uri",
        "effective_call_mode",
        "last_polled_at",
        "http_status",
        "error_code",
        "error_message",
        "started_at",
        "accepted_at",
        "finished_at",
        "output",
        "deadline_at",
        "expires_at",
    ] {
        assert_eq!(after.get(column), &Cell::Null, "{column}");
    }
    let numbers = ["round", "polls", "cancel_requested"].map(|column| after.int(column));
    assert_eq!(numbers, [Some(2), Some(0), Some(0)]);
    assert_eq!(shown.attempts.len(), 1, "its history");
    let memory = place.number("SELECT progress IS NULL FROM requests").await;
    assert_eq!(memory, 1, "its memory");
}

#[tokio::test]
async fn limits_stay_if_they_are_the_producers_and_still_hold() {
    let place = Place::migrated().await;
    let (past, future) = (NOW.0 - 1, NOW.0 + HOUR);
    for (started, deadline, expires, progress, expected) in [
        (past, Some(future), Some(future), None, (Some(future), Some(future))),
        (past, Some(past), Some(past), None, (None, None)),
        (past, Some(NOW.0), Some(NOW.0), None, (None, None)),
        // Counted from the first firing, by the memory of it; whatever the configuration says today.
        (past, Some(future), None, Some("{\"counted_deadline\":true}"), (None, None)),
        (past, Some(future), None, Some("{\"waits\":1}"), (Some(future), None)),
        (past, None, None, None, (None, None)),
    ] {
        let number = |number: Option<i64>| number.map_or("NULL".to_owned(), |number| number.to_string());
        let progress = progress.map_or("NULL".to_owned(), |text| format!("'{text}'"));
        place
            .run(format!(
                "DELETE FROM requests; INSERT INTO requests (trigger_name) VALUES ('t');
                 UPDATE requests SET state = 'failed', attempt = 1, finished_at = {past}, started_at = {started},
                   deadline_at = {}, expires_at = {}, progress = {progress}",
                number(deadline),
                number(expires)
            ))
            .await;
        let id = place.number("SELECT id FROM requests").await;
        assert_eq!(retry(&place, &[id], false).await, ["pending"]);
        let after = shown(&place, id).await;
        assert_eq!((after.int("deadline_at"), after.int("expires_at")), expected, "{deadline:?} {progress}");
        place.run("UPDATE requests SET state = 'cancelled'").await;
    }
}

#[tokio::test]
async fn a_remote_job_that_may_run_on_is_not_doubled_unasked() {
    let accepted = "UPDATE requests SET accepted_at = started_at, status_uri = 'https://api.example/s'";
    let place = one_of_each().await;
    place.run(accepted).await;
    let told = retry(&place, &[7, 9, 10], false).await;
    assert_eq!(told[0], "pending", "it was seen to fail");
    for told in &told[1..] {
        assert!(
            told.contains("accepted and not seen to end") && told.ends_with("add --may-run-twice"),
            "{told}"
        );
    }
    assert_eq!(shown(&place, 9).await.text("state"), Some("expired"));
    assert_eq!(retry(&place, &[9], true).await, ["pending"]);
    place.run("UPDATE requests SET output_uri = 'https://api.example/o' WHERE id = 10").await;
    assert_eq!(retry(&place, &[10], false).await, ["pending"], "it was seen to end");

    let place = one_of_each().await;
    place.run(accepted).await;
    place.run("UPDATE triggers SET repeatable = 1").await;
    assert_eq!(retry(&place, &[9, 10], false).await, ["pending", "pending"]);
}

#[tokio::test]
async fn a_retry_needs_a_trigger_and_its_key() {
    let place = one_of_each().await;
    place.run("UPDATE triggers SET active = 0").await;
    let inactive = retry(&place, &[7], false).await.remove(0);
    assert!(
        inactive.starts_with("its trigger t is not in the configuration: add [triggers.t]"),
        "{inactive}"
    );
    assert!(resolve(&place, 11, Settlement::Retry, None).await.starts_with("its trigger t is not"));

    let place = Place::migrated().await;
    place
        .run(
            "INSERT INTO requests (trigger_name, unique_key) VALUES ('t', 'k');
             UPDATE requests SET state = 'failed', finished_at = created_at;
             INSERT INTO requests (trigger_name, unique_key) VALUES ('t', 'k'), ('t', 'other'), ('t', NULL);
             INSERT INTO requests (trigger_name) VALUES ('t');
             UPDATE requests SET state = 'failed', finished_at = created_at WHERE id = 5;",
        )
        .await;
    let told = retry(&place, &[1, 5], false).await;
    assert!(
        told[0].starts_with("request 2 has its unique key and has not ended: `triggerd wait 2`"),
        "{}",
        told[0]
    );
    assert_eq!(told[1], "pending", "a neighbour is none the worse");
    place.run("UPDATE requests SET state = 'uncertain', finished_at = created_at WHERE id = 2").await;
    assert!(retry(&place, &[1], false).await[0].contains("`triggerd resolve 2`"));
    place.run("UPDATE requests SET state = 'succeeded' WHERE id = 2").await;
    assert_eq!(retry(&place, &[1], false).await, ["pending"]);
}

#[tokio::test]
async fn a_row_that_the_schema_refuses_is_refused_alone() {
    let place = one_of_each().await;
    place
        .run(
            "DROP TRIGGER requests_update; PRAGMA ignore_check_constraints = 1; UPDATE requests SET attempt = 'many' WHERE id = 8;
             CREATE TRIGGER mine BEFORE UPDATE ON requests WHEN NEW.id = 7 BEGIN SELECT RAISE(ABORT, 'mine: leave it'); END",
        )
        .await;
    let told = retry(&place, &[7, 8, 9], false).await;
    assert_eq!(told, ["the schema refuses it: mine: leave it", "pending", "pending"]);
    assert_eq!(shown(&place, 7).await.text("state"), Some("failed"));
}

#[tokio::test]
async fn a_retry_of_many_is_stored_to_the_last_one() {
    let place = Place::migrated().await;
    place
        .run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
             INSERT INTO requests (trigger_name) SELECT 't' FROM n;
             UPDATE requests SET state = 'failed', attempt = 1, finished_at = created_at",
        )
        .await;
    let ids = place.open().await.retryable(&Selection::default()).await.unwrap();
    assert_eq!(ids.len(), 450);
    let told = retry(&place, &ids, false).await;
    assert!(told.len() == 450 && told.iter().all(|told| told == "pending"));
    assert_eq!(
        place.number("SELECT count(*) FROM requests WHERE state = 'pending' AND round = 2").await,
        450
    );
}

#[tokio::test]
async fn a_selection_has_what_may_be_retried_and_nothing_else() {
    let place = one_of_each().await;
    place.run("INSERT INTO triggers (name) VALUES ('u')").await;
    let mut console = place.open().await;
    let mut select = async |state: Option<&str>, trigger: Option<&str>, since: Option<i64>| {
        let selection = Selection {
            state: state.map(str::to_owned),
            trigger_name: trigger.map(str::to_owned),
            since: since.map(UnixMillis),
        };
        console.retryable(&selection).await.unwrap()
    };
    assert_eq!(select(None, Some("t"), None).await, [7, 8, 9, 10]);
    assert_eq!(select(None, Some("u"), None).await, [0_i64; 0]);
    assert_eq!(select(Some("expired"), None, None).await, [9]);
    assert_eq!(select(None, None, Some(1_799_999_000_009)).await, [9, 10]);
    assert_eq!(select(Some("uncertain"), None, None).await, [0_i64; 0]);
}

#[tokio::test]
async fn only_what_is_uncertain_is_settled() {
    let place = one_of_each().await;
    for id in (1..=10).chain([12]) {
        let told = resolve(&place, id, Settlement::Succeeded, None).await;
        assert!(told.starts_with("it is not uncertain") || told.starts_with("there is none"), "{id}: {told}");
    }
    assert!(
        resolve(&place, 7, Settlement::Retry, None).await.ends_with("`triggerd retry 7` opens a new round")
    );
}

#[tokio::test]
async fn a_settled_request_says_that_a_person_settled_it() {
    let place = one_of_each().await;
    place.run("UPDATE requests SET error_message = 'the daemon ended' WHERE id = 11").await;
    assert_eq!(resolve(&place, 11, Settlement::Failed, Some("nobody ran it")).await, "failed");
    let failed = shown(&place, 11).await;
    assert_eq!(failed.text("error_code"), Some("interrupted"));
    assert_eq!(
        failed.text("error_message"),
        Some("resolved as failed by an operator: nobody ran it; before: the daemon ended")
    );
    assert_eq!(failed.int("finished_at"), Some(NOW.0));

    let place = one_of_each().await;
    place.run("INSERT INTO outputs (request_id, bytes, body) VALUES (11, 2, 'hi')").await;
    assert_eq!(resolve(&place, 11, Settlement::Succeeded, None).await, "succeeded");
    let succeeded = shown(&place, 11).await;
    assert_eq!(succeeded.get("error_code"), &Cell::Null);
    assert_eq!(succeeded.text("error_message"), Some("resolved as succeeded by an operator"));
    assert_eq!((succeeded.int("finished_at"), succeeded.text("output")), (Some(NOW.0), Some("hi")));
}

#[tokio::test]
async fn an_uncertain_request_is_fired_again_in_the_same_round() {
    let place = one_of_each().await;
    place
        .run(
            "UPDATE requests SET state = 'polling' WHERE id = 11;
             UPDATE requests SET state = 'uncertain', status_uri = 'https://api.example/s', accepted_at = 1, cancel_requested = 1, round = 3, attempt = 4,
               progress = '{\"repeats\":1,\"doubt\":\"interrupted\",\"counted_deadline\":true}', deadline_at = 1900000000000 WHERE id = 11;
             INSERT INTO outputs (request_id, bytes, body) VALUES (11, 2, 'hi')",
        )
        .await;
    assert_eq!(resolve(&place, 11, Settlement::Retry, Some("it never came")).await, "pending");
    let pending = shown(&place, 11).await;
    assert_eq!(
        [pending.int("round"), pending.int("attempt"), pending.int("cancel_requested")],
        [Some(3), Some(4), Some(0)]
    );
    for column in
        ["status_uri", "accepted_at", "started_at", "finished_at", "deadline_at", "error_code", "output"]
    {
        assert_eq!(pending.get(column), &Cell::Null, "{column}");
    }
    assert_eq!(pending.text("error_message"), Some("resolved as retry by an operator: it never came"));
    assert_eq!(
        place.number("SELECT progress IS NULL FROM requests WHERE id = 11").await,
        1,
        "the doubt is gone"
    );
}

/// Request 11 of [`one_of_each`], followed.
async fn follow(place: &Place, status_uri: Option<&str>) -> String {
    let status_uri = status_uri.map(|uri| Url::parse(uri).unwrap());
    resolve(place, 11, Settlement::Follow(status_uri), None).await
}

#[tokio::test]
async fn an_uncertain_request_is_followed_where_its_job_was_or_is_said_to_be() {
    let place = one_of_each().await;
    place
        .run(
            "UPDATE requests SET state = 'polling' WHERE id = 11;
             UPDATE requests SET state = 'uncertain', output_uri = 'https://api.example/o', accepted_at = 7, started_at = 6,
               effective_call_mode = 'LongPolling', cancel_requested = 1, polls = 9, last_polled_at = 8, http_status = 404,
               error_code = 'output_lost', error_message = 'm', deadline_at = 1799999999999,
               progress = '{\"waits\":7,\"counted_deadline\":true}' WHERE id = 11;
             INSERT INTO outputs (request_id, bytes, body) VALUES (11, 2, 'hi')",
        )
        .await;
    let refused = follow(&place, None).await;
    assert!(refused.starts_with("no status URI was kept") && refused.contains("--status-uri"), "{refused}");
    for forbidden in ["https://evil.example/s?sig=s3cr3t", "http://api.example/s"] {
        let refused = follow(&place, Some(forbidden)).await;
        assert!(refused.contains("add it to allowed_origins in [triggers.t]"), "{refused}");
        assert!(!refused.contains("s3cr3t"), "{refused}");
    }
    assert_eq!(place.number("SELECT count(*) FROM handovers").await, 0);

    assert_eq!(follow(&place, Some("https://portal.example/s?sig=1")).await, "polling");
    let polling = shown(&place, 11).await;
    for (column, expected) in [
        ("status_uri", Cell::Text("https://portal.example/s?sig=1".to_owned())),
        ("effective_call_mode", Cell::Text("LongPolling".to_owned())),
        ("due_at", Cell::Int(NOW.0)),
        ("deadline_at", Cell::Int(NOW.0 + 20 * 60 * 1000)),
        ("started_at", Cell::Int(6)),
        ("accepted_at", Cell::Int(7)),
        ("polls", Cell::Int(0)),
        ("cancel_requested", Cell::Int(0)),
        ("round", Cell::Int(1)),
        ("attempt", Cell::Int(1)),
        ("output_uri", Cell::Null),
        ("last_polled_at", Cell::Null),
        ("http_status", Cell::Null),
        ("error_code", Cell::Null),
        ("error_message", Cell::Null),
        ("finished_at", Cell::Null),
        ("output", Cell::Null),
    ] {
        assert_eq!(polling.get(column), &expected, "{column}");
    }
    assert_eq!(place.number("SELECT request_id FROM handovers").await, 11);
    let memory = "SELECT progress FROM requests WHERE id = 11";
    assert_eq!(place.text(memory).await, "{\"counted_deadline\":true}", "a later round does not inherit it");
}

#[tokio::test]
async fn a_followed_request_keeps_its_uri_and_a_deadline_of_its_producer() {
    let place = one_of_each().await;
    place
        .run(
            "UPDATE requests SET state = 'polling' WHERE id = 11;
             UPDATE requests SET state = 'uncertain', status_uri = 'https://api.example/kept', call_mode = 'FireAndForget',
               started_at = 6, deadline_at = 1800000000001 WHERE id = 11",
        )
        .await;
    assert_eq!(follow(&place, None).await, "polling");
    let polling = shown(&place, 11).await;
    assert_eq!(polling.text("status_uri"), Some("https://api.example/kept"));
    assert_eq!(
        polling.text("effective_call_mode"),
        Some("AsyncRequestReply"),
        "the other has nothing to ask"
    );
    assert_eq!((polling.int("deadline_at"), polling.int("accepted_at")), (Some(NOW.0 + 1), Some(NOW.0)));
    assert_eq!(place.number("SELECT progress IS NULL FROM requests WHERE id = 11").await, 1);
}

#[tokio::test]
async fn a_pause_keeps_its_last_reason_and_a_resume_forgets_it() {
    let place = Place::migrated().await;
    let mut console = place.open().await;
    assert_eq!(console.pause("x", None).await.unwrap(), Paused::Unknown(vec!["t".to_owned()]));
    for reason in [Some("month end"), Some("still month end"), None] {
        assert!(matches!(console.pause("t", reason).await.unwrap(), Paused::Done(_)));
        let expected = format!("1{}", reason.unwrap_or_default());
        assert_eq!(place.text("SELECT paused || coalesce(paused_reason, '') FROM triggers").await, expected);
    }
    console.pause("t", Some("again")).await.unwrap();
    let Paused::Done(before) = console.resume("t").await.unwrap() else { panic!("it is known") };
    assert_eq!((before.int("paused"), before.text("paused_reason")), (Some(1), Some("again")));
    assert_eq!(place.text("SELECT paused || coalesce(paused_reason, '') FROM triggers").await, "0");
    assert_eq!(console.resume("x").await.unwrap(), Paused::Unknown(vec!["t".to_owned()]));
}

#[tokio::test]
async fn each_act_finds_its_rows_by_an_index() {
    let place = Place::migrated().await;
    for (sql, expected) in [
        (include_str!("../../sqlite/console_standing.sql"), "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)"),
        (
            include_str!("../../sqlite/console_cancel.sql"),
            "SEARCH requests USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sqlite/console_again.sql"),
            "SEARCH requests USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sqlite/console_resolve.sql"),
            "SEARCH requests USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sqlite/console_follow.sql"),
            "SEARCH requests USING INTEGER PRIMARY KEY (rowid=?)",
        ),
        (
            include_str!("../../sqlite/console_retryable.sql"),
            "SEARCH requests USING INDEX requests_finished (finished_at>?)",
        ),
        (
            include_str!("../../sqlite/console_key.sql"),
            "SEARCH requests USING INDEX requests_key (trigger_name=? AND unique_key=?)",
        ),
        (
            include_str!("../../sqlite/console_schedule_taken.sql"),
            "SEARCH r USING INDEX requests_scheduled (schedule_name=? AND scheduled_at=?)",
        ),
        (
            include_str!("../../sqlite/console_schedule_events.sql"),
            "SEARCH schedule_events USING INDEX schedule_events_by_name (schedule_name=?)",
        ),
        (
            include_str!("../../sqlite/console_calendars.sql"),
            "SEARCH s USING COVERING INDEX schedules_calendar (calendar=?)",
        ),
    ] {
        let plan = place.text(format!("EXPLAIN QUERY PLAN {sql}")).await;
        assert!(plan.contains(expected), "{sql}: {plan}");
    }
    let twin =
        place.text(format!("EXPLAIN QUERY PLAN {}", include_str!("../../sqlite/console_twin.sql"))).await;
    assert!(twin.contains("SEARCH twin USING INDEX requests_"), "{twin}");
}

#[tokio::test]
async fn what_was_done_before_the_database_failed_is_told() {
    let place = Place::migrated().await;
    // From the 401st on it fails, in a way that is not the row's.
    place
        .run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO requests (trigger_name) SELECT 't' FROM n;
             CREATE TRIGGER fails BEFORE UPDATE OF cancel_requested ON requests WHEN OLD.id > 400
             BEGIN SELECT json('{' || OLD.id); END",
        )
        .await;
    let ids: Vec<i64> = (1..=500).collect();
    let mut verdicts = Vec::new();
    let ended = place.open().await.cancel(&ids, &mut verdicts).await;
    assert!(matches!(ended, Err(Error::Unavailable { .. })), "{ended:?}");
    assert_eq!(verdicts.len(), 400);
    assert!(verdicts.iter().all(|verdict| verdict.done.is_ok()));
    assert_eq!(place.number("SELECT count(*) FROM requests WHERE cancel_requested = 1").await, 400);
}

#[tokio::test]
async fn a_transaction_that_the_schema_ended_is_begun_anew_without_the_row() {
    let place = Place::migrated().await;
    place
        .run(
            "INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('t');
             UPDATE requests SET state = 'failed', attempt = 1, finished_at = 1800000000000;
             CREATE TRIGGER theirs BEFORE UPDATE OF state ON requests WHEN OLD.id = 2 BEGIN SELECT RAISE(ROLLBACK, 'leave it'); END",
        )
        .await;
    let ended = retry(&place, &[1, 2, 3], false).await;
    assert_eq!(ended, ["pending", "the schema refuses it: leave it", "pending"]);
    assert_eq!(place.text("SELECT group_concat(state) FROM requests").await, "pending,failed,pending");
}
