//! What waits for its next poll: one list of due times, and the counters of polls that are not stored yet.
//!
//! Ten thousand remote jobs are ten thousand pairs of numbers here; all else about them is in the table.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::clock::UnixMillis;
use crate::invocation::Invocation;
use crate::queue::Polled;

/// Counters may lag behind by this much: one wide write for all polls of the meantime.
const LAG: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Waiting {
    due: BTreeSet<(UnixMillis, i64)>,
    /// The same by id: one row waits once, or it would be asked once for each time.
    due_at: HashMap<i64, UnixMillis>,
    /// Polls whose counters are not stored, and since when the oldest waits.
    unstored: BTreeMap<i64, Polled>,
    unstored_since: Option<UnixMillis>,
    /// Counters on their way into the table: still newer than what a read finds there.
    storing: BTreeMap<i64, Polled>,
    /// Rows that wait for a configuration: their trigger, or their origin, is not in this one.
    parked: HashSet<i64>,
}

impl Waiting {
    /// A row waits until then, and no longer for what it waited for before.
    pub(super) fn push(&mut self, id: i64, due_at: UnixMillis) {
        self.remove(id);
        self.due_at.insert(id, due_at);
        self.due.insert((due_at, id));
    }

    /// A row waits no longer.
    pub(super) fn remove(&mut self, id: i64) {
        if let Some(at) = self.due_at.remove(&id) {
            self.due.remove(&(at, id));
        }
        self.parked.remove(&id);
    }

    /// When the first one is due.
    pub(super) fn next(&self) -> Option<UnixMillis> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes up to `limit` ids that are due.
    pub(super) fn take_due(&mut self, now: UnixMillis, limit: usize) -> Vec<i64> {
        let ids: Vec<i64> =
            self.due.iter().take_while(|(at, _)| *at <= now).take(limit).map(|(_, id)| *id).collect();
        for id in &ids {
            self.remove(*id);
        }
        ids
    }

    /// The clock was set back: everything is due earlier.
    pub(super) fn set_back(&mut self, step: Duration) {
        for at in self.due_at.values_mut() {
            *at = at.minus(step);
        }
        self.due = self.due_at.iter().map(|(id, at)| (*at, *id)).collect();
        self.unstored_since = self.unstored_since.map(|since| since.minus(step));
    }

    /// A row that another configuration may free before its time, if it has one.
    pub(super) fn park(&mut self, id: i64) {
        self.parked.insert(id);
    }

    /// All that another configuration may free.
    pub(super) fn unpark(&mut self, now: UnixMillis) {
        for id in std::mem::take(&mut self.parked) {
            self.push(id, now);
        }
    }

    /// A poll changed nothing but its counters.
    pub(super) fn note(&mut self, polled: Polled, now: UnixMillis) {
        self.unstored_since.get_or_insert(now);
        self.unstored.insert(polled.next.id, polled);
    }

    /// The invocation as it is by polls that the table does not know of.
    pub(super) fn newest(&self, id: i64) -> Option<&Invocation> {
        self.unstored.get(&id).or_else(|| self.storing.get(&id)).map(|polled| &polled.next)
    }

    /// A full write of the row makes its counters old: also those on their way, should they have to be written again.
    pub(super) fn forget(&mut self, id: i64) {
        self.unstored.remove(&id);
        self.storing.remove(&id);
    }

    /// When the counters should be stored.
    pub(super) fn store_at(&self) -> Option<UnixMillis> {
        self.unstored_since.map(|since| since.plus(LAG))
    }

    /// The counters to store now.
    pub(super) fn store(&mut self) -> Vec<Polled> {
        self.unstored_since = None;
        self.storing = std::mem::take(&mut self.unstored);
        self.storing.values().cloned().collect()
    }

    /// They are stored.
    pub(super) fn stored(&mut self) {
        self.storing.clear();
    }

    /// They may not be stored: to be written again, unless there are newer ones.
    pub(super) fn not_stored(&mut self, now: UnixMillis) {
        for (id, polled) in std::mem::take(&mut self.storing) {
            self.unstored_since.get_or_insert(now);
            self.unstored.entry(id).or_insert(polled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polled(id: i64, polls: u32) -> Polled {
        let mut next = Invocation::pending(id);
        next.polls = polls;
        Polled { next, due_at: UnixMillis(0) }
    }

    #[test]
    fn the_earliest_is_taken_first_and_nothing_before_its_time() {
        let mut waiting = Waiting::default();
        for (id, at) in [(1, 30), (2, 10), (3, 20)] {
            waiting.push(id, UnixMillis(at));
        }
        assert_eq!(waiting.next(), Some(UnixMillis(10)));
        assert_eq!(waiting.take_due(UnixMillis(20), 10), [2, 3]);
        assert_eq!(waiting.take_due(UnixMillis(29), 10), [] as [i64; 0]);
        assert_eq!(waiting.take_due(UnixMillis(30), 10), [1]);
    }

    #[test]
    fn counters_stay_known_until_they_are_stored_and_the_newest_wins() {
        let mut waiting = Waiting::default();
        waiting.note(polled(1, 1), UnixMillis(0));
        assert_eq!(waiting.store().len(), 1);
        assert_eq!(waiting.newest(1).unwrap().polls, 1);
        waiting.note(polled(1, 2), UnixMillis(5));
        waiting.not_stored(UnixMillis(6));
        assert_eq!(waiting.newest(1).unwrap().polls, 2);
        assert_eq!(waiting.store()[0].next.polls, 2);
        waiting.stored();
        assert!(waiting.newest(1).is_none());
    }
}
