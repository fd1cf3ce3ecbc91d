//! The gate that 401 answers shut. Pure: `now` is passed in.
//!
//! The first 401 asks for the secret to be read again; a second one, of an exchange that began after that, shuts the
//! gate. From then on one probe at a time is let through, after delays that double, until one is answered otherwise.
//! Answers are matched to what they answer by the epoch in which their exchange began: with many exchanges
//! under way, a whole flock of 401s counts once.

use std::time::Duration;

use super::Admission;
use crate::backoff::Backoff;
use crate::clock::UnixMillis;
use crate::invocation::Code;

/// From one probe to the next.
const PROBES: Backoff =
    Backoff { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(5 * 60) };

/// Whether exchanges with one credential, or of one trigger, may begin.
#[derive(Debug, Default)]
pub(super) struct Gate {
    epoch: u32,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    /// One 401, and the secret read again since.
    Struck,
    Shut {
        code: Code,
        /// Failed probes so far.
        failed: u32,
        /// No probe before.
        next: UnixMillis,
        probe: Probe,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    None,
    /// Granted; lapses at `next` unless it begins.
    Granted,
    /// Its answer is awaited.
    Begun,
}

impl Gate {
    /// Whether it lets everything through.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Shut { .. })
    }

    /// What may begin, without taking it.
    pub(super) fn look(&self, now: UnixMillis) -> Admission {
        match self.state {
            State::Open | State::Struck => Admission::Open,
            State::Shut { code, failed, probe: Probe::Begun, .. } => {
                Admission::Shut { until: now.plus(PROBES.delay(failed)), code }
            }
            // A clock that is set back keeps nothing waiting for longer than the longest delay.
            State::Shut { code, next, .. } if now < next && next.since(now) <= PROBES.max => {
                Admission::Shut { until: next, code }
            }
            State::Shut { .. } => Admission::Probe,
        }
    }

    /// Takes the probe that [`Self::look`] offered.
    pub(super) fn take_probe(&mut self, now: UnixMillis) {
        if let State::Shut { failed, next, probe, .. } = &mut self.state {
            *next = now.plus(PROBES.delay(*failed));
            *probe = Probe::Granted;
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// An exchange begins. One that begins at a shut gate without being the probe was let in before it shut: it belongs
    /// to the flock that shut it, and its answer is no news.
    pub(super) const fn begin(&mut self) -> u32 {
        match &mut self.state {
            State::Open | State::Struck => self.epoch,
            State::Shut { probe: probe @ Probe::Granted, .. } => {
                *probe = Probe::Begun;
                self.epoch
            }
            State::Shut { .. } => self.epoch.wrapping_sub(1),
        }
    }

    /// An exchange that began in `epoch` was answered by something else than 401.
    pub(super) fn welcomed(&mut self, epoch: u32) {
        if epoch == self.epoch {
            self.state = State::Open;
        }
    }

    /// An exchange that began in `epoch` was answered by 401. True if the secret is to be read again now.
    #[must_use]
    pub(super) fn refused(&mut self, epoch: u32, now: UnixMillis) -> bool {
        if epoch != self.epoch {
            return false;
        }
        self.epoch = self.epoch.wrapping_add(1);
        let failed = match self.state {
            State::Open => {
                self.state = State::Struck;
                return true;
            }
            State::Struck => 0,
            State::Shut { failed, .. } => failed.saturating_add(1),
        };
        let next = now.plus(PROBES.delay(failed));
        self.state = State::Shut { code: Code::CredentialRefused, failed, next, probe: Probe::None };
        false
    }

    /// An exchange that began in `epoch` brought no answer.
    pub(super) fn broke(&mut self, epoch: u32, now: UnixMillis) {
        if epoch == self.epoch
            && let State::Shut { failed, next, probe, .. } = &mut self.state
        {
            *next = now.plus(PROBES.delay(*failed));
            *probe = Probe::None;
        }
    }

    /// An exchange that began in `epoch` was given up by us: the probe, if it was one, is free when its time comes.
    pub(super) const fn dropped(&mut self, epoch: u32) {
        if epoch == self.epoch
            && let State::Shut { probe, .. } = &mut self.state
        {
            *probe = Probe::None;
        }
    }

    /// The secret could not be read.
    pub(super) fn unavailable(&mut self, now: UnixMillis) {
        let failed = match self.state {
            State::Shut { code: Code::CredentialUnavailable, failed, .. } => failed.saturating_add(1),
            _ => 0,
        };
        let next = now.plus(PROBES.delay(failed));
        self.epoch = self.epoch.wrapping_add(1);
        self.state = State::Shut { code: Code::CredentialUnavailable, failed, next, probe: Probe::None };
    }

    /// The secret was read. Opens what its absence had shut.
    pub(super) const fn available(&mut self) {
        if self.is_unavailable() {
            self.state = State::Open;
        }
    }

    /// Whether it is the missing secret that keeps it shut.
    pub(super) const fn is_unavailable(&self) -> bool {
        matches!(self.state, State::Shut { code: Code::CredentialUnavailable, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Code = Code::CredentialRefused;

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(seconds * 1000)
    }

    fn shut(until: i64, code: Code) -> Admission {
        Admission::Shut { until: at(until), code }
    }

    /// A gate that two 401s have shut at second 0.
    fn refused_twice() -> Gate {
        let mut gate = Gate::default();
        let first = gate.begin();
        assert!(gate.refused(first, at(0)));
        let second = gate.begin();
        assert!(!gate.refused(second, at(0)));
        gate
    }

    fn probe(gate: &mut Gate, now: UnixMillis) -> u32 {
        assert_eq!(gate.look(now), Admission::Probe);
        gate.take_probe(now);
        gate.begin()
    }

    #[test]
    fn the_first_401_renews_and_the_second_shuts() {
        let mut gate = Gate::default();
        let first = gate.begin();
        assert!(gate.refused(first, at(0)));
        assert_eq!(gate.look(at(0)), Admission::Open);
        let second = gate.begin();
        assert!(!gate.refused(second, at(0)));
        assert_eq!(gate.look(at(0)), shut(1, REFUSED));
    }

    #[test]
    fn an_answer_between_two_401s_forgives_the_first() {
        let mut gate = Gate::default();
        let first = gate.begin();
        assert!(gate.refused(first, at(0)));
        let second = gate.begin();
        gate.welcomed(second);
        let third = gate.begin();
        assert!(gate.refused(third, at(0)), "a first one again");
        assert_eq!(gate.look(at(0)), Admission::Open);
    }

    #[test]
    fn a_flock_of_401s_counts_once() {
        let mut gate = Gate::default();
        let flock: Vec<_> = (0..64).map(|_| gate.begin()).collect();
        assert_eq!(flock.iter().filter(|epoch| gate.refused(**epoch, at(0))).count(), 1);
        assert_eq!(gate.look(at(0)), Admission::Open);
        let flock: Vec<_> = (0..64).map(|_| gate.begin()).collect();
        assert_eq!(flock.iter().filter(|epoch| gate.refused(**epoch, at(0))).count(), 0);
        assert_eq!(gate.look(at(0)), shut(1, REFUSED), "the delay did not double 63 times");
    }

    #[test]
    fn exchanges_that_were_let_in_before_it_shut_are_no_probes() {
        let mut gate = refused_twice();
        for _ in 0..64 {
            let late = gate.begin();
            assert!(!gate.refused(late, at(0)));
        }
        assert_eq!(gate.look(at(0)), shut(1, REFUSED), "the delay did not double 64 times");
        let epoch = probe(&mut gate, at(1));
        let late = gate.begin();
        gate.dropped(late);
        gate.welcomed(late);
        assert!(!gate.is_open(), "its answer says nothing");
        gate.welcomed(epoch);
        assert!(gate.is_open());
    }

    #[test]
    fn probes_come_one_at_a_time_after_doubling_delays() {
        let mut gate = refused_twice();
        let mut now = 0;
        for delay in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(gate.look(at(now)), shut(now + delay, REFUSED));
            now += delay;
            let epoch = probe(&mut gate, at(now));
            assert!(matches!(gate.look(at(now + 10_000)), Admission::Shut { .. }), "one at a time");
            assert!(!gate.refused(epoch, at(now)));
        }
        now += 300;
        let epoch = probe(&mut gate, at(now));
        gate.welcomed(epoch);
        assert_eq!(gate.look(at(now)), Admission::Open);
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_for_no_longer_than_the_longest_delay() {
        let gate = refused_twice();
        assert_eq!(gate.look(at(-299)), shut(1, REFUSED));
        assert_eq!(gate.look(at(-86_400)), Admission::Probe);
    }

    #[test]
    fn a_probe_that_never_begins_lapses() {
        let mut gate = refused_twice();
        gate.take_probe(at(1));
        assert_eq!(gate.look(at(1)), shut(2, REFUSED));
        assert_eq!(gate.look(at(2)), Admission::Probe);
    }

    #[test]
    fn a_probe_that_is_dropped_is_free_again() {
        let mut gate = refused_twice();
        let epoch = probe(&mut gate, at(1));
        gate.dropped(epoch);
        assert_eq!(gate.look(at(1)), shut(2, REFUSED));
        assert_eq!(gate.look(at(2)), Admission::Probe);
    }

    #[test]
    fn a_probe_that_breaks_is_repeated_after_the_same_delay() {
        let mut gate = refused_twice();
        let epoch = probe(&mut gate, at(1));
        gate.broke(epoch, at(10));
        assert_eq!(gate.look(at(10)), shut(11, REFUSED));
        let epoch = probe(&mut gate, at(11));
        assert!(!gate.refused(epoch, at(11)));
        assert_eq!(gate.look(at(11)), shut(13, REFUSED));
    }

    #[test]
    fn late_answers_to_older_exchanges_change_nothing() {
        let mut gate = Gate::default();
        let old = gate.begin();
        let first = gate.begin();
        assert!(gate.refused(first, at(0)));
        let second = gate.begin();
        assert!(!gate.refused(second, at(0)));
        gate.welcomed(old);
        assert!(!gate.refused(old, at(0)));
        gate.broke(old, at(9));
        gate.dropped(old);
        assert_eq!(gate.look(at(0)), shut(1, REFUSED));
    }

    #[test]
    fn a_missing_secret_shuts_with_doubling_delays_and_a_found_one_opens() {
        let mut gate = Gate::default();
        gate.unavailable(at(0));
        assert_eq!(gate.look(at(0)), shut(1, Code::CredentialUnavailable));
        assert_eq!(gate.look(at(1)), Admission::Probe);
        gate.unavailable(at(1));
        assert_eq!(gate.look(at(1)), shut(3, Code::CredentialUnavailable));
        gate.available();
        assert_eq!(gate.look(at(1)), Admission::Open);
    }

    #[test]
    fn a_readable_secret_does_not_open_what_401s_have_shut() {
        let mut gate = refused_twice();
        gate.available();
        assert_eq!(gate.look(at(0)), shut(1, REFUSED));
    }
}
