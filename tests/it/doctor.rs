//! `triggerd doctor`: each finding on an installation that has it, and none on one that has not.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::cli::{Place, code};
use crate::support::daemon::Site;

const CONFIGURATION: &str = "[triggers.t]\nurl = \"http://127.0.0.1:9/\"\n";
/// What depends on the machine that the tests run on.
const OF_THE_MACHINE: [&str; 4] = ["disk", "clock", "unit", "producers"];

/// The findings by check: level, message and advice.
fn findings(said: &str) -> BTreeMap<String, Vec<(String, String, String)>> {
    let mut findings: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in said.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{said}"));
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        findings.entry(text("check")).or_default().push((text("level"), text("message"), text("advice")));
    }
    findings
}

fn examined(place: &Place) -> BTreeMap<String, Vec<(String, String, String)>> {
    let output = place.triggerd(&["doctor", "--json"]);
    let found = findings(&String::from_utf8(output.stdout.clone()).unwrap());
    let bad = found.values().flatten().any(|(level, ..)| level != "ok");
    assert_eq!(code(&output), i32::from(bad), "{output:?}");
    for (level, message, advice) in found.values().flatten() {
        assert_eq!(
            advice.is_empty(),
            level == "ok",
            "{message}: whoever is told of something is told what to do"
        );
    }
    found
}

#[tokio::test]
async fn an_installation_at_work_has_nothing_wrong() {
    let site = Site::new(CONFIGURATION);
    let daemon = site.start().await;
    // The log says so a moment before the table does.
    site.table().await.until("SELECT count(*) FROM daemon WHERE ready_at IS NOT NULL", 1).await;
    for arguments in [&["doctor", "--json"][..], &["doctor", "--full", "--json"]] {
        let (_, said) = site.verb(arguments).await;
        let mut found = findings(&said);
        found.retain(|check, _| !OF_THE_MACHINE.contains(&check.as_str()));
        let bad: Vec<_> = found.values().flatten().filter(|(level, ..)| level != "ok").collect();
        assert!(bad.is_empty(), "{bad:?}");
        let checks: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(checks, ["configuration", "daemon", "database", "files", "requests", "wal"]);
    }
    daemon.stop().await;
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    /// What makes it so, the check, the level, words of the message, words of the advice.
    type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);
    const CASES: [Case; 7] = [
        ("", "daemon", "warning", "no daemon runs", "systemctl start"),
        (
            "UPDATE triggers SET paused = 1, paused_reason = 'a move' WHERE name = 't'",
            "triggers",
            "warning",
            "t is paused (a move)",
            "triggerd resume t",
        ),
        (
            "INSERT INTO requests (trigger_name) VALUES ('t'); UPDATE requests SET state = 'uncertain', finished_at = 1800000000000",
            "requests",
            "warning",
            "uncertain: 1",
            "triggerd resolve",
        ),
        ("UPDATE daemon SET seen_at = 9000000000000", "clock", "error", "has stepped back", "set it"),
        (
            "UPDATE daemon SET backed_up_at = 1700000000000",
            "database",
            "error",
            "is a backup that was made at 2023-11-14T22:13:20Z",
            "triggerd restored",
        ),
        ("DROP TRIGGER requests_delete", "database", "warning", "requests_delete is missing", "put it back"),
        ("PRAGMA journal_mode = DELETE", "database", "error", "journal mode delete", "start of the daemon"),
    ];
    for (setup, check, level, message, advice) in CASES {
        let place = Place::migrated();
        place.sql(setup);
        let found = examined(&place);
        let said =
            found.get(check).into_iter().flatten().any(|(has, says, advises)| {
                has == level && says.contains(message) && advises.contains(advice)
            });
        assert!(said, "{setup}: {found:?}");
    }
}

#[test]
fn a_file_that_every_user_may_read_is_told_and_a_line_is_for_a_person() {
    for name in ["queue.db", "queue.db.before-upgrade-from-2", "queue.db.rescued", "log"] {
        let place = Place::migrated();
        let everybody = std::fs::Permissions::from_mode(0o644);
        if name == "log" {
            std::fs::create_dir(place.path(name)).unwrap();
            std::fs::set_permissions(place.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
            let configuration = std::fs::read_to_string(place.path("triggerd.toml")).unwrap();
            place.configure(&format!(
                "{configuration}[log]\ndirectory = \"{}\"\n",
                place.path(name).display()
            ));
        } else {
            std::fs::File::options().append(true).create(true).open(place.path(name)).unwrap();
            std::fs::set_permissions(place.path(name), everybody).unwrap();
        }
        let output = place.triggerd(&["doctor"]);
        assert_eq!(code(&output), 1);
        let said = String::from_utf8(output.stdout).unwrap();
        let told = format!("every user may read {}", place.path(name).display());
        let line = said.lines().find(|line| line.contains(&told)).expect(&said);
        assert!(line.starts_with("error    files: ") && line.contains(": chmod o= /"), "{line}");
    }
}

#[test]
fn without_a_database_or_a_configuration_it_says_so() {
    let place = Place::new();
    let found = examined(&place);
    let (level, message, _) = &found["database"][0];
    assert!(level == "error" && message.contains("`triggerd migrate` makes it"), "{message}");
    place.configure("[nonsense]\n[dispatch]\nmax_in_flight = \"x\"\n");
    let output = place.triggerd(&["doctor", "--json"]);
    assert_eq!(code(&output), 78);
    let found = findings(&String::from_utf8(output.stdout).unwrap());
    let problems: Vec<_> = found["configuration"].iter().map(|(level, ..)| level.as_str()).collect();
    assert!(problems.len() >= 2 && problems.iter().all(|level| *level == "error"), "{found:?}");
    assert!(found.contains_key("producers") && !found.contains_key("database"), "{found:?}");
}

#[tokio::test]
async fn whoever_keeps_the_write_ahead_log_from_being_moved_is_named() {
    let site = Site::new(CONFIGURATION);
    site.verb(&["migrate"]).await;
    let mut reader = site.table().await;
    reader.run("BEGIN").await;
    assert_eq!(reader.number("SELECT count(*) FROM requests").await, 0);
    let mut writer = site.table().await;
    writer
        .run(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
             INSERT INTO outputs (request_id, bytes, body) SELECT i, 1048576, randomblob(1048576) FROM n",
        )
        .await;
    let (_, said) = site.verb(&["doctor", "--json"]).await;
    let (level, message, advice) = &findings(&said)["wal"][0];
    let us = format!("in transactions that read: {} (", std::process::id());
    assert!(level == "warning" && message.contains(&us), "{message}");
    assert!(advice.contains("end that transaction"), "{advice}");
    reader.run("ROLLBACK").await;
    let (_, said) = site.verb(&["doctor", "--json"]).await;
    assert_eq!(findings(&said)["wal"][0].0, "ok", "{said}");
}
