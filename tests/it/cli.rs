//! The real binary, as a person or a script uses it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection, Row as _, SqliteConnection};

/// A folder with a configuration of two triggers, and a database once it has been migrated.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let database = place.path("queue.db");
        place.configure(&format!(
            "[database]\nurl = \"sqlite:{}\"\n\
             [triggers.t]\nurl = \"https://api.example/t\"\nmax_arguments = \"100B\"\n\
             [triggers.u]\nurl = \"https://api.example/u\"\n",
            database.display()
        ));
        place
    }

    pub(crate) fn migrated() -> Self {
        let place = Self::new();
        assert_eq!(code(&place.triggerd(&["migrate"])), 0);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.path("triggerd.toml"), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_triggerd"));
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        command.env_clear().env("TZ", "UTC").env("RUST_BACKTRACE", "0");
        command
    }

    pub(crate) fn triggerd(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What standard output says, of a verb that must succeed.
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        let output = self.triggerd(arguments);
        assert_eq!(code(&output), 0, "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.said(arguments)).unwrap()
    }

    /// What a daemon would write.
    pub(crate) fn sql(&self, sql: &'static str) {
        let options = SqliteConnectOptions::new().filename(self.path("queue.db"));
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
    }

    /// The first column of each row of a query, as text.
    pub(crate) fn query(&self, sql: &'static str) -> Vec<String> {
        let options = SqliteConnectOptions::new().filename(self.path("queue.db"));
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            let text = |row: &SqliteRow| row.try_get_unchecked::<String, _>(0).unwrap();
            rows.iter().map(text).collect()
        })
    }
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn usage_that_makes_no_sense_is_2() {
    let place = Place::migrated();
    for arguments in [
        &[][..],
        &["launch"],
        &["show"],
        &["show", "x"],
        &["wait"],
        &["list", "--state", "done"],
        &["list", "--limit", "0"],
        &["submit", "t", "--call-mode", "longpolling"],
        &["submit", "t", "--priority", "101"],
        &["submit", "t", "--in", "5"],
        &["submit", "t", "--at", "tomorrow"],
        &["submit", "t", "--in", "5s", "--at", "2030-01-01T00:00:00Z"],
        &["submit", "t", "--in", "1h", "--deadline", "1h"],
        &["submit", "t", "--arg", "a"],
        &["submit", "t", "--arg", "a=1", "--json-args", "[]"],
        &["submit", "t", "--json-args", "@nonexistent"],
        &["cancel"],
        &["retry"],
        &["retry", "--may-run-twice"],
        &["retry", "1", "--state", "failed"],
        &["retry", "--state", "uncertain"],
        &["retry", "--since", "yesterday"],
        &["resolve", "1"],
        &["resolve", "--as", "failed"],
        &["resolve", "1", "--as", "done"],
        &["resolve", "1", "--as", "failed", "--note", "two\nlines"],
        &["resolve", "1", "--as", "failed", "--status-uri", "https://api.example/s"],
        &["resolve", "1", "--as", "follow", "--status-uri", "/s"],
        &["pause"],
        &["pause", "t", "--reason", ""],
        &["completions", "sh"],
    ] {
        assert_eq!(code(&place.triggerd(arguments)), 2, "{arguments:?}");
    }
    assert_eq!(place.said(&["list"]), "");
}

#[test]
fn help_lists_no_verb_that_does_not_exist() {
    let place = Place::new();
    let help = place.said(&["--help"]);
    let verbs: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        verbs,
        [
            "run",
            "check",
            "migrate",
            "submit",
            "list",
            "show",
            "wait",
            "cancel",
            "retry",
            "resolve",
            "pause",
            "resume",
            "schedule",
            "calendar",
            "prune",
            "backup",
            "restored",
            "doctor",
            "demo",
            "emulate",
            "completions",
            "help"
        ]
    );
    assert_eq!(place.said(&["--version"]), format!("triggerd {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_configuration_that_cannot_be_used_is_78_with_every_problem() {
    let place = Place::new();
    place.configure("[dispatch]\nmax_in_flight = 0\n[triggers.t]\nurl = 'ftp://x'\n");
    for verb in [&["run"][..], &["migrate"], &["submit", "t"], &["list"], &["show", "1"], &["wait", "1"]] {
        let output = place.triggerd(verb);
        assert_eq!((code(&output), output.stdout.len()), (78, 0), "{verb:?}");
        let errors = errors(&output);
        assert_eq!(errors.lines().count(), 2, "{errors}");
        assert!(errors.contains("triggerd: ./triggerd.toml: dispatch.max_in_flight: "), "{errors}");
        assert!(errors.contains("triggerd: ./triggerd.toml: triggers.t.url: "), "{errors}");
    }
}

#[test]
fn the_configuration_is_found_where_it_is_said_to_be() {
    let place = Place::new();
    let other = Place::new();
    other.configure("");
    let other = other.path("triggerd.toml");
    let triggers = |mut command: Command| {
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains("triggers: 2")
    };
    assert!(triggers(place.command(&["check"])));
    let mut by_variable = place.command(&["check"]);
    by_variable.env("TRIGGERD_CONFIG", &other);
    assert!(!triggers(by_variable));
    let mut by_flag = place.command(&["check", "--config", "./triggerd.toml"]);
    by_flag.env("TRIGGERD_CONFIG", &other);
    assert!(triggers(by_flag));
    let missing = place.triggerd(&["--config", "nonexistent.toml", "check"]);
    assert_eq!(code(&missing), 78);
    let said = String::from_utf8_lossy(&missing.stdout);
    assert!(said.contains("nonexistent.toml: cannot be read: ") && said.contains("see --config"), "{said}");
}

#[test]
fn check_accepts_the_example_as_it_stands_and_with_its_credential() {
    let place = Place::new();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/triggerd.toml");
    let url = format!("sqlite:{}", place.path("queue.db").display());
    let check = |file: &str| {
        let mut command = place.command(&["--config", file, "check"]);
        command.env("TRIGGERD__DATABASE__URL", &url);
        command
    };
    let accepted = check(example).output().unwrap();
    let said = String::from_utf8(accepted.stdout.clone()).unwrap();
    assert_eq!(code(&accepted), 0, "{accepted:?}");
    assert!(said.ends_with("good; triggers: 3, credentials: 0, schedules: 1\n"), "{said}");
    assert!(!said.contains("warning"), "{said}");
    let schedule = "schedule nightly-report: POSIX cron: at 03:00, on Monday to Friday; next: ";
    let next =
        said.lines().find_map(|line| line.strip_prefix(schedule)).expect("the schedule of the example");
    assert!(next.contains(" 03:00:00 +0") && next.ends_with(" (Europe/Berlin)"), "{next}");

    let text = std::fs::read_to_string(example).unwrap();
    let uncommented: String = text
        .lines()
        .map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let wanted = ["[credentials.", "kind = ", "token = ", "credential = "];
            let line = if wanted.iter().any(|start| bare.starts_with(start)) { bare } else { line };
            format!("{line}\n")
        })
        .collect();
    place.configure(&uncommented);
    let refused = check("triggerd.toml").output().unwrap();
    assert_eq!(code(&refused), 78, "the credential is not there yet");
    assert!(
        String::from_utf8_lossy(&refused.stdout).contains("problem: credentials.uipath: "),
        "{refused:?}"
    );
    std::fs::write(place.path("uipath"), "s3cr3t-token\n").unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(place.path("uipath"), owner_only).unwrap();
    let accepted = check("triggerd.toml").env("CREDENTIALS_DIRECTORY", place.folder.path()).output().unwrap();
    let said = String::from_utf8(accepted.stdout.clone()).unwrap();
    assert_eq!(code(&accepted), 0, "{accepted:?}");
    assert!(said.ends_with("good; triggers: 3, credentials: 1, schedules: 1\n"), "{said}");
    assert!(!said.contains("s3cr3t") && !said.contains("warning"), "{said}");
    assert!(!place.path("queue.db").exists(), "check touches nothing");
}

#[test]
fn check_lists_every_finding_and_no_secret() {
    let place = Place::new();
    place.configure(
        "[database]\nurl = 'sqlite:queue.db'\n[triggers.t]\nurl = 'http://api.example'\ncredential = 'a'\n\
         [credentials.a]\nkind = 'bearer'\ntoken = { env = 'UNSET' }\n\
         [credentials.b]\nkind = 'bearer'\ntoken = { env = 'BAD' }\n",
    );
    std::fs::write(place.path("queue.db"), "this is not a database ".repeat(100)).unwrap();
    let output = place.command(&["check", "--json"]).env("BAD", "hunter2 hunter2").output().unwrap();
    assert_eq!(code(&output), 78);
    let said = String::from_utf8(output.stdout).unwrap();
    let kinds: Vec<Value> =
        said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].take()).collect();
    assert_eq!(kinds, ["warning", "warning", "problem", "problem", "problem"], "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn check_connects_to_each_host_if_asked() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let configure = |address| {
        place.configure(&format!(
            "[database]\nurl = \"sqlite:queue.db\"\n[triggers.t]\nurl = \"http://{here}/t?code=s3cr3t\"\n\
             [triggers.u]\nurl = \"http://{address}/u\"\n"
        ));
    };
    configure(here);
    let said = place.said(&["check", "--probe"]);
    assert!(said.contains(&format!("http://{here} can be reached by TCP (triggers: t, u)\n")), "{said}");
    configure(gone);
    assert_eq!(code(&place.triggerd(&["check"])), 0, "it was not asked");
    let probed = place.triggerd(&["check", "--probe"]);
    let said = String::from_utf8_lossy(&probed.stdout);
    assert_eq!(code(&probed), 69, "{said}");
    assert!(said.contains(&format!("problem: http://{gone} cannot be reached (triggers: u): ")), "{said}");
    assert!(!said.contains("s3cr3t"), "{said}");
}

#[test]
fn completions_are_for_every_shell_and_need_no_configuration() {
    let place = Place::new();
    std::fs::remove_file(place.path("triggerd.toml")).unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.said(&["completions", shell]);
        for word in ["triggerd", "resolve", "may-run-twice"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn a_database_that_is_not_there_is_69_and_one_that_is_not_ours_65() {
    let place = Place::new();
    for verb in [&["submit", "t"][..], &["list"], &["show", "1"], &["wait", "1"]] {
        let output = place.triggerd(verb);
        assert_eq!(code(&output), 69, "{verb:?}");
        assert!(errors(&output).contains("run `triggerd migrate` first"), "{output:?}");
    }
    let check = place.triggerd(&["check"]);
    assert_eq!(code(&check), 0, "a daemon would make it");
    assert!(String::from_utf8_lossy(&check.stdout).contains("no database at "), "{check:?}");

    let mut elsewhere = place.command(&["check"]);
    let elsewhere = elsewhere.env("TRIGGERD__DATABASE__URL", "sqlite:no/queue.db").output().unwrap();
    let said = String::from_utf8_lossy(&elsewhere.stdout);
    assert_eq!(code(&elsewhere), 69, "no daemon could");
    assert!(said.contains("problem: database.url: there is no folder no: make it"), "{said}");

    let place = Place::migrated();
    place.sql("PRAGMA user_version = 999");
    for verb in [&["check"][..], &["submit", "t"], &["list"], &["show", "1"], &["wait", "1"]] {
        assert_eq!(code(&place.triggerd(verb)), 65, "{verb:?}");
    }
}

#[test]
fn check_finds_damage_within_the_file() {
    use std::os::unix::fs::FileExt as _;
    let place = Place::migrated();
    place.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO requests (trigger_name) SELECT 't' FROM n; PRAGMA wal_checkpoint(TRUNCATE)",
    );
    assert_eq!(code(&place.triggerd(&["check"])), 0);
    let file = std::fs::File::options().write(true).open(place.path("queue.db")).unwrap();
    let middle = file.metadata().unwrap().len() / 2 / 4096 * 4096;
    file.write_all_at(&[0x55; 4096], middle).unwrap();
    let check = place.triggerd(&["check"]);
    let said = String::from_utf8_lossy(&check.stdout);
    assert_eq!(code(&check), 65, "{said}");
    assert!(said.contains(" is damaged") && said.contains("restore a backup"), "{said}");
    file.set_len((1 << 30) + 4096).unwrap();
    let large = place.triggerd(&["check"]);
    assert!(String::from_utf8_lossy(&large.stdout).contains("larger than 1 GiB"), "{large:?}");
}

#[test]
fn migrate_registers_the_triggers_and_says_what_it_did() {
    let place = Place::new();
    let done = place.json(&["migrate", "--json"]);
    assert_eq!(
        (&done["from_version"], &done["to_version"], &done["triggers"]),
        (&json!(0), &json!(4), &json!(2))
    );
    assert!(place.said(&["migrate"]).contains("schema version 4 already; triggers registered: 2"));
    assert_eq!(place.said(&["submit", "u"]), "1\n");

    let text = std::fs::read_to_string(place.path("triggerd.toml")).unwrap();
    let plans = "[calendars.c]\ndates = ['2026-12-25']\n\
                 [schedules.s]\ntrigger = 't'\nexpression = '@daily'\ntime_zone = 'UTC'\ncalendar = 'c'\n";
    place.configure(&format!("{text}{plans}"));
    let done = place.json(&["migrate", "--json"]);
    assert_eq!((&done["schedules"], &done["calendars"]), (&json!(1), &json!(1)));
    assert!(place.said(&["migrate"]).ends_with("; triggers registered: 2, schedules: 1, calendars: 1\n"));
}

#[test]
fn migrate_leaves_a_database_that_a_daemon_holds_alone() {
    let place = Place::migrated();
    let lock = std::fs::File::create(place.path("queue.db.lock")).unwrap();
    lock.lock().unwrap();
    let output = place.triggerd(&["migrate"]);
    assert_eq!(code(&output), 75, "{output:?}");
    assert!(errors(&output).ends_with(": stop that one first, or use another database.url\n"), "{output:?}");
    assert_eq!(place.said(&["submit", "t"]), "1\n", "producers do not mind it");
}

#[test]
fn submit_prints_the_id_and_show_what_was_stored() {
    let place = Place::migrated();
    assert_eq!(place.said(&["submit", "t"]), "1\n");
    let submitted = place.json(&[
        "submit",
        "t",
        "--json",
        "--arg",
        "report=daily",
        "--arg",
        "count:=3",
        "--json-args",
        "{\"a\": [1.50]}",
        "--call-mode",
        "LongPolling",
        "--at",
        "2030-01-31 08:00",
        "--priority",
        "-7",
        "--unique-key",
        "k",
    ]);
    assert_eq!(submitted, json!({"id": 2}));
    let shown = place.json(&["show", "2", "--json"]);
    for (column, value) in [
        ("id", json!(2)),
        ("trigger_name", json!("t")),
        ("state", json!("pending")),
        ("arguments", json!("{\"a\": [1.50],\"report\":\"daily\",\"count\":3}")),
        ("call_mode", json!("LongPolling")),
        ("run_at", json!(1_896_076_800_000_i64)),
        ("priority", json!(-7)),
        ("unique_key", json!("k")),
        ("deadline_at", json!(null)),
        ("why", json!("waits for run_at; but no daemon runs: start triggerd")),
        ("attempts", json!([])),
        ("output", json!(null)),
    ] {
        assert_eq!(shown[column], value, "{column}");
    }
    let text = place.said(&["show", "2"]);
    assert!(text.contains("\nrun_at            2030-01-31 08:00:00 UTC\n"), "{text}");
    assert!(!text.contains("deadline_at"), "what is not there is not shown: {text}");
}

#[test]
fn durations_are_counted_from_now() {
    let place = Place::migrated();
    place.said(&["submit", "t", "--in", "1h", "--deadline", "2h"]);
    let shown = place.json(&["show", "1", "--json"]);
    let number = |column: &str| shown[column].as_i64().unwrap();
    assert_eq!(number("deadline_at") - number("run_at"), 3_600_000);
    assert!((3_590_000..=3_600_000).contains(&(number("run_at") - number("created_at"))), "{shown}");
}

#[test]
fn arguments_come_from_a_file_or_standard_input_too() {
    let place = Place::migrated();
    std::fs::write(place.path("a.json"), "{\"from\": \"file\"}\n").unwrap();
    place.said(&["submit", "t", "--json-args", "@a.json"]);
    assert_eq!(place.json(&["show", "1", "--json"])["arguments"], "{\"from\": \"file\"}");
    let input = std::fs::File::open(place.path("a.json")).unwrap();
    let output = place.command(&["submit", "t", "--json-args", "-"]).stdin(input).output().unwrap();
    assert_eq!(code(&output), 0);
    assert_eq!(place.json(&["show", "2", "--json"])["arguments"], "{\"from\": \"file\"}");
}

#[test]
fn a_request_that_the_schema_refuses_is_1_in_its_words() {
    let place = Place::migrated();
    place.said(&["submit", "t", "--unique-key", "k"]);
    let long = format!("a={}", "x".repeat(100));
    for (arguments, expected) in [
        (&["submit", "v"][..], "triggerd: unknown_trigger: trigger_name: "),
        (&["submit", "t", "--json-args", "[1]"], "triggerd: invalid_arguments: arguments: "),
        (&["submit", "t", "--arg", "$callMode=x"], "triggerd: invalid_arguments: arguments: "),
        (&["submit", "t", "--arg", &long], "triggerd: arguments_too_large: arguments: "),
        (&["submit", "t", "--unique-key", ""], "triggerd: invalid_value: unique_key: "),
        (
            &["submit", "t", "--unique-key", "k"],
            "triggerd: request 1 (pending) has this unique key: `triggerd wait 1`",
        ),
    ] {
        let output = place.triggerd(arguments);
        assert_eq!((code(&output), output.stdout.len()), (1, 0), "{arguments:?}");
        assert!(errors(&output).starts_with(expected), "{output:?}");
    }
    assert_eq!(place.said(&["list", "--json"]).lines().count(), 1);
}

#[test]
fn list_filters_and_survives_odd_rows() {
    let place = Place::migrated();
    place.sql(
        "INSERT INTO requests (trigger_name) VALUES ('t'), ('u'), ('t'), ('t');
         UPDATE requests SET state = 'failed', error_code = 'job_faulted', finished_at = 1800000000000 WHERE id = 3;
         DROP TRIGGER requests_fixed;
         UPDATE requests SET trigger_name = CAST(x'1b5b324aff' AS TEXT) WHERE id = 4",
    );
    let text = place.said(&["list"]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with("ID  TRIGGER"), "{text}");
    assert!(!text.contains('\u{1b}') && lines[1].contains("\\u{1b}[2J\u{fffd}"), "{text}");
    assert!(lines[2].contains("2027-01-15 08:00:00 UTC  job_faulted"), "{text}");
    let ids = |arguments: &[&str]| {
        let lines = place.said(&[&["list", "--json"], arguments].concat());
        lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), [4, 3, 2, 1]);
    assert_eq!(ids(&["--limit", "2"]), [4, 3]);
    assert_eq!(ids(&["--state", "failed"]), [3]);
    assert_eq!(ids(&["--trigger", "t", "--state", "pending"]), [1]);
    assert_eq!(ids(&["--trigger", "v"]), [0_i64; 0]);
}

#[test]
fn show_prints_the_firings_and_the_output() {
    let place = Place::migrated();
    place.sql(
        "INSERT INTO requests (trigger_name) VALUES ('t');
         UPDATE requests SET state = 'succeeded', attempt = 1, finished_at = created_at;
         INSERT INTO attempts (request_id, attempt, round, started_at, ended_at, outcome, http_status)
           VALUES (1, 1, 1, 1800000000000, 1800000001000, 'accepted', 202);
         INSERT INTO outputs (request_id, content_type, bytes, body) VALUES (1, 'application/json', 8, '{\"a\": 1}')",
    );
    let text = place.said(&["show", "1"]);
    assert!(text.contains("2027-01-15 08:00:00 UTC  2027-01-15 08:00:01 UTC  accepted  202"), "{text}");
    assert!(text.ends_with("\noutput:\n{\"a\": 1}\n"), "{text}");
    let json = place.json(&["show", "1", "--json"]);
    assert_eq!(json["output"], "{\"a\": 1}");
    assert_eq!(json["attempts"][0]["http_status"], 202);
    let missing = place.triggerd(&["show", "2"]);
    assert_eq!(code(&missing), 1);
    assert!(
        errors(&missing).starts_with("triggerd: no request 2: it was never inserted, or "),
        "{missing:?}"
    );
}

#[test]
fn wait_ends_when_all_have_ended_and_says_whether_well() {
    let place = Place::migrated();
    place.sql(
        "INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('t'), ('t');
         UPDATE requests SET state = 'succeeded', finished_at = created_at WHERE id = 1;
         UPDATE requests SET state = 'failed', error_code = 'job_faulted', error_message = 'no', finished_at = created_at WHERE id = 3;",
    );
    assert_eq!(place.said(&["wait", "1", "1"]), "1 succeeded\n");
    let failed = place.triggerd(&["wait", "3", "1"]);
    assert_eq!((code(&failed), failed.stdout), (1, b"1 succeeded\n3 failed job_faulted: no\n".to_vec()));
    let missing = place.triggerd(&["wait", "99", "1"]);
    assert_eq!(code(&missing), 1);
    assert!(
        errors(&missing).starts_with("triggerd: no request 99: it was never inserted, or "),
        "{missing:?}"
    );

    let waiting = place.command(&["wait", "--json", "2", "4"]).stdout(Stdio::piped()).spawn().unwrap();
    place.sql("UPDATE requests SET state = 'dispatched', finished_at = created_at WHERE id = 2");
    place.sql("UPDATE requests SET state = 'succeeded', finished_at = created_at WHERE id = 4");
    let ended = waiting.wait_with_output().unwrap();
    assert_eq!(code(&ended), 0);
    let lines = String::from_utf8(ended.stdout).unwrap();
    let states: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["state"].take()).collect();
    assert_eq!(states, ["dispatched", "succeeded"]);
}

#[test]
fn times_are_local() {
    let place = Place::migrated();
    let zoned = |zone: &str, arguments: &[&str]| place.command(arguments).env("TZ", zone).output().unwrap();
    let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
    assert_eq!(code(&zoned(berlin, &["submit", "t", "--at", "2030-07-31 08:00"])), 0);
    let shown = |zone: &str| String::from_utf8(zoned(zone, &["show", "1"]).stdout).unwrap();
    assert!(shown(berlin).contains("run_at            2030-07-31 08:00:00 CEST\n"));
    assert!(shown("UTC").contains("run_at            2030-07-31 06:00:00 UTC\n"));
    let unknown = zoned("Nowhere/Else", &["submit", "t", "--at", "2030-07-31 08:00"]);
    assert_eq!(code(&unknown), 2, "no zone is guessed: {unknown:?}");
}

/// Starts `submit --wait`, plays the daemon once that has said so many lines, and gives what came of it.
fn submit_and_wait(place: &Place, arguments: &[&str], lines: usize, ending: &'static str) -> Output {
    use std::io::{BufRead, BufReader, Read};
    let mut submit = place.command(&[&["submit", "t", "--wait"], arguments].concat());
    let mut child = submit.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    for _ in 0..lines {
        stderr.read_line(&mut said).unwrap();
    }
    place.sql(ending);
    stderr.read_to_string(&mut said).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stderr = said.into_bytes();
    output
}

#[test]
fn submit_with_wait_prints_the_output_and_nothing_else() {
    let place = Place::migrated();
    // A daemon that is alive.
    place.sql("UPDATE daemon SET seen_at = 9000000000000");
    let succeeded = submit_and_wait(
        &place,
        &[],
        1,
        "BEGIN;
         UPDATE requests SET state = 'succeeded', finished_at = created_at WHERE id = 1;
         INSERT INTO outputs (request_id, bytes, body) VALUES (1, 3, x'00ff0a');
         COMMIT",
    );
    assert_eq!((code(&succeeded), succeeded.stdout.as_slice()), (0, &[0, 0xff, b'\n'][..]));
    assert_eq!(errors(&succeeded), "request 1\n");
    let failed = submit_and_wait(
        &place,
        &["--json"],
        1,
        "BEGIN;
         UPDATE requests SET state = 'failed', error_code = 'job_faulted', error_message = 'no', finished_at = created_at WHERE id = 2;
         INSERT INTO outputs (request_id, bytes, body) VALUES (2, 4, 'oops');
         COMMIT",
    );
    assert_eq!(
        (code(&failed), errors(&failed)),
        (1, "request 2\ntriggerd: request 2 failed job_faulted: no\n".to_owned())
    );
    let object: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(
        (&object["id"], &object["state"], &object["output"]),
        (&json!(2), &json!("failed"), &json!("oops"))
    );
}

#[test]
fn submit_with_wait_says_that_an_output_is_not_whole_and_that_nobody_fires_it() {
    let place = Place::migrated();
    let cut = submit_and_wait(
        &place,
        &[],
        2,
        "BEGIN;
         UPDATE requests SET state = 'succeeded', error_code = 'output_too_large', error_message = 'cut', finished_at = created_at;
         INSERT INTO outputs (request_id, bytes, truncated, body) VALUES (1, 9, 1, 'some');
         COMMIT",
    );
    assert_eq!((code(&cut), cut.stdout.as_slice()), (0, &b"some"[..]));
    let said = errors(&cut);
    assert!(said.starts_with("request 1\nno daemon seems to run on this database"), "{said}");
    assert!(said.ends_with("triggerd: request 1 succeeded output_too_large: cut\n"), "{said}");
    // What is printed of it as JSON is what producers read.
    let object: Value = serde_json::from_str(&place.said(&["wait", "1", "--json"])).unwrap();
    let columns: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    let view = [
        "is_final",
        "output",
        "http_status",
        "call_mode",
        "correlation_id",
        "unique_key",
        "created",
        "finished",
    ];
    assert!(view.iter().all(|column| columns.contains(column)) && columns.len() == 16, "{columns:?}");
    assert_eq!(object["output"], json!(null), "as in the view");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::migrated();
    place.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO requests (trigger_name) SELECT 't' FROM n",
    );
    let mut child = place
        .command(&["list", "--limit", "3000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), errors(&output)), (0, String::new()));
}
