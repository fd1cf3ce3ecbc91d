//! Kills while a database of an older version is upgraded: it has the schema of one version or another, never half,
//! and all rows.

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, SqliteConnection};
use triggerd::clock::{Clock as _, SystemClock};
use triggerd::queue::sqlite::SCHEMA_VERSION;

use crate::site::{Site, connect};

/// Rows of the old database. They are of a trigger that has left the configuration, so nothing is done with them.
const FILL: &str = "
PRAGMA journal_mode = WAL;
INSERT INTO triggers (name) VALUES ('gone');
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO requests (trigger_name, arguments) SELECT 'gone', json_object('n', i, 'more', hex(zeroblob(100))) FROM n;
UPDATE requests SET state = 'polling', attempt = 1, status_uri = 'https://gone.example/' || id, due_at = 1 WHERE id % 3 = 0";

/// What is in a file.
#[derive(PartialEq, Eq)]
struct Content {
    version: i64,
    schema: Vec<(String, String, Option<String>)>,
    rows: Vec<(i64, String, String, Option<String>)>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Upgrades {
    /// Processes that were ended by a signal.
    pub(crate) kills: usize,
    /// Files that had the old schema then.
    pub(crate) old: usize,
    pub(crate) findings: Vec<String>,
}

/// Interrupts so many upgrades, each at an instant of its own.
pub(crate) async fn interrupt(folder: &Path, kills: u32, rng: &mut Rng) -> Upgrades {
    let mut upgrades = Upgrades::default();
    let template = folder.join("old.db");
    make_old(&template).await;
    let versions = versions(folder, &template).await;
    let new = versions.last().expect("there is one");
    // One that nothing interrupts: how long it takes.
    let whole = Site::new(folder, "whole", "");
    std::fs::copy(&template, whole.path("queue.db")).expect("the folder is writable");
    let begun = SystemClock.now();
    upgrade(&whole, new, &mut upgrades).await;
    let took = u64::try_from(SystemClock.now().since(begun).as_millis()).unwrap_or(u64::MAX);
    for nth in 0..kills {
        let site = Site::new(folder, &format!("upgrade-{nth}"), "");
        let file = site.path("queue.db");
        std::fs::copy(&template, &file).expect("the folder is writable");
        let (verb, signals): (_, &[Signal]) = match nth % 4 {
            0 => ("run", &[Signal::TERM, Signal::TERM]),
            1 => ("run", &[Signal::KILL]),
            _ => ("migrate", &[Signal::KILL]),
        };
        let mut process = site.spawn(verb, rng.bool());
        let until: fn(&Site) -> bool = match rng.u8(0..3) {
            0 => |_| true,
            1 => is_copied,
            _ => is_begun,
        };
        while !until(&site) && !process.has_ended() {
            tokio::task::yield_now().await;
        }
        // The last step is the shortest one.
        let longest =
            [took + took / 4, took / 8, 2][usize::from(is_copied(&site)) + usize::from(is_begun(&site))];
        tokio::time::sleep(Duration::from_micros(rng.u64(0..=1000 * longest))).await;
        for (nth, signal) in signals.iter().enumerate() {
            // Two that come at once are one. With a pause the second may come at any moment of the stop.
            if nth > 0 && rng.bool() {
                tokio::time::sleep(Duration::from_micros(rng.u64(0..=20_000))).await;
            }
            process.signal(*signal);
        }
        if process.ended().await.is_none() {
            upgrades.findings.push(format!("{verb} did not end after {signals:?}"));
            // One finding is enough: its lock would be the next.
            process.signal(Signal::KILL);
            process.ended().await;
        }
        upgrades.kills += 1;
        let found = content(&file).await;
        upgrades.old += usize::from(found.version == 1);
        // It goes from version to version, each in a transaction of its own.
        match versions.iter().find(|version| version.version == found.version) {
            Some(version) => check(&found, version, &site, &mut upgrades),
            None => upgrades.findings.push(format!("{}: version {}", file.display(), found.version)),
        }
        upgrade(&site, new, &mut upgrades).await;
        if upgrades.findings.is_empty() {
            // A thousand would fill the disk.
            site.remove();
        }
    }
    upgrades
}

/// Whether the copy that is made before an upgrade is whole, or nearly so.
fn is_copied(site: &Site) -> bool {
    let size = |name| std::fs::metadata(site.path(name)).map_or(0, |file| file.len());
    size("queue.db.before-upgrade-from-1") > size("queue.db") / 10 * 9
}

/// Whether the step from one schema to the other has written something.
fn is_begun(site: &Site) -> bool {
    std::fs::metadata(site.path("queue.db-wal")).is_ok_and(|file| file.len() > 0)
}

/// Upgrades what is there, to the end.
async fn upgrade(site: &Site, new: &Content, upgrades: &mut Upgrades) {
    let ended = site.spawn("migrate", false).ended().await;
    if ended.is_none_or(|status| !status.success()) {
        let file = site.path("queue.db").display().to_string();
        upgrades.findings.push(format!("{file} cannot be upgraded: {ended:?}"));
    }
    check(&content(&site.path("queue.db")).await, new, site, upgrades);
}

fn check(found: &Content, expected: &Content, site: &Site, upgrades: &mut Upgrades) {
    if found != expected {
        let (version, rows) = (found.version, found.rows.len());
        let what = if found.rows == expected.rows { "schema" } else { "rows" };
        let file = site.path("queue.db").display().to_string();
        upgrades
            .findings
            .push(format!("{file}: other {what} than there should be (version {version}, {rows} rows)"));
    }
}

/// A database as the first version made it.
async fn make_old(file: &Path) {
    std::fs::write(file, b"").expect("the folder is writable");
    let mut table = connect(file).await;
    migrate(&mut table, 1).await;
    sqlx::raw_sql(FILL).execute(&mut table).await.expect("it is sound");
    table.close().await.expect("it closes");
}

/// The same database as each version has it, from the first one on.
async fn versions(folder: &Path, template: &Path) -> Vec<Content> {
    let mut versions = Vec::new();
    for version in 1..=SCHEMA_VERSION {
        let file = folder.join(format!("version-{version}.db"));
        std::fs::copy(template, &file).expect("the folder is writable");
        let mut table = connect(&file).await;
        migrate(&mut table, version).await;
        table.close().await.expect("it closes");
        let content = content(&file).await;
        assert_eq!(content.version, version, "each migration has a version of its own");
        versions.push(content);
    }
    versions
}

async fn migrate(table: &mut SqliteConnection, to: i64) {
    let all = sqlx::migrate!("migrations/sqlite");
    let some: Vec<_> = all.iter().filter(|migration| migration.version <= to).cloned().collect();
    Migrator::with_migrations(some).run(table).await.expect("it is sound");
}

async fn content(file: &Path) -> Content {
    let mut table: SqliteConnection = connect(file).await;
    let whole: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut table).await.expect("it can be read");
    assert_eq!(whole, "ok", "{}", file.display());
    let version = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut table).await;
    // SQLite's statistics, which a daemon leaves that came to its stop in order, belong to no version.
    let schema =
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT GLOB 'sqlite_stat*' ORDER BY type, name";
    let schema = sqlx::query_as(schema).fetch_all(&mut table).await;
    let rows = sqlx::query_as("SELECT id, arguments, state, status_uri FROM requests ORDER BY id");
    let rows = rows.fetch_all(&mut table).await;
    table.close().await.expect("it closes");
    Content {
        version: version.expect("it can be read"),
        schema: schema.expect("it can be read"),
        rows: rows.expect("it can be read"),
    }
}
