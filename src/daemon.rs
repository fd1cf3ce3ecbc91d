//! The composition root: builds every part from the configuration, and owns the order of start and stop.

mod edge;
mod running;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::client::{self, HttpClient, Probed};
use crate::clock::SystemClock;
use crate::config::{self, Checkpoint, Config, Synchronous};
use crate::dispatch::{self, Beats, Breaking, Dispatcher, Limits, Settings};
use crate::logging::Losses;
use crate::queue;
use crate::queue::sqlite::{Options, SqliteStore};
use crate::service::Service;
use crate::shutdown::{Signals, Wish};
use edge::{Edge, Stage};
use running::{ORDERS, Running};

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

/// Connects to each trigger's host, as the daemon would, and sends nothing.
///
/// # Errors
/// When the wire cannot be set up.
pub async fn probe(config: &Config) -> Result<Vec<Probed>, Error> {
    Ok(client::probe(config.triggers.values().map(Arc::as_ref)).await?)
}

fn settings(config: &Config) -> Settings {
    Settings {
        triggers: config.triggers.clone(),
        limits: Limits {
            max_in_flight: config.dispatch.max_in_flight,
            max_per_origin: config.dispatch.max_per_origin,
            max_long_polls: config.dispatch.max_long_polls,
            poll_rate: config.dispatch.poll_rate,
        },
        breaking: Breaking {
            failures: config.dispatch.breaker.failures,
            initial: config.dispatch.breaker.initial,
            max: config.dispatch.breaker.max,
        },
        shutdown_grace: config.dispatch.shutdown_grace,
        fallback_poll: config.dispatch.fallback_poll,
        ageing: config.dispatch.ageing,
        plans: Arc::clone(&config.plans),
    }
}

/// How long what has ended is kept.
#[must_use]
pub fn retention(config: &Config) -> queue::Retention {
    let config::Retention { succeeded, dispatched, others, outputs, uncertain } = config.retention;
    queue::Retention { succeeded, dispatched, others, uncertain, outputs }
}

/// Runs until a signal ends it. `file` is where the configuration was read, and is read again at SIGHUP. What is lost of the
/// log is reported now and then.
///
/// # Errors
/// What keeps it from starting, and what no waiting cures.
pub async fn run(config: Config, file: PathBuf, losses: &mut Losses) -> Result<(), Error> {
    let signals = Signals::new().map_err(Error::Signals)?;
    let mut edge = Edge::new(signals, Service::from_environment());
    let ended = run_between(&config, &file, &mut edge, losses).await;
    if let Err(error) = &ended {
        edge.service.status(&format!("failed: {error}"));
        edge.service.tell();
    }
    losses.report();
    ended
}

/// Tells the service manager, if there is one, why the daemon does not come to run at all.
pub fn tell_failure(why: &str) {
    let mut service = Service::from_environment();
    service.status(&format!("failed: {why}"));
    service.tell();
}

async fn run_between(
    config: &Config,
    file: &Path,
    edge: &mut Edge,
    losses: &mut Losses,
) -> Result<(), Error> {
    edge.show();
    let client = HttpClient::new(config.credentials.clone().into_iter().collect(), SystemClock)?;
    let Some(store) = open(config, edge).await? else {
        tracing::info!("stopped before the start was done");
        return Ok(());
    };
    let (notices, noticed) = mpsc::unbounded_channel();
    let (orders, inbox) = mpsc::channel(ORDERS);
    let dispatcher = Dispatcher::new(store.clone(), client.clone(), SystemClock, settings(config), notices);
    let pulse = dispatcher.pulse();
    let engine = tokio::spawn(dispatcher.run(inbox));
    let (keep, kept) = watch::channel(retention(config));
    // It would only stand in the way of the start.
    let (prune, ready) = oneshot::channel();
    let pruner = tokio::spawn({
        let store = store.clone();
        async move {
            if ready.await.is_ok() {
                dispatch::prune(store, SystemClock, kept).await;
            }
        }
    });
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        triggers = config.triggers.len(),
        "triggerd {} on {}: {} triggers",
        env!("CARGO_PKG_VERSION"),
        config.database.path.display(),
        config.triggers.len()
    );
    let prune = Some(prune);
    let running = Running { config, file, client, orders, keep, prune, pulse, seen: Beats::default() };
    let ended = running.attend(engine, noticed, edge, losses).await;
    // A deletion under way is in the writer's hands, and ends.
    pruner.abort();
    ended.map_err(|_| Error::Failed)??;
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the database, which may take long: it may have to be upgraded, or somebody may hold a lock on it. `None` if the stop
/// came first.
async fn open(config: &Config, edge: &mut Edge) -> Result<Option<SqliteStore>, Error> {
    let triggers: Vec<_> = config.triggers.values().cloned().collect();
    let options = database_options(&config.database);
    let (give_up, given_up) = watch::channel(false);
    let mut opening = pin!(SqliteStore::open_patiently(options, &triggers, given_up));
    loop {
        tokio::select! {
            opened = &mut opening => return Ok(opened?),
            wish = edge.signals.next() => match wish {
                // The second time: at once. What was not committed is undone by the next start, as after a crash.
                Wish::Stop if edge.glance.stage == Stage::Stopping => return Ok(None),
                Wish::Stop => {
                    edge.stop();
                    give_up.send_replace(true);
                }
                Wish::Reload => edge.reload_later = true,
            },
            _ = edge.extend.tick() => edge.extend(),
        }
    }
}
