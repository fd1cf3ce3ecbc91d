//! What the service manager and people say by signal.

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A wish that came as a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGTERM or SIGINT: stop in order; again: at once.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals that mean something here.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    _file_size: Signal,
}

impl Signals {
    /// Takes over the signals, which would otherwise end the process.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            // Nothing is done at SIGXFSZ, but as long as it is taken over, a write beyond the limit fails as on a full disk,
            // instead of ending the process.
            _file_size: signal(SignalKind::from_raw(Number::XFSZ.as_raw()))?,
        })
    }

    /// The next wish.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }
}
