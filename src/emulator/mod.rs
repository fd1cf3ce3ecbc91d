//! A local orchestrator: the server side of the call modes over HTTP, with jobs that only take time, for people without
//! a tenant and for tests.
//!
//! `serving` says what is answered; this room has what makes it a server and a tool: jobs, listeners, knobs, trouble on
//! purpose, and a ledger of what came. Everything it keeps is bounded.

mod books;
mod bounded;
mod desk;
mod jobs;
pub mod knobs;
pub mod ledger;
mod outgoing;
mod route;
mod server;
pub mod settings;
pub mod trouble;
mod wire;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::desk::Desk;
use self::ledger::{Entry, Firings, JobLine};
use self::settings::Settings;

/// Why it cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// There is no chance to make a key of.
    #[error("cannot make a key for links")]
    Key,
}

/// An emulator that runs. Ends when dropped; [`Emulator::stop`] ends it in order.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    portal: Option<SocketAddr>,
    desk: Arc<Desk>,
    stop: watch::Sender<bool>,
    listeners: JoinSet<()>,
}

impl Emulator {
    /// Listens, and serves from now on.
    ///
    /// # Errors
    /// When it cannot listen where it is told to.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let listen =
            async |address| server::bind(address).await.map_err(|source| Error::Listen { address, source });
        let (listener, address) = listen(settings.listen).await?;
        let second = match settings.portal {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let portal = second.as_ref().map(|(_, address)| *address);
        let (stop, stopping) = watch::channel(false);
        let desk =
            Desk::new(settings, origin(address), portal.map(origin), stopping.clone()).ok_or(Error::Key)?;
        let desk = Arc::new(desk);
        let mut listeners = JoinSet::new();
        for listener in std::iter::once(listener).chain(second.map(|(listener, _)| listener)) {
            listeners.spawn(server::serve(listener, Arc::clone(&desk), stopping.clone()));
        }
        Ok(Self { address, portal, desk, stop, listeners })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its links lead to, if that is another place.
    #[must_use]
    pub const fn portal(&self) -> Option<SocketAddr> {
        self.portal
    }

    /// A URL on it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", origin(self.address))
    }

    /// Where a trigger is called: its folder is a GUID, its slug what it is called in the settings.
    #[must_use]
    pub fn trigger_url(&self, folder: &str, slug: &str) -> String {
        const ASIDE: &AsciiSet =
            &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?');
        self.url(&format!("/t/{folder}/{}", utf8_percent_encode(slug, ASIDE)))
    }

    /// The newest calls, the oldest of them first.
    #[must_use]
    pub fn calls(&self) -> Vec<Entry> {
        self.desk.calls()
    }

    /// Those of them from the `n`th on: for whoever reads again and again.
    #[must_use]
    pub fn calls_from(&self, n: u64) -> Vec<Entry> {
        self.desk.calls_from(n)
    }

    /// The jobs that are known.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobLine> {
        self.desk.jobs()
    }

    /// How often each Idempotency-Key came.
    #[must_use]
    pub fn firings(&self) -> Firings {
        self.desk.firings()
    }

    /// Forgets what the ledger has, and counts troubles anew.
    pub fn reset(&self) {
        self.desk.reset();
    }

    /// Waits until the ledger is so; looks again after each change.
    pub async fn until(&self, mut so: impl FnMut(&Self) -> bool) {
        let mut changes = self.desk.changes();
        // The sender is ours, so the channel stays open.
        while !so(self) && changes.changed().await.is_ok() {}
    }

    /// Takes no more calls, answers those that are held, and ends.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
    }
}

/// The origin by which a listener is reached. One that listens everywhere is reached here.
#[must_use]
pub fn origin(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    format!("http://{address}")
}
