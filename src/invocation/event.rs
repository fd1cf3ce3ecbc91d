//! All that the outside may tell the rules.

use std::time::Duration;

use url::Url;

use super::phase::Code;

/// Something happened to an invocation.
#[derive(Clone, Debug)]
pub enum Event {
    /// Its time has come; or, for one found in `triggering` at start, the process that fired it died.
    Due,
    /// Somebody asked for its end.
    Cancel,
    /// An exchange brought an answer.
    Replied(Reply),
    /// An exchange brought none.
    Broke(Break),
}

/// A final answer (never 1xx) of the far end.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The URL that answered: what a relative Location is resolved against.
    pub url: Url,
    /// The `Location` header, as text.
    pub location: Option<String>,
    /// The `Retry-After` header in either form, as a wait from now; not yet capped.
    pub retry_after: Option<Duration>,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// What came of the body.
    pub body: Body,
}

/// The body of an answer, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// At most the trigger's `max_output` bytes.
    pub bytes: Vec<u8>,
    /// How many bytes there are, as far as known: read, or announced.
    pub total: u64,
    /// Whether `bytes` is all of it.
    pub end: BodyEnd,
}

/// How reading a body ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyEnd {
    /// All of it came.
    #[default]
    Complete,
    /// Cut at the cap.
    Cut,
    /// The connection broke, or timed out, in the middle.
    Broken,
}

/// An exchange without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Break {
    /// Nothing of the request can have reached the far end.
    NotSent {
        /// `not_sent`, `credential_unavailable`, `forbidden_address`.
        code: Code,
        /// One line, without secrets.
        why: String,
    },
    /// The far end may have read it.
    MaybeSent {
        /// `connection_lost` or `response_timeout`.
        code: Code,
        /// One line, without secrets.
        why: String,
    },
}

impl Break {
    /// What to tell a person.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::NotSent { why, .. } | Self::MaybeSent { why, .. } => why,
        }
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::NotSent { code, .. } | Self::MaybeSent { code, .. } => *code,
        }
    }
}
