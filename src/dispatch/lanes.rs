//! Who may be on the wire now: connections by origin, exchanges in all, held calls, and the queues before them.
//!
//! An entry here is an id; what it is about is the executor's. The triggers of one origin share what it has: none may
//! take more than three times what would be left free, so that one whose far end never answers leaves room for the
//! others (the dynamic thresholds of Choudhury and Hahne, IEEE/ACM ToN 6(2), 1998, with alpha 3).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::UnixMillis;
use crate::trigger::Rate;

/// The limits of `[dispatch]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Exchanges in all, held ones not counted.
    pub max_in_flight: usize,
    /// Connections to one origin.
    pub max_per_origin: usize,
    /// Calls that the far end may hold.
    pub max_long_polls: usize,
    /// Polls of one origin, evenly spaced; held ones not counted. None: as many as are due.
    pub poll_rate: Option<Rate>,
}

/// An origin with fewer exchanges than this may always start one, however many the others have.
const ALWAYS: usize = 8;
/// Rows that may be `triggering` for each connection of their origin: enough to keep the connections busy while the
/// next ones are committed, and few to be in doubt after a crash.
const PLACES_PER_CONNECTION: usize = 4;
/// How many times what is left free one trigger may take.
const ALPHA: usize = 3;
/// Polls that may wait in one queue with their rows in memory; what waits longer is put aside as a number, and read
/// again when its turn is near. By queue, so that a far end that is slow costs the others nothing.
const READ_AHEAD: usize = 256;
const NANOS_PER_MILLI: i128 = 1_000_000;
/// The lane of the calls that the far end may hold, whatever their origin.
const HELD: usize = 0;

/// What an exchange occupies: one of its trigger's part of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seat {
    pub(super) lane: usize,
    user: usize,
}

/// All lanes.
pub(super) struct Lanes {
    limits: Limits,
    lanes: Vec<Lane>,
    by_origin: HashMap<String, usize>,
    /// Lanes with something queued, in the order to serve them.
    queued: VecDeque<usize>,
    /// Exchanges under way, held ones not counted.
    in_flight: usize,
}

/// What goes to one origin; or what is held.
#[derive(Default)]
struct Lane {
    users: Vec<User>,
    by_trigger: HashMap<String, usize>,
    /// Users that are expected here: room is kept only where there are others to keep it for.
    expected: usize,
    /// Whose turn it is.
    turn: usize,
    queued: usize,
    active: usize,
    /// Rows `triggering`, from the intent to the commit of the attempt's end.
    places: usize,
    /// No poll before, where polls have a rate. In nanoseconds: several polls may be due within the same millisecond.
    next_poll: i128,
    /// Whose turn it is to poll then: apart from the other turn, or who fires all the time would never be asked for.
    poll_turn: usize,
}

/// One trigger's part of a lane.
#[derive(Default)]
struct User {
    expected: bool,
    firings: VecDeque<i64>,
    asks: VecDeque<i64>,
    /// Polls whose turn is far off.
    aside: VecDeque<i64>,
    active: usize,
    places: usize,
    /// Whose turn it is when both queues have something.
    fired_last: bool,
}

impl Lanes {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: vec![Lane::default()],
            by_origin: HashMap::new(),
            queued: VecDeque::new(),
            in_flight: 0,
        }
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        if limits.poll_rate != self.limits.poll_rate {
            // What was spaced by the old one may be long.
            for lane in &mut self.lanes {
                lane.next_poll = 0;
            }
        }
        self.limits = limits;
    }

    /// Where an exchange of `trigger` with `origin` sits.
    pub(super) fn seat(&mut self, origin: &str, trigger: &str) -> Seat {
        let lane = match self.by_origin.get(origin) {
            Some(lane) => *lane,
            None => {
                self.lanes.push(Lane::default());
                self.by_origin.insert(origin.to_owned(), self.lanes.len() - 1);
                self.lanes.len() - 1
            }
        };
        Seat { lane, user: self.lanes[lane].user(trigger) }
    }

    /// Where a held call of `trigger` sits.
    pub(super) fn held_seat(&mut self, trigger: &str) -> Seat {
        Seat { lane: HELD, user: self.lanes[HELD].user(trigger) }
    }

    /// The trigger of this seat will use it.
    pub(super) fn expect(&mut self, seat: Seat) {
        let lane = &mut self.lanes[seat.lane];
        let user = &mut lane.users[seat.user];
        lane.expected += usize::from(!user.expected);
        user.expected = true;
    }

    /// Free places of every lane, by its number.
    pub(super) fn free_places(&self) -> Vec<usize> {
        (0..self.lanes.len()).map(|lane| self.free(lane)).collect()
    }

    /// Free places for held firings, of all triggers.
    pub(super) fn free_held_places(&self) -> usize {
        self.free(HELD)
    }

    /// The free places that a trigger may take.
    pub(super) fn free_for(&self, seat: Seat) -> usize {
        let (lane, free) = (&self.lanes[seat.lane], self.free(seat.lane));
        if lane.expected - usize::from(lane.users[seat.user].expected) == 0 {
            return free;
        }
        // n more are within bounds while used + n <= ALPHA * (free - n).
        (ALPHA * free).saturating_sub(lane.users[seat.user].places).div_ceil(ALPHA + 1)
    }

    fn free(&self, number: usize) -> usize {
        let lane = &self.lanes[number];
        if number == HELD {
            // What is held counts once, as the row that is being fired or as the call.
            self.limits.max_long_polls.saturating_sub(lane.places.max(lane.active + lane.queued))
        } else {
            (PLACES_PER_CONNECTION * self.limits.max_per_origin).saturating_sub(lane.places)
        }
    }

    /// A row is `triggering`.
    pub(super) fn take_place(&mut self, seat: Seat) {
        self.expect(seat);
        let lane = &mut self.lanes[seat.lane];
        lane.places += 1;
        lane.users[seat.user].places += 1;
    }

    /// The end of its attempt is committed.
    pub(super) fn free_place(&mut self, seat: Seat) {
        let lane = &mut self.lanes[seat.lane];
        lane.places = lane.places.saturating_sub(1);
        let user = &mut lane.users[seat.user];
        user.places = user.places.saturating_sub(1);
    }

    /// An exchange waits for its turn.
    pub(super) fn queue(&mut self, id: i64, seat: Seat, firing: bool) {
        self.expect(seat);
        let lane = &mut self.lanes[seat.lane];
        if lane.queued == 0 {
            self.queued.push_back(seat.lane);
        }
        lane.queued += 1;
        let user = &mut lane.users[seat.user];
        if firing { user.firings.push_back(id) } else { user.asks.push_back(id) }
    }

    /// The next exchange that may start; its seat is taken.
    pub(super) fn next(&mut self, now: UnixMillis) -> Option<(i64, Seat)> {
        for _ in 0..self.queued.len() {
            let number = self.queued.pop_front()?;
            let held = number == HELD;
            let most = if held { self.limits.max_long_polls } else { self.limits.max_per_origin };
            let lane = &mut self.lanes[number];
            let room = lane.active < most
                && (held || self.in_flight < self.limits.max_in_flight || lane.active < ALWAYS);
            let rate = self.limits.poll_rate.filter(|_| !held);
            let next = if room { lane.pop(most, rate, now) } else { None };
            if lane.queued > 0 {
                self.queued.push_back(number);
            }
            if let Some((id, user)) = next {
                self.in_flight += usize::from(!held);
                return Some((id, Seat { lane: number, user }));
            }
        }
        None
    }

    /// When the first poll may start that waits for its time alone.
    pub(super) fn wake_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.limits.poll_rate?;
        let waits = |number: &&usize| {
            **number != HELD && self.lanes[**number].users.iter().any(|user| !user.asks.is_empty())
        };
        let times = self.queued.iter().filter(waits).map(|number| self.lanes[*number].polls_at());
        times.filter(|at| *at > now).min()
    }

    /// The clock was set back: no poll waits longer for that.
    pub(super) fn set_back(&mut self, step: Duration) {
        for lane in &mut self.lanes {
            lane.next_poll -= nanos(step);
        }
    }

    /// An exchange ended.
    pub(super) fn leave(&mut self, seat: Seat) {
        let lane = &mut self.lanes[seat.lane];
        lane.active = lane.active.saturating_sub(1);
        let user = &mut lane.users[seat.user];
        user.active = user.active.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(usize::from(seat.lane != HELD));
    }

    /// Whether a poll that takes this seat had better be put aside.
    pub(super) fn is_full(&self, seat: Seat) -> bool {
        self.lanes[seat.lane].users[seat.user].asks.len() >= READ_AHEAD
    }

    /// Puts a poll aside.
    pub(super) fn put_aside(&mut self, id: i64, seat: Seat) {
        self.lanes[seat.lane].users[seat.user].aside.push_back(id);
    }

    /// Polls that were put aside and whose turn comes near.
    pub(super) fn take_aside(&mut self) -> Vec<i64> {
        let users = self.lanes.iter_mut().flat_map(|lane| &mut lane.users);
        let near = users.filter(|user| !user.aside.is_empty() && user.asks.len() < READ_AHEAD / 2);
        near.flat_map(|user| user.aside.drain(..user.aside.len().min(READ_AHEAD / 2))).collect()
    }

    /// Empties every queue: the ids that had not started.
    pub(super) fn drain(&mut self) -> Vec<i64> {
        self.queued.clear();
        let mut ids = Vec::new();
        for lane in &mut self.lanes {
            lane.queued = 0;
            for user in &mut lane.users {
                ids.extend(user.firings.drain(..).chain(user.asks.drain(..)));
            }
        }
        ids
    }
}

impl Lane {
    fn user(&mut self, trigger: &str) -> usize {
        if let Some(user) = self.by_trigger.get(trigger) {
            return *user;
        }
        self.users.push(User::default());
        self.by_trigger.insert(trigger.to_owned(), self.users.len() - 1);
        self.users.len() - 1
    }

    /// When the next poll may start: in which millisecond.
    fn polls_at(&self) -> UnixMillis {
        UnixMillis(i64::try_from(self.next_poll.div_euclid(NANOS_PER_MILLI)).unwrap_or(i64::MAX))
    }

    /// The next one, by turns among the triggers that may start one more of `most`.
    fn pop(&mut self, most: usize, rate: Option<Rate>, now: UnixMillis) -> Option<(i64, usize)> {
        let left = most.saturating_sub(self.active);
        let alone = self.expected == 1;
        let may_start = |user: &User| alone || user.active < ALPHA * left;
        let asker = rate.filter(|_| self.polls_at() <= now).and_then(|_| {
            let all = self.users.len();
            let mut turns = (0..all).map(|offset| (self.poll_turn + offset) % all);
            turns.find(|number| !self.users[*number].asks.is_empty() && may_start(&self.users[*number]))
        });
        for offset in 0..self.users.len() {
            let number = (self.turn + offset) % self.users.len();
            let user = &mut self.users[number];
            if may_start(user)
                && let Some((id, is_poll)) = user.pop(rate.is_none() || asker == Some(number))
            {
                if let Some(rate) = rate.filter(|_| is_poll) {
                    // From now on, not from when it might have started: what was not used is not made up for.
                    let now = i128::from(now.0) * NANOS_PER_MILLI;
                    self.next_poll = self.next_poll.max(now) + nanos(rate.interval());
                    self.poll_turn = number + 1;
                }
                user.active += 1;
                self.active += 1;
                self.queued -= 1;
                self.turn = number + 1;
                return Some((id, number));
            }
        }
        None
    }
}

impl User {
    /// The next one, and whether it is a poll. Firings and polls take turns, so that neither can starve the other.
    fn pop(&mut self, may_ask: bool) -> Option<(i64, bool)> {
        let asks = may_ask && !self.asks.is_empty();
        let fire = !self.firings.is_empty() && (!asks || !self.fired_last);
        let id = if fire {
            self.firings.pop_front()
        } else if asks {
            self.asks.pop_front()
        } else {
            None
        };
        self.fired_last = if id.is_some() { fire } else { self.fired_last };
        id.map(|id| (id, !fire))
    }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(max_in_flight: usize, max_per_origin: usize, max_long_polls: usize) -> Lanes {
        Lanes::new(Limits { max_in_flight, max_per_origin, max_long_polls, poll_rate: None })
    }

    fn started(lanes: &mut Lanes) -> Vec<i64> {
        started_at(lanes, NOW)
    }

    fn started_at(lanes: &mut Lanes, now: i64) -> Vec<i64> {
        std::iter::from_fn(|| lanes.next(UnixMillis(now)).map(|(id, _)| id)).collect()
    }

    const NOW: i64 = 1_700_000_000_000;

    fn polling(limit: u32) -> Lanes {
        let poll_rate = Some(Rate { limit, per: Duration::from_secs(1) });
        Lanes::new(Limits { max_in_flight: 10_000, max_per_origin: 10_000, max_long_polls: 100, poll_rate })
    }

    #[test]
    fn polls_with_a_rate_start_evenly_and_are_waited_for() {
        let mut lanes = polling(10);
        let a = lanes.seat("http://a", "t");
        for id in 0..30 {
            lanes.queue(id, a, false);
        }
        let mut now = NOW;
        let mut ids = Vec::new();
        while ids.len() < 30 {
            ids.extend(started_at(&mut lanes, now));
            assert_eq!(i64::try_from(ids.len()).unwrap(), 1 + (now - NOW) / 100, "at {}", now - NOW);
            assert_eq!(started_at(&mut lanes, now + 99), [0; 0]);
            assert_eq!(lanes.wake_at(UnixMillis(now)), (ids.len() < 30).then_some(UnixMillis(now + 100)));
            now += 100;
        }
        assert_eq!(ids, (0..30).collect::<Vec<_>>(), "none is lost, and in order");
        // What was not used is not made up for.
        for id in 40..60 {
            lanes.queue(id, a, false);
        }
        assert_eq!(started_at(&mut lanes, now + 60_000), [40]);
    }

    #[test]
    fn a_rate_finer_than_the_clock_is_kept_within_each_window() {
        let mut lanes = polling(3_000);
        let a = lanes.seat("http://a", "t");
        for id in 0..9_000 {
            lanes.queue(id, a, false);
        }
        let counts: Vec<usize> = (0..3_000).map(|ms| started_at(&mut lanes, NOW + ms).len()).collect();
        let fewer = counts.iter().filter(|n| **n < 3).count();
        assert!(counts.iter().all(|n| *n <= 3) && fewer < 10, "{fewer} times less than 3");
        let mut lanes = polling(300);
        let a = lanes.seat("http://a", "t");
        for id in 0..9_000 {
            lanes.queue(id, a, false);
        }
        let counts: Vec<usize> = (0..3_000).map(|ms| started_at(&mut lanes, NOW + ms).len()).collect();
        for window in counts.windows(1000) {
            let sum: usize = window.iter().sum();
            assert!((299..=300).contains(&sum), "{sum}");
        }
    }

    #[test]
    fn firings_held_calls_and_other_origins_do_not_wait_for_the_rate_of_polls() {
        let mut lanes = polling(1);
        let (a, b) = (lanes.seat("http://a", "t"), lanes.seat("http://b", "t"));
        let held = lanes.held_seat("t");
        for id in 0..3 {
            lanes.queue(id, a, false);
            lanes.queue(10 + id, a, true);
            lanes.queue(20 + id, b, false);
            lanes.queue(30 + id, held, false);
        }
        let mut ids = started(&mut lanes);
        ids.sort_unstable();
        assert_eq!(ids, [0, 10, 11, 12, 20, 30, 31, 32]);
        assert_eq!(started_at(&mut lanes, NOW + 999), [0; 0]);
        let mut ids = started_at(&mut lanes, NOW + 1000);
        ids.sort_unstable();
        assert_eq!(ids, [1, 21]);
    }

    #[test]
    fn triggers_of_one_origin_share_its_polls_and_a_firing_starves_none() {
        let mut lanes = polling(1);
        let (a, b) = (lanes.seat("http://a", "a"), lanes.seat("http://a", "b"));
        for id in 0..20 {
            lanes.queue(id, a, false);
            lanes.queue(100 + id, b, false);
        }
        let mut polls = Vec::new();
        for second in 0..20 {
            for n in 0..5 {
                lanes.queue(1000 + second * 10 + n, a, true);
            }
            let ids = started_at(&mut lanes, NOW + second * 1000);
            assert_eq!(ids.len(), 6, "five firings and a poll");
            polls.extend(ids.into_iter().filter(|id| *id < 1000));
        }
        let of_a = polls.iter().filter(|id| **id < 100).count();
        assert_eq!(of_a, 10, "{polls:?}");
    }

    #[test]
    fn nobody_is_woken_for_a_poll_that_waits_for_a_connection() {
        let mut lanes = polling(10);
        lanes.limits.max_per_origin = 1;
        let a = lanes.seat("http://a", "t");
        for id in 0..2 {
            lanes.queue(id, a, false);
        }
        assert_eq!(started(&mut lanes), [0]);
        assert_eq!(lanes.wake_at(UnixMillis(NOW + 100)), None);
        lanes.leave(a);
        assert_eq!(started_at(&mut lanes, NOW + 200), [1]);
        assert_eq!(lanes.wake_at(UnixMillis(NOW + 200)), None, "nothing waits");
    }

    #[test]
    fn another_rate_holds_at_once() {
        let mut lanes = polling(1);
        let a = lanes.seat("http://a", "t");
        for id in 0..9 {
            lanes.queue(id, a, false);
        }
        let limits = lanes.limits;
        assert_eq!(started(&mut lanes), [0]);
        lanes.set_limits(limits);
        assert_eq!(started(&mut lanes), [0; 0], "it is the same");
        lanes.set_limits(polling(10).limits);
        assert_eq!(started(&mut lanes), [1]);
        assert_eq!(started_at(&mut lanes, NOW + 100), [2]);
        lanes.set_limits(Limits { poll_rate: None, ..limits });
        assert_eq!(started_at(&mut lanes, NOW + 100), (3..9).collect::<Vec<_>>());
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_poll_wait_longer() {
        let mut lanes = polling(1);
        let a = lanes.seat("http://a", "t");
        for id in 0..3 {
            lanes.queue(id, a, false);
        }
        assert_eq!(started(&mut lanes), [0]);
        lanes.set_back(Duration::from_secs(3600));
        assert_eq!(lanes.wake_at(UnixMillis(NOW - 3_600_000)), Some(UnixMillis(NOW - 3_599_000)));
    }

    #[test]
    fn an_origin_has_its_connections_and_no_more() {
        let mut lanes = lanes(100, 2, 1);
        let a = lanes.seat("http://a", "t");
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
        let busy = lanes.seat("http://busy", "t");
        let quiet = lanes.seat("http://quiet", "u");
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
        let a = lanes.seat("http://a", "t");
        for id in 0..4 {
            lanes.queue(id, a, true);
            lanes.queue(10 + id, a, false);
        }
        assert_eq!(started(&mut lanes), [0, 10, 1, 11]);
    }

    #[test]
    fn held_calls_count_apart() {
        let mut lanes = lanes(1, 1, 2);
        let held = lanes.held_seat("t");
        for id in 0..3 {
            lanes.queue(id, held, false);
        }
        assert_eq!(started(&mut lanes), [0, 1]);
        assert_eq!(lanes.free_held_places(), 0);
        let a = lanes.seat("http://a", "t");
        lanes.queue(9, a, true);
        assert_eq!(started(&mut lanes), [9]);
        assert_eq!(lanes.drain(), [2]);
    }

    #[test]
    fn a_place_is_free_again_when_the_end_is_committed() {
        let mut lanes = lanes(100, 2, 1);
        let a = lanes.seat("http://a", "t");
        for _ in 0..8 {
            lanes.take_place(a);
        }
        assert_eq!(lanes.free_places()[a.lane], 0);
        lanes.free_place(a);
        assert_eq!(lanes.free_places()[a.lane], 1);
    }

    #[test]
    fn a_trigger_that_is_stuck_leaves_connections_and_places_to_the_others_of_its_origin() {
        let mut lanes = lanes(1000, 64, 1);
        let (dead, live) = (lanes.seat("http://a", "dead"), lanes.seat("http://a", "live"));
        lanes.expect(live);
        let taken = lanes.free_for(dead);
        for id in 0..1000 {
            lanes.queue(id, dead, true);
        }
        for _ in 0..taken {
            lanes.take_place(dead);
        }
        assert_eq!((taken, started(&mut lanes).len()), (192, 48), "three quarters");
        assert_eq!(lanes.free_for(dead), 0);
        assert_eq!(lanes.free_for(live), 48);
        for id in 2000..2100 {
            lanes.queue(id, live, true);
        }
        assert_eq!(started(&mut lanes), (2000..2012).collect::<Vec<_>>());
    }

    #[test]
    fn the_last_place_of_an_origin_can_be_taken() {
        let mut lanes = lanes(1000, 1, 1);
        let (a, b) = (lanes.seat("http://a", "a"), lanes.seat("http://a", "b"));
        lanes.expect(b);
        for _ in 0..3 {
            lanes.take_place(a);
        }
        assert_eq!((lanes.free_for(a), lanes.free_for(b)), (0, 1));
    }
}
