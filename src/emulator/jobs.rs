//! The jobs that the emulator knows: those that run, and those that ended not long ago.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::knobs::Knobs;
use crate::clock::UnixMillis;
use crate::serving::{End, Job, Leg};

/// What outputs may take in memory, all together.
const MOST_BYTES: usize = 256 << 20;

/// A job, and what its callers have had of it.
#[derive(Debug)]
pub(super) struct Kept {
    /// Counts the jobs from 1.
    pub(super) number: u64,
    pub(super) trigger: Arc<str>,
    pub(super) knobs: Arc<Knobs>,
    pub(super) job: Job,
    /// The calls of it, the one that started it included.
    pub(super) calls: u32,
    /// How often each trouble has come.
    pub(super) troubles: Vec<u32>,
    /// The newest link of each leg.
    serials: [u32; 2],
    /// What it takes in memory that no other job shares.
    bytes: usize,
}

impl Kept {
    /// The number of a link to hand out.
    pub(super) fn issue(&mut self, leg: Leg) -> u32 {
        let fresh = self.knobs.manners.fresh_links;
        let serial = self.serial(leg);
        if fresh || *serial == 0 {
            *serial = serial.wrapping_add(1);
        }
        *serial
    }

    /// Whether the link with this number still leads to it.
    pub(super) fn honours(&mut self, leg: Leg, serial: u32) -> bool {
        !self.knobs.manners.single_use_links || serial == *self.serial(leg)
    }

    fn serial(&mut self, leg: Leg) -> &mut u32 {
        let [status, output] = &mut self.serials;
        match leg {
            Leg::Status => status,
            Leg::Output => output,
        }
    }

    /// The vendor's word for where it stands.
    pub(super) fn state(&self, now: UnixMillis) -> &'static str {
        match self.job.ended(&self.knobs.manners, now) {
            Some((_, End::Output(_))) => "Successful",
            Some((_, End::Fault | End::TooLong)) => "Faulted",
            Some((_, End::Stopped | End::Killed)) => "Stopped",
            None if self.job.end.is_none() => "Suspended",
            None => "Running",
        }
    }
}

/// All of them, by their ids.
#[derive(Debug)]
pub(super) struct Jobs {
    most: usize,
    forget_after: Duration,
    all: HashMap<u128, Kept>,
    /// Those that end, the first one first.
    ends: BTreeSet<(UnixMillis, u128)>,
    bytes: usize,
    /// Jobs so far.
    pub(super) made: u64,
}

impl Jobs {
    pub(super) fn new(most: usize, forget_after: Duration) -> Self {
        Self { most, forget_after, all: HashMap::new(), ends: BTreeSet::new(), bytes: 0, made: 0 }
    }

    /// Takes a job in, of which `bytes` are its own; false if there is no room, since none of those that are known has
    /// ended.
    pub(super) fn make(
        &mut self,
        id: u128,
        trigger: Arc<str>,
        knobs: Arc<Knobs>,
        job: Job,
        bytes: usize,
        now: UnixMillis,
    ) -> bool {
        self.forget(now);
        while self.all.len() >= self.most || self.bytes + bytes > MOST_BYTES {
            match self.ends.first() {
                Some(&(end, first)) if end <= now => self.remove(end, first),
                _ => return false,
            }
        }
        let number = self.made + 1;
        let kept =
            Kept { number, trigger, knobs, job, calls: 0, troubles: Vec::new(), serials: [0; 2], bytes };
        self.made += 1;
        self.bytes += bytes;
        if let Some((end, _)) = kept.job.ends(&kept.knobs.manners) {
            self.ends.insert((end, id));
        }
        self.all.insert(id, kept);
        true
    }

    pub(super) fn get(&mut self, id: u128) -> Option<&mut Kept> {
        self.all.get_mut(&id)
    }

    /// Drops those whose time is over.
    pub(super) fn forget(&mut self, now: UnixMillis) {
        while let Some(&(end, id)) = self.ends.first()
            && end.plus(self.forget_after) <= now
        {
            self.remove(end, id);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, &Kept)> {
        self.all.iter().map(|(id, kept)| (*id, kept))
    }

    fn remove(&mut self, end: UnixMillis, id: u128) {
        self.ends.remove(&(end, id));
        if let Some(kept) = self.all.remove(&id) {
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::request::CallMode;

    const T0: UnixMillis = UnixMillis(1_800_000_000_000);

    fn job(millis: Option<u64>) -> Job {
        let end =
            millis.map(|millis| (T0.plus(Duration::from_millis(millis)), End::Output(Bytes::from("12345"))));
        Job { mode: CallMode::AsyncRequestReply, created: T0, end }
    }

    fn make(jobs: &mut Jobs, id: u128, job: Job, now: u64) -> bool {
        jobs.make(id, Arc::from("t"), Arc::default(), job, 5, T0.plus(Duration::from_millis(now)))
    }

    #[test]
    fn what_has_ended_is_forgotten_after_a_while() {
        let mut jobs = Jobs::new(10, Duration::from_millis(50));
        assert!(make(&mut jobs, 1, job(Some(100)), 0) && make(&mut jobs, 2, job(None), 0));
        jobs.forget(T0.plus(Duration::from_millis(149)));
        assert!(jobs.get(1).is_some());
        jobs.forget(T0.plus(Duration::from_millis(150)));
        assert!(jobs.get(1).is_none() && jobs.get(2).is_some());
        assert_eq!((jobs.bytes, jobs.ends.len(), jobs.made), (5, 0, 2));
    }

    #[test]
    fn when_it_is_full_what_has_ended_makes_room_and_nothing_else() {
        let mut jobs = Jobs::new(2, Duration::from_secs(60));
        assert!(make(&mut jobs, 1, job(Some(100)), 0) && make(&mut jobs, 2, job(None), 0));
        assert!(!make(&mut jobs, 3, job(Some(1)), 99), "both go on");
        assert!(make(&mut jobs, 3, job(Some(900)), 100));
        assert!(jobs.get(1).is_none() && jobs.get(2).is_some() && jobs.get(3).is_some());
        assert!(!make(&mut jobs, 4, job(Some(1)), 100));
    }

    #[test]
    fn large_jobs_make_room_by_their_size() {
        let mut jobs = Jobs::new(9, Duration::from_secs(60));
        let mut make = |id, bytes, now| {
            jobs.make(
                id,
                Arc::from("t"),
                Arc::default(),
                job(Some(10)),
                bytes,
                T0.plus(Duration::from_millis(now)),
            )
        };
        assert!(make(1, MOST_BYTES - 1, 0) && make(2, 1, 0));
        assert!(!make(3, 1, 9));
        assert!(make(3, MOST_BYTES - 1, 10));
        assert!(jobs.get(1).is_none() && jobs.get(2).is_some() && jobs.get(3).is_some());
    }

    #[test]
    fn links_are_new_and_the_old_ones_hold_unless_the_knobs_say_otherwise() {
        let mut jobs = Jobs::new(9, Duration::from_secs(60));
        let mut with = |id, fresh_links, single_use_links| {
            let mut knobs = Knobs::default();
            knobs.manners.fresh_links = fresh_links;
            knobs.manners.single_use_links = single_use_links;
            jobs.make(id, Arc::from("t"), Arc::new(knobs), job(None), 0, T0);
            let kept = jobs.get(id).unwrap();
            let serials = (kept.issue(Leg::Status), kept.issue(Leg::Status), kept.issue(Leg::Output));
            (serials, kept.honours(Leg::Status, 1), kept.honours(Leg::Status, 2))
        };
        assert_eq!(with(1, true, false), ((1, 2, 1), true, true));
        assert_eq!(with(2, true, true), ((1, 2, 1), false, true));
        assert_eq!(with(3, false, true), ((1, 1, 1), true, false));
    }
}
