//! A far end that sends more than anybody wants.

use super::{at, insert};
use crate::process::QUIET;
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd, Then};

/// Of `max_output`, at which everything is cut.
const CAP: i64 = 1024 * 1024;
/// Answers at once of each kind.
const AT_ONCE: usize = 4;
/// What all kinds may add to the daemon's memory while each trigger has this many under way: four caps for each answer
/// would be more.
const MOST_KIB: u64 = 100 * 1024;

/// A small one.
const CHUNK: &str = "40\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";

/// An answer that announces another one.
const INTERIM: &str = "HTTP/1.1 103 Hint\r\na: b\r\n\r\n";

/// The ten bytes that every gzip file begins with, and then what nobody inflates.
const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";

fn cases() -> Vec<(&'static str, Answer, &'static str)> {
    let ok = || Answer::status(200).header("Content-Type", "application/json");
    let chunked = || ok().header("Transfer-Encoding", "chunked");
    let cut = "succeeded output_too_large";
    vec![
        ("giant", ok().announcing(usize::MAX >> 1).then(Then::Flood), cut),
        ("one-chunk", chunked().body("7fffffffffffffff\r\n").then(Then::Flood), cut),
        ("chunks", chunked().then(Then::Repeat(CHUNK)), cut),
        ("unframed", Answer::raw("HTTP/1.1 200 OK\r\n\r\n").then(Then::Flood), cut),
        ("trailers", chunked().body("0\r\n").then(Then::Repeat("a: b\r\n")), "uncertain output_unreadable"),
        (
            "a-long-extension",
            chunked().body("4;a=").then(Then::Repeat("bbbbbbbbbbbbbbbb")),
            "uncertain output_unreadable",
        ),
        (
            "a-header-of-a-megabyte",
            Answer::status(200).header("a", &"b".repeat(1 << 20)).then(Then::Hang),
            "uncertain connection_lost",
        ),
        (
            "many-headers",
            Answer::raw(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "name: value\r\n".repeat(1 << 16)))
                .then(Then::Hang),
            "uncertain connection_lost",
        ),
        (
            "endless-headers",
            Answer::raw("HTTP/1.1 200 OK\r\n").then(Then::Repeat("a: b\r\n")),
            "uncertain connection_lost",
        ),
        ("interim-answers", Answer::raw("").then(Then::Repeat(INTERIM)), "uncertain connection_lost"),
        ("gzip", ok().header("Content-Encoding", "gzip").body(GZIP), "succeeded"),
        (
            "a-gzip-flood",
            ok().header("Content-Encoding", "gzip").announcing(1 << 40).body(GZIP).then(Then::Flood),
            cut,
        ),
        ("nested", ok().header("Content-Encoding", "gzip, br, gzip, deflate").body(GZIP), "succeeded"),
        (
            "gzip-chunks",
            chunked().header("Transfer-Encoding", "gzip, chunked").then(Then::Flood),
            "uncertain output_unreadable",
        ),
    ]
}

#[tokio::test]
async fn what_comes_without_end_is_cut_at_the_cap_in_flat_memory() {
    let far = FarEnd::start(|seen| {
        let name = seen.target.trim_start_matches('/');
        let case = cases().into_iter().find(|(case, ..)| *case == name);
        case.map_or_else(|| Answer::status(200).body("well"), |(_, answer, _)| answer)
    })
    .await;
    let keys = "call_mode = \"LongPolling\"\nresponse_timeout = \"5s\"\nfault_pointer = \"/error\"";
    let mut triggers: String =
        cases().iter().map(|(name, ..)| at(name, &far, &format!("/{name}"), keys)).collect();
    triggers.push_str(&at("t", &far, "/t", keys));
    let site = Site::new(&[QUIET, &triggers].concat());
    let daemon = site.start().await;
    let mut table = site.table().await;
    let first = insert(&mut table, "t").await;
    table.meets(first, "succeeded").await;
    let before = daemon.peak_memory();
    let mut expected = Vec::new();
    for (name, _, fate) in cases() {
        for _ in 0..AT_ONCE {
            expected.push((insert(&mut table, name).await, name, fate));
        }
    }
    let beside = insert(&mut table, "t").await;
    table.meets(beside, "succeeded").await;
    for (id, name, fate) in &expected {
        assert!(!name.is_empty());
        table.meets(*id, fate).await;
        let kept = format!(
            "SELECT coalesce(max(length(CAST(body AS BLOB))), 0) FROM outputs WHERE request_id = {id}"
        );
        let kept = table.number(kept).await;
        match *fate {
            "succeeded output_too_large" => assert_eq!(kept, CAP, "{name}"),
            "succeeded" => {
                let whole = format!(
                    "SELECT count(*) FROM outputs WHERE request_id = {id} AND CAST(body AS BLOB) = x'1f8b0800000000000003' AND truncated = 0"
                );
                assert_eq!(table.number(whole).await, 1, "{name} is kept as it came");
            }
            _ => assert_eq!(kept, 0, "{name}"),
        }
    }
    let peak = daemon.peak_memory();
    eprintln!(
        "{} floods, {AT_ONCE} of each at once: peak memory {before} KiB before, {peak} KiB after",
        cases().len()
    );
    assert!(peak < before + MOST_KIB, "{before} KiB before, {peak} KiB after");
    assert_eq!(far.all().len(), expected.len() + 2, "nothing was fired twice");
    daemon.stop().await;
}

#[tokio::test]
async fn a_poll_that_floods_is_cut_and_asked_again_by_its_head() {
    let far = FarEnd::start(|seen| match (seen.target.as_str(), seen.order) {
        ("/fire", _) => super::accepted("/status").announcing(1 << 40).then(Then::Flood),
        ("/status", 1..4) => Answer::status(200).announcing(1 << 40).then(Then::Flood),
        ("/status", _) => {
            Answer::status(303).header("Location", "/output").announcing(1 << 40).then(Then::Flood)
        }
        _ => Answer::status(200).body("done"),
    })
    .await;
    let site = Site::new(&at("t", &far, "/fire", ""));
    let daemon = site.start().await;
    let mut table = site.table().await;
    let id = insert(&mut table, "t").await;
    table.meets(id, "succeeded").await;
    assert_eq!(table.text("SELECT output FROM results").await, "done");
    assert_eq!(far.all().len(), 6);
    daemon.stop().await;
}
