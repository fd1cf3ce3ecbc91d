//! What is past its time goes, in a few commits that stay short; all else stays.

use std::time::Duration;

use sqlx::Row as _;
use triggerd::clock::UnixMillis;
use triggerd::queue::{Deleted, PRUNED_AT_ONCE, Retention, Store as _};

use crate::queue_contract::{NOW, Table as _};
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd};
use crate::support::table::SqliteTable;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn days_ago(days: u64) -> UnixMillis {
    UnixMillis(NOW.0 - i64::try_from((DAY * u32::try_from(days).unwrap()).as_millis()).unwrap())
}

/// As the configuration has it by default.
fn keep() -> Retention {
    Retention {
        succeeded: Some(30 * DAY),
        dispatched: Some(30 * DAY),
        others: Some(90 * DAY),
        uncertain: None,
        outputs: Some(10 * DAY),
    }
}

/// A request in this state, ended then, with an attempt and an output.
async fn ended(table: &SqliteTable, state: &str, at: UnixMillis) {
    table
        .run(format!(
            "INSERT INTO requests (trigger_name) SELECT name FROM triggers LIMIT 1;
             UPDATE requests SET state = '{state}', attempt = 1, finished_at = {0} WHERE id = last_insert_rowid();
             INSERT INTO attempts (request_id, attempt, round, started_at, ended_at, outcome)
             SELECT max(id), 1, 1, {0}, {0}, 'answered' FROM requests;
             INSERT INTO outputs (request_id, bytes, body) SELECT max(id), 1, 'x' FROM requests",
            at.0
        ))
        .await;
}

async fn left(table: &SqliteTable) -> Vec<String> {
    let sql = "SELECT state || ' ' || (SELECT count(*) FROM attempts WHERE request_id = r.id)
                 || ' ' || (SELECT count(*) FROM outputs WHERE request_id = r.id)
               FROM requests AS r ORDER BY id";
    table.rows(sql).await.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn what_is_past_its_retention_is_deleted_and_nothing_else() {
    let table = SqliteTable::fresh().await;
    for (state, days) in [
        ("succeeded", 30),
        ("succeeded", 29),
        ("succeeded", 1),
        ("dispatched", 31),
        ("failed", 31),
        ("failed", 90),
        ("rejected", 91),
        ("expired", 92),
        ("cancelled", 93),
        ("uncertain", 1000),
    ] {
        ended(&table, state, days_ago(days)).await;
    }
    table.run("INSERT INTO requests (trigger_name) SELECT name FROM triggers LIMIT 1").await;

    table.store().prune(keep(), NOW, PRUNED_AT_ONCE).await.unwrap();
    assert_eq!(
        left(&table).await,
        ["succeeded 1 0", "succeeded 1 1", "failed 1 0", "uncertain 1 0", "pending 0 0"],
        "outputs are kept for less long than their requests"
    );
    let orphans =
        "SELECT request_id FROM attempts UNION SELECT request_id FROM outputs EXCEPT SELECT id FROM requests";
    assert_eq!(table.rows(orphans).await.len(), 0);

    let all = Retention { uncertain: Some(DAY), ..keep() };
    table.store().prune(all, NOW, PRUNED_AT_ONCE).await.unwrap();
    assert_eq!(left(&table).await, ["succeeded 1 0", "succeeded 1 1", "failed 1 0", "pending 0 0"]);
    assert_eq!(table.store().prune(all, NOW, PRUNED_AT_ONCE).await.unwrap(), Deleted::default());
}

#[tokio::test]
async fn a_long_history_goes_a_few_rows_a_commit() {
    let table = SqliteTable::fresh().await;
    let rows = PRUNED_AT_ONCE * 2 + 1;
    table
        .run(format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO requests (trigger_name) SELECT (SELECT name FROM triggers LIMIT 1) FROM n;
             UPDATE requests SET state = 'dispatched', attempt = 1, finished_at = {} + id",
            days_ago(40).0
        ))
        .await;
    let mut deleted = Vec::new();
    for _ in 0..4 {
        let some = table.store().prune(keep(), NOW, PRUNED_AT_ONCE).await.unwrap();
        assert_eq!(some.more, some.rows == PRUNED_AT_ONCE);
        deleted.push(some.rows);
    }
    assert_eq!(deleted, [PRUNED_AT_ONCE, PRUNED_AT_ONCE, 1, 0]);
}

/// Outputs end in another order than their requests were inserted.
const YOUNG_FIRST: &str = "
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO requests (trigger_name) SELECT (SELECT min(name) FROM triggers) FROM n;
    UPDATE requests SET state = 'failed', attempt = 1,
      finished_at = 1700000000000 - CASE WHEN id <= 600 THEN 0 ELSE 20 * 86400000 END;
    INSERT INTO outputs (request_id, bytes, body) SELECT id, 1, 'x' FROM requests";

#[tokio::test]
async fn old_outputs_behind_many_young_ones_go_in_one_pass_and_the_next_pass_begins_anew() {
    let now = UnixMillis(1_700_000_000_000);
    let table = SqliteTable::fresh().await;
    table.run(YOUNG_FIRST).await;
    let pass = async |now| {
        let mut deleted = Vec::new();
        loop {
            let some = table.store().prune(keep(), now, PRUNED_AT_ONCE).await.unwrap();
            deleted.push(some.rows);
            if !some.more {
                return deleted;
            }
        }
    };
    let deleted = pass(now).await;
    assert_eq!(deleted.iter().sum::<u64>(), 3400, "{deleted:?}");
    assert!(deleted.iter().all(|rows| *rows <= PRUNED_AT_ONCE), "{deleted:?}");
    assert_eq!(left(&table).await.iter().filter(|row| row.ends_with(" 1")).count(), 600);
    assert_eq!(pass(now).await.iter().sum::<u64>(), 0);
    let deleted = pass(UnixMillis(now.0 + 20 * 86_400_000)).await;
    assert_eq!(deleted.iter().sum::<u64>(), 600, "{deleted:?}");
}

#[tokio::test]
async fn prune_deletes_what_the_dry_run_counts_also_behind_many_young_outputs() {
    let site = Site::new(
        "[retention]\nothers = \"never\"\noutputs = \"3650d\"\n[triggers.t]\nurl = \"http://127.0.0.1:9/\"\n",
    );
    site.verb(&["migrate"]).await;
    let mut table = site.table().await;
    table.run(YOUNG_FIRST).await;
    table
        .run("UPDATE requests SET finished_at = CASE WHEN id <= 600 THEN created_at ELSE 1100000000000 END")
        .await;
    for arguments in [&["prune", "--dry-run", "--json"][..], &["prune", "--json"]] {
        let (code, said) = site.verb(arguments).await;
        assert!(code == 0 && said.contains("\"outputs\":3400,"), "{said}");
    }
    assert_eq!(table.number("SELECT count(*) FROM outputs").await, 600);
}

#[tokio::test]
async fn an_operator_prunes_beside_a_daemon_at_work_and_is_told_what_went() {
    let far = FarEnd::start(|_| Answer::status(202)).await;
    let configuration = format!(
        "[log]\nfilter = \"triggerd=debug\"\n[triggers.t]\nurl = \"{}\"\ncall_mode = \"FireAndForget\"\n",
        far.url("/fire")
    );
    let site = Site::new(&configuration);
    // It prunes when it starts, and finds nothing yet.
    let daemon = site.start().await;
    daemon.logged("retention: 0 rows deleted").await;
    let mut table = site.table().await;
    table
        .run(
            "BEGIN IMMEDIATE;
             UPDATE triggers SET paused = 1;
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1203)
             INSERT INTO requests (trigger_name) SELECT 't' FROM n;
             UPDATE requests SET state = CASE WHEN id = 1 THEN 'uncertain' ELSE 'failed' END, attempt = 1,
               finished_at = created_at - 91 * 86400000;
             UPDATE requests SET finished_at = created_at - 31 * 86400000 WHERE id IN (2, 3);
             INSERT INTO outputs (request_id, bytes, body) SELECT id, 1, 'x' FROM requests WHERE id <> 3;
             COMMIT",
        )
        .await;
    let verb = async |arguments: &[&str]| {
        let (code, said) = site.verb(arguments).await;
        assert_eq!(code, 0, "{said}");
        said
    };
    // Outputs that go alone: of the uncertain one, and of one that failed a month ago.
    let (all, none) = ("{\"requests\":1200,\"outputs\":2,", "{\"requests\":0,\"outputs\":0,");
    assert_eq!(verb(&["prune", "--dry-run", "--json"]).await, format!("{all}\"dry_run\":true}}\n"));
    assert_eq!(table.number("SELECT count(*) FROM requests").await, 1203);
    assert_eq!(verb(&["prune", "--json"]).await, format!("{all}\"dry_run\":false}}\n"));
    assert_eq!(table.text("SELECT group_concat(id) FROM requests").await, "1,2,3");
    assert_eq!(table.number("SELECT count(*) FROM outputs").await, 0);
    assert_eq!(verb(&["prune", "--json"]).await, format!("{none}\"dry_run\":false}}\n"));
    table.run("UPDATE triggers SET paused = 0; INSERT INTO requests (trigger_name) VALUES ('t')").await;
    table.until("SELECT count(*) FROM requests WHERE state = 'dispatched'", 1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_configuration_that_keeps_all_prunes_nothing() {
    let site = Site::new(
        "[retention]\nsucceeded = \"never\"\ndispatched = \"never\"\nothers = \"never\"\noutputs = \"never\"\n\
         [triggers.t]\nurl = \"http://127.0.0.1:9/\"\n",
    );
    let (code, said) = site.verb(&["prune"]).await;
    assert_eq!(code, 69, "there is no database: {said}");
    site.verb(&["migrate"]).await;
    let old = "INSERT INTO requests (trigger_name) VALUES ('t');
               UPDATE requests SET state = 'failed', attempt = 1, finished_at = 1100000000000;
               INSERT INTO outputs (request_id, bytes, body) VALUES (1, 1, 'x')";
    site.table().await.run(old).await;
    for arguments in [&["prune", "--dry-run"][..], &["prune"]] {
        let (code, said) = site.verb(arguments).await;
        assert!(code == 0 && said.contains(": 0; ") && said.ends_with(": 0\n"), "{said}");
    }
}

#[tokio::test]
async fn the_room_of_what_was_deleted_goes_back_to_the_disk_bit_by_bit() {
    let table = SqliteTable::fresh().await;
    table
        .run(format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
             INSERT INTO requests (trigger_name) SELECT (SELECT name FROM triggers LIMIT 1) FROM n;
             UPDATE requests SET state = 'succeeded', attempt = 1, finished_at = {} + id;
             INSERT INTO outputs (request_id, bytes, truncated, body) SELECT id, 102400, 0, zeroblob(102400) FROM requests",
            days_ago(40).0
        ))
        .await;
    let pages = async || table.rows("SELECT * FROM pragma_page_count").await[0].get::<i64, _>(0);
    let before = pages().await;
    let mut steps = 0;
    while table.store().prune(keep(), NOW, 50).await.unwrap().more {
        steps += 1;
    }
    // 5,000 pages, of which some stay for the rows to come.
    assert!(pages().await < before - 2500, "{before} pages are {}", pages().await);
    assert!(steps > 10, "a few pages a commit: {steps}");
}
