//! The schema: old or new, never between, and nothing of an old database is lost on the way.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use triggerd::queue::sqlite::{SCHEMA_VERSION, SqliteStore};
use triggerd::queue::{Error, Store as _};

use crate::disk::{Disk, Fate, Image, Player};
use crate::survey::effort;
use crate::table::{Content, Examiner, FILE, NOW, content, look, options, reopen, triggers};
use crate::tape::{Act, Fault, Tape};

/// The copy that is made before an upgrade from the first version.
const COPY: &str = "queue.db.before-upgrade-from-1";

/// The product opens one of so many different images.
const REOPENED: usize = 5;

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
        let fates = [Fate::None, Fate::All, Fate::AllBut(rng.usize(..8))];
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
                    assert_eq!(reopened.requests, found.requests, "{}", at());
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

/// A database of the first version with some requests in it; what it holds.
async fn old_database(folder: &Path) -> Content {
    crate::vfs::install();
    let path = folder.join(FILE);
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
    let content = stored(folder).await;
    assert_eq!(content.version, 1);
    content
}

async fn stored(folder: &Path) -> Content {
    let mut reader = look(folder).await.unwrap();
    let content = content(&mut reader).await.unwrap();
    reader.close().await.unwrap();
    content
}

/// Whether a copy of the first version's database is whole.
async fn check_copy(examiner: &mut Examiner, copy: Vec<u8>, before: &Content) {
    let (found, _) = examiner.examine(&Image::from([(FILE.to_owned(), copy)])).await;
    let found = found.unwrap();
    assert_eq!((found.version, found.requests), (1, before.requests));
}

#[tokio::test]
async fn an_upgrade_leaves_a_version_and_every_row_and_a_copy_of_the_old_one_before_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let before = old_database(folder.path()).await;
    let copies = RefCell::new(Vec::new());
    let tried = open(folder.path(), |image, found, answered| {
        let found = found.expect("it was there");
        assert!((1..=SCHEMA_VERSION).contains(&found.version), "{}", found.version);
        assert!(!answered || found.version == SCHEMA_VERSION, "{}, after it was opened", found.version);
        assert_eq!(found.requests, before.requests);
        if found.version > 1 {
            copies.borrow_mut().push(image.get(COPY).expect("a copy was made").clone());
        }
    })
    .await;
    let mut examiner = Examiner::new();
    for copy in copies.into_inner() {
        check_copy(&mut examiner, copy, &before).await;
    }
    assert!(examiner.images > 0);
    println!("an upgrade: {tried}");
}

/// Opens a database that `make` makes, with a fault at its first write or sync, and so on; after an error, again. `check` sees
/// what is left. A few of the many writes have to do.
async fn open_with_faults(make: impl AsyncFn(&Path), check: impl AsyncFn(&Path)) {
    let (mut errors, mut faults) = (0, 0);
    for fault in [Fault::Full, Fault::Write, Fault::Sync] {
        let mut nth = 0;
        loop {
            let folder = tempfile::tempdir().unwrap();
            make(folder.path()).await;
            let tape = Tape::begin(folder.path());
            tape.fail(fault, nth);
            let opened = SqliteStore::open(options(folder.path(), true), &triggers()).await;
            let met = tape.heal();
            let store = match opened {
                Ok(store) => store,
                Err(error) => {
                    errors += 1;
                    assert!(met && matches!(error, Error::Unavailable { .. }), "{fault:?} {nth}: {error}");
                    let again = SqliteStore::open(options(folder.path(), true), &triggers()).await;
                    again.unwrap_or_else(|error| panic!("{fault:?} {nth}: cannot be tried again: {error}"))
                }
            };
            store.start(triggers(), NOW).await.unwrap_or_else(|error| panic!("{fault:?} {nth}: {error}"));
            store.close().await;
            check(folder.path()).await;
            if !met {
                break;
            }
            faults += 1;
            nth += 1 + nth / (4 * effort());
        }
    }
    println!("{faults} faults, {errors} of them told, all others without harm");
    assert!(errors > faults / 2, "{errors} of {faults}");
}

#[tokio::test]
async fn a_new_database_is_made_after_all_when_the_disk_is_well_again() {
    open_with_faults(
        async |_| {},
        async |folder| {
            assert_eq!(stored(folder).await.version, SCHEMA_VERSION);
        },
    )
    .await;
}

#[tokio::test]
async fn an_upgrade_that_met_a_fault_is_done_when_the_disk_is_well_again() {
    let template = tempfile::tempdir().unwrap();
    let before = old_database(template.path()).await;
    let old = std::fs::read(template.path().join(FILE)).unwrap();
    open_with_faults(
        async |folder| std::fs::write(folder.join(FILE), &old).unwrap(),
        async |folder| {
            let found = stored(folder).await;
            assert_eq!((found.version, found.requests), (SCHEMA_VERSION, before.requests));
            check_copy(&mut Examiner::new(), std::fs::read(folder.join(COPY)).unwrap(), &before).await;
        },
    )
    .await;
}
