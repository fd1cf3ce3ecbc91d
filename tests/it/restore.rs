//! The drill: a backup is made at work, work goes on, the machine is lost, the backup is put back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::cli::{Place, code, errors};
use crate::support::bounded;
use crate::support::daemon::{Site, Table};
use crate::support::far_end::{Answer, FarEnd, Hold, Seen};

/// What the backup has.
const FOLLOWED: i64 = 1;
const BEING_FIRED: i64 = 2;
const WAITS: i64 = 3;
const WAITS_REPEATABLE: i64 = 4;
const MUCH_LATER: i64 = 5;

/// A daemon that has worked, on whose place a backup was put back.
struct Drill {
    site: Site,
    far: FarEnd,
    /// Whether the remote jobs have ended.
    ended: Arc<AtomicBool>,
}

impl Drill {
    /// Backs up by `copy`, goes on working, starts anew if it `restarts`, stops, and puts the copy back.
    async fn done(copy: impl AsyncFn(&Site), restarts: bool) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let slow = Hold::new();
        let far = FarEnd::start({
            let (ended, slow) = (Arc::clone(&ended), slow.clone());
            move |seen| match seen.target.as_str() {
                "/slow" => Answer::status(202).header("Location", "/status").held(&slow),
                target if target.starts_with("/fire") => Answer::status(202).header("Location", "/status"),
                "/status" if ended.load(Ordering::Relaxed) => {
                    Answer::status(303).header("Location", "/output")
                }
                "/status" => Answer::status(200),
                _ => Answer::status(200).body("done"),
            }
        })
        .await;
        let trigger = |name: &str, target: &str, repeatable: bool| {
            format!(
                "[triggers.{name}]\nurl = \"{}\"\nrepeatable = {repeatable}\n\
                 poll = {{ initial = \"20ms\", factor = 1.0, max = \"20ms\" }}\n",
                far.url(target)
            )
        };
        let site = Site::new(
            &[
                trigger("once", "/fire/once", false),
                trigger("often", "/fire/often", true),
                trigger("slow", "/slow", false),
            ]
            .concat(),
        );
        let mut daemon = site.start().await;
        let mut table = site.table().await;
        table.run("INSERT INTO requests (trigger_name) VALUES ('once'), ('slow')").await;
        table.meets(FOLLOWED, "polling").await;
        table.meets(BEING_FIRED, "triggering").await;
        table.run("UPDATE triggers SET paused = 1").await;
        table
            .run(
                "INSERT INTO requests (trigger_name, run_at)
                 VALUES ('once', 1700000000000), ('often', 1700000000000), ('once', 9000000000000)",
            )
            .await;
        copy(&site).await;

        // What is lost with the machine.
        slow.release();
        table.run("UPDATE triggers SET paused = 0").await;
        for id in [BEING_FIRED, WAITS, WAITS_REPEATABLE] {
            table.meets(id, "polling").await;
        }
        if restarts {
            daemon.stop().await;
            daemon = site.start().await;
        } else {
            table.run("INSERT INTO requests (trigger_name) VALUES ('once')").await;
            table.meets(6, "polling").await;
        }
        daemon.stop().await;
        table.close().await;
        for name in ["queue.db", "queue.db-wal", "queue.db-shm"] {
            let _ = std::fs::remove_file(site.path(name));
        }
        std::fs::copy(site.path("copy.db"), site.path("queue.db")).unwrap();
        Self { site, far, ended }
    }

    async fn verb(&self, arguments: &[&str]) -> String {
        let (code, said) = self.site.verb(arguments).await;
        assert_eq!(code, 0, "{said}");
        said
    }

    /// The daemon does not start, and says what to do; what it says of the file.
    async fn is_refused(&self) -> String {
        let ended = bounded(self.site.spawn().ended()).await;
        assert_eq!(ended.code, Some(78), "the unit does not restart on it: {}", ended.log);
        for choice in ["triggerd restored --hold", "triggerd restored --fire"] {
            assert!(ended.log.contains(choice), "{}", ended.log);
        }
        ended.log
    }

    /// The firings of a request so far, by its id and the time of its insert.
    fn firings(&self, id: i64, created_at: i64) -> Vec<String> {
        let suffix = format!("-{id}-{created_at}-1");
        let keys = self
            .far
            .all()
            .into_iter()
            .filter_map(|seen: Seen| seen.header("idempotency-key").map(str::to_owned));
        keys.filter(|key| key.ends_with(&suffix)).collect()
    }

    async fn fired(&self, table: &mut Table, id: i64) -> usize {
        let created_at = table.number(format!("SELECT created_at FROM requests WHERE id = {id}")).await;
        let keys = self.firings(id, created_at);
        assert!(keys.iter().all(|key| *key == keys[0]), "one round has one key: {keys:?}");
        keys.len()
    }
}

async fn backup(site: &Site) {
    let (code, said) = site.verb(&["backup", "copy.db"]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn after_hold_nothing_that_may_have_run_is_fired_again() {
    let drill = Drill::done(backup, false).await;
    let said = drill.is_refused().await;
    assert!(said.contains("queue.db is a backup that was made at 20"), "{said}");
    // A migration makes it no other file.
    drill.verb(&["migrate"]).await;
    drill.is_refused().await;
    // Producers go on meanwhile. This one was not there when the backup was made.
    let new: i64 = drill.verb(&["submit", "once"]).await.trim().parse().unwrap();

    let said = drill.verb(&["restored", "--hold", "--json"]).await;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["held"], &said["pending"]), (&2.into(), &2.into()), "{said}");
    let (again, why) = drill.site.verb(&["restored", "--hold"]).await;
    assert_eq!(again, 1, "it was said already: {why}");

    let mut table = drill.site.table().await;
    for id in [WAITS, MUCH_LATER] {
        assert_eq!(table.fate(id).await, "uncertain interrupted");
        let why = table.text(format!("SELECT error_message FROM results WHERE id = {id}")).await;
        assert!(why.starts_with("may have run since the backup was made (20"), "{why}");
    }
    table.run("UPDATE triggers SET paused = 0").await;
    let daemon = drill.site.start().await;
    table.meets(BEING_FIRED, "uncertain interrupted").await;
    table.meets(WAITS_REPEATABLE, "polling").await;
    table.meets(new, "polling").await;
    drill.ended.store(true, Ordering::Relaxed);
    for id in [FOLLOWED, WAITS_REPEATABLE, new] {
        table.meets(id, "succeeded").await;
    }
    assert_eq!(drill.fired(&mut table, FOLLOWED).await, 1);
    assert_eq!(drill.fired(&mut table, BEING_FIRED).await, 1);
    assert_eq!(drill.fired(&mut table, WAITS).await, 1);
    assert_eq!(drill.fired(&mut table, WAITS_REPEATABLE).await, 2);
    assert_eq!(drill.fired(&mut table, MUCH_LATER).await, 0);
    assert_eq!(drill.fired(&mut table, new).await, 1);

    // Somebody has found out that one of them did not run after all: the far end would know the key.
    drill.verb(&["resolve", &WAITS.to_string(), "--as", "retry"]).await;
    table.meets(WAITS, "succeeded").await;
    assert_eq!(drill.fired(&mut table, WAITS).await, 2);
    daemon.stop().await;
}

#[tokio::test]
async fn after_fire_all_that_waits_is_fired_with_the_key_that_it_had() {
    let drill = Drill::done(backup, false).await;
    drill.is_refused().await;
    let said = drill.verb(&["restored", "--fire"]).await;
    assert!(said.contains("with the Idempotency-Key that they had: 3\n"), "{said}");
    let mut table = drill.site.table().await;
    table.run("UPDATE triggers SET paused = 0").await;
    drill.ended.store(true, Ordering::Relaxed);
    let daemon = drill.site.start().await;
    for id in [FOLLOWED, WAITS, WAITS_REPEATABLE] {
        table.meets(id, "succeeded").await;
    }
    table.meets(BEING_FIRED, "uncertain interrupted").await;
    assert_eq!(table.fate(MUCH_LATER).await, "pending");
    assert_eq!(drill.fired(&mut table, WAITS).await, 2);
    assert_eq!(drill.fired(&mut table, WAITS_REPEATABLE).await, 2);
    daemon.stop().await;
}

/// What any other tool makes. The old flight record is beside it when it is put back.
async fn plain_copy(site: &Site) {
    site.table().await.run(format!("VACUUM INTO '{}'", site.path("copy.db").display())).await;
}

#[tokio::test]
async fn a_copy_without_a_mark_is_found_out_by_a_later_start_or_a_later_request() {
    for (restarts, why) in [(true, "start 2)"), (false, "it does not know of a firing of request 6)")] {
        let drill = Drill::done(plain_copy, restarts).await;
        let said = drill.is_refused().await;
        assert!(said.contains("queue.db is an older copy (") && said.contains(why), "{said}");
        // What producers insert from now on hides nothing, and was certainly not fired.
        let new: i64 = drill.verb(&["submit", "once"]).await.trim().parse().unwrap();
        drill.is_refused().await;
        let said = drill.verb(&["restored", "--hold", "--json"]).await;
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["held"], &said["pending"]), (&2.into(), &2.into()), "{said}");
        let mut table = drill.site.table().await;
        table.run("UPDATE triggers SET paused = 0").await;
        drill.ended.store(true, Ordering::Relaxed);
        let daemon = drill.site.start().await;
        for id in [FOLLOWED, WAITS_REPEATABLE, new] {
            table.meets(id, "succeeded").await;
        }
        for id in [BEING_FIRED, WAITS, MUCH_LATER] {
            table.meets(id, "uncertain interrupted").await;
        }
        assert_eq!(drill.fired(&mut table, BEING_FIRED).await, 1);
        assert_eq!(drill.fired(&mut table, WAITS).await, 1);
        daemon.stop().await;
        drill.site.start().await.stop().await;
    }
}

#[tokio::test]
async fn a_copy_of_an_unknown_time_is_held_as_a_whole() {
    let drill = Drill::done(plain_copy, true).await;
    let said = drill.verb(&["restored", "--hold", "--json"]).await;
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["held"], &said["backed_up_at"]), (&2.into(), &serde_json::Value::Null), "{said}");
    drill.site.start().await.stop().await;
}

#[test]
fn what_waits_in_a_backup_is_held_in_steps_whose_last_takes_the_mark_off() {
    let place = Place::migrated();
    place.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1700)
         INSERT INTO requests (trigger_name) SELECT 't' FROM n;
         UPDATE daemon SET backed_up_at = 9000000000000;
         CREATE TRIGGER disk_full BEFORE UPDATE OF state ON requests WHEN NEW.state = 'uncertain' AND OLD.id = 1600
         BEGIN SELECT RAISE(ABORT, 'no room'); END",
    );
    let failed = place.triggerd(&["restored", "--hold"]);
    assert_ne!(code(&failed), 0, "{failed:?}");
    assert_eq!(code(&place.triggerd(&["run"])), 78, "it is marked still");
    place.sql("DROP TRIGGER disk_full");
    let done = place.json(&["restored", "--hold", "--json"]);
    assert!(
        done["held"].as_i64().is_some_and(|held| 0 < held && held < 1700),
        "some were held before: {done}"
    );
    assert_eq!(done["pending"], 0);
    assert_eq!(place.said(&["list", "--state", "pending"]), "");
}

/// As docs/operating.md says.
#[test]
fn a_copy_that_another_tool_made_is_marked_by_hand() {
    let place = Place::migrated();
    place.said(&["submit", "t"]);
    place
        .sql("UPDATE daemon SET backed_up_at = CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)");
    assert_eq!(code(&place.triggerd(&["run"])), 78);
    assert_eq!(place.json(&["restored", "--hold", "--json"])["held"], 1);
}

#[test]
fn requests_of_triggers_that_left_the_configuration_are_held() {
    let place = Place::migrated();
    place.sql(
        "INSERT INTO triggers (name, repeatable) VALUES ('gone', 1);
         INSERT INTO requests (trigger_name) VALUES ('gone');
         UPDATE daemon SET backed_up_at = 9000000000000",
    );
    assert_eq!(place.json(&["restored", "--hold", "--json"])["held"], 1);
}

#[test]
fn only_a_backup_that_was_put_back_is_restored_and_only_in_one_way() {
    let place = Place::new();
    let none = place.triggerd(&["restored", "--hold"]);
    assert_eq!(code(&none), 1, "{none:?}");
    assert!(!place.path("queue.db").exists(), "it makes none");
    let place = Place::migrated();
    let ours = place.triggerd(&["restored", "--fire"]);
    assert_eq!(code(&ours), 1);
    assert!(errors(&ours).contains("is no copy that was put back"), "{ours:?}");
    for arguments in [&["restored"][..], &["restored", "--hold", "--fire"]] {
        assert_eq!(code(&place.triggerd(arguments)), 2);
    }
}

#[tokio::test]
async fn a_daemon_that_runs_keeps_its_database_from_being_restored() {
    let site = Site::new("[triggers.t]\nurl = \"http://127.0.0.1:9/\"\n");
    let daemon = site.start().await;
    let (code, said) = site.verb(&["restored", "--hold"]).await;
    assert_eq!(code, 75, "{said}");
    daemon.stop().await;
}

/// A file as an older program left it, with a request that waits.
async fn of_version_2(site: &Site) {
    std::fs::write(site.path("queue.db"), b"").unwrap();
    let older: Vec<_> = sqlx::migrate!("./migrations/sqlite").iter().take(2).cloned().collect();
    let options = SqliteConnectOptions::new().filename(site.path("queue.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::migrate::Migrator::with_migrations(older).run(&mut connection).await.unwrap();
    let waits = "INSERT INTO triggers (name) VALUES ('t');
                 INSERT INTO requests (trigger_name, run_at) VALUES ('t', 9000000000000)";
    sqlx::raw_sql(waits).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_copy_from_before_an_upgrade_is_found_out_by_a_later_start() {
    let site = Site::new("[triggers.t]\nurl = \"http://127.0.0.1:9/\"\n");
    of_version_2(&site).await;
    let (code, said) = site.verb(&["restored", "--hold"]).await;
    assert!(code == 1 && said.contains("is no copy that was put back"), "{said}");
    let mut table = site.table().await;
    assert_eq!(table.number("PRAGMA user_version").await, 2, "what is refused is left as it is");
    table.close().await;

    site.start().await.stop().await;
    let kept = site.path("queue.db.before-upgrade-from-2");
    for name in ["queue.db-wal", "queue.db-shm"] {
        let _ = std::fs::remove_file(site.path(name));
    }
    std::fs::copy(kept, site.path("queue.db")).unwrap();
    let ended = bounded(site.spawn().ended()).await;
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(ended.log.contains("is an older copy (its last start has the number 0"), "{}", ended.log);
    // An upgrade by hand makes it no other file.
    assert_eq!(site.verb(&["migrate"]).await.0, 0);
    assert_eq!(bounded(site.spawn().ended()).await.code, Some(78));
    let (code, said) = site.verb(&["restored", "--hold"]).await;
    assert!(code == 0 && said.contains("for you to settle: 1;"), "{said}");
    site.start().await.stop().await;
}
