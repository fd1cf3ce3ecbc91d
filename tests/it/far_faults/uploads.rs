//! An answer that comes before all of the arguments have been read.

use super::{at, insert};
use crate::process::QUIET;
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd, Greeting, Seen, Then};

/// Firings of each kind.
const FIRINGS: i64 = 12;

/// A far end that answers when it has read the head, and closes with the rest unread: the machine resets the connection.
async fn hasty(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> FarEnd {
    FarEnd::greeting(|_| Greeting::Early, move |seen| script(seen).then(Then::Close)).await
}

#[tokio::test]
async fn an_early_answer_counts_and_one_that_is_lost_is_in_doubt() {
    let far = hasty(|seen| Answer::status(if seen.target == "/full" { 413 } else { 503 })).await;
    let keys = "call_mode = \"FireAndForget\"\nmax_arguments = \"16MiB\"";
    let site =
        Site::new(&[QUIET, &at("full", &far, "/full", keys), &at("busy", &far, "/busy", keys)].concat());
    let daemon = site.start().await;
    let mut table = site.table().await;
    for (kib, least) in [(64, FIRINGS), (4 * 1024, FIRINGS)] {
        for (name, answered) in [("full", "rejected refused"), ("busy", "uncertain server_error")] {
            let rows = format!(
                "INSERT INTO requests (trigger_name, arguments)
                 SELECT '{name}', json_object('a', hex(zeroblob({}))) FROM generate",
                kib * 512
            );
            table.run(format!(
                "WITH RECURSIVE generate(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM generate WHERE i < {FIRINGS}) {rows}"
            )).await;
            table.until("SELECT count(*) FROM results WHERE is_final = 0", 0).await;
            let of = |fate: &str| {
                format!(
                    "SELECT count(*) FROM requests WHERE trigger_name = '{name}' AND length(arguments) > {} AND length(arguments) < {} AND state || ' ' || error_code = '{fate}'",
                    kib * 1024,
                    kib * 1024 + 100
                )
            };
            let (told, lost) =
                (table.number(of(answered)).await, table.number(of("uncertain connection_lost")).await);
            eprintln!(
                "{FIRINGS} uploads of {kib} KiB cut short by {name}: {told} answers came, {lost} were lost"
            );
            assert_eq!(told + lost, FIRINGS, "{name}, {kib} KiB");
            assert!(told >= least, "{name}, {kib} KiB: {lost} answers were lost");
        }
    }
    assert_eq!(table.number("SELECT max(attempt) FROM requests").await, 1);
    let id = insert(&mut table, "full").await;
    table.meets(id, "rejected refused").await;
    daemon.stop().await;
}
