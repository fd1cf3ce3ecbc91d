//! The wire: one outbound HTTP exchange at a time, and whether exchanges with a credential may begin.
//!
//! Owns connections, credentials and limits of size and time. Decides nothing about what an answer means: it says
//! what came, or what is known of a request that brought no answer. Called by `dispatch`, which fakes [`Client`] in its
//! tests.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::clock::UnixMillis;
use crate::invocation::{Break, Code, Reply};
use crate::request::{CallMode, Request};
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
    },
    /// A GET of a status or output URI.
    Ask {
        /// Where; nothing is sent to an origin that the trigger does not allow.
        url: Url,
        /// Whether the credential goes along.
        credential: bool,
    },
}
