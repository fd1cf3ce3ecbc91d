//! An accepted remote job: asking its status URI, then its output URI. Only GETs, always safe to repeat.

use std::time::Duration;

use url::Url;

use super::action::{Final, Polled};
use super::phase::{Run, RunKind};
use super::{
    Action, BodyEnd, Break, Call, Code, Context, Outcome, Phase, Reply, Step, Trouble, Turn, asked_wait,
    async_polling, long_polling,
};
use crate::backoff::lengthened;
use crate::clock::UnixMillis;
use crate::request::CallMode;

/// Redirects followed in a row before they are called a loop.
const MAX_HOPS: u8 = 5;
/// Equal bad answers in a row before they are believed.
const BELIEVED: u32 = 3;
/// A blocking leg begins no sooner than this after the one before: a far end that answers 303 at once must not be
/// asked in a spin.
const LEG_FLOOR: Duration = Duration::from_millis(100);
/// The columns know no shorter time; a wait of nothing would be a spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
/// Polls drift apart by at most this share of their interval. Little, because each wait adds to how late the end is
/// seen; the times of acceptance spread them already.
const SPREAD: f64 = 0.01;

/// The trigger accepted a remote job.
pub(super) fn accepted(
    mut turn: Turn,
    mode: CallMode,
    status_uri: Url,
    retry_after: Option<Duration>,
    cx: &Context<'_>,
) -> Step {
    turn.next.effective_mode = Some(mode);
    turn.next.accept(cx.now);
    turn.next.status_uri = Some(status_uri.clone());
    turn.next.phase = Phase::Polling(status_uri);
    turn.next.trouble = None;
    if turn.next.cancel_requested {
        return turn.cancel();
    }
    if turn.next.is_late(cx.now) {
        return expire(turn);
    }
    match mode {
        CallMode::LongPolling => ask(turn, next_leg(retry_after, cx), cx, "accepted"),
        _ => wait(turn, retry_after, None, cx, "accepted"),
    }
}

/// Its time has come. Also after the deadline: one last look may find the job ended.
pub(super) fn begin(turn: Turn, cx: &Context<'_>) -> Step {
    ask(turn, cx.now, cx, "due")
}

/// Asks the stored URI at `at`.
fn ask(mut turn: Turn, at: UnixMillis, cx: &Context<'_>, reason: &'static str) -> Step {
    turn.next.hops = 0;
    match turn.next.phase.clone() {
        Phase::Polling(url) | Phase::Collecting(url) => ask_url(turn, url, at, cx, reason),
        // Not followed: `step` and `accepted` let no such phase come here.
        Phase::Pending | Phase::Triggering | Phase::Finished(_) => turn.into_step(Action::Finish, reason),
    }
}

/// Asks `url` at `at`, if it may be asked at all: otherwise nothing is sent, and the row waits for a configuration
/// that allows it.
fn ask_url(mut turn: Turn, url: Url, at: UnixMillis, cx: &Context<'_>, reason: &'static str) -> Step {
    if !cx.trigger.allows(&url) {
        let trouble = Trouble::new(
            Code::ForbiddenOrigin,
            format!(
                "the next URI is at {}, which allowed_origins does not name",
                url.origin().ascii_serialization()
            ),
        );
        turn.next.trouble = Some(trouble);
        if turn.next.is_late(cx.now) {
            return end_at_deadline(turn);
        }
        let until = turn.next.deadline_at.unwrap_or_else(|| cx.now.plus(cx.trigger.poll.max));
        return turn.into_step(Action::Snooze(until), "its origin is not allowed");
    }
    let at = turn.next.deadline_at.map_or(at, |deadline| at.min(deadline));
    if at <= cx.now {
        let held = turn.next.is_held();
        let credential =
            cx.trigger.credential_on_status || turn.next.effective_mode != Some(CallMode::LongPolling);
        return turn.into_step(Action::Call(Call::Ask { url, held, credential }), reason);
    }
    turn.into_step(Action::Snooze(at), reason)
}

/// When the next blocking leg begins: at once, above the floor, unless the far end asked for a wait.
fn next_leg(retry_after: Option<Duration>, cx: &Context<'_>) -> UnixMillis {
    // The wall clock may have stepped back since the exchange began.
    let floor = cx.asked_at.min(cx.now).plus(LEG_FLOOR);
    asked_wait(retry_after, cx).map_or(floor, |wait| cx.now.plus(wait).max(floor))
}

/// The poll brought no answer.
pub(super) fn broke(mut turn: Turn, broke: &Break, cx: &Context<'_>) -> Step {
    let cut_short = broke.code() == Code::ResponseTimeout
        && turn.next.is_late(cx.now)
        && cx.now.since(cx.asked_at) < cx.trigger.response_timeout;
    if cut_short {
        // We hung up at the deadline; what the poll before said still holds.
        return end_at_deadline(turn);
    }
    polled(&mut turn, None, cx);
    again(turn, Trouble::new(broke.code(), broke.why()), None, cx)
}

/// The poll was answered.
pub(super) fn replied(mut turn: Turn, reply: Reply, cx: &Context<'_>) -> Step {
    polled(&mut turn, Some(reply.status), cx);
    let collecting = matches!(turn.next.phase, Phase::Collecting(_));
    let mut meaning = if collecting {
        async_polling::collected(&reply)
    } else if turn.next.effective_mode == Some(CallMode::LongPolling) {
        long_polling::polled(&reply)
    } else {
        async_polling::polled(&reply)
    };
    if matches!(meaning, Polled::Final(_)) && reply.body.end == BodyEnd::Broken {
        meaning = Polled::Again(Code::OutputUnreadable);
    }
    let run = run_of(&meaning, turn.next.memory.run, cx.now);
    turn.next.memory.run = run;
    let run = run.unwrap_or(Run { kind: RunKind::Lost, count: 0, since: cx.now });
    let status = reply.status;
    let bad = |code: Code| Trouble::new(code, format!("the {} URI answered {status}", whose(collecting)));

    match meaning {
        Polled::Running(new) => {
            turn.next.trouble = None;
            if let Some(new) = new {
                turn.next.status_uri = Some(new.clone());
                turn.next.phase = Phase::Polling(new);
            }
            still_running(turn, reply.retry_after, cx)
        }
        Polled::NextLeg(new) => {
            turn.next.trouble = None;
            turn.next.memory.waits = 0;
            turn.next.status_uri = Some(new.clone());
            turn.next.phase = Phase::Polling(new);
            if turn.next.is_late(cx.now) {
                return expire(turn);
            }
            ask(turn, next_leg(reply.retry_after, cx), cx, "not ended")
        }
        Polled::Ended(output_uri) => {
            turn.next.trouble = None;
            turn.next.memory.waits = 0;
            turn.next.phase = Phase::Collecting(output_uri);
            let at = asked_wait(reply.retry_after, cx).map_or(cx.now, |wait| cx.now.plus(wait));
            ask(turn, at, cx, "the remote job ended")
        }
        Polled::Hop { url, stored } => {
            turn.next.hops += 1;
            if turn.next.hops > MAX_HOPS {
                let trouble =
                    Trouble::new(Code::RedirectLoop, format!("more than {MAX_HOPS} redirects in a row"));
                return turn.finish(Outcome::Uncertain, Some(trouble), "redirects in a circle");
            }
            if stored && collecting {
                turn.next.phase = Phase::Collecting(url.clone());
            } else if stored {
                turn.next.status_uri = Some(url.clone());
                turn.next.phase = Phase::Polling(url.clone());
            }
            ask_url(turn, url, cx.now, cx, "redirected")
        }
        Polled::Final(Final::Fault) => turn.fault(reply, cx),
        Polled::Final(Final::Output) => turn.succeed(reply, cx),
        Polled::FaultIfRepeated if run.count >= BELIEVED => turn.fault(reply, cx),
        Polled::LostIfRepeated if run.count >= BELIEVED => lose_sight(turn, bad(Code::StatusLost)),
        Polled::Gone(code) if cx.now.since(run.since) >= cx.trigger.lost_grace => lose_sight(turn, bad(code)),
        Polled::Gone(code) => {
            let until = run.since.plus(cx.trigger.lost_grace);
            again_by(turn, bad(code), reply.retry_after, Some(until), cx)
        }
        Polled::FaultIfRepeated => again(turn, bad(Code::ServerError), reply.retry_after, cx),
        Polled::LostIfRepeated => again(turn, bad(Code::StatusLost), reply.retry_after, cx),
        Polled::Unauthorized => again(turn, bad(Code::CredentialRefused), reply.retry_after, cx),
        Polled::Again(code) => again(turn, bad(code), reply.retry_after, cx),
        Polled::MissingLocation => {
            let message = format!("the {} URI answered {status} without a Location", whose(collecting));
            let trouble = Trouble::new(Code::MissingLocation, message);
            turn.finish(Outcome::Uncertain, Some(trouble), "nothing to follow")
        }
    }
}

/// The unbroken run of bad answers that this one belongs to. A redirect does not answer the question, so it neither
/// breaks a run nor counts in one: else a URI that leads to a 404 each time would be asked without end.
fn run_of(meaning: &Polled, before: Option<Run>, now: UnixMillis) -> Option<Run> {
    let kind = match meaning {
        Polled::Hop { .. } => return before,
        Polled::Gone(_) => RunKind::Lost,
        Polled::FaultIfRepeated => RunKind::Fault,
        Polled::LostIfRepeated => RunKind::Unreadable,
        _ => return None,
    };
    Some(match before {
        // No later than now: a clock that was set back would make the grace longer.
        Some(run) if run.kind == kind => {
            Run { count: run.count.saturating_add(1), since: run.since.min(now), ..run }
        }
        _ => Run { kind, count: 1, since: now },
    })
}

const fn whose(collecting: bool) -> &'static str {
    if collecting { "output" } else { "status" }
}

fn polled(turn: &mut Turn, status: Option<u16>, cx: &Context<'_>) {
    turn.next.polls = turn.next.polls.saturating_add(1);
    turn.next.last_polled_at = Some(cx.now);
    turn.next.http_status = status;
}

fn still_running(turn: Turn, retry_after: Option<Duration>, cx: &Context<'_>) -> Step {
    if turn.next.is_late(cx.now) {
        return expire(turn);
    }
    wait(turn, retry_after, None, cx, "still running")
}

/// Something was wrong with asking: ask again, until the deadline.
fn again(turn: Turn, trouble: Trouble, retry_after: Option<Duration>, cx: &Context<'_>) -> Step {
    again_by(turn, trouble, retry_after, None, cx)
}

fn again_by(
    mut turn: Turn,
    trouble: Trouble,
    retry_after: Option<Duration>,
    by: Option<UnixMillis>,
    cx: &Context<'_>,
) -> Step {
    turn.next.trouble = Some(trouble);
    if turn.next.is_late(cx.now) {
        return end_at_deadline(turn);
    }
    wait(turn, retry_after, by, cx, "asked in vain")
}

fn wait(
    mut turn: Turn,
    retry_after: Option<Duration>,
    by: Option<UnixMillis>,
    cx: &Context<'_>,
    reason: &'static str,
) -> Step {
    let nth = turn.next.memory.waits;
    turn.next.memory.waits = nth.saturating_add(1);
    let at = if let Some(wait) = asked_wait(retry_after, cx) {
        cx.now.plus(wait)
    } else {
        let at = cx.now.plus(lengthened(cx.trigger.poll.delay(nth), SPREAD, cx.chance));
        by.map_or(at, |by| at.min(by))
    };
    ask(turn, at.max(cx.now.plus(SHORTEST_WAIT)), cx, reason)
}

/// At the deadline: what the last poll said decides whether the truth is known.
fn end_at_deadline(mut turn: Turn) -> Step {
    match turn.next.trouble.take() {
        None => expire(turn),
        // The doubt of the round names the end, as it does for every end by the deadline.
        Some(trouble) if turn.next.memory.doubt.is_some() => {
            turn.finish(Outcome::Expired, Some(trouble), "the deadline passed")
        }
        Some(trouble) => lose_sight(turn, trouble),
    }
}

fn expire(turn: Turn) -> Step {
    let trouble = Trouble::new(
        Code::Deadline,
        "the deadline passed; the remote job was still running at the last look",
    );
    turn.finish(Outcome::Expired, Some(trouble), "the deadline passed")
}

/// How the job ended cannot be learned any more.
fn lose_sight(turn: Turn, trouble: Trouble) -> Step {
    turn.finish(Outcome::Uncertain, Some(trouble), "lost sight of the remote job")
}
