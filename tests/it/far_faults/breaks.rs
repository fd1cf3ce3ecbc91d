//! Connections that break: before, within and after an answer.

use std::collections::HashMap;
use std::sync::Mutex;

use super::{accepted, at, firings, insert};
use crate::process::{QUIET, count, many};
use crate::support::bounded;
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd, Greeting, Then};

const MODES: [&str; 3] = ["AsyncRequestReply", "LongPolling", "FireAndForget"];

/// What comes instead of a whole answer, and what becomes of the request in each call mode.
fn cases() -> Vec<(&'static str, Answer, [&'static str; 3])> {
    let lost = ["uncertain connection_lost"; 3];
    let followed = ["succeeded", "succeeded", "dispatched"];
    let ended = ["uncertain call_mode_mismatch", "uncertain output_unreadable", "dispatched"];
    let leg = || Answer::status(303).header("Location", "/leg");
    let chunked = |answer: Answer| answer.header("Transfer-Encoding", "chunked").body("5\r\nab");
    vec![
        ("nothing", Answer::raw("").then(Then::Close), lost),
        ("reset", Answer::raw("").then(Then::Reset), lost),
        ("half-a-head", Answer::raw("HTTP/1.1 202 Accepted\r\nLocat").then(Then::Close), lost),
        ("reset-head", Answer::raw("HTTP/1.1 202 Accepted\r\nLocat").then(Then::Reset), lost),
        ("no-body", accepted("/status").announcing(9).then(Then::Close), followed),
        ("reset-body", accepted("/status").announcing(9).body("ab").then(Then::Reset), followed),
        ("half-a-chunk", chunked(accepted("/status")).then(Then::Close), followed),
        ("no-body-of-a-leg", leg().announcing(9).then(Then::Close), followed),
        ("half-a-chunk-of-a-leg", chunked(leg()).then(Then::Reset), followed),
        ("no-output", Answer::status(200).announcing(9).then(Then::Close), ended),
        ("half-an-output", Answer::status(200).announcing(9).body("ab").then(Then::Reset), ended),
        ("half-a-chunk-of-output", chunked(Answer::status(200)).then(Then::Close), ended),
        (
            "no-last-chunk",
            Answer::status(200).header("Transfer-Encoding", "chunked").body("2\r\nab\r\n").then(Then::Close),
            ended,
        ),
    ]
}

/// The rest of a job's way.
fn rest(target: &str) -> Answer {
    match target {
        "/status" => Answer::status(303).header("Location", "/output"),
        _ => Answer::status(200).body("done"),
    }
}

#[tokio::test]
async fn a_firing_that_breaks_off_is_fired_once_and_its_head_decides_if_it_came() {
    let answers: HashMap<String, Answer> = cases()
        .into_iter()
        .flat_map(|(name, answer, _)| MODES.map(|mode| (format!("/{name}/{mode}"), answer.clone())))
        .collect();
    let far =
        FarEnd::start(move |seen| answers.get(&seen.target).cloned().unwrap_or_else(|| rest(&seen.target)))
            .await;
    let triggers: String = cases()
        .iter()
        .flat_map(|(name, ..)| MODES.map(|mode| (*name, mode)))
        .map(|(name, mode)| {
            let keys = format!("call_mode = \"{mode}\"");
            at(&format!("{name}-{}", mode.to_lowercase()), &far, &format!("/{name}/{mode}"), &keys)
        })
        .collect();
    let site = Site::new(&[QUIET, &triggers].concat());
    let daemon = site.start().await;
    let mut table = site.table().await;
    let mut expected = Vec::new();
    for (name, _, fates) in cases() {
        for (mode, fate) in MODES.into_iter().zip(fates) {
            let id = insert(&mut table, &format!("{name}-{}", mode.to_lowercase())).await;
            expected.push((id, format!("/{name}/{mode}"), fate));
        }
    }
    for (id, path, fate) in &expected {
        table.meets(*id, fate).await;
        assert_eq!(firings(&far, path).len(), 1, "{path}");
    }
    // What is uncertain is that also for the next start.
    daemon.kill().await;
    let daemon = site.start().await;
    let last = insert(&mut table, "no-body-fireandforget").await;
    table.meets(last, "dispatched").await;
    for (id, path, fate) in &expected {
        assert_eq!(&table.fate(*id).await, fate, "{path}");
    }
    daemon.stop().await;
    assert_eq!(far.all().iter().filter(|seen| seen.method == "POST").count(), expected.len() + 1);
}

#[tokio::test]
async fn a_repeatable_firing_that_breaks_off_is_fired_again_under_the_same_key() {
    let broken: Vec<(&str, Answer)> = cases()
        .into_iter()
        .filter(|(_, _, fates)| fates[2].starts_with("uncertain"))
        .map(|(name, answer, _)| (name, answer))
        .collect();
    let answers: HashMap<String, Answer> =
        broken.iter().map(|(name, answer)| (format!("/{name}"), answer.clone())).collect();
    let answers = Mutex::new(answers);
    // Each breaks off once.
    let far = FarEnd::start(move |seen| {
        answers.lock().unwrap().remove(&seen.target).unwrap_or_else(|| Answer::status(202))
    })
    .await;
    let keys = "call_mode = \"FireAndForget\"\nrepeatable = true";
    let triggers: String = broken.iter().map(|(name, _)| at(name, &far, &format!("/{name}"), keys)).collect();
    let site = Site::new(&triggers);
    let daemon = site.start().await;
    let mut table = site.table().await;
    for (name, _) in &broken {
        let id = insert(&mut table, name).await;
        table.meets(id, "dispatched").await;
        let keys: Vec<_> = firings(&far, &format!("/{name}"))
            .iter()
            .map(|seen| seen.header("idempotency-key").unwrap().to_owned())
            .collect();
        assert!(keys.len() == 2 && keys[0] == keys[1], "{name}: {keys:?}");
        let attempts = table
            .text(format!(
                "SELECT group_concat(outcome) FROM attempts WHERE request_id = {id} ORDER BY attempt"
            ))
            .await;
        assert_eq!(attempts, "ambiguous,accepted", "{name}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_connection_closed_unread_is_in_doubt_unless_nothing_was_written() {
    const ROWS: i64 = 20;
    for greeting in [Greeting::Close, Greeting::Reset] {
        // Every second connection is closed before anything is read.
        let far = FarEnd::greeting(
            move |nth| if nth % 2 == 0 { greeting } else { Greeting::Serve },
            |_| Answer::status(202).then(Then::Close),
        )
        .await;
        let once = at("once", &far, "/once", "call_mode = \"FireAndForget\"");
        let often = "call_mode = \"FireAndForget\"\nrepeatable = true\n\
                     retry = { max_attempts = 100, initial = \"1ms\", max = \"1ms\" }";
        let again = at("again", &far, "/again", often);
        let site = Site::new(&["[dispatch]\nmax_per_origin = 1\n", &once, &again].concat());
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.run(many("once", 20)).await;
        table.run(many("again", 20)).await;
        table.until("SELECT count(*) FROM results WHERE is_final = 0", 0).await;
        daemon.stop().await;
        let ended = |what: &str| format!("SELECT count(*) FROM requests WHERE {what}");
        assert_eq!(table.number(ended("trigger_name = 'again' AND state = 'dispatched'")).await, ROWS);
        let lost = "trigger_name = 'once' AND state = 'uncertain' AND error_code = 'connection_lost'";
        let lost = table.number(ended(lost)).await;
        let dispatched = table.number(ended("trigger_name = 'once' AND state = 'dispatched'")).await;
        assert_eq!(lost + dispatched, ROWS);
        // Whoever got through was read once, and whoever is in doubt was not read.
        assert_eq!(i64::try_from(firings(&far, "/once").len()).unwrap(), dispatched);
        let unproved = "SELECT count(*) FROM requests WHERE trigger_name = 'once' AND state = 'dispatched'
          AND attempt <> 1 + (SELECT count(*) FROM attempts WHERE request_id = id AND outcome = 'not_sent')";
        assert_eq!(table.number(unproved).await, 0);
        eprintln!("{greeting:?}: {dispatched} got through, {lost} in doubt");
    }
}

#[tokio::test]
async fn an_origin_that_closes_after_each_answer_without_a_word_costs_neither_a_request_nor_a_double() {
    const ROWS: usize = 300;
    /// A connection may be on the shelf of each place when the first silent close is noticed.
    const MOST_IN_DOUBT: i64 = 64;
    let far = FarEnd::start(|seen| {
        let answer = match seen.target.as_str() {
            "/followed" => accepted("/status"),
            "/status" => Answer::status(303).header("Location", "/output"),
            _ => Answer::status(200).body("done"),
        };
        answer.then(Then::Close)
    })
    .await;
    let triggers = [
        at("once", &far, "/once", "call_mode = \"FireAndForget\""),
        at("again", &far, "/again", "call_mode = \"FireAndForget\"\nrepeatable = true"),
        at("followed", &far, "/followed", "repeatable = true"),
    ];
    let site = Site::new(&[QUIET, &triggers.concat()].concat());
    let daemon = site.start().await;
    let mut table = site.table().await;
    for name in ["once", "again", "followed"] {
        table.run(many(name, ROWS)).await;
    }
    for tenth in 1..=10 {
        bounded(far.seen(tenth * ROWS / 2)).await;
    }
    table.until("SELECT count(*) FROM results WHERE is_final = 0", 0).await;
    daemon.stop().await;
    let rows = i64::try_from(ROWS).unwrap();
    let of = |name: &str, state: &str| {
        format!("SELECT count(*) FROM requests WHERE trigger_name = '{name}' AND state = '{state}'")
    };
    assert_eq!(table.number(of("again", "dispatched")).await, rows);
    assert_eq!(table.number(of("followed", "succeeded")).await, rows);
    let doubts = table.number(count("uncertain")).await;
    assert_eq!(table.number(of("once", "dispatched")).await + doubts, rows);
    assert!(doubts <= MOST_IN_DOUBT, "{doubts} in doubt");
    let mut keys: Vec<_> = firings(&far, "/once")
        .iter()
        .map(|seen| seen.header("idempotency-key").unwrap().to_owned())
        .collect();
    let fired = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), fired, "a row was fired twice");
    eprintln!("{ROWS} firings at an origin that closes silently: {doubts} in doubt");
}

#[tokio::test]
async fn a_gateway_that_gives_up_while_the_job_runs_on_starts_no_second_job() {
    let far = FarEnd::start(|seen| match seen.target.rsplit('/').next().and_then(|code| code.parse().ok()) {
        Some(code) if seen.target.starts_with("/once/") => Answer::status(code),
        // The gateway of the repeatable ones gives up once.
        Some(code) if !seen.text().contains("\"n\":2") => Answer::status(code),
        _ => accepted("/status"),
    })
    .await;
    let codes = [502, 504, 524, 598];
    let triggers: String = codes
        .iter()
        .map(|code| {
            at(&format!("once-{code}"), &far, &format!("/once/{code}"), "")
                + &at(&format!("held-{code}"), &far, &format!("/once/{code}"), "call_mode = \"LongPolling\"")
                + &at(
                    &format!("again-{code}"),
                    &far,
                    &format!("/again/{code}"),
                    "repeatable = true\nretry = { max_attempts = 3, initial = \"1ms\", max = \"1ms\" }",
                )
        })
        .collect();
    let site = Site::new(&triggers);
    let daemon = site.start().await;
    let mut table = site.table().await;
    for code in codes {
        for name in ["once", "held", "again"] {
            let id = insert(&mut table, &format!("{name}-{code}")).await;
            table.meets(id, "uncertain gateway_error").await;
            let attempts = if name == "again" { 3 } else { 1 };
            let sql =
                format!("SELECT count(*) FROM attempts WHERE request_id = {id} AND outcome = 'ambiguous'");
            assert_eq!(table.number(sql).await, attempts, "{name}-{code}");
        }
        assert_eq!(firings(&far, &format!("/once/{code}")).len(), 2);
        let again = firings(&far, &format!("/again/{code}"));
        let key = again[0].header("idempotency-key");
        assert!(again.len() == 3 && again.iter().all(|seen| seen.header("idempotency-key") == key));
    }
    daemon.stop().await;
}
