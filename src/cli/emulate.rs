//! `triggerd emulate`: a local orchestrator, until a signal ends it.

use std::io::IsTerminal as _;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use triggerd::emulator::ledger::{Answered, Entry};
use triggerd::emulator::settings::Settings;
use triggerd::emulator::{self, Emulator};
use triggerd::secret::Reference;
use triggerd::shutdown::{Signals, Wish};

use super::failure::{Failure, NOT_WELL};
use super::print;

/// A folder for the URLs that are shown: any GUID will do.
const FOLDER: &str = "00000000-0000-4000-8000-000000000001";

/// What is printed once it listens.
#[derive(Serialize)]
struct Ready {
    url: String,
    portal: Option<String>,
    ledger: String,
    triggers: Vec<Target>,
}

#[derive(Serialize)]
struct Target {
    name: String,
    method: &'static str,
    url: String,
    #[serde(skip)]
    call_mode: &'static str,
}

pub(crate) async fn run(verb: super::Emulate) -> Result<(), Failure> {
    let mut settings = match &verb.file {
        Some(file) => Settings::load(file)?,
        None => Settings::default(),
    };
    if let Some(address) = verb.listen {
        settings.listen = address;
    }
    if verb.verbose || std::io::stderr().is_terminal() {
        settings.each_call = Some(Arc::new(|entry| print::note(&line(entry))));
    }
    raise_open_files();
    let told = settings.clone();
    // Before anybody can know that it listens: a signal must not kill it any more.
    let mut signals = Signals::new()
        .map_err(|error| Failure::new(NOT_WELL, format!("cannot listen for signals: {error}")))?;
    let emulator = Emulator::start(settings).await?;
    let ready = Ready::of(&emulator, &told);
    let addresses = [Some(emulator.address()), emulator.portal()];
    if addresses.into_iter().flatten().any(|address| !address.ip().is_loopback()) {
        print::note(match told.token {
            None => "whoever reaches this address may start jobs and read the ledger: no token is asked for",
            Some(_) => "whoever reaches this address may read the ledger: it asks for no token",
        });
    }
    print::out(if verb.json { print::json(&ready)? } else { ready.text(&told) })?;
    while signals.next().await != Wish::Stop {}
    tokio::select! {
        () = emulator.stop() => Ok(()),
        // A second signal: at once.
        () = async { while signals.next().await != Wish::Stop {} } => Ok(()),
    }
}

impl Ready {
    fn of(emulator: &Emulator, settings: &Settings) -> Self {
        let mut triggers: Vec<_> = settings
            .triggers
            .iter()
            .map(|(name, listed)| Target {
                name: name.clone(),
                method: listed.method.map_or("POST", triggerd::trigger::Method::as_str),
                url: emulator.trigger_url(listed.folder.as_deref().unwrap_or(FOLDER), &listed.slug),
                call_mode: listed.knobs.call_mode.as_str(),
            })
            .collect();
        if triggers.is_empty() {
            triggers.push(Target {
                name: "hello".to_owned(),
                method: "POST",
                url: emulator.trigger_url(FOLDER, "hello"),
                call_mode: settings.defaults.call_mode.as_str(),
            });
        }
        Self {
            url: emulator.url(""),
            portal: emulator.portal().map(emulator::origin),
            ledger: emulator.url("/ledger"),
            triggers,
        }
    }

    /// For a person, with what to put into the configuration of a daemon.
    fn text(&self, settings: &Settings) -> String {
        let mut text = format!("A local orchestrator listens on {}\n", self.url);
        if let Some(portal) = &self.portal {
            text.push_str(&format!("Its links lead to {portal}\n"));
        }
        text.push_str(&format!("What it has seen: {} (also /jobs and /firings below it)\n", self.ledger));
        if settings.triggers.is_empty() {
            text.push_str("Any folder and any slug is a trigger. ");
        }
        text.push_str("For the configuration of a daemon:\n");
        if let Some(reference) = &settings.token_reference {
            let (kind, place) = match reference {
                Reference::Env(name) => ("env", name.clone()),
                Reference::File(path) => ("file", path.display().to_string()),
                Reference::Credential(name) => ("credential", name.clone()),
            };
            text.push_str(&format!(
                "\n[credentials.emulator]\nkind = \"bearer\"\ntoken = {{ {kind} = {place:?} }}\n"
            ));
        }
        for target in &self.triggers {
            text.push_str(&format!("\n[triggers.{}]\nurl = {:?}\n", target.name, target.url));
            if target.method != "POST" {
                text.push_str(&format!("method = {:?}\n", target.method));
            }
            if target.call_mode != "AsyncRequestReply" {
                text.push_str(&format!("call_mode = {:?}\n", target.call_mode));
            }
            if let Some(portal) = &self.portal {
                text.push_str(&format!("allowed_origins = [{portal:?}]\n"));
            }
            if settings.token_reference.is_some() {
                text.push_str("credential = \"emulator\"\n");
            }
        }
        text
    }
}

/// One call, for a person who watches.
fn line(entry: &Entry) -> String {
    let answer = match entry.answer {
        Answered::Status(status) => status.to_string(),
        Answered::Dropped => "dropped".to_owned(),
        Answered::Left => "left".to_owned(),
        Answered::Open => "-".to_owned(),
    };
    let trigger = entry.trigger.as_deref().unwrap_or("-");
    let job = entry.job.as_deref().and_then(|job| job.get(..8)).unwrap_or("-");
    let leg = entry.leg.unwrap_or("-");
    format!("{:>6} {leg:<6} {answer:<7} {trigger} job {job} {} {}", entry.n, entry.method, entry.path)
}

/// Each held call is an open file, and the usual soft limit is 1024. What the kernel refuses is met when files run out.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
