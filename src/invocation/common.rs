//! The cells of the table that read the same in every call mode.

use super::action::{Fired, Polled};
use super::event::Reply;
use super::location;
use super::phase::Code;
use crate::request::CallMode;

/// What a status means to a firing in every mode; `None` where the modes differ.
pub(super) fn fired_elsewhere(status: u16) -> Option<Fired> {
    Some(match status {
        300..=399 => Fired::Rejected(Code::UnexpectedRedirect),
        407 | 421 | 425 | 429 | 511 => Fired::NotStarted,
        403 | 404 | 405 | 411 | 413 | 414 | 415 | 431 | 501 | 505 => Fired::Rejected(Code::Refused),
        499 => Fired::Ambiguous(Code::ConnectionLost),
        400..=499 => return None,
        500..=599 => Fired::Ambiguous(Code::GatewayError),
        _ => Fired::Ambiguous(Code::ConnectionLost),
    })
}

/// An answer that names the status URI to follow by the rules of `mode`, or should.
pub(super) fn accepted(reply: &Reply, mode: CallMode, warning: Option<&'static str>) -> Fired {
    match location(reply) {
        Some(status_uri) => Fired::Accepted { mode, status_uri, warning },
        None => Fired::Lost { mode, code: Code::MissingLocation, location: None },
    }
}

/// 301, 307, 308: the same question elsewhere; the first and the last for good.
pub(super) fn hop(reply: &Reply) -> Polled {
    location(reply).map_or(Polled::MissingLocation, |url| Polled::Hop { url, stored: reply.status != 307 })
}

/// The code that a poll's answer leaves while the status is asked again.
pub(super) const fn poll_trouble(status: u16) -> Code {
    match status {
        401 => Code::CredentialRefused,
        403 | 425 | 429 => Code::Refused,
        408 | 500 | 503 => Code::ServerError,
        501..=599 => Code::GatewayError,
        206 => Code::OutputUnreadable,
        300..=399 => Code::UnexpectedRedirect,
        _ => Code::ConnectionLost,
    }
}
