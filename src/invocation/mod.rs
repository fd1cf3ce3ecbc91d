//! The rules: what each event makes of an invocation.
//!
//! Pure: no async, no clock, no IO, no SQL, no logging. [`step`] is the one place that decides; whoever calls it
//! stores [`Step::next`] first and only then begins [`Step::action`]. The table of answers lives in one file per call
//! mode; here are the laws that all modes share: rounds and their limits, ambiguity that sticks, deadlines, cancel.

mod action;
mod async_polling;
mod common;
mod event;
mod fire_and_forget;
mod firing;
mod following;
mod long_polling;
mod phase;

use std::time::Duration;

use url::Url;

pub use action::{Action, AttemptEnd, AttemptOutcome, Call, Illegal, Output, Step};
pub use event::{Body, BodyEnd, Break, Event, Reply};
pub use phase::{Code, Invocation, Memory, Outcome, Phase, Run, RunKind, Trouble};

use crate::backoff::lengthened;
use crate::clock::UnixMillis;
use crate::request::CallMode;
use crate::trigger::Trigger;

/// What the rules must know besides the invocation and the event.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The wall clock.
    pub now: UnixMillis,
    /// When the exchange began that the event ends; `now` for other events.
    pub asked_at: UnixMillis,
    /// Jitter, in [0, 1).
    pub chance: f64,
    /// The invocation's trigger.
    pub trigger: &'a Trigger,
}

/// Decides what `event` makes of `invocation`.
///
/// # Errors
/// [`Illegal`] when the event cannot happen in this phase; nothing is to be stored then.
pub fn step(invocation: &Invocation, event: Event, cx: &Context<'_>) -> Result<Step, Illegal> {
    let next = Turn { next: invocation.clone(), attempt: None, output: None, warning: None };
    match (&invocation.phase, event) {
        (Phase::Pending, Event::Due) => Ok(firing::begin(next, cx)),
        (Phase::Pending, Event::Cancel) => Ok(next.cancel()),
        (Phase::Triggering, Event::Due) => Ok(firing::interrupted(next, cx)),
        (Phase::Triggering, Event::Cancel) => Ok(next.remember_cancel()),
        (Phase::Triggering, Event::Replied(reply)) => Ok(firing::replied(next, reply, cx)),
        (Phase::Triggering, Event::Broke(broke)) => Ok(firing::broke(next, &broke, cx)),
        (Phase::Polling(_) | Phase::Collecting(_), Event::Due) => Ok(following::begin(next, cx)),
        (Phase::Polling(_) | Phase::Collecting(_), Event::Cancel) => Ok(next.cancel()),
        (Phase::Polling(_) | Phase::Collecting(_), Event::Replied(reply)) => {
            Ok(following::replied(next, reply, cx))
        }
        (Phase::Polling(_) | Phase::Collecting(_), Event::Broke(broke)) => {
            Ok(following::broke(next, &broke, cx))
        }
        (phase @ (Phase::Pending | Phase::Finished(_)), event) => {
            Err(Illegal { event: event.name(), phase: phase.as_str() })
        }
    }
}

/// A step in the making.
struct Turn {
    next: Invocation,
    attempt: Option<AttemptEnd>,
    output: Option<Output>,
    warning: Option<&'static str>,
}

impl Turn {
    fn into_step(self, action: Action, reason: &'static str) -> Step {
        Step {
            next: self.next,
            action,
            attempt: self.attempt,
            output: self.output,
            reason,
            warning: self.warning,
        }
    }

    /// The end. A round with an ambiguous firing in it cannot end in the certainty that nothing happened: what would
    /// say so becomes `uncertain`, under the code of the doubt.
    fn finish(mut self, outcome: Outcome, trouble: Option<Trouble>, reason: &'static str) -> Step {
        let code = trouble.as_ref().map(|t| t.code);
        let says_nothing_ran = match outcome {
            Outcome::Rejected | Outcome::Expired | Outcome::Cancelled => true,
            Outcome::Failed => code != Some(Code::JobFaulted),
            Outcome::Succeeded | Outcome::Dispatched | Outcome::Uncertain => false,
        };
        match self.next.memory.doubt {
            Some(doubt) if says_nothing_ran => {
                let then = trouble.map_or_else(String::new, |t| format!("; later: {}", t.message));
                let message = format!(
                    "an earlier firing of this round ended as {} and may have started a remote job{then}",
                    doubt.as_str()
                );
                self.next.phase = Phase::Finished(Outcome::Uncertain);
                self.next.trouble = Some(Trouble::new(doubt, message));
            }
            _ => {
                self.next.phase = Phase::Finished(outcome);
                self.next.trouble = trouble;
            }
        }
        self.into_step(Action::Finish, reason)
    }

    fn cancel(mut self) -> Step {
        self.next.cancel_requested = true;
        let message = match self.next.phase {
            Phase::Pending | Phase::Triggering => "cancelled before a remote job was accepted",
            _ => "no longer followed, on request; the remote job may run on",
        };
        self.finish(Outcome::Cancelled, Some(Trouble::new(Code::CancelledByRequest, message)), "cancelled")
    }

    fn remember_cancel(mut self) -> Step {
        self.next.cancel_requested = true;
        self.into_step(Action::Await, "cancel waits for the end of the firing")
    }

    /// The answer's body as what is kept, if there is any.
    fn keep(&mut self, body: Body, content_type: Option<String>) {
        if !body.bytes.is_empty() && body.end != BodyEnd::Broken {
            self.output = Some(Output {
                bytes: body.total.max(body.bytes.len() as u64),
                truncated: body.end == BodyEnd::Cut,
                body: body.bytes,
                content_type,
            });
        }
    }

    /// An answer whose body is the output of the remote job.
    fn succeed(mut self, reply: Reply, cx: &Context<'_>) -> Step {
        if is_page(&reply, cx) {
            return self.unreadable(&reply);
        }
        let faulted = cx.trigger.fault_pointer.as_deref().is_some_and(|pointer| {
            reply.body.end == BodyEnd::Complete
                && serde_json::from_slice::<serde_json::Value>(without_mark(&reply.body.bytes))
                    .is_ok_and(|output| output.pointer(pointer).is_some_and(|value| !value.is_null()))
        });
        let cut = (reply.body.end == BodyEnd::Cut).then(|| {
            Trouble::new(
                Code::OutputTooLarge,
                format!(
                    "the output is larger than max_output; its first {} bytes are kept",
                    reply.body.bytes.len()
                ),
            )
        });
        self.keep(reply.body, reply.content_type);
        if faulted {
            let trouble =
                Trouble::new(Code::JobFaulted, "the output has a value at the trigger's fault_pointer");
            return self.finish(Outcome::Failed, Some(trouble), "the output says that the job faulted");
        }
        self.finish(Outcome::Succeeded, cut, "the output came")
    }

    /// An answer that says the remote job failed.
    fn fault(mut self, reply: Reply, cx: &Context<'_>) -> Step {
        if is_page(&reply, cx) {
            return self.unreadable(&reply);
        }
        let trouble =
            Trouble::new(Code::JobFaulted, format!("the remote job ended with status {}", reply.status));
        self.keep(reply.body, reply.content_type);
        self.finish(Outcome::Failed, Some(trouble), "the remote job faulted")
    }

    /// A login or error page is never an output: nobody knows how the job ended.
    fn unreadable(self, reply: &Reply) -> Step {
        let trouble = Trouble::new(
            Code::OutputUnreadable,
            format!("the answer with status {} is an HTML page, not an output", reply.status),
        );
        self.finish(Outcome::Uncertain, Some(trouble), "the output is an HTML page")
    }
}

impl Event {
    const fn name(&self) -> &'static str {
        match self {
            Self::Due => "a due time",
            Self::Cancel => "a cancel",
            Self::Replied(_) => "an answer",
            Self::Broke(_) => "a broken exchange",
        }
    }
}

impl Invocation {
    /// The trigger has answered. Not before it was fired, though the clock may have been set back since.
    fn accept(&mut self, now: UnixMillis) {
        self.accepted_at = Some(self.started_at.map_or(now, |started| started.max(now)));
    }

    /// The mode by which a firing of this request is sent and its answer read.
    #[must_use]
    pub fn firing_mode(&self, trigger: &Trigger) -> CallMode {
        self.requested_mode.unwrap_or(trigger.call_mode)
    }

    /// Whether its status URI is asked by blocking calls.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.effective_mode == Some(CallMode::LongPolling) && matches!(self.phase, Phase::Polling(_))
    }
}

/// Longest Location that is followed: what servers accept as a request line.
const LONGEST_LOCATION: usize = 8 * 1024;

/// The answer's Location, resolved against its URL, without userinfo (which would be sent as a credential) and
/// fragment (which is never sent).
fn location(reply: &Reply) -> Option<Url> {
    let text = reply.location.as_deref().filter(|text| !text.is_empty() && text.len() <= LONGEST_LOCATION)?;
    let mut url = reply.url.join(text).ok()?;
    url.set_fragment(None);
    if url.has_authority() {
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
    }
    Some(url)
}

/// JSON without the byte order mark that some servers begin it with, though none belongs there.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Whether the answer is an HTML page where the trigger gives none.
fn is_page(reply: &Reply, cx: &Context<'_>) -> bool {
    let kind = reply.content_type.as_deref().and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("text/html") && !cx.trigger.accept_html && !reply.body.bytes.is_empty()
}

/// A wait that the far end asked for: within bounds, and never shorter than asked. Zero is no wish.
fn asked_wait(retry_after: Option<Duration>, cx: &Context<'_>) -> Option<Duration> {
    const SPREAD: f64 = 0.05;
    let wait = retry_after.filter(|wait| !wait.is_zero())?;
    Some(lengthened(wait.min(cx.trigger.retry_after_max), SPREAD, cx.chance).min(cx.trigger.retry_after_max))
}

#[cfg(test)]
mod tests;
