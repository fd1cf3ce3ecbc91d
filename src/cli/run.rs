//! `triggerd run`: the daemon, in the foreground.

use std::path::Path;

use triggerd::{config, daemon, logging};

use super::failure::Failure;

pub(crate) async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let file = config::find(file)?;
    let config = config::load(Some(&file))?;
    let _guard = logging::init(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("configuration: {warning}");
    }
    let logs_to_files = config.log.directory.is_some();
    daemon::run(config, file).await.map_err(|error| {
        let failure = Failure::from(error);
        // Standard error gets it from the caller; whoever reads the files would miss it.
        if logs_to_files {
            tracing::error!(exit.code = failure.code, "{}", failure.lines.join("; "));
        }
        failure
    })
}
