//! How long to wait for the nth time: growing, capped, with the jitter passed in.

use std::time::Duration;

/// A delay that starts at `initial` and grows by `factor` each time, up to `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first delay.
    pub initial: Duration,
    /// At least 1.
    pub factor: f64,
    /// No delay is longer.
    pub max: Duration,
}

impl Backoff {
    /// The delay for the `n`th time, counted from 0, without jitter.
    #[must_use]
    pub fn delay(&self, n: u32) -> Duration {
        let grown = self.initial.as_secs_f64() * self.factor.powi(i32::try_from(n).unwrap_or(i32::MAX));
        // Not a number when zero has grown without bound: that is not below the max either.
        if grown < self.max.as_secs_f64() { Duration::from_secs_f64(grown) } else { self.max }
    }
}

/// `wait` made shorter by up to `share` of itself: `chance` is in [0, 1). Keeps a cap a cap.
#[must_use]
pub fn shortened(wait: Duration, share: f64, chance: f64) -> Duration {
    wait.mul_f64(1.0 - share * chance)
}

/// `wait` made longer by up to `share` of itself: `chance` is in [0, 1). Keeps "not before" true.
#[must_use]
pub fn lengthened(wait: Duration, share: f64, chance: f64) -> Duration {
    Duration::try_from_secs_f64(wait.as_secs_f64() * (1.0 + share * chance)).unwrap_or(wait)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grows_by_its_factor_up_to_its_max() {
        let backoff = Backoff { initial: Duration::from_secs(1), factor: 1.5, max: Duration::from_secs(30) };
        let delays: Vec<_> = [0, 1, 2, 9, 4_000_000_000].map(|n| backoff.delay(n).as_millis()).to_vec();
        assert_eq!(delays, [1000, 1500, 2250, 30_000, 30_000]);
    }

    #[test]
    fn a_delay_of_nothing_may_grow_without_bound() {
        let backoff = Backoff { initial: Duration::ZERO, factor: 2.0, max: Duration::from_secs(30) };
        assert_eq!(backoff.delay(3), Duration::ZERO);
        assert!(backoff.delay(u32::MAX) <= backoff.max);
    }

    proptest! {
        #[test]
        fn never_leaves_its_bounds(initial in 1u64..100_000, factor in 1.0f64..10.0, more in 0u64..10_000_000, n: u32, chance in 0.0f64..1.0) {
            let backoff = Backoff { initial: Duration::from_millis(initial), factor, max: Duration::from_millis(initial + more) };
            let wait = backoff.delay(n);
            prop_assert!(wait >= backoff.initial && wait <= backoff.max);
            prop_assert!(backoff.delay(n.saturating_add(1)) >= wait);
            prop_assert!(shortened(wait, 0.2, chance) <= wait && shortened(wait, 0.2, chance) >= wait.mul_f64(0.79));
            prop_assert!(lengthened(wait, 0.2, chance) >= wait.mul_f64(0.999));
        }
    }
}
