//! Who may use the files: the database, the lock beside it, a backup.
//!
//! Producers are other users, in the group of the folder. SQLite gives its `-wal` and `-shm` files the mode and, as root, the
//! owner of the database, so it is enough that the database has the right ones before SQLite opens it.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use rustix::fs::OFlags;

/// A folder whose group may write holds files that its group may write.
const SHARED: u32 = 0o660;
/// At most this, less the umask: rows hold what the jobs are about.
const OWN: u32 = 0o640;
const GROUP_WRITES: u32 = 0o020;

/// Opens a file to read and write. One that is not there is made, empty, as its folder says, whatever the umask is and whoever
/// makes it: an administrator's `triggerd migrate` must not lock out the daemon or its producers.
pub(super) fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Whoever may write the folder must not have us open a file elsewhere.
    options.read(true).write(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let file = match options.create_new(true).mode(OWN).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return options.create_new(false).open(path);
        }
        Err(e) => return Err(e),
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.metadata()?,
        _ => Path::new(".").metadata()?,
    };
    let made = file.metadata()?;
    // Root's files would be root's alone. The group is the folder's in any case: with setgid it is that already.
    if made.uid() == 0 && (folder.uid(), folder.gid()) != (0, made.gid()) {
        fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
    }
    if folder.mode() & GROUP_WRITES != 0 {
        file.set_permissions(Permissions::from_mode(SHARED))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(file: &File) -> u32 {
        file.metadata().unwrap().mode() & 0o777
    }

    fn folder(mode: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        folder
    }

    #[test]
    fn a_file_in_a_folder_of_a_group_is_for_the_group() {
        for shared in [0o770, 0o2770] {
            let folder = folder(shared);
            let made = open_or_create(&folder.path().join("x")).unwrap();
            assert_eq!(mode(&made), 0o660, "in {shared:o}");
        }
    }

    #[test]
    fn a_file_in_a_folder_of_one_user_is_never_for_all() {
        for own in [0o700, 0o755] {
            let folder = folder(own);
            let made = open_or_create(&folder.path().join("x")).unwrap();
            assert_eq!(mode(&made) & !0o640, 0, "in {own:o}");
        }
    }

    #[test]
    fn the_mode_of_a_file_that_is_there_is_its_owners_business() {
        let folder = folder(0o770);
        let path = folder.path().join("x");
        open_or_create(&path).unwrap().set_permissions(Permissions::from_mode(0o600)).unwrap();
        assert_eq!(mode(&open_or_create(&path).unwrap()), 0o600);
    }
}
