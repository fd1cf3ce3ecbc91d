//! The composition root: builds every part from the configuration, and owns the order of start and stop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::client::{self, HttpClient};
use crate::clock::SystemClock;
use crate::config::{self, Checkpoint, Config, Synchronous};
use crate::dispatch::{self, Dispatcher, Limits, Notice, Order, Settings};
use crate::logging::Losses;
use crate::queue;
use crate::queue::sqlite::{Options, SqliteStore};
use crate::shutdown::{Signals, Wish};

/// Lines lost of the log are looked for this often.
const LOG_CHECK_EVERY: Duration = Duration::from_secs(30);

/// Why the daemon could not run, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Queue(#[from] queue::Error),
    /// The wire.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The signals.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    /// The engine ended by a panic.
    #[error("the engine has failed within; the log has the place")]
    Failed,
}

impl Error {
    /// The exit code that says so to the service manager.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Queue(error) => error.exit_code(),
            Self::Client(_) | Self::Signals(_) | Self::Failed => 1,
        }
    }
}

/// How the configuration wants its database used.
#[must_use]
pub fn database_options(database: &config::Database) -> Options {
    Options {
        path: database.path.clone(),
        full: database.synchronous == Synchronous::Full,
        checkpoint: database.checkpoint == Checkpoint::Daemon,
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        triggers: config.triggers.clone(),
        limits: Limits {
            max_in_flight: config.dispatch.max_in_flight,
            max_per_origin: config.dispatch.max_per_origin,
            max_long_polls: config.dispatch.max_long_polls,
        },
        shutdown_grace: config.dispatch.shutdown_grace,
        fallback_poll: config.dispatch.fallback_poll,
    }
}

fn retention(config: &Config) -> queue::Retention {
    let config::Retention { succeeded, dispatched, others, outputs, uncertain } = config.retention;
    queue::Retention { succeeded, dispatched, others, uncertain, outputs }
}

/// Runs until a signal ends it. `file` is where the configuration was read, and is read again at SIGHUP. What is lost of the
/// log is reported now and then.
///
/// # Errors
/// What keeps it from starting, and what no waiting cures.
pub async fn run(config: Config, file: PathBuf, losses: &mut Losses) -> Result<(), Error> {
    let mut log_check = tokio::time::interval(LOG_CHECK_EVERY);
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let client = HttpClient::new(config.credentials.clone().into_iter().collect(), SystemClock)?;
    let triggers: Vec<_> = config.triggers.values().cloned().collect();
    let store = SqliteStore::open(database_options(&config.database), &triggers).await?;
    let (notices, mut noticed) = mpsc::unbounded_channel();
    let (orders, inbox) = mpsc::channel(4);
    let dispatcher = Dispatcher::new(store.clone(), client.clone(), SystemClock, settings(&config), notices);
    let mut engine = tokio::spawn(dispatcher.run(inbox));
    let (keep, kept) = watch::channel(retention(&config));
    let pruner = tokio::spawn(dispatch::prune(store.clone(), SystemClock, kept));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        triggers = config.triggers.len(),
        "triggerd {} on {}: {} triggers",
        env!("CARGO_PKG_VERSION"),
        config.database.path.display(),
        config.triggers.len()
    );
    let ended = loop {
        tokio::select! {
            ended = &mut engine => break ended,
            Some(notice) = noticed.recv() => match notice {
                Notice::Ready => tracing::info!("ready"),
                // The engine has said so, with what it waits for.
                Notice::Stopping | Notice::Figures(_) => {}
            },
            _ = log_check.tick() => {
                losses.report();
            }
            wish = signals.next() => {
                let order = match wish {
                    Wish::Stop => Some(Order::Stop),
                    Wish::Reload => reload(&config, &file, &client).map(|config| {
                        keep.send_replace(retention(&config));
                        Order::Reload(settings(&config))
                    }),
                };
                if let Some(order) = order {
                    // An engine that has ended is met at the top of the loop.
                    let _ = orders.send(order).await;
                }
            }
        }
    };
    // A deletion under way is in the writer's hands, and ends.
    pruner.abort();
    ended.map_err(|_| Error::Failed)??;
    store.close().await;
    tracing::info!("stopped");
    losses.report();
    Ok(())
}

/// The configuration as it is now, if it is sound; otherwise the old one stays.
fn reload(started: &Config, file: &Path, client: &HttpClient<SystemClock>) -> Option<Config> {
    let config = match config::load(Some(file)) {
        Ok(config) => config,
        Err(error) => {
            for problem in error.problems() {
                tracing::error!("configuration: {problem}");
            }
            tracing::error!("the configuration was not reloaded: the old one stays in force");
            return None;
        }
    };
    for warning in &config.warnings {
        tracing::warn!("configuration: {warning}");
    }
    if config.database != started.database || config.log != started.log {
        tracing::warn!("configuration: changes of [database] and [log] take effect at the next start");
    }
    client.reload(config.credentials.clone().into_iter().collect());
    tracing::info!(
        triggers = config.triggers.len(),
        "configuration reloaded: {} triggers",
        config.triggers.len()
    );
    Some(config)
}
