//! The table of answers, one test a call mode, and the laws between them.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::manners::{FaultBody, RetryAfterForm, RunningBody};
use super::*;

const T0: UnixMillis = UnixMillis(1_800_000_000_000);

fn at(millis: u64) -> UnixMillis {
    T0.plus(Duration::from_millis(millis))
}

fn output_of(text: &'static str) -> End {
    End::Output(Bytes::from_static(text.as_bytes()))
}

/// A job that ends so after a second.
fn job(mode: CallMode, end: End) -> Job {
    Job { mode, created: T0, end: Some((at(1000), end)) }
}

fn cx(manners: &Manners, asked: u64, now: u64) -> Context<'_> {
    Context { manners, now: at(now), asked_at: at(asked), trace: 7 }
}

fn reply(answer: Answer) -> Reply {
    match answer {
        Answer::Reply(reply) => reply,
        Answer::Hold(until) => panic!("held until {until:?}"),
    }
}

fn text(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.content.body).unwrap()
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.content.body).unwrap()
}

#[test]
fn async_polling_is_202_then_200_while_it_runs_then_303_and_the_output() {
    let manners = Manners::default();
    let job = job(CallMode::AsyncRequestReply, output_of(r#"{"total":42}"#));
    let started = reply(start(&job, &cx(&manners, 0, 0)));
    assert_eq!((started.status, started.link, text(&started)), (202, Some(Leg::Status), ""));
    let running = reply(status(&job, &cx(&manners, 999, 999)));
    assert_eq!((running.status, running.link, text(&running)), (200, None, "{}"));
    assert_eq!(reply(output(&job, &cx(&manners, 999, 999))).status, 404, "nobody can have the link");
    for again in [1000, 1001, 500_000] {
        let ended = reply(status(&job, &cx(&manners, again, again)));
        assert_eq!((ended.status, ended.link, text(&ended)), (303, Some(Leg::Output), ""));
        let result = reply(output(&job, &cx(&manners, again, again)));
        assert_eq!((result.status, result.link, text(&result)), (200, None, r#"{"total":42}"#));
    }
}

#[test]
fn long_polling_holds_and_is_200_at_the_end_and_303_before() {
    let manners = Manners { hold: Duration::from_millis(400), ..Manners::default() };
    let job = job(CallMode::LongPolling, output_of("1"));
    for ask in [start, status] {
        assert_eq!(ask(&job, &cx(&manners, 0, 0)), Answer::Hold(at(400)));
        let leg = reply(ask(&job, &cx(&manners, 0, 400)));
        assert_eq!((leg.status, leg.link), (303, Some(Leg::Status)));
        assert_eq!(ask(&job, &cx(&manners, 800, 900)), Answer::Hold(at(1000)), "no longer than to its end");
        let end = reply(ask(&job, &cx(&manners, 800, 1000)));
        assert_eq!((end.status, end.link, text(&end)), (200, None, "1"));
    }
    assert_eq!(reply(output(&job, &cx(&manners, 2000, 2000))).status, 404, "it has no output URI");
}

#[test]
fn fire_and_forget_is_an_empty_200_and_nothing_else() {
    let manners = Manners::default();
    let job = job(CallMode::FireAndForget, output_of("1"));
    assert_eq!(reply(start(&job, &cx(&manners, 0, 0))), Reply::bare(200));
    for ask in [status, output] {
        assert_eq!(reply(ask(&job, &cx(&manners, 2000, 2000))).status, 404);
    }
}

#[test]
fn a_job_behind_blocking_calls_ends_at_the_cap() {
    let manners = Manners { sync_cap: Duration::from_millis(600), ..Manners::default() };
    let endless = Job { end: None, ..job(CallMode::LongPolling, End::Fault) };
    for job in [job(CallMode::LongPolling, output_of("1")), endless] {
        assert_eq!(start(&job, &cx(&manners, 0, 0)), Answer::Hold(at(600)));
        let end = reply(status(&job, &cx(&manners, 0, 600)));
        assert_eq!((end.status, json(&end)["code"].as_str()), (400, Some("Timeout")));
    }
    let other = job(CallMode::AsyncRequestReply, output_of("1"));
    assert_eq!(reply(status(&other, &cx(&manners, 700, 700))).status, 200, "the cap is of blocking calls");
}

#[test]
fn a_bad_end_is_where_the_output_would_be_as_the_server_has_it() {
    for (end, code) in [
        (End::Fault, "Faulted"),
        (End::Stopped, "Stopped"),
        (End::Killed, "Killed"),
        (End::TooLong, "Timeout"),
    ] {
        for fault_status in [200, 400, 500] {
            let manners = Manners { fault_status, ..Manners::default() };
            let polled = job(CallMode::AsyncRequestReply, end.clone());
            assert_eq!(reply(status(&polled, &cx(&manners, 1000, 1000))).status, 303);
            let blocking = job(CallMode::LongPolling, end.clone());
            for fault in [
                reply(output(&polled, &cx(&manners, 1000, 1000))),
                reply(start(&blocking, &cx(&manners, 0, 1000))),
                reply(status(&blocking, &cx(&manners, 1000, 1000))),
            ] {
                assert_eq!(fault.status, fault_status);
                let error = json(&fault);
                for key in ["title", "detail", "category"] {
                    assert!(error[key].is_string(), "{key} {error}");
                }
                assert_eq!(
                    (error["code"].as_str(), error["status"].as_u64()),
                    (Some(code), Some(fault_status.into()))
                );
                assert_eq!(error["timestamp"], "2027-01-15T08:00:01Z");
            }
        }
    }
    let manners = Manners { fault_body: FaultBody::Message, ..Manners::default() };
    let fault = reply(output(&job(CallMode::AsyncRequestReply, End::Fault), &cx(&manners, 1000, 1000)));
    let error = json(&fault);
    assert!(error["message"].is_string() && error["errorCode"].is_number(), "{error}");
    assert_eq!(error["traceId"], "00-00000000000000000000000000000007-0000000000000007-00");
}

#[test]
fn manners_change_the_answer_and_not_its_meaning() {
    let polled = job(CallMode::AsyncRequestReply, output_of("1"));
    let found = Manners { redirect_status: 302, hold: Duration::ZERO, ..Manners::default() };
    assert_eq!(reply(status(&polled, &cx(&found, 1000, 1000))).status, 302);
    assert_eq!(reply(start(&job(CallMode::LongPolling, End::Fault), &cx(&found, 0, 0))).status, 302);
    for (running_body, body) in [
        (RunningBody::Empty, ""),
        (RunningBody::Object, "{}"),
        (RunningBody::State, r#"{"state":"Running"}"#),
    ] {
        let manners = Manners { running_body, ..Manners::default() };
        assert_eq!(text(&reply(status(&polled, &cx(&manners, 0, 0)))), body);
    }
    let wait = RetryAfter { wait: Duration::from_secs(3), form: RetryAfterForm::Seconds };
    let manners = Manners { retry_after: Some(wait), hold: Duration::ZERO, ..Manners::default() };
    for asked in [
        start(&polled, &cx(&manners, 0, 0)),
        status(&polled, &cx(&manners, 0, 0)),
        status(&polled, &cx(&manners, 1000, 1000)),
        start(&job(CallMode::LongPolling, End::Fault), &cx(&manners, 0, 0)),
    ] {
        assert_eq!(reply(asked).retry_after, Some(wait));
    }
    assert_eq!(
        reply(output(&polled, &cx(&manners, 1000, 1000))).retry_after,
        None,
        "there is nothing to wait for"
    );
}

#[test]
fn links_end_some_time_after_the_job_where_the_server_says_so() {
    let manners = Manners { link_expiry: Some(Duration::from_millis(500)), ..Manners::default() };
    let polled = job(CallMode::AsyncRequestReply, output_of("1"));
    assert_eq!(reply(status(&polled, &cx(&manners, 1499, 1499))).status, 303);
    assert_eq!(reply(output(&polled, &cx(&manners, 1499, 1499))).status, 200);
    let blocking = job(CallMode::LongPolling, output_of("1"));
    assert_eq!(reply(status(&blocking, &cx(&manners, 1499, 1499))).status, 200);
    for gone in [
        status(&polled, &cx(&manners, 1500, 1500)),
        output(&polled, &cx(&manners, 1500, 1500)),
        status(&blocking, &cx(&manners, 1500, 1500)),
    ] {
        let gone = reply(gone);
        assert_eq!((gone.status, json(&gone)["errorCode"].as_u64()), (404, Some(1002)));
    }
}

proptest! {
    /// Whoever holds and asks again as told gets an answer at the end of the job or of the hold, whichever is first.
    #[test]
    fn a_held_call_is_answered_in_time(hold in 0u64..2000, cap in 0u64..2000, end in proptest::option::of(0u64..2000), asked in 0u64..2000) {
        let manners = Manners {
            hold: Duration::from_millis(hold),
            sync_cap: Duration::from_millis(cap),
            ..Manners::default()
        };
        let job = Job { mode: CallMode::LongPolling, created: T0, end: end.map(|end| (at(end), output_of("1"))) };
        let mut now = asked;
        for _ in 0..3 {
            match status(&job, &cx(&manners, asked, now)) {
                Answer::Hold(until) => {
                    prop_assert!(until > at(now), "it must go on");
                    now = u64::try_from(until.0 - T0.0).unwrap();
                }
                Answer::Reply(reply) => {
                    let last = end.unwrap_or(u64::MAX).min(cap);
                    prop_assert_eq!(now, asked.max(last.min(asked + hold)));
                    let expected = if now < last { 303 } else if end.is_some_and(|end| end <= cap) { 200 } else { 400 };
                    prop_assert_eq!(reply.status, expected);
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "it was never answered");
    }
}
