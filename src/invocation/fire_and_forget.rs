//! `FireAndForget`: the answer to the firing is all there is; nothing is ever polled.

use super::action::Fired;
use super::common::fired_elsewhere;
use super::event::Reply;
use super::phase::Code;
use crate::trigger::Trigger;

/// What an answer to the firing means.
pub(super) fn fired(reply: &Reply, trigger: &Trigger) -> Fired {
    match reply.status {
        202 => Fired::Dispatched { keep_location: true },
        200..=299 | 303 => Fired::Dispatched { keep_location: false },
        401 => Fired::Unauthorized,
        status if trigger.not_started.contains(&status) => Fired::NotStarted,
        408 | 503 if reply.retry_after.is_some() => Fired::NotStarted,
        409 => Fired::NotStarted,
        408 | 500 | 503 => Fired::Ambiguous(Code::ServerError),
        status => fired_elsewhere(status).unwrap_or(Fired::Rejected(Code::Refused)),
    }
}
