//! Which times of a schedule are settled now, and how: on time, made up for, or missed.

use std::time::Duration;

use super::{Misfire, Plan, Timetable};
use crate::clock::UnixMillis;

/// A time that is settled later than this was missed, also if a daemon ran: the machine was asleep, or its clock was set.
const ON_TIME: Duration = Duration::from_secs(60);
/// Missed times are counted up to this.
const COUNTED: u32 = 1000;

/// What becomes of the times between the last one that is settled and now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Times that are not made up for, in order.
    pub missed: Vec<Missed>,
    /// Times to fire for, in order, each with whether it is made up for.
    pub fires: Vec<(UnixMillis, bool)>,
    /// The last time of all these.
    pub last: Option<UnixMillis>,
    /// The first one behind them.
    pub next: Option<UnixMillis>,
}

/// Times in a row that are not made up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The first.
    pub first: UnixMillis,
    /// The last; none where there are so many that they were not all looked at.
    pub last: Option<UnixMillis>,
    /// How many there are, or how many were counted.
    pub times: u32,
    /// Why.
    pub why: Why,
}

/// Why a time is not made up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `misfire` is `skip`, or a later time stands for all.
    Misfire,
    /// It is longer ago than `catch_up_window`.
    Window,
    /// It is one of more than `max_catch_up`.
    Most,
}

impl Why {
    /// `schedule_events.reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Misfire => "misfire",
            Self::Window => "catch_up_window",
            Self::Most => "max_catch_up",
        }
    }
}

impl Plan {
    /// Settles the times of `timetable`, which is of this plan, in (`last`, `now`]. `since`: when the daemon began to look;
    /// times up to then came while none ran.
    #[must_use]
    pub fn settle(
        &self,
        timetable: &Timetable,
        last: UnixMillis,
        since: UnixMillis,
        now: UnixMillis,
    ) -> Settlement {
        let late = since.max(before(now, ON_TIME)).max(last).min(now);
        let mut settlement = Settlement::default();
        // Missed by the daemon, if any; then what is on time.
        let on_time = times(timetable, late, now, u32::MAX);
        self.make_up(timetable, last, late, now, !on_time.is_empty(), &mut settlement);
        settlement.fires.extend(on_time.iter().map(|at| (*at, false)));
        let fired = settlement.fires.last().map(|(at, _)| *at);
        let missed = settlement.missed.iter().map(|missed| missed.last.unwrap_or(late)).max();
        settlement.last = fired.max(missed);
        settlement.next = timetable.next_after(last.max(now));
        settlement
    }

    /// What becomes of the times in (`last`, `late`].
    fn make_up(
        &self,
        timetable: &Timetable,
        last: UnixMillis,
        late: UnixMillis,
        now: UnixMillis,
        is_followed: bool,
        out: &mut Settlement,
    ) {
        if timetable.next_after(last).is_none_or(|first| first > late) {
            return;
        }
        let window = before(now, self.catch_up_window).max(last).min(late);
        let most = match self.misfire {
            Misfire::RunAll => self.max_catch_up,
            // One that comes on time stands for those before it too.
            Misfire::RunOnce => u32::from(!is_followed),
            Misfire::Skip => 0,
        };
        let made_up = newest(timetable, window, late, most);
        let begin = made_up.first().copied();
        // Up to the first that is made up for, and not beyond.
        let until = begin.map_or(late, |at| UnixMillis(at.0 - 1));
        let ages = [
            (last, window.min(until), Why::Window),
            (window, until, if self.misfire == Misfire::RunAll { Why::Most } else { Why::Misfire }),
        ];
        for (from, to, why) in ages {
            let all = times(timetable, from, to, COUNTED);
            if let (Some(first), Some(end)) = (all.first().copied(), all.last().copied()) {
                let times = u32::try_from(all.len()).unwrap_or(COUNTED);
                out.missed.push(Missed { first, last: (times < COUNTED).then_some(end), times, why });
            }
        }
        out.fires.extend(made_up.into_iter().map(|at| (at, true)));
    }
}

fn before(at: UnixMillis, span: Duration) -> UnixMillis {
    UnixMillis(at.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

/// The times in (`from`, `to`], the first `most` of them.
fn times(timetable: &Timetable, from: UnixMillis, to: UnixMillis, most: u32) -> Vec<UnixMillis> {
    let next = |at: &UnixMillis| timetable.next_after(*at);
    let times = std::iter::successors(timetable.next_after(from), next).take_while(|at| *at <= to);
    times.take(most as usize).collect()
}

/// The last `most` of them. A timetable is only read forwards, so a stretch that is long enough is looked for from its end.
fn newest(timetable: &Timetable, from: UnixMillis, to: UnixMillis, most: u32) -> Vec<UnixMillis> {
    if most == 0 {
        return Vec::new();
    }
    let mut span = Duration::from_secs(1);
    loop {
        let begin = before(to, span).max(from);
        let found = times(timetable, begin, to, u32::MAX);
        if found.len() >= most as usize || begin == from {
            let surplus = found.len().saturating_sub(most as usize);
            return found[surplus..].to_vec();
        }
        span = span.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000;
    /// 2026-11-24T12:00:00Z.
    const NOON: i64 = 1_795_521_600_000;

    fn hourly(misfire: Misfire) -> Plan {
        Plan { misfire, ..Plan::new("s", "t", "0 * * * *", "UTC") }
    }

    fn settle(plan: &Plan, last: i64, since: i64, now: i64) -> Settlement {
        let timetable = plan.timetable(None, UnixMillis(0)).unwrap();
        plan.settle(&timetable, UnixMillis(last), UnixMillis(since), UnixMillis(now))
    }

    fn fires(settlement: &Settlement) -> Vec<(i64, bool)> {
        settlement.fires.iter().map(|(at, made_up)| ((at.0 - NOON) / MINUTE, *made_up)).collect()
    }

    fn missed(settlement: &Settlement) -> Vec<(i64, u32, Why)> {
        settlement.missed.iter().map(|m| ((m.first.0 - NOON) / MINUTE, m.times, m.why)).collect()
    }

    #[test]
    fn a_time_that_comes_while_a_daemon_looks_is_on_time() {
        for misfire in Misfire::ALL {
            let settled = settle(&hourly(misfire), NOON - 60 * MINUTE, NOON - 5 * MINUTE, NOON + 20_000);
            assert_eq!((fires(&settled), missed(&settled)), (vec![(0, false)], vec![]), "{misfire}");
            assert_eq!(
                (settled.last, settled.next),
                (Some(UnixMillis(NOON)), Some(UnixMillis(NOON + 60 * MINUTE)))
            );
        }
    }

    #[test]
    fn of_what_came_while_none_ran_the_policy_decides() {
        let mut plan = hourly(Misfire::RunOnce);
        plan.catch_up_window = Duration::from_secs(3 * 3600);
        // From 5 in the morning to half past 12.
        let (last, now) = (NOON - 7 * 60 * MINUTE, NOON + 30 * MINUTE);
        let settled = settle(&plan, last, now, now);
        assert_eq!(fires(&settled), [(0, true)]);
        assert_eq!(missed(&settled), [(-360, 4, Why::Window), (-120, 2, Why::Misfire)]);

        plan.misfire = Misfire::RunAll;
        let settled = settle(&plan, last, now, now);
        assert_eq!(fires(&settled), [(-120, true), (-60, true), (0, true)]);
        assert_eq!(missed(&settled), [(-360, 4, Why::Window)]);

        plan.max_catch_up = 2;
        let settled = settle(&plan, last, now, now);
        assert_eq!(fires(&settled), [(-60, true), (0, true)]);
        assert_eq!(missed(&settled), [(-360, 4, Why::Window), (-120, 1, Why::Most)]);

        plan.misfire = Misfire::Skip;
        let settled = settle(&plan, last, now, now);
        assert_eq!(fires(&settled), []);
        assert_eq!(missed(&settled), [(-360, 4, Why::Window), (-120, 3, Why::Misfire)]);
        assert_eq!(settled.last, Some(UnixMillis(NOON)));
    }

    #[test]
    fn a_time_that_is_on_time_stands_for_those_that_were_missed() {
        let (since, now) = (NOON - MINUTE, NOON + 1000);
        let plan = Plan { catch_up_window: Duration::from_secs(2 * 3600), ..hourly(Misfire::RunOnce) };
        let settled = settle(&plan, NOON - 150 * MINUTE, since, now);
        assert_eq!(fires(&settled), [(0, false)]);
        assert_eq!(missed(&settled), [(-120, 1, Why::Window), (-60, 1, Why::Misfire)]);
    }

    #[test]
    fn nothing_is_settled_before_its_time_and_nothing_twice() {
        let settled = settle(&hourly(Misfire::RunAll), NOON, NOON - MINUTE, NOON + 59 * MINUTE);
        assert_eq!(
            settled,
            Settlement { next: Some(UnixMillis(NOON + 60 * MINUTE)), ..Settlement::default() }
        );
        // A clock that was set back: what is settled stays so.
        let settled = settle(&hourly(Misfire::RunAll), NOON, NOON - 300 * MINUTE, NOON - 200 * MINUTE);
        assert_eq!(
            settled,
            Settlement { next: Some(UnixMillis(NOON + 60 * MINUTE)), ..Settlement::default() }
        );
    }

    #[test]
    fn years_of_seconds_are_not_looked_through() {
        let plan = Plan {
            misfire: Misfire::RunAll,
            catch_up_window: Duration::from_secs(10 * 365 * 86_400),
            ..Plan::new("s", "t", "* * * * * ?", "UTC")
        };
        let last = NOON - 5 * 365 * 86_400_000;
        let settled = settle(&plan, last, NOON, NOON);
        assert_eq!(settled.fires.len(), 100);
        assert_eq!(settled.last, Some(UnixMillis(NOON)));
        let first = UnixMillis(last + 1000);
        assert_eq!(settled.missed, [Missed { first, last: None, times: 1000, why: Why::Most }]);
    }

    proptest! {
        /// Whenever it is looked at, each time is settled once: the same as if it had been looked at all the time.
        #[test]
        fn each_time_is_settled_once_however_often_it_is_looked(
            looks in proptest::collection::vec((1..400_i64, any::<bool>()), 1..12),
            misfire in 0..3_usize,
        ) {
            let plan = Plan {
                catch_up_window: Duration::from_secs(100 * 3600),
                ..hourly(Misfire::ALL[misfire])
            };
            let timetable = plan.timetable(None, UnixMillis(0)).unwrap();
            let (mut last, mut now, mut since) = (UnixMillis(NOON), UnixMillis(NOON), UnixMillis(NOON));
            let (mut seen, mut missed) = (Vec::new(), 0);
            for (minutes, is_start) in looks {
                now = UnixMillis(now.0 + minutes * MINUTE);
                if is_start {
                    since = now;
                }
                let settled = plan.settle(&timetable, last, since, now);
                prop_assert!(settled.next.is_some_and(|next| next > now));
                seen.extend(settled.fires.iter().map(|(at, _)| *at));
                missed += settled.missed.iter().map(|m| m.times).sum::<u32>();
                last = settled.last.unwrap_or(last).max(last);
            }
            let due = times(&timetable, UnixMillis(NOON), now, u32::MAX);
            prop_assert!(seen.is_sorted_by(|a, b| a < b));
            prop_assert!(seen.iter().all(|at| due.contains(at)));
            prop_assert_eq!(seen.len() + missed as usize, due.len());
            if plan.misfire == Misfire::RunAll {
                prop_assert_eq!(missed, 0);
            }
        }
    }
}
