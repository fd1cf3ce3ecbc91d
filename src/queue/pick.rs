//! Which ready rows get the free places: the same for every store.

use std::collections::HashMap;
use std::time::Duration;

use super::{Look, Taken, Want};
use crate::clock::UnixMillis;
use crate::request::CallMode;

/// The places of one look while they are given away.
///
/// Triggers of one origin share its places evenly; what one leaves goes to those after it, and whoever comes short
/// is `hungry`, to be looked for again.
pub(super) struct Places {
    ordinary: Vec<usize>,
    held: usize,
    /// Wants not served yet, by origin, and in all.
    waiting: HashMap<usize, usize>,
    waiting_in_all: usize,
}

/// What one trigger may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    ordinary: usize,
    held: usize,
    /// How many candidates are worth reading.
    pub(super) limit: usize,
}

impl Places {
    pub(super) fn new(look: &Look, wants: &[&Want]) -> Self {
        let mut waiting = HashMap::new();
        for want in wants {
            *waiting.entry(want.origin).or_default() += 1;
        }
        Self { ordinary: look.places.clone(), held: look.held_places, waiting, waiting_in_all: wants.len() }
    }

    /// The part of the next want; to be asked once for each.
    pub(super) fn share(&mut self, want: &Want) -> Share {
        let waiting = self.waiting.get_mut(&want.origin);
        let among = waiting.as_ref().map_or(1, |n| (**n).max(1));
        let ordinary = self.ordinary.get(want.origin).map_or(0, |all| all.div_ceil(among)).min(want.ordinary);
        let held = self.held.div_ceil(self.waiting_in_all.max(1)).min(want.held);
        if let Some(n) = waiting {
            *n = n.saturating_sub(1);
        }
        self.waiting_in_all = self.waiting_in_all.saturating_sub(1);
        let most = match want.trigger.call_mode {
            CallMode::LongPolling => held.max(ordinary.min(1)),
            CallMode::AsyncRequestReply | CallMode::FireAndForget => ordinary.max(held.min(1)),
        };
        Share { ordinary, held, limit: want.limit.min(most) }
    }

    /// Those of `rows` that get a place, in order; and whether some did not.
    pub(super) fn pick(&mut self, want: &Want, mut share: Share, rows: Vec<Taken>) -> (Vec<Taken>, bool) {
        let asked = rows.len();
        let picked: Vec<Taken> = rows
            .into_iter()
            .filter(|row| {
                let held = row.invocation.firing_mode(&want.trigger) == CallMode::LongPolling;
                let (mine, all) = if held {
                    (&mut share.held, Some(&mut self.held))
                } else {
                    (&mut share.ordinary, self.ordinary.get_mut(want.origin))
                };
                match all {
                    Some(all) if *mine > 0 => {
                        *mine -= 1;
                        *all -= 1;
                        true
                    }
                    _ => false,
                }
            })
            .collect();
        let short = picked.len() < asked;
        (picked, short)
    }
}

/// The order among ready rows: the higher priority first, then the earlier ready time, then the lower id; but a row is worth
/// one step of priority more each time that it has waited for as long as `ageing`, so that none waits for ever. All of them age
/// alike, so the order of two rows never changes: it is that of [`rank`].
///
/// Rows of one priority are in order where they are read from, so no more of a priority is read than may be needed.
pub(super) struct Levels {
    ageing: Duration,
    /// Those that are not read yet; the best one last.
    unread: Vec<Level>,
    /// What was read, by rank.
    rows: Vec<((i64, i64, i64), i64)>,
}

/// A priority that ready rows have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// The how manieth.
    pub(super) number: i64,
    pub(super) priority: i64,
    /// The earliest ready time among its rows.
    pub(super) ready_at: UnixMillis,
}

/// The lower, the sooner.
pub(super) fn rank(ageing: Duration, priority: i64, ready_at: UnixMillis, id: i64) -> (i64, i64, i64) {
    let step = i64::try_from(ageing.as_millis()).unwrap_or(i64::MAX);
    if step == 0 {
        (-priority, ready_at.0, id)
    } else {
        (ready_at.0.saturating_sub(priority.saturating_mul(step)), -priority, id)
    }
}

impl Levels {
    pub(super) fn new(ageing: Duration, mut levels: Vec<Level>) -> Self {
        levels.sort_by_key(|level| std::cmp::Reverse(rank(ageing, level.priority, level.ready_at, 0)));
        Self { ageing, unread: levels, rows: Vec::new() }
    }

    /// The priority to read next, the first `limit` rows of it, if there may be any among the first `limit` of all.
    pub(super) fn wanted(&mut self, limit: usize) -> Option<Level> {
        let next = self.unread.last()?;
        let last = self.rows.get(limit.checked_sub(1)?);
        if last.is_some_and(|(last, _)| *last < rank(self.ageing, next.priority, next.ready_at, i64::MIN)) {
            return None;
        }
        self.unread.pop()
    }

    /// What was read of it: ids with their ready times.
    pub(super) fn give(&mut self, level: Level, rows: Vec<(i64, UnixMillis)>) {
        let rank = |ready_at, id| rank(self.ageing, level.priority, ready_at, id);
        self.rows.extend(rows.into_iter().map(|(id, ready_at)| (rank(ready_at, id), id)));
        self.rows.sort_unstable();
    }

    pub(super) fn into_ids(self, limit: usize) -> Vec<i64> {
        self.rows.into_iter().take(limit).map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first `limit` ids of a table of (priority, ready time), whose ids count up, and how many rows were read for it.
    fn taken(ageing: u64, table: &[(i64, i64)], limit: usize) -> (Vec<i64>, usize) {
        let rows = || (1..).zip(table).map(|(id, (priority, at))| (*priority, UnixMillis(*at), id));
        let mut levels: HashMap<i64, UnixMillis> = HashMap::new();
        for (priority, at, _) in rows() {
            let first = levels.entry(priority).or_insert(at);
            *first = at.min(*first);
        }
        let level = |(priority, ready_at)| Level { number: 0, priority, ready_at };
        let mut queue = Levels::new(Duration::from_millis(ageing), levels.into_iter().map(level).collect());
        let mut read = 0;
        while let Some(wanted) = queue.wanted(limit) {
            let mut level: Vec<_> =
                rows().filter(|row| row.0 == wanted.priority).map(|(_, at, id)| (id, at)).collect();
            level.sort_by_key(|(id, at)| (*at, *id));
            level.truncate(limit);
            read += level.len();
            queue.give(wanted, level);
        }
        (queue.into_ids(limit), read)
    }

    #[test]
    fn the_higher_priority_goes_first_then_the_longer_wait() {
        let table = [(0, 5), (10, 9), (0, 4), (10, 9), (-3, 1)];
        assert_eq!(taken(0, &table, 9).0, [2, 4, 3, 1, 5]);
        assert_eq!(taken(1_000_000, &table, 9).0, [2, 4, 3, 1, 5]);
        assert_eq!(taken(1_000_000, &table, 0).0, [0; 0]);
    }

    #[test]
    fn a_row_that_has_waited_long_enough_goes_before_a_higher_priority() {
        let table = [(0, 0), (10, 99), (10, 101), (0, 1)];
        assert_eq!(taken(10, &table, 9).0, [2, 1, 3, 4], "a tie goes to the higher priority");
        assert_eq!(taken(0, &table, 9).0, [2, 3, 1, 4], "never, if nothing ages");
    }

    #[test]
    fn of_a_priority_whose_turn_is_far_nothing_is_read() {
        let table: Vec<_> = (0..300).map(|n| (n % 3, n)).collect();
        assert_eq!(taken(1_000_000, &table, 10).1, 10);
        assert_eq!(taken(0, &table, 101).1, 200);
    }

    #[test]
    fn all_of_it_together_is_the_order_of_rank() {
        proptest::proptest!(|(table in proptest::collection::vec((-3..3_i64, 0..50_i64), 0..60), ageing in 0..30_u64, limit in 0..70_usize)| {
            let mut all: Vec<_> = (1..).zip(&table).map(|(id, (p, at))| rank(Duration::from_millis(ageing), *p, UnixMillis(*at), id)).collect();
            all.sort_unstable();
            let expected: Vec<i64> = all.into_iter().take(limit).map(|(_, _, id)| id).collect();
            proptest::prop_assert_eq!(taken(ageing, &table, limit).0, expected);
        });
    }
}
