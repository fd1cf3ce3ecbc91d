//! Due schedules become requests. The store settles their times, in one commit each time; here is only when.

use std::pin::Pin;
use std::sync::Arc;

use super::Dispatcher;
use crate::client::Client;
use crate::clock::{Clock, UnixMillis};
use crate::queue::{Error, Settled, Store};
use crate::schedule::Plans;

/// The times of schedules being settled.
pub(super) type Settling = Pin<Box<dyn Future<Output = Result<Settled, Error>> + Send>>;

/// When to settle times of schedules.
#[derive(Default)]
pub(super) struct Scheduler {
    /// What the configuration says, until the table has it.
    plans: Option<Arc<Plans>>,
    /// What was handed over to be stored, until that is known to have happened.
    storing: Option<Arc<Plans>>,
    /// When there is something to settle.
    at: Option<UnixMillis>,
    /// Whether a survey has told that since what is being settled was begun.
    told: bool,
}

impl Scheduler {
    pub(super) fn new(plans: Arc<Plans>) -> Self {
        Self { plans: Some(plans), ..Self::default() }
    }

    /// Another configuration.
    pub(super) fn configure(&mut self, plans: Arc<Plans>) {
        self.plans = Some(plans);
    }

    /// What a survey found.
    pub(super) const fn learn(&mut self, at: Option<UnixMillis>) {
        self.at = at;
        self.told = true;
    }

    /// What was settled. A survey that was told meanwhile may know more, or less.
    fn settled(&mut self, next: Option<UnixMillis>) {
        let told = self.at.filter(|_| self.told);
        self.at = told.into_iter().chain(next).min();
    }

    /// When there is something to do, if nothing happens before.
    pub(super) const fn wake_at(&self) -> Option<UnixMillis> {
        match self.plans {
            Some(_) => Some(UnixMillis(0)),
            None => self.at,
        }
    }
}

impl<S: Store, W: Client, C: Clock> Dispatcher<S, W, C> {
    /// Begins to settle what has come, if anything has.
    pub(super) fn start_settling(&mut self, now: UnixMillis) {
        let idle = self.settling.is_none() && self.stopping.is_none();
        if !idle || self.is_paused(now) || self.is_sparing() {
            return;
        }
        if self.scheduler.wake_at().is_none_or(|at| at > now) {
            return;
        }
        self.scheduler.storing = self.scheduler.plans.take();
        self.scheduler.told = false;
        let (store, plans) = (self.store.clone(), self.scheduler.storing.clone());
        self.settling = Some(Box::pin(async move { store.settle(plans, now).await }));
    }

    pub(super) fn settled(&mut self, settled: Result<Settled, Error>) -> Result<(), Error> {
        self.pulse.wrote();
        let storing = self.scheduler.storing.take();
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) => {
                // A newer configuration may have come in between.
                if self.scheduler.plans.is_none() {
                    self.scheduler.plans = storing;
                }
                self.fail(error, false)?;
                return Ok(());
            }
        };
        self.work(false);
        self.scheduler.settled(settled.next);
        let now = self.clock.now();
        for request in &settled.requests {
            tracing::info!(
                request.id = request.id,
                trigger.name = %request.trigger_name,
                schedule.name = %request.schedule_name,
                "request {} ({}): inserted by schedule {}", request.id, request.trigger_name, request.schedule_name
            );
            self.intake.ready_at(&request.trigger_name, request.run_at, now);
        }
        if settled.cancels {
            self.intake.survey_soon();
        }
        for (schedule, why) in &settled.refused {
            tracing::warn!(schedule.name = %schedule, "schedule {schedule} has inserted no request: {why}");
        }
        for (schedule, problem) in &settled.problems {
            tracing::warn!(schedule.name = %schedule, problem, "schedule {schedule} cannot be used: {problem}");
        }
        Ok(())
    }
}
