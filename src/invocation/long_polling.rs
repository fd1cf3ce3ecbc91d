//! `LongPolling`: a call that blocks; 200 is the output, 303 leads to the next blocking call.

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
        202 => accepted(
            reply,
            CallMode::AsyncRequestReply,
            Some("the trigger answered 202 as in AsyncRequestReply: followed by those rules"),
        ),
        302 | 303 => accepted(reply, CallMode::LongPolling, None),
        200..=299 => Fired::Final(Final::Output),
        401 => Fired::Unauthorized,
        status if trigger.not_started.contains(&status) => Fired::NotStarted,
        408 | 503 => Fired::Ambiguous(Code::ServerError),
        500 => Fired::Fault,
        status => fired_elsewhere(status).unwrap_or(Fired::Final(Final::Fault)),
    }
}

/// What an answer at the status URI means.
pub(super) fn polled(reply: &Reply) -> Polled {
    match reply.status {
        202 => Polled::Running(location(reply)),
        206 | 304 => Polled::Again(poll_trouble(reply.status)),
        200..=299 => Polled::Final(Final::Output),
        302 | 303 => location(reply).map_or(Polled::MissingLocation, Polled::NextLeg),
        301 | 307 | 308 => hop(reply),
        401 => Polled::Unauthorized,
        404 | 410 => Polled::Gone(Code::StatusLost),
        403 | 408 | 425 | 429 => Polled::Again(poll_trouble(reply.status)),
        400..=499 => Polled::Final(Final::Fault),
        500 => Polled::FaultIfRepeated,
        status => Polled::Again(poll_trouble(status)),
    }
}
