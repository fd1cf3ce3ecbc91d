//! The real daemon against the emulator.

use serde_json::{Value, json};
use triggerd::emulator::Emulator;

use crate::support::daemon::{Daemon, Site, Table};
use crate::support::emulator::{FOLDER, emulator};

/// A daemon with one trigger, `t`, at an emulator.
struct Pair {
    emulator: Emulator,
    table: Table,
    daemon: Daemon,
    _site: Site,
}

impl Pair {
    /// `settings` of the emulator, and further `keys` of the trigger.
    async fn with(settings: &str, keys: &str) -> Self {
        let emulator = emulator(settings).await;
        Self::of(emulator, keys, Site::new("")).await
    }

    async fn of(emulator: Emulator, keys: &str, site: Site) -> Self {
        site.configure(&format!(
            "[triggers.t]\nurl = \"{}\"\npoll = {{ initial = \"20ms\", factor = 1.0, max = \"20ms\" }}\n\
             retry = {{ initial = \"1ms\", max = \"1ms\" }}\n{keys}\n",
            emulator.trigger_url(FOLDER, "hello")
        ));
        let daemon = site.start().await;
        let table = site.table().await;
        Self { emulator, table, daemon, _site: site }
    }

    /// Inserts a request; its number.
    async fn insert(&mut self, mode: &str, arguments: &Value) -> i64 {
        self.table
            .number(format!(
                "INSERT INTO requests (trigger_name, call_mode, arguments) VALUES ('t', '{mode}', '{arguments}') RETURNING id"
            ))
            .await
    }

    /// Inserts a request that meets this fate; its output.
    async fn meets(&mut self, mode: &str, emulate: Value, fate: &str) -> String {
        let id = self.insert(mode, &json!({"month": 11, "emulate": emulate})).await;
        self.table.meets(id, fate).await;
        self.table.text(format!("SELECT output FROM results WHERE id = {id}")).await
    }

    /// The answers of the emulator on one leg, in order.
    fn answers(&self, leg: &str) -> Vec<String> {
        let calls = self.emulator.calls();
        let calls = calls.iter().filter(|call| call.leg == Some(leg));
        calls.map(|call| serde_json::to_value(call.answer).unwrap().to_string()).collect()
    }

    fn count(&self) -> (u64, u64) {
        count(&self.emulator)
    }

    /// Stops the daemon in order: whatever it was about to do, it has done.
    async fn stop(self) -> Emulator {
        self.table.close().await;
        self.daemon.stop().await;
        self.emulator
    }
}

/// Firings and jobs of the only request.
fn count(emulator: &Emulator) -> (u64, u64) {
    let firings = emulator.firings();
    assert_eq!((firings.keys.len(), firings.without_key), (1, 0));
    (firings.firings, firings.jobs)
}

const ASYNC: &str = "AsyncRequestReply";
const HELD: &str = "LongPolling";
const FORGET: &str = "FireAndForget";

#[tokio::test]
async fn each_mode_comes_to_its_end() {
    // Many times as long as a leg and a pause, since one of them may come late.
    let mut pair = Pair::with("[defaults]\nduration = \"1500ms\"\nhold = \"40ms\"\n", "").await;
    assert_eq!(pair.meets(ASYNC, json!({}), "succeeded").await, r#"{"month":11}"#);
    assert!(pair.answers("status").len() >= 2, "it was asked while it ran");
    assert_eq!(pair.answers("output"), ["200"]);
    pair.emulator.reset();

    assert_eq!(pair.meets(HELD, json!({}), "succeeded").await, r#"{"month":11}"#);
    let legs = pair.answers("status");
    assert!(legs.len() >= 2, "over several legs: {legs:?}");
    let (end, on) = legs.split_last().unwrap();
    assert!(end == "200" && on.iter().all(|answer| answer == "303"), "{legs:?}");
    assert_eq!(pair.answers("start"), ["303"]);
    pair.emulator.reset();

    assert_eq!(pair.meets(FORGET, json!({"hold": "5s"}), "dispatched").await, "");
    assert_eq!((pair.answers("start"), pair.answers("status").len()), (vec!["200".to_owned()], 0));
    assert_eq!(pair.count(), (1, 1));
    pair.stop().await;
}

#[tokio::test]
async fn a_job_that_ends_badly_is_a_failure() {
    let mut pair =
        Pair::with("[defaults]\nduration = \"0s\"\nend = \"fault\"\n", "fault_pointer = \"/code\"").await;
    for mode in [ASYNC, HELD] {
        for status in [200, 400, 500] {
            let output = pair.meets(mode, json!({"fault_status": status}), "failed job_faulted").await;
            let error: Value = serde_json::from_str(&output).unwrap();
            assert_eq!((&error["code"], &error["status"]), (&json!("Faulted"), &json!(status)), "{mode}");
        }
    }
    let emulator = pair.stop().await;
    assert!(emulator.firings().doubles.is_empty(), "nothing was fired twice");
}

#[tokio::test]
async fn servers_that_differ_are_followed_all_the_same() {
    let mut pair = Pair::with("[defaults]\nduration = \"30ms\"\nhold = \"10ms\"\n", "").await;
    for manners in [
        json!({"redirect_status": 302}),
        json!({"relative_location": true}),
        json!({"fresh_links": false}),
        json!({"running_body": "empty"}),
        json!({"retry_after": "0s"}),
        json!({"output": null}),
    ] {
        for mode in [ASYNC, HELD] {
            pair.meets(mode, manners.clone(), "succeeded").await;
        }
    }
    assert_eq!(pair.meets(HELD, json!({"single_use_links": true}), "succeeded").await, r#"{"month":11}"#);
    pair.stop().await;
}

#[tokio::test]
async fn links_at_a_portal_are_followed_where_it_is_allowed() {
    let settings = "portal = \"127.0.0.1:0\"\n[defaults]\nduration = \"0s\"\nhold = \"0s\"\n";
    let emulator = emulator(settings).await;
    let portal = format!("allowed_origins = [\"http://{}\"]", emulator.portal().unwrap());
    let mut pair = Pair::of(emulator, &portal, Site::new("")).await;
    assert_eq!(pair.meets(ASYNC, json!({}), "succeeded").await, r#"{"month":11}"#);
    assert_eq!(pair.meets(HELD, json!({"duration": "30ms"}), "succeeded").await, r#"{"month":11}"#);
    pair.stop().await;

    let mut pair = Pair::with(settings, "").await;
    pair.meets(ASYNC, json!({}), "polling forbidden_origin").await;
    assert_eq!((pair.count(), pair.answers("status").len()), ((1, 1), 0));
    pair.stop().await;
}

#[tokio::test]
async fn what_may_have_started_a_job_is_uncertain_and_never_fired_again() {
    for (trouble, fate) in [
        (json!({"on": "start", "status": 502, "after": true}), "uncertain gateway_error"),
        (json!({"on": "start", "do": "drop", "after": true}), "uncertain connection_lost"),
        (json!({"on": "start", "do": "reset", "after": true}), "uncertain connection_lost"),
        (json!({"on": "start", "do": "no_location"}), "uncertain missing_location"),
    ] {
        let mut pair = Pair::with("", "").await;
        pair.meets(ASYNC, json!({"trouble": [trouble]}), fate).await;
        let emulator = pair.stop().await;
        assert_eq!(count(&emulator), (1, 1), "{fate}");
    }
}

#[tokio::test]
async fn what_is_repeatable_is_fired_again_and_a_server_that_looks_at_keys_makes_one_job() {
    let mut pair = Pair::with("[defaults]\nduration = \"0s\"\n", "repeatable = true").await;
    let before = json!({"on": "start", "status": 502, "times": 2});
    pair.meets(ASYNC, json!({"trouble": [before]}), "succeeded").await;
    assert_eq!(
        (pair.count(), pair.answers("start")),
        ((3, 1), vec!["502".into(), "502".into(), "202".into()])
    );
    pair.emulator.reset();
    let after = json!([{"on": "start", "status": 502, "after": true}]);
    pair.meets(ASYNC, json!({"trouble": after.clone()}), "succeeded").await;
    assert_eq!(pair.count(), (2, 2), "this server does not look at keys");
    pair.emulator.reset();
    pair.meets(ASYNC, json!({"trouble": after, "deduplicate": true}), "succeeded").await;
    assert_eq!(pair.count(), (2, 1));
    pair.stop().await;
}

#[tokio::test]
async fn a_refusal_is_waited_for_in_both_forms() {
    let mut pair = Pair::with("[defaults]\nduration = \"0s\"\n", "").await;
    for form in ["seconds", "date"] {
        let trouble = json!({"on": "start", "status": 429, "retry_after": "2s", "retry_after_form": form});
        pair.meets(ASYNC, json!({"trouble": [trouble]}), "succeeded").await;
        let calls = pair.emulator.calls();
        let starts: Vec<_> = calls.iter().filter(|call| call.leg == Some("start")).collect();
        let wait = starts[1].time.since(starts[0].time);
        // A date has no fraction of a second, so up to one is lost.
        assert!(starts.len() == 2 && wait.as_millis() >= 1000, "{form}: {wait:?}");
        assert_eq!(pair.count(), (2, 1));
        pair.emulator.reset();
    }
    pair.stop().await;
}

#[tokio::test]
async fn a_401_in_the_middle_is_got_over_with_the_token() {
    let site = Site::new("");
    site.write("token", "s3cret");
    let token = format!("token = {{ file = \"{}\" }}\n", site.path("token").display());
    let emulator = emulator(&format!("{token}[defaults]\nduration = \"0s\"\nhold = \"0s\"\n")).await;
    let credential = format!("credential = \"c\"\n[credentials.c]\nkind = \"bearer\"\n{token}");
    let mut pair = Pair::of(emulator, &credential, site).await;
    let trouble = json!([{"on": "status", "status": 401}, {"on": "output", "status": 401}]);
    assert_eq!(pair.meets(ASYNC, json!({"trouble": trouble}), "succeeded").await, r#"{"month":11}"#);
    assert_eq!(
        (pair.answers("status"), pair.answers("output")),
        (vec!["401".into(), "303".into()], vec!["401".into(), "200".into()])
    );
    pair.emulator.reset();
    pair.meets(HELD, json!({"trouble": trouble, "duration": "50ms"}), "succeeded").await;
    assert_eq!(pair.answers("status")[0], "401");
    assert_eq!(pair.count(), (1, 1));
    pair.stop().await;
}

#[tokio::test]
async fn trouble_while_polling_is_waited_out() {
    let mut pair = Pair::with("[defaults]\nduration = \"0s\"\nhold = \"0s\"\n", "").await;
    for trouble in [
        json!([{"on": "status", "status": 502, "times": 3}]),
        json!([{"on": "status", "do": "drop"}, {"on": "output", "do": "reset"}]),
        json!([{"on": "output", "do": "cut"}]),
        json!([{"on": "status", "status": 404}, {"on": "output", "status": 404}]),
        json!([{"on": "status", "status": 429, "retry_after": "1s"}]),
        json!([{"on": "status", "do": "slow", "delay": "50ms"}]),
    ] {
        let output = pair.meets(ASYNC, json!({"trouble": trouble.clone()}), "succeeded").await;
        assert_eq!(output, r#"{"month":11}"#, "{trouble}");
    }
    let page = json!([{"on": "output", "status": 200, "body": "html"}]);
    pair.meets(ASYNC, json!({"trouble": page}), "uncertain output_unreadable").await;
    let huge = json!([{"on": "output", "do": "huge", "bytes": "2MiB"}]);
    pair.meets(ASYNC, json!({"trouble": huge}), "succeeded output_too_large").await;
    pair.meets(
        ASYNC,
        json!({"trouble": [{"on": "output", "do": "loop", "times": "always"}]}),
        "uncertain redirect_loop",
    )
    .await;
    let emulator = pair.stop().await;
    assert!(emulator.firings().doubles.is_empty(), "nothing was fired twice");
}
