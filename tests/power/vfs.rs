//! A VFS for SQLite: the one of unix, with somebody who writes down what is done to files of certain folders, and who may
//! let it fail.
//!
//! It becomes the default of this process, so that the product runs on it as it is. Nothing is ever synced really: what a
//! sync is worth is what the tape says, and a test needs no disk to be slow.

#![expect(unsafe_code, reason = "SQLite takes a VFS as tables of C functions")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Once};

use libsqlite3_sys::{
    SQLITE_CANTOPEN, SQLITE_OK, SQLITE_OPEN_CREATE, SQLITE_OPEN_MAIN_DB, SQLITE_OPEN_MAIN_JOURNAL,
    SQLITE_OPEN_WAL, sqlite3_file, sqlite3_filename, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
    sqlite3_vfs_find, sqlite3_vfs_register,
};

use crate::tape::{Act, FileId, Tape};

/// The name of the VFS that does it all.
pub(crate) const PLAIN: &str = "unix";
const NAME: &CStr = c"tape";

/// Makes it the default VFS of this process. To be called before anything opens a database.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let plain = plain();
        // SAFETY: the VFS of unix is there as long as the process. A copy of it with another name, other files and two
        // functions of its own is a VFS: the functions that stay look at `pAppData`, which is copied, and at nothing else of
        // the VFS that they are called for. It is leaked, as SQLite keeps it.
        let registered = unsafe {
            let mut tape = *plain;
            tape.zName = NAME.as_ptr();
            tape.pNext = std::ptr::null_mut();
            tape.szOsFile += c_int::try_from(size_of::<File>()).unwrap();
            tape.xOpen = Some(open);
            tape.xDelete = Some(delete);
            sqlite3_vfs_register(Box::leak(Box::new(tape)), 1)
        };
        assert_eq!(registered, SQLITE_OK);
    });
}

fn plain() -> *mut sqlite3_vfs {
    // SAFETY: the name ends with a zero; SQLite sets itself up when it is first asked for a VFS.
    let plain = unsafe { sqlite3_vfs_find(c"unix".as_ptr()) };
    assert!(!plain.is_null(), "SQLite on unix has a VFS of that name");
    plain
}

/// What SQLite has for a file of ours. The file of the plain VFS follows it in the same piece of memory.
#[repr(C)]
struct File {
    base: sqlite3_file,
    /// From `Box::into_raw`, from the open to the close.
    watched: *mut Watched,
}

/// Who is told of a file.
struct Watched {
    tape: Option<(Arc<Tape>, FileId)>,
    /// The next sync is one of the folder too, as in the VFS of unix: of a new journal or WAL.
    syncs_folder: bool,
}

/// The plain VFS's part of a file.
///
/// # Safety
/// `file` was given out by [`open`].
unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: `szOsFile` has room for both, and the size of the first keeps the alignment of the second.
    unsafe { file.cast::<File>().add(1).cast() }
}

/// # Safety
/// `file` was given out by [`open`] and is not yet closed; SQLite uses a file from one thread at a time.
unsafe fn watched<'a>(file: *mut sqlite3_file) -> &'a mut Watched {
    // SAFETY: see above; it lives until [`close`].
    unsafe { &mut *(*file.cast::<File>()).watched }
}

/// # Safety
/// SQLite's text, which ends with a zero.
unsafe fn path<'a>(name: *const c_char) -> &'a Path {
    // SAFETY: see above.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()))
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    const RECORDED: c_int = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL;
    // SAFETY: SQLite gives `szOsFile` bytes at `file`, of which all but ours are the plain VFS's; the rest is handed on as it
    // came. A file that could not be opened has no methods, and SQLite does not close it.
    unsafe {
        (*file).pMethods = std::ptr::null();
        let tape = if name.is_null() || flags & RECORDED == 0 { None } else { Tape::of(path(name)) };
        let plain = plain();
        let open = || ((*plain).xOpen.expect("it opens files"))(plain, name, real(file), flags, out_flags);
        let (result, tape) = match tape {
            None => (open(), None),
            Some(tape) => match tape.open(path(name), open) {
                Ok(id) => (SQLITE_OK, Some((tape, id))),
                Err(code) => (code, None),
            },
        };
        if result != SQLITE_OK {
            return result;
        }
        if (*real(file)).pMethods.is_null() {
            return SQLITE_CANTOPEN;
        }
        let journal = flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL) != 0;
        let syncs_folder = journal && flags & SQLITE_OPEN_CREATE != 0;
        (*file.cast::<File>()).watched = Box::into_raw(Box::new(Watched { tape, syncs_folder }));
        (*file).pMethods = &raw const METHODS;
        SQLITE_OK
    }
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    let plain = plain();
    // SAFETY: handed on as it came, but that the folder need not be synced.
    let delete = || unsafe { ((*plain).xDelete.expect("it deletes files"))(plain, name, 0) };
    // SAFETY: SQLite names what it deletes.
    match Tape::of(unsafe { path(name) }) {
        None => delete(),
        // SAFETY: as above.
        Some(tape) => tape.delete(unsafe { path(name) }, sync_folder != 0, delete),
    }
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // Without xFetch, the file is never in memory: each write is a call.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

macro_rules! plainly {
    ($file:ident.$method:ident($($argument:expr),*)) => {{
        let real = real($file);
        ((*(*real).pMethods).$method.expect("the VFS of unix has it"))(real $(, $argument)*)
    }};
}

macro_rules! handed_on {
    ($($name:ident = $method:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {$(
        unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $argument: $kind)*) -> $result {
            // SAFETY: a file that [`open`] gave out, and arguments as SQLite gave them.
            unsafe { plainly!(file.$method($($argument),*)) }
        }
    )*};
}

handed_on! {
    read = xRead(to: *mut c_void, length: c_int, at: sqlite3_int64) -> c_int;
    file_size = xFileSize(size: *mut sqlite3_int64) -> c_int;
    lock = xLock(level: c_int) -> c_int;
    unlock = xUnlock(level: c_int) -> c_int;
    check_reserved_lock = xCheckReservedLock(answer: *mut c_int) -> c_int;
    file_control = xFileControl(what: c_int, with: *mut c_void) -> c_int;
    sector_size = xSectorSize() -> c_int;
    device_characteristics = xDeviceCharacteristics() -> c_int;
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, to: *mut *mut c_void) -> c_int;
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int) -> c_int;
    shm_barrier = xShmBarrier() -> ();
    shm_unmap = xShmUnmap(delete: c_int) -> c_int;
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: it is open, and this is its end: the box is taken back once.
    unsafe {
        drop(Box::from_raw((*file.cast::<File>()).watched));
        plainly!(file.xClose())
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    // SAFETY: `from` has `length` bytes, all of which, or the first of which, are written.
    unsafe {
        let plainly = |length: usize| plainly!(file.xWrite(from, c_int::try_from(length).unwrap(), at));
        let length = usize::try_from(length).unwrap();
        match &watched(file).tape {
            None => plainly(length),
            Some((tape, id)) => {
                let bytes = std::slice::from_raw_parts(from.cast::<u8>(), length);
                tape.write(*id, u64::try_from(at).unwrap(), bytes, plainly)
            }
        }
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: a file that [`open`] gave out.
    unsafe {
        let plainly = || plainly!(file.xTruncate(size));
        match &watched(file).tape {
            None => plainly(),
            Some((tape, id)) => tape.act(Act::Truncate(*id, u64::try_from(size).unwrap()), plainly),
        }
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _: c_int) -> c_int {
    // SAFETY: a file that [`open`] gave out.
    let watched = unsafe { watched(file) };
    let Some((tape, id)) = &watched.tape else { return SQLITE_OK };
    let synced = tape.act(Act::Sync(*id), || SQLITE_OK);
    if synced == SQLITE_OK && std::mem::take(&mut watched.syncs_folder) {
        // The VFS of unix has no error for this.
        tape.note(Act::SyncFolder);
    }
    synced
}
