//! All that the rules may ask for.

use url::Url;

use super::phase::{Code, Invocation, Trouble};
use crate::clock::UnixMillis;
use crate::request::CallMode;

/// What one event makes of an invocation, and what to do next. `next` is committed before `action` is begun.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Step {
    /// Where it stands now.
    pub next: Invocation,
    /// What to do once that is stored.
    pub action: Action,
    /// The end of the firing that this event was, if it was one.
    pub attempt: Option<AttemptEnd>,
    /// What to keep of the answer's body.
    pub output: Option<Output>,
    /// Why, for the log.
    pub reason: &'static str,
    /// Something an operator should look at although things go on.
    pub warning: Option<&'static str>,
}

/// What the rules want done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// One exchange.
    Call(Call),
    /// Look again at this time.
    Snooze(UnixMillis),
    /// A firing is under way: its end decides.
    Await,
    /// Nothing more: the outcome is in the phase.
    Finish,
}

/// The wish for one exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Fire the trigger.
    Fire,
    /// Ask a status or output URI.
    Ask {
        /// Whom; its origin is allowed.
        url: Url,
        /// Whether the far end may hold it: a leg of long polling.
        held: bool,
        /// Whether the credential goes along.
        credential: bool,
    },
}

/// How a firing ended: `attempts.outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// A remote job was accepted.
    Accepted,
    /// The answer was final: an output or a fault.
    Answered,
    /// The far end said that nothing was started.
    Refused,
    /// Nothing was sent.
    NotSent,
    /// Nobody knows.
    Ambiguous,
}

impl AttemptOutcome {
    /// The spelling in `attempts.outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::NotSent => "not_sent",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// The row of `attempts` that a firing leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// When it was begun.
    pub started_at: UnixMillis,
    /// When its end was known.
    pub ended_at: UnixMillis,
    /// Status of the answer, if one came.
    pub http_status: Option<u16>,
    /// What it came to.
    pub outcome: AttemptOutcome,
    /// Where it said to go on.
    pub status_uri: Option<Url>,
    /// Why it did not do what was wanted.
    pub trouble: Option<Trouble>,
}

/// The row of `outputs`: at least one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// What came, up to the cap.
    pub body: Vec<u8>,
    /// The answer's `Content-Type`.
    pub content_type: Option<String>,
    /// How long it is in all.
    pub bytes: u64,
    /// Whether `body` is not all of it.
    pub truncated: bool,
}

/// An event that cannot happen in this phase: a bug of the caller, or a row that somebody changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} is no event of a request that is {phase}")]
pub struct Illegal {
    /// The event's name.
    pub event: &'static str,
    /// The state.
    pub phase: &'static str,
}

/// What an answer to the firing means, by the table of its call mode.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fired {
    /// A remote job was accepted; ask here, by the rules of this mode.
    Accepted { mode: CallMode, status_uri: Url, warning: Option<&'static str> },
    /// Fire and forget: accepted, and that is all.
    Dispatched { keep_location: bool },
    /// The answer is the end of it.
    Final(Final),
    /// Accepted, but there is nothing to follow: `uncertain` at once. `mode`: whose rules a person may follow it by.
    Lost { mode: CallMode, code: Code, location: Option<Url> },
    /// The remote job faulted in a way that may be fired again if the trigger says so.
    Fault,
    /// Surely not started.
    NotStarted,
    /// Surely not started: the credential was refused.
    Unauthorized,
    /// Surely not started, and firing again will not help.
    Rejected(Code),
    /// It may have started a remote job.
    Ambiguous(Code),
}

/// A final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Final {
    /// The body is the output.
    Output,
    /// The body says what went wrong.
    Fault,
}

/// What an answer to a poll means, by the table of the mode in force.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Polled {
    /// Not ended: ask again at the growing interval, at the new URI if there is one.
    Running(Option<Url>),
    /// Not ended: ask this at once.
    NextLeg(Url),
    /// Ended: the output is here.
    Ended(Url),
    /// The same question, elsewhere; `stored` if for good.
    Hop { url: Url, stored: bool },
    /// The answer is the end of it.
    Final(Final),
    /// The credential was refused.
    Unauthorized,
    /// Something is wrong with asking; ask again.
    Again(Code),
    /// 404 or 410: ask again for a while.
    Gone(Code),
    /// 500 where that is a fault after the third in a row.
    FaultIfRepeated,
    /// An unreadable status: given up after the third in a row.
    LostIfRepeated,
    /// A redirect without a target.
    MissingLocation,
}
