//! The daemon under systemd, played by the test: started as the unit says, and told what the unit says.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::UnixDatagram;
use triggerd::clock::{monotonic, monotonic_micros};

use crate::support::bounded;
use crate::support::daemon::{Daemon, Site};
use crate::support::far_end::{Answer, FarEnd, Hold, Then};

const UNIT: &str = include_str!("../../systemd/triggerd.service");
const INSERT: &str = "INSERT INTO requests (trigger_name) VALUES ('t')";

/// The values of a key of the unit.
fn unit(key: &str) -> Vec<&'static str> {
    let lines = UNIT.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| *name == key).map(|(_, value)| value).collect()
}

/// The only value of a key.
fn one(key: &str) -> &'static str {
    let values = unit(key);
    assert_eq!(values.len(), 1, "{key}: {values:?}");
    values[0]
}

/// What `ExecStart=` gives the program.
fn arguments() -> impl Iterator<Item = &'static str> {
    let mut words = one("ExecStart").split_whitespace();
    assert_eq!(words.next(), Some("/usr/bin/triggerd"));
    words
}

/// The end of the notify socket that is systemd's.
struct Manager {
    socket: UnixDatagram,
    name: String,
    /// All that it was told.
    told: Vec<String>,
}

impl Manager {
    /// With a socket under a path.
    fn new(site: &Site) -> Self {
        let path = site.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, name: path.display().to_string(), told: Vec::new() }
    }

    /// With a socket that is in no file system.
    fn new_abstract() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("triggerd-it-{}-{nth}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket: UnixDatagram::from_std(socket).unwrap(), name: format!("@{name}"), told: Vec::new() }
    }

    /// Starts the daemon as the unit does.
    fn start(&self, site: &Site, watchdog: Duration) -> Daemon {
        let micros = watchdog.as_micros().to_string();
        site.spawn_as(arguments(), [("NOTIFY_SOCKET", self.name.as_str()), ("WATCHDOG_USEC", &micros)])
    }

    async fn next(&mut self) -> String {
        let mut buffer = [0; 4096];
        let n = bounded(self.socket.recv(&mut buffer)).await.unwrap();
        let message = String::from_utf8(buffer[..n].to_vec()).unwrap();
        assert!(message.ends_with('\n'), "{message:?}");
        self.told.push(message.clone());
        message
    }

    /// The next message with such a line.
    async fn hears(&mut self, line: &str) -> String {
        loop {
            let message = self.next().await;
            if message.lines().any(|said| said.starts_with(line)) {
                return message;
            }
        }
    }

    /// Whether it was told this so far.
    fn has_heard(&self, line: &str) -> bool {
        self.told.iter().any(|message| message.lines().any(|said| said == line))
    }

    /// Takes what has come by now; how many messages that were.
    fn drain(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let before = self.told.len();
        while let Ok(length) = self.socket.try_recv(&mut buffer) {
            self.told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        self.told.len() - before
    }
}

/// Does what `ExecReload=` says.
fn reload(daemon: &Daemon) {
    assert_eq!(one("ExecReload"), "/bin/kill -HUP $MAINPID");
    daemon.signal(Signal::HUP);
}

fn trigger(far: &FarEnd, keys: &str) -> String {
    format!("[triggers.t]\nurl = \"{}\"\n{keys}\n", far.url("/fire"))
}

fn silence() -> Answer {
    Answer::raw("").then(Then::Hang)
}

/// What is to be seen of a daemon that has nothing to do, but left a request in doubt.
const AT_REST: &str = "ready, nothing under way, 1 uncertain: see triggerd list --state uncertain";

#[tokio::test]
async fn the_unit_starts_it_feeds_its_watchdog_reloads_it_and_stops_it() {
    assert_eq!(one("Type"), "notify");
    let far = FarEnd::start(|_| silence()).await;
    // Longer than any watchdog: an idle daemon is as alive as a busy one.
    let configuration = format!("[dispatch]\nfallback_poll = \"30d\"\n{}", trigger(&far, ""));
    let site = Site::new(&configuration);
    let daemon = site.start().await;
    let mut table = site.table().await;
    table.run(INSERT).await;
    bounded(far.seen(1)).await;
    daemon.kill().await;

    // A row to be judged, and somebody's lock.
    table.run("BEGIN IMMEDIATE").await;
    let mut manager = Manager::new(&site);
    let daemon = manager.start(&site, Duration::from_secs(3));
    manager.hears("EXTEND_TIMEOUT_USEC=").await;
    daemon.logged("the start waits for another program that holds a lock").await;
    manager.hears("EXTEND_TIMEOUT_USEC=").await;
    assert!(!manager.has_heard("READY=1"), "{:?}", manager.told);
    table.run("ROLLBACK").await;
    let ready = manager.hears("READY=1").await;
    assert_eq!(table.fate(1).await, "uncertain interrupted", "it is ready before the recovery is done");
    assert!(ready.contains("\nSTATUS=ready"), "{ready}");

    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }

    let before = monotonic_micros();
    reload(&daemon);
    let reloading = manager.hears("RELOADING=1").await;
    let at = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let at: i128 = at.unwrap().parse().unwrap();
    assert!((before..=monotonic_micros()).contains(&at), "{reloading}");
    let ready = manager.hears("READY=1").await;
    assert!(ready.contains(&format!("\nSTATUS={AT_REST}\n")), "{ready}");

    // What is refused is over as well, and to be seen.
    site.configure("[triggers.t]\nurl = \"ftp://far.example\"\n[log]\nformat = \"xml\"\n");
    reload(&daemon);
    manager.hears("RELOADING=1").await;
    let refused = manager.hears("READY=1").await;
    let problem = format!("\nSTATUS={AT_REST}; the last reload was refused: ./triggerd.toml: ");
    assert!(refused.contains(&problem) && refused.contains(" (and 1 more)\n"), "{refused}");
    site.configure(&configuration);
    reload(&daemon);
    manager.hears("RELOADING=1").await;
    assert!(manager.hears("READY=1").await.contains(&format!("\nSTATUS={AT_REST}\n")));

    daemon.signal(Signal::TERM);
    manager.hears("STOPPING=1").await;
    let ended = bounded(daemon.ended()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

#[tokio::test]
async fn a_stop_is_announced_at_once_and_the_watchdog_is_fed_while_firings_end() {
    let hold = Hold::new();
    let holding = hold.clone();
    let far = FarEnd::start(move |_| Answer::status(200).held(&holding)).await;
    let site = Site::new(&trigger(&far, "call_mode = \"FireAndForget\""));
    let mut manager = Manager::new_abstract();
    let daemon = manager.start(&site, Duration::from_millis(900));
    manager.hears("READY=1").await;
    let mut table = site.table().await;
    table.run(INSERT).await;
    bounded(far.seen(1)).await;
    daemon.signal(Signal::TERM);
    let stopping = manager.hears("STOPPING=1").await;
    assert!(stopping.contains("\nSTATUS=stopping"), "{stopping}");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }
    // Nothing to reload any more, and nothing that would look like a start.
    reload(&daemon);
    daemon.logged("configuration reloaded").await;
    hold.release();
    let ended = bounded(daemon.ended()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(table.fate(1).await, "dispatched");
    manager.drain();
    assert!(!manager.has_heard("RELOADING=1"), "{:?}", manager.told);
}

#[tokio::test]
async fn the_watchdog_is_not_fed_while_the_writer_gets_nothing_done() {
    let hold = Hold::new();
    let holding = hold.clone();
    let far = FarEnd::start(move |_| Answer::status(200).held(&holding)).await;
    let site = Site::new(&trigger(&far, "call_mode = \"FireAndForget\""));
    let mut manager = Manager::new_abstract();
    // Far below what the unit says, and below the time that the writer waits for a lock.
    let daemon = manager.start(&site, Duration::from_millis(900));
    manager.hears("READY=1").await;
    let mut table = site.table().await;
    table.run(INSERT).await;
    bounded(far.seen(1)).await;
    table.run("BEGIN IMMEDIATE").await;
    hold.release();
    daemon.logged("the watchdog is not told that all is well: nothing was done by the writer").await;
    table.run("ROLLBACK").await;
    table.meets(1, "dispatched").await;
    manager.drain();
    manager.hears("WATCHDOG=1").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_stop_is_heard_while_the_start_waits_for_a_lock() {
    /// Far below the time that a writer waits for a lock.
    const SOON: Duration = Duration::from_secs(5);
    let site = Site::new("");
    site.start().await.stop().await;
    let mut table = site.table().await;
    table.run("BEGIN IMMEDIATE").await;
    let mut manager = Manager::new(&site);
    let daemon = manager.start(&site, Duration::from_secs(180));
    daemon.logged("the start waits for another program that holds a lock").await;
    let begun = monotonic();
    daemon.signal(Signal::TERM);
    manager.hears("STOPPING=1").await;
    let ended = bounded(daemon.ended()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(ended.log.contains("stopped before the start was done"), "{}", ended.log);
    assert!(!manager.has_heard("READY=1"));
}

#[tokio::test]
async fn a_socket_that_is_nobodys_keeps_nothing_from_running() {
    let site = Site::new("");
    for name in ["/nonexistent/notify", "relative", "@nobody-listens-here"] {
        let daemon = site.spawn_as(["run"], [("NOTIFY_SOCKET", name), ("WATCHDOG_USEC", "1000")]);
        daemon.logged("INFO triggerd::daemon: ready").await;
        let log = daemon.stop().await;
        assert_eq!(log.matches("service manager").count(), 1, "{name}: {log}");
    }
}

#[tokio::test]
async fn no_other_verb_tells_the_manager_anything() {
    let site = Site::new("");
    let mut manager = Manager::new(&site);
    for verb in [&["--help"][..], &["run", "--help"], &["migrate"], &["check"], &["list"], &["show", "1"]] {
        let ended = site.spawn_as(verb.iter().copied(), [("NOTIFY_SOCKET", manager.name.as_str())]).ended();
        assert!(bounded(ended).await.code.is_some());
        assert_eq!(manager.drain(), 0, "{verb:?}");
    }
}

#[tokio::test]
async fn a_failure_is_told_and_the_unit_knows_which_ones_no_restart_cures() {
    let site = Site::new("");
    site.write("queue.db", vec![b'x'; 8192]);
    let mut manager = Manager::new(&site);
    let damaged = bounded(manager.start(&site, Duration::from_secs(180)).ended()).await;
    manager.hears("STATUS=failed: the database is damaged").await;
    site.configure("[log]\nformat = \"xml\"\n");
    let unusable = bounded(manager.start(&site, Duration::from_secs(180)).ended()).await;
    manager.hears("STATUS=failed: ./triggerd.toml: ").await;
    let prevented: Vec<i32> =
        one("RestartPreventExitStatus").split_whitespace().map(|code| code.parse().unwrap()).collect();
    assert_eq!(prevented, [damaged.code.unwrap(), unusable.code.unwrap()]);
    assert_eq!(one("Restart"), "on-failure");
}

#[test]
fn the_unit_gives_a_stop_and_a_watchdog_the_time_that_they_need() {
    let seconds = |key| Duration::from_secs(one(key).parse().unwrap());
    let defaults = include_str!("../../config/defaults.toml");
    assert!(defaults.contains("shutdown_grace = \"75s\""));
    assert!(seconds("TimeoutStopSec") >= Duration::from_secs(75 + 10), "the grace, and the last commit");
    // A writer waits 10 s for a lock, and is asked every third.
    assert!(seconds("WatchdogSec") >= Duration::from_secs(60));
    assert!(!UNIT.contains("\nDynamicUser="), "producers could not open the database");
}

mod files {
    use super::*;

    const FILES: [&str; 4] = ["queue.db", "queue.db-wal", "queue.db-shm", "queue.db.lock"];

    /// A site in a folder that a group shares.
    fn shared() -> Site {
        let site = Site::new("");
        let folder = site.path("");
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o2770)).unwrap();
        site
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn producers_of_the_group_may_write_what_the_daemon_makes_whatever_the_umask() {
        for umask in ["022", "077", "007"] {
            let site = shared();
            let daemon = site.spawn_after(&format!("umask {umask}"));
            daemon.logged("triggerd::daemon: ready").await;
            for file in FILES {
                assert_eq!(mode(&site.path(file)), 0o660, "{file} under umask {umask}");
            }
            daemon.stop().await;
        }
    }

    #[tokio::test]
    async fn a_migration_by_an_administrator_shuts_nobody_out() {
        let site = shared();
        let nobody = 65_534;
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(site.path(""), Some(nobody), Some(nobody)).unwrap();
        }
        let migrated = bounded(site.spawn_as(["migrate"], []).ended()).await;
        assert_eq!(migrated.code, Some(0), "{}", migrated.log);
        // Root again: what it leaves beside the database is as little its own.
        let daemon = site.start().await;
        for file in FILES {
            let path = site.path(file);
            assert_eq!(mode(&path), 0o660, "{file}");
            if is_root {
                let file = path.metadata().unwrap();
                assert_eq!((file.uid(), file.gid()), (nobody, nobody), "{path:?}");
            }
        }
        daemon.stop().await;
    }

    #[tokio::test]
    async fn a_folder_of_one_user_has_files_of_one_user() {
        let site = Site::new("");
        let daemon = site.spawn_after("umask 022");
        daemon.logged("triggerd::daemon: ready").await;
        for file in FILES {
            assert_eq!(mode(&site.path(file)) & 0o027, 0, "{file}");
        }
        daemon.stop().await;
    }
}

/// Without the name of the boot no flight record can be kept, and each crash would leave more in doubt.
#[test]
fn the_unit_names_the_boot_that_it_hides_from_the_daemon() {
    assert_eq!(one("ProcSubset"), "pid");
    assert!(unit("Environment").contains(&"TRIGGERD_BOOT_ID=%b"), "{:?}", unit("Environment"));
}
