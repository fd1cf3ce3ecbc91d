//! What was done to the files of a folder, in order, with what the test has to say in between; and what is to fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};

use libsqlite3_sys::{SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_IOERR_WRITE, SQLITE_OK};

/// A file, whatever its name is or was.
pub(crate) type FileId = usize;

/// One thing that was done, or said.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// The name leads to the file from now on. It is new, or was there before the tape began.
    Name(String, FileId),
    /// The name leads nowhere.
    Unname(String),
    Write(FileId, u64, Arc<[u8]>),
    Truncate(FileId, u64),
    Sync(FileId),
    /// A sync that was answered with an error: nobody knows what became of what was written before.
    SyncFailed(FileId),
    SyncFolder,
    /// All that was done so far counts as stored.
    SyncAll,
    /// A change is begun by somebody.
    Begun,
    /// It was answered well: from now on it must be there.
    Promised,
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No room: half of it is written.
    Full,
    /// Nothing is written.
    Write,
    Sync,
}

impl Fault {
    const fn code(self) -> i32 {
        match self {
            Self::Full => SQLITE_FULL,
            Self::Write => SQLITE_IOERR_WRITE,
            Self::Sync => SQLITE_IOERR_FSYNC,
        }
    }
}

/// A fault that is to come, once.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    fault: Fault,
    after: usize,
    /// On this file only.
    file: Option<FileId>,
    met: bool,
}

/// What is written down of one folder.
pub(crate) struct Tape {
    folder: PathBuf,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    acts: Vec<Act>,
    /// What the files held when the tape began: it counts as stored.
    before: Vec<Vec<u8>>,
    names: BTreeMap<String, FileId>,
    files: usize,
    ahead: Option<Ahead>,
    /// Syncs wait, and how many do.
    held: bool,
    waiting: usize,
}

static TAPES: Mutex<Vec<Weak<Tape>>> = Mutex::new(Vec::new());

impl Tape {
    /// Begins to write down what is done in a folder. Whatever is in it counts as stored.
    pub(crate) fn begin(folder: &Path) -> Arc<Self> {
        crate::vfs::install();
        let folder = folder.canonicalize().unwrap();
        let mut state = State::default();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // What is not SQLite's, or not for the disk, plays no part.
            if [".lock", "-shm", ".ballast", ".flights", ".flights.new"].iter().any(|end| name.ends_with(end))
            {
                continue;
            }
            state.before.push(std::fs::read(folder.join(&name)).unwrap());
            state.acts.push(Act::Name(name.clone(), state.files));
            state.names.insert(name, state.files);
            state.files += 1;
        }
        state.acts.push(Act::SyncFolder);
        let tape = Arc::new(Self { folder, state: Mutex::new(state), moved: Condvar::new() });
        let mut tapes = TAPES.lock().unwrap();
        tapes.retain(|tape| tape.strong_count() > 0);
        tapes.push(Arc::downgrade(&tape));
        tape
    }

    /// The tape on which a file of this path belongs.
    pub(crate) fn of(path: &Path) -> Option<Arc<Self>> {
        let folder = path.parent()?;
        TAPES.lock().unwrap().iter().filter_map(Weak::upgrade).find(|tape| tape.folder == folder)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A copy of what the files held before, and of all that was done since.
    pub(crate) fn copy(&self) -> (Vec<Vec<u8>>, Vec<Act>) {
        let state = self.state();
        (state.before.clone(), state.acts.clone())
    }

    /// How much is on it.
    pub(crate) fn len(&self) -> usize {
        self.state().acts.len()
    }

    /// Says something in between.
    pub(crate) fn note(&self, act: Act) {
        self.state().acts.push(act);
    }

    /// Lets one write or sync fail: the next one (0), or so many later.
    pub(crate) fn fail(&self, fault: Fault, after: usize) {
        self.state().ahead = Some(Ahead { fault, after, file: None, met: false });
    }

    /// The same, of those of one file.
    pub(crate) fn fail_on(&self, name: &str, fault: Fault, after: usize) {
        let mut state = self.state();
        let file = state.names.get(name).copied();
        state.ahead = Some(Ahead { fault, after, file, met: false });
    }

    /// Whether the fault was met.
    pub(crate) fn is_met(&self) -> bool {
        self.state().ahead.is_some_and(|ahead| ahead.met)
    }

    /// Nothing fails any more. Whether anything did.
    pub(crate) fn heal(&self) -> bool {
        self.state().ahead.take().is_some_and(|ahead| ahead.met)
    }

    /// Syncs wait from now on.
    pub(crate) fn hold(&self) {
        self.state().held = true;
    }

    /// Waits until a sync waits.
    pub(crate) fn wait_for_sync(&self) {
        let state = self.state();
        drop(self.moved.wait_while(state, |state| state.waiting == 0).unwrap());
    }

    /// Syncs wait no more.
    pub(crate) fn release(&self) {
        self.state().held = false;
        self.moved.notify_all();
    }

    pub(crate) fn open(&self, path: &Path, open: impl FnOnce() -> i32) -> Result<FileId, i32> {
        let mut state = self.state();
        let opened = open();
        if opened != SQLITE_OK {
            return Err(opened);
        }
        let name = name(path);
        if let Some(id) = state.names.get(&name) {
            return Ok(*id);
        }
        let id = state.files;
        state.files += 1;
        state.names.insert(name.clone(), id);
        state.acts.push(Act::Name(name, id));
        Ok(id)
    }

    pub(crate) fn delete(&self, path: &Path, sync: bool, delete: impl FnOnce() -> i32) -> i32 {
        let mut state = self.state();
        let deleted = delete();
        let name = name(path);
        if deleted == SQLITE_OK && state.names.remove(&name).is_some() {
            state.acts.push(Act::Unname(name));
            if sync {
                state.acts.push(Act::SyncFolder);
            }
        }
        deleted
    }

    /// `write` writes so many of the first bytes.
    pub(crate) fn write(&self, id: FileId, at: u64, bytes: &[u8], write: impl Fn(usize) -> i32) -> i32 {
        let mut state = self.state();
        let fault = state.meets(Fault::Write, id);
        let length = match fault {
            None => bytes.len(),
            Some(Fault::Full) => bytes.len() / 2,
            Some(_) => 0,
        };
        let written = if length > 0 { write(length) } else { SQLITE_OK };
        if written == SQLITE_OK && length > 0 {
            state.acts.push(Act::Write(id, at, bytes[..length].into()));
        }
        fault.map_or(written, Fault::code)
    }

    pub(crate) fn act(&self, act: Act, plainly: impl FnOnce() -> i32) -> i32 {
        let mut state = self.state();
        if let Act::Sync(id) = act {
            if state.held {
                state.waiting += 1;
                self.moved.notify_all();
                state = self.moved.wait_while(state, |state| state.held).unwrap();
                state.waiting -= 1;
            }
            if let Some(fault) = state.meets(Fault::Sync, id) {
                state.acts.push(Act::SyncFailed(id));
                return fault.code();
            }
        }
        let done = plainly();
        if done == SQLITE_OK {
            state.acts.push(act);
        }
        done
    }
}

impl State {
    /// The fault that a write or a sync meets, if its turn has come.
    fn meets(&mut self, kind: Fault, file: FileId) -> Option<Fault> {
        let ahead = self.ahead.as_mut()?;
        let concerned = (ahead.fault == Fault::Sync) == (kind == Fault::Sync)
            && ahead.file.is_none_or(|concerned| concerned == file);
        if !concerned || ahead.met {
            return None;
        }
        if ahead.after > 0 {
            ahead.after -= 1;
            return None;
        }
        ahead.met = true;
        Some(ahead.fault)
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
