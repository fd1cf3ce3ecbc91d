//! What each trigger is doing: its requests with the far end, what its ready ones wait for, and when the table is told.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::clock::UnixMillis;
use crate::queue::{HeldBy, Hold, Status, TriggerStatus};

/// The table is told this often at most: it is for people.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How much is going on, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests that are being fired.
    pub firing: usize,
    /// Requests whose remote job is followed.
    pub following: usize,
    /// Requests that wait for an operator, counted up to [`crate::queue::MANY_UNCERTAIN`].
    pub uncertain: usize,
    /// Origins that answer badly: nothing is fired there but probes.
    pub broken: usize,
}

/// What is known of each trigger.
#[derive(Default)]
pub(super) struct Board {
    /// Rows of each trigger that are triggering, polling or collecting.
    active: HashMap<String, usize>,
    /// What holds back its ready rows.
    holds: HashMap<String, Hold>,
    /// Those that are held back since somebody asked.
    newly_held: HashSet<String>,
    /// Requests that wait for an operator.
    uncertain: usize,
    /// What the table was told last.
    told: HashMap<String, TriggerStatus>,
    /// Whether something has changed since.
    news: bool,
    /// No telling before.
    tell_at: Option<UnixMillis>,
}

impl Board {
    /// One more row of the trigger is with the far end.
    pub(super) fn enter(&mut self, trigger: &str) {
        *self.active.entry(trigger.to_owned()).or_default() += 1;
        self.news = true;
    }

    /// One less.
    pub(super) fn leave(&mut self, trigger: &str) {
        if let Some(n) = self.active.get_mut(trigger) {
            *n = n.saturating_sub(1);
        }
        self.news = true;
    }

    /// Rows of the trigger that are with the far end.
    pub(super) fn active(&self, trigger: &str) -> usize {
        self.active.get(trigger).copied().unwrap_or(0)
    }

    /// What the ready rows of a trigger wait for, and until when, if they do. Not `surely`: it may have no such rows, which
    /// is no reason to begin a hold, but one to end it.
    pub(super) fn hold(
        &mut self,
        trigger: &str,
        surely: bool,
        hold: Option<(HeldBy, Option<UnixMillis>)>,
        now: UnixMillis,
    ) {
        let before = self.holds.get(trigger).cloned();
        let next = match (hold, &before) {
            (None, None) => return,
            (None, Some(_)) => None,
            (Some((by, until)), Some(before)) if before.by == by => {
                Some(Hold { by, since: before.since, until })
            }
            (Some((by, until)), _) if surely => {
                self.newly_held.insert(trigger.to_owned());
                Some(Hold { by, since: now, until })
            }
            (Some(_), _) => return,
        };
        // When it is tried again changes all the time, and is told with the rest.
        self.news |= next.as_ref().map(|hold| &hold.by) != before.as_ref().map(|hold| &hold.by);
        match next {
            Some(hold) => self.holds.insert(trigger.to_owned(), hold),
            None => self.holds.remove(trigger),
        };
    }

    /// A trigger has places, its credential is open and its breaker closed. What its rows waited for a place for, some of them may still do:
    /// whether all have one is known when the look is answered.
    pub(super) fn may_go_on(&mut self, trigger: &str) {
        if self.holds.get(trigger).is_some_and(|hold| !matches!(hold.by, HeldBy::Slot(_))) {
            self.end_hold(trigger);
        }
    }

    /// No ready row of a trigger waits any more.
    pub(super) fn end_hold(&mut self, trigger: &str) {
        self.news |= self.holds.remove(trigger).is_some();
    }

    /// Which triggers a hold has begun for since the last time.
    pub(super) fn take_newly_held(&mut self) -> HashSet<String> {
        std::mem::take(&mut self.newly_held)
    }

    /// A survey was made: what is held back may have got its first ready row.
    pub(super) fn surveyed(&mut self, uncertain: usize) {
        self.news |= !self.holds.is_empty() || self.uncertain != uncertain;
        self.uncertain = uncertain;
    }

    /// One more request waits for an operator.
    pub(super) const fn doubt(&mut self) {
        self.uncertain += 1;
        self.news = true;
    }

    /// A breaker has opened or closed.
    pub(super) const fn broke(&mut self) {
        self.news = true;
    }

    /// When the table should be told, if there is news.
    pub(super) fn tell_at(&self) -> Option<UnixMillis> {
        self.news.then(|| self.tell_at.unwrap_or(UnixMillis(0)))
    }

    /// What the table is to be told now, of all of `triggers`. Those that are held back are always among it: their oldest
    /// ready row, which only the table knows, may be another one.
    pub(super) fn tell<'a>(
        &mut self,
        triggers: impl Iterator<Item = &'a String>,
        now: UnixMillis,
    ) -> Option<Status> {
        self.news = false;
        self.tell_at = Some(now.plus(TELL_EVERY));
        let mut news = Vec::new();
        for name in triggers {
            let hold = self.holds.get(name).cloned();
            let status = TriggerStatus { trigger_name: name.clone(), slots_used: self.active(name), hold };
            if status.hold.is_some() || self.told.get(name) != Some(&status) {
                self.told.insert(name.clone(), status.clone());
                news.push(status);
            }
        }
        (!news.is_empty()).then_some(Status { now, triggers: news })
    }

    /// What was told may not be stored, or is forgotten: all of it is told again.
    pub(super) fn untold(&mut self) {
        self.told.clear();
        self.tell_at = None;
        self.news = true;
    }

    /// Another configuration.
    pub(super) fn reconfigured(&mut self, is_known: impl Fn(&str) -> bool) {
        self.holds.retain(|name, _| is_known(name));
        self.untold();
    }

    /// The sums, with the number of rows that are being fired, and of breakers that are open.
    pub(super) fn figures(&self, firing: usize, broken: usize) -> Figures {
        let active: usize = self.active.values().sum();
        Figures { firing, following: active.saturating_sub(firing), uncertain: self.uncertain, broken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: HeldBy = HeldBy::Slot("max_concurrent");

    fn told(board: &mut Board, now: i64) -> Vec<(usize, Option<i64>)> {
        let names = ["a".to_owned(), "b".to_owned()];
        let status = board.tell(names.iter(), UnixMillis(now));
        let all = status.into_iter().flat_map(|status| status.triggers);
        all.map(|status| (status.slots_used, status.hold.map(|hold| hold.since.0))).collect()
    }

    #[test]
    fn only_news_is_told_and_once_a_second() {
        let mut board = Board::default();
        assert_eq!(board.tell_at(), None);
        board.enter("a");
        assert_eq!(board.tell_at(), Some(UnixMillis(0)));
        assert_eq!(told(&mut board, 100), [(1, None), (0, None)]);
        assert_eq!(board.tell_at(), None);
        board.enter("a");
        assert_eq!(board.tell_at(), Some(UnixMillis(1100)));
        assert_eq!(told(&mut board, 1100), [(2, None)]);
        board.untold();
        assert_eq!(told(&mut board, 2100), [(2, None), (0, None)]);
    }

    #[test]
    fn a_hold_keeps_its_beginning_and_begins_only_for_rows_that_are_surely_there() {
        let mut board = Board::default();
        told(&mut board, 0);
        board.hold("a", false, Some((SLOT, None)), UnixMillis(5));
        assert_eq!((board.tell_at(), board.take_newly_held().len()), (None, 0));
        board.hold("a", true, Some((SLOT, None)), UnixMillis(6));
        assert_eq!(board.take_newly_held().len(), 1);
        board.hold("a", false, Some((SLOT, None)), UnixMillis(7));
        assert_eq!(board.take_newly_held().len(), 0);
        assert_eq!(told(&mut board, 8), [(0, Some(6))]);
        board.surveyed(0);
        assert_eq!(told(&mut board, 1008), [(0, Some(6))], "its oldest ready row may be another one");
        board.hold("a", false, None, UnixMillis(9));
        assert_eq!(told(&mut board, 2008), [(0, None)]);
    }

    #[test]
    fn figures_are_sums_over_all_triggers() {
        let mut board = Board::default();
        board.enter("a");
        board.enter("b");
        board.enter("b");
        board.surveyed(4);
        board.doubt();
        assert_eq!(board.figures(1, 2), Figures { firing: 1, following: 2, uncertain: 5, broken: 2 });
    }
}
