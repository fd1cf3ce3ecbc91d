//! The real daemon with a trigger whose requests are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::process::{count, many, trigger};
use crate::support::daemon::Site;
use crate::support::far_end::{Answer, FarEnd};

#[tokio::test]
async fn a_trigger_that_is_refused_is_paused_until_somebody_resumes_it() {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let far =
        FarEnd::start(move |_| Answer::status(if well.load(Ordering::Relaxed) { 202 } else { 403 })).await;
    let keys = "call_mode = \"FireAndForget\"\npause_after_refusals = 5";
    let site = Site::new(&["[dispatch]\nmax_per_origin = 4\n", &trigger("t", &far, keys)].concat());
    let daemon = site.start().await;
    let mut table = site.table().await;
    table.run(many("t", 300)).await;
    let why =
        "paused by triggerd: 5 requests in a row were refused (last: 403 refused); see pause_after_refusals";
    daemon.logged(&format!("the trigger t is {why}")).await;
    table.until("SELECT count(*) FROM requests WHERE state = 'triggering'", 0).await;
    // Those that were on the wire then.
    let refused = table.number(&count("rejected")).await;
    assert!((5..=5 + 3).contains(&refused), "{refused}");
    assert_eq!(table.number(&count("pending")).await, 300 - refused);
    let is_paused = format!("SELECT count(*) FROM triggers WHERE paused = 1 AND paused_reason = '{why}'");
    table.until(&is_paused, 1).await;
    let told =
        format!("SELECT count(*) > 0 FROM request_why WHERE why LIKE 'the trigger is paused ({why})%'");
    assert_eq!(table.number(&told).await, 1);
    let (_, found) = site.verb(&["--config", "triggerd.toml", "doctor"]).await;
    assert!(found.contains("t is paused (paused by triggerd: 5 requests"), "{found}");
    is_well.store(true, Ordering::Relaxed);
    let (code, said) = site.verb(&["--config", "triggerd.toml", "resume", "t"]).await;
    assert_eq!(code, 0, "{said}");
    table.until(&count("dispatched"), 300 - refused).await;
    daemon.stop().await;
    assert_eq!(far.all().len(), 300);
}
