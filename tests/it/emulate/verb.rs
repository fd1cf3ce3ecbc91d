//! `triggerd emulate`, the real binary.

use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use triggerd::emulator::settings::Settings;
use triggerd::request::CallMode;

use crate::support::bounded;
use crate::support::daemon::Site;
use crate::support::emulator::{FOLDER, call};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triggerd"));
    command.arg("emulate").args(arguments).env_clear().env("EMULATOR_TOKEN", "s3cret");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn start(arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = command(arguments).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

/// Ends it by a signal; what it said on standard error.
async fn stop(mut child: Child, signal: Signal) -> String {
    let id = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(id, signal).unwrap();
    let status = bounded(child.wait()).await.unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    said
}

/// Exit code and standard error of one that does not start.
async fn refused(arguments: &[&str]) -> (i32, String) {
    let output = bounded(command(arguments).output()).await.unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn it_says_where_it_is_serves_and_ends_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let (child, mut stdout) = start(&["--listen", "127.0.0.1:0", "--json", "--verbose"]).await;
        let mut line = String::new();
        bounded(stdout.read_line(&mut line)).await.unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["url"].as_str().unwrap();
        let at = url.strip_prefix("http://").unwrap().parse().unwrap();
        assert_eq!(ready["portal"], Value::Null);
        assert_eq!(ready["ledger"], format!("{url}/ledger"));
        let trigger = ready["triggers"][0]["url"].as_str().unwrap();
        assert_eq!(call(at, "POST", trigger, "", "{}").await.status, 202);
        assert!(call(at, "GET", "/", "", "").await.text().starts_with("triggerd emulate "));
        let said = stop(child, signal).await;
        assert!(said.contains("start  202     hello job "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[tokio::test]
async fn its_hint_is_a_configuration_that_check_takes() {
    let site = Site::new("");
    site.write(
        "emulator.toml",
        format!(
            "token = {{ env = \"EMULATOR_TOKEN\" }}\nportal = \"127.0.0.1:0\"\n[triggers.report]\nslug = \"a b/c\"\n\
             folder = \"{FOLDER}\"\nmethod = \"PUT\"\n[triggers.held]\ncall_mode = \"LongPolling\"\n"
        ),
    );
    let file = site.path("emulator.toml");
    let (child, mut stdout) = start(&["--listen", "127.0.0.1:0", "--file", file.to_str().unwrap()]).await;
    let mut text = String::new();
    while !text.contains("[triggers.report]") || !text.ends_with("credential = \"emulator\"\n") {
        assert_ne!(bounded(stdout.read_line(&mut text)).await.unwrap(), 0, "{text}");
    }
    stop(child, Signal::TERM).await;
    let hint = &text[text.find("\n[").unwrap()..];
    site.configure(hint);
    let config = triggerd::config::load(Some(&site.path("triggerd.toml"))).unwrap();
    let report = &config.triggers["report"];
    assert_eq!((report.method.as_str(), report.credential.as_deref()), ("PUT", Some("emulator")));
    assert!(report.url.as_str().ends_with(&format!("/t/{FOLDER}/a%20b/c")), "{}", report.url);
    assert_eq!(report.allowed_origins.len(), 1);
    assert_eq!(config.triggers["held"].call_mode, CallMode::LongPolling);
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = refused(&["--listen", &address]).await;
    assert_eq!(code, 69, "{said}");
    assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("--listen"), "{said}");
}

#[tokio::test]
async fn a_bad_file_is_refused_with_all_that_is_wrong() {
    let site = Site::new("");
    site.write(
        "bad.toml",
        "listen = 1\nwhat = 1\n[defaults]\nduration = 5\n[triggers.a]\ntrouble = [{ on = \"x\" }]\n",
    );
    let file = site.path("bad.toml");
    let (code, said) = refused(&["--file", file.to_str().unwrap()]).await;
    assert_eq!(code, 78, "{said}");
    for key in ["listen", "what", "defaults.duration", "triggers.a.trouble[0].on"] {
        assert!(said.contains(&format!(": {key}: ")), "{key}: {said}");
    }
    let (code, said) = refused(&["--file", "/nowhere.toml"]).await;
    assert!(code == 78 && said.contains("/nowhere.toml"), "{said}");
    assert_eq!(refused(&["--listen", "here"]).await.0, 2);
}

#[test]
fn the_example_is_taken_and_has_every_knob() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/emulator.toml");
    let settings = Settings::load(path.as_ref()).unwrap();
    let mut modes: Vec<_> =
        settings.triggers.values().map(|listed| listed.knobs.call_mode.as_str()).collect();
    modes.sort_unstable();
    modes.dedup();
    assert_eq!(modes, CallMode::ALL.map(CallMode::as_str));

    // What is refused says what is known; each key is in the example, if only as a comment, and in the document.
    let example = std::fs::read_to_string(path).unwrap();
    let document = include_str!("../../../docs/emulator.md");
    let error = Settings::parse(
        "f",
        "x = 1\n[defaults]\nx = 1\ntrouble = [{ x = 1, on = \"start\", status = 500 }]\n[triggers.t]\nx = 1\n",
    )
    .unwrap_err();
    let mut keys: Vec<_> = error
        .problems()
        .iter()
        .filter_map(|problem| problem.split_once("(known here: "))
        .flat_map(|(_, known)| known.trim_end_matches(')').split(", "))
        .collect();
    keys.extend(["bytes", "location"]);
    assert!(keys.len() > 40, "{keys:?}");
    for key in keys {
        assert!(document.contains(&format!("`{key}`")), "docs/emulator.md does not mention {key}");
        let table = matches!(key, "defaults" | "triggers") && example.contains(&format!("[{key}"));
        assert!(table || example.contains(&format!("{key} = ")), "config/emulator.toml does not have {key}");
    }
}

#[test]
fn the_examples_of_the_document_are_taken() {
    let document = include_str!("../../../docs/emulator.md");
    let blocks = document.split("```toml\n# emulator.toml\n").skip(1);
    let mut count = 0;
    for block in blocks.map(|rest| rest.split("```").next().unwrap()) {
        // Any variable that is set will do for the token.
        let block = &block.replace("EMULATOR_TOKEN", "PATH");
        Settings::parse("docs/emulator.md", block).unwrap_or_else(|error| panic!("{error}\n{block}"));
        count += 1;
    }
    assert!(count >= 3, "they were not found");
}
