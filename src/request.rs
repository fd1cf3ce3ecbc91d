//! What a producer asked for: one checked row of the table `requests`.
//!
//! A leaf: no SQL, no HTTP. `queue::row` makes it from bytes, `client` puts it on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;

/// How a trigger is called and followed. Spelled the same in SQL, in the configuration and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CallMode {
    /// 202 and a status URI that is polled until it leads to the output.
    AsyncRequestReply,
    /// The answer to the firing is all that will be known.
    FireAndForget,
    /// A call that blocks, and 303 to the next blocking call, until the answer is the output.
    LongPolling,
}

impl CallMode {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::AsyncRequestReply, Self::FireAndForget, Self::LongPolling];

    /// The one spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsyncRequestReply => "AsyncRequestReply",
            Self::FireAndForget => "FireAndForget",
            Self::LongPolling => "LongPolling",
        }
    }
}

impl fmt::Display for CallMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call mode that is none of the three spellings.
#[derive(Debug, thiserror::Error)]
#[error("unknown call mode {0:?}: it is AsyncRequestReply, FireAndForget or LongPolling")]
pub struct UnknownCallMode(pub String);

impl FromStr for CallMode {
    type Err = UnknownCallMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| UnknownCallMode(text.to_owned()))
    }
}

/// What goes on the wire for one request: fixed once it has been fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `requests.id`.
    pub id: i64,
    /// The text of one JSON object, argument name to value, without `$callMode`.
    pub arguments: String,
    /// W3C trace context to pass on, already checked.
    pub traceparent: Option<String>,
    /// When the row was inserted; part of the Idempotency-Key.
    pub created_at: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_mode_has_one_spelling() {
        for mode in CallMode::ALL {
            assert_eq!(mode.as_str().parse::<CallMode>().unwrap(), mode);
        }
        assert!("longpolling".parse::<CallMode>().is_err());
        assert!(" LongPolling".parse::<CallMode>().is_err());
    }
}
