//! The server side of the call modes: what a server that starts jobs answers to those who call it.
//!
//! Pure: no async, no clock, no IO, no logging. A job and a call go in, an [`Answer`] comes out; whoever asks keeps the
//! jobs, holds the calls that are to be held, and puts the answer on the wire. One file per call mode, as on the
//! client's side: 200 and 303 mean opposite things in async polling and in long polling.

pub mod arguments;
pub mod errors;
pub mod link;
pub mod manners;

mod async_polling;
mod fire_and_forget;
mod long_polling;

use bytes::Bytes;

use self::errors::Refusal;
use self::manners::{Manners, RetryAfter};
use crate::clock::UnixMillis;
use crate::request::CallMode;

/// What must be known of a job to answer for it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The mode in which it was started.
    pub mode: CallMode,
    /// When.
    pub created: UnixMillis,
    /// When and how it ends; that may be to come. None: not known yet, or never.
    pub end: Option<(UnixMillis, End)>,
}

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Well; the JSON text of its output, which may be empty.
    Output(Bytes),
    /// By an error of its own.
    Fault,
    /// It was asked to stop.
    Stopped,
    /// It was ended from outside.
    Killed,
    /// It took longer than a blocking call may.
    TooLong,
}

/// Where a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// The status URI.
    Status,
    /// The output URI.
    Output,
}

/// What a call is answered by.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The server's manners.
    pub manners: &'a Manners,
    /// The wall clock.
    pub now: UnixMillis,
    /// When the call came; earlier than `now` if it was held.
    pub asked_at: UnixMillis,
    /// A number for the `traceId` of an error.
    pub trace: u128,
}

/// What to do with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Answer it.
    Reply(Reply),
    /// Hold it until then, or until the job ends if that is sooner, and ask again.
    Hold(UnixMillis),
}

/// An answer, but for how it is written on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Where its Location leads to.
    pub link: Option<Leg>,
    /// Its Retry-After.
    pub retry_after: Option<RetryAfter>,
    /// Its body.
    pub content: Content,
}

/// A body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its Content-Type; none for an empty one.
    pub kind: Option<&'static str>,
    /// Its bytes.
    pub body: Bytes,
}

/// The answer to the call that started `job`.
#[must_use]
pub fn start(job: &Job, cx: &Context<'_>) -> Answer {
    match job.mode {
        CallMode::AsyncRequestReply => Answer::Reply(async_polling::started(cx)),
        CallMode::FireAndForget => Answer::Reply(fire_and_forget::started()),
        CallMode::LongPolling => long_polling::answer(job, cx),
    }
}

/// The answer at the status URI of `job`.
#[must_use]
pub fn status(job: &Job, cx: &Context<'_>) -> Answer {
    if job.is_expired(cx) {
        return Answer::Reply(Refusal::no_job().reply(cx.trace));
    }
    match job.mode {
        CallMode::AsyncRequestReply => Answer::Reply(async_polling::status(job, cx)),
        CallMode::FireAndForget => Answer::Reply(Refusal::no_job().reply(cx.trace)),
        CallMode::LongPolling => long_polling::answer(job, cx),
    }
}

/// The answer at the output URI of `job`.
#[must_use]
pub fn output(job: &Job, cx: &Context<'_>) -> Answer {
    let reply = match job.mode {
        CallMode::AsyncRequestReply if !job.is_expired(cx) => async_polling::output(job, cx),
        _ => Refusal::no_job().reply(cx.trace),
    };
    Answer::Reply(reply)
}

impl Job {
    /// When and how it ends, as far as is known. A job behind a blocking call ends at the cap at the latest.
    #[must_use]
    pub fn ends(&self, manners: &Manners) -> Option<(UnixMillis, &End)> {
        let planned = self.end.as_ref().map(|(at, end)| (*at, end));
        if self.mode != CallMode::LongPolling {
            return planned;
        }
        let cap = self.created.plus(manners.sync_cap);
        planned.filter(|(at, _)| *at <= cap).or(Some((cap, &End::TooLong)))
    }

    /// When and how it has ended.
    #[must_use]
    pub fn ended(&self, manners: &Manners, now: UnixMillis) -> Option<(UnixMillis, &End)> {
        self.ends(manners).filter(|(at, _)| *at <= now)
    }

    fn is_expired(&self, cx: &Context<'_>) -> bool {
        let Some((ended, _)) = self.ended(cx.manners, cx.now) else { return false };
        cx.manners.link_expiry.is_some_and(|expiry| ended.plus(expiry) <= cx.now)
    }
}

impl Reply {
    /// Without anything but the status.
    const fn bare(status: u16) -> Self {
        Self { status, link: None, retry_after: None, content: Content { kind: None, body: Bytes::new() } }
    }

    /// To somewhere.
    fn to(status: u16, link: Leg, retry_after: Option<RetryAfter>) -> Self {
        Self { link: Some(link), retry_after, ..Self::bare(status) }
    }

    /// What became of a job.
    fn result(ended: UnixMillis, end: &End, cx: &Context<'_>) -> Self {
        match end {
            End::Output(body) => Self { content: Content::json(body.clone()), ..Self::bare(200) },
            end => errors::fault(end, ended, cx),
        }
    }
}

impl Content {
    /// A JSON text; an empty one has no type.
    #[must_use]
    pub fn json(body: Bytes) -> Self {
        Self { kind: (!body.is_empty()).then_some("application/json; charset=utf-8"), body }
    }
}

impl Leg {
    /// Its name in a path.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Output => "output",
        }
    }
}

#[cfg(test)]
mod tests;
