//! `AsyncRequestReply`: 202 and a status URI; 200 there is "still running", 303 leads to the output.
//!
//! The opposite of long polling, where 200 is the end and 303 is not: the two share no helper that says which.

use super::action::{Final, Fired, Polled};
use super::common::{fired_elsewhere, hop, poll_trouble};
use super::event::Reply;
use super::location;
use super::phase::Code;
use crate::request::CallMode;
use crate::trigger::Trigger;

/// What an answer to the firing means.
pub(super) fn fired(reply: &Reply, trigger: &Trigger) -> Fired {
    match reply.status {
        202 | 303 => match location(reply) {
            Some(status_uri) if reply.status == 202 => {
                Fired::Accepted { mode: CallMode::AsyncRequestReply, status_uri, warning: None }
            }
            Some(status_uri) => Fired::Accepted {
                mode: CallMode::LongPolling,
                status_uri,
                warning: Some("the trigger answered 303 as in LongPolling, not 202: followed by those rules"),
            },
            None => Fired::Lost { code: Code::MissingLocation, location: None, keep_body: true },
        },
        200..=299 => Fired::Lost { code: Code::CallModeMismatch, location: location(reply), keep_body: true },
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
