//! What is played: the two configurations, the rows, and how each must end.

/// The far end: where `triggerd emulate` would read it from. Its jobs only take time.
pub(super) const EMULATOR: &str = r#"# What the local orchestrator does. Try it yourself: triggerd emulate --file emulator.toml
listen = "127.0.0.1:0"

[defaults]
duration = "1s"
hold = "400ms" # of a blocking call; the real one holds for 25 s

[triggers.nightly-report]

[triggers.big-import]
duration = "4s"

[triggers.broken-import]
end = "fault"
fault_status = 400

[triggers.credit-check]
duration = "2500ms"

[triggers.cache-refresh]

[triggers.flaky-gateway]
trouble = [{ on = "start", status = 502, after = true }] # the job was started all the same

[triggers.patient-gateway]
trouble = [{ on = "start", status = 502, times = 1 }]

[triggers.locked-door]
trouble = [{ on = "start", status = 403 }]
"#;

/// The daemon's configuration; `ORIGIN` and `DATABASE` are put in.
pub(super) const CONFIGURATION: &str = r#"[database]
url = "sqlite:DATABASE"

# AsyncRequestReply: 202 and a status URI, which is polled until it leads to the output.
[triggers.nightly-report]
url = "ORIGIN/t/00000000-0000-4000-8000-000000000001/nightly-report"
poll = { initial = "200ms", max = "500ms" }

[triggers.big-import]
url = "ORIGIN/t/00000000-0000-4000-8000-000000000001/big-import"
poll = { initial = "200ms", max = "500ms" }

[triggers.broken-import]
url = "ORIGIN/t/00000000-0000-4000-8000-000000000001/broken-import"
poll = { initial = "200ms", max = "500ms" }

[triggers.flaky-gateway]
url = "ORIGIN/t/00000000-0000-4000-8000-000000000001/flaky-gateway"

[triggers.patient-gateway]
url = "ORIGIN/t/00000000-0000-4000-8000-000000000001/patient-gateway"
repeatable = true # firing twice is harmless: when in doubt, it is done
poll = { initial = "200ms", max = "500ms" }
retry = { initial = "200ms" }

[triggers.locked-door]
url = "ORIGIN/t/00000000-0000-4000-8000-000000000001/locked-door"

# LongPolling: each call blocks until the job ends, or leads to the next blocking call.
[triggers.credit-check]
url = "ORIGIN/t/00000000-0000-4000-8000-000000000001/credit-check"
call_mode = "LongPolling"

# FireAndForget: the answer to the call is all that will be known.
[triggers.cache-refresh]
url = "ORIGIN/t/00000000-0000-4000-8000-000000000001/cache-refresh"
call_mode = "FireAndForget"
"#;

/// One request.
pub(super) struct Scene {
    /// What the producer runs.
    pub(super) sql: &'static str,
    /// What it is there to show.
    pub(super) shows: &'static str,
    /// Its trigger, which nobody else uses.
    pub(super) trigger: &'static str,
    /// How it must end.
    pub(super) state: &'static str,
    /// With which code.
    pub(super) code: Option<&'static str>,
    /// How often the far end must have been called for it.
    pub(super) firings: u64,
    /// How many jobs of it the far end must have had.
    pub(super) jobs: u64,
}

/// In the order in which they are inserted, so the first has the id 1.
pub(super) const SCENES: [Scene; 8] = [
    Scene {
        sql: r#"INSERT INTO requests (trigger_name, arguments) VALUES ('nightly-report', '{"month": "2026-10"}')"#,
        shows: "a job that is polled",
        trigger: "nightly-report",
        state: "succeeded",
        code: None,
        firings: 1,
        jobs: 1,
    },
    Scene {
        sql: "INSERT INTO requests (trigger_name) VALUES ('big-import')",
        shows: "a slow one, which outlives the daemon",
        trigger: "big-import",
        state: "succeeded",
        code: None,
        firings: 1,
        jobs: 1,
    },
    Scene {
        sql: "INSERT INTO requests (trigger_name) VALUES ('broken-import')",
        shows: "a job that fails",
        trigger: "broken-import",
        state: "failed",
        code: Some("job_faulted"),
        firings: 1,
        jobs: 1,
    },
    Scene {
        sql: r#"INSERT INTO requests (trigger_name, arguments) VALUES ('credit-check', '{"customer": 4711}')"#,
        shows: "calls that block, one after the other",
        trigger: "credit-check",
        state: "succeeded",
        code: None,
        firings: 1,
        jobs: 1,
    },
    Scene {
        sql: "INSERT INTO requests (trigger_name) VALUES ('cache-refresh')",
        shows: "fire and forget",
        trigger: "cache-refresh",
        state: "dispatched",
        code: None,
        firings: 1,
        jobs: 1,
    },
    Scene {
        sql: "INSERT INTO requests (trigger_name) VALUES ('flaky-gateway')",
        shows: "502: did the job start? not fired again",
        trigger: "flaky-gateway",
        state: "uncertain",
        code: Some("gateway_error"),
        firings: 1,
        jobs: 1,
    },
    Scene {
        sql: "INSERT INTO requests (trigger_name) VALUES ('patient-gateway')",
        shows: "502 of a repeatable trigger: fired again",
        trigger: "patient-gateway",
        state: "succeeded",
        code: None,
        firings: 2,
        jobs: 1,
    },
    Scene {
        sql: "INSERT INTO requests (trigger_name) VALUES ('locked-door')",
        shows: "a refused call",
        trigger: "locked-door",
        state: "rejected",
        code: Some("refused"),
        firings: 1,
        jobs: 0,
    },
];

/// A row that must not get in: its trigger is misspelled.
pub(super) const BAD_INSERT: &str = "INSERT INTO requests (trigger_name) VALUES ('nightly-reprot')";

/// How all of them stand.
pub(super) const STANDING: &str = "SELECT id, trigger_name, state, is_final, output, error_code, error_message, \
     duration_ms, coalesce(call_mode, (SELECT t.call_mode FROM triggers AS t WHERE t.name = trigger_name)) AS call_mode \
     FROM results ORDER BY id";

/// Whether the daemon is there.
pub(super) const READY: &str = "SELECT epoch, ready_at FROM daemon";
