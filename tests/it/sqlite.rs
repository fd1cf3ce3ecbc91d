//! The table in a SQLite file where it is more than a table: rows that got past the checks, bytes of outputs, files that
//! are not ours, other programs' locks, writes that fail.

use std::time::Duration;

use sqlx::{Connection as _, Row as _};
use triggerd::invocation::{Invocation, Outcome, Output, Phase};
use triggerd::queue::sqlite::{Migrated, SCHEMA_VERSION, SqliteStore, migrate};
use triggerd::queue::{Batch, Change, Error, Store};

use crate::queue_contract::{
    NOW, Table, at, change, ended, fired, ids, intended, look, new, see, started, to, triggers, want,
};
use crate::support::bounded;
use crate::support::table::{SqliteTable, connect, database, options, rows, run};

/// Long enough for what must not happen to happen, if it can.
const A_WHILE: Duration = Duration::from_millis(100);

/// Lets everything into the table: what a program may do that means no good, or that has its own idea of a schema.
async fn open_the_gates(table: &SqliteTable) {
    let drop: Vec<String> = table
        .rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .await
        .iter()
        .map(|row| format!("DROP TRIGGER {};", row.get::<String, _>(0)))
        .collect();
    table.run(format!("PRAGMA ignore_check_constraints = ON; {}", drop.concat())).await;
}

/// Inserts a row of trigger `alpha`, ready since a second, with `column` set to an SQL expression.
async fn slip_in(table: &SqliteTable, column: &str, value: &str) -> i64 {
    let mut columns = vec![("trigger_name", "'alpha'".to_owned()), ("run_at", (NOW.0 - 1000).to_string())];
    columns.retain(|(name, _)| *name != column);
    columns.push((column, value.to_owned()));
    let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    table.run(format!("INSERT INTO requests ({}) VALUES ({})", names.join(", "), values.join(", "))).await;
    table.rows("SELECT max(id) FROM requests").await[0].get(0)
}

/// What is wrong with each row by the daemon's own word, as it is stored.
async fn verdict(table: &SqliteTable, id: i64) -> String {
    let row = table
        .rows(format!("SELECT state, error_code, error_message, finished_at FROM requests WHERE id = {id}"))
        .await
        .remove(0);
    let text = |column: &str| row.get::<Option<String>, _>(column).unwrap_or_default();
    let finished: Option<i64> = row.get("finished_at");
    format!(
        "{} {} {} {}",
        text("state"),
        text("error_code"),
        finished.unwrap_or(0) - NOW.0,
        text("error_message")
    )
}

#[tokio::test]
async fn a_bad_row_ends_alone_and_is_told_what_is_wrong_with_it() {
    bounded(async {
        let table = started::<SqliteTable>().await;
        open_the_gates(&table).await;
        let deep = format!("'{{\"a\":{}1{}}}'", "[".repeat(2000), "]".repeat(2000));
        let large = format!("'{{\"a\":\"{}\"}}'", "x".repeat(64 * 1024));
        const BAD_UTF8: &str = "CAST(x'ff' AS TEXT)";
        let cases = [
            ("trigger_name", "'nobody'"),
            ("trigger_name", "''"),
            ("trigger_name", "x'616c706861'"),
            ("trigger_name", BAD_UTF8),
            ("trigger_name", "CAST(x'616c706861ff' AS TEXT)"),
            ("arguments", BAD_UTF8),
            ("arguments", "x'7b7d'"),
            ("arguments", "5"),
            ("arguments", "''"),
            ("arguments", "'{'"),
            ("arguments", "'[]'"),
            ("arguments", "'{} {}'"),
            ("arguments", "'{\"$callMode\":null}'"),
            ("arguments", "'{\"a\":1,\"\\u0024callMode\":1}'"),
            ("arguments", "'{\"a\":\"' || CAST(x'c3' AS TEXT) || '\"}'"),
            ("arguments", &deep),
            ("arguments", &large),
            ("call_mode", "'async'"),
            ("call_mode", "''"),
            ("call_mode", "1"),
            ("call_mode", "x'00'"),
            ("call_mode", BAD_UTF8),
            ("priority", "101"),
            ("priority", "-101"),
            ("priority", "9223372036854775807"),
            ("priority", "'high'"),
            ("priority", "1.5"),
            ("priority", "x'01'"),
            ("run_at", "0"),
            ("run_at", "-9223372036854775808"),
            ("run_at", "9223372036854775807"),
            ("run_at", "10000000000000"),
            ("run_at", "'tomorrow'"),
            ("run_at", "1700000000000.5"),
            ("run_at", "x'01'"),
            ("expires_at", "9223372036854775807"),
            ("expires_at", "-1"),
            ("expires_at", "'never'"),
            ("expires_at", BAD_UTF8),
            ("deadline_at", "10000000000000"),
            ("deadline_at", "1"),
            ("deadline_at", "x'01'"),
            ("traceparent", BAD_UTF8),
            ("traceparent", "'00-0'"),
            ("traceparent", "7"),
            ("cancel_requested", "2"),
            ("cancel_requested", "-1"),
            ("cancel_requested", "'yes'"),
            ("cancel_requested", "x'01'"),
            ("round", "-1"),
            ("round", "'one'"),
            ("round", "4294967296"),
            ("attempt", "-1"),
            ("attempt", "9223372036854775807"),
            ("attempt", "4294967295"),
            ("attempt", "x'00'"),
            ("due_at", "'soon'"),
            ("due_at", "9223372036854775807"),
            ("due_at", "x'01'"),
            ("status_uri", BAD_UTF8),
            ("status_uri", "'nowhere'"),
            ("effective_call_mode", "'async'"),
            ("effective_call_mode", BAD_UTF8),
            ("polls", "-1"),
            ("polls", "'x'"),
            ("last_polled_at", "'x'"),
            ("http_status", "'x'"),
            ("error_code", "'bad_luck'"),
            ("error_code", BAD_UTF8),
            ("created_at", "'x'"),
            ("started_at", "'x'"),
            ("accepted_at", "x'01'"),
            ("progress", "'{'"),
            ("progress", "'{\"waits\":-1}'"),
            ("progress", BAD_UTF8),
        ];
        let mut bad = Vec::new();
        let mut good = Vec::new();
        for (column, value) in cases {
            bad.push((column, value, slip_in(&table, column, value).await));
            good.push(table.insert(new("alpha")).await);
        }
        // One bad row may be found at each step of a look: as a name, as a candidate, as one that ends.
        let mut intended = Vec::new();
        let mut rejected = Vec::new();
        for _ in 0..3 {
            let committed = see(table.store(), look(vec![want("alpha", 0, 1000)])).await;
            intended.extend(ids(&committed.intended));
            rejected.extend(committed.rejected);
        }
        intended.sort_unstable();
        assert_eq!(intended, good);
        for (column, value, id) in bad {
            let verdict = verdict(&table, id).await;
            let value = &value[..value.len().min(60)];
            assert!(
                verdict.starts_with(&format!("rejected invalid_request 0 {column}: ")),
                "{column} = {value}: {verdict}"
            );
            let told = rejected.iter().filter(|(rejected, _)| *rejected == id).count();
            assert_eq!(told, 1, "{column} = {value}: told so often");
        }
    })
    .await;
}
