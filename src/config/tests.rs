use super::*;

mod schedules;

/// 2026-07-01T12:00:00Z.
const NOW: UnixMillis = UnixMillis(1_782_907_200_000);
const MINIMAL: &str = "[triggers.t]\nurl = 'https://api.example/t'\n";

fn read(text: &str) -> Result<Config, Vec<String>> {
    read_with(text, &[])
}

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    parse(Path::new("f.toml"), text, environment, NOW).map_err(|error| error.problems)
}

/// The problems of a trigger that is good but for `lines`.
fn trigger_problems(lines: &str) -> Vec<String> {
    read(&format!("{MINIMAL}{lines}\n")).map(|_| Vec::new()).unwrap_or_else(|problems| problems)
}

fn token_problems(token: &str) -> Vec<String> {
    read(&format!("{MINIMAL}[credentials.c]\nkind = 'bearer'\ntoken = {token}\n")).unwrap_err()
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let config = read(MINIMAL).unwrap();
    assert_eq!(
        config.database,
        Database {
            path: "/var/lib/triggerd/queue.db".into(),
            synchronous: Synchronous::Full,
            checkpoint: Checkpoint::Daemon
        }
    );
    assert_eq!(
        config.dispatch,
        Dispatch {
            max_in_flight: 1024,
            max_per_origin: 64,
            max_long_polls: 4096,
            breaker: Breaker { failures: 50, initial: Duration::from_secs(1), max: Duration::from_secs(60) },
            poll_rate: None,
            shutdown_grace: Duration::from_secs(75),
            fallback_poll: Duration::from_secs(1),
            ageing: Duration::from_secs(600),
        }
    );
    let days = |days: u64| Some(Duration::from_secs(days * 24 * 3600));
    assert_eq!(
        config.retention,
        Retention {
            succeeded: days(30),
            dispatched: days(30),
            others: days(90),
            outputs: days(30),
            uncertain: None
        }
    );
    assert_eq!(
        config.log,
        Log {
            filter: "info".into(),
            format: LogFormat::Text,
            directory: None,
            max_files: 14,
            rotation: Rotation::Daily
        }
    );
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn a_trigger_of_which_only_the_url_is_said_is_the_one_that_the_code_takes_as_its_base() {
    let read = read(MINIMAL).unwrap().triggers.remove("t").unwrap();
    let base = Trigger::new("t", "https://api.example/t".parse().unwrap());
    assert_eq!(format!("{read:?}"), format!("{base:?}"));
}

#[test]
fn a_table_of_a_trigger_that_says_one_thing_keeps_the_other_defaults() {
    let config = read(&format!("{MINIMAL}poll = {{ max = '10s' }}\nretry.max_attempts = 2\n")).unwrap();
    let trigger = &config.triggers["t"];
    assert_eq!((trigger.poll.initial.as_secs(), trigger.poll.max.as_secs()), (1, 10));
    assert_eq!((trigger.retry.max_attempts, trigger.retry.max_refusals), (2, 300));
}

#[test]
fn everything_that_may_be_said_is_taken() {
    let config = read(
        r#"
        [database]
        url = "sqlite:q.db"
        synchronous = "normal"
        checkpoint = "external"
        [dispatch]
        shutdown_grace = "5m"
        breaker = { failures = 0, max = "5m" }
        poll_rate = "200/1s"
        [retention]
        succeeded = "never"
        uncertain = "1d"
        [log]
        filter = "warn,triggerd=debug"
        format = "json"
        directory = "/var/log/triggerd"
        rotation = "never"
        [credentials.a]
        kind = "bearer"
        token = { env = "TOKEN" }
        [credentials.b]
        kind = "bearer"
        token = { file = "/run/token" }
        [credentials.c]
        kind = "bearer"
        token.credential = "token.c"
        [triggers.a]
        url = "https://api.example:8443/t/x?sig=1"
        method = "PUT"
        call_mode = "LongPolling"
        send_call_mode = false
        credential = "a"
        headers = { X-Tenant = "a b", "Accept" = "application/json" }
        description = "Die Nächtlichen"
        repeatable = true
        retry_faults = true
        not_started = [503, 599]
        fault_pointer = "/error/~0~1"
        accept_html = true
        allowed_origins = ["https://portal.example", "http://[::1]:80"]
        credential_on_status = false
        connect_timeout = "250ms"
        response_timeout = "4m"
        deadline = "30m"
        lost_grace = "0s"
        retry_after_max = "0s"
        poll = { initial = "2s", factor = 2, max = "2s" }
        max_concurrent = 4
        pause_after_refusals = 5
        max_arguments = "2B"
        max_output = "256MiB"
        [triggers.b]
        url = "http://127.0.0.1:1/"
        credential = "b"
        [triggers.c-1_2]
        url = "http://localhost"
        credential = "c"
        "#,
    )
    .unwrap();
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(config.database.path, Path::new("q.db"));
    assert_eq!(
        (config.retention.succeeded, config.retention.uncertain),
        (None, Some(Duration::from_secs(86_400)))
    );
    assert_eq!(config.dispatch.poll_rate, Some(Rate { limit: 200, per: Duration::from_secs(1) }));
    let breaker = &config.dispatch.breaker;
    assert_eq!((breaker.failures, breaker.initial.as_secs(), breaker.max.as_secs()), (0, 1, 300));
    let trigger = &config.triggers["a"];
    assert_eq!(trigger.url.as_str(), "https://api.example:8443/t/x?sig=1");
    assert_eq!(
        trigger.headers,
        [("accept".into(), "application/json".into()), ("x-tenant".into(), "a b".into())]
    );
    assert!(trigger.allows(&"http://[::1]/x".parse().unwrap()));
    assert_eq!(trigger.not_started, [503, 599]);
    assert_eq!(trigger.pause_after_refusals, Some(5));
    assert_eq!(trigger.deadline, Some(Duration::from_secs(1800)));
    assert_eq!(config.triggers.keys().collect::<Vec<_>>(), ["a", "b", "c-1_2"]);
    let tokens: Vec<_> =
        config.credentials.values().map(|Credential::Bearer { token }| token.clone()).collect();
    use crate::secret::Reference::{Credential as Systemd, Env, File};
    assert_eq!(tokens, [Env("TOKEN".into()), File("/run/token".into()), Systemd("token.c".into())]);
}

#[test]
fn every_problem_is_listed_at_once_with_its_place() {
    let problems = read_with(
        r#"
        stray = 1
        [database]
        url = "postgres://me:hunter2@db/queue"
        synchronus = "full"
        [dispatch]
        max_in_flight = 0
        fallback_poll = "0s"
        shutdown_grace = 75
        breaker = { failures = -1, initial = "2m", wait = "1s" }
        poll_rate = 200
        [retention]
        others = "soon"
        [log]
        format = "xml"
        filter = "triggerd=loud"
        [credentials.vault]
        kind = "oauth2_client_credentials"
        client_secret = { env = "S" }
        [credentials.lit]
        kind = "bearer"
        token = "hunter2"
        [triggers.Nightly]
        url = "https://api.example/"
        [triggers.a]
        call_mode = "longpolling"
        credential = "hunter2"
        rate = "50/m"
        max_concurrent_per_key = 0
        burst = 60
        rate_per_key = "5/1m"
        burst_per_key = 6
        connect_timeout = "60s"
        poll = { initial = "1m", factor = 0.5, maximum = "1s" }
        [triggers.b]
        url = "ftp://api.example/"
        "#,
        &[
            ("TRIGGERD__DISPATCH__MAX_PER_ORIGIN", "many"),
            ("TRIGGERD__TRIGGERS__A__URL", "https://hunter2@x/"),
        ],
    )
    .unwrap_err();
    for expected in [
        "f.toml: stray: unknown key",
        "f.toml: database.url: must be sqlite:",
        "f.toml: database.synchronus: unknown key (known here: url, synchronous, checkpoint)",
        "f.toml: dispatch.max_in_flight: must be a whole number from 1",
        "f.toml: dispatch.fallback_poll: must be longer than zero",
        "f.toml: dispatch.shutdown_grace: needs a unit",
        "f.toml: dispatch.poll_rate: needs a duration, such as 50/1m",
        "f.toml: dispatch.breaker.failures: must be a whole number from 0",
        "f.toml: dispatch.breaker.initial: must not be longer than max, which is 60s",
        "f.toml: dispatch.breaker.wait: unknown key (known here: failures, initial, max)",
        "TRIGGERD__DISPATCH__MAX_PER_ORIGIN: must be a whole number",
        "TRIGGERD__TRIGGERS__A__URL: overrides nothing",
        "f.toml: retention.others: must be a duration",
        "f.toml: log.format: must be one of text, json",
        "f.toml: log.filter: must be a level",
        "f.toml: credentials.vault.kind: is not supported by this version",
        "f.toml: credentials.lit.token: must be one reference",
        "f.toml: triggers.Nightly: a name is made of",
        "f.toml: triggers.a.url: is missing",
        "f.toml: triggers.a.call_mode: must be one of AsyncRequestReply, FireAndForget, LongPolling",
        "f.toml: triggers.a.credential: must be the name of a [credentials.NAME]; there is lit, vault",
        "f.toml: triggers.a.rate: must have a duration behind the /",
        "f.toml: triggers.a.max_concurrent_per_key: must be a whole number from 1",
        "f.toml: triggers.a.burst: has no meaning without rate",
        "f.toml: triggers.a.burst_per_key: must not be above 5, the number of rate_per_key",
        "f.toml: triggers.a.connect_timeout: must be below response_timeout",
        "f.toml: triggers.a.poll.initial: must not be longer than max",
        "f.toml: triggers.a.poll.factor: must be from 1",
        "f.toml: triggers.a.poll.maximum: unknown key (known here: initial, max, factor)",
        "f.toml: triggers.b.url: must begin with https://",
    ] {
        let found = problems.iter().filter(|problem| problem.starts_with(expected)).count();
        assert_eq!(found, 1, "{expected} in {problems:#?}");
    }
    assert_eq!(problems.len(), 30, "{problems:#?}");
    assert!(!problems.concat().contains("hunter2"), "{problems:#?}");
}

#[test]
fn the_environment_overrides_the_file_and_nothing_else_does() {
    let file = format!("{MINIMAL}[database]\nurl = 'sqlite:file.db'\n[dispatch]\nmax_in_flight = 5\n");
    let config = read_with(
        &file,
        &[
            ("TRIGGERD__DATABASE__URL", "sqlite:///env.db"),
            ("TRIGGERD__DISPATCH__MAX_IN_FLIGHT", "7"),
            ("TRIGGERD__RETENTION__OUTPUTS", "1d"),
            ("TRIGGERD__DISPATCH__BREAKER__FAILURES", "7"),
            ("TRIGGERD__LOG__FORMAT", ""),
            ("TRIGGERD_CONFIG", "/other"),
            ("TRIGGERDLOGFORMAT", "json"),
            ("LOG__FORMAT", "json"),
        ],
    )
    .unwrap();
    assert_eq!(config.database.path, Path::new("/env.db"));
    assert_eq!(config.dispatch.max_in_flight, 7);
    assert_eq!((config.dispatch.breaker.failures, config.dispatch.breaker.initial.as_secs()), (7, 1));
    assert_eq!(config.retention.outputs, Some(Duration::from_secs(86_400)));
    assert_eq!(config.log.format, LogFormat::Text, "an empty variable is an unset one");
    for name in [
        "TRIGGERD__STRAY",
        "TRIGGERD__LOG__",
        "TRIGGERD__log__filter",
        "TRIGGERD__LOG__A__B[9]",
        "TRIGGERD__",
    ] {
        let problems = read_with(&file, &[(name, "x")]).unwrap_err();
        assert!(problems[0].starts_with(&format!("{name}: overrides nothing")), "{problems:?}");
    }
    let problems = read_with(&file, &[("TRIGGERD__LOG__COLOUR", "hunter2")]).unwrap_err();
    assert!(problems[0].starts_with("TRIGGERD__LOG__COLOUR: unknown key"), "{problems:?}");
}

#[test]
fn a_number_is_text_in_the_environment_only() {
    assert!(read("[dispatch]\nmax_in_flight = '7'").is_err());
}

#[test]
fn a_url_that_means_something_else_than_it_says_is_refused() {
    for url in [
        "",
        "api.example",
        "https:api.example",
        "https://",
        "http:///x",
        "file:///etc/passwd",
        "https://a b/",
        "https://api.example/\\t",
        "https://api.example\t/",
        " https://api.example",
        "https://u@api.example/",
        "https://@api.example/",
        "https://u:p@api.example/",
        "https://api.example/#x",
        "https://api.example:99999/",
        "https://[::1/",
    ] {
        let problems = read(&format!("[triggers.t]\nurl = {url:?}\n")).unwrap_err();
        assert_eq!(problems.len(), 1, "{url}: {problems:?}");
        assert!(problems[0].starts_with("f.toml: triggers.t.url: "), "{problems:?}");
    }
}

#[test]
fn a_database_that_producers_cannot_reach_is_refused() {
    for url in [
        "",
        "queue.db",
        "sqlite:",
        "sqlite://",
        "sqlite:/var/lib/",
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite:q.db?mode=memory",
        "sqlite:q%20.db",
        "postgres://u:p@h/d",
        "SQLITE:q.db",
        "file:q.db",
    ] {
        let problems = read(&format!("{MINIMAL}[database]\nurl = {url:?}\n")).unwrap_err();
        assert!(
            problems.len() == 1 && problems[0].starts_with("f.toml: database.url: "),
            "{url}: {problems:?}"
        );
    }
    for (url, path) in
        [("sqlite:/a/q.db", "/a/q.db"), ("sqlite:///a/q.db", "/a/q.db"), ("sqlite://q.db", "q.db")]
    {
        let config = read(&format!("{MINIMAL}[database]\nurl = {url:?}\n")).unwrap();
        assert_eq!(config.database.path, Path::new(path));
    }
}

#[test]
fn a_header_that_is_not_the_users_to_set_or_could_split_a_request_is_refused() {
    for header in [
        "Authorization = 'hunter2'",
        "host = 'x'",
        "Content-Length = '1'",
        "transfer-encoding = 'chunked'",
        "Connection = 'close'",
        "Idempotency-Key = '1'",
        "User-Agent = 'x'",
        "traceparent = 'x'",
        "Content-Type = 'x'",
        "'a b' = 'x'",
        "'' = 'x'",
        "'a:' = 'x'",
        "x = \"hunter2\\r\\ny: z\"",
        "x = 'hünter2'",
        "x = ''",
        "x = ' x'",
        "x = 1",
        "x = 'a', X = 'b'",
    ] {
        let problems = trigger_problems(&format!("headers = {{ {header} }}"));
        assert_eq!(problems.len(), 1, "{header}: {problems:?}");
        assert!(problems[0].starts_with("f.toml: triggers.t.headers: "), "{problems:?}");
        assert!(!problems[0].contains("unter2"), "{problems:?}");
    }
}

#[test]
fn values_out_of_their_range_are_refused() {
    for line in [
        "method = 'post'",
        "method = 'HEAD'",
        "send_call_mode = 'true'",
        "not_started = [401]",
        "not_started = [200]",
        "not_started = [600]",
        "not_started = 503",
        "not_started = ['503']",
        "fault_pointer = 'error'",
        "fault_pointer = '/a~2'",
        "fault_pointer = '/a~'",
        "allowed_origins = ['https://x.example/']",
        "allowed_origins = ['https://x.example/p']",
        "allowed_origins = ['https://x.example?q']",
        "allowed_origins = ['https://u@x.example']",
        "allowed_origins = ['x.example']",
        "allowed_origins = ['*']",
        "allowed_origins = 'https://x.example'",
        "response_timeout = '0s'",
        "response_timeout = '5s'\nconnect_timeout = '5s'",
        "deadline = '0s'",
        "deadline = 'never'",
        "deadline = '4000d'",
        "connect_timeout = '-1s'",
        "retry.max_attempts = 0",
        "retry.max_refusals = -1",
        "retry = { initial = '6m' }",
        "poll = { factor = inf }",
        "poll = { factor = nan }",
        "poll = { factor = '2' }",
        "poll = 5",
        "max_concurrent = 0",
        "max_arguments = '1B'",
        "max_output = 1024",
        "max_output = '0B'",
        "max_output = '1GiB'",
        "description = 1",
        "credential = 'none'",
        "jitter = true",
    ] {
        let problems = trigger_problems(line);
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
    }
}

#[test]
fn what_was_probably_not_meant_is_a_warning() {
    let warnings = |text: &str| read(text).unwrap().warnings;
    assert_eq!(warnings("")[0], "no trigger is configured: every request will be refused");
    for (lines, expected) in [
        (
            "response_timeout = '76s'",
            "dispatch.shutdown_grace: is 75s, below the response_timeout of trigger t (76s)",
        ),
        ("method = 'GET'", "triggers.t.method: "),
        ("retry_faults = true", "triggers.t.retry_faults: "),
        ("[credentials.spare]\nkind = 'bearer'\ntoken.env = 'T'", "credentials.spare: no trigger uses it"),
        (
            "[triggers.u]\nurl = 'http://api.example'\ncredential = 'c'\n[credentials.c]\nkind = 'bearer'\ntoken.env = 'T'",
            "triggers.u.url: the credential goes over the network in clear text",
        ),
    ] {
        let warnings = warnings(&format!("{MINIMAL}{lines}\n"));
        assert!(warnings.len() == 1 && warnings[0].starts_with(expected), "{lines}: {warnings:?}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_refused_and_not_repeated() {
    for token in [
        "'hunter2'",
        "2",
        "['hunter2']",
        "{}",
        "{ value = 'hunter2' }",
        "{ env = 'hunter-2' }",
        "{ env = '' }",
        "{ env = 'A', file = 'hunter2' }",
        "{ file = '' }",
        "{ file = 'hunter2' }",
        "{ credential = '../hunter2' }",
        "{ credential = '..' }",
        "{ credential = '' }",
        "{ env = 1 }",
    ] {
        let problems = token_problems(token);
        assert_eq!(problems.len(), 1, "{token}: {problems:?}");
        assert!(problems[0].starts_with("f.toml: credentials.c.token: "), "{problems:?}");
        assert!(!problems[0].contains("hunter"), "{problems:?}");
    }
    let misspelled = read("[credentials.c]\nkind = 'bearer'\ntokn = 'hunter2'\n").unwrap_err();
    assert_eq!(misspelled.len(), 2, "{misspelled:?}");
    assert!(!misspelled.concat().contains("hunter2"), "{misspelled:?}");
}

#[test]
fn a_text_that_is_no_toml_says_where_without_showing_the_line() {
    for text in [
        "[credentials.c]\ntoken = \"hunter2\n",
        "token = \"\"\"\nhunter2\nhunter2\n",
        "token = ['hunter2',\n'hunter2'\n",
        "token = 1\rhunter2\n",
        "[credentials.c]\ntoken = hunter2\n",
        "a = 'hunter2' 'hunter2'\n",
        "[credentials.c]\ntoken = 'hunter2'\ntoken = 'hunter2'\n",
        "x = \"hunter2 \\q\"\n",
        "hunter2\n",
    ] {
        let problems = read(text).unwrap_err();
        assert!(
            problems.len() == 1 && problems[0].starts_with("f.toml: TOML parse error at line "),
            "{problems:?}"
        );
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
    }
}

#[test]
fn the_section_of_the_trigger_defaults_is_not_the_users() {
    let problems = read(&format!("{MINIMAL}[trigger]\nmethod = 'PUT'\n")).unwrap_err();
    assert!(problems[0].starts_with("f.toml: trigger: unknown key"), "{problems:?}");
}

#[test]
fn a_file_that_was_asked_for_is_never_replaced_by_another() {
    let error = load(Some(Path::new("/nonexistent/triggerd.toml"))).unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/triggerd.toml: "), "{error}");
    assert_eq!(error.exit_code(), 78);
}

#[test]
fn the_default_connect_timeout_gives_way_to_a_shorter_response_timeout() {
    let text = "[triggers.a]\nurl = 'http://api.example/'\nresponse_timeout = '2s'\n";
    let config = parse(Path::new("f.toml"), text, [], NOW).unwrap();
    assert_eq!(config.triggers["a"].connect_timeout, Duration::from_secs(1));
}
