//! Who may be on the wire now: connections by origin, exchanges in all, held calls, and the queues before them.
//!
//! An entry here is an id; what it is about is the executor's.

use std::collections::{HashMap, VecDeque};

/// The limits of `[dispatch]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Exchanges in all, held ones not counted.
    pub max_in_flight: usize,
    /// Connections to one origin.
    pub max_per_origin: usize,
    /// Calls that the far end may hold.
    pub max_long_polls: usize,
}

/// An origin with fewer exchanges than this may always start one, however many the others have.
const ALWAYS: usize = 8;
/// Rows that may be `triggering` for each connection of their origin: enough to keep the connections busy while the
/// next ones are committed, and few to be in doubt after a crash.
const PLACES_PER_CONNECTION: usize = 4;
/// Polls that may wait in one queue with their rows in memory; what waits longer is put aside as a number, and read
/// again when its turn is near. By queue, so that a far end that is slow costs the others nothing.
const READ_AHEAD: usize = 256;

/// What an exchange occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Seat {
    /// A connection of the lane with this number.
    Lane(usize),
    /// One of the held calls.
    Held,
}

/// All lanes.
pub(super) struct Lanes {
    limits: Limits,
    lanes: Vec<Lane>,
    by_origin: HashMap<String, usize>,
    /// Lanes with something queued, in the order to serve them.
    queued: VecDeque<usize>,
    in_flight: usize,
    held: VecDeque<i64>,
    held_aside: VecDeque<i64>,
    held_active: usize,
    /// Rows `triggering` whose firing is held.
    held_places: usize,
}

/// What goes to one origin.
#[derive(Default)]
struct Lane {
    firings: VecDeque<i64>,
    asks: VecDeque<i64>,
    /// Polls whose turn is far off.
    aside: VecDeque<i64>,
    active: usize,
    /// Rows `triggering`, from the intent to the commit of the attempt's end.
    places: usize,
    /// Whose turn it is when both queues have something.
    fired_last: bool,
}

impl Lanes {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: Vec::new(),
            by_origin: HashMap::new(),
            queued: VecDeque::new(),
            in_flight: 0,
            held: VecDeque::new(),
            held_aside: VecDeque::new(),
            held_active: 0,
            held_places: 0,
        }
    }

    pub(super) const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The lane of an origin.
    pub(super) fn lane(&mut self, origin: &str) -> usize {
        if let Some(lane) = self.by_origin.get(origin) {
            return *lane;
        }
        let lane = self.lanes.len();
        self.lanes.push(Lane::default());
        self.by_origin.insert(origin.to_owned(), lane);
        lane
    }

    /// Free places of every lane, by its number.
    pub(super) fn free_places(&self) -> Vec<usize> {
        let all = PLACES_PER_CONNECTION * self.limits.max_per_origin;
        self.lanes.iter().map(|lane| all.saturating_sub(lane.places)).collect()
    }

    /// Free places for held firings.
    pub(super) fn free_held_places(&self) -> usize {
        let asks = self.held_active + self.held.len();
        self.limits.max_long_polls.saturating_sub(self.held_places.max(asks))
    }

    /// A row is `triggering`.
    pub(super) fn take_place(&mut self, seat: Seat) {
        match seat {
            Seat::Lane(lane) => self.lanes[lane].places += 1,
            Seat::Held => self.held_places += 1,
        }
    }

    /// The end of its attempt is committed.
    pub(super) fn free_place(&mut self, seat: Seat) {
        match seat {
            Seat::Lane(lane) => self.lanes[lane].places = self.lanes[lane].places.saturating_sub(1),
            Seat::Held => self.held_places = self.held_places.saturating_sub(1),
        }
    }

    /// An exchange waits for its turn.
    pub(super) fn queue(&mut self, id: i64, seat: Seat, firing: bool) {
        match seat {
            Seat::Held => self.held.push_back(id),
            Seat::Lane(number) => {
                let lane = &mut self.lanes[number];
                if lane.firings.is_empty() && lane.asks.is_empty() {
                    self.queued.push_back(number);
                }
                if firing { lane.firings.push_back(id) } else { lane.asks.push_back(id) }
            }
        }
    }

    /// The next exchange that may start; its seat is taken.
    pub(super) fn next(&mut self) -> Option<(i64, Seat)> {
        if self.held_active < self.limits.max_long_polls
            && let Some(id) = self.held.pop_front()
        {
            self.held_active += 1;
            return Some((id, Seat::Held));
        }
        for _ in 0..self.queued.len() {
            let number = self.queued.pop_front()?;
            let lane = &mut self.lanes[number];
            let room = lane.active < self.limits.max_per_origin
                && (self.in_flight < self.limits.max_in_flight || lane.active < ALWAYS);
            let id = if room { lane.pop() } else { None };
            if !lane.firings.is_empty() || !lane.asks.is_empty() {
                self.queued.push_back(number);
            }
            if let Some(id) = id {
                lane.active += 1;
                self.in_flight += 1;
                return Some((id, Seat::Lane(number)));
            }
        }
        None
    }

    /// An exchange ended.
    pub(super) fn leave(&mut self, seat: Seat) {
        match seat {
            Seat::Held => self.held_active = self.held_active.saturating_sub(1),
            Seat::Lane(lane) => {
                self.lanes[lane].active = self.lanes[lane].active.saturating_sub(1);
                self.in_flight = self.in_flight.saturating_sub(1);
            }
        }
    }

    /// Whether a poll that takes this seat had better be put aside.
    pub(super) fn is_full(&self, seat: Seat) -> bool {
        match seat {
            Seat::Held => self.held.len() >= READ_AHEAD,
            Seat::Lane(lane) => self.lanes[lane].asks.len() >= READ_AHEAD,
        }
    }

    /// Puts a poll aside.
    pub(super) fn put_aside(&mut self, id: i64, seat: Seat) {
        match seat {
            Seat::Held => self.held_aside.push_back(id),
            Seat::Lane(lane) => self.lanes[lane].aside.push_back(id),
        }
    }

    /// Polls that were put aside and whose turn comes near.
    pub(super) fn take_aside(&mut self) -> Vec<i64> {
        let held = (&self.held, &mut self.held_aside);
        let lanes = self.lanes.iter_mut().map(|lane| (&lane.asks, &mut lane.aside));
        let near =
            lanes.chain([held]).filter(|(queue, aside)| !aside.is_empty() && queue.len() < READ_AHEAD / 2);
        near.flat_map(|(_, aside)| aside.drain(..aside.len().min(READ_AHEAD / 2))).collect()
    }

    /// Empties every queue: the ids that had not started.
    pub(super) fn drain(&mut self) -> Vec<i64> {
        self.queued.clear();
        let lanes = self.lanes.iter_mut().flat_map(|lane| lane.firings.drain(..).chain(lane.asks.drain(..)));
        lanes.chain(self.held.drain(..)).collect()
    }
}

impl Lane {
    /// Firings and polls take turns, so that neither can starve the other.
    fn pop(&mut self) -> Option<i64> {
        let fire = !self.firings.is_empty() && (self.asks.is_empty() || !self.fired_last);
        self.fired_last = fire;
        if fire { self.firings.pop_front() } else { self.asks.pop_front() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(max_in_flight: usize, max_per_origin: usize, max_long_polls: usize) -> Lanes {
        Lanes::new(Limits { max_in_flight, max_per_origin, max_long_polls })
    }

    fn started(lanes: &mut Lanes) -> Vec<i64> {
        std::iter::from_fn(|| lanes.next().map(|(id, _)| id)).collect()
    }

    #[test]
    fn an_origin_has_its_connections_and_no_more() {
        let mut lanes = lanes(100, 2, 1);
        let a = Seat::Lane(lanes.lane("http://a"));
        for id in 0..5 {
            lanes.queue(id, a, true);
        }
        assert_eq!(started(&mut lanes), [0, 1]);
        lanes.leave(a);
        assert_eq!(started(&mut lanes), [2]);
    }

    #[test]
    fn a_full_daemon_still_starts_what_goes_to_a_quiet_origin() {
        let mut lanes = lanes(10, 64, 1);
        let busy = Seat::Lane(lanes.lane("http://busy"));
        let quiet = Seat::Lane(lanes.lane("http://quiet"));
        for id in 0..64 {
            lanes.queue(id, busy, true);
        }
        assert_eq!(started(&mut lanes).len(), 10);
        for id in 100..120 {
            lanes.queue(id, quiet, true);
        }
        assert_eq!(started(&mut lanes), (100..108).collect::<Vec<_>>());
    }

    #[test]
    fn polls_and_firings_take_turns() {
        let mut lanes = lanes(100, 4, 1);
        let a = Seat::Lane(lanes.lane("http://a"));
        for id in 0..4 {
            lanes.queue(id, a, true);
            lanes.queue(10 + id, a, false);
        }
        assert_eq!(started(&mut lanes), [0, 10, 1, 11]);
    }

    #[test]
    fn held_calls_count_apart() {
        let mut lanes = lanes(1, 1, 2);
        for id in 0..3 {
            lanes.queue(id, Seat::Held, false);
        }
        assert_eq!(started(&mut lanes), [0, 1]);
        assert_eq!(lanes.free_held_places(), 0);
        let a = Seat::Lane(lanes.lane("http://a"));
        lanes.queue(9, a, true);
        assert_eq!(started(&mut lanes), [9]);
        assert_eq!(lanes.drain(), [2]);
    }

    #[test]
    fn a_place_is_free_again_when_the_end_is_committed() {
        let mut lanes = lanes(100, 2, 1);
        let number = lanes.lane("http://a");
        for _ in 0..8 {
            lanes.take_place(Seat::Lane(number));
        }
        assert_eq!(lanes.free_places(), [0]);
        lanes.free_place(Seat::Lane(number));
        assert_eq!(lanes.free_places(), [1]);
    }
}
