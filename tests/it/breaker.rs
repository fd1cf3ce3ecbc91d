//! The real daemon with a far end that answers badly for a while.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use crate::process::{count, fired, many, trigger};
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd};

const BREAKER: &str = "[dispatch]\nmax_per_origin = 4\n\
     breaker = { failures = 5, initial = \"300ms\", max = \"600ms\" }\n";

#[tokio::test]
async fn a_far_end_that_fails_costs_few_requests_and_gets_the_others_when_it_is_well() {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let far =
        FarEnd::start(move |_| Answer::status(if well.load(Ordering::Relaxed) { 202 } else { 500 })).await;
    let other = FarEnd::start(|_| Answer::status(202)).await;
    let mode = "call_mode = \"FireAndForget\"";
    let site = Site::new(&[BREAKER, &trigger("t", &far, mode), &trigger("u", &other, mode)].concat());
    let daemon = site.start().await;
    let mut table = site.table().await;
    table.run(many("t", 1000)).await;
    daemon.logged("fires nothing there").await;
    table.run(many("u", 100)).await;
    table.until(&count("dispatched"), 100).await;
    let origin = far.url("/").origin().ascii_serialization();
    let waits = format!(
        "SELECT count(*) FROM trigger_status WHERE trigger_name = 't' AND waiting_for = 'breaker' \
         AND waiting_on = '{origin}' AND waiting_since IS NOT NULL"
    );
    table.until(&waits, 1).await;
    let told =
        format!("SELECT count(*) > 0 FROM request_why WHERE why LIKE 'the breaker of {origin} is open%'");
    assert_eq!(table.number(&told).await, 1);
    daemon.logged("the probe at").await;
    let charged = "SELECT count(*) FROM requests WHERE state = 'pending' AND attempt > 0";
    assert_eq!(table.number(charged).await, 0);
    is_well.store(true, Ordering::Relaxed);
    daemon.logged("answers again").await;
    table.until("SELECT count(*) FROM requests WHERE state IN ('pending', 'triggering')", 0).await;
    let uncertain = table.number(&count("uncertain")).await;
    assert!((6..100).contains(&uncertain), "{uncertain} of 1000");
    assert_eq!(table.number(&count("dispatched")).await, 1100 - uncertain);
    let mut ids = fired(&far);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), far.all().len()), (1000, 1000), "each was fired once");
    let log = daemon.stop().await;
    assert!(log.contains(&format!("breaker.origin={origin}")), "{log}");
}

#[tokio::test]
async fn a_far_end_that_is_not_there_is_tried_by_probes_until_it_is_and_at_once_after_a_reload() {
    // A port that was free just now: nobody is there.
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let configuration = |max: &str| {
        format!(
            "[dispatch]\nbreaker = {{ failures = 3, initial = \"{max}\", max = \"{max}\" }}\n\
             [triggers.t]\nurl = \"http://{address}/fire\"\ncall_mode = \"FireAndForget\"\n\
             retry = {{ initial = \"1ms\", max = \"1ms\" }}\n"
        )
    };
    let site = Site::new(&configuration("1h"));
    let daemon = site.start().await;
    let mut table = site.table().await;
    table.run(many("t", 50)).await;
    daemon.logged("fires nothing there").await;
    table.until("SELECT count(*) FROM requests WHERE state = 'triggering'", 0).await;
    let before = table.number("SELECT count(*) FROM attempts").await;
    daemon.signal(Signal::HUP);
    daemon.logged("the probe at").await;
    table.until(&format!("SELECT count(*) > {before} FROM attempts"), 1).await;
    assert_eq!(table.number("SELECT count(*) FROM attempts").await, before + 1, "one, an hour early");
    let far = FarEnd::at(address, |_| Answer::status(202)).await;
    site.configure(&configuration("1s"));
    daemon.signal(Signal::HUP);
    table.until(&count("dispatched"), 50).await;
    assert_eq!(far.all().len(), 50);
    daemon.stop().await;
}
