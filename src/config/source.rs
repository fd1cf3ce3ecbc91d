//! Where the configuration comes from: embedded defaults, one TOML file, the environment; later ones win.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use config::{FileFormat, Format, Map, Source, Value, ValueKind};

use super::Error;
use super::section::Problems;

/// The commented defaults. Its tables `trigger` and `schedule` are not sections of the user's file: they hold the defaults
/// of each `[triggers.NAME]` and `[schedules.NAME]`.
const DEFAULTS: &str = include_str!("../../config/defaults.toml");

/// What the `config` crate calls the origin of a variable.
pub(super) const ENVIRONMENT: &str = "the environment";
const PREFIX: &str = "TRIGGERD__";
const VARIABLE_SECTIONS: [&str; 4] = ["DATABASE", "DISPATCH", "RETENTION", "LOG"];

/// The variable that overrides the key with this dotted name.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// The file to read: `path` if given, else the first of those that every verb looks for.
///
/// # Errors
///
/// If there is none.
pub(super) fn find(path: Option<&Path>) -> Result<PathBuf, Error> {
    let said = path
        .map(Path::to_owned)
        .or_else(|| std::env::var_os("TRIGGERD_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from));
    // A file that was asked for by name is never silently replaced by another.
    if let Some(path) = said {
        return Ok(path);
    }
    ["./triggerd.toml", "/etc/triggerd/triggerd.toml"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| {
            Error::one(
                "no configuration: give --config FILE, set TRIGGERD_CONFIG, or write ./triggerd.toml or \
                 /etc/triggerd/triggerd.toml",
            )
        })
}

/// What was read, merged but not yet understood.
pub(super) struct Sources {
    /// The sections of the file over the defaults, the environment over both.
    pub(super) root: Value,
    /// The defaults of a trigger.
    pub(super) trigger: Map<String, Value>,
    /// The defaults of a schedule.
    pub(super) schedule: Map<String, Value>,
}

/// Merges the text of a file called `name` and `environment` over the defaults.
///
/// # Errors
///
/// If the text is no TOML: then there is nothing else to judge.
pub(super) fn merge(
    name: &str,
    text: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &Problems,
) -> Result<Sources, Error> {
    let mut defaults = Toml::parse("the defaults", DEFAULTS).map_err(Error::one)?;
    let mut of_each = |name| match defaults.0.remove(name).map(|value| value.kind) {
        Some(ValueKind::Table(table)) => table,
        _ => Map::new(),
    };
    let (trigger, schedule) = (of_each("trigger"), of_each("schedule"));
    let merged = config::Config::builder()
        .add_source(defaults)
        .add_source(Toml::parse(name, text).map_err(Error::one)?)
        .add_source(
            config::Environment::default()
                .prefix(PREFIX.trim_end_matches('_'))
                .prefix_separator("__")
                .separator("__")
                .ignore_empty(true)
                .source(Some(variables(environment, problems))),
        )
        .build()
        .map_err(|error| Error::one(format!("{name}: {error}")))?;
    Ok(Sources { root: merged.cache, trigger, schedule })
}

/// The variables that may override something; the others of our prefix are problems.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &Problems,
) -> Map<String, String> {
    let mut taken = Map::new();
    for (name, value) in environment {
        let name = name.to_string_lossy().into_owned();
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        let overrides = key.split_once("__").filter(|(section, key)| {
            VARIABLE_SECTIONS.contains(section)
                && !key.is_empty()
                && key.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        });
        if overrides.is_none() {
            problems.say(format!(
                "{name}: overrides nothing: such a variable is {PREFIX}SECTION__KEY, in capitals, and the section is {}",
                VARIABLE_SECTIONS.join(", ")
            ));
            continue;
        }
        match value.into_string() {
            Ok(value) => drop(taken.insert(name, value)),
            Err(_) => problems.say(format!("{name}: must be UTF-8")),
        }
    }
    taken
}

/// A TOML text as one value; or why it is none.
pub(super) fn toml(name: &str, text: &str) -> Result<Value, String> {
    Ok(Value::new(None, ValueKind::Table(Toml::parse(name, text)?.0)))
}

/// A TOML text that remembers where it was read.
#[derive(Clone, Debug)]
struct Toml(Map<String, Value>);

impl Toml {
    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let parsed = FileFormat::Toml.parse(Some(&name.to_owned()), text);
        parsed.map(Self).map_err(|error| format!("{name}: {}", without_source_line(&error.to_string())))
    }
}

impl Source for Toml {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// The parser shows the offending line, which may hold a secret: keeps its place and its reason only.
fn without_source_line(error: &str) -> String {
    let kept = error.lines().filter(|line| {
        let margin = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        !margin.trim_start().starts_with('|')
    });
    kept.collect::<Vec<_>>().join(": ")
}
