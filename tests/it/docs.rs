//! The documents say all that there is, and nothing that is not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use triggerd::invocation::{Code, Outcome, Phase};
use url::Url;

const README: &str = include_str!("../../README.md");
const REFERENCE: &str = include_str!("../../docs/reference.md");
const SCHEDULING: &str = include_str!("../../docs/scheduling.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const COMMAND_LINE: &str = include_str!("../../docs/command-line.md");
const OPERATING: &str = include_str!("../../docs/operating.md");
const RELIABILITY: &str = include_str!("../../docs/reliability.md");
const CONTRIBUTING: &str = include_str!("../../CONTRIBUTING.md");
const SCHEMA: &str = concat!(
    include_str!("../../migrations/sqlite/0001_init.sql"),
    include_str!("../../migrations/sqlite/0002_status.sql"),
    include_str!("../../migrations/sqlite/0003_backups.sql"),
    include_str!("../../migrations/sqlite/0004_when_and_how_much.sql")
);
const DEFAULTS: &str = include_str!("../../config/defaults.toml");

#[test]
fn every_state_is_in_the_readme_and_in_the_reference() {
    let url = || Url::parse("http://far.example/").unwrap();
    let phases = [Phase::Pending, Phase::Triggering, Phase::Polling(url()), Phase::Collecting(url())];
    let states = phases.into_iter().chain(Outcome::ALL.map(Phase::Finished));
    for state in states {
        assert_row(README, "README.md", state.as_str());
        assert_row(REFERENCE, "docs/reference.md", state.as_str());
    }
}

#[test]
fn every_error_code_is_in_the_readme_and_in_the_reference() {
    for code in Code::ALL {
        assert_row(README, "README.md", code.as_str());
        assert_row(REFERENCE, "docs/reference.md", code.as_str());
    }
}

#[test]
fn every_code_of_a_refused_statement_is_in_the_readme_and_in_the_reference() {
    let codes: BTreeSet<_> = SCHEMA
        .split("'triggerd: ")
        .skip(1)
        .filter_map(|message| message.split_once(": ").map(|(code, _)| code))
        .collect();
    assert!(codes.len() > 10, "they were not found: {codes:?}");
    for code in codes {
        assert_row(README, "README.md", code);
        assert_row(REFERENCE, "docs/reference.md", code);
    }
}

#[test]
fn every_table_view_and_column_is_in_the_reference() {
    for name in names_after("\nCREATE TABLE ").chain(names_after("\nCREATE VIEW ")) {
        if !["replace_guard", "handovers"].contains(&name) {
            assert_mentions(REFERENCE, "docs/reference.md", name);
        }
    }
    let reference = [REFERENCE, SCHEDULING].concat();
    for table in [
        "requests",
        "outputs",
        "attempts",
        "triggers",
        "daemon",
        "trigger_status",
        "schedules",
        "schedule_events",
        "calendars",
        "calendar_dates",
        "request_groups",
    ] {
        let start = SCHEMA.find(&format!("\nCREATE TABLE {table} (")).unwrap();
        let definition = SCHEMA[start + 2..].split("\n)").next().unwrap();
        let columns = definition.lines().skip(1).filter_map(|line| {
            let mut words = line.strip_prefix("  ")?.split_whitespace();
            let (name, kind) = (words.next()?, words.next()?);
            matches!(kind.trim_end_matches(','), "TEXT" | "INTEGER" | "BLOB").then_some(name)
        });
        let columns: Vec<_> = columns.filter(|name| (table, *name) != ("daemon", "id")).collect();
        assert!(columns.len() > 1, "they were not found: {columns:?}");
        for column in columns {
            assert_mentions(&reference, "docs/reference.md or docs/scheduling.md", column);
        }
    }
    for line in SCHEMA.lines().filter_map(|line| line.split_once(" ADD COLUMN ")) {
        let column = line.1.split(' ').next().unwrap();
        assert_mentions(&reference, "docs/reference.md or docs/scheduling.md", column);
    }
}

#[test]
fn every_key_that_may_be_configured_is_in_its_documentation() {
    // What is refused says what is known.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.toml");
    let text = "[database]\nx = 1\n[dispatch]\nx = 1\n[retention]\nx = 1\n[log]\nx = 1\n\
                [credentials.c]\nkind = \"bearer\"\ntoken = { env = \"T\" }\nx = 1\n\
                [triggers.t]\nurl = \"http://far.example/\"\nx = 1\npoll = { x = 1 }\nretry = { x = 1 }\n\
                [calendars.c]\ndates = []\nx = 1\n\
                [schedules.s]\ntrigger = \"t\"\nexpression = \"@daily\"\ntime_zone = \"UTC\"\nx = 1\n\
                disable_after = { faults = 1, x = 1 }\n";
    std::fs::write(&file, text).unwrap();
    let error = triggerd::config::load(Some(&file)).expect_err("keys that nobody knows");
    let mut sections = BTreeSet::new();
    for problem in error.problems() {
        let (place, known) = problem.split_once(".x: unknown key (known here: ").expect("an unknown key");
        let place = place.rsplit(": ").next().unwrap();
        let heading = match place.split('.').next().unwrap() {
            "credentials" => "credentials.NAME",
            "triggers" => "triggers.NAME",
            "schedules" => "schedules.NAME",
            "calendars" => "calendars.NAME",
            section => section,
        };
        for key in known.trim_end_matches(')').split(", ") {
            let text = section(heading);
            let table = [".poll", ".retry", ".disable_after"].iter().any(|table| place.ends_with(table));
            let said =
                if table { text.contains(&format!("{key} = ")) } else { text.contains(&format!("`{key}`")) };
            assert!(said, "docs/configuration.md, [{heading}] does not mention {place}.{key}");
        }
        sections.insert(place);
    }
    assert_eq!(sections.len(), 11, "{sections:?}");
}

#[test]
fn every_default_is_in_the_documentation_as_it_is() {
    let mut heading = "";
    let mut compared = 0;
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            heading = name.trim_end_matches(']');
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            let text = section(match heading {
                "trigger" => "triggers.NAME",
                "schedule" => "schedules.NAME",
                heading => heading,
            });
            // A table or a list as it is; a string without its quotes.
            let value = value.trim_matches('"');
            let row = row(text, key).unwrap_or_else(|| panic!("docs/configuration.md has no row {key}"));
            let cell = row.split('|').nth(2).unwrap().trim().trim_matches('`');
            assert_eq!(cell, value, "docs/configuration.md, [{heading}] {key}");
            compared += 1;
        }
    }
    assert!(compared > 30, "they were not found");
}

#[test]
fn every_field_of_the_log_is_in_the_documentation() {
    let mut fields = BTreeSet::new();
    let sources = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).into_iter();
    for path in sources.filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        let text = std::fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for level in ["error", "warn", "info", "debug", "trace"] {
            for macro_call in code.split(&format!("tracing::{level}!(")).skip(1) {
                // Up to the message.
                let before = macro_call.split('"').next().unwrap();
                for argument in before.split(',').filter(|argument| !argument.trim().is_empty()) {
                    let name = argument.split('=').next().unwrap().trim().trim_start_matches(['%', '?']);
                    fields.insert(name.to_owned());
                }
            }
        }
    }
    fields.retain(|name| !name.starts_with("target:"));
    assert!(fields.len() > 20 && fields.contains("request.id"), "they were not found: {fields:?}");
    for field in fields {
        assert_mentions(OPERATING, "docs/operating.md", &field);
    }
}

#[test]
fn every_verb_and_every_flag_is_in_the_documentation_of_the_command_line() {
    let help = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_triggerd")).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let all = help(&["--help"]);
    let verbs = all.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let verbs: Vec<_> = verbs.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.contains(&"run"), "{all}");
    let running = README.split("\n## Running it\n").nth(1).unwrap().split("\n## ").next().unwrap();
    for verb in verbs.into_iter().filter(|verb| *verb != "help") {
        assert!(running.contains(&format!("`{verb}`")), "README.md, \"Running it\" does not mention {verb}");
        let section = COMMAND_LINE.split(&format!("\n## `{verb}`\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("docs/command-line.md has no section on {verb}"));
        let section = section.split("\n## ").next().unwrap();
        let own = help(&[verb, "--help"]);
        let below =
            own.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
        let below =
            below.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| *word != "help");
        let mut texts = vec![own.clone()];
        for word in below {
            assert!(section.contains(&format!("`{verb} {word}")), "{verb} {word}");
            texts.push(help(&[verb, word, "--help"]));
        }
        for line in texts.iter().flat_map(|text| text.lines()) {
            let flag =
                line.trim_start().split([' ', ',']).find(|word| word.starts_with("--")).unwrap_or("--help");
            let said = section.contains(&format!("`{flag}`")) || section.contains(&format!("`{flag} "));
            assert!(
                said || ["--help", "--config"].contains(&flag) || !line.starts_with("  "),
                "{verb} {flag}"
            );
        }
    }
}

/// All programs of the repository, by their paths.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["src", "tests"]
        .into_iter()
        .flat_map(|folder| files(&root.join(folder)))
        .filter(|path| path.extension().is_some_and(|e| e == "rs" || e == "py"))
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// Each fault has a test that is there, or a reason.
#[test]
fn each_fault_names_what_shows_it_or_says_why_nothing_does() {
    let sources = sources();
    let faults =
        RELIABILITY.split("\n## Faults, one by one\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<Vec<&str>> = faults
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| fault") && !line.starts_with("| ---"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() > 40, "they were not found");
    let mut missing = Vec::new();
    for row in rows {
        let [_, fault, holds, shown, _] = row[..] else { panic!("{row:?} has another number of columns") };
        let names: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        let reason = holds.starts_with("does not apply")
            || holds.starts_with("do not apply")
            || holds.starts_with("not shown");
        assert_eq!(names.is_empty(), reason, "{fault}: a test, or a reason");
        for name in names {
            let is_there = match name.split_once(".py ") {
                Some((script, part)) => sources.iter().any(|(path, text)| {
                    path.ends_with(format!("faults/{script}.py")) && text.contains(&format!("def {part}("))
                }),
                None => {
                    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
                    let functions = [format!("fn {name}("), format!("fn {name}<")];
                    root.exists()
                        || sources.iter().any(|(_, text)| functions.iter().any(|f| text.contains(f)))
                }
            };
            if !is_there {
                missing.push(format!("{fault}: {name}"));
            }
        }
    }
    assert_eq!(missing, [""; 0], "named in docs/reliability.md, and nowhere to be found");
}

/// A promise is worth the test that holds it.
#[test]
fn each_promise_names_tests_and_each_of_them_exists() {
    let sources: Vec<String> = sources().into_iter().map(|(_, text)| text).collect();
    let promises = README.split("\n## What is promised\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let texts: Vec<&str> = promises
        .lines()
        .filter(|line| line.starts_with("| ") && line[2..].starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    assert!(texts.len() >= 9, "they were not found");
    let mut missing = Vec::new();
    for (n, text) in (1..).zip(&texts) {
        let tests: Vec<_> =
            text.split('|').nth(3).unwrap_or_default().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "promise {n} names no test");
        for test in tests {
            let names = [format!("fn {test}("), format!("fn {test}<"), format!("def {test}(")];
            if !sources.iter().any(|source| names.iter().any(|name| source.contains(name))) {
                missing.push(format!("promise {n}: {test}"));
            }
        }
    }
    assert_eq!(missing, [""; 0], "named in README.md, and nowhere to be found");
}

#[test]
fn each_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = [
        ("README.md", README),
        ("CONTRIBUTING.md", CONTRIBUTING),
        ("docs/reference.md", REFERENCE),
        ("docs/configuration.md", CONFIGURATION),
        ("docs/command-line.md", COMMAND_LINE),
        ("docs/operating.md", OPERATING),
        ("docs/emulator.md", include_str!("../../docs/emulator.md")),
        ("docs/reliability.md", RELIABILITY),
    ];
    for (name, text) in documents {
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let here = root.join(name);
            let path = if file.is_empty() { here } else { here.parent().unwrap().join(file) };
            assert!(path.exists(), "{name}: {target}: there is no such file");
            if !anchor.is_empty() {
                let found = std::fs::read_to_string(&path).unwrap();
                let anchors: Vec<_> =
                    found.lines().filter(|line| line.starts_with('#')).map(anchor_of).collect();
                assert!(anchors.iter().any(|a| a == anchor), "{name}: {target}: there is no such heading");
            }
        }
    }
}

/// `## Of refused statements` is `of-refused-statements`.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// The section of docs/configuration.md on `[name]`.
fn section(name: &str) -> &'static str {
    let after = CONFIGURATION.split(&format!("\n## `[{name}]`\n")).nth(1);
    let after = after.unwrap_or_else(|| panic!("docs/configuration.md has no section [{name}]"));
    after.split("\n## ").next().unwrap_or(after)
}

/// The row of a table that begins with `name`.
fn row<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find(|line| line.starts_with(&format!("| `{name}` |")))
}

fn assert_row(text: &str, document: &str, name: &str) {
    assert!(row(text, name).is_some(), "{document} has no row for {name}");
}

fn assert_mentions(text: &str, document: &str, name: &str) {
    assert!(text.contains(&format!("`{name}`")), "{document} does not mention {name}");
}

/// The names that follow `statement` in the schema.
fn names_after(statement: &str) -> impl Iterator<Item = &'static str> {
    let after: Vec<_> = SCHEMA.split(statement).skip(1).collect();
    after.into_iter().filter_map(|rest| rest.split([' ', '(']).next())
}

/// All files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
