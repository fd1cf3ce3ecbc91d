//! Where the log goes and how a line looks; nothing about what is logged.
//!
//! Called once, by the verb that runs the daemon. The other verbs do not log: they print.
//!
//! Lines go through a thread of their own, so that a full disk or a reader that is stuck costs lines and never holds the
//! daemon up; what is lost is counted.

mod losses;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, ParseError, filter_fn};
use tracing_subscriber::fmt::format::{self, FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, Layer as FmtLayer};
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

pub use losses::Losses;

use crate::config::{Log, LogFormat, Rotation};
use losses::{Back, Counts, Front};

/// Lines that may wait for a disk or a reader: seconds of a busy daemon, some MiB.
const LINES: usize = 32_768;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration should have refused it.
    #[error("log.filter cannot be read")]
    Filter(#[source] ParseError),
    /// The directory is not there or not ours.
    #[error("log.directory cannot be used")]
    Directory(#[source] rolling::InitError),
    /// It was already set up.
    #[error("the log is set up already")]
    Twice(#[source] TryInitError),
}

/// Writes what is still buffered when it is dropped: keep it to the end of the process.
#[derive(Debug)]
#[must_use]
pub struct Guard {
    worker: WorkerGuard,
    /// What was lost: for whoever has the time to report it now and then.
    pub losses: Losses,
}

impl Guard {
    /// Writes what is still buffered, then tells standard error of what was lost and not told yet.
    pub fn finish(self) {
        let Self { worker, mut losses } = self;
        drop(worker);
        losses.finish();
    }
}

/// What reads the lines on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// A person: colours.
    Terminal,
    /// systemd's journal: it has its own times, and takes the level from a prefix.
    Journal,
    /// A file or a pipe.
    Plain,
}

/// Sets up the log of this process.
///
/// # Errors
///
/// If the log files cannot be written, or it was set up before.
pub fn init(log: &Log) -> Result<Guard, Error> {
    let filter = filter(&log.filter)?;
    let counts = Arc::new(Counts::default());
    let lines = NonBlockingBuilder::default().buffered_lines_limit(LINES).thread_name("triggerd-log");
    let (reader, (inner, worker)) = match &log.directory {
        None => (standard_error(), lines.finish(Back::new(io::stderr(), Arc::clone(&counts), false))),
        Some(directory) => {
            let files = files(log, directory)?;
            (Reader::Plain, lines.finish(Back::new(files, Arc::clone(&counts), true)))
        }
    };
    let losses = Losses::new(Arc::clone(&counts), inner.error_counter(), log.directory.clone());
    let writer = move || Front { inner: inner.clone(), counts: Arc::clone(&counts) };
    let layer = layer(log.format, reader, BoxMakeWriter::new(writer));
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().map_err(Error::Twice)?;
    if log.directory.is_some() {
        log_panics();
    }
    Ok(Guard { worker, losses })
}

/// What the configuration asks for, as far as it may be told.
fn filter<S: Subscriber>(asked: &str) -> Result<impl Filter<S> + use<S>, Error> {
    Ok(EnvFilter::try_new(asked).map_err(Error::Filter)?.and(filter_fn(is_told)))
}

/// Whether a line of this kind may be told at all. Libraries put URLs with their queries, and headers, into their lines
/// below `info`: those are for nobody's log, whatever the filter says.
fn is_told(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_ours =
        target.strip_prefix("triggerd").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    is_ours || *metadata.level() <= Level::INFO
}

/// A panic goes to standard error; whoever reads the files would miss it. Its words stay where they are: they may be anything.
fn log_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Some(place) = panic.location() {
            tracing::error!(%place, "failed within, at {place}; standard error has the words");
        }
        usual(panic);
    }));
}

fn files(log: &Log, directory: &Path) -> Result<rolling::RollingFileAppender, Error> {
    // The appender makes it too, but looks for old files first and complains. What keeps us from making it, it says better.
    let _ = std::fs::create_dir_all(directory);
    rolling::Builder::new()
        .rotation(match log.rotation {
            Rotation::Hourly => rolling::Rotation::HOURLY,
            Rotation::Daily => rolling::Rotation::DAILY,
            Rotation::Never => rolling::Rotation::NEVER,
        })
        .filename_prefix("triggerd")
        .filename_suffix("log")
        .max_log_files(log.max_files)
        .build(directory)
        .map_err(Error::Directory)
}

fn layer<S>(format: LogFormat, reader: Reader, writer: BoxMakeWriter) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let lines = FmtLayer::<S>::new().with_writer(writer).with_ansi(reader == Reader::Terminal);
    let json = |lines: FmtLayer<S, _, _, _>| lines.fmt_fields(JsonFields::new());
    match (format, reader) {
        (LogFormat::Text, Reader::Journal) => {
            lines.event_format(Prioritised(format::format().without_time().with_level(false))).boxed()
        }
        (LogFormat::Text, Reader::Terminal | Reader::Plain) => lines.boxed(),
        (LogFormat::Json, Reader::Journal) => {
            json(lines).event_format(Prioritised(format::format().json().without_time())).boxed()
        }
        (LogFormat::Json, Reader::Terminal | Reader::Plain) => {
            json(lines.with_ansi(false)).event_format(format::format().json()).boxed()
        }
    }
}

fn standard_error() -> Reader {
    let colourless = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref(), standard_error_file()) {
        Reader::Journal
    } else if io::stderr().is_terminal() && !colourless {
        Reader::Terminal
    } else {
        Reader::Plain
    }
}

/// The variable is inherited by children, also by those whose standard error goes elsewhere: it counts only if it names
/// the file that standard error is.
fn is_journal(variable: Option<&str>, file: Option<(u64, u64)>) -> bool {
    let named = variable.and_then(|text| text.split_once(':'));
    let named = named.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    named.is_some() && named == file
}

/// Device and inode.
fn standard_error_file() -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/fd/2").ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Puts the syslog priority in front of each line, as `sd-daemon(3)` has it.
struct Prioritised<F>(F);

impl<S, N, F> FormatEvent<S, N> for Prioritised<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use tracing_subscriber::Registry;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written for one warning.
    fn written(format: LogFormat, reader: Reader) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = layer::<Registry>(format, reader, BoxMakeWriter::new(move || writer.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(request.id = 7, "a poll was late");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_journal_gets_priorities_instead_of_times_and_levels() {
        let line = written(LogFormat::Text, Reader::Journal);
        assert!(line.starts_with("<4>triggerd::logging::tests: a poll was late request.id=7"), "{line}");
        let line = written(LogFormat::Json, Reader::Journal);
        let json: serde_json::Value = serde_json::from_str(line.strip_prefix("<4>").unwrap()).unwrap();
        assert_eq!(json["fields"]["request.id"], 7);
        assert_eq!(json.get("timestamp"), None);
    }

    #[test]
    fn a_file_gets_times_and_no_colours() {
        let line = written(LogFormat::Text, Reader::Plain);
        assert!(line.contains("Z  WARN triggerd::logging::tests: a poll was late request.id=7"), "{line}");
        let json: serde_json::Value = serde_json::from_str(&written(LogFormat::Json, Reader::Plain)).unwrap();
        assert!(json["timestamp"].is_string());
        assert_eq!(json["level"], "WARN");
    }

    #[test]
    fn no_filter_makes_a_library_say_more_than_info() {
        for asked in ["trace", "warn,hyper=trace", "hyper=trace,triggerd=trace"] {
            let lines = Lines::default();
            let writer = lines.clone();
            let layer =
                layer::<Registry>(LogFormat::Text, Reader::Plain, BoxMakeWriter::new(move || writer.clone()));
            let layer = layer.with_filter(filter(asked).unwrap());
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                tracing::debug!(target: "hyper::client", "a URL");
                tracing::trace!(target: "triggerdx", "a header");
                tracing::warn!(target: "hyper::client", "a warning");
                tracing::trace!(target: "triggerd::client", "ours");
            });
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert!(text.contains("a warning"), "{asked}: {text}");
            assert!(!text.contains("a URL") && !text.contains("a header"), "{asked}: {text}");
            assert_eq!(
                text.contains("ours"),
                asked.contains("trace") && !asked.starts_with("warn"),
                "{asked}: {text}"
            );
        }
    }

    #[test]
    fn only_a_terminal_gets_colours() {
        assert!(written(LogFormat::Text, Reader::Terminal).contains('\u{1b}'));
        assert!(!written(LogFormat::Json, Reader::Terminal).contains('\u{1b}'));
    }

    #[test]
    fn the_journal_is_told_by_what_standard_error_is() {
        assert!(is_journal(Some("9:1234"), Some((9, 1234))));
        for (variable, file) in [
            (None, Some((9, 1234))),
            (Some("9:1234"), None),
            (Some("9:1234"), Some((9, 1235))),
            (Some(""), None),
            (Some("9"), None),
            (Some("x:y"), None),
        ] {
            assert!(!is_journal(variable, file), "{variable:?}");
        }
    }

    #[test]
    fn a_directory_gets_files_of_our_name() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log {
            filter: "info".into(),
            format: LogFormat::Text,
            directory: None,
            max_files: 2,
            rotation: Rotation::Daily,
        };
        drop(files(&log, &folder.path().join("logs")).unwrap());
        let names: Vec<_> = std::fs::read_dir(folder.path().join("logs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(
            names.len() == 1 && names[0].starts_with("triggerd.") && names[0].ends_with(".log"),
            "{names:?}"
        );
    }
}
