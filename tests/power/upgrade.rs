//! The schema: old or new, never between, and nothing of an old database is lost on the way.

use std::fmt;
use std::path::Path;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use triggerd::queue::sqlite::{SCHEMA_VERSION, SqliteStore};

use crate::disk::{Disk, Fate, Image, Player};
use crate::survey::effort;
use crate::table::{Content, Examiner, FILE, content, look, options, reopen, triggers};
use crate::tape::{Act, Tape};

/// The product opens one of so many different images.
const REOPENED: usize = 3;

/// What was tried.
struct Tried {
    images: usize,
    different: usize,
    reopened: usize,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} images, {} different, {} opened by the product",
            self.images, self.different, self.reopened
        )
    }
}

/// Opens the database of a folder, and loses the power at each point of it. `judge` is told of each image, what is in it, and
/// whether the open was answered by then.
async fn open(folder: &Path, judge: impl Fn(&Image, Option<Content>, bool)) -> Tried {
    let tape = Tape::begin(folder);
    tape.note(Act::Begun);
    let store = SqliteStore::open(options(folder, true), &triggers()).await.unwrap();
    tape.note(Act::Promised);
    let mut examiner = Examiner::new();
    let mut player = Player::new(&tape, Disk::Honest);
    let mut rng = fastrand::Rng::with_seed(3);
    let mut reopened_images = 0;
    while player.step() {
        if !player.begun_at_all() {
            continue;
        }
        let seeds = effort();
        let fates = [Fate::None, Fate::All, Fate::AllBut(rng.usize(..8)), Fate::OnlyTheLast];
        for fate in fates.into_iter().chain((0..seeds).map(|_| Fate::Some(rng.u64(..)))) {
            let image = player.image(fate);
            let at = || format!("after operation {}, {fate:?}", player.played);
            let found = if image.contains_key(FILE) {
                let (found, new) = examiner.examine(&image).await;
                let found = found.unwrap_or_else(|problem| panic!("{}: {problem}", at()));
                if new && examiner.different().is_multiple_of(REOPENED) {
                    reopened_images += 1;
                    let reopened =
                        reopen(&image, true).await.unwrap_or_else(|error| panic!("{}: {error}", at()));
                    assert_eq!(reopened.version, SCHEMA_VERSION, "{}", at());
                    assert!(found.version == 0 || reopened.requests == found.requests, "{}", at());
                }
                Some(found)
            } else {
                None
            };
            judge(&image, found, player.promised > 0);
        }
    }
    store.close().await;
    Tried { images: examiner.images, different: examiner.different(), reopened: reopened_images }
}

#[tokio::test]
async fn a_new_database_is_made_or_can_be_made_again_wherever_the_power_fails() {
    let folder = tempfile::tempdir().unwrap();
    let tried = open(folder.path(), |_, found, answered| {
        let version = found.map_or(0, |found| found.version);
        assert!((0..=SCHEMA_VERSION).contains(&version));
        assert!(!answered || version == SCHEMA_VERSION, "{version}, after it was opened");
    })
    .await;
    println!("a new database: {tried}");
}

#[tokio::test]
async fn an_upgrade_leaves_the_old_schema_or_the_new_one_and_every_row_and_a_copy() {
    crate::vfs::install();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let first: Vec<_> = sqlx::migrate!("./migrations/sqlite").iter().take(1).cloned().collect();
    let mut old =
        SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
    sqlx::migrate::Migrator::with_migrations(first).run(&mut old).await.unwrap();
    let rows = "PRAGMA journal_mode = WAL;
        INSERT INTO triggers (name) VALUES ('alpha');
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
        INSERT INTO requests (trigger_name, arguments) SELECT 'alpha', json_object('n', i) FROM n;
        UPDATE requests SET state = 'polling', attempt = 1, status_uri = 'https://alpha.example/' || id, due_at = 1 WHERE id > 20";
    sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut old).await.unwrap();
    old.close().await.unwrap();
    let mut reader = look(folder.path()).await.unwrap();
    let before = content(&mut reader).await.unwrap();
    reader.close().await.unwrap();
    assert_eq!(before.version, 1);
    let copies = std::cell::RefCell::new(Vec::new());
    let tried = open(folder.path(), |image, found, answered| {
        let found = found.expect("it was there");
        assert!(matches!(found.version, 1 | SCHEMA_VERSION), "{}", found.version);
        assert!(!answered || found.version == SCHEMA_VERSION, "{}, after it was opened", found.version);
        assert_eq!(found.requests, before.requests);
        if found.version == SCHEMA_VERSION {
            let copy = image.get(&format!("{FILE}.before-upgrade-from-1")).expect("a copy was made");
            copies.borrow_mut().push(copy.clone());
        }
    })
    .await;
    let mut examiner = Examiner::new();
    for copy in copies.into_inner() {
        let (found, _) = examiner.examine(&Image::from([(FILE.to_owned(), copy)])).await;
        let found = found.unwrap();
        assert_eq!((found.version, found.requests), (1, before.requests));
    }
    assert!(examiner.images > 0);
    println!("an upgrade: {tried}");
}
