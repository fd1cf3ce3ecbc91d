//! The files in `config/`, as the program reads them.

use std::path::Path;
use std::time::Duration;

use triggerd::request::CallMode;

fn example() -> triggerd::config::Config {
    triggerd::config::load(Some(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/triggerd.toml"))))
        .unwrap()
}

#[test]
fn the_example_has_a_trigger_of_each_call_mode_and_nothing_to_warn_of() {
    let config = example();
    assert_eq!(config.warnings, [""; 0]);
    let mut modes: Vec<_> = config.triggers.values().map(|trigger| trigger.call_mode.as_str()).collect();
    modes.sort_unstable();
    assert_eq!(modes, CallMode::ALL.map(CallMode::as_str));
}

#[test]
fn the_example_says_what_it_means() {
    let config = example();
    let report = &config.triggers["nightly-report"];
    assert_eq!(report.deadline, Some(Duration::from_secs(6 * 3600)));
    assert_eq!(report.poll.max, Duration::from_secs(60));
    assert_eq!(
        config.triggers["credit-check"].retry.max_refusals, 300,
        "what the table leaves out is the default"
    );
    let (schedule, calendar) = (&config.plans.schedules[0], &config.plans.calendars[0]);
    assert_eq!(
        (schedule.trigger_name.as_str(), schedule.calendar.as_deref()),
        ("nightly-report", Some("holidays"))
    );
    assert_eq!(schedule.arguments, r#"{"in_Region":"DACH"}"#);
    assert_eq!((schedule.disable_after_launches, schedule.disable_after_faults), (None, Some(5)));
    assert_eq!(calendar.dates.len(), 6);
}

#[test]
fn the_defaults_give_a_reason_for_each_key() {
    let text = include_str!("../../config/defaults.toml");
    let mut comment = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        let is_key = line.contains('=') && !line.starts_with('#');
        assert!(!is_key || comment || !line.contains(" = "), "no reason above: {line}");
        // A run of keys below one comment shares it.
        comment = line.starts_with('#') || (comment && is_key);
    }
}
