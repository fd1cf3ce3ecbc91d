//! `triggerd run`: the daemon, in the foreground.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit, setrlimit};
use triggerd::{config, daemon, logging};

use super::failure::Failure;

pub(crate) async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let (file, config, mut log) = prepare(file).inspect_err(|failure| {
        daemon::tell_failure(failure.lines.first().map_or("", String::as_str));
    })?;
    for warning in &config.warnings {
        tracing::warn!("configuration: {warning}");
    }
    raise_open_files(&config.dispatch);
    let logs_to_files = config.log.directory.is_some();
    let ended = daemon::run(config, file, &mut log.losses).await.map_err(|error| {
        let failure = Failure::from(error);
        // Standard error gets it from the caller; whoever reads the files would miss it.
        if logs_to_files {
            tracing::error!(exit.code = failure.code, "{}", failure.lines.join("; "));
        }
        failure
    });
    log.finish();
    ended
}

fn prepare(file: Option<&Path>) -> Result<(PathBuf, config::Config, logging::Guard), Failure> {
    let file = config::find(file)?;
    let config = config::load(Some(&file))?;
    let log = logging::init(&config.log)?;
    Ok((file, config, log))
}

/// Files that the daemon has open besides its exchanges: the database, the log, the runtime.
pub(crate) const OTHER_FILES: usize = 64;

/// Each exchange is an open file. The usual soft limit of 1024 is there for programs that use select(2); others are meant
/// to raise it to the hard limit. Without files left, connections fail and, worse, the database cannot be opened.
fn raise_open_files(dispatch: &config::Dispatch) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised: {error}");
    }
    let needed = dispatch.max_in_flight.saturating_add(dispatch.max_long_polls).saturating_add(OTHER_FILES);
    if let Some(most) = getrlimit(Resource::Nofile).current
        && most < needed as u64
    {
        tracing::warn!(
            most,
            needed,
            "at most {most} files may be open, but [dispatch] allows for {needed}: raise the limit (LimitNOFILE=), or \
             lower max_in_flight and max_long_polls"
        );
    }
}
