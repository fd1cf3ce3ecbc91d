//! `AsyncRequestReply`: 202 and a status URI; 200 there is "still running", 303 leads to the output.

use bytes::Bytes;

use super::errors::Refusal;
use super::{Content, Context, Job, Leg, Reply};

/// What starts the job is never kept waiting.
pub(super) fn started(cx: &Context<'_>) -> Reply {
    Reply::to(202, Leg::Status, cx.manners.retry_after)
}

/// The end can be asked for again and again.
pub(super) fn status(job: &Job, cx: &Context<'_>) -> Reply {
    match job.ended(cx.manners, cx.now) {
        None => {
            let body = Bytes::from_static(cx.manners.running_body.as_str().as_bytes());
            Reply { content: Content::json(body), retry_after: cx.manners.retry_after, ..Reply::bare(200) }
        }
        Some(_) => Reply::to(cx.manners.redirect_status, Leg::Output, cx.manners.retry_after),
    }
}

/// Nobody has a link to it before the end.
pub(super) fn output(job: &Job, cx: &Context<'_>) -> Reply {
    match job.ended(cx.manners, cx.now) {
        Some((at, end)) => Reply::result(at, end, cx),
        None => Refusal::no_job().reply(cx.trace),
    }
}
