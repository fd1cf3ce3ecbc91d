//! The firing of a trigger: its begin, its answer or break, and whether it may be fired again.

use std::time::Duration;

use url::Url;

use super::action::{Final, Fired};
use super::{
    Action, AttemptEnd, AttemptOutcome, Break, Call, Code, Context, Invocation, Memory, Outcome, Phase,
    Reply, Step, Trouble, Turn, asked_wait, async_polling, fire_and_forget, following, long_polling,
};
use crate::backoff::shortened;
use crate::clock::UnixMillis;
use crate::request::CallMode;

/// A pending invocation is due: fire, unless it is too late.
pub(super) fn begin(mut turn: Turn, cx: &Context<'_>) -> Step {
    if let Some(end) = ended_before_start(&turn, cx) {
        return end.apply(turn);
    }
    let mode = turn.next.firing_mode(cx.trigger);
    turn.next.phase = Phase::Triggering;
    turn.next.attempt = turn.next.attempt.saturating_add(1);
    turn.next.started_at.get_or_insert(cx.now);
    if turn.next.deadline_at.is_none() {
        turn.next.deadline_at = Some(cx.now.plus(cx.trigger.deadline(mode)));
        turn.next.memory.counted_deadline = true;
    }
    turn.into_step(Action::Call(Call::Fire), "due")
}

impl Invocation {
    /// As it was before its intent, whose firing was never sent and is not charged. Whether it was the first of its round is
    /// known by what the round remembers; when it became due is not known any more.
    #[must_use]
    pub fn before_intent(mut self) -> Self {
        let first = Memory { counted_deadline: self.memory.counted_deadline, ..Memory::default() };
        if self.memory == first {
            self.started_at = None;
            if self.memory.counted_deadline {
                self.deadline_at = None;
                self.memory.counted_deadline = false;
            }
        }
        Self { phase: Phase::Pending, attempt: self.attempt.saturating_sub(1), ..self }
    }
}

impl AttemptEnd {
    /// The end of a firing that was intended when the daemon died, and was never sent.
    #[must_use]
    pub fn unsent(intended: &Invocation, now: UnixMillis) -> Self {
        let message = "the daemon ended before the trigger was fired; fired again, not charged";
        let started_at = intended.started_at.unwrap_or(now);
        Self {
            started_at,
            ended_at: now.max(started_at),
            http_status: None,
            outcome: AttemptOutcome::NotSent,
            status_uri: None,
            trouble: Some(Trouble::new(Code::NotSent, message)),
        }
    }
}

/// Why an invocation that is not with the far end must not be fired (again).
enum Early {
    Cancelled,
    Late,
    Stale,
}

fn ended_before_start(turn: &Turn, cx: &Context<'_>) -> Option<Early> {
    if turn.next.cancel_requested {
        Some(Early::Cancelled)
    } else if turn.next.is_late(cx.now) {
        Some(Early::Late)
    } else if turn.next.is_stale(cx.now) {
        Some(Early::Stale)
    } else {
        None
    }
}

impl Early {
    fn apply(self, turn: Turn) -> Step {
        let last = turn.next.trouble.as_ref().map_or_else(String::new, |t| format!("; last: {}", t.message));
        match self {
            Self::Cancelled => turn.cancel(),
            Self::Late => {
                let message = format!("the deadline passed before a remote job was accepted{last}");
                let trouble = Trouble::new(Code::Deadline, message);
                turn.finish(Outcome::Expired, Some(trouble), "the deadline passed")
            }
            Self::Stale => {
                let message = format!("no remote job was accepted before expires_at{last}");
                let trouble = Trouble::new(Code::NotStartedInTime, message);
                turn.finish(Outcome::Expired, Some(trouble), "not started in time")
            }
        }
    }
}

/// The process that fired it died before the end was stored.
pub(super) fn interrupted(mut turn: Turn, cx: &Context<'_>) -> Step {
    let trouble = Trouble::new(
        Code::Interrupted,
        "the daemon ended while the trigger was being fired; the remote job may have been started",
    );
    // When this firing began died with the process; it was not before the first one of the round.
    let started_at = turn.next.started_at.unwrap_or(cx.now);
    turn.next.http_status = None;
    turn.attempt = Some(AttemptEnd {
        started_at,
        ended_at: cx.now.max(started_at),
        http_status: None,
        outcome: AttemptOutcome::Ambiguous,
        status_uri: None,
        trouble: Some(trouble.clone()),
    });
    ambiguous(turn, trouble, None, cx)
}

/// The firing brought no answer.
pub(super) fn broke(mut turn: Turn, broke: &Break, cx: &Context<'_>) -> Step {
    let trouble = Trouble::new(broke.code(), broke.why());
    turn.next.http_status = None;
    match broke {
        // It cannot be sent as it is, and would not be the next time.
        Break::NotSent { code: Code::InvalidRequest, .. } => {
            turn.attempt = Some(attempt(AttemptOutcome::NotSent, None, None, Some(&trouble), cx));
            turn.finish(Outcome::Rejected, Some(trouble), "the request cannot be sent")
        }
        Break::NotSent { code, .. } => {
            turn.attempt = Some(attempt(AttemptOutcome::NotSent, None, None, Some(&trouble), cx));
            let counts = *code != Code::CredentialUnavailable;
            not_started(turn, trouble, counts, None, cx)
        }
        Break::MaybeSent { .. } => {
            turn.attempt = Some(attempt(AttemptOutcome::Ambiguous, None, None, Some(&trouble), cx));
            ambiguous(turn, trouble, None, cx)
        }
    }
}

/// The trigger answered.
pub(super) fn replied(mut turn: Turn, reply: Reply, cx: &Context<'_>) -> Step {
    let mode = turn.next.firing_mode(cx.trigger);
    let status = reply.status;
    turn.next.http_status = Some(status);
    let fired = match mode {
        CallMode::AsyncRequestReply => async_polling::fired(&reply, cx.trigger),
        CallMode::LongPolling => long_polling::fired(&reply, cx.trigger),
        CallMode::FireAndForget => fire_and_forget::fired(&reply, cx.trigger),
    };
    let mut end = |outcome, uri: Option<&Url>, trouble: Option<&Trouble>| {
        turn.attempt = Some(attempt(outcome, Some(status), uri, trouble, cx));
    };
    match fired {
        Fired::Accepted { mode, status_uri, warning } => {
            end(AttemptOutcome::Accepted, Some(&status_uri), None);
            turn.warning = warning;
            following::accepted(turn, mode, status_uri, reply.retry_after, cx)
        }
        Fired::Dispatched { keep_location } => {
            let uri = super::location(&reply).filter(|_| keep_location);
            end(AttemptOutcome::Accepted, uri.as_ref(), None);
            turn.next.status_uri = uri;
            turn.next.effective_mode = Some(CallMode::FireAndForget);
            turn.next.accept(cx.now);
            let cut = (reply.body.end == super::BodyEnd::Cut).then(|| {
                Trouble::new(
                    Code::OutputTooLarge,
                    "the answer is larger than max_output; its first bytes are kept",
                )
            });
            turn.keep(reply.body, reply.content_type);
            turn.finish(Outcome::Dispatched, cut, "accepted")
        }
        Fired::Final(Final::Output) => {
            end(AttemptOutcome::Answered, None, None);
            turn.next.effective_mode = Some(mode);
            turn.next.accept(cx.now);
            if reply.body.end == super::BodyEnd::Broken {
                let trouble = Trouble::new(Code::OutputUnreadable, "the job ended, but its output broke off");
                return turn.finish(Outcome::Uncertain, Some(trouble), "the output broke off");
            }
            turn.succeed(reply, cx)
        }
        Fired::Final(Final::Fault) => {
            let trouble = Trouble::new(Code::JobFaulted, format!("the trigger answered {status}"));
            end(AttemptOutcome::Answered, None, Some(&trouble));
            turn.next.effective_mode = Some(mode);
            turn.next.accept(cx.now);
            turn.fault(reply, cx)
        }
        Fired::Fault => {
            let trouble = Trouble::new(Code::JobFaulted, format!("the trigger answered {status}"));
            end(AttemptOutcome::Answered, None, Some(&trouble));
            turn.next.memory.repeats = turn.next.memory.repeats.saturating_add(1);
            let again = cx.trigger.retry_faults
                && cx.trigger.repeatable
                && turn.next.memory.repeats < cx.trigger.retry.max_attempts;
            if again && ended_before_start(&turn, cx).is_none() {
                return fire_again(turn, trouble, reply.retry_after, cx);
            }
            turn.next.effective_mode = Some(mode);
            turn.next.accept(cx.now);
            turn.fault(reply, cx)
        }
        Fired::Lost { mode, code, location } => {
            let message = match code {
                Code::MissingLocation => {
                    format!("the trigger answered {status} without a Location to follow")
                }
                _ => format!(
                    "the trigger answered {status}, not 202: the job may have run, and there is nothing to follow"
                ),
            };
            let trouble = Trouble::new(code, message);
            end(AttemptOutcome::Accepted, location.as_ref(), Some(&trouble));
            turn.next.status_uri = location;
            turn.next.effective_mode = Some(mode);
            turn.next.accept(cx.now);
            turn.keep(reply.body, reply.content_type);
            turn.finish(Outcome::Uncertain, Some(trouble), "accepted, with nothing to follow")
        }
        Fired::NotStarted => {
            let trouble = Trouble::new(Code::Refused, format!("the trigger answered {status}: not started"));
            end(AttemptOutcome::Refused, None, Some(&trouble));
            not_started(turn, trouble, true, reply.retry_after, cx)
        }
        Fired::Unauthorized => {
            let trouble =
                Trouble::new(Code::CredentialRefused, "the trigger answered 401: the credential was refused");
            end(AttemptOutcome::Refused, None, Some(&trouble));
            unauthorized(turn, trouble, cx)
        }
        Fired::Rejected(code) => {
            let trouble =
                Trouble::new(code, format!("the trigger answered {status}: no remote job was started"));
            end(AttemptOutcome::Refused, None, Some(&trouble));
            turn.finish(Outcome::Rejected, Some(trouble), "the trigger refused it")
        }
        Fired::Ambiguous(code) => {
            let message = format!("the trigger answered {status}: a remote job may have been started");
            let trouble = Trouble::new(code, message);
            end(AttemptOutcome::Ambiguous, None, Some(&trouble));
            ambiguous(turn, trouble, reply.retry_after, cx)
        }
    }
}

fn attempt(
    outcome: AttemptOutcome,
    http_status: Option<u16>,
    status_uri: Option<&Url>,
    trouble: Option<&Trouble>,
    cx: &Context<'_>,
) -> AttemptEnd {
    AttemptEnd {
        started_at: cx.asked_at,
        ended_at: cx.now.max(cx.asked_at),
        http_status,
        outcome,
        status_uri: status_uri.cloned(),
        trouble: trouble.cloned(),
    }
}

/// Surely not started, and at the cost of no limit: fire again at once with a renewed credential. From the second time
/// on the credential's gate decides when; the wait here is for a trigger without one, which nothing else holds back.
fn unauthorized(mut turn: Turn, trouble: Trouble, cx: &Context<'_>) -> Step {
    turn.next.memory.uncounted = true;
    const AFTER_THE_SECOND: Duration = Duration::from_secs(1);
    let again = turn.next.trouble.as_ref().is_some_and(|last| last.code == trouble.code);
    turn.next.trouble = Some(trouble);
    if let Some(end) = ended_before_start(&turn, cx) {
        return end.apply(turn);
    }
    turn.next.phase = Phase::Pending;
    let wait = if again { AFTER_THE_SECOND } else { Duration::ZERO };
    turn.into_step(Action::Snooze(cx.now.plus(wait)), "the credential was refused")
}

/// Surely not started: fire again while the limit lasts.
fn not_started(
    mut turn: Turn,
    trouble: Trouble,
    counts: bool,
    retry_after: Option<Duration>,
    cx: &Context<'_>,
) -> Step {
    if counts {
        turn.next.memory.refusals = turn.next.memory.refusals.saturating_add(1);
    } else {
        turn.next.memory.uncounted = true;
    }
    turn.next.trouble = Some(trouble.clone());
    if let Some(end) = ended_before_start(&turn, cx) {
        return end.apply(turn);
    }
    if turn.next.memory.refusals >= cx.trigger.retry.max_refusals {
        return turn.finish(Outcome::Failed, Some(trouble), "every permitted firing was surely not started");
    }
    fire_again(turn, trouble, retry_after, cx)
}

/// It may have started a remote job: only a repeatable trigger may be fired again.
fn ambiguous(mut turn: Turn, trouble: Trouble, retry_after: Option<Duration>, cx: &Context<'_>) -> Step {
    turn.next.memory.doubt = Some(trouble.code);
    turn.next.memory.repeats = turn.next.memory.repeats.saturating_add(1);
    let may_repeat = cx.trigger.repeatable && turn.next.memory.repeats < cx.trigger.retry.max_attempts;
    if !may_repeat || ended_before_start(&turn, cx).is_some() {
        return turn.finish(Outcome::Uncertain, Some(trouble), "a remote job may have been started");
    }
    fire_again(turn, trouble, retry_after, cx)
}

fn fire_again(mut turn: Turn, trouble: Trouble, retry_after: Option<Duration>, cx: &Context<'_>) -> Step {
    const SPREAD: f64 = 0.2;
    let nth = turn.next.memory.refusals.saturating_add(turn.next.memory.repeats).saturating_sub(1);
    let wait = asked_wait(retry_after, cx)
        .unwrap_or_else(|| shortened(cx.trigger.retry.backoff.delay(nth), SPREAD, cx.chance));
    turn.next.phase = Phase::Pending;
    turn.next.trouble = Some(trouble);
    turn.into_step(Action::Snooze(cx.now.plus(wait)), "will be fired again")
}
