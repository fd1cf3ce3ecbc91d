//! Answers that lead elsewhere: in circles, to other hosts, to the machine itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{accepted, at, insert};
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd};

/// Stands for what a query may hold.
const CANARY: &str = "c4n4ry";

#[tokio::test]
async fn a_uri_at_another_host_is_kept_and_nothing_is_sent_there() {
    let other = FarEnd::start(|_| Answer::status(200).body("stolen")).await;
    let port = other.url("/").port().unwrap();
    let elsewhere = [
        format!("http://127.0.0.1:{port}/s?code={CANARY}"),
        format!("//127.0.0.1:{port}/s?code={CANARY}"),
        format!("http://user:{CANARY}@127.0.0.1:{port}/s?code={CANARY}#{CANARY}"),
        format!("http://2130706433:{port}/s?code={CANARY}"),
        format!("http://0x7f.1:{port}/s?code={CANARY}"),
        format!("http://[::1]:{port}/s?code={CANARY}"),
        format!("http://[::ffff:127.0.0.1]:{port}/s?code={CANARY}"),
        format!("http://localhost:{port}/s?code={CANARY}"),
        format!("http://169.254.169.254/latest/meta-data?code={CANARY}"),
        format!("http://metadata.google.internal/?code={CANARY}"),
        format!("https://elsewhere.invalid/s?code={CANARY}"),
        format!("ftp://127.0.0.1:{port}/s?code={CANARY}"),
    ];
    let leads = elsewhere.clone();
    let far = FarEnd::start(move |seen| {
        let mut parts = seen.target.split('/').skip(1);
        let (way, n) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let elsewhere = n.parse().ok().and_then(|n: usize| leads.get(n)).expect("a number");
        match way {
            "fire" => accepted(elsewhere),
            "leg" => Answer::status(303).header("Location", elsewhere),
            "hop" => accepted(&format!("/moved/{n}")),
            "moved" => Answer::status(307).header("Location", elsewhere),
            "end" => accepted(&format!("/ended/{n}")),
            _ => Answer::status(303).header("Location", elsewhere),
        }
    })
    .await;
    let ways = ["fire", "leg", "hop", "end"];
    let credential = "credential = \"key\"\nheaders = { x-functions-key = \"c4n4ry-header\" }\n";
    let triggers: String = ways
        .iter()
        .flat_map(|way| (0..elsewhere.len()).map(move |n| (way, n)))
        .map(|(way, n)| at(&format!("{way}-{n}"), &far, &format!("/{way}/{n}"), credential))
        .collect();
    let site = Site::new("");
    site.write("token", "t0k3n");
    let token = site.path("token").display().to_string();
    site.configure(&format!(
        "[credentials.key]\nkind = \"bearer\"\ntoken = {{ file = \"{token}\" }}\n{triggers}"
    ));
    let daemon = site.start().await;
    let mut table = site.table().await;
    for way in ways {
        for n in 0..elsewhere.len() {
            let id = insert(&mut table, &format!("{way}-{n}")).await;
            let state = if way == "end" { "collecting" } else { "polling" };
            table.meets(id, &format!("{state} forbidden_origin")).await;
            let (message, why): (String, String) = table
                .row(format!(
                    "SELECT error_message, why FROM requests JOIN request_why USING (id) WHERE id = {id}"
                ))
                .await;
            assert!(!message.contains(CANARY) && !why.contains(CANARY), "{message}; {why}");
            assert!(message.contains("allowed_origins"), "{message}");
        }
    }
    // A start asks nothing of them either.
    daemon.kill().await;
    let daemon = site.start().await;
    let log = daemon.stop().await;
    assert!(!log.contains(CANARY), "{log}");
    assert_eq!(other.connections(), 0);
    let rows = ways.len() * elsewhere.len();
    let firings = far.all().iter().filter(|seen| seen.method == "POST").count();
    assert_eq!(firings, rows);
    let unfinished = "SELECT count(*) FROM requests WHERE error_code = 'forbidden_origin' AND state IN ('polling', 'collecting')";
    assert_eq!(table.number(unfinished).await, i64::try_from(rows).unwrap());
}

#[tokio::test]
async fn userinfo_and_fragment_of_a_location_are_not_sent() {
    let far = FarEnd::start(|seen| {
        let host = seen.header("host").unwrap();
        match seen.target.as_str() {
            "/fire" => accepted(&format!("http://user:word@{host}/status?sig=1#part")),
            "/status?sig=1" => Answer::status(303).header("Location", &format!("//user@{host}/output#part")),
            _ => Answer::status(200).body("done"),
        }
    })
    .await;
    let site = Site::new("");
    site.write("token", "t0k3n");
    let token = site.path("token").display().to_string();
    site.configure(&format!(
        "[credentials.key]\nkind = \"bearer\"\ntoken = {{ file = \"{token}\" }}\n{}",
        at("t", &far, "/fire", "credential = \"key\"")
    ));
    let daemon = site.start().await;
    let mut table = site.table().await;
    let id = insert(&mut table, "t").await;
    table.meets(id, "succeeded").await;
    daemon.stop().await;
    let seen = far.all();
    let targets: Vec<_> = seen.iter().map(|seen| seen.target.as_str()).collect();
    assert_eq!(targets, ["/fire", "/status?sig=1", "/output"]);
    assert!(seen.iter().all(|seen| seen.header("authorization") == Some("Bearer t0k3n")));
}

#[tokio::test]
async fn redirects_without_end_are_given_up_and_the_trigger_is_not_fired_by_them() {
    let asked = Arc::new(AtomicUsize::new(0));
    let nth = Arc::clone(&asked);
    let far = FarEnd::start(move |seen| {
        let status = seen.target.split('/').nth(1).and_then(|code| code.parse().ok());
        match status {
            Some(code) if seen.method == "POST" => Answer::status(code).header("Location", "/elsewhere"),
            Some(code) => {
                let to = format!("/{code}/{}", nth.fetch_add(1, Ordering::SeqCst));
                Answer::status(code).header("Location", &to)
            }
            None => accepted(&format!("/{}/a", seen.target.rsplit('/').next().unwrap())),
        }
    })
    .await;
    let codes = [301, 307, 308];
    let triggers: String = codes
        .iter()
        .map(|code| {
            at(&format!("fired-{code}"), &far, &format!("/{code}/fire"), "")
                + &at(&format!("polled-{code}"), &far, &format!("/fire/{code}"), "")
        })
        .collect();
    let site = Site::new(&triggers);
    let daemon = site.start().await;
    let mut table = site.table().await;
    for code in codes {
        let id = insert(&mut table, &format!("fired-{code}")).await;
        table.meets(id, "rejected unexpected_redirect").await;
        let id = insert(&mut table, &format!("polled-{code}")).await;
        table.meets(id, "uncertain redirect_loop").await;
    }
    daemon.stop().await;
    let posts = far.all().iter().filter(|seen| seen.method == "POST").count();
    assert_eq!((posts, far.all().len() - posts), (6, 3 * 6), "five redirects are followed");
}
