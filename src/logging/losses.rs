//! Lines that did not reach the log, counted: what writes them must never stop the daemon, so it may lose some.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking};

/// What has been lost of this process's log, and what of that was told already.
#[derive(Debug)]
pub struct Losses {
    counts: Arc<Counts>,
    dropped: ErrorCounter,
    /// Where the files are, if there are any: then standard error is free for bad news.
    directory: Option<PathBuf>,
    told: usize,
    is_gone: bool,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    offered: AtomicUsize,
    written: AtomicUsize,
    failed: AtomicUsize,
    /// Why the last one failed.
    cause: Mutex<Option<String>>,
}

impl Losses {
    pub(super) const fn new(counts: Arc<Counts>, dropped: ErrorCounter, directory: Option<PathBuf>) -> Self {
        Self { counts, dropped, directory, told: 0, is_gone: false }
    }

    /// Says what has been lost since it was last said: in the log, which may work again or have room again, and on standard
    /// error if that is not the log. Answers how many lines were lost in all.
    pub fn report(&mut self) -> usize {
        let dropped = self.dropped.dropped_lines();
        let failed = self.counts.failed.load(Ordering::Acquire);
        let total = dropped.saturating_add(failed);
        if total > self.told {
            let news = self.news(total);
            self.told = total;
            tracing::warn!(log.dropped = dropped, log.failed = failed, "{news}");
            self.alarm(&news);
        }
        // The file that is open stays writable, and unseen, when its folder is removed.
        let is_gone = self.directory.as_ref().is_some_and(|directory| !directory.is_dir());
        if is_gone && !self.is_gone {
            self.alarm(
                "log.directory is not there any more: new lines are lost until the next file is begun",
            );
        }
        self.is_gone = is_gone;
        total
    }

    /// The last word, when nothing writes any more: what was never written is lost too.
    pub(super) fn finish(&mut self) {
        let offered = self.counts.offered.load(Ordering::Acquire);
        let total = offered.saturating_sub(self.counts.written.load(Ordering::Acquire));
        if total > self.told {
            self.alarm(&self.news(total));
            self.told = total;
        }
    }

    fn news(&self, total: usize) -> String {
        let cause = self.counts.cause.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cause = cause.map_or_else(String::new, |cause| format!(" (the last error: {cause})"));
        format!("{} log lines were lost, {total} since the start{cause}", total - self.told)
    }

    /// Without files, standard error is the log, and whoever does not read it would hold us up.
    fn alarm(&self, news: &str) {
        if self.directory.is_some() {
            alarm(news);
        }
    }
}

/// To standard error; there is nobody left to tell if that fails.
fn alarm(news: &str) {
    let _ = writeln!(io::stderr().lock(), "triggerd: {news}");
}

/// The near end: takes lines without waiting.
pub(super) struct Front {
    pub(super) inner: NonBlocking,
    pub(super) counts: Arc<Counts>,
}

impl Write for Front {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.counts.offered.fetch_add(1, Ordering::AcqRel);
        self.inner.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The far end: a file, or standard error. What calls it swallows errors.
pub(super) struct Back<W> {
    inner: W,
    counts: Arc<Counts>,
    /// Standard error is told the first failure at once.
    is_file: bool,
    /// The last line was cut short: the next must not go on where it ended.
    is_torn: bool,
}

impl<W: Write> Back<W> {
    pub(super) const fn new(inner: W, counts: Arc<Counts>, is_file: bool) -> Self {
        Self { inner, counts, is_file, is_torn: false }
    }

    fn put(&mut self, mut line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.inner.write_all(b"\n")?;
            self.is_torn = false;
        }
        let whole = line.len();
        while !line.is_empty() {
            match self.inner.write(line) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    line = &line[n..];
                    self.is_torn = !line.is_empty();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.is_torn = line.len() < whole;
                    return Err(e);
                }
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for Back<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line).map(|()| line.len())
    }

    /// One line.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let done = self.put(line);
        match &done {
            Ok(()) => {
                self.counts.written.fetch_add(1, Ordering::AcqRel);
            }
            Err(e) => {
                *self.counts.cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(e.to_string());
                if self.counts.failed.fetch_add(1, Ordering::AcqRel) == 0 && self.is_file {
                    alarm(&format!("the log file cannot be written: {e}; lines are lost, nothing else is"));
                }
            }
        }
        done
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use tracing_appender::non_blocking::NonBlockingBuilder;

    use super::*;

    /// A disk with room for so many bytes.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Disk {
        fn with_room(room: usize) -> Self {
            Self(Arc::new(Mutex::new((Vec::new(), room))))
        }

        fn grow(&self, room: usize) {
            self.0.lock().unwrap().1 += room;
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (text, room) = &mut *self.0.lock().unwrap();
            let n = bytes.len().min(*room);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            text.extend(&bytes[..n]);
            *room -= n;
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_a_full_disk_cuts_short_is_counted_and_the_next_one_begins_anew() {
        let disk = Disk::with_room(12);
        let counts = Arc::new(Counts::default());
        let mut back = Back::new(disk.clone(), Arc::clone(&counts), false);
        back.write_all(b"one\n").unwrap();
        back.write_all(b"two is too long\n").unwrap_err();
        back.write_all(b"three\n").unwrap_err();
        disk.grow(100);
        back.write_all(b"four\n").unwrap();
        assert_eq!(disk.text(), "one\ntwo is t\nfour\n");
        assert_eq!(counts.written.load(Ordering::Acquire), 2);
        assert_eq!(counts.failed.load(Ordering::Acquire), 2);
    }

    #[test]
    fn what_is_lost_is_told_once_and_again_when_it_grows() {
        let disk = Disk::default();
        let counts = Arc::new(Counts::default());
        let back = Back::new(disk, Arc::clone(&counts), false);
        let (inner, worker) = NonBlockingBuilder::default().finish(back);
        let mut losses = Losses::new(Arc::clone(&counts), inner.error_counter(), None);
        let mut front = Front { inner, counts };
        assert_eq!(losses.report(), 0);
        front.write_all(b"one\n").unwrap();
        front.write_all(b"two\n").unwrap();
        drop(worker);
        assert_eq!((losses.report(), losses.told), (2, 2));
        assert!(losses.news(3).starts_with("1 log lines were lost, 3 since the start (the last error: "));
        losses.finish();
        assert_eq!(losses.told, 2);
    }

    #[test]
    fn a_folder_that_is_removed_is_noticed_and_so_is_its_return() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        let (inner, _worker) = NonBlockingBuilder::default().finish(io::sink());
        let mut losses = Losses::new(Arc::default(), inner.error_counter(), Some(logs.clone()));
        for is_there in [true, false, true] {
            if is_there { std::fs::create_dir(&logs) } else { std::fs::remove_dir(&logs) }.unwrap();
            losses.report();
            assert_eq!(losses.is_gone, !is_there);
        }
    }

    /// What takes a line and never comes back.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_takes_nothing_holds_nobody_up_and_what_it_missed_is_counted() {
        let (free, held) = std::sync::mpsc::channel();
        let counts = Arc::new(Counts::default());
        let back = Back::new(Stuck(held), Arc::clone(&counts), false);
        let (inner, worker) = NonBlockingBuilder::default().buffered_lines_limit(2).finish(back);
        let mut losses = Losses::new(Arc::clone(&counts), inner.error_counter(), None);
        let mut front = Front { inner, counts };
        for _ in 0..10 {
            front.write_all(b"line\n").unwrap();
        }
        // One may be in its hands, two are waiting.
        assert!((7..=8).contains(&losses.report()), "{losses:?}");
        drop(free);
        drop(worker);
    }
}
