//! What a schedule counts: requests in a row that started no remote job, or whose remote job failed. Too many, for too long, pause
//! it.

use sqlx::sqlite::SqliteConnection;

use super::{End, Result, statements};
use crate::clock::UnixMillis;
use crate::invocation::Code;

/// How many in a row, and how many are too many.
pub(in super::super) struct Run {
    pub(in super::super) count: i64,
    pub(in super::super) most: Option<i64>,
    /// The last time that it went well, else since when the schedule is there; for us and for people.
    pub(in super::super) since: i64,
    pub(in super::super) since_text: String,
}

/// Where a schedule stands after an end.
pub(in super::super) struct Count {
    pub(in super::super) is_paused: bool,
    pub(in super::super) grace: i64,
    pub(in super::super) launches: Run,
    pub(in super::super) faults: Run,
}

impl Run {
    fn is_too_long(&self, grace: i64, now: UnixMillis) -> bool {
        self.most.is_some_and(|most| self.count >= most) && self.since <= now.0.saturating_sub(grace)
    }
}

/// What an end says of the schedule; none: nothing.
fn kind(end: &End) -> Option<&'static str> {
    match end.state() {
        "succeeded" | "dispatched" => Some("well"),
        "failed" if end.error_code.as_deref() == Some(Code::JobFaulted.as_str()) => Some("fault"),
        "failed" | "rejected" | "expired" => Some("none"),
        _ => None,
    }
}

/// Counts `ends` with their schedules.
pub(super) async fn count(c: &mut SqliteConnection, ends: &[End], now: UnixMillis) -> Result<()> {
    for end in ends.iter().filter(|end| end.whole) {
        let (Some(schedule), Some(kind)) = (&end.schedule_name, kind(end)) else { continue };
        // None: it was deleted.
        let Some(count) = statements::schedule_count(c, schedule, kind, now).await? else { continue };
        if count.is_paused {
            continue;
        }
        let (run, reason, what) = match kind {
            "none" => (&count.launches, "launches", "started no remote job, and none did"),
            "fault" => (&count.faults, "faults", "had a remote job that failed, and none ended well"),
            _ => continue,
        };
        if !run.is_too_long(count.grace, now) {
            continue;
        }
        let why = format!(
            "paused by triggerd: {} requests in a row {what} since {} (disable_after_{reason})",
            run.count, run.since_text
        );
        statements::schedule_disable(c, schedule, &why).await?;
        statements::schedule_disabled(c, schedule, reason, &why, end.id, now).await?;
        tracing::warn!(schedule.name = schedule, request.id = end.id, "schedule {schedule} is {why}");
    }
    Ok(())
}
