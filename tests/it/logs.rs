//! The log of the real binary: what is in it, what is never in it, and what becomes of it when it cannot be written.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::bounded;
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd, Seen, Then};

const INSERT: &str = "INSERT INTO requests (trigger_name) VALUES ('t')";

fn trigger(name: &str, far: &FarEnd, keys: &str) -> String {
    format!(
        "[triggers.{name}]\nurl = \"{}\"\n\
         poll = {{ initial = \"20ms\", factor = 1.0, max = \"20ms\" }}\n\
         retry = {{ max_attempts = 2, max_refusals = 2, initial = \"1ms\", max = \"1ms\" }}\n{keys}\n",
        far.url("/fire")
    )
}

/// `[log]` with one file.
fn to_files(site: &Site, keys: &str) -> String {
    let folder = site.path("logs");
    format!("[log]\ndirectory = \"{}\"\nrotation = \"never\"\n{keys}\n", folder.display())
}

/// The lines of the one file.
fn lines(site: &Site) -> Vec<String> {
    let text = std::fs::read_to_string(site.path("logs").join("triggerd.log")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn json(site: &Site) -> Vec<Value> {
    lines(site).iter().map(|line| serde_json::from_str(line).expect("each line is an object")).collect()
}

/// The field of an event.
fn field<'v>(line: &'v Value, name: &str) -> &'v Value {
    &line["fields"][name]
}

#[tokio::test]
async fn each_change_of_state_is_one_object_with_its_ids() {
    let far = FarEnd::start(|seen| match (seen.method.as_str(), seen.target.as_str()) {
        ("POST", _) => Answer::status(202).header("Location", "/status"),
        (_, "/status") => Answer::status(303).header("Location", "/output"),
        _ => Answer::status(200).body("done"),
    })
    .await;
    let site = Site::new("");
    let configuration = [to_files(&site, "format = \"json\""), trigger("t", &far, "")].concat();
    site.configure(&configuration);
    let daemon = site.spawn();
    // Only the files tell that it is ready; the table does so too.
    let database = async {
        while !site.path("queue.db-wal").exists() {
            tokio::task::yield_now().await;
        }
    };
    bounded(database).await;
    let mut table = site.table().await;
    table.until("SELECT count(*) FROM sqlite_schema WHERE name = 'daemon'", 1).await;
    table.until("SELECT count(*) FROM daemon WHERE ready_at IS NOT NULL", 1).await;
    table.run(INSERT).await;
    table.meets(1, "succeeded").await;
    let said = daemon.stop().await;
    assert_eq!(said, "", "with files, standard error is for bad news");

    let lines = json(&site);
    for line in &lines {
        assert!(
            line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(),
            "{line}"
        );
        assert!(field(line, "message").as_str().is_some_and(|message| !message.is_empty()), "{line}");
    }
    let changes: Vec<_> = lines.iter().filter(|line| !field(line, "state.from").is_null()).collect();
    let states: Vec<_> = changes
        .iter()
        .map(|line| (field(line, "state.from").as_str().unwrap(), field(line, "state.to").as_str().unwrap()))
        .collect();
    assert_eq!(states, [("triggering", "polling"), ("polling", "collecting"), ("collecting", "succeeded")]);
    for (line, status) in changes.iter().zip([202, 303, 200]) {
        assert_eq!(field(line, "request.id"), 1, "{line}");
        assert_eq!(field(line, "trigger.name"), "t");
        assert_eq!(field(line, "attempt"), 1);
        assert_eq!(field(line, "code"), "");
        assert_eq!(field(line, "http.status"), status);
    }
    let last = lines.last().unwrap();
    assert_eq!(field(last, "message"), "stopped", "the last line is in the file");
}

#[tokio::test]
async fn what_a_start_finds_uncertain_is_a_warning_each() {
    let far = FarEnd::start(|_| Answer::raw("").then(Then::Hang)).await;
    let site = Site::new(&trigger("t", &far, ""));
    let daemon = site.start().await;
    let mut table = site.table().await;
    table.run("INSERT INTO requests (trigger_name) VALUES ('t'), ('t'), ('t')").await;
    bounded(far.seen(3)).await;
    daemon.kill().await;
    let daemon = site.start().await;
    table.until("SELECT count(*) FROM requests WHERE state = 'uncertain'", 3).await;
    let log = daemon.stop().await;
    for id in 1..=3 {
        let warnings = log.lines().filter(|line| {
            line.contains(" WARN ") && line.contains(&format!("request {id} (t) is uncertain (interrupted)"))
        });
        assert_eq!(warnings.count(), 1, "{log}");
    }
}

#[tokio::test]
async fn a_failure_is_in_the_files_too() {
    let site = Site::new("");
    let configuration = to_files(&site, "format = \"json\"");
    site.configure(&configuration);
    site.write("queue.db", vec![b'x'; 8192]);
    let ended = bounded(site.spawn().ended()).await;
    assert_eq!(ended.code, Some(65), "{}", ended.log);
    let lines = json(&site);
    let last = lines.last().unwrap();
    assert_eq!((field(last, "exit.code"), &last["level"]), (&65.into(), &"ERROR".into()), "{last}");
}

#[tokio::test]
async fn a_full_log_disk_costs_lines_which_are_counted_and_nothing_else() {
    const ROWS: usize = 20;
    let far = FarEnd::start(|_| Answer::status(200)).await;
    let site = Site::new("");
    let configuration = [to_files(&site, ""), trigger("t", &far, "call_mode = \"FireAndForget\"")].concat();
    site.configure(&configuration);
    // A device on which there is never room.
    std::fs::create_dir(site.path("logs")).unwrap();
    std::os::unix::fs::symlink("/dev/full", site.path("logs").join("triggerd.log")).unwrap();
    let daemon = site.spawn();
    daemon.logged("triggerd: the log file cannot be written: No space left on device").await;
    let mut table = {
        let database = async {
            while !site.path("queue.db-wal").exists() {
                tokio::task::yield_now().await;
            }
        };
        bounded(database).await;
        site.table().await
    };
    table.until("SELECT count(*) FROM sqlite_schema WHERE name = 'daemon'", 1).await;
    table.until("SELECT count(*) FROM triggers", 1).await;
    for _ in 0..ROWS {
        table.run(INSERT).await;
    }
    table.until("SELECT count(*) FROM requests WHERE state = 'dispatched'", 20).await;
    let said = daemon.stop().await;
    assert_eq!(said.matches("cannot be written").count(), 1, "{said}");
    let last = said.lines().last().unwrap();
    let total = last.split(" since the start").next().unwrap().rsplit(' ').next().unwrap();
    assert!(total.parse::<usize>().unwrap() > ROWS, "{said}");
    assert!(last.ends_with("(the last error: No space left on device (os error 28))"), "{said}");
}

#[tokio::test]
async fn a_reader_of_standard_error_that_is_stuck_holds_nothing_up() {
    const ROWS: i64 = 2000;
    let far = FarEnd::start(|_| Answer::status(200)).await;
    let site = Site::new(&trigger("t", &far, "call_mode = \"FireAndForget\""));
    site.start().await.stop().await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_triggerd"));
    command.arg("run").current_dir(site.path("")).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut table = site.table().await;
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO requests (trigger_name) SELECT 't' FROM n"
    );
    table.run(many).await;
    // Some times more lines than a pipe holds.
    table.until("SELECT count(*) FROM requests WHERE state = 'dispatched'", ROWS).await;
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let status = bounded(child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

mod secrets {
    use super::*;

    /// In every place that no log may show.
    const CANARY: &str = "canary7f3a";

    /// Everything that can be answered, each with the canary in its body and in the query of what it points to.
    fn answer(seen: &Seen) -> Answer {
        let path = seen.target.split('?').next().unwrap_or_default();
        let query = format!("?sig={CANARY}");
        let page = |status| Answer::status(status).body(CANARY);
        let to = |status, target: &str| page(status).header("Location", &format!("{target}{query}"));
        match path {
            "/polled" => to(202, "/status"),
            "/status" => to(303, "/moved"),
            "/moved" => to(301, "/output"),
            "/output" => page(200),
            "/held" => to(303, "/leg"),
            "/leg" => page(200),
            "/astray" => to(202, "http://elsewhere.invalid/status"),
            "/unlocated" => page(202),
            "/login" => to(302, "/signin"),
            "/fault" => page(500),
            "/refused" => page(400),
            "/later" => page(503).header("Retry-After", "0"),
            "/shut" => page(401).header("WWW-Authenticate", CANARY),
            "/cut" => page(200).announcing(1000).then(Then::Close),
            "/garbage" => Answer::raw(&format!("{CANARY} {CANARY}\r\n{CANARY}\r\n\r\n")).then(Then::Close),
            "/faulty" => to(202, "/gone"),
            "/gone" => page(404),
            _ => page(200),
        }
    }

    /// A trigger a path, with the canary in its query.
    fn triggers(far: &FarEnd) -> String {
        let mut all = String::new();
        let paths = [
            "polled",
            "held",
            "astray",
            "unlocated",
            "login",
            "fault",
            "refused",
            "later",
            "shut",
            "cut",
            "garbage",
            "faulty",
            "well",
        ];
        for path in paths {
            for (suffix, mode) in [("a", "AsyncRequestReply"), ("l", "LongPolling"), ("f", "FireAndForget")] {
                let url = far.url(&format!("/{path}?code={CANARY}"));
                let credential = if path == "shut" { "shut" } else { "key" };
                all.push_str(&format!(
                    "[triggers.{path}-{suffix}]\nurl = \"{url}\"\ncall_mode = \"{mode}\"\ncredential = \"{credential}\"\n\
                     headers = {{ X-Key = \"{CANARY}\" }}\nresponse_timeout = \"5s\"\nlost_grace = \"100ms\"\n\
                     poll = {{ initial = \"20ms\", factor = 1.0, max = \"20ms\" }}\n\
                     retry = {{ max_attempts = 2, max_refusals = 2, initial = \"1ms\", max = \"1ms\" }}\n"
                ));
            }
        }
        // Nobody listens there.
        all.push_str(&format!(
            "[triggers.nowhere]\nurl = \"http://127.0.0.1:1/?code={CANARY}\"\ncredential = \"key\"\n\
             retry = {{ max_refusals = 2, initial = \"1ms\", max = \"1ms\" }}\n"
        ));
        all.push_str(&format!(
            "[triggers.tls]\nurl = \"{}?code={CANARY}\"\ncredential = \"key\"\n\
             retry = {{ max_refusals = 2, initial = \"1ms\", max = \"1ms\" }}\n",
            far.url("/").as_str().replace("http:", "https:")
        ));
        all
    }

    /// All that one daemon says, to standard error and to its files, with all modes and failures.
    async fn said(log: impl Fn(&Site) -> String) -> String {
        let far = FarEnd::start(answer).await;
        let site = Site::new("");
        site.write("token", CANARY);
        let configuration = format!(
            "{}[credentials.key]\nkind = \"bearer\"\ntoken = {{ file = \"{token}\" }}\n\
             [credentials.shut]\nkind = \"bearer\"\ntoken = {{ file = \"{token}\" }}\n{}",
            log(&site),
            triggers(&far),
            token = site.path("token").display()
        );
        site.configure(&configuration);
        let migrated = bounded(site.spawn_as(["migrate"], []).ended()).await;
        assert_eq!(migrated.code, Some(0), "{}", migrated.log);
        let daemon = site.spawn();
        let mut table = site.table().await;
        table.until("SELECT count(*) FROM daemon WHERE ready_at IS NOT NULL", 1).await;
        table
            .run(format!(
                "INSERT INTO requests (trigger_name, arguments, correlation_id, unique_key)
                 SELECT name, json_object('secret', '{CANARY}'), '{CANARY}', '{CANARY}' FROM triggers"
            ))
            .await;
        // Those that never end: without a credential, and where no token may go.
        table
            .until(
                "SELECT count(*) FROM results WHERE is_final = 0
                 AND trigger_name NOT LIKE 'shut-%' AND trigger_name NOT LIKE 'astray-%'",
                0,
            )
            .await;
        table.until("SELECT count(*) FROM requests WHERE error_code = 'forbidden_origin'", 2).await;
        // A configuration that is refused, with a secret in it.
        site.configure(&format!(
            "{configuration}[credentials.bad]\nkind = \"bearer\"\ntoken = \"{CANARY}\"\n"
        ));
        daemon.signal(Signal::HUP);
        let refused = async {
            while !everything(&daemon.log(), &site).contains("was not reloaded") {
                tokio::task::yield_now().await;
            }
        };
        bounded(refused).await;
        let said = daemon.stop().await;
        let with_token = far.all().iter().any(|seen| {
            seen.header("authorization").is_some_and(|value| value.contains(CANARY))
                && seen.target.contains(CANARY)
                && (seen.method == "GET" || seen.text().contains(CANARY))
        });
        assert!(with_token, "the canary was never at stake");
        everything(&said, &site)
    }

    /// Standard error, and the file if there is one.
    fn everything(said: &str, site: &Site) -> String {
        let file = site.path("logs").exists().then(|| lines(site).join("\n"));
        [said, file.as_deref().unwrap_or_default()].concat()
    }

    fn assert_silent(said: &str) {
        assert!(said.contains("DEBUG"), "it was not told to say all: {said}");
        assert!(said.contains("is uncertain"), "{said}");
        let leaks: Vec<_> = said.lines().filter(|line| line.contains(CANARY)).collect();
        assert_eq!(leaks, [""; 0]);
    }

    #[tokio::test]
    async fn no_token_query_argument_or_body_is_in_the_log_even_at_trace() {
        assert_silent(&said(|_| "[log]\nfilter = \"trace\"\n".to_owned()).await);
        assert_silent(
            &said(|site| to_files(site, "filter = \"trace,hyper=trace,sqlx=trace\"\nformat = \"json\""))
                .await,
        );
    }
}
