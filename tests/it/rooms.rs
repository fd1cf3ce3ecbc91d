//! The walls of the house: which room may import which, read from the sources.
//!
//! A room is a directory or file of `src/`. The table is the one of CONTRIBUTING.md; test modules are exempt.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What is below everything and knows none of the rooms.
const LEAVES: [&str; 7] = ["request", "trigger", "backoff", "schedule", "secret", "clock", "shutdown"];

/// Which rooms a room may import, besides itself and the leaves.
const MAY_IMPORT: [(&str, &[&str]); 19] = [
    ("request", &[]),
    ("trigger", &[]),
    ("backoff", &[]),
    ("schedule", &[]),
    ("secret", &[]),
    ("clock", &[]),
    ("shutdown", &[]),
    ("invocation", &[]),
    ("queue", &["invocation"]),
    ("client", &["invocation"]),
    ("dispatch", &["queue", "client", "invocation"]),
    ("config", &[]),
    ("logging", &["config"]),
    ("serving", &[]),
    ("emulator", &["serving", "config"]),
    ("service", &[]),
    ("daemon", &["queue", "client", "dispatch", "invocation", "config", "logging", "service"]),
    // The process edge, which sees the library from outside.
    ("cli", &["main", "queue", "config", "logging", "daemon", "emulator"]),
    ("main", &["cli", "queue", "config", "logging", "daemon", "emulator"]),
];

/// Crates that have a room of their own.
const CRATES: [(&str, &[&str]); 22] = [
    ("cron", &["schedule"]),
    ("croner", &["schedule"]),
    ("chrono", &["schedule"]),
    // Zones and calendars; the others only read or write an instant or a date.
    ("jiff", &["schedule", "queue", "config", "cli", "emulator", "serving"]),
    ("csv", &["schedule"]),
    ("ical", &["schedule"]),
    ("indicatif", &["cli"]),
    ("sqlx", &["queue"]),
    ("inotify", &["queue"]),
    ("reqwest", &["client"]),
    ("hyper", &["client", "emulator"]),
    ("hyper_util", &["client", "emulator"]),
    ("hyper_rustls", &["client"]),
    ("rustls", &["client"]),
    ("aws_lc_rs", &["serving", "emulator"]),
    ("percent_encoding", &["emulator"]),
    ("sd_notify", &["service"]),
    ("tracing_appender", &["logging"]),
    ("tracing_subscriber", &["logging", "config"]),
    ("clap", &["cli", "main"]),
    ("clap_complete", &["cli"]),
    ("tokio", &["queue", "client", "dispatch", "clock", "shutdown", "daemon", "emulator", "cli", "main"]),
];

#[test]
fn each_room_imports_only_what_it_may() {
    let mut strangers = Vec::new();
    for source in sources() {
        let room = source.room();
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
            strangers.push(format!("{room} is a room without a rule: add it to MAY_IMPORT"));
            continue;
        };
        for path in source.imports() {
            let to = path.split("::").next().unwrap_or_default();
            if to != room && !LEAVES.contains(&to) && !allowed.contains(&to) {
                strangers.push(format!("{}: {room} may not import {path}", source.name));
            }
        }
    }
    assert_eq!(strangers, [""; 0]);
}

#[test]
fn the_engine_knows_table_and_wire_by_their_contracts_only() {
    let mut strangers = Vec::new();
    for source in sources().filter(|source| source.room() == "dispatch") {
        for path in source.imports() {
            let mut segments = path.split("::");
            let contract = matches!(segments.next(), Some("queue" | "client" | "invocation"));
            // A name in lower case is a module inside the other room.
            let inside = segments.next().is_some_and(|name| name.starts_with(char::is_lowercase));
            let function = path == "invocation::step";
            if contract && inside && !function {
                strangers.push(format!("{}: {path}", source.name));
            }
        }
    }
    assert_eq!(strangers, [""; 0]);
}

#[test]
fn each_crate_stays_in_its_room() {
    let mut strangers = Vec::new();
    for source in sources() {
        let (room, code) = (source.room(), source.code());
        for (name, rooms) in CRATES {
            if !rooms.contains(&room.as_str()) && !paths(&code, &format!("{name}::")).is_empty() {
                strangers.push(format!("{}: {room} uses {name}", source.name));
            }
        }
    }
    assert_eq!(strangers, [""; 0]);
}

#[test]
fn the_rules_are_pure() {
    for source in
        sources().filter(|source| matches!(source.room().as_str(), "invocation" | "serving" | "schedule"))
    {
        let code = source.code();
        for impure in
            ["async ", "tokio::", "tracing::", "std::fs", "std::io", "std::net", "std::env", "fastrand"]
        {
            assert!(!code.contains(impure), "{}: {impure}", source.name);
        }
    }
}

#[test]
fn each_module_says_what_it_is() {
    let silent: Vec<_> =
        sources().filter(|source| !source.text.starts_with("//! ")).map(|source| source.name).collect();
    assert_eq!(silent, [""; 0], "without a //! line at the top");
}

#[test]
fn each_sql_file_is_loaded() {
    // Some are named in a macro that has the include_str!, so each text that ends in .sql counts.
    let mut loaded = BTreeSet::new();
    for source in sources().filter(|source| source.text.contains("include_str!(")) {
        let names = source.text.split('"').filter(|text| text.ends_with(".sql"));
        loaded.extend(names.filter_map(|name| source.path.parent()?.join(name).canonicalize().ok()));
    }
    let statements = files(&root().join("src"), "sql");
    assert!(statements.len() > 20, "they were not found");
    for statement in statements {
        assert!(loaded.contains(&statement.canonicalize().unwrap()), "{} is not loaded", statement.display());
    }

    let folders: BTreeSet<_> =
        sources().flat_map(|source| quoted_after(&source.text, "migrate!(\"")).collect();
    for migration in files(&root().join("migrations"), "sql") {
        let folder = migration.parent().unwrap().strip_prefix(root()).unwrap().display().to_string();
        assert!(folders.contains(&folder), "{} is not loaded", migration.display());
    }
}

#[test]
fn a_stranger_would_be_found() {
    let imports = |name: &str, text: &str| Source::new(root().join(name), text.to_owned()).imports();
    assert_eq!(
        imports(
            "src/queue/sqlite/x.rs",
            "use crate::{client::Client, clock};\nlet x = crate::daemon::run();"
        ),
        ["client::Client", "clock", "daemon::run"]
    );
    assert_eq!(
        imports("src/queue/mod.rs", "use super::client::{self, Client};"),
        ["client::self", "client::Client"]
    );
    assert_eq!(imports("src/queue/row.rs", "use super::Taken; use super::super::dispatch;"), ["dispatch"]);
    assert_eq!(imports("src/cli/run.rs", "use triggerd::{config, daemon};"), ["config", "daemon"]);
    assert_eq!(
        imports("src/queue/row.rs", "// crate::client\n#[cfg(test)]\nmod tests { use crate::client::X; }"),
        [""; 0]
    );
}

/// A file of `src/`, without its tests.
struct Source {
    path: PathBuf,
    /// The path below the root, for messages.
    name: String,
    text: String,
}

impl Source {
    fn new(path: PathBuf, text: String) -> Self {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        Self { path, name, text }
    }

    /// `src/queue/row.rs` is in the room `queue`.
    fn room(&self) -> String {
        let inside = self.name.trim_start_matches("src/");
        inside.split(['/', '.']).next().unwrap_or_default().to_owned()
    }

    /// How many `super::` lead from the module of this file to the crate.
    fn depth(&self) -> usize {
        let folders = self.name.matches('/').count() - 1;
        if self.name.ends_with("/mod.rs") { folders } else { folders + 1 }
    }

    /// Without comments and tests. A test module is the last thing of its file.
    fn code(&self) -> String {
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Everything named by its path from the crate, without `crate::`.
    fn imports(&self) -> Vec<String> {
        let code = self.code();
        let mut imports = paths(&code, "crate::");
        imports.extend(paths(&code, "triggerd::"));
        imports.extend(paths(&code, &"super::".repeat(self.depth())));
        imports.retain(|path| !path.starts_with("super"));
        imports
    }
}

/// All sources but the test modules that are files of their own.
fn sources() -> impl Iterator<Item = Source> {
    let sources = files(&root().join("src"), "rs");
    assert!(sources.len() > 30, "they were not found");
    sources
        .into_iter()
        .filter(|path| {
            let name = path.display().to_string();
            !name.ends_with("/lib.rs") && !name.ends_with("/tests.rs") && !name.contains("/tests/")
        })
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            Source::new(path, text)
        })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folder` whose names end so.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What follows `prefix` wherever it begins a path: up to two more segments, a list in braces member by member.
fn paths(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        if !before.is_alphanumeric() && before != '_' && before != ':' {
            let rest = &code[at + prefix.len()..];
            for first in members(rest) {
                match first.split_once("::") {
                    Some((name, more)) => {
                        found.extend(members(more).into_iter().map(|second| {
                            let second = second.split("::").next().unwrap_or_default().to_owned();
                            format!("{name}::{second}")
                        }));
                    }
                    None => found.push(first),
                }
            }
        }
    }
    found
}

/// The path that begins here, or each of those between these braces.
fn members(rest: &str) -> Vec<String> {
    let Some(list) = rest.strip_prefix('{') else {
        let end = rest.find(|c: char| !c.is_alphanumeric() && !"_:{".contains(c)).unwrap_or(rest.len());
        let (path, after) = rest.split_at(end);
        // A list behind the last name belongs to it.
        return match path.split_once('{') {
            Some((path, _)) => {
                let open = path.len();
                let close = rest[open..].find(';').map_or(rest.len(), |end| open + end);
                vec![rest[..close].to_owned()]
            }
            None => vec![format!("{path}{}", if after.starts_with('{') { after } else { "" })],
        };
    };
    let (mut all, mut depth, mut member) = (Vec::new(), 0, String::new());
    for c in list.chars() {
        match c {
            ',' if depth == 0 => all.push(std::mem::take(&mut member)),
            '}' if depth == 0 => break,
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                member.push(c);
            }
        }
    }
    all.push(member);
    let trimmed = all.iter().map(|member| member.trim().split(" as ").next().unwrap_or_default().to_owned());
    trimmed.filter(|member| !member.is_empty()).collect()
}

/// What stands between `opening` and the next quotation mark, wherever it does.
fn quoted_after(text: &str, opening: &str) -> Vec<String> {
    let after = text.split(opening).skip(1);
    after.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()).collect()
}
