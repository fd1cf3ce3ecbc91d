//! The wire: one outbound HTTP exchange at a time, and whether exchanges with a credential may begin.
//!
//! Owns connections, credentials and limits of size and time. Decides nothing about what an answer means: it says
//! what came, or what is known of a request that brought no answer. Called by `dispatch`, which fakes [`Client`] in its
//! tests.

mod answer;
mod arguments;
mod asking;
mod auth;
mod connect;
mod departure;
mod firing;
mod gate;
mod names;
mod pool;
mod probe;
mod retry_after;
mod shelf;

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Sleep;
use url::Url;

use self::asking::Asker;
use self::auth::{Keyring, Pass};
use self::connect::Connector;
pub use self::departure::Departure;
use self::firing::Firing;
use self::names::Names;
use self::pool::Pool;
pub use self::probe::{Probed, probe};
use crate::clock::{Clock, UnixMillis};
use crate::invocation::{Break, Code, Reply};
use crate::request::{CallMode, Request};
use crate::secret::Credential;
use crate::trigger::Trigger;

/// What the dispatcher needs of the wire.
pub trait Client: Clone + Send + Sync + 'static {
    /// One exchange. Follows no redirect, and repeats nothing that may have been sent.
    ///
    /// # Errors
    /// [`Break`] when no answer came: it says whether anything can have reached the far end.
    fn exchange(&self, order: Order) -> impl Future<Output = Result<Reply, Break>> + Send;

    /// Whether exchanges for `trigger` may begin. To be asked right before one: [`Admission::Probe`] is granted to one
    /// caller at a time.
    fn admission(&self, trigger: &Trigger, now: UnixMillis) -> Admission;

    /// The same, for planning: grants nothing.
    fn outlook(&self, trigger: &Trigger, now: UnixMillis) -> Admission;
}

/// Whether an exchange may begin, as far as the trigger's credential is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Any number.
    Open,
    /// This one: its answer decides. If it does not begin after all, the grant lapses by itself.
    Probe,
    /// None.
    Shut {
        /// When to ask again.
        until: UnixMillis,
        /// `credential_refused` or `credential_unavailable`.
        code: Code,
    },
}

/// One exchange to make.
#[derive(Clone, Debug)]
pub struct Order {
    /// The trigger fired, or whose remote job is asked for.
    pub trigger: Arc<Trigger>,
    /// What to send.
    pub wish: Wish,
    /// The whole exchange, from now to the end of the answer.
    pub timeout: Duration,
}

/// What to send.
#[derive(Clone, Debug)]
pub enum Wish {
    /// The trigger itself.
    Fire {
        /// With what.
        request: Arc<Request>,
        /// In which mode.
        call_mode: CallMode,
        /// Visible ASCII, the same for all attempts of a round.
        idempotency_key: String,
        /// To be told right before anything is sent.
        departure: Departure,
    },
    /// A GET of a status or output URI.
    Ask {
        /// Where; nothing is sent to an origin that the trigger does not allow.
        url: Url,
        /// Whether the credential goes along.
        credential: bool,
    },
}

/// The real wire. Cheap to clone.
pub struct HttpClient<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    clock: K,
    pool: Pool,
    asker: Asker,
    setup: RwLock<Arc<Setup>>,
}

/// What a reload replaces.
struct Setup {
    keys: Keyring,
    firings: Mutex<HashMap<String, Arc<Firing>>>,
}

/// The wire could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up TLS")]
pub struct Error(#[from] rustls::Error);

impl<K: Clock> HttpClient<K> {
    /// Reads the secrets of `credentials`; one that cannot be read keeps its triggers waiting.
    ///
    /// # Errors
    /// When the crypto library cannot be used.
    pub fn new(credentials: HashMap<String, Credential>, clock: K) -> Result<Self, Error> {
        let tls = connect::tls()?;
        let setup = RwLock::new(Arc::new(Setup::new(credentials, clock.now())));
        let names = Names::default();
        let pool = Pool::new(Connector::new(tls.clone(), names.clone()));
        Ok(Self { inner: Arc::new(Inner { clock, pool, asker: Asker::new(tls, names), setup }) })
    }

    /// Takes over new credentials, reads all secrets again and opens all gates.
    pub fn reload(&self, credentials: HashMap<String, Credential>) {
        let setup = Arc::new(Setup::new(credentials, self.inner.clock.now()));
        *self.inner.setup.write().unwrap_or_else(PoisonError::into_inner) = setup;
    }

    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.inner.setup.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn fire(
        &self,
        setup: &Setup,
        pass: &Pass,
        order: &Order,
        (request, call_mode, key): (&Request, CallMode, &str),
        departure: &Departure,
        timer: Pin<&mut Sleep>,
    ) -> Result<Reply, Break> {
        let trigger = &order.trigger;
        let firing = setup.firing(trigger, &self.inner.pool)?;
        let letter = firing.letter(request, call_mode, key, pass.token())?;
        let (timeout, cap) = (trigger.connect_timeout, trigger.max_output);
        let exchange = firing.origin().exchange(|| letter.request(), departure, timeout, cap, timer);
        let (parts, body) = exchange.await?;
        answer::reply(&parts, body, letter.url, self.inner.clock.now())
    }

    async fn ask(
        &self,
        pass: &Pass,
        trigger: &Trigger,
        url: &Url,
        timer: Pin<&mut Sleep>,
    ) -> Result<Reply, Break> {
        let (timeout, cap) = (trigger.connect_timeout, trigger.max_output);
        let (parts, body) = self.inner.asker.ask(url.clone(), pass.token(), timeout, cap, timer).await?;
        answer::reply(&parts, body, url.clone(), self.inner.clock.now())
    }
}

impl<K: Clock> Client for HttpClient<K> {
    async fn exchange(&self, order: Order) -> Result<Reply, Break> {
        let setup = self.setup();
        let timer = pin!(tokio::time::sleep(order.timeout));
        let trigger = &order.trigger;
        let (pass, end) = match &order.wish {
            Wish::Fire { request, call_mode, idempotency_key, departure } => {
                let pass = setup.keys.enter(trigger)?;
                let what = (&**request, *call_mode, idempotency_key.as_str());
                let end = self.fire(&setup, &pass, &order, what, departure, timer).await;
                (pass, end)
            }
            Wish::Ask { url, credential } => {
                let url = without_userinfo(url);
                // The rules have seen to it; but this is where the credential would leave.
                if !trigger.allows(&url) {
                    let origin = url.origin().ascii_serialization();
                    let why = format!("nothing is sent to {origin}, which allowed_origins does not name");
                    return Err(Break::NotSent { code: Code::ForbiddenOrigin, why });
                }
                let pass = if *credential { setup.keys.enter(trigger)? } else { Pass::without_credential() };
                let end = self.ask(&pass, trigger, &url, timer).await;
                (pass, end)
            }
        };
        pass.report(&end, self.inner.clock.now());
        end
    }

    fn admission(&self, trigger: &Trigger, now: UnixMillis) -> Admission {
        self.setup().keys.admission(trigger, now)
    }

    fn outlook(&self, trigger: &Trigger, now: UnixMillis) -> Admission {
        self.setup().keys.outlook(trigger, now)
    }
}

impl<K> Clone for HttpClient<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl Setup {
    fn new(credentials: HashMap<String, Credential>, now: UnixMillis) -> Self {
        Self { keys: Keyring::new(credentials, now), firings: Mutex::default() }
    }

    /// `trigger` made ready; kept until another configuration of the same name comes.
    fn firing(&self, trigger: &Arc<Trigger>, pool: &Pool) -> Result<Arc<Firing>, Break> {
        let mut firings = self.firings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(firing) = firings.get(&trigger.name)
            && Arc::ptr_eq(firing.trigger(), trigger)
        {
            return Ok(Arc::clone(firing));
        }
        let firing = Arc::new(Firing::new(trigger, pool)?);
        firings.insert(trigger.name.clone(), Arc::clone(&firing));
        Ok(firing)
    }
}

/// Userinfo would be sent as a credential of the far end's own making.
fn without_userinfo(url: &Url) -> Url {
    let mut url = url.clone();
    // Fails only for URLs that cannot have any.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url
}

const fn not_sent(why: String) -> Break {
    Break::NotSent { code: Code::NotSent, why }
}

const fn lost(why: String) -> Break {
    Break::MaybeSent { code: Code::ConnectionLost, why }
}

const fn too_slow(why: String) -> Break {
    Break::MaybeSent { code: Code::ResponseTimeout, why }
}
