//! The files of an open database: whether they are still those that were opened.
//!
//! SQLite does not notice that somebody has put another file into the place of the one it works on. Here only names are
//! looked at, never the files: closing any descriptor of the database would drop SQLite's locks on it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Device and inode.
type Identity = (u64, u64);

pub(super) struct Files {
    database: PathBuf,
    known: Option<Identity>,
    /// `-wal` and `-shm`, as long as a connection of ours has them open.
    sidecars: [(PathBuf, Option<Identity>); 2],
}

impl Files {
    pub(super) fn new(database: &Path) -> Self {
        let sidecar = |suffix: &str| {
            let mut name = database.as_os_str().to_owned();
            name.push(suffix);
            (PathBuf::from(name), None)
        };
        Self {
            database: database.to_owned(),
            known: identity(database),
            sidecars: [sidecar("-wal"), sidecar("-shm")],
        }
    }

    /// The write-ahead log.
    pub(super) fn wal(&self) -> &Path {
        &self.sidecars[0].0
    }

    /// A commit has succeeded: from now on, until the connection ends, SQLite keeps these files.
    pub(super) fn note(&mut self) {
        for (path, known) in &mut self.sidecars {
            *known = known.or_else(|| identity(path));
        }
    }

    /// The connection has ended: the last one to go removes them.
    pub(super) fn forget(&mut self) {
        for (_, known) in &mut self.sidecars {
            *known = None;
        }
    }

    /// Whether the database itself has been deleted, and only this process still has it.
    pub(super) fn is_deleted(&self) -> bool {
        self.known.is_some_and(|known| now_at(known).is_some_and(|place| place.ends_with(" (deleted)")))
    }

    /// Whether others have begun a log of their own on the file that we have open.
    pub(super) fn is_severed(&self) -> bool {
        self.known == identity(&self.database)
            && self.sidecars.iter().any(|(path, known)| {
                let there = identity(path);
                known.is_some() && there.is_some() && there != *known
            })
    }

    /// What has been replaced, if anything has.
    pub(super) fn replaced(&self) -> Option<String> {
        if let Some(known) = self.known
            && identity(&self.database) != Some(known)
        {
            let path = self.database.display();
            let (what, back) = match now_at(known) {
                Some(place) if place.ends_with(" (deleted)") => {
                    ("which has been deleted".to_owned(), String::new())
                }
                Some(place) => (
                    format!("which is now {place}"),
                    format!("; to go on with that one, stop its producers and move it back to {path}"),
                ),
                None => ("which is somewhere else now".to_owned(), String::new()),
            };
            let there =
                if identity(&self.database).is_some() { "another file is" } else { "nothing is any more" };
            return Some(format!(
                "{there} at {path}; the rows are in the file that was opened, {what}{back}"
            ));
        }
        let (path, _) =
            self.sidecars.iter().find(|(path, known)| known.is_some() && identity(path) != *known)?;
        Some(format!(
            "{} was deleted or replaced by another program, which can damage the database: only SQLite may touch it",
            path.display()
        ))
    }
}

fn identity(path: &Path) -> Option<Identity> {
    path.metadata().ok().map(|file| (file.dev(), file.ino()))
}

/// The path that a file which this process has open has now.
fn now_at(file: Identity) -> Option<String> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?;
    let path = open.flatten().map(|entry| entry.path()).find(|path| identity(path) == Some(file))?;
    Some(std::fs::read_link(path).ok()?.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_moved_deleted_or_replaced_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let database = path("queue.db");
        let open = std::fs::File::create(&database).unwrap();
        std::fs::write(path("queue.db-wal"), b"x").unwrap();
        let mut files = Files::new(&database);
        files.note();
        assert_eq!(files.replaced(), None);

        std::fs::rename(&database, path("old.db")).unwrap();
        let why = files.replaced().unwrap();
        assert!(why.starts_with("nothing is any more") && why.contains("old.db"), "{why}");
        std::fs::write(&database, b"another").unwrap();
        let why = files.replaced().unwrap();
        assert!(why.starts_with("another file is") && why.contains("old.db"), "{why}");
        assert!(!files.is_deleted());
        std::fs::remove_file(path("old.db")).unwrap();
        assert!(files.is_deleted());
        assert!(files.replaced().unwrap().contains("which has been deleted"));
        drop(open);
    }

    #[test]
    fn a_wal_belongs_to_a_connection() {
        let folder = tempfile::tempdir().unwrap();
        let (database, wal) = (folder.path().join("queue.db"), folder.path().join("queue.db-wal"));
        std::fs::write(&database, b"x").unwrap();
        std::fs::write(&wal, b"x").unwrap();
        let mut files = Files::new(&database);
        std::fs::remove_file(&wal).unwrap();
        assert_eq!(files.replaced(), None, "nobody has it open");
        std::fs::write(&wal, b"x").unwrap();
        files.note();
        let _open = std::fs::File::open(&wal).unwrap();
        std::fs::remove_file(&wal).unwrap();
        assert!(files.replaced().unwrap().contains("queue.db-wal was deleted"));
        assert!(!files.is_severed(), "nobody has another one");
        std::fs::write(folder.path().join("new"), b"y").unwrap();
        std::fs::rename(folder.path().join("new"), &wal).unwrap();
        assert!(files.is_severed() && files.replaced().is_some());
        files.forget();
        assert_eq!(files.replaced(), None);
    }
}
