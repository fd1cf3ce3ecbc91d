//! What a disk may hold after the power was lost at some point of a tape.
//!
//! Of each file all is there that was written before its last sync; of what was written after it any part, sector by
//! sector, some of them torn. The page cache holds one version of a sector, and writes it back when it likes: any part
//! of the writes in their order is therefore any order. Where a file grew, but nothing of it was written back, there are
//! zeros or garbage. What a folder was told after its last sync is done, per name, up to any point.
//!
//! As SQLite on unix does (`SQLITE_POWERSAFE_OVERWRITE`), this takes it that bytes beside a write are left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use crate::table::FILE;
use crate::tape::{Act, FileId, Tape};

/// What is on the disk: bytes by name.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

/// How honest the disk, and whoever answers for it, are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// A sync that was answered well is one; what was written before one that failed may yet be stored.
    Honest,
    /// The same, but what was written before a sync that failed is lost for good, as Linux has it.
    Forgetful,
    /// No sync is one.
    Lying,
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is lost.
    None,
    /// It is all stored.
    All,
    /// All but one write, counted from the last.
    AllBut(usize),
    OnlyTheLast,
    /// A part of it, by the numbers that follow from this seed.
    Some(u64),
}

#[derive(Clone)]
enum Change {
    Write(u64, Arc<[u8]>),
    Truncate(u64),
}

#[derive(Default)]
struct File {
    stored: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Default)]
struct Entry {
    stored: Option<FileId>,
    pending: Vec<Option<FileId>>,
}

/// A tape that is being played.
pub(crate) struct Player {
    disk: Disk,
    acts: std::vec::IntoIter<Act>,
    files: Vec<File>,
    entries: BTreeMap<String, Entry>,
    /// Acts that were played.
    pub(crate) played: usize,
    /// Changes that were begun, and those that were promised.
    pub(crate) begun: usize,
    pub(crate) promised: usize,
    /// The last act was a sync or a word of the test.
    pub(crate) at_turn: bool,
    /// Syncs of the database file.
    pub(crate) checkpoints: usize,
}

impl Player {
    pub(crate) fn new(tape: &Tape, disk: Disk) -> Self {
        let (before, acts) = tape.copy();
        let files = before.into_iter().map(|stored| File { stored, pending: Vec::new() }).collect();
        Self {
            disk,
            acts: acts.into_iter(),
            files,
            entries: BTreeMap::new(),
            played: 0,
            begun: 0,
            promised: 0,
            at_turn: false,
            checkpoints: 0,
        }
    }

    /// Plays one act; false at the end of the tape.
    pub(crate) fn step(&mut self) -> bool {
        let Some(act) = self.acts.next() else { return false };
        self.played += 1;
        self.at_turn = matches!(act, Act::Sync(_) | Act::Begun | Act::Promised);
        match act {
            Act::Name(name, id) => {
                if self.files.len() <= id {
                    self.files.resize_with(id + 1, File::default);
                }
                self.entries.entry(name).or_default().pending.push(Some(id));
            }
            Act::Unname(name) => self.entries.entry(name).or_default().pending.push(None),
            Act::Write(id, at, bytes) => self.files[id].pending.push(Change::Write(at, bytes)),
            Act::Truncate(id, size) => self.files[id].pending.push(Change::Truncate(size)),
            Act::Sync(id) => {
                if self.entries.get(FILE).is_some_and(|entry| entry.leads_to() == Some(id)) {
                    self.checkpoints += 1;
                }
                if self.disk != Disk::Lying {
                    self.files[id].sync();
                }
            }
            Act::SyncAll => {
                self.files.iter_mut().for_each(File::sync);
                self.sync_folder();
            }
            Act::SyncFailed(id) if self.disk == Disk::Forgetful => self.files[id].pending.clear(),
            Act::SyncFailed(_) => {}
            Act::SyncFolder => self.sync_folder(),
            Act::Begun => self.begun += 1,
            Act::Promised => self.promised += 1,
        }
        true
    }

    fn sync_folder(&mut self) {
        for entry in self.entries.values_mut() {
            entry.stored = entry.leads_to();
            entry.pending.clear();
        }
    }

    /// The test has begun to count.
    pub(crate) const fn begun_at_all(&self) -> bool {
        self.begun > 0
    }

    /// Bytes that were written, and would be lost now.
    pub(crate) fn unsynced(&self) -> usize {
        let bytes = |change: &Change| match change {
            Change::Write(_, bytes) => bytes.len(),
            Change::Truncate(_) => 0,
        };
        self.files.iter().flat_map(|file| &file.pending).map(bytes).sum()
    }

    /// The disk, if the power is lost now.
    pub(crate) fn image(&self, fate: Fate) -> Image {
        let mut rng = match fate {
            Fate::Some(seed) => Rng::with_seed(seed),
            _ => Rng::with_seed(0),
        };
        let mut image = Image::new();
        for (name, entry) in &self.entries {
            let history = entry.pending.len();
            let done = match fate {
                Fate::None => 0,
                Fate::Some(_) => rng.usize(..=history),
                Fate::All | Fate::AllBut(_) | Fate::OnlyTheLast => history,
            };
            let leads_to = if done == 0 { entry.stored } else { entry.pending[done - 1] };
            if let Some(id) = leads_to {
                image.insert(name.clone(), self.files[id].after(fate, &mut rng));
            }
        }
        image
    }
}

impl Entry {
    /// As whoever opens it now sees it.
    fn leads_to(&self) -> Option<FileId> {
        self.pending.last().copied().unwrap_or(self.stored)
    }
}

impl File {
    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.make(&mut self.stored);
        }
    }

    fn after(&self, fate: Fate, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.stored.clone();
        let count = self.pending.len();
        match fate {
            Fate::None => {}
            Fate::All => self.pending.iter().for_each(|change| change.make(&mut bytes)),
            Fate::AllBut(missing) => {
                for (n, change) in self.pending.iter().enumerate() {
                    if n + 1 + missing != count {
                        change.make(&mut bytes);
                    }
                }
            }
            Fate::OnlyTheLast => {
                self.pending.iter().skip(count.saturating_sub(1)).for_each(|change| change.make(&mut bytes))
            }
            Fate::Some(_) => self.some(&mut bytes, rng),
        }
        bytes
    }

    fn some(&self, bytes: &mut Vec<u8>, rng: &mut Rng) {
        const SECTORS: [usize; 2] = [512, 4096];
        const CHANCES: [f64; 3] = [0.1, 0.5, 0.9];
        let sector = SECTORS[rng.usize(..SECTORS.len())];
        let chance = CHANCES[rng.usize(..CHANCES.len())];
        // The size is the file system's, and may be written back before what is in it.
        let size = self.pending.iter().fold(bytes.len(), |size, change| change.size(size));
        if size > bytes.len() && rng.bool() {
            let grown = bytes.len();
            bytes.resize(size, 0);
            if rng.bool() {
                rng.fill(&mut bytes[grown..]);
            }
        }
        for change in &self.pending {
            match change {
                Change::Truncate(_) => {
                    if rng.f64() < chance {
                        change.make(bytes);
                    }
                }
                Change::Write(at, content) => {
                    let mut from = 0;
                    while from < content.len() {
                        let at = usize::try_from(*at).unwrap() + from;
                        let length = (sector - at % sector).min(content.len() - from);
                        if rng.f64() < chance {
                            let mut part = from..from + length;
                            if rng.u8(..8) == 0 {
                                let torn = rng.usize(..=length);
                                part =
                                    if rng.bool() { from..from + torn } else { from + torn..from + length };
                            }
                            put(bytes, at + (part.start - from), &content[part]);
                        }
                        from += length;
                    }
                }
            }
        }
    }
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, content) => put(bytes, usize::try_from(*at).unwrap(), content),
            Self::Truncate(size) => bytes.resize(usize::try_from(*size).unwrap(), 0),
        }
    }

    fn size(&self, before: usize) -> usize {
        match self {
            Self::Write(at, content) => before.max(usize::try_from(*at).unwrap() + content.len()),
            Self::Truncate(size) => usize::try_from(*size).unwrap(),
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, content: &[u8]) {
    if content.is_empty() {
        return;
    }
    if bytes.len() < at + content.len() {
        bytes.resize(at + content.len(), 0);
    }
    bytes[at..at + content.len()].copy_from_slice(content);
}
