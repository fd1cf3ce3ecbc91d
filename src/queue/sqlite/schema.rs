//! The schema: whether a file has it, and how it gets it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{Connection as _, Row as _};
use tokio::sync::watch as signal;

use super::plans::register_plans;
use super::shape::Shape;
use super::{
    BUSY_TIMEOUT, Options, START_BUSY_TIMEOUT, access, explain, library_version, lock, modes, primary_code,
    restored, statements,
};
use crate::clock::UnixMillis;
use crate::queue::Error;
use crate::schedule::Plans;
use crate::trigger::Trigger;

/// The `user_version` that this program writes and reads.
pub const SCHEMA_VERSION: i64 = 4;
/// From here on a copy of `triggerd backup` says that it is one.
pub(super) const MARKED_SINCE: i64 = 3;
/// "trgd": `application_id` of every database of this program.
const APPLICATION_ID: i64 = 0x7472_6764;
/// The first SQLite without the WAL-reset bug (sqlite.org/wal.html#walresetbug).
const OLDEST_LIBRARY: (u32, u32, u32) = (3, 51, 3);

/// Between two tries of a start that somebody's lock keeps out at once.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Tries of a second each between two warnings.
const WARN_EVERY: u32 = 30;

pub(super) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");

/// Who opens a database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// Whoever fires what waits in it: not in a copy that was put back.
    Daemon,
    /// Whoever only makes it ready.
    Operator,
}

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The file was made.
    pub created: bool,
    /// The schema version before.
    pub from: i64,
    /// The schema version now.
    pub to: i64,
    /// The copy that was made before an upgrade.
    pub backup: Option<PathBuf>,
}

/// Creates or upgrades the database, under the daemon's lock, and registers the configured triggers.
///
/// # Errors
/// [`Error::Locked`] while a daemon runs; the rest as their names say.
pub async fn migrate(options: &Options, triggers: &[Arc<Trigger>]) -> Result<Migrated, Error> {
    let options = options.clone().resolved();
    access::check(&options.path)?;
    let _lock = lock(&options.path).await?;
    migrate_locked(&options, triggers, Opener::Operator).await
}

/// As [`migrate`], and registers the schedules and calendars of the configuration too.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_with(
    options: &Options,
    triggers: &[Arc<Trigger>],
    plans: &Plans,
    now: UnixMillis,
) -> Result<Migrated, Error> {
    let options = options.clone().resolved();
    access::check(&options.path)?;
    let _lock = lock(&options.path).await?;
    let migrated = migrate_locked(&options, triggers, Opener::Operator).await?;
    let mut connection = open(&options, &options.writing()).await?;
    let register = async {
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        register_plans(&mut tx, plans, now).await?;
        tx.commit().await
    };
    register.await.map_err(|e| explain("register the schedules", e))?;
    connection.close().await.map_err(|e| explain("close the database", e))?;
    Ok(migrated)
}

pub(super) async fn migrate_locked(
    options: &Options,
    triggers: &[Arc<Trigger>],
    opener: Opener,
) -> Result<Migrated, Error> {
    let wanted = || true;
    let migrated = step_by_step(options, triggers, opener, BUSY_TIMEOUT, &wanted).await?;
    Ok(migrated.expect("it is wanted to the end"))
}

/// The same for a daemon, which waits for the locks of others as long as it takes, unless it is told to give up.
pub(super) async fn migrate_patiently(
    options: &Options,
    triggers: &[Arc<Trigger>],
    give_up: &signal::Receiver<bool>,
) -> Result<Option<Migrated>, Error> {
    let wanted = || !*give_up.borrow();
    let mut tries = 0_u32;
    // It begins anew each time: every step is one commit, and finds what the last try stored.
    while wanted() {
        match step_by_step(options, triggers, Opener::Daemon, START_BUSY_TIMEOUT, &wanted).await {
            Err(Error::Unavailable { source: Some(source), .. }) if is_busy(&source) => {
                if tries.is_multiple_of(WARN_EVERY) {
                    tracing::warn!(
                        error = %source,
                        "the start waits for another program that holds a lock on {}", options.path.display()
                    );
                }
                tries += 1;
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            done => return done,
        }
    }
    Ok(None)
}

/// Whether somebody else's lock was in the way: SQLITE_BUSY, SQLITE_LOCKED.
fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(5 | 6))
}

/// `None` if it was not wanted any more before its last step.
async fn step_by_step(
    options: &Options,
    triggers: &[Arc<Trigger>],
    opener: Opener,
    busy_timeout: Duration,
    wanted: &(dyn Fn() -> bool + Sync),
) -> Result<Option<Migrated>, Error> {
    refuse_remote_filesystem(options)?;
    let created = !options.path.exists();
    if created {
        modes::open_or_create(&options.path).map_err(|e| Error::Unavailable {
            what: format!("create {}: {e}", options.path.display()),
            source: None,
        })?;
    } else {
        // Before the file is put into WAL mode: it may be another program's.
        let mut connection = open(options, &options.connect().busy_timeout(busy_timeout)).await?;
        let found = version(&mut connection).await?;
        if opener == Opener::Daemon {
            restored::refuse(&mut connection, options, found).await?;
        }
        connection.close().await.map_err(|e| explain("close the database", e))?;
    }
    let connect = options.writing().busy_timeout(busy_timeout).auto_vacuum(SqliteAutoVacuum::Incremental);
    let mut connection = open(options, &connect).await?;
    let (text, library) =
        library_version(&mut connection).await.map_err(|e| explain("read the SQLite version", e))?;
    if library < OLDEST_LIBRARY {
        return Err(Error::Corrupt(format!(
            "SQLite {text} is linked, which can damage a database in WAL mode; 3.51.3 or later is needed"
        )));
    }
    let from = version(&mut connection).await?;
    if !wanted() {
        return Ok(None);
    }
    let backup = if from > 0 && from < SCHEMA_VERSION {
        Some(backup(&mut connection, options, from).await?)
    } else {
        None
    };
    if !wanted() {
        return Ok(None);
    }
    MIGRATIONS.run(&mut connection).await.map_err(|e| match e {
        sqlx::migrate::MigrateError::Execute(e) | sqlx::migrate::MigrateError::ExecuteMigration(e, _) => {
            explain("migrate the database", e)
        }
        other => Error::Corrupt(format!("its migrations are not this program's: {other}")),
    })?;
    if !wanted() {
        return Ok(None);
    }
    statements::register(&mut connection, triggers).await.map_err(|e| explain("register the triggers", e))?;
    let to = version(&mut connection).await?;
    connection.close().await.map_err(|e| explain("close the database", e))?;
    Ok(Some(Migrated { created, from, to, backup }))
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// It only reads.
    ToRead,
    /// It writes much.
    ToWrite,
}

/// A connection to a database of this very version, which is not upgraded.
pub(super) async fn open_current(options: &Options, opened: Opened) -> Result<SqliteConnection, Error> {
    let unavailable = |what: String| Error::Unavailable { what, source: None };
    if !options.path.exists() {
        return Err(unavailable(format!(
            "there is none at {}; `triggerd migrate` makes it",
            options.path.display()
        )));
    }
    // Before the file is put into WAL mode: it may be another program's.
    let mut connection = open(options, &options.connect()).await?;
    match version(&mut connection).await? {
        SCHEMA_VERSION if opened == Opened::ToRead => Ok(connection),
        SCHEMA_VERSION => {
            connection.close().await.map_err(|e| explain("close the database", e))?;
            open(options, &options.writing()).await
        }
        older => Err(unavailable(format!(
            "it has schema version {older}, older than this program's {SCHEMA_VERSION}; restart the daemon, or run `triggerd \
             migrate`"
        ))),
    }
}

async fn open(options: &Options, connect: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    SqliteConnection::connect_with(connect)
        .await
        .map_err(|e| explain(&format!("open {}", options.path.display()), e))
}

/// What the migrations make.
pub(super) async fn expected() -> Result<Shape, Error> {
    Shape::expected(&MIGRATIONS)
        .await
        .map_err(|e| Error::Unavailable { what: format!("make the schema in memory: {e}"), source: None })
}

/// A copy of the file as it is before an upgrade.
async fn backup(connection: &mut SqliteConnection, options: &Options, from: i64) -> Result<PathBuf, Error> {
    let mut name = options.path.as_os_str().to_owned();
    name.push(format!(".before-upgrade-from-{from}"));
    let path = PathBuf::from(name);
    let unavailable = |e: std::io::Error| Error::Unavailable {
        what: format!("back up the database before the upgrade to {}: {e}", path.display()),
        source: None,
    };
    // An upgrade that failed may have left one, of the same rows or fewer.
    if path.exists() {
        std::fs::remove_file(&path).map_err(unavailable)?;
    }
    // SQLite takes an empty file; this one is nobody else's to read.
    modes::open_or_create(&path).map_err(unavailable)?;
    let what = |e| explain("back up the database before the upgrade", e);
    copy(connection, &path).await.map_err(what)?;
    // Whoever goes back to it may fire what waits in it a second time.
    if from >= MARKED_SINCE {
        let mut copy = SqliteConnection::connect_with(&alone(&path)).await.map_err(what)?;
        restored::mark(&mut copy).await.map_err(what)?;
        copy.close().await.map_err(what)?;
    }
    Ok(path)
}

/// A file that nobody else has open. What goes wrong with it is the end of it: nothing has to be undone, and no file lies beside
/// it.
pub(super) fn alone(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Memory)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("mmap_size", "0")
}

/// Copies all that a connection sees into a file that is empty or not there.
pub(super) async fn copy(connection: &mut SqliteConnection, to: &Path) -> Result<(), sqlx::Error> {
    sqlx::query("VACUUM INTO ?1").bind(to.display().to_string()).execute(connection).await?;
    Ok(())
}

/// The schema version of an open file: 0 when it is empty.
///
/// # Errors
/// [`Error::Newer`], or [`Error::Corrupt`] when it is somebody else's database.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<i64, Error> {
    let pragma = async |connection: &mut SqliteConnection, sql: &'static str| {
        let row =
            sqlx::query(sql).fetch_one(connection).await.map_err(|e| explain("read the database", e))?;
        row.try_get::<i64, _>(0).map_err(|e| explain("read the database", e))
    };
    let application = pragma(connection, "PRAGMA application_id").await?;
    let version = pragma(connection, "PRAGMA user_version").await?;
    // A migration that was killed may have left the migrator's own table, which is made first, and nothing else.
    let objects =
        pragma(connection, "SELECT count(*) FROM sqlite_schema WHERE tbl_name <> '_sqlx_migrations'").await?;
    if application != APPLICATION_ID && (application != 0 || objects > 0) {
        return Err(Error::Corrupt(format!("application_id is {application}, not {APPLICATION_ID}")));
    }
    if version > SCHEMA_VERSION {
        return Err(Error::Newer { found: version, known: SCHEMA_VERSION });
    }
    Ok(version)
}

/// What a database lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// It outlives the machine's end, and all users of the file are on this host.
    Local,
    /// Users of the file may be on other hosts, without the shared memory that SQLite's WAL needs.
    Remote(&'static str),
    /// It ends with the machine, or with its container.
    Fleeting(&'static str),
}

/// What a folder lies on.
///
/// # Errors
/// When it cannot be looked at.
pub fn file_system(folder: &Path) -> std::io::Result<FileSystem> {
    const FLEETING: [(i128, &str); 3] =
        [(0x0102_1994, "tmpfs"), (0x8584_58F6, "ramfs"), (0x794C_7630, "an overlay")];
    // Its type differs between platforms.
    let kind = i128::from(rustix::fs::statfs(folder)?.f_type);
    if let Some(name) = remote(kind) {
        return Ok(FileSystem::Remote(name));
    }
    let fleeting = FLEETING.iter().find(|(magic, _)| *magic == kind & 0xFFFF_FFFF);
    Ok(fleeting.map_or(FileSystem::Local, |(_, name)| FileSystem::Fleeting(name)))
}

/// WAL needs shared memory that every user of the file sees: one host, no network filesystem.
fn refuse_remote_filesystem(options: &Options) -> Result<(), Error> {
    let directory = match options.path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let unavailable = |what: String| Error::Unavailable { what, source: None };
    match file_system(directory) {
        Err(e) => Err(unavailable(format!("use the directory {}: {e}", directory.display()))),
        Ok(FileSystem::Remote(name)) => Err(unavailable(format!(
            "keep a database on {name} ({}): SQLite's WAL needs a local disk",
            directory.display()
        ))),
        Ok(_) => Ok(()),
    }
}

/// The name of a file system that several hosts may share, by what `statfs` calls its type.
fn remote(kind: i128) -> Option<&'static str> {
    const REMOTE: [(i128, &str); 9] = [
        (0x6969, "NFS"),
        (0x517B, "SMB"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB2"),
        (0x0187, "autofs"),
        (0x00C3_6400, "Ceph"),
        (0x5346_414F, "AFS"),
        (0x0BD0_0BD0, "Lustre"),
        (0x0102_1997, "9p"),
    ];
    // Some platforms give the type as a signed number of 32 bits.
    let kind = kind & 0xFFFF_FFFF;
    REMOTE.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_from_before_an_upgrade_says_what_it_is_once_there_is_a_place_for_that() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { path: folder.path().join("queue.db"), full: false, checkpoint: true };
        migrate(&options, &[]).await.unwrap();
        let mut original = open_current(&options, Opened::ToRead).await.unwrap();
        let path = backup(&mut original, &options, MARKED_SINCE).await.unwrap();
        let mut copy = SqliteConnection::connect_with(&alone(&path)).await.unwrap();
        assert!(statements::mark(&mut copy).await.unwrap().is_some());
        assert!(statements::mark(&mut original).await.unwrap().is_none());
        let files = std::fs::read_dir(folder.path()).unwrap();
        let beside = path.file_name().unwrap().to_str().unwrap().to_owned() + "-";
        assert!(files.flatten().all(|file| !file.file_name().to_str().unwrap().starts_with(&beside)));
    }

    #[test]
    fn file_systems_of_several_hosts_are_known_and_local_ones_are_not_refused() {
        assert_eq!((remote(0x6969), remote(0xFF53_4D42)), (Some("NFS"), Some("CIFS")));
        assert_eq!(remote(i128::from(0xFF53_4D42_u32.cast_signed())), Some("CIFS"));
        // ext4, xfs, btrfs, tmpfs, overlayfs, zfs
        for local in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1] {
            assert_eq!(remote(local), None, "{local:x}");
        }
    }
}
