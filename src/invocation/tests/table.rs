//! The two tables of answers, every cell of them. Read them next to the table in the documentation: a cell of ours is
//! what a row of `requests` and `attempts` shows afterwards, and what is done next.
//!
//! A cell: the state, with `/A`, `/L`, `/F` for a call mode newly in force; the code; how the firing ended; `uri` if
//! a status URI is kept for information; `moved` if the stored URI changed; `kept` or `cut` if an output is stored; then
//! `+ms` for a wait, `ask` for an exchange at once, `elsewhere` if that is not at the stored URI; `warn`. `"` repeats
//! the cell to the left. Without more words an answer has a short JSON body.

use super::*;

const FIRING: &str = r#"
# statuses               | with                    | AsyncRequestReply                         | LongPolling                               | FireAndForget
202                      | location                | polling/A accepted +1000                  | polling/A accepted +1000 warn             | dispatched/F accepted uri kept
202                      | location retry-after    | polling/A accepted +7000                  | polling/A accepted +7000 warn             | dispatched/F accepted uri kept
202                      | location broken         | polling/A accepted +1000                  | polling/A accepted +1000 warn             | dispatched/F accepted uri
303                      | location                | polling/L accepted +100 warn              | polling/L accepted +100                   | dispatched/F accepted kept
303                      | location retry-after    | polling/L accepted +7000 warn             | polling/L accepted +7000                  | dispatched/F accepted kept
303                      | location broken         | polling/L accepted +100 warn              | polling/L accepted +100                   | dispatched/F accepted
302                      | location                | rejected unexpected_redirect refused      | polling/L accepted +100                   | rejected unexpected_redirect refused
200 201 203 204 205 206 299 |                      | uncertain/A call_mode_mismatch accepted kept | succeeded/L answered kept              | dispatched/F accepted kept
200 204                  | empty                   | uncertain/A call_mode_mismatch accepted   | succeeded/L answered                      | dispatched/F accepted
200                      | location                | uncertain/A call_mode_mismatch accepted uri kept | succeeded/L answered kept          | dispatched/F accepted kept
200                      | broken                  | uncertain/A call_mode_mismatch accepted   | uncertain/L output_unreadable answered    | dispatched/F accepted
200                      | cut                     | uncertain/A call_mode_mismatch accepted cut | succeeded/L output_too_large answered cut | dispatched/F output_too_large accepted cut
200                      | html                    | uncertain/A call_mode_mismatch accepted kept | uncertain/L output_unreadable answered | dispatched/F accepted kept
200                      | html accept_html        | uncertain/A call_mode_mismatch accepted kept | succeeded/L answered kept              | dispatched/F accepted kept
200                      | fault_pointer           | uncertain/A call_mode_mismatch accepted kept | failed/L job_faulted answered kept     | dispatched/F accepted kept
202                      |                         | uncertain/A missing_location accepted kept | "                                        | dispatched/F accepted kept
303                      |                         | uncertain/L missing_location accepted kept | "                                        | dispatched/F accepted kept
302                      |                         | rejected unexpected_redirect refused      | uncertain/L missing_location accepted kept | rejected unexpected_redirect refused
401                      |                         | pending credential_refused refused +0     | "                                         | "
401                      | listed retry-after      | pending credential_refused refused +0     | "                                         | "
407 511 421 425 429      |                         | pending refused refused +1000             | "                                         | "
407 511 421 425 429      | retry-after             | pending refused refused +7000             | "                                         | "
408 503                  | retry-after             | pending refused refused +7000             | uncertain server_error ambiguous          | pending refused refused +7000
408 503                  | retry-after-0           | pending refused refused +1000             | uncertain server_error ambiguous          | pending refused refused +1000
408 503                  | retry-after repeatable  | pending refused refused +7000             | pending server_error ambiguous +7000      | pending refused refused +7000
408 503 400 409 499 500 502 504 505 524 404 307 | listed | pending refused refused +1000       | "                                         | "
408 503                  | listed retry-after      | pending refused refused +7000             | "                                         | "
408 503                  |                         | uncertain server_error ambiguous          | "                                         | "
408 503                  | repeatable              | pending server_error ambiguous +1000      | "                                         | "
409                      |                         | pending refused refused +1000             | failed/L job_faulted answered kept        | pending refused refused +1000
409                      | retry-after             | pending refused refused +7000             | failed/L job_faulted answered kept        | pending refused refused +7000
403 404 405 411 413 414 415 431 |                  | rejected refused refused                  | "                                         | "
400 410 422              |                         | rejected refused refused                  | failed/L job_faulted answered kept        | rejected refused refused
402 406 412 416 417 418 423 424 426 428 451 498 |  | rejected refused refused                  | failed/L job_faulted answered kept        | rejected refused refused
400                      | broken                  | rejected refused refused                  | failed/L job_faulted answered             | rejected refused refused
400                      | html                    | rejected refused refused                  | uncertain/L output_unreadable answered    | rejected refused refused
400                      | cut                     | rejected refused refused                  | failed/L job_faulted answered cut         | rejected refused refused
499                      |                         | uncertain connection_lost ambiguous       | "                                         | "
499                      | repeatable              | pending connection_lost ambiguous +1000   | "                                         | "
500                      |                         | uncertain server_error ambiguous          | failed/L job_faulted answered kept        | uncertain server_error ambiguous
500                      | repeatable              | pending server_error ambiguous +1000      | failed/L job_faulted answered kept        | pending server_error ambiguous +1000
500                      | retry_faults            | uncertain server_error ambiguous          | failed/L job_faulted answered kept        | uncertain server_error ambiguous
500                      | repeatable retry_faults | pending server_error ambiguous +1000      | pending job_faulted answered +1000        | pending server_error ambiguous +1000
500                      | repeatable retry_faults retry-after | pending server_error ambiguous +7000 | pending job_faulted answered +7000 | pending server_error ambiguous +7000
500                      | html                    | uncertain server_error ambiguous          | uncertain/L output_unreadable answered    | uncertain server_error ambiguous
500                      | broken                  | uncertain server_error ambiguous          | failed/L job_faulted answered             | uncertain server_error ambiguous
501 505                  |                         | rejected refused refused                  | "                                         | "
502 504 520 521 522 523 524 525 526 527 530 598 599 506 507 508 510 529 | | uncertain gateway_error ambiguous | "                          | "
502 504 520 599          | repeatable              | pending gateway_error ambiguous +1000     | "                                         | "
502 504                  | repeatable retry-after  | pending gateway_error ambiguous +7000     | "                                         | "
502                      | html broken             | uncertain gateway_error ambiguous         | "                                         | "
300 301 304 305 306 307 308 399 | location         | rejected unexpected_redirect refused      | "                                         | "
300 301 304 305 306 307 308 399 |                  | rejected unexpected_redirect refused      | "                                         | "
101 600 999              |                         | uncertain connection_lost ambiguous       | "                                         | "
101 600 999              | repeatable              | pending connection_lost ambiguous +1000   | "                                         | "
not_sent                 |                         | pending not_sent not_sent +1000           | "                                         | "
lost                     |                         | uncertain connection_lost ambiguous       | "                                         | "
timeout                  |                         | uncertain response_timeout ambiguous      | "                                         | "
died                     |                         | uncertain interrupted ambiguous           | "                                         | "
lost                     | repeatable              | pending connection_lost ambiguous +1000   | "                                         | "
timeout                  | repeatable              | pending response_timeout ambiguous +1000  | "                                         | "
died                     | repeatable              | pending interrupted ambiguous +1000       | "                                         | "
"#;

const FOLLOWING: &str = r#"
# statuses               | with                    | status URI, async rules                   | status URI, long-polling rules            | output URI
200 201 203 205 207 226 299 |                      | polling +1000                             | succeeded kept                            | succeeded kept
200 201                  | retry-after             | polling +7000                             | succeeded kept                            | succeeded kept
200                      | retry-after-0           | polling +1000                             | succeeded kept                            | succeeded kept
200                      | empty                   | polling +1000                             | succeeded                                 | succeeded
200                      | cut                     | polling +1000                             | succeeded output_too_large cut            | succeeded output_too_large cut
200                      | html                    | polling +1000                             | uncertain output_unreadable               | uncertain output_unreadable
200                      | html empty              | polling +1000                             | succeeded                                 | succeeded
200                      | html accept_html        | polling +1000                             | succeeded kept                            | succeeded kept
200                      | fault_pointer           | polling +1000                             | failed job_faulted kept                   | failed job_faulted kept
200                      | fault_pointer cut       | polling +1000                             | succeeded output_too_large cut            | succeeded output_too_large cut
200                      | broken                  | polling +1000                             | polling output_unreadable +1000           | collecting output_unreadable +1000
200                      | location                | polling +1000                             | succeeded kept                            | succeeded kept
202                      |                         | polling +1000                             | polling +1000                             | collecting +1000
202                      | location                | polling moved +1000                       | polling moved +1000                       | collecting +1000
202                      | location retry-after    | polling moved +7000                       | polling moved +7000                       | collecting +7000
204                      | empty                   | polling +1000                             | succeeded                                 | succeeded
302 303                  | location                | collecting ask                            | polling moved +100                        | collecting ask elsewhere
302 303                  | location retry-after    | collecting +7000                          | polling moved +7000                       | collecting ask elsewhere
302 303 301 307 308      |                         | uncertain missing_location                | "                                         | "
301 308                  | location                | polling moved ask                         | "                                         | collecting moved ask
307                      | location                | polling ask elsewhere                     | "                                         | collecting ask elsewhere
206                      |                         | polling output_unreadable +1000           | "                                         | collecting output_unreadable +1000
304 300 305 399          |                         | polling unexpected_redirect +1000         | "                                         | collecting unexpected_redirect +1000
401                      |                         | polling credential_refused +1000          | "                                         | collecting credential_refused +1000
403 425 429              |                         | polling refused +1000                     | "                                         | collecting refused +1000
403 425 429              | retry-after             | polling refused +7000                     | "                                         | collecting refused +7000
401                      | retry-after             | polling credential_refused +7000          | "                                         | collecting credential_refused +7000
404 410                  |                         | polling status_lost +1000                 | "                                         | collecting output_lost +1000
404 410                  | retry-after             | polling status_lost +7000                 | "                                         | collecting output_lost +7000
408 500 503              |                         | polling server_error +1000                | "                                         | collecting server_error +1000
408 500 503              | retry-after             | polling server_error +7000                | "                                         | collecting server_error +7000
501 502 504 505 511 520 599 |                      | polling gateway_error +1000               | "                                         | collecting gateway_error +1000
400 402 405 407 409 421 422 451 499 |              | polling status_lost +1000                 | failed job_faulted kept                   | failed job_faulted kept
400                      | retry-after             | polling status_lost +7000                 | failed job_faulted kept                   | failed job_faulted kept
400                      | html                    | polling status_lost +1000                 | uncertain output_unreadable               | uncertain output_unreadable
400                      | broken                  | polling status_lost +1000                 | polling output_unreadable +1000           | collecting output_unreadable +1000
101 600 999              |                         | polling connection_lost +1000             | "                                         | collecting connection_lost +1000
not_sent                 |                         | polling not_sent +1000                    | "                                         | collecting not_sent +1000
lost                     |                         | polling connection_lost +1000             | "                                         | collecting connection_lost +1000
timeout                  |                         | polling response_timeout +1000            | "                                         | collecting response_timeout +1000
"#;

#[test]
fn every_answer_to_a_firing_means_what_the_table_says() {
    check(FIRING, |column, trigger| {
        firing(
            [CallMode::AsyncRequestReply, CallMode::LongPolling, CallMode::FireAndForget][column].to_owned(),
            trigger,
        )
    });
}

#[test]
fn every_answer_to_a_poll_means_what_the_table_says() {
    check(FOLLOWING, |column, _| all_followed()[column].clone());
}

fn check(table: &str, start: impl Fn(usize, &Trigger) -> Invocation) {
    let mut wrong = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [answers, with, columns @ ..] = cells.as_slice() else { panic!("not a row: {line}") };
        assert_eq!(columns.len(), 3, "{line}");
        for answer in answers.split_whitespace() {
            let trigger = configured(with, answer);
            let mut expected = "";
            for (n, cell) in columns.iter().enumerate() {
                expected = if *cell == "\"" { expected } else { cell };
                let before = start(n, &trigger);
                let got = cell_of(&before, &take(&before, event(answer, with), &at(NOW, &trigger)));
                if got != expected {
                    wrong.push(format!("{answer} {with}, column {}: {got}, not {expected}", n + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn configured(with: &str, answer: &str) -> Trigger {
    let has = |word: &str| with.split_whitespace().any(|w| w == word);
    Trigger {
        repeatable: has("repeatable"),
        retry_faults: has("retry_faults"),
        accept_html: has("accept_html"),
        not_started: if has("listed") { vec![answer.parse().unwrap()] } else { Vec::new() },
        fault_pointer: has("fault_pointer").then(|| "/error".to_owned()),
        ..trigger()
    }
}

fn event(answer: &str, with: &str) -> Event {
    let status = match answer {
        "not_sent" => return not_sent(),
        "lost" => return lost(),
        "timeout" => return timeout(),
        "died" => return Event::Due,
        status => status.parse().unwrap(),
    };
    Event::Replied(with.split_whitespace().fold(
        reply(status).says(r#"{"error":1}"#),
        |reply, word| match word {
            "location" => reply.to("/s/1"),
            "retry-after" => reply.after(secs(7)),
            "retry-after-0" => reply.after(secs(0)),
            "empty" => reply.says(""),
            "broken" => reply.ends(BodyEnd::Broken),
            "cut" => reply.ends(BodyEnd::Cut),
            "html" => reply.kind("Text/HTML; charset=utf-8"),
            "listed" | "repeatable" | "retry_faults" | "accept_html" | "fault_pointer" => reply,
            word => panic!("unknown word {word}"),
        },
    ))
}

fn cell_of(before: &Invocation, step: &Step) -> String {
    let next = &step.next;
    let mut cell = next.phase.as_str().to_owned();
    let mut say = |word: &str| cell.push_str(&format!(" {word}"));
    if let Some(code) = code(step) {
        say(code.as_str());
    }
    if let Some(attempt) = &step.attempt {
        say(attempt.outcome.as_str());
        assert_eq!(attempt.status_uri, next.status_uri, "an attempt shows the URI that it brought");
        let accepted = matches!(attempt.outcome, AttemptOutcome::Accepted | AttemptOutcome::Answered)
            && next.phase != Phase::Pending;
        assert_eq!(next.accepted_at, accepted.then_some(NOW));
        assert_eq!(next.effective_mode.is_some(), accepted);
        assert_eq!(attempt.http_status, next.http_status);
    }
    match (stored_uri(&before.phase), stored_uri(&next.phase)) {
        (Some(old), Some(new)) if old != new && before.phase.as_str() == next.phase.as_str() => say("moved"),
        (None, None) if next.status_uri.is_some() => say("uri"),
        _ => {}
    }
    match &step.output {
        Some(output) if output.truncated => say("cut"),
        Some(_) => say("kept"),
        None => {}
    }
    match &step.action {
        Action::Snooze(until) => say(&format!("+{}", until.0 - NOW.0)),
        Action::Call(Call::Ask { url, .. }) if Some(url) == stored_uri(&next.phase) => say("ask"),
        Action::Call(Call::Ask { .. }) => say("ask elsewhere"),
        Action::Finish => assert!(matches!(next.phase, Phase::Finished(_))),
        other @ (Action::Await | Action::Call(Call::Fire)) => panic!("no end of an exchange: {other:?}"),
    }
    if step.warning.is_some() {
        say("warn");
    }
    let letter = match next.effective_mode.filter(|_| before.effective_mode.is_none()) {
        Some(CallMode::AsyncRequestReply) => "/A",
        Some(CallMode::LongPolling) => "/L",
        Some(CallMode::FireAndForget) => "/F",
        None => "",
    };
    cell.replacen(next.phase.as_str(), &format!("{}{letter}", next.phase.as_str()), 1)
}

fn stored_uri(phase: &Phase) -> Option<&Url> {
    match phase {
        Phase::Polling(uri) | Phase::Collecting(uri) => Some(uri),
        _ => None,
    }
}
