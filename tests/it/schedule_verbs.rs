//! `triggerd schedule` and `triggerd calendar`: the real binary on real files.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::cli::{Place, code, errors};
use crate::support::bounded;
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd, Hold};

/// One object a line.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A place with some schedules; `last_at` is long ago or the middle of November 2026, as a daemon would have written it.
fn place() -> Place {
    let place = Place::migrated();
    place.sql(
        "INSERT INTO calendars (name, time_zone) VALUES ('holidays', 'Europe/Berlin');
         INSERT INTO calendar_dates VALUES ('holidays', '2024-12-25'), ('holidays', '2024-12-26');
         INSERT INTO schedules (name, trigger_name, expression, time_zone, calendar, arguments, priority, call_mode, jitter)
         VALUES ('nightly', 't', '0 7 * * *', 'Europe/Berlin', 'holidays', '{\"a\":1}', 5, 'FireAndForget', 60000);
         INSERT INTO schedules (name, trigger_name, expression, time_zone, overlap)
         VALUES ('hourly', 'u', '0 * * * *', 'UTC', 'queue_all'), ('broken', 'u', '0 25 * * *', 'UTC', 'skip');
         UPDATE schedules SET revision = revision + 1, last_at = 1735689600000, created_at = 1704067200000",
    );
    place
}

#[test]
fn a_list_says_when_each_fires_next_and_how_it_stands() {
    let place = place();
    place.sql(
        "INSERT INTO schedules (name, trigger_name, expression, time_zone, starts_at, ends_at)
         VALUES ('over', 't', '@daily', 'UTC', 1600000000000, 1700000000000);
         INSERT INTO schedules (name, trigger_name, expression, time_zone, owner, active, revision)
         VALUES ('left', 't', '@daily', 'UTC', 'configuration', 0, 1);
         UPDATE schedules SET paused = 1, paused_reason = 'month end' WHERE name = 'hourly'",
    );
    let all = lines(&place.said(&["schedule", "list", "--json"]));
    let of = |name: &str| all.iter().find(|line| line["name"] == name).unwrap();
    let state = |name: &str| of(name)["state"].as_str().unwrap().to_owned();
    assert_eq!(
        ["broken", "hourly", "left", "nightly", "over"].map(state),
        ["problem", "paused", "left the configuration", "active", "ended"]
    );
    assert!(of("nightly")["next_local"].as_str().unwrap().contains(" 07:00:00 +0"), "{all:?}");
    let now: i64 = place.query("SELECT CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)")[0]
        .parse()
        .unwrap();
    assert!(
        of("nightly")["next_at"].as_i64().unwrap() > now,
        "not what a daemon would still have to settle: {all:?}"
    );
    assert_eq!(of("nightly")["words"], "POSIX cron: at 07:00");
    assert_eq!(
        (&of("hourly")["next_at"], &of("hourly")["paused_reason"]),
        (&Value::Null, &json!("month end"))
    );
    assert!(of("broken")["problem"].as_str().unwrap().starts_with("expression: hour: \"25\""), "{all:?}");
    let text = place.said(&["schedule", "list"]);
    assert!(text.contains("paused (month end)") && text.contains("problem: expression: hour"), "{text}");
}

#[test]
fn what_is_shown_is_the_row_and_what_became_of_its_times() {
    let place = place();
    place.said(&["schedule", "run-now", "nightly"]);
    let shown = place.json(&["schedule", "show", "nightly", "--json"]);
    assert_eq!(shown["calendar_row"]["dates"], 2);
    assert_eq!((&shown["last_request_id"], &shown["last_state"]), (&json!(1), &json!("pending")));
    assert_eq!(shown["events"][0]["reason"], "run_now");
    let text = place.said(&["schedule", "show", "nightly"]);
    for part in [
        "jitter",
        "  1m\n",
        "holidays (2 dates, 2024-12-25 to 2024-12-26)",
        "catch_up_window",
        "  1h\n",
        "RUN_NOW",
    ] {
        assert!(text.to_uppercase().contains(&part.to_uppercase()), "{part}: {text}");
    }
    place.said(&["schedule", "run-now", "nightly"]);
    let one = place.json(&["schedule", "show", "nightly", "--json", "--events", "1"]);
    assert_eq!(one["events"].as_array().unwrap().len(), 1);
    assert_eq!(one["events"][0]["request_id"], 2);

    let unknown = place.triggerd(&["schedule", "show", "nightl"]);
    assert_eq!(
        (code(&unknown), errors(&unknown).as_str()),
        (1, "triggerd: there is no schedule nightl: there are broken, hourly, nightly\n")
    );
}

#[test]
fn an_expression_is_tried_without_a_configuration() {
    let place = Place::new();
    std::fs::remove_file(place.path("triggerd.toml")).unwrap();
    let next = |more: &[&str]| place.triggerd(&[&["schedule", "next", "--expression"], more].concat());
    let spring = next(&["30 2 * * *", "--zone", "Europe/Berlin", "--from", "2026-03-28", "-n", "2"]);
    assert_eq!(
        String::from_utf8_lossy(&spring.stdout),
        "POSIX cron: at 02:30; Europe/Berlin\n\
         LOCAL                            UTC\n\
         2026-03-28 02:30:00 +01:00 CET   2026-03-28T01:30:00Z\n\
         2026-03-29 03:00:00 +02:00 CEST  2026-03-29T01:00:00Z\n"
    );
    let skipped = next(&[
        "30 2 * * *",
        "--zone",
        "Europe/Berlin",
        "--from",
        "2026-03-29",
        "-n",
        "1",
        "--dst-gap",
        "skip",
        "--json",
    ]);
    let skipped = lines(&String::from_utf8(skipped.stdout).unwrap());
    assert_eq!(skipped[0]["local"], "2026-03-29 02:30:00");
    assert_eq!((&skipped[0]["at"], &skipped[0]["reason"]), (&Value::Null, &json!("dst_gap")));
    assert_eq!((&skipped[1]["utc"], &skipped[1]["fires"]), (&json!("2026-03-30T00:30:00Z"), &json!(true)));
    // The first instant counts.
    let exact = next(&["@hourly", "--zone", "UTC", "--from", "2026-01-01T00:00:00Z", "-n", "1", "--json"]);
    assert_eq!(lines(&String::from_utf8(exact.stdout).unwrap())[0]["at"], 1_767_225_600_000_i64);

    let period =
        next(&["@every 90m", "--zone", "UTC", "--from", "2026-01-01T00:00:00Z", "-n", "2", "--json"]);
    assert_eq!(lines(&String::from_utf8(period.stdout).unwrap())[1]["utc"], "2026-01-01T01:30:00Z");

    for (arguments, said) in [
        (&["0 25 * * *", "--zone", "UTC"][..], "triggerd: expression: hour: \"25\": out of range"),
        (&["0 7 * *", "--zone", "UTC"], "triggerd: expression: 4 fields; "),
        (&["0 7 * * *", "--zone", "Berlin"], "triggerd: time_zone: \"Berlin\" "),
    ] {
        let refused = next(arguments);
        assert_eq!(code(&refused), 1, "{refused:?}");
        assert!(errors(&refused).starts_with(said), "{refused:?}");
    }
    assert_eq!(code(&next(&["0 7 * * *"])), 2, "a zone is not assumed");
    assert_eq!(
        code(&place.triggerd(&["schedule", "next", "x", "--expression", "@daily", "--zone", "UTC"])),
        2
    );
}

#[test]
fn a_forecast_says_why_times_are_left_out() {
    let place = place();
    let from = ["schedule", "next", "nightly", "--from", "2024-12-24", "-n", "2", "--json"];
    let output = place.triggerd(&from);
    let lines = lines(&String::from_utf8(output.stdout.clone()).unwrap());
    let fates: Vec<_> = lines.iter().map(|line| line["reason"].as_str().unwrap_or("fires")).collect();
    assert_eq!(fates, ["fires", "calendar", "calendar", "fires"]);
    let (at, run_at) = (lines[0]["at"].as_i64().unwrap(), lines[0]["run_at"].as_i64().unwrap());
    assert!((at..=at + 60_000).contains(&run_at), "{lines:?}");
    assert!(errors(&output).starts_with("jitter: "), "{output:?}");
    let text = place.said(&["schedule", "next", "nightly", "--from", "2024-12-24", "-n", "2"]);
    assert!(text.contains("left out: calendar holidays"), "{text}");

    let moved = place.said(&[
        "schedule",
        "next",
        "--expression",
        "0 7 * * *",
        "--zone",
        "Europe/Berlin",
        "--calendar",
        "holidays",
        "--on-excluded",
        "next_working_day",
        "--from",
        "2024-12-25",
        "-n",
        "1",
    ]);
    assert!(moved.contains("2024-12-27 07:00:00 +01:00 CET"), "{moved}");
    place.said(&["schedule", "pause", "nightly", "--reason", "why not"]);
    let paused = place.triggerd(&["schedule", "next", "nightly", "-n", "1"]);
    assert_eq!(code(&paused), 0);
    assert!(errors(&paused).starts_with("nightly is paused (why not): "), "{paused:?}");
    let broken = place.triggerd(&["schedule", "next", "broken"]);
    assert_eq!(code(&broken), 1);
    assert!(errors(&broken).starts_with("triggerd: broken: expression: hour: "), "{broken:?}");
    let unknown = place.triggerd(&[
        "schedule",
        "next",
        "--expression",
        "@daily",
        "--zone",
        "UTC",
        "--calendar",
        "holyday",
    ]);
    assert_eq!(errors(&unknown), "triggerd: there is no calendar holyday: there are holidays\n");
}

#[test]
fn a_run_by_hand_is_a_request_of_the_schedule_beside_its_times() {
    let place = place();
    place.said(&["schedule", "pause", "nightly"]);
    assert_eq!(place.said(&["schedule", "run-now", "nightly"]), "1\n");
    assert_eq!(place.json(&["schedule", "run-now", "nightly", "--json"]), json!({"id": 2}));
    let shown = place.json(&["show", "1", "--json"]);
    assert_eq!(
        (&shown["trigger_name"], &shown["arguments"], &shown["priority"], &shown["call_mode"]),
        (&json!("t"), &json!("{\"a\":1}"), &json!(5), &json!("FireAndForget"))
    );
    let rows = place.query(
        "SELECT schedule_name || ' ' || (scheduled_at IS NULL) || ' ' || (SELECT reason || ' ' || event || ' ' || (nominal_at IS NULL)
           FROM schedule_events AS e WHERE e.request_id = requests.id) FROM requests",
    );
    assert_eq!(rows, ["nightly 1 run_now fired 1", "nightly 1 run_now fired 1"]);
    // What the schema refuses is told in its own words, and nothing is left of it.
    place.sql("UPDATE triggers SET active = 0 WHERE name = 't'");
    let refused = place.triggerd(&["schedule", "run-now", "nightly"]);
    assert_eq!(code(&refused), 1);
    assert!(errors(&refused).contains("inactive_trigger"), "{refused:?}");
    assert_eq!(place.query("SELECT count(*) FROM schedule_events"), ["2"]);
}

#[test]
fn a_pause_is_told_and_what_came_due_meanwhile_is_forgotten() {
    let place = place();
    let paused = place.json(&["schedule", "pause", "hourly", "--reason", "month end", "--json"]);
    assert_eq!(
        paused,
        json!({"schedule": "hourly", "done": true, "paused": true, "paused_reason": "month end", "already": false})
    );
    assert!(place.said(&["schedule", "pause", "hourly"]).contains("as it was before"));
    assert!(place.said(&["schedule", "resume", "hourly"]).starts_with("hourly resumed: "));
    assert_eq!(place.said(&["schedule", "resume", "hourly"]), "hourly was not paused\n");
    let row = "SELECT paused || ' ' || coalesce(paused_reason, '-') || ' ' || (last_at > 1735689600000) FROM schedules WHERE name = 'hourly'";
    assert_eq!(place.query(row), ["0 - 1"]);
    let unknown = place.triggerd(&["schedule", "resume", "x", "--json"]);
    assert_eq!((code(&unknown), errors(&unknown).as_str()), (1, ""));
    assert_eq!(lines(&String::from_utf8(unknown.stdout).unwrap())[0]["done"], json!(false));
}

#[test]
fn a_backfill_gives_each_time_one_request_however_often_it_is_said() {
    let place = place();
    let range = ["--from", "2024-12-23", "--to", "2024-12-28"];
    let backfill =
        |more: &[&str]| place.triggerd(&[&["schedule", "backfill", "nightly"], &range[..], more].concat());
    let dry = backfill(&["--dry-run"]);
    assert!(String::from_utf8_lossy(&dry.stdout).ends_with("would be inserted: 3 of 3\n"), "{dry:?}");
    assert_eq!(place.query("SELECT count(*) FROM requests"), ["0"]);
    let done = backfill(&[]);
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        "2024-12-23 07:00:00 +01:00 CET  request 1\n\
         2024-12-24 07:00:00 +01:00 CET  request 2\n\
         2024-12-27 07:00:00 +01:00 CET  request 3\n\
         inserted: 3 of 3\n"
    );
    assert!(errors(&done).starts_with("no daemon seems to run"), "{done:?}");
    // Retention may take a request; its time was fired all the same.
    place.sql(
        "UPDATE requests SET state = 'succeeded', finished_at = created_at WHERE id > 1;
         DELETE FROM requests WHERE id > 1;
         DELETE FROM schedule_events WHERE request_id = 3",
    );
    let again = backfill(&["--json"]);
    let again = lines(&String::from_utf8(again.stdout).unwrap());
    let fates: Vec<_> = again.iter().map(|line| (line["done"].clone(), line["already"].clone())).collect();
    assert_eq!(
        fates,
        [(json!(false), json!("inserted")), (json!(false), json!("deleted")), (json!(true), Value::Null)]
    );
    let events = "SELECT event || ' ' || reason || ' ' || request_id FROM schedule_events ORDER BY id";
    assert_eq!(place.query(events), ["fired backfill 1", "fired backfill 2", "fired backfill 4"]);
    let rows = "SELECT count(*) || ' ' || sum(after_id IS NULL) || ' ' || sum(abs(run_at - created_at) < 1000) FROM requests";
    assert_eq!(place.query(rows), ["2 2 2"]);
}

#[test]
fn no_kill_and_no_other_backfill_gives_a_time_a_second_request() {
    let place = place();
    let range = ["schedule", "backfill", "hourly", "--from", "2024-08-01", "--to", "2024-12-01"];
    let mut other = place.command(&range).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut killed = place.command(&range).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // Its first commit is told; of 2928 times there are more to come.
    let mut line = String::new();
    BufReader::new(killed.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("2024-08-01 00:00:00"), "{line}");
    killed.kill().unwrap();
    killed.wait().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    let said = place.said(&range);
    let inserted: u32 = said.split("inserted: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(inserted < 2928, "nothing was killed: {inserted}");
    let all = "SELECT count(*) || ' ' || count(DISTINCT scheduled_at) || ' ' || (SELECT count(*) || ' ' || count(DISTINCT nominal_at) || ' ' ||
                 count(DISTINCT request_id) FROM schedule_events) FROM requests WHERE schedule_name = 'hourly'";
    assert_eq!(place.query(all), ["2928 2928 2928 2928 2928"]);
}

#[test]
fn requests_of_a_backfill_wait_for_one_another_where_the_schedule_says_so() {
    let place = place();
    // More than go into one commit.
    let range = ["schedule", "backfill", "hourly", "--from", "2024-11-01", "--to", "2024-12-01T00:30:00Z"];
    let said = place.said(&range);
    assert!(said.ends_with("inserted: 721 of 721\n"), "{said}");
    let chain = "SELECT count(*) FROM requests WHERE after_when = 'ended' AND after_id = id - 1 AND held_by = 'after'
                   AND scheduled_at = (SELECT scheduled_at FROM requests AS p WHERE p.id = requests.after_id) + 3600000";
    assert_eq!(place.query(chain), ["720"]);
    // The half of it again, as after a kill: the chain goes on.
    place.sql(
        "DELETE FROM schedule_events WHERE request_id > 600;
         UPDATE requests SET state = 'cancelled', finished_at = created_at WHERE id > 600",
    );
    place.sql("DELETE FROM requests WHERE id > 600");
    assert!(place.said(&range).ends_with("inserted: 121 of 721\n"));
    assert_eq!(
        place.query("SELECT after_id FROM requests WHERE id > 721 ORDER BY id LIMIT 2"),
        ["600", "722"]
    );
}

#[test]
fn a_backfill_leaves_to_the_daemon_what_is_its_own() {
    let place = place();
    let refused = |from: &str, to: &str, said: &str| {
        let output = place.triggerd(&["schedule", "backfill", "hourly", "--from", from, "--to", to]);
        assert_eq!(code(&output), 1, "{output:?}");
        assert!(errors(&output).contains(said), "{output:?}");
        assert_eq!(place.query("SELECT count(*) FROM requests"), ["0"]);
    };
    refused(
        "2024-12-31T20:00:00Z",
        "2025-01-01T02:00:00Z",
        "2025-01-01 01:00:00 +00:00 UTC is not settled yet",
    );
    refused("2024-12-31T20:00:00Z", "2190-01-01T02:00:00Z", "has not come yet");
    refused("2014-01-01", "2025-01-01", "the schedule has 96432 times from ");
    let usage =
        place.triggerd(&["schedule", "backfill", "hourly", "--from", "2024-12-02", "--to", "2024-12-02"]);
    assert_eq!(code(&usage), 2);
    let broken =
        place.triggerd(&["schedule", "backfill", "broken", "--from", "2024-12-01", "--to", "2024-12-02"]);
    assert_eq!(code(&broken), 1);
    assert!(errors(&broken).starts_with("triggerd: broken: expression: "), "{broken:?}");
    // The last that is settled is no longer the daemon's.
    let last = place.said(&[
        "schedule",
        "backfill",
        "hourly",
        "--from",
        "2024-12-31T23:30:00Z",
        "--to",
        "2025-01-01T00:30:00Z",
    ]);
    assert!(last.ends_with("inserted: 1 of 1\n"), "{last}");
    // Nor is what came due while it was paused.
    place.said(&["schedule", "pause", "hourly"]);
    let paused = place.said(&[
        "schedule",
        "backfill",
        "hourly",
        "--from",
        "2025-01-01T00:30:00Z",
        "--to",
        "2025-01-01T03:30:00Z",
    ]);
    assert!(paused.ends_with("inserted: 3 of 3\n"), "{paused}");
}

#[test]
fn an_upload_replaces_the_dates_of_a_calendar_whole_or_not_at_all() {
    let place = place();
    let file = |name: &str, text: &str| std::fs::write(place.path(name), text).unwrap();
    file("new.csv", "ExcludedDate\n2024-12-26\n2027-01-01\n2027-01-01\n");
    let imported = place.said(&["calendar", "import", "holidays", "new.csv"]);
    assert_eq!(
        imported,
        "holidays: 2 dates, 2024-12-26 to 2027-01-01; 1 new, 1 gone\nnote: line 4: 2027-01-01 is in line 3 already\n"
    );
    assert_eq!(
        place.said(&["calendar", "show", "holidays", "--csv"]),
        "ExcludedDate\n2024-12-26\n2027-01-01\n"
    );
    let shown = place.said(&["calendar", "show", "holidays"]);
    assert!(shown.contains("2027-01-01 Friday\n") && shown.contains("schedules   nightly\n"), "{shown}");
    assert!(shown.contains("Europe/Berlin"), "the zone stays: {shown}");

    file("bad.csv", "ExcludedDate\n2028-01-01\n01/01/2029\n2026-02-30\n");
    let refused = place.triggerd(&["calendar", "import", "holidays", "bad.csv"]);
    assert_eq!((code(&refused), errors(&refused).lines().count()), (1, 2), "{refused:?}");
    assert!(errors(&refused).starts_with("triggerd: line 3: "), "{refused:?}");
    let refused = place.triggerd(&["calendar", "import", "holidays", "bad.csv", "--json"]);
    assert_eq!(code(&refused), 1);
    let report = lines(&String::from_utf8(refused.stdout).unwrap()).remove(0);
    assert_eq!((&report["done"], report["problems"].as_array().unwrap().len()), (&json!(false), 2));
    assert_eq!(place.query("SELECT excluded_date FROM calendar_dates"), ["2024-12-26", "2027-01-01"]);
    assert_eq!(code(&place.triggerd(&["calendar", "import", "x", "nowhere.csv"])), 2);
    let name = place.triggerd(&["calendar", "import", "X", "new.csv"]);
    assert!(errors(&name).contains("invalid_value: name"), "{name:?}");

    place.sql("UPDATE calendars SET owner = 'configuration'");
    let owned = place.triggerd(&["calendar", "import", "holidays", "new.csv"]);
    assert_eq!(code(&owned), 1);
    assert!(errors(&owned).contains("is the configuration's"), "{owned:?}");
}

#[test]
fn a_calendar_is_made_from_what_calendar_programs_write() {
    let place = Place::migrated();
    let text = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20200101\r\nRRULE:FREQ=YEARLY\r\n\
                END:VEVENT\r\nEND:VCALENDAR\r\n";
    std::fs::write(place.path("new-year.ics"), text).unwrap();
    let checked = place.json(&["calendar", "check", "new-year.ics", "--json"]);
    let dates = checked["dates"].as_array().unwrap();
    assert!(checked["ok"] == true && dates.len() >= 10, "{checked}");
    assert_eq!(code(&place.triggerd(&["calendar", "check", "new-year.ics", "--format", "csv"])), 1);
    let arguments = [
        "calendar",
        "import",
        "new-year",
        "new-year.ics",
        "--zone",
        "Asia/Tokyo",
        "--description",
        "d",
        "--json",
    ];
    let imported = place.json(&arguments);
    assert_eq!((&imported["created"], &imported["format"]), (&json!(true), &json!("iCalendar")));
    assert_eq!((&imported["new"], &imported["gone"]), (&json!(dates.len()), &json!(0)));
    assert!(imported["written_out_until"].as_str().unwrap() > "2035", "{imported}");
    assert_eq!(place.json(&arguments)["new"], 0);
    let all = place.said(&["calendar", "show"]);
    assert!(all.contains("new-year") && all.contains("Asia/Tokyo"), "{all}");
    let shown = place.json(&["calendar", "show", "new-year", "--json"]);
    assert_eq!(shown["excluded_dates"].as_array().unwrap(), dates);
    for usage in [
        &["calendar", "show", "--csv"][..],
        &["calendar", "import", "x", "new-year.ics", "--zone", "Tokyo"],
        &["calendar", "import", "x"],
        &["schedule", "backfill", "x", "--from", "tomorrow", "--to", "2026-01-01"],
        &["schedule", "next"],
    ] {
        assert_eq!(code(&place.triggerd(usage)), 2, "{usage:?}");
    }
    let unknown = place.triggerd(&["calendar", "show", "new-yaer"]);
    assert_eq!(errors(&unknown), "triggerd: there is no calendar new-yaer: there are new-year\n");
    // A row that is not a date makes the whole of it unusable, and is told.
    place.sql("PRAGMA ignore_check_constraints = 1; DROP TRIGGER calendar_dates_insert; INSERT INTO calendar_dates VALUES ('new-year', 'x')");
    let odd = place.said(&["calendar", "show", "new-year"]);
    assert!(odd.contains("excluded_date: \"x\" is not a date"), "{odd}");
}

#[tokio::test]
async fn a_running_daemon_does_what_is_asked_of_its_schedules() {
    bounded(async {
        let hold = Hold::new();
        let held = hold.clone();
        let far = FarEnd::start(move |seen| match seen.order {
            1 => Answer::status(200).held(&held),
            _ => Answer::status(200),
        })
        .await;
        let site = Site::new(&format!(
            "[triggers.t]\nurl = \"{}\"\ncall_mode = \"FireAndForget\"\n\
             [schedules.yearly]\ntrigger = \"t\"\nexpression = \"@yearly\"\ntime_zone = \"Europe/Berlin\"\noverlap = \"queue_all\"\n",
            far.url("/fire")
        ));
        let daemon = site.start().await;
        let mut table = site.table().await;
        table.until("SELECT count(*) FROM schedules WHERE next_at IS NOT NULL", 1).await;
        let run = site.verb(&["schedule", "run-now", "yearly", "--wait"]).await;
        assert_eq!(run, (0, "request 1\n".to_owned()));

        let range = ["schedule", "backfill", "yearly", "--from", "2020-01-01", "--to", "2023-01-02"];
        let (code, said) = site.verb(&range).await;
        assert!(code == 0 && said.ends_with("inserted: 4 of 4\n"), "{said}");
        far.seen(2).await;
        table.until("SELECT count(*) FROM request_why WHERE why LIKE 'waits for request % to end%'", 3).await;
        hold.release();
        table.until("SELECT count(*) FROM requests WHERE state = 'dispatched'", 5).await;
        let in_order = "SELECT count(*) FROM requests AS r JOIN requests AS p ON p.id = r.after_id WHERE r.started_at >= p.finished_at";
        assert_eq!(table.number(in_order).await, 3);
        let again = site.verb(&range).await.1;
        assert!(again.ends_with("inserted: 0 of 4\n"), "{again}");

        // Both are the operator's, also of a schedule that the configuration owns.
        let (_, paused) = site.verb(&["schedule", "pause", "yearly"]).await;
        assert!(paused.starts_with("yearly paused"), "{paused}");
        assert!(site.verb(&["schedule", "resume", "yearly"]).await.1.starts_with("yearly resumed"));
        table.until("SELECT count(*) FROM schedules WHERE next_at IS NOT NULL AND paused = 0", 1).await;

        site.write("holidays.csv", "ExcludedDate\n2027-01-01\n");
        let (code, said) = site.verb(&["calendar", "import", "holidays", "holidays.csv"]).await;
        assert_eq!(code, 0, "{said}");
        table.until("SELECT count(*) FROM calendars WHERE revision = seen_revision AND problem IS NULL", 1).await;
        daemon.stop().await;
        assert_eq!(far.all().len(), 5);
    })
    .await;
}
