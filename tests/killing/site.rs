//! A folder with a database, and the real daemon in it.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use triggerd::clock::{Clock as _, SystemClock, UnixMillis};

/// Nothing that is waited for may take longer. Far above what any of it takes on a busy machine.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// A folder, which stays if something is found.
pub(crate) struct Site {
    folder: PathBuf,
}

impl Site {
    /// `name` in `folder`, with this configuration, to which `[database]` is added.
    pub(crate) fn new(folder: &Path, name: &str, configuration: &str) -> Self {
        let site = Self { folder: folder.join(name) };
        std::fs::create_dir(&site.folder).expect("the folder is writable");
        let url = site.path("queue.db");
        let text = format!("[database]\nurl = \"sqlite:{}\"\n{configuration}", url.display());
        std::fs::write(site.path("triggerd.toml"), text).expect("the folder is writable");
        site
    }

    pub(crate) fn remove(self) {
        std::fs::remove_dir_all(self.folder).expect("the folder is ours");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts it. What it says is added to `daemon.log`. `full`: whether its commits wait for the disk, which no kill
    /// needs, and which makes other moments long.
    pub(crate) fn spawn(&self, verb: &str, full: bool) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_triggerd"));
        command.current_dir(&self.folder).arg(verb).env_clear().env("RUST_BACKTRACE", "1");
        command.env("TRIGGERD__DATABASE__SYNCHRONOUS", if full { "full" } else { "normal" });
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let spawned = SystemClock.now();
        let mut child = command.spawn().expect("the binary is there");
        let (tell, ready) = watch::channel(None);
        let stderr = child.stderr.take().expect("it is piped");
        tokio::spawn(listen(stderr, self.path("daemon.log"), tell));
        Daemon { child, spawned, ready }
    }

    /// A connection such as producers have.
    pub(crate) async fn connect(&self) -> SqliteConnection {
        connect(&self.path("queue.db")).await
    }
}

/// A connection to this file, which must be there. No commit waits for the disk.
pub(crate) async fn connect(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(LONGEST);
    SqliteConnection::connect_with(&options).await.expect("the database opens")
}

/// A process of triggerd. Killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) spawned: UnixMillis,
    ready: watch::Receiver<Option<UnixMillis>>,
}

impl Daemon {
    /// When it said that it is ready; none: it ended without.
    pub(crate) async fn ready(&self) -> Option<UnixMillis> {
        let mut ready = self.ready.clone();
        let said = tokio::time::timeout(LONGEST, ready.wait_for(Option::is_some)).await;
        said.ok()?.ok().and_then(|said| *said)
    }

    /// The same, if it has done so yet.
    pub(crate) fn is_ready(&self) -> Option<UnixMillis> {
        *self.ready.borrow()
    }

    /// Sends a signal; when that was. One that ended by itself gets none.
    pub(crate) fn signal(&self, signal: Signal) -> UnixMillis {
        let at = SystemClock.now();
        if let Some(id) = self.child.id() {
            let pid = Pid::from_raw(id.try_into().expect("ids are small")).expect("not 0");
            // Not waited for yet, so the number is still its own.
            kill_process(pid, signal).expect("the process is ours");
        }
        at
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the process is ours").is_some()
    }

    /// How it ended; none: it did not in time.
    pub(crate) async fn ended(&mut self) -> Option<ExitStatus> {
        let ended = tokio::time::timeout(LONGEST, self.child.wait()).await;
        ended.ok().map(|status| status.expect("the process is ours"))
    }
}

async fn listen(stderr: ChildStderr, log: PathBuf, ready: watch::Sender<Option<UnixMillis>>) {
    let file = tokio::fs::OpenOptions::new().create(true).append(true).open(log).await;
    let mut file = file.expect("the folder is writable");
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(mut line)) = lines.next_line().await {
        if line.ends_with(" triggerd::daemon: ready") {
            ready.send_replace(Some(SystemClock.now()));
        }
        line.push('\n');
        file.write_all(line.as_bytes()).await.expect("the folder is writable");
    }
    file.flush().await.expect("the folder is writable");
}
