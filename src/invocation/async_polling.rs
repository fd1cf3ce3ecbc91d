//! `AsyncRequestReply`: 202 and a status URI; 200 there is "still running", 303 leads to the output.
//!
//! The opposite of long polling, where 200 is the end and 303 is not: the two share no helper that says which.

use super::action::{Final, Fired, Polled};
use super::common::{accepted, fired_elsewhere, hop, poll_trouble};
use super::event::Reply;
use super::location;
use super::phase::Code;
use crate::request::CallMode;
use crate::trigger::Trigger;

/// What an answer to the firing means.
pub(super) fn fired(reply: &Reply, trigger: &Trigger) -> Fired {
    match reply.status {
        202 => accepted(reply, CallMode::AsyncRequestReply, None),
        303 => accepted(
            reply,
            CallMode::LongPolling,
            Some("the trigger answered 303 as in LongPolling, not 202: followed by those rules"),
        ),
        200..=299 => Fired::Lost {
            mode: CallMode::AsyncRequestReply,
            code: Code::CallModeMismatch,
            location: location(reply),
        },
        401 => Fired::Unauthorized,
        status if trigger.not_started.contains(&status) => Fired::NotStarted,
        408 | 503 if reply.retry_after.is_some() => Fired::NotStarted,
        409 => Fired::NotStarted,
        408 | 500 | 503 => Fired::Ambiguous(Code::ServerError),
        status => fired_elsewhere(status).unwrap_or(Fired::Rejected(Code::Refused)),
    }
}

/// What an answer at the status URI means.
pub(super) fn polled(reply: &Reply) -> Polled {
    match reply.status {
        206 | 304 => Polled::Again(poll_trouble(reply.status)),
        202 => Polled::Running(location(reply)),
        200..=299 => Polled::Running(None),
        302 | 303 => location(reply).map_or(Polled::MissingLocation, Polled::Ended),
        301 | 307 | 308 => hop(reply),
        401 => Polled::Unauthorized,
        404 | 410 => Polled::Gone(Code::StatusLost),
        403 | 408 | 425 | 429 => Polled::Again(poll_trouble(reply.status)),
        400..=499 => Polled::LostIfRepeated,
        status => Polled::Again(poll_trouble(status)),
    }
}

/// What an answer at the output URI means.
pub(super) fn collected(reply: &Reply) -> Polled {
    match reply.status {
        202 => Polled::Running(None),
        206 | 304 => Polled::Again(poll_trouble(reply.status)),
        200..=299 => Polled::Final(Final::Output),
        302 | 303 => {
            location(reply).map_or(Polled::MissingLocation, |url| Polled::Hop { url, stored: false })
        }
        301 | 307 | 308 => hop(reply),
        401 => Polled::Unauthorized,
        404 | 410 => Polled::Gone(Code::OutputLost),
        403 | 408 | 425 | 429 => Polled::Again(poll_trouble(reply.status)),
        400..=499 => Polled::Final(Final::Fault),
        500 => Polled::FaultIfRepeated,
        status => Polled::Again(poll_trouble(status)),
    }
}
