//! The flight record: which firings have left, so that a crash leaves only those in doubt.
//!
//! A file beside the database with a slot for each place that a firing is sent from. Right before the first byte of a
//! firing goes out, its id and attempt are written into its slot, without a sync: the page cache outlives the process,
//! though not the machine. A row in `triggering` that the record of the daemon that died does not name was never sent.
//!
//! Whatever is wrong with the record only means more doubt: one that is missing, torn, of another boot, installation or
//! start says nothing, and then every such row is in doubt. Nothing else depends on it.
//!
//! All numbers are little-endian. The header fills the first page: magic (8 bytes), boot id (32), installation (up to
//! 64, NUL-padded), epoch (8), checksum (8). Then slots of 32 bytes: epoch (8), id (8), attempt (4), nothing (4),
//! checksum (8). None lies across a page, so none is written by halves.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use rustix::fs::OFlags;

use super::modes;
use crate::queue::Error;

const MAGIC: &[u8; 8] = b"trgdflt1";
/// Names this run of the kernel, whose page cache the record lives in.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The same for a process that does not see all of /proc, as the unit has it.
const BOOT_ID_VARIABLE: &str = "TRIGGERD_BOOT_ID";
/// 32 hexadecimal digits: the kernel writes dashes between them, systemd does not.
const BOOT_ID_BYTES: usize = 32;
const INSTALLATION_BYTES: usize = 64;
const HEADER_BYTES: usize = 4096;
const HEADER_USED: usize = MAGIC.len() + BOOT_ID_BYTES + INSTALLATION_BYTES + 8;
const SLOT_BYTES: usize = 32;
const SLOT_USED: usize = 24;
/// Slots that are allocated at the start: more than the usual limits have places. The file grows if there are more.
const SLOTS: usize = 8192;
/// Larger than any that was written: not ours.
const MOST_BYTES: u64 = 64 << 20;

/// Who writes a record: one start of the daemon of one installation, on one run of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Author {
    boot_id: String,
    /// `daemon.instance_id`.
    pub(super) installation: String,
    /// `daemon.epoch`.
    pub(super) epoch: i64,
}

impl Author {
    /// The start `epoch` of `installation` on this run of the kernel; none where that has no name, or a name does not fit.
    pub(super) fn new(installation: &str, epoch: i64) -> Option<Self> {
        let boot_id =
            std::fs::read_to_string(BOOT_ID).ok().or_else(|| std::env::var(BOOT_ID_VARIABLE).ok())?;
        Self::of(&boot_id, installation, epoch)
    }

    fn of(boot_id: &str, installation: &str, epoch: i64) -> Option<Self> {
        let boot_id = boot_id.trim().replace('-', "");
        let fits = boot_id.len() == BOOT_ID_BYTES && installation.len() <= INSTALLATION_BYTES;
        fits.then(|| Self { boot_id, installation: installation.to_owned(), epoch })
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut page = [0; HEADER_BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8], width: usize| {
            page[at..at + bytes.len()].copy_from_slice(bytes);
            at += width;
        };
        put(MAGIC, MAGIC.len());
        put(self.boot_id.as_bytes(), BOOT_ID_BYTES);
        put(self.installation.as_bytes(), INSTALLATION_BYTES);
        put(&self.epoch.to_le_bytes(), 8);
        let sum = checksum(&page[..HEADER_USED]);
        page[HEADER_USED..HEADER_USED + 8].copy_from_slice(&sum.to_le_bytes());
        page
    }

    fn parse(page: &[u8]) -> Option<Self> {
        let used = page.get(..HEADER_USED)?;
        let sound = used.starts_with(MAGIC) && number(page, HEADER_USED)? == checksum(used).cast_signed();
        let text = |from: usize, width: usize| {
            let text = std::str::from_utf8(&used[from..from + width]).ok()?;
            Some(text.trim_end_matches('\0').to_owned())
        };
        let boot_id = text(MAGIC.len(), BOOT_ID_BYTES)?;
        let installation = text(MAGIC.len() + BOOT_ID_BYTES, INSTALLATION_BYTES)?;
        sound.then_some(Self { boot_id, installation, epoch: number(page, HEADER_USED - 8)? })
    }
}

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) author: Author,
    /// Firings, by id and attempt, that have left.
    pub(super) left: Vec<(i64, u32)>,
}

impl Record {
    /// The record beside `database`; none if there is none that can be believed.
    pub(super) fn read(database: &Path) -> Option<Self> {
        Self::at(&path(database))
    }

    /// That one, and the one that a start had prepared when it died.
    pub(super) fn all(database: &Path) -> Vec<Self> {
        let path = path(database);
        [Self::at(&path), Self::at(&prepared(&path))].into_iter().flatten().collect()
    }

    fn at(path: &Path) -> Option<Self> {
        // Whoever may write the folder must not have us wait for what is no file.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut file = File::options().read(true).custom_flags(flags).open(path).ok()?;
        let there = file.metadata().ok()?;
        if !there.is_file() || there.len() > MOST_BYTES {
            return None;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let author = Author::parse(bytes)?;
        let slots = bytes.get(HEADER_BYTES..)?;
        // Of one that was cut short, nobody knows what was in the rest.
        if slots.len() < SLOTS * SLOT_BYTES || !slots.len().is_multiple_of(SLOT_BYTES) {
            return None;
        }
        let mut left = Vec::new();
        for slot in slots.chunks_exact(SLOT_BYTES) {
            if slot.iter().all(|byte| *byte == 0) {
                continue;
            }
            // A torn one may have been any.
            if number(slot, SLOT_USED)? != checksum(&slot[..SLOT_USED]).cast_signed() {
                return None;
            }
            if number(slot, 0)? == author.epoch {
                let attempt = u32::from_le_bytes(slot[16..20].try_into().ok()?);
                left.push((number(slot, 8)?, attempt));
            }
        }
        Some(Self { author, left })
    }
}

/// The record of this start.
pub(super) struct Flights {
    path: PathBuf,
    /// None before the start, and where it cannot be kept: then the next start believes nothing.
    open: RwLock<Option<Open>>,
}

struct Open {
    file: File,
    author: Author,
}

impl Flights {
    pub(super) fn new(database: &Path) -> Self {
        Self { path: path(database), open: RwLock::new(None) }
    }

    /// Prepares the record of a start, beside that of the last one, before the start is committed: whichever of the two
    /// the table speaks of then is there at any time. `doubtful` are firings of earlier starts that nobody has judged yet:
    /// they fill the first slots, so that they stay in doubt if this start dies before it has.
    ///
    /// # Errors
    /// When one that an earlier try has prepared cannot be taken away: it would be believed.
    pub(super) fn prepare(&self, author: Option<&Author>, doubtful: &[(i64, u32)]) -> io::Result<()> {
        let path = prepared(&self.path);
        let made = author.ok_or_else(|| io::Error::other("this run of the kernel has no name"));
        let made = made.and_then(|author| make(&path, author, doubtful));
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *open = match made {
            Ok(open) => Some(open),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the flight record {} cannot be kept ({error}): after a crash, every request that is triggering is in doubt",
                    self.path.display()
                );
                None
            }
        };
        if open.is_some() {
            return Ok(());
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The start is committed: what was prepared takes the place of the last start's record.
    pub(super) fn begin(&self) {
        if self.open().is_some()
            && let Err(error) = std::fs::rename(prepared(&self.path), &self.path)
        {
            // The next start finds it where it is; the one after that would not.
            tracing::warn!(
                %error,
                "the flight record keeps the name {} ({error}): see whose {} is",
                prepared(&self.path).display(),
                self.path.display()
            );
        }
    }

    /// Notes that a firing leaves from a place.
    ///
    /// # Errors
    /// When it cannot be noted, nor the record be made void: then the firing must not leave.
    pub(super) fn note(&self, place: usize, id: i64, attempt: u32) -> Result<(), Error> {
        let noted = match &*self.open() {
            None => return Ok(()),
            Some(Open { file, author }) => {
                let at = (HEADER_BYTES + place * SLOT_BYTES) as u64;
                file.write_all_at(&slot(author.epoch, id, attempt), at)
            }
        };
        noted.or_else(|error| self.void(&error))
    }

    /// What was noted may be lost: the next start must not believe it.
    ///
    /// # Errors
    /// When it cannot be made void.
    pub(super) fn void(&self, why: &dyn std::error::Error) -> Result<(), Error> {
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let Some(Open { file, .. }) = &*slot else { return Ok(()) };
        tracing::warn!(
            error = %why,
            "the flight record {} is given up ({why}): after a crash, every request that is triggering is in doubt",
            self.path.display()
        );
        // Synced: what is only in the cache of a disk that fails may be gone tomorrow.
        let void = file
            .write_all_at(&[0; HEADER_BYTES], 0)
            .and_then(|()| file.sync_all())
            .or_else(|_| file.set_len(0).and_then(|()| file.sync_all()))
            .or_else(|_| std::fs::remove_file(&self.path));
        void.map_err(|e| Error::Unavailable {
            what: format!("make the flight record {} void: {e}", self.path.display()),
            source: None,
        })?;
        *slot = None;
        Ok(())
    }

    /// The file that this start works on is lost to it, and what is left in its place is older: the next start must not go
    /// on with that before somebody has spoken. A record that is ahead of its file says so.
    pub(super) fn outlive(&self) -> io::Result<()> {
        let open = self.open();
        let Some(Open { file, author }) = &*open else { return Err(io::ErrorKind::NotFound.into()) };
        file.write_all_at(&Author { epoch: author.epoch + 1, ..author.clone() }.header(), 0)?;
        file.sync_all()
    }

    fn open(&self) -> RwLockReadGuard<'_, Option<Open>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(path: &Path, author: &Author, doubtful: &[(i64, u32)]) -> io::Result<Open> {
    let file = modes::open_or_create(path)?;
    // First, so that what is written next is never taken for what an earlier try wrote.
    file.set_len(0)?;
    let mut slots = Vec::with_capacity(SLOT_BYTES * SLOTS.max(doubtful.len()));
    for (id, attempt) in doubtful {
        slots.extend_from_slice(&slot(author.epoch, *id, *attempt));
    }
    // Written and not only allocated: no later write needs room on the disk.
    slots.resize(slots.capacity(), 0);
    file.write_all_at(&slots, HEADER_BYTES as u64)?;
    file.write_all_at(&author.header(), 0)?;
    Ok(Open { file, author: author.clone() })
}

/// Where the record of a start is that is not committed yet.
fn prepared(record: &Path) -> PathBuf {
    let mut name = record.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Where the record of a database is.
fn path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".flights");
    PathBuf::from(name)
}

fn slot(epoch: i64, id: i64, attempt: u32) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&epoch.to_le_bytes());
    slot[8..16].copy_from_slice(&id.to_le_bytes());
    slot[16..20].copy_from_slice(&attempt.to_le_bytes());
    let sum = checksum(&slot[..SLOT_USED]);
    slot[SLOT_USED..].copy_from_slice(&sum.to_le_bytes());
    slot
}

fn number(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// FNV-1a of 64 bits: tells a torn write, no more.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn author(epoch: i64) -> Author {
        Author::new("0123456789abcdef", epoch).expect("this kernel has a boot id")
    }

    /// A record with two firings, in the first slot and far behind the last one allocated.
    fn written(folder: &tempfile::TempDir) -> PathBuf {
        let database = folder.path().join("queue.db");
        let flights = Flights::new(&database);
        flights.prepare(Some(&author(7)), &[(1, 2)]).unwrap();
        flights.begin();
        flights.note(SLOTS + 5, i64::MAX, u32::MAX).unwrap();
        database
    }

    #[test]
    fn a_record_says_who_wrote_it_and_what_left() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::read(&written(&folder)).unwrap();
        assert_eq!(record, Record { author: author(7), left: vec![(1, 2), (i64::MAX, u32::MAX)] });
        assert_ne!(record.author, author(8), "another start");
        assert_ne!(Some(record.author), Author::new("another", 7), "another installation");
    }

    #[test]
    fn the_kernel_and_the_service_manager_name_a_boot_alike() {
        let kernel = Author::of("7a3c0c1e-9f5d-4a55-8f0e-2b1d6c7e8f90\n", "x", 1);
        assert!(kernel.is_some());
        assert_eq!(kernel, Author::of("7a3c0c1e9f5d4a558f0e2b1d6c7e8f90", "x", 1));
        assert_eq!(Author::of("", "x", 1), None);
    }

    #[test]
    fn a_record_that_outlives_its_file_is_ahead_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("queue.db");
        let flights = Flights::new(&database);
        flights.prepare(Some(&author(3)), &[]).unwrap();
        flights.begin();
        flights.outlive().unwrap();
        assert_eq!(Record::read(&database).unwrap().author, author(4));
    }

    #[test]
    fn a_slot_that_is_used_again_forgets_its_firing() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("queue.db");
        let flights = Flights::new(&database);
        flights.prepare(Some(&author(1)), &[]).unwrap();
        flights.begin();
        flights.note(3, 10, 1).unwrap();
        flights.note(3, 11, 1).unwrap();
        assert_eq!(Record::read(&database).unwrap().left, [(11, 1)]);
        flights.prepare(Some(&author(2)), &[]).unwrap();
        flights.begin();
        assert_eq!(
            Record::read(&database).unwrap().left,
            [],
            "another start forgets all that it does not name"
        );
    }

    #[test]
    fn a_record_that_any_byte_of_is_wrong_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read(path(&written(&folder))).unwrap();
        let second = HEADER_BYTES + (SLOTS + 5) * SLOT_BYTES;
        let used =
            (0..HEADER_USED + 8).chain(HEADER_BYTES..HEADER_BYTES + SLOT_BYTES).chain(second..whole.len());
        for at in used {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            assert_eq!(Record::parse(&torn), None, "byte {at}");
        }
        for length in [0, 1, HEADER_USED, HEADER_BYTES - 1, HEADER_BYTES + SLOT_BYTES, whole.len() - 1] {
            assert_eq!(Record::parse(&whole[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn a_record_that_is_given_up_says_nothing_and_stops_no_firing() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("queue.db");
        let flights = Flights::new(&database);
        flights.note(0, 1, 1).unwrap();
        flights.prepare(Some(&author(1)), &[]).unwrap();
        flights.begin();
        flights.note(0, 1, 1).unwrap();
        flights.void(&io::Error::other("the disk fails")).unwrap();
        assert_eq!(Record::read(&database), None);
        flights.note(1, 2, 1).unwrap();
        assert_eq!(Record::read(&database), None);
    }

    #[test]
    fn before_and_after_the_commit_of_a_start_the_record_that_it_speaks_of_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let database = written(&folder);
        let flights = Flights::new(&database);
        let epochs = || Record::all(&database).iter().map(|record| record.author.epoch).collect::<Vec<_>>();
        flights.prepare(Some(&author(8)), &[(1, 2)]).unwrap();
        assert_eq!(epochs(), [7, 8]);
        // A try that fails takes what an earlier one had prepared with it.
        flights.prepare(None, &[]).unwrap();
        assert_eq!(epochs(), [7]);
        flights.prepare(Some(&author(9)), &[]).unwrap();
        flights.begin();
        assert_eq!(epochs(), [9]);
    }

    #[test]
    fn a_file_elsewhere_is_never_taken_for_the_record() {
        let folder = tempfile::tempdir().unwrap();
        let (database, other) = (folder.path().join("queue.db"), folder.path().join("other"));
        std::fs::write(&other, "precious").unwrap();
        for name in [path(&database), prepared(&path(&database))] {
            std::os::unix::fs::symlink(&other, name).unwrap();
        }
        let flights = Flights::new(&database);
        flights.prepare(Some(&author(1)), &[]).unwrap();
        flights.begin();
        flights.note(0, 1, 1).unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "precious");
    }

    #[test]
    fn whoever_may_read_the_database_may_read_the_record() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o770)).unwrap();
        let record = path(&written(&folder));
        assert_eq!(std::fs::metadata(record).unwrap().permissions().mode() & 0o777, 0o660);
    }
}
