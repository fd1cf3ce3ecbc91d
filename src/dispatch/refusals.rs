//! Triggers whose requests are refused one after the other: they are paused, before a mistake costs all that waits. Pure.
//!
//! The counts live in memory: a start begins anew.

use std::collections::{BTreeMap, HashMap};

use crate::invocation::{AttemptEnd, AttemptOutcome, Invocation, Outcome, Phase};

#[derive(Debug, Default)]
pub(super) struct Refusals {
    runs: HashMap<String, Run>,
    /// Triggers to be paused, and why: until that is stored.
    pausing: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Run {
    count: u32,
    /// Firings up to this one do not count: they had begun when the trigger was paused.
    last: u64,
}

impl Refusals {
    /// A firing of `trigger` has ended, the `serial`th of `begun` so far, and made `next` of its request. Why the trigger
    /// is to be paused, if it is the `most`th in a row that was refused.
    pub(super) fn end(
        &mut self,
        (trigger, most): (&str, Option<u32>),
        (serial, begun): (u64, u64),
        next: &Invocation,
        end: &AttemptEnd,
    ) -> Option<&str> {
        let Some(most) = most else {
            self.runs.remove(trigger);
            return None;
        };
        let is_refused = match end.outcome {
            AttemptOutcome::Accepted | AttemptOutcome::Answered => false,
            AttemptOutcome::Refused if next.phase == Phase::Finished(Outcome::Rejected) => true,
            // Neither: it may be fired again, or somebody must find out.
            AttemptOutcome::Refused | AttemptOutcome::NotSent | AttemptOutcome::Ambiguous => return None,
        };
        let run = self.runs.entry(trigger.to_owned()).or_default();
        if serial <= run.last {
            return None;
        }
        run.count = if is_refused { run.count + 1 } else { 0 };
        if run.count < most {
            return None;
        }
        *run = Run { count: 0, last: begun };
        let status = end.http_status.map_or_else(String::new, |status| format!("{status} "));
        let code = end.trouble.as_ref().map_or("", |trouble| trouble.code.as_str());
        let many =
            if most == 1 { "1 request was".to_owned() } else { format!("{most} requests in a row were") };
        let why =
            format!("paused by triggerd: {many} refused (last: {status}{code}); see pause_after_refusals");
        Some(self.pausing.entry(trigger.to_owned()).or_insert(why))
    }

    /// Whether the trigger is about to be paused: nothing more of it is fired.
    pub(super) fn is_pausing(&self, trigger: &str) -> bool {
        self.pausing.contains_key(trigger)
    }

    /// What is to be stored.
    pub(super) fn pauses(&self) -> Vec<(String, String)> {
        self.pausing.iter().map(|(trigger, why)| (trigger.clone(), why.clone())).collect()
    }

    /// It is stored.
    pub(super) fn paused(&mut self, trigger: &str) {
        self.pausing.remove(trigger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMillis;
    use crate::invocation::{Code, Trouble};

    fn end(refusals: &mut Refusals, outcome: AttemptOutcome, serial: u64) -> Option<String> {
        let mut next = Invocation::pending(1);
        if outcome == AttemptOutcome::Refused {
            next.phase = Phase::Finished(Outcome::Rejected);
        }
        let end = AttemptEnd {
            started_at: UnixMillis(0),
            ended_at: UnixMillis(0),
            http_status: Some(403),
            outcome,
            status_uri: None,
            trouble: Some(Trouble::new(Code::Refused, "")),
        };
        refusals.end(("t", Some(3)), (serial, 100), &next, &end).map(str::to_owned)
    }

    #[test]
    fn only_requests_that_were_refused_in_a_row_pause_a_trigger() {
        use AttemptOutcome::{Accepted, Ambiguous, Answered, NotSent, Refused};
        let mut refusals = Refusals::default();
        for outcome in
            [Refused, Refused, Accepted, Refused, Refused, Answered, Refused, NotSent, Refused, Ambiguous]
        {
            assert_eq!(end(&mut refusals, outcome, 1), None, "{outcome:?}");
        }
        let why = "paused by triggerd: 3 requests in a row were refused (last: 403 refused); see pause_after_refusals";
        assert_eq!(end(&mut refusals, Refused, 1).as_deref(), Some(why));
        assert!(refusals.is_pausing("t") && !refusals.is_pausing("u"));
        assert_eq!(refusals.pauses(), [("t".to_owned(), why.to_owned())]);
        refusals.paused("t");
        assert!(!refusals.is_pausing("t"));
    }

    #[test]
    fn what_was_on_the_wire_then_does_not_count_for_the_next_pause() {
        let mut refusals = Refusals::default();
        let refused = |refusals: &mut Refusals, serial| end(refusals, AttemptOutcome::Refused, serial);
        assert_eq!((1..=3).filter(|n| refused(&mut refusals, *n).is_some()).count(), 1);
        refusals.paused("t");
        assert_eq!((4..=100).filter(|n| refused(&mut refusals, *n).is_some()).count(), 0);
        assert_eq!((101..=103).filter(|n| refused(&mut refusals, *n).is_some()).count(), 1);
    }
}
