//! The configuration: defaults, file and environment become one checked [`Config`], or every problem at once.
//!
//! Parsed once, here; nobody else reads a key or a variable. Knows no room but the leaves. A secret never gets here:
//! the file has references only, and messages repeat no value that could be one.

mod calendar;
pub(crate) mod credential;
mod hooks;
pub(crate) mod json;
mod schedule;
pub(crate) mod section;
mod source;
#[cfg(test)]
mod tests;
mod trigger;
pub mod units;
mod unnamed;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::section::{Problems, Section};
use crate::clock::{Clock as _, SystemClock, UnixMillis};
use crate::schedule::Plans;
use crate::secret::Credential;
use crate::trigger::{Rate, Trigger};

/// All that may be configured, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[database]`.
    pub database: Database,
    /// `[dispatch]`.
    pub dispatch: Dispatch,
    /// `[retention]`.
    pub retention: Retention,
    /// `[log]`.
    pub log: Log,
    /// `[credentials.NAME]`; each that a trigger names is here.
    pub credentials: BTreeMap<String, Credential>,
    /// `[triggers.NAME]`.
    pub triggers: BTreeMap<String, Arc<Trigger>>,
    /// `[schedules.NAME]` and `[calendars.NAME]`.
    pub plans: Arc<Plans>,
    /// What is allowed but is probably not what was meant; one line each, for `check` and the log of a start.
    pub warnings: Vec<String>,
}

/// Where the queue is, and who cares for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The SQLite file; a relative path is one from the working directory.
    pub path: PathBuf,
    /// What a commit waits for.
    pub synchronous: Synchronous,
    /// Who moves the write-ahead log into the file.
    pub checkpoint: Checkpoint,
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// The disk: a commit survives a power cut.
    Full,
    /// The kernel: a power cut may lose the last commits.
    Normal,
}

/// Who moves the write-ahead log into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// The daemon.
    Daemon,
    /// A replicator such as Litestream, which must see each page of the log before it goes.
    External,
}

/// How much at once, and how a stop goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// Exchanges in flight, held ones apart.
    pub max_in_flight: usize,
    /// Connections to one origin.
    pub max_per_origin: usize,
    /// Exchanges that a far end holds until the job ends.
    pub max_long_polls: usize,
    /// When firings at one origin wait because it answers badly.
    pub breaker: Breaker,
    /// Polls of one origin, held ones apart; none: as many as are due.
    pub poll_rate: Option<Rate>,
    /// How long a stop lets exchanges end; zero cuts them at once.
    pub shutdown_grace: Duration,
    /// How often the table is looked at when nothing was noticed.
    pub fallback_poll: Duration,
    /// How long a ready request waits to be worth one step of priority more; zero: it never is.
    pub ageing: Duration,
}

/// When firings at one origin wait because it answers badly, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Bad ends in a row; 0: never.
    pub failures: u32,
    /// The first wait before a probe; it doubles.
    pub initial: Duration,
    /// The longest.
    pub max: Duration,
}

/// How long what has ended is kept; none: for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Requests that succeeded.
    pub succeeded: Option<Duration>,
    /// Requests that were fired and forgotten.
    pub dispatched: Option<Duration>,
    /// Requests that failed, were rejected, expired or cancelled.
    pub others: Option<Duration>,
    /// Bodies, which may go before their request.
    pub outputs: Option<Duration>,
    /// Requests that nobody has settled.
    pub uncertain: Option<Duration>,
}

/// Where the log goes, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Directives of `tracing`'s filter, known to parse.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
    /// A directory for log files; none: standard error.
    pub directory: Option<PathBuf>,
    /// How many log files are kept.
    pub max_files: usize,
    /// When a new log file is begun.
    pub rotation: Rotation,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// When a new log file is begun (by UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Each hour.
    Hourly,
    /// Each day.
    Daily,
    /// Never: one file that only grows.
    Never,
}

/// The file that [`load`] reads: `path` if given, else `$TRIGGERD_CONFIG`, `./triggerd.toml`,
/// `/etc/triggerd/triggerd.toml`.
///
/// # Errors
///
/// If there is none.
pub fn find(path: Option<&Path>) -> Result<PathBuf, Error> {
    source::find(path)
}

/// Reads the configuration, see [`find`] for where.
///
/// # Errors
///
/// Every problem that was found.
pub fn load(path: Option<&Path>) -> Result<Config, Error> {
    let path = find(path)?;
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Error::one(format!(
            "{name}: cannot be read: {error}: see --config and $TRIGGERD_CONFIG, and who may read the file"
        ))
    })?;
    parse(&path, &text, std::env::vars_os(), SystemClock.now())
}

/// The tables of a TOML text called `name`, for the readers of other files than ours.
///
/// # Errors
///
/// If it is no TOML.
pub(crate) fn toml(name: &str, text: &str) -> Result<::config::Value, Error> {
    source::toml(name, text).map_err(Error::one)
}

/// Reads the text of a file at `path`, and `environment`. `now` decides how far the rules of calendars are followed, and what is
/// worth a warning.
fn parse(
    path: &Path,
    text: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    now: UnixMillis,
) -> Result<Config, Error> {
    let name = path.display().to_string();
    let problems = Problems::new(name.clone());
    let merged = source::merge(&name, text, environment, &problems)?;
    let mut root = Section::new("", merged.root, &problems);

    let database = unnamed::database(root.table("database"));
    let dispatch = unnamed::dispatch(root.table("dispatch"));
    let retention = unnamed::retention(root.table("retention"));
    let log = unnamed::log(root.table("log"));

    let credentials: BTreeMap<_, _> = root
        .table("credentials")
        .named()
        .into_iter()
        .map(|(name, section)| (name, credential::read(section)))
        .collect();
    let named = root.table("triggers").named();
    let names = named.iter().map(|(name, _)| name.clone()).collect();
    let triggers: BTreeMap<_, _> = named
        .into_iter()
        .filter_map(|(name, section)| {
            let trigger = trigger::read(&name, section, &merged.trigger, &credentials)?;
            Some((name, Arc::new(trigger)))
        })
        .collect();
    hooks::check(&triggers, &names, &problems);
    let calendars = calendar::read_all(root.table("calendars"), path.parent().unwrap_or(path), now);
    let of = schedule::Surroundings {
        defaults: &merged.schedule,
        triggers: &triggers,
        trigger_names: &names,
        calendars: &calendars,
        now,
    };
    let (schedules, warned) = schedule::read_all(root.table("schedules"), &of);
    root.finish();

    let problems = problems.into_vec();
    let (Some(database), Some(dispatch), Some(retention), Some(log), []) =
        (database, dispatch, retention, log, problems.as_slice())
    else {
        return Err(Error { problems });
    };
    let credentials = credentials.into_iter().filter_map(|(name, read)| Some((name, read?))).collect();
    let plans = Arc::new(Plans { schedules, calendars: calendars.plans });
    let mut config =
        Config { database, dispatch, retention, log, credentials, triggers, plans, warnings: Vec::new() };
    config.warnings = warnings(&config);
    config.warnings.extend(calendars.warnings);
    config.warnings.extend(warned);
    Ok(config)
}

fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.triggers.is_empty() {
        warnings.push("no trigger is configured: every request will be refused".to_owned());
    }
    let grace = config.dispatch.shutdown_grace;
    let triggers = || config.triggers.values().map(Arc::as_ref);
    if let Some((name, longest)) =
        trigger::longest_response(triggers()).filter(|(_, longest)| *longest > grace)
    {
        warnings.push(format!(
            "dispatch.shutdown_grace: is {grace:?}, below the response_timeout of trigger {name} ({longest:?}): a stop \
             may cut its firings short and leave them uncertain"
        ));
    }
    for name in config.credentials.keys() {
        if !triggers().any(|trigger| trigger.credential.as_ref() == Some(name)) {
            warnings.push(format!("credentials.{name}: no trigger uses it"));
        }
    }
    warnings.extend(triggers().flat_map(trigger::warnings));
    warnings
}

/// Why there is no configuration: every problem that was found, each with its key and where that was written.
#[derive(Debug)]
pub struct Error {
    problems: Vec<String>,
}

impl Error {
    fn one(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()] }
    }

    /// Of the reader of another file.
    pub(crate) fn new(problems: Vec<String>) -> Self {
        Self { problems }
    }

    /// One line each.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The exit code of a process that cannot go on because of it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        78
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for Error {}
