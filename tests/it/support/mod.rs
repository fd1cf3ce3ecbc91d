//! What the tests share.

pub(crate) mod daemon;
pub(crate) mod emulator;
pub(crate) mod engine;
pub(crate) mod far_end;
pub(crate) mod table;

use std::future::Future;
use std::time::Duration;

/// No test may hang. Far above what any of them takes, so that it never cuts one short on a busy machine.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// `future`, or a failed test.
pub(crate) async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LONGEST, future).await.expect("the test hangs")
}
