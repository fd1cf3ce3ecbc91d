//! What disks, and those who handle files, do to a database in use: as far as no root is needed for it.

use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, prlimit};

use crate::support::bounded;
use crate::support::daemon::{Daemon, Site, Table};
use crate::support::far_end::{Answer, FarEnd, Hold};

const INSERT: &str = "INSERT INTO requests (trigger_name) VALUES ('t')";
const MIB: usize = 1024 * 1024;

fn trigger(far: &FarEnd, keys: &str) -> String {
    format!("[triggers.t]\nurl = \"{}\"\n{keys}\n", far.url("/fire"))
}

/// Dispatches a request, and so shows that all is well.
async fn works(table: &mut Table) {
    table.run(INSERT).await;
    let id = table.number("SELECT max(id) FROM requests").await;
    table.meets(id, "dispatched").await;
}

fn forgetting(far: &FarEnd) -> Site {
    Site::new(&trigger(far, "call_mode = \"FireAndForget\""))
}

/// Waits for the end of a daemon that cannot go on.
async fn ends(daemon: Daemon, code: i32, words: &[&str]) {
    let ended = bounded(daemon.ended()).await;
    assert_eq!(ended.code, Some(code), "{}", ended.log);
    let last = ended.log.lines().last().unwrap_or_default();
    for words in words {
        assert!(last.contains(words), "{words:?} is not in the last line:\n{}", ended.log);
    }
}

/// What another process does to the file: in this one it would drop the locks of SQLite's connections here.
fn shell(site: &Site, script: &str) {
    let done = Command::new("/bin/sh").arg("-ec").arg(script).current_dir(site.path("")).status().unwrap();
    assert!(done.success(), "{script}");
}

#[tokio::test]
async fn a_file_size_limit_ends_nothing_and_costs_nothing_once_it_is_lifted() {
    let hold = Hold::new();
    let holding = hold.clone();
    let far = FarEnd::start(move |_| Answer::status(200).body(vec![b'x'; 8 * MIB]).held(&holding)).await;
    let keys = "call_mode = \"LongPolling\"\nmax_output = \"8MiB\"";
    let site = Site::new(&trigger(&far, keys));
    // 6 MiB, in blocks of 512 bytes: room for all but the outputs of one commit.
    let daemon = site.spawn_with("-S -f 12288");
    daemon.logged("triggerd::daemon: ready").await;
    daemon.logged("no ballast of 8 MiB can be made").await;
    let mut table = site.table().await;
    table.run(INSERT).await;
    bounded(far.seen(1)).await;
    hold.release();
    daemon.logged("(code: 778) disk I/O error").await;
    daemon.logged("next try in 400 ms").await;
    assert_eq!(table.fate(1).await, "triggering");
    let unlimited = Rlimit { current: None, maximum: None };
    prlimit(Some(daemon.pid()), Resource::Fsize, unlimited).unwrap();
    table.meets(1, "succeeded").await;
    assert_eq!(table.number("SELECT length(body) FROM outputs").await, 8 * MIB as i64);
    assert_eq!(table.number("SELECT count(*) FROM attempts").await, 1);
    daemon.logged("the database can be used again").await;
    daemon.stop().await;
    assert_eq!(bounded(far.seen(1)).await.len(), 1, "it was fired once");
}

#[tokio::test]
async fn a_page_that_is_damaged_while_it_runs_ends_it_with_65_and_the_file_stays() {
    let far = FarEnd::start(|_| Answer::status(200)).await;
    let site = forgetting(&far);
    let daemon = site.start().await;
    let mut table = site.table().await;
    works(&mut table).await;
    table.run("CREATE TABLE mine (a)").await;
    let pages: (String,) = table
        .row("SELECT group_concat(rootpage, ' ') FROM sqlite_schema WHERE tbl_name = 'requests' AND rootpage > 0")
        .await;
    table.row::<(i64, i64, i64)>("PRAGMA wal_checkpoint(TRUNCATE)").await;
    shell(
        &site,
        &format!(
            "for page in {}; do tr '\\0' '\\245' </dev/zero | dd of=queue.db bs=4096 seek=$((page - 1)) count=1 iflag=fullblock conv=notrunc 2>/dev/null; done",
            pages.0
        ),
    );
    // So that what the daemon has read before is old.
    table.run("INSERT INTO mine VALUES (1)").await;
    ends(daemon, 65, &["damaged or not a triggerd database", "malformed"]).await;
    let size = site.path("queue.db").metadata().unwrap().len();
    ends(site.spawn(), 65, &["damaged or not a triggerd database"]).await;
    assert_eq!(site.path("queue.db").metadata().unwrap().len(), size, "it was made anew");
}

mod replaced {
    use super::*;

    #[tokio::test]
    async fn a_database_that_is_moved_away_ends_it_with_69_and_can_be_moved_back() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = forgetting(&far);
        let daemon = site.start().await;
        let mut table = site.table().await;
        works(&mut table).await;
        table.close().await;
        shell(&site, "mv queue.db old.db");
        ends(
            daemon,
            69,
            &["the database file was replaced", "nothing is any more at", "old.db", "move it back"],
        )
        .await;
        // A service manager starts it again: no empty one is made in its place.
        ends(site.spawn(), 69, &["it was moved or deleted, but", "queue.db-wal is still there"]).await;
        assert!(!site.path("queue.db").exists());
        shell(&site, "test ! -s queue.db-wal && rm -f queue.db-wal queue.db-shm && mv old.db queue.db");
        let daemon = site.start().await;
        let mut table = site.table().await;
        assert_eq!(table.fate(1).await, "dispatched");
        works(&mut table).await;
        daemon.stop().await;
    }

    #[tokio::test]
    async fn after_another_file_came_into_its_place_nothing_is_fired() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = forgetting(&far);
        let daemon = site.start().await;
        let mut table = site.table().await;
        works(&mut table).await;
        table.run(format!("VACUUM INTO '{}'", site.path("copy.db").display())).await;
        table.close().await;
        shell(&site, "mv copy.db queue.db");
        ends(daemon, 69, &["another file is at", "which has been deleted", "queue.db.rescued"]).await;
        assert_eq!(bounded(far.seen(1)).await.len(), 1);
    }

    #[tokio::test]
    async fn a_database_that_is_deleted_is_copied_before_the_last_of_it_goes() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = forgetting(&far);
        let daemon = site.start().await;
        let mut table = site.table().await;
        for _ in 0..3 {
            works(&mut table).await;
        }
        table.close().await;
        shell(&site, "rm queue.db queue.db-wal queue.db-shm");
        ends(daemon, 69, &["nothing is any more at", "they were copied to", "queue.db.rescued"]).await;
        shell(&site, "mv queue.db.rescued queue.db");
        let daemon = site.start().await;
        let mut table = site.table().await;
        assert_eq!(table.number("SELECT count(*) FROM requests WHERE state = 'dispatched'").await, 3);
        works(&mut table).await;
        daemon.stop().await;
    }

    #[tokio::test]
    async fn an_older_copy_of_the_same_start_is_found_out_by_a_firing_that_it_does_not_know() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = forgetting(&far);
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run("UPDATE triggers SET paused = 1").await;
        table.run(INSERT).await;
        table.run(format!("VACUUM INTO '{}'", site.path("copy.db").display())).await;
        table.run("UPDATE triggers SET paused = 0").await;
        table.meets(1, "dispatched").await;
        table.close().await;
        daemon.kill().await;
        shell(&site, "rm -f queue.db-wal queue.db-shm && mv copy.db queue.db");
        ends(site.spawn(), 78, &["older copy", "it does not know of a firing of request 1"]).await;
        assert_eq!(far.all().len(), 1);
    }

    #[tokio::test]
    async fn a_file_on_which_others_have_begun_a_log_of_their_own_is_not_written_any_more() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = forgetting(&far);
        let daemon = site.start().await;
        let mut table = site.table().await;
        for _ in 0..200 {
            works(&mut table).await;
        }
        table.close().await;
        // Before the daemon sees it, a producer goes on with what is left of the file.
        shell(&site, "rm queue.db-wal queue.db-shm");
        let mut table = site.table().await;
        table.run("INSERT INTO requests (trigger_name, run_at) VALUES ('t', 9000000000000)").await;
        let id = table.number("SELECT max(id) FROM requests").await;
        ends(daemon, 69, &["was deleted or replaced", "they were copied to", "queue.db.rescued"]).await;
        assert_eq!(table.text("PRAGMA integrity_check").await, "ok");
        assert_eq!(table.fate(id).await, "pending");
        table.close().await;
        // What is in the file is older than what was fired: nobody fires it again unasked.
        ends(site.spawn(), 78, &["older copy", "triggerd restored"]).await;
        assert_eq!(far.all().len(), 200);
        shell(&site, "rm -f queue.db-wal queue.db-shm && mv queue.db.rescued queue.db");
        let mut table = site.table().await;
        assert_eq!(table.number("SELECT count(*) FROM requests WHERE state = 'dispatched'").await, 200);
    }

    #[tokio::test]
    async fn a_write_ahead_log_that_is_deleted_ends_it_with_69_and_loses_nothing() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = forgetting(&far);
        let daemon = site.start().await;
        let mut table = site.table().await;
        works(&mut table).await;
        table.close().await;
        shell(&site, "rm queue.db-wal");
        ends(daemon, 69, &["queue.db-wal was deleted or replaced", "only SQLite may touch it"]).await;
        let daemon = site.start().await;
        let mut table = site.table().await;
        assert_eq!(table.fate(1).await, "dispatched");
        works(&mut table).await;
        daemon.stop().await;
    }
}

mod schema {
    use super::*;

    #[tokio::test]
    async fn what_others_do_to_the_schema_is_told_once_and_when_it_is_over() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = forgetting(&far);
        let daemon = site.start().await;
        let mut table = site.table().await;
        // Theirs, and no trouble.
        table.run("CREATE TABLE mine (a); CREATE INDEX mine_too ON requests (state, id)").await;
        works(&mut table).await;
        table.run("CREATE TRIGGER theirs AFTER UPDATE ON requests BEGIN SELECT 1; END").await;
        let words =
            "the schema was changed by another program: the SQL trigger theirs on requests is not triggerd's";
        daemon.logged(words).await;
        works(&mut table).await;
        table.run("DROP TRIGGER theirs").await;
        daemon.logged("the schema is what it should be again").await;
        let log = daemon.stop().await;
        assert_eq!(log.matches("the schema was changed").count(), 1, "{log}");
    }

    #[tokio::test]
    async fn a_column_that_is_gone_ends_it_with_65() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = forgetting(&far);
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run("ALTER TABLE attempts DROP COLUMN status_uri").await;
        ends(daemon, 65, &["its schema was changed: column attempts.status_uri is missing"]).await;
    }

    #[tokio::test]
    async fn an_index_that_is_gone_is_named() {
        let far = FarEnd::start(|_| Answer::status(200)).await;
        let site = forgetting(&far);
        site.start().await.stop().await;
        let mut table = site.table().await;
        let (sql,): (String,) = table.row("SELECT sql FROM sqlite_schema WHERE name = 'requests_due'").await;
        table.run("DROP INDEX requests_due").await;
        let daemon = site.spawn();
        daemon.logged("the database cannot be used: start").await;
        table.run(sql).await;
        daemon.logged("triggerd::daemon: ready").await;
        table.run("DROP INDEX requests_finished").await;
        daemon.logged("the index requests_finished is missing; see `triggerd doctor`").await;
        works(&mut table).await;
        daemon.stop().await;
    }
}

#[tokio::test]
async fn nobody_takes_the_write_ahead_log_away_for_longer_than_until_the_next_start() {
    let far = FarEnd::start(|_| Answer::status(200)).await;
    let site = forgetting(&far);
    let daemon = site.start().await;
    let mut table = site.table().await;
    let refused = table.refused("PRAGMA journal_mode = DELETE").await;
    assert!(refused.contains("locked"), "{refused}");
    daemon.stop().await;
    assert_eq!(table.text("PRAGMA journal_mode = DELETE").await, "delete");
    let daemon = site.start().await;
    assert_eq!(site.table().await.text("PRAGMA journal_mode").await, "wal");
    works(&mut table).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_ballast_lies_beside_the_database_with_the_mode_of_its_neighbours() {
    use std::os::unix::fs::MetadataExt as _;
    let file = |site: &Site, name: &str| Path::new(&site.path(name)).metadata().unwrap();
    let site = Site::new("");
    let daemon = site.start().await;
    let ballast = file(&site, "queue.db.ballast");
    assert!(ballast.blocks() * 512 >= 8 * MIB as u64, "it is really there: {}", ballast.blocks());
    assert_eq!(ballast.mode(), file(&site, "queue.db").mode());
    daemon.stop().await;
    assert_eq!(file(&site, "queue.db.ballast").ino(), ballast.ino(), "it stays for the next start");
}
