//! A daemon at work: signals and what the engine tells, until that has ended.

use std::path::Path;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};

use super::edge::{Edge, Stage, interval};
use super::{retention, settings};
use crate::client::HttpClient;
use crate::clock::SystemClock;
use crate::config::{self, Config};
use crate::dispatch::{Beats, Notice, Order, Pulse};
use crate::logging::Losses;
use crate::queue;
use crate::service::Service;
use crate::shutdown::Wish;

/// Orders that may wait for the engine.
pub(super) const ORDERS: usize = 4;
/// Lines lost of the log are looked for this often.
const LOG_CHECK_EVERY: Duration = Duration::from_secs(30);
/// The status text is told this often at most.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// A daemon whose engine runs.
pub(super) struct Running<'c> {
    /// As it was at the start.
    pub(super) config: &'c Config,
    pub(super) file: &'c Path,
    pub(super) client: HttpClient<SystemClock>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) keep: watch::Sender<queue::Retention>,
    /// Lets the pruner begin.
    pub(super) prune: Option<oneshot::Sender<()>>,
    pub(super) pulse: Pulse,
    /// What was done when the watchdog was last told.
    pub(super) seen: Beats,
}

impl Running<'_> {
    /// Passes on what comes from outside, until the engine has ended.
    pub(super) async fn attend(
        mut self,
        mut engine: JoinHandle<Result<(), queue::Error>>,
        mut noticed: mpsc::UnboundedReceiver<Notice>,
        edge: &mut Edge,
        losses: &mut Losses,
    ) -> Result<Result<(), queue::Error>, JoinError> {
        let mut log_check = interval(LOG_CHECK_EVERY);
        let mut status = interval(STATUS_EVERY);
        // Three times in the time that it has, so that one that comes late does no harm.
        let watchdog = edge.service.watchdog().map(|time| time / 3);
        let mut beat = interval(watchdog.unwrap_or(LOG_CHECK_EVERY).max(Duration::from_millis(1)));
        if std::mem::take(&mut edge.reload_later) {
            self.reload(edge).await;
        }
        loop {
            tokio::select! {
                ended = &mut engine => return ended,
                Some(notice) = noticed.recv() => match notice {
                    Notice::Ready if edge.glance.stage == Stage::Starting => {
                        tracing::info!(target: "triggerd::daemon", "ready");
                        // A pruner that is gone has failed within, and said so.
                        let _ = self.prune.take().map(|prune| prune.send(()));
                        edge.glance.stage = Stage::Ready;
                        edge.show();
                        edge.service.ready();
                    }
                    // The engine says in the log what it waits for.
                    Notice::Ready | Notice::Stopping => {}
                    Notice::Figures(figures) => {
                        edge.glance.figures = figures;
                        edge.show();
                    }
                    Notice::Table(all) => {
                        edge.glance.table = all;
                        edge.show();
                    }
                },
                wish = edge.signals.next() => match wish {
                    Wish::Stop => {
                        edge.stop();
                        self.tell(Order::Stop).await;
                    }
                    Wish::Reload => self.reload(edge).await,
                },
                _ = edge.extend.tick(), if edge.glance.stage == Stage::Starting => edge.extend(),
                _ = beat.tick(), if watchdog.is_some() && edge.glance.stage != Stage::Starting => {
                    self.beat(&mut edge.service);
                }
                _ = log_check.tick() => {
                    edge.glance.lines_lost = losses.report();
                    edge.show();
                }
                _ = status.tick(), if edge.service.is_behind() => edge.service.tell(),
            }
        }
    }

    async fn tell(&self, order: Order) {
        // An engine that has ended is met at the top of the loop.
        let _ = self.orders.send(order).await;
    }

    /// Tells the watchdog, if each part of the engine has got something done; and asks for the next sign of life.
    fn beat(&mut self, service: &mut Service) {
        let beats = self.pulse.beats();
        let idle = beats.idle_since(self.seen);
        if idle.is_empty() {
            self.seen = beats;
            service.alive();
        } else {
            let idle = idle.join(", ");
            tracing::warn!(idle, "the watchdog is not told that all is well: nothing was done by {idle}");
        }
        // Never so many that a stop or a reload would have to wait for room.
        if self.orders.capacity() > ORDERS / 2 {
            let _ = self.orders.try_send(Order::Beat);
        }
    }

    /// Reads the configuration again. The service manager is told, unless it waits for the end of the start, or of the stop.
    async fn reload(&self, edge: &mut Edge) {
        let told = edge.glance.stage == Stage::Ready;
        if told {
            edge.glance.stage = Stage::Reloading;
            edge.show();
            edge.service.reloading();
        }
        match reload(self.config, self.file, &self.client) {
            Ok(config) => {
                self.keep.send_replace(retention(&config));
                self.tell(Order::Reload(settings(&config))).await;
                edge.glance.refused = None;
            }
            Err(why) => edge.glance.refused = Some(why),
        }
        if told {
            edge.glance.stage = Stage::Ready;
        }
        edge.show();
        if told {
            edge.service.ready();
        }
    }
}

/// The configuration as it is now, if it is sound; otherwise the old one stays, and this is why.
fn reload(started: &Config, file: &Path, client: &HttpClient<SystemClock>) -> Result<Config, String> {
    let config = match config::load(Some(file)) {
        Ok(config) => config,
        Err(error) => {
            for problem in error.problems() {
                tracing::error!("configuration: {problem}");
            }
            tracing::error!("the configuration was not reloaded: the old one stays in force");
            let more = error.problems().len().saturating_sub(1);
            let first = error.problems().first().map_or("", String::as_str);
            return Err(if more == 0 { first.to_owned() } else { format!("{first} (and {more} more)") });
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
    Ok(config)
}
