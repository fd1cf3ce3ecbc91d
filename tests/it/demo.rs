//! `triggerd demo`, the first thing that a new user runs.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::bounded;

/// In a temporary folder of its own, which goes with the test.
fn demo(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerd"));
    command.arg("demo").env_clear().env("TMPDIR", folder.path()).current_dir(folder.path());
    // Settings that are meant for another daemon.
    command.env("TRIGGERD_CONFIG", "/nowhere.toml").env("TRIGGERD__LOG__FILTER", "nonsense=nonsense");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_demo_shows_every_mode_a_kill_and_a_table_and_ends_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let output = bounded(demo(&folder).output()).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{said}{errors}");
    let table = said.split("\nID  TRIGGER").nth(1).expect("there is a table");
    for row in [
        "1   nightly-report   AsyncRequestReply  succeeded   1      1",
        "2   big-import       AsyncRequestReply  succeeded   1      1",
        "3   broken-import    AsyncRequestReply  failed      1      1",
        "4   credit-check     LongPolling        succeeded   1      1",
        "5   cache-refresh    FireAndForget      dispatched  1      1",
        "6   flaky-gateway    AsyncRequestReply  uncertain   1      1",
        "7   patient-gateway  AsyncRequestReply  succeeded   2      1",
        "8   locked-door      AsyncRequestReply  rejected    1      0",
    ] {
        assert!(table.contains(row), "no {row} in:\n{said}");
    }
    assert!(said.contains("-- refused at once: unknown_trigger: trigger_name: must be"), "{said}");
    assert!(said.contains("kill -9: the daemon is dead, the remote jobs of "), "{said}");
    assert!(said.contains("fired 0 of them again"), "{said}");
    let place = said.split("  cd ").nth(1).unwrap().lines().next().unwrap();
    for name in ["queue.db", "triggerd.toml", "emulator.toml", "triggerd.log"] {
        assert!(std::path::Path::new(place).join(name).is_file(), "{place} has no {name}");
    }
    let log = std::fs::read_to_string(std::path::Path::new(place).join("triggerd.log")).unwrap();
    assert_eq!(log.matches("triggerd::daemon: ready").count(), 2, "two daemons:\n{log}");
    assert!(log.trim_end().ends_with("stopped"), "the second one in order:\n{log}");
}

#[tokio::test]
async fn the_demo_as_json_is_one_object_for_each_request() {
    let folder = tempfile::tempdir().unwrap();
    let output = bounded(demo(&folder).arg("--json").output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let ends: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ends.len(), 8);
    let of = |column: &str| ends.iter().filter_map(|end| end[column].as_str()).collect::<Vec<_>>();
    assert_eq!(of("wrong"), [""; 0]);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left that nobody is told of"
    );
    assert!(
        ["succeeded", "failed", "dispatched", "uncertain", "rejected"]
            .iter()
            .all(|s| of("state").contains(s))
    );
}

#[tokio::test]
async fn a_demo_that_is_stopped_leaves_no_daemon_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(&folder).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("the daemon is ready") {
                return;
            }
        }
        panic!("it ended before its daemon was ready");
    };
    bounded(ready).await;
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let status = bounded(child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(1));
    let place = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let lock = std::fs::File::open(place.join("queue.db.lock")).unwrap();
    assert!(lock.try_lock().is_ok(), "a daemon still holds the database");
}
