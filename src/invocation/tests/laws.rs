//! What holds for every history, whatever the far end does, and whatever a row holds.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::backoff::Backoff;
use crate::trigger::Retry;

const STATUSES: [u16; 30] = [
    101, 200, 200, 202, 202, 204, 206, 301, 302, 303, 303, 304, 307, 308, 400, 401, 403, 404, 408, 409, 410,
    425, 429, 499, 500, 500, 502, 503, 511, 600,
];
const LOCATIONS: [&str; 11] = [
    "/s/1",
    "/s/2",
    "https://portal.example/s?sig=1",
    "https://user:secret@api.example/s#part",
    "https://user:secret@evil.example/s",
    "http://api.example/s",
    "mailto:somebody@api.example",
    "file:///etc/passwd",
    "data:text/plain,x",
    "",
    "http://[",
];

fn a_reply() -> impl Strategy<Value = Reply> {
    (
        prop_oneof![9 => prop::sample::select(&STATUSES[..]), 1 => 100u16..=999],
        option::weighted(0.7, prop::sample::select(&LOCATIONS[..])),
        option::weighted(0.3, prop_oneof![Just(0), 1u64..100_000, Just(u64::MAX)]),
        option::of(prop::sample::select(&["application/json", "text/html; charset=utf-8"][..])),
        prop::sample::select(&["", r#"{"error":1}"#, r#"{"error":null}"#, "text"][..]),
        prop::sample::select(&[BodyEnd::Complete, BodyEnd::Complete, BodyEnd::Cut, BodyEnd::Broken][..]),
    )
        .prop_map(|(status, location, wait, kind, body, end)| Reply {
            location: location.map(str::to_owned),
            retry_after: wait.map(secs),
            content_type: kind.map(str::to_owned),
            ..reply(status).says(body).ends(end)
        })
}

fn an_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Due),
        12 => a_reply().prop_map(Event::Replied),
        2 => prop::sample::select(vec![lost(), timeout(), not_sent()]),
        1 => Just(Event::Cancel),
    ]
}

fn a_trigger() -> impl Strategy<Value = Trigger> {
    let waits = (0u64..5_000, 1.0f64..4.0, 0u64..60_000).prop_map(|(initial, factor, more)| Backoff {
        initial: Duration::from_millis(initial),
        factor,
        max: Duration::from_millis(initial + more),
    });
    (
        any::<(bool, bool, bool, bool, bool, bool)>(),
        prop::sample::select(&CallMode::ALL[..]),
        (waits.clone(), waits, 0u32..4, 0u32..4),
        (1u64..7_200, 0u64..600, option::of(1u64..10_000)),
    )
        .prop_map(
            |(flags, call_mode, (poll, backoff, max_attempts, max_refusals), (cap, grace, deadline))| {
                Trigger {
                    call_mode,
                    repeatable: flags.0,
                    retry_faults: flags.1,
                    accept_html: flags.2,
                    credential_on_status: flags.3,
                    not_started: if flags.4 { vec![401, 502, 503] } else { Vec::new() },
                    fault_pointer: flags.5.then(|| "/error".to_owned()),
                    allowed_origins: vec![url("https://portal.example").origin()],
                    poll,
                    retry: Retry { max_attempts, max_refusals, backoff },
                    retry_after_max: secs(cap),
                    lost_grace: secs(grace),
                    deadline: deadline.map(secs),
                    ..trigger()
                }
            },
        )
}

/// What happened, how long after what happened before, and how long the exchange took (less than nothing when the
/// clock stepped back).
type Happening = (Event, i64, i64);

fn a_history() -> impl Strategy<Value = Vec<Happening>> {
    vec((an_event(), prop_oneof![0i64..2_000, 0i64..4_000_000], -10_000i64..70_000), 1..30)
}

fn a_request() -> impl Strategy<Value = Invocation> {
    (
        option::of(prop::sample::select(&CallMode::ALL[..])),
        option::of(-5i64..9_000_000),
        option::of(-5i64..9_000_000),
    )
        .prop_map(|(requested_mode, expires, deadline)| Invocation {
            requested_mode,
            expires_at: expires.map(|ms| UnixMillis(NOW.0 + ms)),
            deadline_at: deadline.map(|ms| UnixMillis(NOW.0 + ms)),
            ..Invocation::pending(1)
        })
}

/// Runs a history; what cannot happen in a phase is left out. `law` sees each step with the invocation before it.
fn each_step(
    request: &Invocation,
    history: &[Happening],
    trigger: &Trigger,
    mut law: impl FnMut(&Invocation, &Event, &Step, &Context<'_>) -> Result<(), TestCaseError>,
) -> Result<Invocation, TestCaseError> {
    let (mut invocation, mut now) = (request.clone(), NOW);
    for (n, (event, elapsed, took)) in history.iter().enumerate() {
        now = UnixMillis(now.0 + elapsed);
        #[expect(clippy::cast_precision_loss, reason = "any number will do")]
        let chance = (n as f64 * 0.37).fract();
        let cx = Context { now, asked_at: UnixMillis(now.0 - took), chance, trigger };
        if let Ok(step) = step(&invocation, event.clone(), &cx) {
            law(&invocation, event, &step, &cx)?;
            invocation = step.next;
        } else {
            prop_assert!(matches!(invocation.phase, Phase::Pending | Phase::Finished(_)));
        }
    }
    Ok(invocation)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn final_is_final(request in a_request(), history in a_history(), trigger in a_trigger()) {
        each_step(&request, &history, &trigger, |before, _, step, _| {
            prop_assert!(!matches!(before.phase, Phase::Finished(_)));
            prop_assert_eq!(step.action == Action::Finish, matches!(step.next.phase, Phase::Finished(_)));
            Ok(())
        })?;
    }

    #[test]
    fn a_trigger_is_fired_only_from_pending_when_due_and_each_firing_leaves_one_attempt(
        request in a_request(), history in a_history(), trigger in a_trigger(),
    ) {
        each_step(&request, &history, &trigger, |before, event, step, _| {
            let fires = step.action == Action::Call(Call::Fire);
            prop_assert_eq!(step.next.attempt, before.attempt + u32::from(fires));
            prop_assert_eq!(fires, step.next.phase == Phase::Triggering && step.action != Action::Await);
            prop_assert!(!fires || (before.phase == Phase::Pending && matches!(event, Event::Due)));
            let ended = before.phase == Phase::Triggering && !matches!(event, Event::Cancel);
            prop_assert_eq!(step.attempt.is_some(), ended);
            Ok(())
        })?;
    }

    #[test]
    fn fire_and_forget_never_polls(request in a_request(), history in a_history(), trigger in a_trigger()) {
        let request = Invocation { requested_mode: Some(CallMode::FireAndForget), ..request };
        each_step(&request, &history, &trigger, |_, _, step, _| {
            let polls = matches!(step.action, Action::Call(Call::Ask { .. }));
            prop_assert!(!polls && !matches!(step.next.phase, Phase::Polling(_) | Phase::Collecting(_)));
            Ok(())
        })?;
    }

    #[test]
    fn waits_stay_in_bounds(request in a_request(), history in a_history(), trigger in a_trigger()) {
        each_step(&request, &history, &trigger, |_, _, step, cx| {
            let Action::Snooze(until) = step.action else { return Ok(()) };
            prop_assert!(until >= cx.now);
            if step.next.phase == Phase::Pending {
                let longest = trigger.retry.backoff.max.max(trigger.retry_after_max).max(secs(1));
                prop_assert!(until <= cx.now.plus(longest));
            } else {
                prop_assert!(until > cx.now, "a poll never spins");
                prop_assert!(until <= step.next.deadline_at.unwrap());
                let longest = trigger.poll.max.mul_f64(1.01).max(trigger.retry_after_max).max(secs(1));
                prop_assert!(code(step) == Some(Code::ForbiddenOrigin) || until <= cx.now.plus(longest));
            }
            Ok(())
        })?;
    }

    #[test]
    fn times_are_in_their_order_also_where_the_clock_is_set_back(
        request in a_request(), history in a_history(), trigger in a_trigger(), back in 0usize..4,
    ) {
        let mut history = history;
        for (_, elapsed, _) in history.iter_mut().skip(back).step_by(2) {
            *elapsed = -*elapsed;
        }
        each_step(&request, &history, &trigger, |_, _, step, _| {
            if let (Some(started), Some(accepted)) = (step.next.started_at, step.next.accepted_at) {
                prop_assert!(started <= accepted);
            }
            prop_assert!(step.attempt.as_ref().is_none_or(|attempt| attempt.started_at <= attempt.ended_at));
            Ok(())
        })?;
    }

    #[test]
    fn only_allowed_origins_are_asked_and_no_uri_carries_userinfo(
        request in a_request(), history in a_history(), trigger in a_trigger(),
    ) {
        each_step(&request, &history, &trigger, |_, _, step, _| {
            let mut uris: Vec<&Url> = step.next.status_uri.iter().collect();
            uris.extend(step.attempt.iter().filter_map(|attempt| attempt.status_uri.as_ref()));
            if let Phase::Polling(uri) | Phase::Collecting(uri) = &step.next.phase {
                uris.push(uri);
            }
            if let Action::Call(Call::Ask { url, .. }) = &step.action {
                prop_assert!(trigger.allows(url));
                uris.push(url);
            }
            for uri in uris {
                prop_assert!(uri.username().is_empty() && uri.password().is_none() && uri.fragment().is_none());
            }
            prop_assert!(!message(step).contains("sig=") && !message(step).contains("secret"));
            prop_assert!(!message(step).contains('\n'));
            Ok(())
        })?;
    }

    #[test]
    fn ambiguity_sticks(request in a_request(), history in a_history(), trigger in a_trigger()) {
        each_step(&request, &history, &trigger, |before, _, step, _| {
            let ambiguous = step.attempt.as_ref().is_some_and(|a| a.outcome == AttemptOutcome::Ambiguous);
            prop_assert_eq!(step.next.memory.doubt.is_some(), before.memory.doubt.is_some() || ambiguous);
            prop_assert!(!ambiguous || trigger.repeatable || step.next.phase == Phase::Finished(Outcome::Uncertain));
            if let (Phase::Finished(outcome), Some(_)) = (&step.next.phase, step.next.memory.doubt) {
                let known = matches!(outcome, Outcome::Succeeded | Outcome::Dispatched | Outcome::Uncertain);
                prop_assert!(known || code(step) == Some(Code::JobFaulted));
            }
            Ok(())
        })?;
    }

    #[test]
    fn an_output_has_at_least_a_byte_and_comes_with_an_end(
        request in a_request(), history in a_history(), trigger in a_trigger(),
    ) {
        each_step(&request, &history, &trigger, |_, _, step, _| {
            if let Some(output) = &step.output {
                prop_assert!(!output.body.is_empty() && output.bytes >= output.body.len() as u64);
                prop_assert_eq!(&step.action, &Action::Finish);
            }
            let fine = matches!(step.next.phase, Phase::Finished(Outcome::Succeeded | Outcome::Dispatched));
            let ended = step.action == Action::Finish;
            prop_assert!(!ended || fine || code(step).is_some(), "whatever is no success says why");
            Ok(())
        })?;
    }

    #[test]
    fn an_accepted_job_keeps_its_status_uri_to_the_end(
        request in a_request(), history in a_history(), trigger in a_trigger(),
    ) {
        each_step(&request, &history, &trigger, |before, _, step, _| {
            prop_assert!(before.status_uri.is_none() || step.next.status_uri.is_some());
            prop_assert!(before.accepted_at.is_none() || step.next.accepted_at == before.accepted_at);
            Ok(())
        })?;
    }

    #[test]
    fn after_the_deadline_a_last_look_comes_to_an_end(
        answers in vec(a_reply(), 12), trigger in a_trigger(), which in 0usize..3,
    ) {
        // The status URI and five redirects, the output URI and five redirects; whatever comes then is the end.
        let mut invocation = Invocation { deadline_at: Some(NOW), ..all_followed()[which].clone() };
        let mut action = take(&invocation, Event::Due, &at(NOW, &trigger)).action;
        for answer in answers {
            if action == Action::Finish {
                break;
            }
            prop_assert!(matches!(action, Action::Call(Call::Ask { .. })), "{:?}", action);
            let step = take(&invocation, Event::Replied(answer), &at(NOW, &trigger));
            (invocation, action) = (step.next, step.action);
        }
        prop_assert_eq!(action, Action::Finish);
    }
}
