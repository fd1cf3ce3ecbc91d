//! What follows from the end of a request: who waits for it, its group, its hooks; with the real binary, and across kills.

use std::time::Duration;

use sqlx::Row as _;
use triggerd::invocation::Outcome;
use triggerd::queue::{Batch, Look, PRUNED_AT_ONCE, Retention, Store as _};

use crate::cli::{Place, code, errors};
use crate::queue_contract::{NOW, Table as _, ended, fired, look, new, see, started, want};
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd, Then};
use crate::support::table::SqliteTable;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Blocking triggers of these names, and what else the sections say. The table is looked at once an hour: what is in time is so
/// without that.
fn configuration(far: &FarEnd, triggers: &[(&str, &str)]) -> String {
    let mut text = "[dispatch]\nfallback_poll = \"1h\"\n".to_owned();
    for (name, more) in triggers {
        let url = far.url(&format!("/{name}"));
        text.push_str(&format!("[triggers.{name}]\nurl = \"{url}\"\ncall_mode = \"LongPolling\"\nsend_call_mode = false\n{more}\n"));
    }
    text
}

#[tokio::test]
async fn a_chain_passes_its_outputs_on() {
    let far = FarEnd::start(|seen| match seen.target.as_str() {
        "/a" => {
            Answer::status(200).header("Content-Type", "application/json").body(r#"{"file":"x","n":1e400}"#)
        }
        "/b" => Answer::status(200).header("Content-Type", "text/plain").body("plain \"words\""),
        _ => Answer::status(200).body("done"),
    })
    .await;
    let site = Site::new(&configuration(&far, &[("a", ""), ("b", ""), ("c", "")]));
    let daemon = site.start().await;
    let mut table = site.table().await;
    table
        .run(
            "BEGIN IMMEDIATE;
             INSERT INTO requests (trigger_name) VALUES ('a');
             INSERT INTO requests (trigger_name, arguments, after_id, after_argument) VALUES ('b', '{\"k\":1.0}', 1, 'in');
             INSERT INTO requests (trigger_name, after_id, after_argument, after_pointer) VALUES ('c', 1, 'n', '/n');
             INSERT INTO requests (trigger_name, after_id, after_argument) VALUES ('c', 2, 'in');
             COMMIT",
        )
        .await;
    for id in [4, 3, 2, 1] {
        table.meets(id, "succeeded").await;
    }
    let all = far.all();
    let body = |id: i64| {
        let key = format!("-{id}-");
        let seen = all.iter().find(|seen| seen.header("Idempotency-Key").unwrap().contains(&key));
        seen.unwrap_or_else(|| panic!("{id}: {all:?}")).text().to_owned()
    };
    assert_eq!(body(2), r#"{"k":1.0,"in":{"file":"x","n":1e400}}"#);
    assert_eq!(body(3), r#"{"n":1e400}"#);
    assert_eq!(body(4), r#"{"in":"plain \"words\""}"#);
    assert_eq!(far.all().len(), 4);
    daemon.stop().await;
}

#[tokio::test]
async fn a_chain_that_fails_ends_and_is_retried_from_its_first_on() {
    let far = FarEnd::queue([
        Answer::status(500).body("no"),
        Answer::status(200).body("after all"),
        Answer::status(200).body("1"),
        Answer::status(200).body("2"),
        Answer::status(200).body("3"),
    ])
    .await;
    let site = Site::new(&configuration(&far, &[("t", "")]));
    let daemon = site.start().await;
    let mut table = site.table().await;
    table
        .run(
            "INSERT INTO requests (trigger_name) VALUES ('t');
             INSERT INTO requests (trigger_name, after_id) VALUES ('t', 1);
             INSERT INTO requests (trigger_name, after_id) VALUES ('t', 2);
             INSERT INTO requests (trigger_name, after_id, after_when) VALUES ('t', 2, 'ended')",
        )
        .await;
    table.meets(4, "succeeded").await;
    assert_eq!(table.fate(1).await, "failed job_faulted");
    assert_eq!(table.fate(3).await, "cancelled dependency_failed");
    assert_eq!(
        table.text("SELECT error_message FROM requests WHERE id = 3").await,
        "request 2, which it waits for, has ended as cancelled (dependency_failed)"
    );
    daemon
        .logged("request 2 is cancelled: request 1, which it waits for, has ended as failed (job_faulted)")
        .await;
    // The one behind it is judged anew, and still is not to be.
    assert_eq!(site.verb(&["retry", "2"]).await.0, 0);
    table.until("SELECT state = 'cancelled' AND round = 2 FROM requests WHERE id = 2", 1).await;
    for id in ["1", "2", "3"] {
        assert_eq!(site.verb(&["retry", id]).await.0, 0);
    }
    table.meets(3, "succeeded").await;
    daemon.stop().await;
    assert_eq!(far.all().len(), 5);
}

#[tokio::test]
async fn what_is_settled_goes_on_and_what_is_not_yet_waits() {
    let far = FarEnd::start(|seen| match seen.target.as_str() {
        "/broken" => Answer::raw("").then(Then::Reset),
        _ => Answer::status(200).body("done"),
    })
    .await;
    let site = Site::new(&configuration(&far, &[("broken", ""), ("t", "")]));
    let daemon = site.start().await;
    let mut table = site.table().await;
    table
        .run(
            "INSERT INTO requests (trigger_name, group_key) VALUES ('broken', 'g');
             INSERT INTO requests (trigger_name, after_id) VALUES ('t', 1);
             INSERT INTO requests (trigger_name, after_id, after_when) VALUES ('t', 1, 'ended');
             INSERT INTO request_groups (group_key, trigger_name) VALUES ('g', 't')",
        )
        .await;
    table.meets(1, "uncertain connection_lost").await;
    let (_, shown) = site.verb(&["show", "2"]).await;
    assert!(
        shown.contains("waits for request 1, which is uncertain") && shown.contains("after_when"),
        "{shown}"
    );
    assert_eq!(table.text("SELECT group_concat(held_by) FROM requests").await, "after,after");
    assert_eq!(site.verb(&["resolve", "1", "--as", "succeeded"]).await.0, 0);
    for id in [2, 3, 4] {
        table.meets(id, "succeeded").await;
    }
    assert_eq!(table.number("SELECT request_id FROM group_status WHERE is_complete").await, 4);
    assert_eq!(table.number("SELECT count(*) FROM endings").await, 0);
    daemon.stop().await;
}

/// Ends of all kinds, and kills in between: to each end there is one request that its hook has inserted.
#[tokio::test]
async fn each_end_has_one_hook_whatever_kills_the_daemon() {
    const REQUESTS: i64 = 400;
    const KILLS: i64 = 8;
    let far = FarEnd::start(|seen| match seen.order % 5 {
        0 => Answer::status(500).body("no"),
        1 => Answer::raw("").then(Then::Reset),
        2 => Answer::status(404).body("none"),
        _ => Answer::status(200).body("done"),
    })
    .await;
    let hooks =
        "on_end = { trigger = \"alert\", states = [\"succeeded\", \"failed\", \"rejected\", \"uncertain\"] }";
    let configuration = configuration(&far, &[("t", hooks), ("alert", "")]);
    let site = Site::new(&configuration);
    let mut daemon = site.start().await;
    let mut table = site.table().await;
    table
        .run(format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {REQUESTS})
             INSERT INTO requests (trigger_name, run_at) SELECT 't', run_at + i * 5
             FROM n, (SELECT CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) AS run_at)"
        ))
        .await;
    for kill in 1..=KILLS {
        let ended = "SELECT count(*) FROM requests WHERE trigger_name = 't' AND finished_at IS NOT NULL";
        let enough = format!("SELECT ({ended}) >= {}", kill * REQUESTS / (KILLS + 2));
        table.until(&enough, 1).await;
        daemon.kill().await;
        daemon = site.start().await;
    }
    table.until("SELECT count(*) FROM requests WHERE finished_at IS NULL", 0).await;
    daemon.stop().await;
    let hooked = "SELECT count(*) FROM requests WHERE trigger_name = 'alert'";
    assert_eq!(table.number(hooked).await, REQUESTS);
    let wrong = "SELECT count(*) FROM requests AS r WHERE trigger_name = 't' AND 1 <> (
                   SELECT count(*) FROM requests AS h
                   WHERE h.trigger_name = 'alert' AND json_extract(h.arguments, '$.id') = r.id
                     AND json_extract(h.arguments, '$.state') = r.state)";
    assert_eq!(table.number(wrong).await, 0);
    let kinds =
        table.text("SELECT group_concat(DISTINCT state) FROM requests WHERE trigger_name = 't'").await;
    for kind in ["succeeded", "failed", "uncertain"] {
        assert!(kinds.contains(kind), "{kinds}");
    }
}

#[tokio::test]
async fn what_somebody_waits_for_is_not_deleted_before_that_has_seen_its_end() {
    let table = started::<SqliteTable>().await;
    for _ in 0..3 {
        table.insert(new("alpha")).await;
    }
    let old = NOW.0 - 1000 * 24 * 3600 * 1000;
    table
        .run(format!(
            "UPDATE requests SET state = 'succeeded', finished_at = {old} WHERE id < 3;
             UPDATE requests SET state = 'uncertain', finished_at = {old} WHERE id = 3;
             INSERT INTO outputs (request_id, bytes, body) VALUES (1, 1, '7'), (2, 1, '7');
             INSERT INTO requests (trigger_name, after_id, after_argument) VALUES ('alpha', 1, 'x');
             INSERT INTO requests (trigger_name, after_id) VALUES ('alpha', 3)"
        ))
        .await;
    let keep = Retention {
        succeeded: Some(DAY),
        others: Some(DAY),
        uncertain: Some(DAY),
        outputs: Some(DAY),
        ..Retention::default()
    };
    table.store().prune(keep, NOW, PRUNED_AT_ONCE).await.unwrap();
    let left = async || -> Vec<String> {
        let sql = "SELECT id || ' ' || state || coalesce(' ' || held_by, '') FROM requests ORDER BY id";
        table.rows(sql).await.iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(left().await, ["1 succeeded", "3 failed", "4 pending after", "5 pending after"]);
    assert_eq!(table.rows("SELECT 1 FROM outputs").await.len(), 1);
    assert!(table.store().changed().await.unwrap(), "a survey is due, although nobody else has committed");
    let committed = see(table.store(), look(Vec::new())).await;
    assert_eq!(committed.released, ["alpha"]);
    assert_eq!(committed.cancelled, [(5, "request 3, which it waits for, has ended as failed".to_owned())]);
    assert_eq!(left().await[2..], ["4 pending", "5 cancelled after"]);
    assert_eq!(table.rows("SELECT 1 FROM requests WHERE id = 4 AND arguments = '{\"x\":7}'").await.len(), 1);
    table.store().prune(keep, NOW, PRUNED_AT_ONCE).await.unwrap();
    assert_eq!(left().await[0], "4 pending");
}

#[tokio::test]
async fn what_is_let_go_is_fired_in_the_same_commit_or_told() {
    let table = started::<SqliteTable>().await;
    table.insert(new("alpha")).await;
    table
        .run(format!(
            "INSERT INTO requests (trigger_name, after_id, run_at) VALUES ('beta', 1, {})",
            NOW.0 - 1
        ))
        .await;
    let taken = see(table.store(), look(vec![want("alpha", 0, 9)])).await.intended;
    let done = ended(fired(&taken[0]), Outcome::Succeeded);
    let look = Look { survey: false, ..look(vec![want("beta", 1, 9)]) };
    let batch = Batch { changes: vec![done.clone()], look: Some(look), ..Default::default() };
    let committed = table.store().commit(batch).await.unwrap();
    assert_eq!((committed.released.len(), committed.intended.len()), (1, 1));
    // Of unknown end, it is written again.
    let batch = Batch { changes: vec![done], ..Default::default() };
    let committed = table.store().commit(batch).await.unwrap();
    assert_eq!((committed.released.len(), committed.lost.len()), (0, 1));
}

#[tokio::test]
async fn a_row_that_is_rejected_when_it_is_taken_up_is_an_end_too() {
    let table = started::<SqliteTable>().await;
    table
        .run(format!(
            "DROP TRIGGER requests_insert;
             INSERT INTO requests (trigger_name, arguments, run_at) VALUES ('alpha', '{{', {0});
             INSERT INTO requests (trigger_name, after_id, run_at) VALUES ('alpha', 1, {0});
             INSERT INTO requests (trigger_name, after_id, after_when, run_at) VALUES ('alpha', 1, 'ended', {0})",
            NOW.0 - 1
        ))
        .await;
    let committed = see(table.store(), look(vec![want("alpha", 0, 9)])).await;
    assert_eq!(committed.rejected.len(), 1);
    assert_eq!(committed.cancelled.len(), 1);
    assert_eq!(committed.released, ["alpha"]);
    assert_eq!(
        (table.read(2).await.state, table.read(3).await.state),
        ("cancelled".into(), "pending".into())
    );
}

#[test]
fn a_request_is_submitted_with_what_it_waits_for() {
    let place = Place::migrated();
    place.said(&["submit", "t"]);
    place.said(&[
        "submit",
        "u",
        "--after",
        "1",
        "--after-ended",
        "--after-arg",
        "in=/a~1b",
        "--group",
        "g",
        "--concurrency-key",
        "k",
    ]);
    place.said(&["submit", "u", "--after", "1", "--after-arg", "in"]);
    let shown = place.json(&["show", "2", "--json"]);
    for (column, value) in [
        ("after_id", serde_json::json!(1)),
        ("after_when", "ended".into()),
        ("after_argument", "in".into()),
        ("after_pointer", "/a~1b".into()),
        ("group_key", "g".into()),
        ("concurrency_key", "k".into()),
        ("held_by", "after".into()),
    ] {
        assert_eq!(shown[column], value, "{column}");
    }
    assert!(shown["why"].as_str().unwrap().starts_with("waits for request 1 (pending) to end"), "{shown}");
    let shown = place.json(&["show", "3", "--json"]);
    assert_eq!(
        (&shown["after_when"], &shown["after_pointer"]),
        (&"succeeded".into(), &serde_json::Value::Null)
    );
    assert!(!place.said(&["show", "1"]).contains("after_"));
    let refused = place.triggerd(&["submit", "u", "--after", "99"]);
    assert!(errors(&refused).contains("invalid_value: after_id: must be the id of a request"), "{refused:?}");
    assert_eq!(code(&place.triggerd(&["submit", "u", "--after-ended"])), 2);
}

#[test]
fn hooks_that_would_fire_for_ever_are_refused() {
    let place = Place::new();
    let with = |hooks: &str| {
        let mut text = "[database]\nurl = \"sqlite:queue.db\"\n".to_owned();
        for (name, hook) in hooks.split_whitespace().map(|hook| hook.split_once('>').unwrap()) {
            text.push_str(&format!(
                "[triggers.{name}]\nurl = \"https://api.example/\"\non_end = {{ trigger = \"{hook}\", states = [\"failed\"] }}\n"
            ));
        }
        place.configure(&(text + "[triggers.end]\nurl = \"https://api.example/\"\n"));
        String::from_utf8(place.triggerd(&["check"]).stdout).unwrap()
    };
    assert!(!with("a>b b>c c>end").contains("on_end"));
    let said = with("x>b b>c c>d d>b");
    assert!(
        said.contains(
            "triggers.b.on_end: leads back to where it began, and would fire for ever: b -> c -> d -> b"
        ),
        "{said}"
    );
    assert_eq!(said.matches("leads back").count(), 1, "{said}");
    assert!(with("a>a").contains("for ever: a -> a"));
    assert!(with("a>gone").contains("triggers.a.on_end: there is no [triggers.gone]"));
    for (hook, problem) in [
        ("{ trigger = \"end\" }", "states is missing"),
        ("{ trigger = \"end\", states = [] }", "states must not be empty"),
        ("{ trigger = \"end\", states = [\"done\"] }", "each of states must be one of succeeded, dispatched"),
        (
            "{ trigger = \"end\", states = [\"failed\"], on = 1 }",
            "unknown key on (known here: trigger, states)",
        ),
        ("[]", "must not be empty"),
        ("7", "must be a table such as"),
        (
            "[{ trigger = \"end\", states = [\"failed\"] }, { trigger = \"end\", states = [\"failed\"] }]",
            "fires end twice for failed",
        ),
    ] {
        place.configure(&format!(
            "[database]\nurl = \"sqlite:queue.db\"\n[triggers.t]\nurl = \"https://api.example/\"\non_end = {hook}\n\
             [triggers.end]\nurl = \"https://api.example/\"\n"
        ));
        let said = String::from_utf8(place.triggerd(&["check"]).stdout).unwrap();
        assert!(said.contains(&format!("triggers.t.on_end: {problem}")), "{hook}: {said}");
    }
}

#[tokio::test]
async fn the_sql_of_the_documentation_does_what_it_says() {
    let text =
        include_str!("../../docs/scheduling.md").split("## Requests that wait for others\n").nth(1).unwrap();
    let blocks: Vec<&str> =
        text.split("```sql\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 2);
    let far = FarEnd::start(|seen| match seen.target.as_str() {
        "/extract" => Answer::status(200).body(r#"{"file": "/share/31"}"#),
        _ => Answer::status(200).body("done"),
    })
    .await;
    let site = Site::new(&configuration(&far, &[("extract", ""), ("load", ""), ("summary", "")]));
    let daemon = site.start().await;
    let mut table = site.table().await;
    for block in blocks {
        table.run(block).await;
    }
    table.until("SELECT count(*) FROM requests WHERE state = 'succeeded'", 5).await;
    daemon.stop().await;
    assert_eq!(table.text("SELECT arguments FROM requests WHERE id = 2").await, r#"{"file":"/share/31"}"#);
    let summary = "SELECT trigger_name || ' ' || correlation_id || ' ' || succeeded FROM requests AS r JOIN group_status AS g ON g.request_id = r.id";
    assert_eq!(table.text(summary).await, "summary night 31 2");
}
