//! One breaker for each origin: it keeps an origin that answers badly from making every ready row `uncertain`. Pure: time
//! comes in.
//!
//! So many bad ends of firings in a row open it. While it is open nothing is fired at its origin, but for one probe at a
//! time, after waits that double, until one is answered otherwise. Ends count for what was so when their firing began:
//! those that were on the wire when it opened, or closed, are no news. Polls neither count nor wait: they are safe.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::UnixMillis;
use crate::invocation::{AttemptEnd, AttemptOutcome, Code};

/// When breakers open, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaking {
    /// Bad ends in a row that open it; 0: never.
    pub failures: u32,
    /// The first wait before a probe.
    pub initial: Duration,
    /// The longest.
    pub max: Duration,
}

impl Breaking {
    /// Breakers that never open.
    pub const NEVER: Self = Self { failures: 0, initial: Duration::ZERO, max: Duration::ZERO };

    /// The wait after so many probes that failed.
    fn wait(self, probes: u32) -> Duration {
        Backoff { initial: self.initial, factor: 2.0, max: self.max }.delay(probes)
    }
}

/// What a firing's end says of its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It answers.
    Good,
    /// It does not, or only that it cannot.
    Bad,
    /// Nothing.
    None,
}

impl News {
    pub(super) fn of(end: &AttemptEnd) -> Self {
        let code = end.trouble.as_ref().map(|trouble| trouble.code);
        match end.outcome {
            AttemptOutcome::Accepted | AttemptOutcome::Answered => Self::Good,
            AttemptOutcome::Ambiguous if code == Some(Code::Interrupted) => Self::None,
            AttemptOutcome::Ambiguous => Self::Bad,
            // Of a request that cannot be sent, or a secret that cannot be had, the far end knows nothing.
            AttemptOutcome::NotSent if code == Some(Code::NotSent) => Self::Bad,
            AttemptOutcome::NotSent => Self::None,
            AttemptOutcome::Refused => match end.http_status {
                // The credential has a gate of its own.
                Some(401) => Self::None,
                // What the request asks for is not there: an answer like 404.
                Some(501 | 505) => Self::Good,
                Some(500..) => Self::Bad,
                _ => Self::Good,
            },
        }
    }
}

/// What may be fired at an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Anything.
    All,
    /// One row, as the probe.
    Probe(Arc<str>),
    /// Nothing before this time; without one, before the end of the probe that is under way.
    Nothing(Arc<str>, Option<UnixMillis>),
}

/// A firing that has begun: at which origin, by the number of its lane, and the how manyth it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    lane: usize,
    pub(super) serial: u64,
}

/// What an end has done to its breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has opened.
    Opened { origin: Arc<str>, failures: u32, until: UnixMillis },
    /// Its probe has failed.
    Failed { origin: Arc<str>, until: UnixMillis },
    /// It has closed.
    Closed { origin: Arc<str> },
}

/// All breakers, by the lane of their origin. Origins that never failed have none.
#[derive(Debug)]
pub(super) struct Breakers {
    rules: Breaking,
    begun: u64,
    by_lane: HashMap<usize, Breaker>,
}

#[derive(Debug)]
struct Breaker {
    origin: Arc<str>,
    /// Firings that began before this one are no news.
    first: u64,
    state: State,
    /// The trigger that had the last probe.
    last: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        /// Probes that have failed.
        failed: u32,
        until: UnixMillis,
        /// The row that is the probe.
        probe: Option<i64>,
    },
}

impl Breakers {
    pub(super) fn new(rules: Breaking) -> Self {
        Self { rules, begun: 0, by_lane: HashMap::new() }
    }

    /// Another configuration: somebody may have mended what was wrong, so each open breaker lets a probe go at once, and
    /// waits anew if that fails.
    pub(super) fn configure(&mut self, rules: Breaking) {
        self.rules = rules;
        if rules.failures == 0 {
            self.by_lane.clear();
        }
        for breaker in self.by_lane.values_mut() {
            if let State::Open { failed, until, .. } = &mut breaker.state {
                (*failed, *until) = (0, UnixMillis(0));
            }
        }
    }

    /// The clock was set back: no wait becomes longer.
    pub(super) fn set_back(&mut self, step: Duration) {
        for breaker in self.by_lane.values_mut() {
            if let State::Open { until, .. } = &mut breaker.state {
                *until = until.minus(step);
            }
        }
    }

    /// What may be fired at the origin of a lane.
    pub(super) fn look(&self, lane: usize, now: UnixMillis) -> Leave {
        let Some(Breaker { origin, state: State::Open { until, probe, .. }, .. }) = self.by_lane.get(&lane)
        else {
            return Leave::All;
        };
        match probe {
            Some(_) => Leave::Nothing(Arc::clone(origin), None),
            None if now < *until => Leave::Nothing(Arc::clone(origin), Some(*until)),
            None => Leave::Probe(Arc::clone(origin)),
        }
    }

    /// Which of the triggers that could have the next probe has it: by turns. `names` are in order.
    pub(super) fn choose<'a>(&mut self, lane: usize, names: &[&'a str]) -> Option<&'a str> {
        let breaker = self.by_lane.get_mut(&lane)?;
        let next = names.iter().find(|name| **name > breaker.last.as_str()).or(names.first())?;
        breaker.last = (*next).to_owned();
        Some(next)
    }

    /// A row is to be fired. It is the probe if it is time for one and there is none.
    pub(super) fn intend(&mut self, lane: usize, id: i64, now: UnixMillis) {
        if let Some(Breaker { state: State::Open { until, probe: probe @ None, .. }, .. }) =
            self.by_lane.get_mut(&lane)
            && *until <= now
        {
            *probe = Some(id);
        }
    }

    /// Whether a row may be fired now.
    pub(super) fn admits(&self, lane: usize, id: i64, now: UnixMillis) -> bool {
        match self.by_lane.get(&lane).map(|breaker| breaker.state) {
            Some(State::Open { probe: Some(probe), .. }) => probe == id,
            Some(State::Open { until, probe: None, .. }) => until <= now,
            Some(State::Closed { .. }) | None => true,
        }
    }

    /// A row that was admitted is fired.
    pub(super) fn begin(&mut self, lane: usize, id: i64, now: UnixMillis) -> Ticket {
        self.intend(lane, id, now);
        self.begun += 1;
        Ticket { lane, serial: self.begun }
    }

    /// How many firings have begun.
    pub(super) const fn begun(&self) -> u64 {
        self.begun
    }

    /// Probes that are not with us any more, sent or unsent, leave the place to others.
    pub(super) fn forget_probes(&mut self, is_alive: impl Fn(i64) -> bool) {
        for breaker in self.by_lane.values_mut() {
            if let State::Open { probe, .. } = &mut breaker.state {
                *probe = probe.filter(|id| is_alive(*id));
            }
        }
    }

    /// How many origins nothing is fired at.
    pub(super) fn open(&self) -> usize {
        self.by_lane.values().filter(|breaker| matches!(breaker.state, State::Open { .. })).count()
    }

    /// The end of a firing at `origin`.
    pub(super) fn end(
        &mut self,
        ticket: Ticket,
        news: News,
        origin: impl FnOnce() -> String,
        now: UnixMillis,
    ) -> Option<Turn> {
        let rules = self.rules;
        if rules.failures == 0 {
            return None;
        }
        let breaker = match (self.by_lane.get_mut(&ticket.lane), news) {
            (Some(breaker), _) => breaker,
            (None, News::Bad) => self.by_lane.entry(ticket.lane).or_insert_with(|| Breaker {
                origin: origin().into(),
                first: 0,
                state: State::Closed { failures: 0 },
                last: String::new(),
            }),
            (None, News::Good | News::None) => return None,
        };
        if ticket.serial < breaker.first {
            return None;
        }
        let origin = || Arc::clone(&breaker.origin);
        match (&mut breaker.state, news) {
            (State::Closed { failures }, News::Bad) => {
                *failures += 1;
                let failures = *failures;
                if failures < rules.failures {
                    return None;
                }
                let until = now.plus(rules.wait(0));
                breaker.state = State::Open { failed: 0, until, probe: None };
                breaker.first = self.begun + 1;
                Some(Turn::Opened { origin: origin(), failures, until })
            }
            (State::Closed { failures }, News::Good) => {
                *failures = 0;
                None
            }
            (State::Open { failed, until, probe }, News::Bad) => {
                *failed = failed.saturating_add(1);
                *until = now.plus(rules.wait(*failed));
                *probe = None;
                Some(Turn::Failed { origin: origin(), until: *until })
            }
            (State::Open { .. }, News::Good) => {
                breaker.state = State::Closed { failures: 0 };
                breaker.first = self.begun + 1;
                Some(Turn::Closed { origin: origin() })
            }
            (State::Open { failed, until, probe }, News::None) => {
                *until = now.plus(rules.wait(*failed));
                *probe = None;
                None
            }
            (State::Closed { .. }, News::None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::Trouble;

    const RULES: Breaking =
        Breaking { failures: 3, initial: Duration::from_secs(1), max: Duration::from_secs(60) };
    const LANE: usize = 1;

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(1_700_000_000_000 + seconds * 1000)
    }

    fn origin() -> Arc<str> {
        "http://far".into()
    }

    fn shut(seconds: i64) -> Leave {
        Leave::Nothing(origin(), Some(at(seconds)))
    }

    /// A firing of row 9 that ends at once.
    fn fire(breakers: &mut Breakers, news: News, now: UnixMillis) -> Option<Turn> {
        assert!(breakers.admits(LANE, 9, now));
        let ticket = breakers.begin(LANE, 9, now);
        end(breakers, ticket, news, now)
    }

    fn end(breakers: &mut Breakers, ticket: Ticket, news: News, now: UnixMillis) -> Option<Turn> {
        breakers.end(ticket, news, || origin().to_string(), now)
    }

    /// Breakers of which one opened at second 0.
    fn opened() -> Breakers {
        let mut breakers = Breakers::new(RULES);
        for _ in 0..2 {
            assert_eq!(fire(&mut breakers, News::Bad, at(0)), None);
        }
        let turn = fire(&mut breakers, News::Bad, at(0));
        assert_eq!(turn, Some(Turn::Opened { origin: origin(), failures: 3, until: at(1) }));
        breakers
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let mut breakers = Breakers::new(RULES);
        for _ in 0..10 {
            for news in [News::Bad, News::Bad, News::None, News::Good] {
                assert_eq!(fire(&mut breakers, news, at(0)), None);
            }
        }
        assert_eq!(breakers.look(LANE, at(0)), Leave::All);
        let breakers = opened();
        assert_eq!((breakers.look(LANE, at(0)), breakers.open()), (shut(1), 1));
        assert_eq!(breakers.look(2, at(0)), Leave::All, "another origin");
        assert!(!breakers.admits(LANE, 1, at(0)));
    }

    #[test]
    fn probes_come_one_at_a_time_after_doubling_waits_until_one_is_good() {
        let mut breakers = opened();
        let mut now = 0;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(breakers.look(LANE, at(now)), shut(now + wait));
            now += wait;
            assert_eq!(breakers.look(LANE, at(now)), Leave::Probe(origin()));
            breakers.intend(LANE, 5, at(now));
            assert_eq!(breakers.look(LANE, at(now + 100)), Leave::Nothing(origin(), None));
            assert!(breakers.admits(LANE, 5, at(now)) && !breakers.admits(LANE, 6, at(now)));
            let probe = breakers.begin(LANE, 5, at(now));
            assert!(matches!(end(&mut breakers, probe, News::Bad, at(now)), Some(Turn::Failed { .. })));
        }
        assert_eq!(fire(&mut breakers, News::Good, at(now + 60)), Some(Turn::Closed { origin: origin() }));
        assert_eq!((breakers.look(LANE, at(now + 60)), breakers.open()), (Leave::All, 0));
    }

    #[test]
    fn what_was_on_the_wire_when_it_opened_or_closed_is_no_news() {
        let mut breakers = Breakers::new(RULES);
        let wire: Vec<_> = (0..64).map(|id| breakers.begin(LANE, id, at(0))).collect();
        for ticket in &wire[..3] {
            end(&mut breakers, *ticket, News::Bad, at(0));
        }
        for ticket in &wire[3..20] {
            assert_eq!(end(&mut breakers, *ticket, News::Bad, at(0)), None);
        }
        assert_eq!(end(&mut breakers, wire[20], News::Good, at(0)), None);
        assert_eq!(breakers.look(LANE, at(0)), shut(1), "neither twice as long nor closed");
        fire(&mut breakers, News::Good, at(1));
        for ticket in &wire[21..] {
            assert_eq!(end(&mut breakers, *ticket, News::Bad, at(1)), None);
        }
        assert_eq!(breakers.look(LANE, at(1)), Leave::All);
    }

    #[test]
    fn a_probe_that_is_gone_leaves_the_place_to_another() {
        let mut breakers = opened();
        breakers.intend(LANE, 5, at(1));
        breakers.forget_probes(|id| id == 5);
        assert_eq!(breakers.look(LANE, at(1)), Leave::Nothing(origin(), None));
        breakers.forget_probes(|id| id != 5);
        assert_eq!(breakers.look(LANE, at(1)), Leave::Probe(origin()));
    }

    #[test]
    fn a_probe_that_says_nothing_is_repeated_after_the_same_wait() {
        let mut breakers = opened();
        assert_eq!(fire(&mut breakers, News::None, at(1)), None);
        assert_eq!(breakers.look(LANE, at(1)), shut(2));
    }

    #[test]
    fn rows_that_were_intended_before_it_opened_are_no_probes() {
        let mut breakers = opened();
        breakers.intend(LANE, 5, at(0));
        assert_eq!(breakers.look(LANE, at(1)), Leave::Probe(origin()));
    }

    #[test]
    fn triggers_have_the_probe_by_turns() {
        let mut breakers = opened();
        let chosen: Vec<_> = (0..4).filter_map(|_| breakers.choose(LANE, &["a", "b", "c"])).collect();
        assert_eq!(chosen, ["a", "b", "c", "a"]);
        assert_eq!(breakers.choose(LANE, &["c"]), Some("c"));
        assert_eq!(breakers.choose(LANE, &[]), None);
    }

    #[test]
    fn a_reload_lets_a_probe_go_at_once_and_waits_anew() {
        let mut breakers = opened();
        fire(&mut breakers, News::Bad, at(1));
        breakers.configure(RULES);
        assert_eq!(breakers.look(LANE, at(1)), Leave::Probe(origin()));
        fire(&mut breakers, News::Bad, at(1));
        assert_eq!(breakers.look(LANE, at(1)), shut(3));
        breakers.configure(Breaking::NEVER);
        assert_eq!(breakers.look(LANE, at(1)), Leave::All);
        for _ in 0..100 {
            assert_eq!(fire(&mut breakers, News::Bad, at(1)), None);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_wait_longer() {
        let mut breakers = opened();
        breakers.set_back(Duration::from_secs(3600));
        assert_eq!(breakers.look(LANE, at(-3600)), shut(1 - 3600));
    }

    #[test]
    fn what_each_end_says_of_the_origin() {
        let says = |outcome, status: Option<u16>, code: Option<Code>| {
            News::of(&AttemptEnd {
                started_at: at(0),
                ended_at: at(0),
                http_status: status,
                outcome,
                status_uri: None,
                trouble: code.map(|code| Trouble::new(code, "")),
            })
        };
        use AttemptOutcome::{Accepted, Ambiguous, Answered, NotSent, Refused};
        for (outcome, status, code, news) in [
            (Accepted, Some(202), None, News::Good),
            (Accepted, Some(200), Some(Code::CallModeMismatch), News::Good),
            (Answered, Some(500), Some(Code::JobFaulted), News::Good),
            (Ambiguous, Some(500), Some(Code::ServerError), News::Bad),
            (Ambiguous, Some(502), Some(Code::GatewayError), News::Bad),
            (Ambiguous, None, Some(Code::ResponseTimeout), News::Bad),
            (Ambiguous, None, Some(Code::ConnectionLost), News::Bad),
            (Ambiguous, None, Some(Code::Interrupted), News::None),
            (NotSent, None, Some(Code::NotSent), News::Bad),
            (NotSent, None, Some(Code::InvalidRequest), News::None),
            (NotSent, None, Some(Code::CredentialUnavailable), News::None),
            (Refused, Some(401), Some(Code::CredentialRefused), News::None),
            (Refused, Some(503), Some(Code::Refused), News::Bad),
            (Refused, Some(502), Some(Code::Refused), News::Bad),
            (Refused, Some(501), Some(Code::Refused), News::Good),
            (Refused, Some(302), Some(Code::UnexpectedRedirect), News::Good),
            (Refused, Some(400), Some(Code::Refused), News::Good),
            (Refused, Some(403), Some(Code::Refused), News::Good),
            (Refused, Some(408), Some(Code::Refused), News::Good),
            (Refused, Some(409), Some(Code::Refused), News::Good),
            (Refused, Some(429), Some(Code::Refused), News::Good),
        ] {
            assert_eq!(says(outcome, status, code), news, "{outcome:?} {status:?} {code:?}");
        }
    }
}
