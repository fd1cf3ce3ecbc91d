//! A producer in Rust: inserts a request, and waits for its end. `cargo run --example producer -- queue.db`

#![expect(clippy::print_stdout, reason = "it is what this program is for")]

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("which database?")?;
    let options = SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(Duration::from_secs(10)) // wait for other writers
        .pragma("synchronous", "FULL") // what is committed survives a loss of power
        .pragma("wal_autocheckpoint", "0"); // the daemon does that
    let mut queue = SqliteConnection::connect_with(&options).await?;

    // A transaction: only a COMMIT that answered well has stored something.
    let mut transaction = queue.begin_with("BEGIN IMMEDIATE").await?;
    let request = sqlx::query("INSERT INTO requests (trigger_name, arguments) VALUES (?, ?)")
        .bind("nightly-report")
        .bind(r#"{"month": "2026-04"}"#)
        .execute(&mut *transaction)
        .await?
        .last_insert_rowid();
    transaction.commit().await?;

    loop {
        let row = sqlx::query("SELECT state, is_final, output, error_code FROM results WHERE id = ?")
            .bind(request)
            .fetch_one(&mut queue)
            .await?;
        if row.get("is_final") {
            let (output, code): (Option<String>, Option<String>) = (row.get("output"), row.get("error_code"));
            let said = output.or(code).unwrap_or_default();
            println!("{request} {} {said}", row.get::<String, _>("state"));
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
