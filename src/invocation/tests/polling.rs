//! Following an accepted job: runs of bad answers, redirects, origins, intervals, the deadline.

use super::*;

/// Answers one after the other, each `apart` after the one before, whatever is done between; the last step.
fn answered(start: &Invocation, statuses: &[u16], apart: Duration, trigger: &Trigger) -> Step {
    let (mut now, mut last) = (NOW, None);
    let mut invocation = start.clone();
    for status in statuses {
        let answer =
            if (300..400).contains(status) { reply(*status).to("/elsewhere") } else { reply(*status) };
        let step = take(&invocation, Event::Replied(answer.says("why")), &at(now, trigger));
        invocation = step.next.clone();
        last = Some(step);
        now = now.plus(apart);
    }
    last.unwrap()
}

#[test]
fn three_500_in_a_row_are_a_fault_where_a_fault_can_be_told() {
    let trigger = trigger();
    for start in [by_long_polling_rules(), collecting()] {
        let end = answered(&start, &[500, 500, 500], secs(1), &trigger);
        ends(&end, Outcome::Failed, Code::JobFaulted);
        assert_eq!(end.output.unwrap().body, b"why");
        let interrupted = answered(&start, &[500, 500, 503, 500, 500], secs(1), &trigger);
        assert!(matches!(interrupted.action, Action::Snooze(_)));
    }
    let step = answered(&by_async_rules(), &[500; 9], secs(1), &trigger);
    assert_eq!((step.next.phase.as_str(), code(&step)), ("polling", Some(Code::ServerError)));
}

#[test]
fn a_third_500_that_is_a_page_is_no_output() {
    let trigger = trigger();
    let twice = answered(&collecting(), &[500, 500], secs(1), &trigger).next;
    let page = Event::Replied(reply(500).says("<html>").kind("text/html"));
    let end = take(&twice, page, &at(later(3), &trigger));
    ends(&end, Outcome::Uncertain, Code::OutputUnreadable);
    assert_eq!(end.output, None);
}

#[test]
fn three_unreadable_statuses_in_a_row_lose_the_job() {
    let trigger = trigger();
    ends(
        &answered(&by_async_rules(), &[400, 422, 400], secs(1), &trigger),
        Outcome::Uncertain,
        Code::StatusLost,
    );
    let interrupted = answered(&by_async_rules(), &[400, 400, 200, 400, 400], secs(1), &trigger);
    assert!(matches!(interrupted.action, Action::Snooze(_)));
}

#[test]
fn a_missing_uri_is_given_up_after_the_grace_of_an_unbroken_run() {
    let trigger = trigger();
    for (start, lost) in
        all_followed().into_iter().zip([Code::StatusLost, Code::StatusLost, Code::OutputLost])
    {
        let waiting = answered(&start, &[404, 410, 404], secs(100), &trigger);
        assert_eq!((waiting.next.phase.as_str(), code(&waiting)), (start.phase.as_str(), Some(lost)));
        ends(&answered(&start, &[404, 410, 404, 410], secs(100), &trigger), Outcome::Uncertain, lost);
        let anew = answered(&start, &[404, 404, 404, 503, 404, 404], secs(100), &trigger);
        assert!(matches!(anew.action, Action::Snooze(_)), "another answer begins a new run: {anew:?}");
    }
}

#[test]
fn the_grace_is_looked_at_when_it_ends_unless_the_far_end_asked_for_more() {
    let trigger = Trigger { lost_grace: secs(1), ..trigger() };
    let again = answered(&by_async_rules(), &[200, 200, 200, 404], secs(0), &trigger);
    waits_until(&again, later(1));
    let asked = take(&by_async_rules(), Event::Replied(reply(404).after(secs(7))), &at(NOW, &trigger));
    waits_until(&asked, later(7));
}

#[test]
fn a_break_is_no_answer_and_leaves_a_run_unbroken() {
    // Neither "three in a row" nor "an unbroken run" says what a lost connection between them does; it shows nothing
    // about the job, so the run goes on.
    let trigger = trigger();
    let twice = answered(&collecting(), &[500, 500], secs(1), &trigger).next;
    let broken = take(&twice, lost(), &at(later(3), &trigger)).next;
    ends(
        &take(&broken, Event::Replied(reply(500)), &at(later(4), &trigger)),
        Outcome::Failed,
        Code::JobFaulted,
    );
}

#[test]
fn a_redirect_between_bad_answers_leaves_their_run_unbroken() {
    let trigger = trigger();
    for hop in [301, 307, 308] {
        let end = answered(&by_async_rules(), &[hop, 404, hop, 404, hop, 404], secs(100), &trigger);
        ends(&end, Outcome::Uncertain, Code::StatusLost);
        let end = answered(&by_long_polling_rules(), &[hop, 500, hop, 500, hop, 500], secs(1), &trigger);
        ends(&end, Outcome::Failed, Code::JobFaulted);
    }
}

#[test]
fn five_redirects_are_followed_and_the_sixth_is_a_loop() {
    let trigger = trigger();
    for start in all_followed() {
        for hop in [301, 307, 308] {
            asks(&answered(&start, &[hop; 5], secs(0), &trigger), "https://api.example/elsewhere");
            ends(&answered(&start, &[hop; 6], secs(0), &trigger), Outcome::Uncertain, Code::RedirectLoop);
        }
    }
    for hop in [302, 303] {
        asks(&answered(&collecting(), &[hop; 5], secs(0), &trigger), "https://api.example/elsewhere");
        ends(&answered(&collecting(), &[hop; 6], secs(0), &trigger), Outcome::Uncertain, Code::RedirectLoop);
    }
}

#[test]
fn legs_of_long_polling_are_no_redirects() {
    let step = answered(&by_long_polling_rules(), &[303; 40], secs(25), &trigger());
    assert_eq!(step.next.hops, 0);
    assert_eq!(step.next.phase, Phase::Polling(url("https://api.example/elsewhere")));
}

#[test]
fn a_new_turn_asks_the_stored_uri_and_counts_redirects_anew() {
    let trigger = trigger();
    let hopped = answered(&by_async_rules(), &[307; 5], secs(0), &trigger).next;
    let again = take(&hopped, Event::Replied(reply(503)), &at(NOW, &trigger));
    waits_until(&again, later(1));
    let due = take(&again.next, Event::Due, &at(later(1), &trigger));
    asks(&due, STATUS_URI);
    assert_eq!(due.next.hops, 0);
}

#[test]
fn a_temporary_redirect_is_followed_at_once_whatever_wait_it_asks_for() {
    // "Honoured on every answer" cannot hold here: the place is not stored, so a wait would only bring the same
    // redirect again.
    let trigger = trigger();
    for status in [301, 307, 308] {
        let step = take(
            &by_async_rules(),
            Event::Replied(reply(status).to("/x").after(secs(9))),
            &at(NOW, &trigger),
        );
        asks(&step, "https://api.example/x");
    }
}

#[test]
fn a_location_is_resolved_against_the_url_that_answered_and_loses_userinfo_and_fragment() {
    let trigger = Trigger { allowed_origins: vec![url("https://portal.example").origin()], ..trigger() };
    for (location, stored) in [
        ("/s/1", "https://api.example/s/1"),
        ("s/1?sig=2", "https://api.example/t/s/1?sig=2"),
        ("//portal.example/s", "https://portal.example/s"),
        ("https://user:secret@api.example/s#part", "https://api.example/s"),
        ("https://user@portal.example/s", "https://portal.example/s"),
    ] {
        let answer = Event::Replied(reply(202).to(location));
        let step = take(&firing(CallMode::AsyncRequestReply, &trigger), answer, &at(NOW, &trigger));
        assert_eq!(step.next.phase, Phase::Polling(url(stored)), "{location}");
    }
    for location in ["", "https://", "http://[::1", &"x".repeat(9000)] {
        let answer = Event::Replied(reply(202).to(location));
        let step = take(&firing(CallMode::AsyncRequestReply, &trigger), answer, &at(NOW, &trigger));
        ends(&step, Outcome::Uncertain, Code::MissingLocation);
    }
}

const FOREIGN: &str = "https://evil.example/s?sig=secret";

#[test]
fn nothing_is_sent_to_an_origin_that_is_not_allowed_until_a_reload_allows_it() {
    let trigger = trigger();
    let steps = [
        take(
            &firing(CallMode::AsyncRequestReply, &trigger),
            Event::Replied(reply(202).to(FOREIGN)),
            &at(NOW, &trigger),
        ),
        take(&by_async_rules(), Event::Replied(reply(202).to(FOREIGN)), &at(NOW, &trigger)),
        take(&by_async_rules(), Event::Replied(reply(303).to(FOREIGN)), &at(NOW, &trigger)),
        take(&by_long_polling_rules(), Event::Replied(reply(303).to(FOREIGN)), &at(NOW, &trigger)),
        take(&collecting(), Event::Replied(reply(308).to(FOREIGN)), &at(NOW, &trigger)),
    ];
    let allowing = Trigger { allowed_origins: vec![url(FOREIGN).origin()], ..trigger.clone() };
    for step in steps {
        assert_eq!(code(&step), Some(Code::ForbiddenOrigin));
        assert!(message(&step).contains("https://evil.example") && !message(&step).contains("secret"));
        let deadline = step.next.deadline_at.unwrap();
        waits_until(&step, deadline);
        waits_until(&take(&step.next, Event::Due, &at(later(60), &trigger)), deadline);
        asks(&take(&step.next, Event::Due, &at(later(60), &allowing)), FOREIGN);
        let end = take(&step.next, Event::Due, &at(deadline, &trigger));
        ends(&end, Outcome::Uncertain, Code::ForbiddenOrigin);
    }
}

#[test]
fn a_redirect_to_an_origin_that_is_not_allowed_keeps_the_stored_uri() {
    let trigger = trigger();
    let step = take(&by_async_rules(), Event::Replied(reply(307).to(FOREIGN)), &at(NOW, &trigger));
    assert_eq!((step.next.phase.clone(), code(&step)), (by_async_rules().phase, Some(Code::ForbiddenOrigin)));
    let deadline = step.next.deadline_at.unwrap();
    waits_until(&step, deadline);
    let last_look = take(&step.next, Event::Due, &at(deadline, &trigger));
    asks(&last_look, STATUS_URI);
    let end = take(&last_look.next, Event::Replied(reply(307).to(FOREIGN)), &at(deadline, &trigger));
    ends(&end, Outcome::Uncertain, Code::ForbiddenOrigin);
}

#[test]
fn a_forbidden_origin_does_not_end_what_has_no_deadline() {
    let trigger = trigger();
    let endless = Invocation { deadline_at: None, ..by_async_rules() };
    let step = take(&endless, Event::Replied(reply(202).to(FOREIGN)), &at(NOW, &trigger));
    waits_until(&step, NOW.plus(trigger.poll.max));
}

#[test]
fn the_credential_stays_at_home_only_under_long_polling_rules() {
    let trigger = Trigger { credential_on_status: false, ..trigger() };
    let sends =
        |invocation: &Invocation, trigger: &Trigger| match take(invocation, Event::Due, &at(NOW, trigger))
            .action
        {
            Action::Call(Call::Ask { credential, held, .. }) => (credential, held),
            other => panic!("{other:?}"),
        };
    assert_eq!(all_followed().map(|i| sends(&i, &trigger)), [(true, false), (false, true), (true, false)]);
    let trigger = Trigger { credential_on_status: true, ..trigger };
    assert_eq!(sends(&by_long_polling_rules(), &trigger), (true, true));
}

#[test]
fn the_interval_grows_from_its_first_to_its_longest_and_begins_anew_for_the_output() {
    let trigger = trigger();
    let waits = |mut invocation: Invocation, status: u16, n: usize| -> Vec<i64> {
        let mut waits = Vec::new();
        for _ in 0..n {
            let step = take(&invocation, Event::Replied(reply(status)), &at(NOW, &trigger));
            let Action::Snooze(until) = step.action else { panic!("{step:?}") };
            waits.push(until.0 - NOW.0);
            invocation = step.next;
        }
        waits
    };
    let accepted = Event::Replied(reply(202).to("/s/1"));
    let first = take(&firing(CallMode::AsyncRequestReply, &trigger), accepted, &at(NOW, &trigger));
    waits_until(&first, later(1));
    assert_eq!(waits(first.next.clone(), 200, 4), [1500, 2250, 3375, 5062]);
    let many = waits(first.next.clone(), 200, 12);
    assert_eq!(many[10..], [30_000, 30_000]);
    let waited = answered(&first.next, &[200, 200, 200], secs(1), &trigger).next;
    let output = take(&waited, Event::Replied(reply(303).to("/o/1")), &at(NOW, &trigger)).next;
    assert_eq!(waits(output, 202, 3), [1000, 1500, 2250]);
    let leg = answered(&by_long_polling_rules(), &[503, 503, 303], secs(1), &trigger).next;
    assert_eq!(waits(leg, 503, 3), [1000, 1500, 2250]);
}

#[test]
fn a_new_status_uri_with_each_202_does_not_make_polling_faster() {
    let trigger = trigger();
    let step = take(&by_async_rules(), Event::Replied(reply(202).to("/s/1")), &at(NOW, &trigger));
    let step = take(&step.next, Event::Replied(reply(202).to("/s/2")), &at(NOW, &trigger));
    waits_until(&step, NOW.plus(Duration::from_millis(1500)));
}

#[test]
fn an_interval_of_nothing_is_no_spin() {
    let poll = crate::backoff::Backoff { initial: Duration::ZERO, ..trigger().poll };
    let trigger = Trigger { poll, ..trigger() };
    for start in all_followed() {
        waits_until(&take(&start, lost(), &at(NOW, &trigger)), UnixMillis(NOW.0 + 1));
    }
}

#[test]
fn jitter_never_makes_a_poll_early_and_retry_after_is_capped() {
    let trigger = trigger();
    let cx = Context { chance: 0.999, ..at(NOW, &trigger) };
    for start in [by_async_rules(), collecting()] {
        let Action::Snooze(until) = take(&start, Event::Replied(reply(202)), &cx).action else { panic!() };
        assert!((1000..=1010).contains(&(until.0 - NOW.0)));
        waits_until(&take(&start, Event::Replied(reply(202).after(secs(90_000))), &cx), later(3600));
    }
    let accepted = Event::Replied(reply(202).to("/s").after(secs(90_000)));
    waits_until(&take(&firing(CallMode::AsyncRequestReply, &trigger), accepted, &cx), later(3600));
    let leg = Event::Replied(reply(303).to("/s").after(secs(90_000)));
    waits_until(&take(&by_long_polling_rules(), leg.clone(), &cx), later(3600));
    let first = firing(CallMode::LongPolling, &trigger);
    waits_until(&take(&first, leg, &cx), first.deadline_at.unwrap());
}

#[test]
fn a_blocking_leg_follows_at_once_above_a_floor() {
    let trigger = trigger();
    let leg = || Event::Replied(reply(303).to("/s/1"));
    for start in [by_long_polling_rules(), firing(CallMode::LongPolling, &trigger)] {
        let after = |ms: i64| {
            let cx = Context { asked_at: UnixMillis(NOW.0 - ms), ..at(NOW, &trigger) };
            take(&start, leg(), &cx)
        };
        asks(&after(25_000), "https://api.example/s/1");
        asks(&after(100), "https://api.example/s/1");
        waits_until(&after(30), UnixMillis(NOW.0 + 70));
        let hasty = Trigger { retry_after_max: Duration::from_millis(10), ..trigger.clone() };
        let asked = Event::Replied(reply(303).to("/s/1").after(secs(1)));
        waits_until(&take(&start, asked, &at(NOW, &hasty)), UnixMillis(NOW.0 + 100));
        // The wall clock stepped back by an hour during the leg.
        waits_until(&after(-3_600_000), UnixMillis(NOW.0 + 100));
    }
}

#[test]
fn a_wait_ends_at_the_deadline() {
    let trigger = trigger();
    for start in all_followed() {
        let soon = Invocation { deadline_at: Some(UnixMillis(NOW.0 + 40)), ..start };
        for event in [Event::Replied(reply(503).after(secs(60))), Event::Replied(reply(404)), lost()] {
            waits_until(&take(&soon, event, &at(NOW, &trigger)), UnixMillis(NOW.0 + 40));
        }
    }
}

/// Past its deadline; `Due` gives one last look.
fn late(start: Invocation) -> Invocation {
    Invocation { deadline_at: Some(NOW), ..start }
}

#[test]
fn at_the_deadline_one_last_look_may_still_find_the_end() {
    let trigger = trigger();
    for start in all_followed() {
        let look = take(&late(start), Event::Due, &at(later(5), &trigger));
        assert!(matches!(look.action, Action::Call(Call::Ask { .. })));
    }
    for start in [by_long_polling_rules(), collecting()] {
        let end = take(&late(start), Event::Replied(reply(200)), &at(later(5), &trigger));
        ends(&end, Outcome::Succeeded, None);
    }
    let ended = Event::Replied(reply(303).to("/o/1").after(secs(60)));
    let step = take(&late(by_async_rules()), ended, &at(later(5), &trigger));
    asks(&step, "https://api.example/o/1");
    ends(&take(&step.next, Event::Replied(reply(200)), &at(later(5), &trigger)), Outcome::Succeeded, None);
}

#[test]
fn at_the_deadline_a_good_poll_expires_it() {
    let trigger = trigger();
    for start in all_followed() {
        let end = take(&late(start), Event::Replied(reply(202)), &at(NOW, &trigger));
        ends(&end, Outcome::Expired, Code::Deadline);
        assert!(end.next.status_uri.is_some());
    }
    let leg = take(&late(by_long_polling_rules()), Event::Replied(reply(303).to("/s/1")), &at(NOW, &trigger));
    ends(&leg, Outcome::Expired, Code::Deadline);
}

#[test]
fn at_the_deadline_a_failing_poll_makes_it_uncertain_with_its_code() {
    let trigger = trigger();
    for start in all_followed() {
        for (event, expected) in [
            (Event::Replied(reply(503)), Code::ServerError),
            (Event::Replied(reply(502)), Code::GatewayError),
            (Event::Replied(reply(401)), Code::CredentialRefused),
            (Event::Replied(reply(403)), Code::Refused),
            (not_sent(), Code::NotSent),
            (lost(), Code::ConnectionLost),
        ] {
            ends(&take(&late(start.clone()), event, &at(NOW, &trigger)), Outcome::Uncertain, expected);
        }
    }
}

#[test]
fn a_look_that_we_cut_short_at_the_deadline_leaves_what_the_one_before_said() {
    let trigger = trigger();
    let cx = Context { asked_at: UnixMillis(NOW.0 - 10_000), ..at(NOW, &trigger) };
    for start in all_followed() {
        ends(&take(&late(start.clone()), timeout(), &cx), Outcome::Expired, Code::Deadline);
        let failing =
            Invocation { trouble: Some(Trouble::new(Code::ServerError, "503")), ..late(start.clone()) };
        ends(&take(&failing, timeout(), &cx), Outcome::Uncertain, Code::ServerError);
        let whole = Context { asked_at: UnixMillis(NOW.0 - 60_000), ..cx };
        ends(&take(&late(start), timeout(), &whole), Outcome::Uncertain, Code::ResponseTimeout);
    }
}

#[test]
fn cancel_ends_the_following_at_once_and_keeps_the_status_uri() {
    let trigger = trigger();
    for start in all_followed() {
        let end = take(&start, Event::Cancel, &at(NOW, &trigger));
        ends(&end, Outcome::Cancelled, Code::CancelledByRequest);
        assert_eq!(end.next.status_uri, start.status_uri);
    }
}

#[test]
fn a_good_poll_forgets_the_trouble_of_the_bad_ones() {
    let trigger = trigger();
    let step = answered(&by_async_rules(), &[404, 503, 200], secs(1), &trigger);
    assert_eq!((code(&step), step.next.memory.run), (None, None));
    assert_eq!((step.next.polls, step.next.http_status), (3, Some(200)));
    assert_eq!(take(&step.next, lost(), &at(NOW, &trigger)).next.http_status, None);
}

#[test]
fn fault_pointer_looks_for_a_value_that_is_not_null() {
    let trigger = Trigger { fault_pointer: Some("/result/error".to_owned()), ..trigger() };
    for (body, outcome) in [
        (r#"{"result":{"error":{"code":1}}}"#, Outcome::Failed),
        (r#"{"result":{"error":false}}"#, Outcome::Failed),
        (r#"{"result":{"error":null}}"#, Outcome::Succeeded),
        (r#"{"error":1}"#, Outcome::Succeeded),
        // A byte order mark, which JSON may not begin with, and some servers write all the same.
        ("\u{feff}{\"result\":{\"error\":1}}", Outcome::Failed),
        ("not JSON", Outcome::Succeeded),
        ("", Outcome::Succeeded),
    ] {
        for start in [by_long_polling_rules(), collecting(), firing(CallMode::LongPolling, &trigger)] {
            let end = take(&start, Event::Replied(reply(200).says(body)), &at(NOW, &trigger));
            assert_eq!(end.next.phase, Phase::Finished(outcome), "{body}");
            assert_eq!(end.output.is_some(), !body.is_empty());
        }
    }
}
