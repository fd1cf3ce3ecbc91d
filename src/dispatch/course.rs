//! Another course: a new configuration, an orderly stop, and what that means for what is queued or on the wire.

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::executor::{Flight, Stage};
use super::{Dispatcher, Notice, Settings};
use crate::client::Client;
use crate::clock::{Clock, UnixMillis};
use crate::queue::{Batch, Error, Return, Sign, Store};

impl<S: Store, W: Client, C: Clock> Dispatcher<S, W, C> {
    pub(super) fn configure(&mut self, settings: Settings) {
        self.lanes.set_limits(settings.limits);
        self.breakers.configure(settings.breaking);
        self.intake.configure(settings.triggers.clone(), settings.ageing, &mut self.lanes);
        self.board.reconfigured(|name| settings.triggers.contains_key(name));
        self.scheduler.configure(Arc::clone(&settings.plans));
        self.settings = settings;
    }

    /// Another configuration. What has not been sent yet is sent by it, or waits for the next.
    pub(super) fn reload(&mut self, settings: Settings) {
        self.configure(settings);
        self.unregistered = true;
        if self.stopping.is_some() {
            return;
        }
        let now = self.clock.now();
        for id in self.lanes.drain() {
            self.put_back(id, now);
        }
        self.waiting.unpark(now);
    }

    /// Tells the table of the triggers.
    pub(super) async fn register(&mut self) -> Result<(), Error> {
        let triggers = self.settings.triggers.values().cloned().collect();
        let registered = self.store.register(triggers).await;
        self.pulse.wrote();
        match registered {
            Ok(()) => {
                self.work(true);
                self.unregistered = false;
                self.intake.survey_soon();
            }
            Err(e) => {
                self.fail(e, true)?;
            }
        }
        Ok(())
    }

    /// An orderly stop: no intents any more, polls are dropped (they are stored), firings may end.
    pub(super) fn stop(&mut self) {
        let now = self.clock.now();
        self.stopping = Some(now.plus(self.settings.shutdown_grace));
        // Nobody listening is no trouble: the notice is for the service manager.
        let _ = self.notices.send(Notice::Stopping);
        for id in self.lanes.drain() {
            self.give_up_turn(id);
        }
        self.hang_up();
        tracing::info!(firings = self.flights.len(), "stopping: waits for {} firings", self.flights.len());
    }

    /// The last word in the table: nobody is here. That it could not be stored loses nothing: no more signs come.
    pub(super) async fn sign_off(&mut self, now: UnixMillis) {
        // Out of time, or at a table that cannot be used: the service manager does not wait.
        if self.committing.is_some() || self.is_paused(now) || self.stopping.is_some_and(|grace| now >= grace)
        {
            return self.hand_in();
        }
        let sign = Some(Sign { now, ready: false, stopped: true });
        if let Err(failed) = self.store.commit(Batch { sign, now, ..Batch::default() }).await {
            tracing::warn!(error = %failed.error, "the table daemon does not say that the daemon has stopped: {}", failed.error);
        }
    }

    /// Gives the writer what is not stored yet, behind the commit under way: it ends what it was given, if it can.
    fn hand_in(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        let returned = std::mem::take(&mut self.returned);
        let (pauses, now) = (self.refusals.pauses(), self.clock.now());
        let batch = Batch { changes, returned, pauses, now, ..Batch::default() };
        if !batch.is_empty() {
            // Asked once, it is with the writer; nobody waits for the answer.
            let _ = self.store.commit(batch).now_or_never();
        }
    }

    pub(super) fn is_stopped(&self, now: UnixMillis) -> bool {
        let Some(grace) = self.stopping else { return false };
        let stored = self.committing.is_none()
            && self.changes.is_empty()
            && self.returned.is_empty()
            && self.spoiled.is_empty()
            && self.unsent.is_empty()
            && !self.intake.is_unsure()
            && self.waiting.store_at().is_none();
        let out_of_time = now >= grace;
        if out_of_time && !self.flights.is_empty() {
            tracing::warn!(
                firings = self.flights.len(),
                "stopped before {} firings had ended: the next start judges them",
                self.flights.len()
            );
        }
        out_of_time || (stored && self.flights.is_empty())
    }

    /// Stops at once; a commit under way still ends, since it cannot be undone.
    pub(super) async fn abandon(&mut self) {
        if let Some((commit, ..)) = self.committing.take() {
            // Its answer changes nothing any more: the next start reads what was stored.
            let _ = commit.await;
        }
    }

    /// The stop came before its turn: a firing that was not sent is given back; a poll is in the table anyway.
    pub(super) fn give_up_turn(&mut self, id: i64) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        if let Some(before) = flight.before.take() {
            self.returned.push(Return { before: before.invocation, due_at: before.due_at, unsent: None });
        }
        self.drop_flight(id);
    }

    /// The configuration changed before its turn: a firing that was not sent is given back, a poll is due again.
    pub(super) fn put_back(&mut self, id: i64, now: UnixMillis) {
        match self.flights.get(&id) {
            Some(Flight { before: Some(_), .. }) => self.give_up_turn(id),
            Some(Flight { stage: Stage::Queued(_), .. }) => {
                self.flights.remove(&id);
                self.waiting.push(id, now);
            }
            _ => {}
        }
    }

    /// Drops every poll that is on the wire.
    pub(super) fn hang_up(&mut self) {
        let asks: Vec<i64> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.before.is_none() && matches!(flight.stage, Stage::Sent { .. }))
            .map(|(id, _)| *id)
            .collect();
        for id in asks {
            if let Some(Flight { stage: Stage::Sent { abort, seat, .. }, .. }) = self.flights.remove(&id) {
                abort.abort();
                self.lanes.leave(seat);
            }
        }
    }
}
