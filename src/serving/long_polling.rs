//! `LongPolling`: a call that blocks; 200 is the output, 303 leads to the next blocking call.

use super::{Answer, Context, Job, Leg, Reply};

/// The same for the call that starts the job and for each that asks for it.
pub(super) fn answer(job: &Job, cx: &Context<'_>) -> Answer {
    let ends = job.ends(cx.manners);
    let patience = cx.asked_at.plus(cx.manners.hold);
    match ends {
        Some((at, end)) if at <= cx.now => Answer::Reply(Reply::result(at, end, cx)),
        _ if patience <= cx.now => {
            Answer::Reply(Reply::to(cx.manners.redirect_status, Leg::Status, cx.manners.retry_after))
        }
        Some((at, _)) => Answer::Hold(at.min(patience)),
        None => Answer::Hold(patience),
    }
}
