//! The rules, tested from the published meaning of each answer: the tables, what the tables leave to prose, laws that
//! hold for every history, and a walk through every crash of short ones.

mod laws;
mod polling;
mod rounds;
mod table;
mod walk;

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn later(n: u64) -> UnixMillis {
    NOW.plus(secs(n))
}

fn trigger() -> Trigger {
    Trigger::new("t", url("https://api.example/t/x"))
}

/// A moment of the rules' world without jitter; the exchange began in the same millisecond.
fn at(now: UnixMillis, trigger: &Trigger) -> Context<'_> {
    Context { now, asked_at: now, chance: 0.0, trigger }
}

fn reply(status: u16) -> Reply {
    Reply {
        status,
        url: url("https://api.example/t/x"),
        location: None,
        retry_after: None,
        content_type: None,
        body: Body::default(),
    }
}

/// How the tests write answers down.
impl Reply {
    fn to(mut self, location: &str) -> Self {
        self.location = Some(location.to_owned());
        self
    }

    fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    fn says(mut self, text: &str) -> Self {
        self.body = Body { bytes: text.into(), total: text.len() as u64, end: BodyEnd::Complete };
        self
    }

    fn kind(mut self, content_type: &str) -> Self {
        self.content_type = Some(content_type.to_owned());
        self
    }

    fn ends(mut self, end: BodyEnd) -> Self {
        self.body.end = end;
        self
    }
}

fn lost() -> Event {
    Event::Broke(Break::MaybeSent { code: Code::ConnectionLost, why: "reset".to_owned() })
}

fn timeout() -> Event {
    Event::Broke(Break::MaybeSent { code: Code::ResponseTimeout, why: "silence".to_owned() })
}

fn not_sent() -> Event {
    Event::Broke(Break::NotSent { code: Code::NotSent, why: "connection refused".to_owned() })
}

fn take(invocation: &Invocation, event: Event, cx: &Context<'_>) -> Step {
    step(invocation, event, cx).unwrap()
}

/// A request of `mode` whose intent was committed at `NOW`.
fn firing(mode: CallMode, trigger: &Trigger) -> Invocation {
    let pending = Invocation { requested_mode: Some(mode), ..Invocation::pending(1) };
    let begun = take(&pending, Event::Due, &at(NOW, trigger));
    assert_eq!(begun.action, Action::Call(Call::Fire));
    begun.next
}

const STATUS_URI: &str = "https://api.example/s/0";
const OUTPUT_URI: &str = "https://api.example/o/0";

/// Accepted; `effective` says by whose rules. The deadline is a day off.
fn followed(effective: CallMode, phase: Phase) -> Invocation {
    Invocation {
        attempt: 1,
        phase,
        effective_mode: Some(effective),
        started_at: Some(NOW),
        accepted_at: Some(NOW),
        deadline_at: Some(later(24 * 3600)),
        status_uri: Some(url(STATUS_URI)),
        ..Invocation::pending(1)
    }
}

fn by_async_rules() -> Invocation {
    followed(CallMode::AsyncRequestReply, Phase::Polling(url(STATUS_URI)))
}

fn by_long_polling_rules() -> Invocation {
    followed(CallMode::LongPolling, Phase::Polling(url(STATUS_URI)))
}

fn collecting() -> Invocation {
    followed(CallMode::AsyncRequestReply, Phase::Collecting(url(OUTPUT_URI)))
}

/// The three columns of the polling table.
fn all_followed() -> [Invocation; 3] {
    [by_async_rules(), by_long_polling_rules(), collecting()]
}

fn code(step: &Step) -> Option<Code> {
    step.next.trouble.as_ref().map(|trouble| trouble.code)
}

fn message(step: &Step) -> &str {
    step.next.trouble.as_ref().map_or("", |trouble| trouble.message.as_str())
}

#[track_caller]
fn ends(step: &Step, outcome: Outcome, expected: impl Into<Option<Code>>) {
    assert_eq!(step.next.phase, Phase::Finished(outcome), "{step:?}");
    assert_eq!(step.action, Action::Finish);
    assert_eq!(code(step), expected.into());
}

#[track_caller]
fn waits_until(step: &Step, until: UnixMillis) {
    assert_eq!(step.action, Action::Snooze(until), "{step:?}");
}

#[track_caller]
fn asks(step: &Step, text: &str) {
    match &step.action {
        Action::Call(Call::Ask { url, .. }) => assert_eq!(url.as_str(), text),
        other => panic!("asks nothing: {other:?}"),
    }
}
