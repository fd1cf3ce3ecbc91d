//! What is past its time goes, in a few commits that stay short; all else stays.

use std::time::Duration;

use sqlx::Row as _;
use triggerd::clock::UnixMillis;
use triggerd::queue::{PRUNED_AT_ONCE, Retention, Store as _};

use crate::queue_contract::{NOW, Table as _};
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

    table.store().prune(keep(), NOW).await.unwrap();
    assert_eq!(
        left(&table).await,
        ["succeeded 1 0", "succeeded 1 1", "failed 1 0", "uncertain 1 0", "pending 0 0"],
        "outputs are kept for less long than their requests"
    );
    let orphans =
        "SELECT request_id FROM attempts UNION SELECT request_id FROM outputs EXCEPT SELECT id FROM requests";
    assert_eq!(table.rows(orphans).await.len(), 0);

    let all = Retention { uncertain: Some(DAY), ..keep() };
    table.store().prune(all, NOW).await.unwrap();
    assert_eq!(left(&table).await, ["succeeded 1 0", "succeeded 1 1", "failed 1 0", "pending 0 0"]);
    assert_eq!(table.store().prune(all, NOW).await.unwrap(), 0);
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
        deleted.push(table.store().prune(keep(), NOW).await.unwrap());
    }
    assert_eq!(deleted, [PRUNED_AT_ONCE, PRUNED_AT_ONCE, 1, 0]);
}
