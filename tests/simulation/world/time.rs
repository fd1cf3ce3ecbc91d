//! Virtual time: it stands still while anything can run, and goes on to the next sleeper when nothing can.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use triggerd::clock::{Clock, UnixMillis};

/// What the wall clock shows when a world begins.
const BEGIN: i64 = 1_700_000_000_000;
/// As the machine's clock does.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Turns of the engine, and calls of the store, at one instant: more are a spin.
const MOST_TURNS: u64 = 3000;

/// The clock of one world.
#[derive(Clone)]
pub(crate) struct Time(Arc<Mutex<Inner>>);

struct Inner {
    /// Milliseconds since the world began; never steps.
    elapsed: i64,
    /// What the wall clock is ahead of that.
    wall: i64,
    sleepers: BTreeMap<(i64, u64), Waker>,
    sleeps: u64,
    dice: fastrand::Rng,
    turns: u64,
    turns_now: u64,
    spun: bool,
}

impl Time {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            elapsed: 0,
            wall: BEGIN,
            sleepers: BTreeMap::new(),
            sleeps: 0,
            dice: fastrand::Rng::with_seed(seed),
            turns: 0,
            turns_now: 0,
            spun: false,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the world began.
    pub(crate) fn elapsed(&self) -> i64 {
        self.inner().elapsed
    }

    /// The wall clock steps.
    pub(crate) fn step(&self, millis: i64) {
        self.inner().wall += millis;
    }

    /// Nothing can run: the next sleeper wakes; of those whose time is the same, sometimes several.
    pub(crate) fn advance(&self) {
        let mut woken = Vec::new();
        {
            let mut inner = self.inner();
            let Some(((at, _), waker)) = inner.sleepers.pop_first() else { return };
            woken.push(waker);
            if at > inner.elapsed {
                inner.elapsed = at;
                inner.turns_now = 0;
            }
            while inner.sleepers.first_key_value().is_some_and(|((next, _), _)| *next <= at)
                && inner.dice.bool()
            {
                woken.extend(inner.sleepers.pop_first().map(|(_, waker)| waker));
            }
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// Ends at `at` milliseconds since the world began.
    pub(crate) fn sleep_to(&self, at: i64) -> Sleep {
        Sleep { time: self.clone(), at, key: None }
    }

    /// Ends after `millis`.
    pub(crate) fn sleep(&self, millis: i64) -> Sleep {
        self.sleep_to(self.elapsed() + millis)
    }

    /// Somebody has taken a turn; false if that has been too often for one instant.
    pub(crate) fn turn(&self) -> bool {
        let mut inner = self.inner();
        inner.turns += 1;
        inner.turns_now += 1;
        inner.spun |= inner.turns_now > MOST_TURNS;
        inner.turns_now <= MOST_TURNS
    }

    /// Turns so far.
    pub(crate) fn turns(&self) -> u64 {
        self.inner().turns
    }

    /// Whether there have been too many at one instant.
    pub(crate) fn has_spun(&self) -> bool {
        self.inner().spun
    }
}

impl Clock for Time {
    fn now(&self) -> UnixMillis {
        let inner = self.inner();
        UnixMillis(inner.wall + inner.elapsed)
    }

    async fn sleep_until(&self, at: UnixMillis) {
        if !self.turn() {
            // It spins. The laws find out; here it comes to rest.
            std::future::pending::<()>().await;
        }
        let wait = at.since(self.now());
        if wait.is_zero() {
            tokio::task::yield_now().await;
        } else {
            self.sleep(i64::try_from(wait.min(LONGEST_SLEEP).as_millis()).unwrap_or(i64::MAX)).await;
        }
    }
}

/// Somebody asleep.
pub(crate) struct Sleep {
    time: Time,
    at: i64,
    key: Option<(i64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let time = self.time.clone();
        let mut inner = time.inner();
        if let Some(key) = self.key.take() {
            inner.sleepers.remove(&key);
        }
        if inner.elapsed >= self.at {
            return Poll::Ready(());
        }
        inner.sleeps += 1;
        let key = (self.at, inner.sleeps);
        inner.sleepers.insert(key, cx.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // Dropped outside of the lock: a waker may be the last that holds its task.
            let waker = self.time.inner().sleepers.remove(&key);
            drop(waker);
        }
    }
}
