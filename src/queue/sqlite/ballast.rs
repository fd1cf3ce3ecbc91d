//! Room held back for the worst moment: a file beside the database that is given up when the disk is full.
//!
//! What has come back from the far end by then, above all a status URI, is nowhere else: it must still be stored. Until
//! there is room for another ballast nothing new is begun, or the disk would be full again at once.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, OFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::modes;
use crate::clock;

/// Some thousand commits of a status URI.
const SIZE: u64 = 8 * 1024 * 1024;
/// Room below which there is none. More than the ballast, so that having it made again does not fill the disk again.
const ENOUGH: u64 = 2 * SIZE;
/// Less than this, and an error of the disk is for want of room, whatever it says.
const NEXT_TO_NOTHING: u64 = 256 * 1024;
/// Room is looked for this often.
const EVERY: Duration = Duration::from_secs(5);

pub(super) struct Ballast {
    path: PathBuf,
    state: State,
    look_at: Instant,
}

enum State {
    Held,
    /// There never was room for it, or it cannot be made here.
    Missing,
    /// The disk is full; whether a commit has succeeded since.
    GivenUp {
        stored: bool,
    },
}

impl Ballast {
    /// Makes the file, if there is room.
    pub(super) fn new(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push(".ballast");
        let mut ballast =
            Self { path: PathBuf::from(name), state: State::Missing, look_at: clock::monotonic() };
        ballast.look_at += EVERY;
        if is_made(&ballast.path) || ballast.has_room() && ballast.make().is_ok() {
            ballast.state = State::Held;
        } else {
            tracing::warn!(
                "no ballast of {} MiB can be made at {}: once the disk is full, what comes back cannot be stored",
                SIZE >> 20,
                ballast.path.display()
            );
        }
        ballast
    }

    /// Whether the disk is full, as far as is known.
    pub(super) const fn is_given_up(&self) -> bool {
        matches!(self.state, State::GivenUp { .. })
    }

    /// A write has failed, with this result code of SQLite: if that is for want of room, makes some.
    pub(super) fn failed(&mut self, code: i64) {
        const IO_ERROR: i64 = 10;
        const FULL: i64 = 13;
        const CANNOT_OPEN: i64 = 14;
        let is_full = match code & 0xff {
            FULL => true,
            IO_ERROR | CANNOT_OPEN => self.room().is_some_and(|room| room < NEXT_TO_NOTHING),
            _ => false,
        };
        if !is_full {
            return;
        }
        if !self.is_given_up() {
            let freed = self.give_up();
            tracing::error!(
                error = freed.as_ref().err().map(ToString::to_string),
                "the disk is full: {}; only what has come back is stored, and no request is fired, until there are {} MiB",
                if freed.is_ok() { "the ballast is given up" } else { "and there is no ballast to give up" },
                ENOUGH >> 20
            );
        }
        self.state = State::GivenUp { stored: false };
    }

    /// A commit has succeeded.
    pub(super) const fn stored(&mut self) {
        if let State::GivenUp { stored } = &mut self.state {
            *stored = true;
        }
    }

    /// Makes it again, if there is room by now.
    pub(super) fn tend(&mut self) {
        let now = clock::monotonic();
        // As long as no commit succeeds, room is not what is wanting.
        if now < self.look_at || matches!(self.state, State::Held | State::GivenUp { stored: false }) {
            return;
        }
        self.look_at = now + EVERY;
        if !self.has_room() {
            return;
        }
        let made = self.make();
        match (&made, self.is_given_up()) {
            (Ok(()), true) => tracing::info!("there is room on the disk again: requests are fired again"),
            // Without one things are as they were before it was given up.
            (Err(error), true) => tracing::warn!(
                %error,
                "there is room on the disk again, and requests are fired; but the ballast cannot be made again: {error}"
            ),
            _ => {}
        }
        self.state = if made.is_ok() { State::Held } else { State::Missing };
    }

    /// For the status text.
    pub(super) fn note(&self) -> Option<String> {
        self.is_given_up().then(|| {
            format!("the disk is full: nothing is fired until there are {} MiB of room", ENOUGH >> 20)
        })
    }

    fn give_up(&self) -> io::Result<()> {
        open(&self.path)?.set_len(0)
    }

    fn make(&self) -> io::Result<()> {
        let made = self.fill();
        if made.is_err() {
            // Not a part of it: that would be in the way of what it is for.
            let _ = self.give_up();
        }
        made
    }

    fn fill(&self) -> io::Result<()> {
        const CHUNK: &[u8] = &[0; 64 * 1024];
        let mut file = modes::open_or_create(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, SIZE) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            done => return Ok(done?),
        }
        for _ in 0..SIZE / CHUNK.len() as u64 {
            file.write_all(CHUNK)?;
        }
        file.sync_all()
    }

    fn has_room(&self) -> bool {
        self.room().is_some_and(|room| room > ENOUGH)
    }

    /// Bytes that are free for this process.
    fn room(&self) -> Option<u64> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let disk = statvfs(folder.unwrap_or_else(|| Path::new("."))).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

/// Whether it is there, and not only by name, and can be given up.
fn is_made(path: &Path) -> bool {
    open(path)
        .and_then(|file| file.metadata())
        .is_ok_and(|file| file.is_file() && file.blocks() * 512 >= SIZE)
}

/// The file itself, and none elsewhere that somebody has put a link to in its place.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    File::options().write(true).custom_flags(flags.bits().cast_signed()).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_really_there_is_given_up_when_the_disk_is_full_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("queue.db");
        let path = folder.path().join("queue.db.ballast");
        let mut ballast = Ballast::new(&database);
        assert!(is_made(&path));
        for code in [5, 11, 19, 8, 10, 1034] {
            ballast.failed(code);
            assert!(!ballast.is_given_up() && ballast.note().is_none(), "{code}");
        }
        ballast.failed(13);
        assert!(ballast.is_given_up() && ballast.note().is_some());
        assert_eq!(path.metadata().unwrap().blocks(), 0);
        ballast.look_at = clock::monotonic();
        ballast.tend();
        assert!(ballast.is_given_up(), "no commit has succeeded yet");
        ballast.stored();
        ballast.tend();
        assert!(!ballast.is_given_up() && is_made(&path));
    }

    #[test]
    fn one_that_is_there_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("queue.db");
        drop(Ballast::new(&database));
        let inode = || folder.path().join("queue.db.ballast").metadata().unwrap().ino();
        let before = inode();
        assert!(matches!(Ballast::new(&database).state, State::Held));
        assert_eq!(inode(), before);
    }

    #[test]
    fn a_file_elsewhere_is_neither_taken_for_it_nor_cut() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("queue.db.ballast"), folder.path().join("other"));
        std::fs::write(&other, vec![1; SIZE as usize]).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let mut ballast = Ballast::new(&folder.path().join("queue.db"));
        assert!(matches!(ballast.state, State::Missing));
        ballast.failed(13);
        assert!(ballast.is_given_up());
        assert_eq!(other.metadata().unwrap().len(), SIZE);
    }

    #[test]
    fn without_one_a_full_disk_holds_requests_back_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::new(&folder.path().join("gone").join("queue.db"));
        assert!(matches!(ballast.state, State::Missing));
        ballast.failed(13);
        assert!(ballast.is_given_up());
    }
}
