//! The real daemon in a process of its own, as a service manager and its producers meet it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, FromRow};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;

use super::bounded;

/// Between two looks at `data_version`, which reads one number of shared memory.
const TICK: Duration = Duration::from_millis(1);

/// A folder with a configuration and, once a daemon has run, its database.
pub(crate) struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    /// One with this configuration, to which `[database]` is added.
    pub(crate) fn new(configuration: &str) -> Self {
        let site = Self { folder: tempfile::tempdir().expect("the temporary folder is writable") };
        site.configure(configuration);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the configuration. Nothing here is about a loss of power, so commits do not wait for the disk.
    pub(crate) fn configure(&self, configuration: &str) {
        let url = self.path("queue.db");
        let text = format!(
            "[database]\nurl = \"sqlite:{}\"\nsynchronous = \"normal\"\n{configuration}",
            url.display()
        );
        self.write("triggerd.toml", &text);
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the folder is writable");
        let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, owner_only).expect("the file is ours");
    }

    /// Starts a daemon, whatever becomes of it.
    pub(crate) fn spawn(&self) -> Daemon {
        self.spawn_as(["run"], [])
    }

    /// Starts it with these arguments, and nothing in its environment but this.
    pub(crate) fn spawn_as<'a, 'e>(
        &self,
        arguments: impl IntoIterator<Item = &'a str>,
        environment: impl IntoIterator<Item = (&'e str, &'e str)>,
    ) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_triggerd"));
        command.args(arguments).env_clear().envs(environment);
        Daemon::spawn(self.folder.path(), &mut command)
    }

    /// Runs another verb to its end; its exit code and what it says, on either stream.
    pub(crate) async fn verb(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_triggerd"));
        command.current_dir(self.folder.path()).args(arguments).env_clear().stdin(Stdio::null());
        let output = bounded(command.output()).await.expect("the binary is there");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("it is text"));
        (output.status.code().expect("no signal ends it"), said.concat())
    }

    /// Starts a daemon with limits, as the shell's `ulimit` has them.
    pub(crate) fn spawn_with(&self, limits: &str) -> Daemon {
        self.spawn_after(&format!("ulimit {limits}"))
    }

    /// Starts a daemon after what the shell does first.
    pub(crate) fn spawn_after(&self, first: &str) -> Daemon {
        let script = format!("{first} && exec {} run", env!("CARGO_BIN_EXE_triggerd"));
        Daemon::spawn(self.folder.path(), Command::new("/bin/sh").arg("-c").arg(script).env_clear())
    }

    /// Starts a daemon and waits until it is ready.
    pub(crate) async fn start(&self) -> Daemon {
        let daemon = self.spawn();
        daemon.logged("INFO triggerd::daemon: ready").await;
        daemon
    }

    /// A connection such as producers have. The database must be there. As for the daemon, no commit waits for the disk.
    pub(crate) async fn table(&self) -> Table {
        let options = SqliteConnectOptions::new()
            .filename(self.path("queue.db"))
            .create_if_missing(false)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(30));
        Table(SqliteConnection::connect_with(&options).await.expect("the database opens"))
    }
}

/// A process of triggerd. Killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: watch::Receiver<String>,
}

/// What is left of one.
pub(crate) struct Ended {
    /// None after a signal.
    pub(crate) code: Option<i32>,
    /// All that it said on standard error.
    pub(crate) log: String,
}

impl Daemon {
    fn spawn(folder: &Path, command: &mut Command) -> Self {
        command.current_dir(folder).env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the binary is there");
        let (said, log) = watch::channel(String::new());
        tokio::spawn(listen(child.stderr.take().expect("it is piped"), said));
        Self { child, log }
    }

    /// Waits for words in the log.
    pub(crate) async fn logged(&self, words: &str) {
        let mut log = self.log.clone();
        let found = bounded(log.wait_for(|log| log.contains(words))).await.is_ok();
        assert!(found, "the process ended without {words:?}:\n{}", *self.log.borrow());
    }

    /// Waits for any of these words in the log; which of them.
    pub(crate) async fn logged_one_of(&self, words: &[&str]) -> usize {
        let mut log = self.log.clone();
        let first = |log: &str| words.iter().position(|words| log.contains(words));
        let found = bounded(log.wait_for(|log| first(log).is_some())).await.map(|log| first(&log));
        found
            .ok()
            .flatten()
            .unwrap_or_else(|| panic!("the process ended without a word:\n{}", *self.log.borrow()))
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        self.log.borrow().clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is ours");
    }

    /// SIGKILL, and waits until nothing of it is left.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("the process is ours");
    }

    /// SIGTERM; it must end in order.
    pub(crate) async fn stop(self) -> String {
        self.signal(Signal::TERM);
        let ended = bounded(self.ended()).await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        ended.log
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = self.child.wait().await.expect("the process is ours");
        // The listener drops its end at the end of the pipe.
        let whole = self.log.wait_for(|_| false).await.is_err();
        debug_assert!(whole);
        let log = self.log.borrow().clone();
        Ended { code: status.code(), log }
    }

    /// The most memory that it ever had, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// The CPU time that it has had.
    pub(crate) fn cpu_time(&self) -> Duration {
        /// `USER_HZ`, the unit of /proc, on every architecture that Rust has.
        const TICKS_PER_SECOND: u64 = 100;
        let stat = self.proc("stat");
        // After the name in parentheses: user time is the 12th, system time the 13th field.
        let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
        let ticks = |n| fields.split_whitespace().nth(n).and_then(|text| text.parse::<u64>().ok());
        let ticks = ticks(11).zip(ticks(12)).map(|(user, system)| user + system).expect("numbers");
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id().expect("it runs"));
        std::fs::read_to_string(path).expect("it runs")
    }

    pub(crate) fn pid(&self) -> Pid {
        let id = self.child.id().expect("it runs");
        Pid::from_raw(id.try_into().expect("ids are small")).expect("not 0")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon of a test that failed said:\n{}", *self.log.borrow());
        }
    }
}

async fn listen(stderr: ChildStderr, said: watch::Sender<String>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        said.send_modify(|log| {
            log.push_str(&line);
            log.push('\n');
        });
    }
}

/// A producer's or operator's connection.
pub(crate) struct Table(SqliteConnection);

impl Table {
    /// Runs statements.
    pub(crate) async fn run(&mut self, sql: impl Into<String>) {
        let sql = sql.into();
        let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut self.0).await;
        done.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// The last one to close moves everything into the file.
    pub(crate) async fn close(self) {
        self.0.close().await.expect("it closes");
    }

    /// Runs a statement that is refused; why.
    pub(crate) async fn refused(&mut self, sql: impl Into<String>) -> String {
        let sql = sql.into();
        let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut self.0).await;
        done.expect_err(&sql).to_string()
    }

    /// The only row of a query.
    pub(crate) async fn row<T>(&mut self, sql: impl Into<String>) -> T
    where
        T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let sql = sql.into();
        let row = sqlx::query_as(AssertSqlSafe(sql.clone())).fetch_one(&mut self.0).await;
        row.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// The number that a query gives.
    pub(crate) async fn number(&mut self, sql: impl Into<String>) -> i64 {
        self.row::<(i64,)>(sql).await.0
    }

    /// The text that a query gives, empty for NULL.
    pub(crate) async fn text(&mut self, sql: impl Into<String>) -> String {
        self.row::<(Option<String>,)>(sql).await.0.unwrap_or_default()
    }

    /// State and error code of a request, as in `succeeded` or `uncertain interrupted`.
    pub(crate) async fn fate(&mut self, id: i64) -> String {
        self.text(format!("SELECT state || coalesce(' ' || error_code, '') FROM requests WHERE id = {id}"))
            .await
    }

    /// Waits until the request has this fate.
    pub(crate) async fn meets(&mut self, id: i64, fate: &str) {
        let sql = format!(
            "SELECT count(*) FROM requests WHERE id = {id} AND state || coalesce(' ' || error_code, '') = '{fate}'"
        );
        if !self.comes_to(&sql, 1).await {
            panic!("request {id} is not {fate} but {}", self.fate(id).await);
        }
    }

    /// Waits until a query gives this number.
    pub(crate) async fn until(&mut self, sql: &str, expected: i64) {
        if !self.comes_to(sql, expected).await {
            panic!("{sql} is not {expected} but {}", self.number(sql).await);
        }
    }

    async fn comes_to(&mut self, sql: &str, expected: i64) -> bool {
        let waiting = async {
            let mut seen = None;
            loop {
                let version = self.number("PRAGMA data_version").await;
                if seen.replace(version) != Some(version) && self.number(sql).await == expected {
                    return;
                }
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::time::timeout(super::LONGEST, waiting).await.is_ok()
    }
}
