//! `triggerd backup`: a copy of one instant, made while others write, that is sound, marked, and its owner's alone.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
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
    assert_eq!(left(&place), before);
}

/// Some pages to copy.
const MUCH: &str = "
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
    INSERT INTO outputs (request_id, bytes, body) SELECT i, 1048576, zeroblob(1048576) FROM n";

/// What is in a folder, but for what SQLite leaves beside a database.
fn left(place: &Place) -> Vec<String> {
    names(&place.path("")).into_iter().filter(|name| !name.starts_with("queue.db-")).collect()
}

#[test]
fn a_backup_that_has_no_room_names_its_own_folder_and_leaves_nothing() {
    let place = Place::migrated();
    place.sql(MUCH);
    std::fs::create_dir(place.path("backups")).unwrap();
    let before = left(&place);
    // 512 KiB, in blocks of 512 bytes.
    let script = "ulimit -f 1024 && exec \"$0\" backup backups/copy.db";
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_triggerd")])
        .current_dir(place.path(""))
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(code(&output), 69, "{output:?}");
    let said = errors(&output);
    assert!(said.contains(&format!("see the room in {}", place.path("backups").display())), "{said}");
    assert!(!said.contains("database.url"), "{said}");
    assert_eq!(left(&place), before);
    assert_eq!(names(&place.path("backups")), [""; 0]);
}

#[test]
fn a_backup_that_a_signal_ends_leaves_nothing() {
    let place = Place::migrated();
    place.sql(MUCH);
    for signal in [Signal::TERM, Signal::INT] {
        let before = left(&place);
        // It may be done before the signal comes: then once more.
        let ended = (0..50).find_map(|_| {
            let command = &mut place.command(&["backup", "copy.db"]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let begun = || names(&place.path("")).iter().any(|name| name.starts_with(".copy.db-"));
            while !begun() && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            let _ = kill_process(Pid::from_child(&child), signal);
            let output = child.wait_with_output().unwrap();
            let is_done = output.status.success();
            if is_done {
                std::fs::remove_file(place.path("copy.db")).unwrap();
            }
            (!is_done).then_some(output)
        });
        let ended = ended.expect("one of them was not done yet");
        assert_eq!(code(&ended), 1, "{ended:?}");
        assert!(errors(&ended).contains("ended by a signal"), "{ended:?}");
        assert_eq!(left(&place), before);
    }
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
