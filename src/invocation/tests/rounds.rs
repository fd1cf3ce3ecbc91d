//! Rounds: their limits, ambiguity that sticks, cancel, deadline and expiry around a firing.

use super::*;
use crate::trigger::Retry;

const MODES: [CallMode; 3] = CallMode::ALL;

fn repeatable() -> Trigger {
    Trigger { repeatable: true, ..trigger() }
}

/// Fires again and again with the same answer, each time as soon as it may, until it ends.
fn fired_until_the_end(mode: CallMode, event: &Event, trigger: &Trigger) -> (Step, u32) {
    let mut invocation = firing(mode, trigger);
    let mut now = NOW;
    for firings in 1.. {
        let end = take(&invocation, event.clone(), &at(now, trigger));
        let Action::Snooze(until) = end.action else { return (end, firings) };
        assert_eq!(end.next.phase, Phase::Pending);
        now = until;
        invocation = take(&end.next, Event::Due, &at(now, trigger)).next;
        assert_eq!(invocation.attempt, firings + 1);
    }
    unreachable!("it ends")
}

#[test]
fn the_last_permitted_refusal_fails_the_round() {
    for mode in MODES {
        let trigger = Trigger { retry: Retry { max_refusals: 3, ..trigger().retry }, ..trigger() };
        let (end, firings) = fired_until_the_end(mode, &Event::Replied(reply(429)), &trigger);
        ends(&end, Outcome::Failed, Code::Refused);
        assert_eq!(firings, 3);
        let (end, firings) = fired_until_the_end(mode, &not_sent(), &trigger);
        ends(&end, Outcome::Failed, Code::NotSent);
        assert_eq!(firings, 3);
    }
}

#[test]
fn a_repeatable_trigger_is_uncertain_after_its_last_ambiguous_attempt() {
    for mode in MODES {
        let (end, firings) = fired_until_the_end(mode, &lost(), &repeatable());
        ends(&end, Outcome::Uncertain, Code::ConnectionLost);
        assert_eq!(firings, 5);
    }
}

#[test]
fn a_repeated_fault_ends_as_one_when_the_attempts_are_used_up() {
    let trigger = Trigger { retry_faults: true, ..repeatable() };
    let fault = Event::Replied(reply(500).says("{}"));
    let (end, firings) = fired_until_the_end(CallMode::LongPolling, &fault, &trigger);
    ends(&end, Outcome::Failed, Code::JobFaulted);
    assert!(end.output.is_some());
    assert_eq!(firings, 5);
}

#[test]
fn refused_and_ambiguous_firings_are_counted_apart() {
    let trigger =
        Trigger { retry: Retry { max_attempts: 2, max_refusals: 2, ..trigger().retry }, ..repeatable() };
    let mut invocation = firing(CallMode::AsyncRequestReply, &trigger);
    for event in [Event::Replied(reply(429)), lost()] {
        let again = take(&invocation, event, &at(NOW, &trigger));
        invocation = take(&again.next, Event::Due, &at(NOW, &trigger)).next;
    }
    ends(&take(&invocation, lost(), &at(NOW, &trigger)), Outcome::Uncertain, Code::ConnectionLost);
}

#[test]
fn a_round_remembers_whose_deadline_it_has() {
    let trigger = trigger();
    let counted = take(&Invocation::pending(1), Event::Due, &at(NOW, &trigger)).next;
    assert!(counted.deadline_at.is_some() && counted.memory.counted_deadline);
    let again = take(&counted, Event::Replied(reply(429)), &at(NOW, &trigger)).next;
    let fired = take(&again, Event::Due, &at(later(60), &trigger)).next;
    assert_eq!(fired.deadline_at, counted.deadline_at);
    assert!(fired.memory.counted_deadline, "over all firings of the round");

    let own = Invocation { deadline_at: Some(later(3600)), ..Invocation::pending(1) };
    assert!(!take(&own, Event::Due, &at(NOW, &trigger)).next.memory.counted_deadline);
}

#[test]
fn a_401_uses_up_no_limit_and_is_fired_again_once_at_once() {
    for mode in MODES {
        let trigger =
            Trigger { retry: Retry { max_attempts: 1, max_refusals: 1, ..trigger().retry }, ..trigger() };
        let mut invocation = firing(mode, &trigger);
        for (n, wait) in [0, 1, 1, 1].into_iter().enumerate() {
            let again = take(&invocation, Event::Replied(reply(401)), &at(NOW, &trigger));
            waits_until(&again, later(wait));
            assert_eq!(again.next.attempt, u32::try_from(n).unwrap() + 1, "it is an attempt all the same");
            assert_eq!((again.next.memory.refusals, again.next.memory.repeats), (0, 0));
            invocation = take(&again.next, Event::Due, &at(NOW, &trigger)).next;
        }
    }
}

#[test]
fn a_request_that_cannot_be_sent_as_it_is_ends_at_once() {
    let event = Event::Broke(Break::NotSent { code: Code::InvalidRequest, why: "no query".to_owned() });
    let step = take(&firing(CallMode::LongPolling, &trigger()), event, &at(NOW, &trigger()));
    ends(&step, Outcome::Rejected, Code::InvalidRequest);
    assert_eq!(step.attempt.unwrap().outcome, AttemptOutcome::NotSent);
}

#[test]
fn a_credential_that_cannot_be_had_uses_up_no_limit() {
    let trigger = Trigger { retry: Retry { max_refusals: 1, ..trigger().retry }, ..trigger() };
    let event = Event::Broke(Break::NotSent { code: Code::CredentialUnavailable, why: "no file".to_owned() });
    let step = take(&firing(CallMode::LongPolling, &trigger), event, &at(NOW, &trigger));
    assert_eq!((step.next.phase.as_str(), code(&step)), ("pending", Some(Code::CredentialUnavailable)));
    assert_eq!(step.attempt.unwrap().outcome, AttemptOutcome::NotSent);
}

#[test]
fn waits_between_firings_grow_to_their_cap_and_jitter_only_shortens_them() {
    let trigger = trigger();
    let mut invocation = firing(CallMode::AsyncRequestReply, &trigger);
    let mut waits = Vec::new();
    for _ in 0..11 {
        let again = take(&invocation, not_sent(), &at(NOW, &trigger));
        let Action::Snooze(until) = again.action else { panic!("{again:?}") };
        waits.push(until.since(NOW).as_secs());
        invocation = take(&again.next, Event::Due, &at(NOW, &trigger)).next;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    let cx = Context { chance: 0.999, ..at(NOW, &trigger) };
    let Action::Snooze(until) = take(&invocation, not_sent(), &cx).action else { panic!() };
    assert!((240..300).contains(&until.since(NOW).as_secs()));
}

#[test]
fn retry_after_is_capped_and_never_undercut() {
    let trigger = repeatable();
    for (mode, status) in
        [(CallMode::AsyncRequestReply, 429), (CallMode::LongPolling, 503), (CallMode::FireAndForget, 502)]
    {
        let invocation = firing(mode, &trigger);
        let asked = |wait, chance| {
            let cx = Context { chance, ..at(NOW, &trigger) };
            match take(&invocation, Event::Replied(reply(status).after(wait)), &cx).action {
                Action::Snooze(until) => until.since(NOW),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(asked(secs(100_000), 0.5), secs(3600), "{status}");
        assert_eq!(asked(Duration::MAX, 0.999), secs(3600), "{status}");
        assert!(asked(secs(100), 0.999) > secs(104) && asked(secs(100), 0.999) < secs(105), "{status}");
    }
}

#[test]
fn a_round_fixes_its_deadline_at_its_first_firing() {
    let trigger = trigger();
    for (mode, after) in [
        (CallMode::AsyncRequestReply, secs(24 * 3600)),
        (CallMode::FireAndForget, secs(24 * 3600)),
        (CallMode::LongPolling, secs(20 * 60)),
    ] {
        let first = firing(mode, &trigger);
        assert_eq!((first.started_at, first.deadline_at), (Some(NOW), Some(NOW.plus(after))));
        let refused = take(&first, Event::Replied(reply(429)), &at(later(5), &trigger)).next;
        let second = take(&refused, Event::Due, &at(later(9), &trigger)).next;
        assert_eq!((second.started_at, second.deadline_at), (first.started_at, first.deadline_at));
    }
    let own = Invocation { deadline_at: Some(later(3)), ..Invocation::pending(1) };
    assert_eq!(take(&own, Event::Due, &at(NOW, &trigger)).next.deadline_at, Some(later(3)));
}

#[test]
fn what_is_too_late_or_cancelled_is_not_fired() {
    let trigger = trigger();
    let pending = Invocation::pending(1);
    let stale = Invocation { expires_at: Some(NOW), ..pending.clone() };
    ends(&take(&stale, Event::Due, &at(NOW, &trigger)), Outcome::Expired, Code::NotStartedInTime);
    let late = Invocation { deadline_at: Some(NOW), ..pending.clone() };
    ends(&take(&late, Event::Due, &at(NOW, &trigger)), Outcome::Expired, Code::Deadline);
    let unwanted = Invocation { cancel_requested: true, ..pending.clone() };
    ends(&take(&unwanted, Event::Due, &at(NOW, &trigger)), Outcome::Cancelled, Code::CancelledByRequest);
    ends(&take(&pending, Event::Cancel, &at(NOW, &trigger)), Outcome::Cancelled, Code::CancelledByRequest);
}

#[test]
fn an_expiry_says_what_kept_it_from_starting() {
    let trigger = trigger();
    let waiting = Invocation { expires_at: Some(later(1)), ..firing(CallMode::LongPolling, &trigger) };
    let end = take(&waiting, Event::Replied(reply(401)), &at(later(2), &trigger));
    ends(&end, Outcome::Expired, Code::NotStartedInTime);
    assert!(message(&end).contains("401"), "{}", message(&end));
}

/// A second firing of a round whose first was ambiguous.
fn in_doubt(mode: CallMode, trigger: &Trigger) -> Invocation {
    let again = take(&firing(mode, trigger), Event::Replied(reply(504)), &at(NOW, trigger));
    assert_eq!(again.next.phase, Phase::Pending);
    take(&again.next, Event::Due, &at(NOW, trigger)).next
}

#[test]
fn after_an_ambiguous_firing_no_refusal_says_that_nothing_ran() {
    let trigger = Trigger { retry: Retry { max_refusals: 1, ..trigger().retry }, ..repeatable() };
    for mode in MODES {
        for event in
            [Event::Replied(reply(403)), Event::Replied(reply(301)), Event::Replied(reply(429)), not_sent()]
        {
            let end = take(&in_doubt(mode, &trigger), event, &at(NOW, &trigger));
            ends(&end, Outcome::Uncertain, Code::GatewayError);
        }
    }
}

#[test]
fn the_last_of_several_doubts_names_the_end() {
    let trigger = repeatable();
    let again = take(&in_doubt(CallMode::AsyncRequestReply, &trigger), lost(), &at(NOW, &trigger)).next;
    ends(&take(&again, Event::Cancel, &at(NOW, &trigger)), Outcome::Uncertain, Code::ConnectionLost);
}

#[test]
fn acceptance_forgets_the_trouble_of_earlier_firings() {
    let trigger = trigger();
    let again = take(&firing(CallMode::AsyncRequestReply, &trigger), not_sent(), &at(NOW, &trigger)).next;
    let second = take(&again, Event::Due, &at(NOW, &trigger)).next;
    let step = take(&second, Event::Replied(reply(202).to("/s/1")), &at(NOW, &trigger));
    assert_eq!((step.next.phase.as_str(), code(&step)), ("polling", None));
}

#[test]
fn after_an_ambiguous_firing_expiry_deadline_and_cancel_are_uncertain() {
    let trigger = repeatable();
    for mode in MODES {
        let pending = take(&in_doubt(mode, &trigger), Event::Replied(reply(429)), &at(NOW, &trigger)).next;
        assert_eq!(pending.phase, Phase::Pending);
        let stale = Invocation { expires_at: Some(NOW), ..pending.clone() };
        ends(&take(&stale, Event::Due, &at(NOW, &trigger)), Outcome::Uncertain, Code::GatewayError);
        let late = Invocation { deadline_at: Some(NOW), ..pending.clone() };
        ends(&take(&late, Event::Due, &at(NOW, &trigger)), Outcome::Uncertain, Code::GatewayError);
        ends(&take(&pending, Event::Cancel, &at(NOW, &trigger)), Outcome::Uncertain, Code::GatewayError);
    }
}

#[test]
fn doubt_outlives_acceptance() {
    let trigger = repeatable();
    let accepted = Event::Replied(reply(202).to("/s/1"));
    let polling = take(&in_doubt(CallMode::AsyncRequestReply, &trigger), accepted, &at(NOW, &trigger)).next;
    ends(&take(&polling, Event::Cancel, &at(NOW, &trigger)), Outcome::Uncertain, Code::GatewayError);

    let at_the_deadline = at(polling.deadline_at.unwrap(), &trigger);
    for last in [Event::Replied(reply(200)), Event::Replied(reply(503)), lost()] {
        ends(&take(&polling, last, &at_the_deadline), Outcome::Uncertain, Code::GatewayError);
    }
}

#[test]
fn doubt_does_not_rename_what_is_uncertain_by_itself() {
    // The doubt names ends by refusal, expiry, deadline and cancel; the URI that was lost is lost in any case.
    let trigger = repeatable();
    let accepted = Event::Replied(reply(202).to("/s/1"));
    let polling = take(&in_doubt(CallMode::AsyncRequestReply, &trigger), accepted, &at(NOW, &trigger)).next;
    let missing = take(&polling, Event::Replied(reply(404)), &at(NOW, &trigger)).next;
    let end = take(&missing, Event::Replied(reply(404)), &at(later(300), &trigger));
    ends(&end, Outcome::Uncertain, Code::StatusLost);
}

#[test]
fn a_final_answer_stands_in_spite_of_doubt() {
    let trigger = repeatable();
    let doubtful = in_doubt(CallMode::LongPolling, &trigger);
    ends(&take(&doubtful, Event::Replied(reply(200)), &at(NOW, &trigger)), Outcome::Succeeded, None);
    ends(&take(&doubtful, Event::Replied(reply(422)), &at(NOW, &trigger)), Outcome::Failed, Code::JobFaulted);
    let doubtful = in_doubt(CallMode::FireAndForget, &trigger);
    ends(&take(&doubtful, Event::Replied(reply(200)), &at(NOW, &trigger)), Outcome::Dispatched, None);
}

/// Cancelled, or past its deadline, while the firing is under way.
fn overtaken(mode: CallMode, trigger: &Trigger) -> [(Invocation, Outcome, Code); 2] {
    let firing = firing(mode, trigger);
    let cancelled = take(&firing, Event::Cancel, &at(NOW, trigger));
    assert_eq!(cancelled.action, Action::Await);
    assert_eq!(cancelled.next.phase, Phase::Triggering);
    let late = Invocation { deadline_at: Some(NOW), ..firing };
    [(cancelled.next, Outcome::Cancelled, Code::CancelledByRequest), (late, Outcome::Expired, Code::Deadline)]
}

#[test]
fn cancel_and_deadline_do_not_cut_a_firing_short() {
    let trigger = Trigger { retry_faults: true, ..repeatable() };
    for (invocation, _, _) in overtaken(CallMode::LongPolling, &trigger) {
        let answered = |status| take(&invocation, Event::Replied(reply(status)), &at(NOW, &trigger));
        ends(&answered(200), Outcome::Succeeded, None);
        ends(&answered(400), Outcome::Failed, Code::JobFaulted);
        ends(&answered(500), Outcome::Failed, Code::JobFaulted);
        ends(&answered(403), Outcome::Rejected, Code::Refused);
    }
    for (invocation, _, _) in overtaken(CallMode::FireAndForget, &trigger) {
        ends(&take(&invocation, Event::Replied(reply(200)), &at(NOW, &trigger)), Outcome::Dispatched, None);
    }
}

#[test]
fn what_was_not_started_in_time_or_cancelled_is_not_fired_again() {
    let trigger = repeatable();
    for mode in MODES {
        for (invocation, outcome, code) in overtaken(mode, &trigger) {
            for event in [Event::Replied(reply(429)), Event::Replied(reply(401)), not_sent()] {
                ends(&take(&invocation, event, &at(NOW, &trigger)), outcome, code);
            }
            ends(&take(&invocation, lost(), &at(NOW, &trigger)), Outcome::Uncertain, Code::ConnectionLost);
            ends(&take(&invocation, Event::Due, &at(NOW, &trigger)), Outcome::Uncertain, Code::Interrupted);
        }
    }
}

#[test]
fn a_job_accepted_after_cancel_or_deadline_ends_at_once_and_keeps_its_status_uri() {
    let trigger = trigger();
    for (mode, status) in [(CallMode::AsyncRequestReply, 202), (CallMode::LongPolling, 303)] {
        for (invocation, outcome, code) in overtaken(mode, &trigger) {
            let end = take(&invocation, Event::Replied(reply(status).to("/s/1")), &at(NOW, &trigger));
            ends(&end, outcome, code);
            assert_eq!(end.next.status_uri, Some(url("https://api.example/s/1")));
            assert_eq!(end.attempt.unwrap().outcome, AttemptOutcome::Accepted);
        }
    }
}

#[test]
fn a_job_accepted_after_expires_at_is_followed() {
    // expires_at limits the wait for a start. The firing began in time, and the job runs: it is not thrown away.
    let trigger = trigger();
    let firing = Invocation { expires_at: Some(later(1)), ..firing(CallMode::AsyncRequestReply, &trigger) };
    let step = take(&firing, Event::Replied(reply(202).to("/s/1")), &at(later(2), &trigger));
    assert_eq!(step.next.phase, Phase::Polling(url("https://api.example/s/1")));
    assert_eq!(step.next.accepted_at, Some(later(2)));
}

#[test]
fn a_fault_that_was_repeated_does_not_outlive_what_comes_after_it() {
    // Nothing in doubt here: the first run is known to have failed, and what the last firing came to is the outcome.
    let trigger = Trigger { retry_faults: true, ..repeatable() };
    let firing = firing(CallMode::LongPolling, &trigger);
    let again = take(&firing, Event::Replied(reply(500)), &at(NOW, &trigger)).next;
    ends(&take(&again, Event::Cancel, &at(NOW, &trigger)), Outcome::Cancelled, Code::CancelledByRequest);
    let second = take(&again, Event::Due, &at(NOW, &trigger)).next;
    ends(&take(&second, Event::Replied(reply(403)), &at(NOW, &trigger)), Outcome::Rejected, Code::Refused);
}

#[test]
fn a_final_state_takes_no_event_and_a_pending_one_no_answer() {
    let trigger = trigger();
    for outcome in Outcome::ALL {
        let done = Invocation { phase: Phase::Finished(outcome), ..Invocation::pending(1) };
        for event in [Event::Due, Event::Cancel, Event::Replied(reply(200)), lost()] {
            let error = step(&done, event, &at(NOW, &trigger)).unwrap_err();
            assert_eq!(error.phase, outcome.as_str());
        }
    }
    let error = step(&Invocation::pending(1), lost(), &at(NOW, &trigger)).unwrap_err();
    assert_eq!(error.to_string(), "a broken exchange is no event of a request that is pending");
}

#[test]
fn counts_that_are_full_stay_full() {
    let trigger = repeatable();
    let memory = Memory { refusals: u32::MAX, repeats: u32::MAX, waits: u32::MAX, ..Memory::default() };
    let full = Invocation { attempt: u32::MAX, polls: u32::MAX, memory, ..Invocation::pending(1) };
    let firing = take(&full, Event::Due, &at(NOW, &trigger)).next;
    assert_eq!(firing.attempt, u32::MAX);
    for event in [lost(), not_sent(), Event::Replied(reply(202).to("/s/1"))] {
        let _ = take(&firing, event, &at(NOW, &trigger));
    }
}
