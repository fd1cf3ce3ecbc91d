//! Hints that somebody has committed: inotify on the database's folder.
//!
//! The folder, not the `-wal` file: the last connection to close removes that, and a new one is another inode. The
//! event comes at the write to the WAL, before the commit can be seen, so one event gives several hints, with growing
//! pauses. A hint is no news: the reader compares `data_version`, and polls slowly besides.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use inotify::{Inotify, WatchMask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;

use crate::queue::Error;

/// The first pause after an early event; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
/// Pauses after an event: 0.1 s in all, longer than a slow disk takes to sync.
const PAUSES: u32 = 11;
/// After a first hint, events are not listened to for this long: a busy writer makes one for each page, and must not
/// be answered with as many hints.
const SWEEP: Duration = Duration::from_millis(1);

/// A thread that turns events into hints, for as long as this lives.
pub(super) struct Watch {
    notify: Arc<Notify>,
    /// Closing it ends the thread.
    _stop: OwnedFd,
}

impl Watch {
    pub(super) fn new(database: &Path) -> Result<Self, Error> {
        let unavailable = |e: std::io::Error| Error::Unavailable {
            what: format!("watch the folder of {}: {e}", database.display()),
            source: None,
        };
        let folder = match database.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut wal = database.file_name().unwrap_or_default().to_owned();
        wal.push("-wal");
        let inotify = Inotify::init().map_err(unavailable)?;
        inotify.watches().add(folder, WatchMask::MODIFY | WatchMask::CREATE).map_err(unavailable)?;
        let (stopped, stop) = rustix::pipe::pipe().map_err(|e| unavailable(e.into()))?;
        let notify = Arc::new(Notify::new());
        let thread = Thread { inotify, stopped, wal, notify: Arc::clone(&notify) };
        std::thread::Builder::new()
            .name("triggerd-watch".to_owned())
            .spawn(move || thread.run())
            .map_err(unavailable)?;
        Ok(Self { notify, _stop: stop })
    }

    pub(super) async fn hint(&self) {
        self.notify.notified().await;
    }
}

struct Thread {
    inotify: Inotify,
    stopped: OwnedFd,
    wal: std::ffi::OsString,
    notify: Arc<Notify>,
}

impl Thread {
    fn run(mut self) {
        let mut pause: Option<u32> = None;
        let mut begun = crate::clock::monotonic();
        loop {
            let wait = pause.map(|n| FIRST_PAUSE * (1 << n));
            match self.wait(wait, pause.is_none() || begun.elapsed() >= SWEEP) {
                Woken::Stopped => return,
                Woken::Event => {
                    if self.is_ours() {
                        begun = crate::clock::monotonic();
                        pause = Some(0);
                        self.notify.notify_one();
                    }
                }
                Woken::Timeout => {
                    self.notify.notify_one();
                    pause = pause.map(|n| n + 1).filter(|n| *n < PAUSES);
                }
            }
        }
    }

    fn wait(&self, timeout: Option<Duration>, listen: bool) -> Woken {
        let timeout = timeout.and_then(|wait| Timespec::try_from(wait).ok());
        let mut fds = [
            PollFd::new(&self.stopped, PollFlags::IN),
            PollFd::from_borrowed_fd(self.inotify.as_fd(), PollFlags::IN),
        ];
        let fds = if listen { &mut fds[..] } else { &mut fds[..1] };
        match poll(fds, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Woken::Timeout,
            Ok(_) if fds[0].revents().is_empty() => Woken::Event,
            Ok(_) | Err(_) => Woken::Stopped,
        }
    }

    /// Takes all events at hand; whether one was about the WAL.
    fn is_ours(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let mut ours = false;
        while let Ok(events) = self.inotify.read_events(&mut buffer) {
            let mut any = false;
            for event in events {
                any = true;
                ours |= event.name == Some(&self.wal);
            }
            if !any {
                break;
            }
        }
        ours
    }
}

enum Woken {
    Event,
    Timeout,
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_to_the_wal_is_hinted_and_a_write_beside_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch::new(&folder.path().join("queue.db")).unwrap();
        std::fs::write(folder.path().join("other.txt"), b"x").unwrap();
        let idle = tokio::time::timeout(Duration::from_millis(100), watch.hint()).await;
        assert!(idle.is_err(), "a foreign file gave a hint");
        std::fs::write(folder.path().join("queue.db-wal"), b"x").unwrap();
        tokio::time::timeout(Duration::from_secs(5), watch.hint()).await.unwrap();
    }
}
