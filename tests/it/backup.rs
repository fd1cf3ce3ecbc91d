//! `triggerd backup`: a copy of one instant, made while others write, that is sound, marked, and its owner's alone.

use std::os::unix::fs::PermissionsExt as _;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use crate::cli::{Place, code, errors};
use crate::support::bounded;
use crate::support::daemon::Site;

/// Nothing is fired: the trigger is paused.
const CONFIGURATION: &str = "[triggers.t]\nurl = \"http://127.0.0.1:9/\"\n";

async fn open(path: &std::path::Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}

async fn text(connection: &mut SqliteConnection, sql: &'static str) -> String {
    sqlx::query(sql).fetch_one(connection).await.unwrap().get::<Option<String>, _>(0).unwrap_or_default()
}

/// The names in a folder.
fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_is_of_one_instant_while_the_daemon_and_producers_go_on() {
    let site = Site::new(CONFIGURATION);
    let daemon = site.start().await;
    let mut table = site.table().await;
    table.run("UPDATE triggers SET paused = 1").await;
    // In pairs, so that a copy of two instants would have an odd number.
    let pair = "INSERT INTO requests (trigger_name) VALUES ('t'), ('t')";
    let producing = async {
        loop {
            table.run(pair).await;
        }
    };
    let backups = async {
        for nth in 0..5 {
            let name = format!("{nth}.db");
            let (code, said) = site.verb(&["backup", &name, "--json"]).await;
            assert_eq!(code, 0, "{said}");
            let said: serde_json::Value = serde_json::from_str(&said).unwrap();
            let path = site.path(&name);
            assert_eq!(said["bytes"], path.metadata().unwrap().len());
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            let mut copy = open(&path).await;
            assert_eq!(text(&mut copy, "PRAGMA integrity_check").await, "ok");
            let rows = sqlx::query("SELECT count(*) FROM requests").fetch_one(&mut copy).await.unwrap();
            let rows: i64 = rows.get(0);
            assert_eq!((rows % 2, said["requests"].as_i64()), (0, Some(rows)));
            let later = "SELECT CAST(count(*) AS TEXT) FROM requests, daemon WHERE created_at > backed_up_at";
            assert_eq!(text(&mut copy, later).await, "0", "the mark is not before what it marks");
        }
    };
    bounded(async {
        tokio::select! {
            () = producing => {}
            () = backups => {}
        }
    })
    .await;
    assert!(table.number("SELECT count(*) FROM requests").await > 0);
    assert_eq!(table.text("SELECT backed_up_at FROM daemon").await, "", "only the copy is marked");
    daemon.stop().await;
    let left = names(site.path("").as_path());
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
}

#[test]
fn a_backup_overwrites_nothing_and_leaves_nothing_of_one_that_failed() {
    let place = Place::migrated();
    std::fs::write(place.path("there"), "precious").unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("link")).unwrap();
    let before = names(&place.path(""));
    for name in ["there", "link"] {
        let refused = place.triggerd(&["backup", name]);
        assert_eq!(code(&refused), 1, "{refused:?}");
        assert!(errors(&refused).contains("is there already"), "{refused:?}");
    }
    assert_eq!(std::fs::read(place.path("there")).unwrap(), b"precious");
    let nowhere = place.triggerd(&["backup", "no/folder"]);
    assert_eq!(code(&nowhere), 69, "{nowhere:?}");

    // Damaged in the middle: it cannot be copied, or the copy is not sound.
    place.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO requests (trigger_name) SELECT 't' FROM n; PRAGMA wal_checkpoint(TRUNCATE)",
    );
    {
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::File::options().write(true).open(place.path("queue.db")).unwrap();
        let middle = file.metadata().unwrap().len() / 2 / 4096 * 4096;
        file.write_all_at(&[0x55; 4096], middle).unwrap();
    }
    let damaged = place.triggerd(&["backup", "copy.db"]);
    assert_eq!(code(&damaged), 65, "{damaged:?}");
    let left: Vec<_> =
        names(&place.path("")).into_iter().filter(|name| !name.starts_with("queue.db-")).collect();
    assert_eq!(left, before);
}

#[test]
fn a_backup_needs_a_database_of_this_version() {
    let place = Place::new();
    let none = place.triggerd(&["backup", "copy.db"]);
    assert_eq!(code(&none), 69);
    assert!(errors(&none).contains("`triggerd migrate` makes it"), "{none:?}");
    let place = Place::migrated();
    place.sql("PRAGMA user_version = 2");
    let older = place.triggerd(&["backup", "copy.db"]);
    assert_eq!(code(&older), 69);
    assert!(errors(&older).contains("older than this program's"), "{older:?}");
    place.sql("PRAGMA user_version = 99");
    assert_eq!(code(&place.triggerd(&["backup", "copy.db"])), 65);
    assert!(!place.path("copy.db").exists());
}
