//! What the service manager is told, as `sd_notify(3)` has it. Without one that listens, nothing is said.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use std::{env, io};

use sd_notify::NotifyState as Say;

use crate::clock;

/// A manager that takes no message for so long gets none: signals must be heard meanwhile.
const LONGEST_SEND: Duration = Duration::from_secs(1);
/// Bytes of a status text; `systemctl status` shows one line.
const LONGEST_STATUS: usize = 400;

/// The service manager that has started this process, if any.
#[derive(Debug, Default)]
pub struct Service {
    manager: Option<Manager>,
    watchdog: Option<Duration>,
    /// The text that is to be seen, and the one that was sent.
    wanted: String,
    said: String,
    /// The newest stage that could not be told: without it the manager would wait for ever, so it goes with the next message.
    owed: Option<String>,
}

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    has_failed: bool,
}

impl Service {
    /// The one that `NOTIFY_SOCKET` names. A name that leads nowhere must not keep a daemon from starting.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let manager = Manager::new(name.as_bytes())
            .inspect_err(|error| {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used, the service manager is told nothing: {error}");
            })
            .ok();
        let watchdog = sd_notify::watchdog_enabled().filter(|time| !time.is_zero());
        Self { manager, watchdog, ..Self::default() }
    }

    /// How long it waits for [`Service::alive`] before it takes the process for dead.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.manager.is_some())
    }

    /// What people are to see. It is told with the next message, or by [`Service::tell`].
    pub fn status(&mut self, text: &str) {
        text.clone_into(&mut self.wanted);
        self.wanted = self.wanted.replace(['\n', '\r'], " ");
        if self.wanted.len() > LONGEST_STATUS {
            let end = (0..=LONGEST_STATUS).rev().find(|at| self.wanted.is_char_boundary(*at)).unwrap_or(0);
            self.wanted.truncate(end);
        }
    }

    /// Whether the text has changed since it was told.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.manager.is_some() && (self.wanted != self.said || self.owed.is_some())
    }

    /// Tells the text, if it has changed, and what is owed.
    pub fn tell(&mut self) {
        if self.is_behind() {
            self.say(&[]);
        }
    }

    /// The start, or the reload, is over.
    pub fn ready(&mut self) {
        self.say(&[Say::Ready]);
    }

    /// A reload has begun; [`Service::ready`] ends it.
    pub fn reloading(&mut self) {
        self.say(&[Say::Reloading, Say::MonotonicUsec(clock::monotonic_micros())]);
    }

    /// The stop has begun.
    pub fn stopping(&mut self) {
        self.say(&[Say::Stopping]);
    }

    /// What is under way may take this much longer from now.
    pub fn extend(&mut self, time: Duration) {
        self.say(&[Say::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))]);
    }

    /// For the watchdog.
    pub fn alive(&mut self) {
        self.say(&[Say::Watchdog]);
    }

    /// One message: what it says, and the text if that is new.
    fn say(&mut self, words: &[Say<'_>]) {
        let Some(manager) = &mut self.manager else { return };
        let is_stage = matches!(words, [Say::Ready | Say::Reloading | Say::Stopping, ..]);
        let words: String = words.iter().map(|word| format!("{word}\n")).collect();
        if is_stage {
            self.owed = Some(words.clone());
        }
        let mut message = self.owed.clone().unwrap_or_default();
        if !is_stage {
            message.push_str(&words);
        }
        if self.wanted != self.said {
            message.push_str(&format!("{}\n", Say::Status(&self.wanted)));
        }
        match manager.socket.send_to_addr(message.as_bytes(), &manager.address) {
            Ok(_) => {
                manager.has_failed = false;
                self.owed = None;
                self.wanted.clone_into(&mut self.said);
            }
            Err(error) if manager.has_failed => {
                tracing::debug!(%error, "the service manager cannot be told: {error}");
            }
            Err(error) => {
                manager.has_failed = true;
                tracing::warn!(%error, "the service manager cannot be told: {error}");
            }
        }
    }
}

impl Manager {
    /// A name that begins with `@` is an abstract one; `sd-notify` itself knows only paths.
    fn new(name: &[u8]) -> io::Result<Self> {
        let address = match name {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "it begins neither with / nor with @",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(LONGEST_SEND))?;
        Ok(Self { socket, address, has_failed: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service with a manager that listens under an abstract name.
    fn listened(name: &str) -> (Service, UnixDatagram) {
        let name = format!("triggerd-test-{}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let manager = Manager::new(format!("@{name}").as_bytes()).unwrap();
        (Service { manager: Some(manager), ..Service::default() }, listener)
    }

    fn heard(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let n = listener.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    #[test]
    fn a_text_is_told_when_it_changed_and_never_breaks_out_of_its_line() {
        let (mut service, listener) = listened("text");
        service.status("ready\nSTOPPING=1");
        service.ready();
        assert_eq!(heard(&listener), "READY=1\nSTATUS=ready STOPPING=1\n");
        assert!(!service.is_behind());
        service.tell();
        service.alive();
        assert_eq!(heard(&listener), "WATCHDOG=1\n");
        service.status(&"ä".repeat(1000));
        service.tell();
        assert_eq!(heard(&listener).trim(), format!("STATUS={}", "ä".repeat(LONGEST_STATUS / 2)));
    }

    #[test]
    fn a_stage_that_could_not_be_told_goes_with_the_next_message() {
        let (mut service, listener) = listened("owed");
        let address = listener.local_addr().unwrap();
        drop(listener);
        service.ready();
        service.alive();
        assert!(service.is_behind());
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        service.tell();
        assert_eq!(heard(&listener), "READY=1\n");
        assert!(!service.is_behind());
        service.alive();
        assert_eq!(heard(&listener), "WATCHDOG=1\n");
    }

    #[test]
    fn a_reload_says_when_it_began() {
        let (mut service, listener) = listened("reload");
        let before = clock::monotonic_micros();
        service.reloading();
        let said = heard(&listener);
        let at = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|at| at.trim().parse().ok());
        assert!(at.is_some_and(|at: i128| (before..=clock::monotonic_micros()).contains(&at)), "{said}");
    }

    #[test]
    fn a_manager_that_is_gone_costs_nothing_but_its_text() {
        let (mut service, listener) = listened("gone");
        drop(listener);
        service.status("ready");
        service.ready();
        assert!(service.is_behind());
    }

    #[test]
    fn a_name_that_is_neither_a_path_nor_abstract_is_refused() {
        assert!(Manager::new(b"relative").is_err());
        assert!(Manager::new(b"vsock:2:1234").is_err());
        assert!(Service::default().watchdog().is_none());
    }
}
