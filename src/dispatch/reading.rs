//! Reading rows whose time has come, a page at a time: polls that are due, and rows that a write of ours found changed.

use std::collections::HashMap;

use super::{Dispatcher, PAGE, commits};
use crate::client::Client;
use crate::clock::{Clock, UnixMillis};
use crate::invocation::{Invocation, Phase};
use crate::queue::{Error, Loaded, Return, Store};

/// Rows that were read.
pub(super) struct Read {
    ids: Vec<i64>,
    /// What the table may not have known of them when they were read.
    newest: HashMap<i64, Invocation>,
    loaded: Result<Loaded, Error>,
}

impl<S: Store, W: Client, C: Clock> Dispatcher<S, W, C> {
    /// Reads the rows whose poll is due.
    pub(super) fn start_load(&mut self, now: UnixMillis) {
        if self.loading.is_some() {
            return;
        }
        if self.is_paused(now) {
            // No longer than it was meant to last: a clock that steps back makes it longer.
            if self.pause.is_some_and(|(pause, until)| until.since(now) <= pause) {
                self.pulse.polled();
            }
            return;
        }
        let mut ids: Vec<i64> = self.unsent.iter().copied().collect();
        if self.stopping.is_none() {
            ids.extend(self.astray.keys());
        }
        if self.stopping.is_none() && !self.is_swamped() {
            for id in self.lanes.take_aside() {
                self.waiting.push(id, now);
            }
            ids.extend(self.waiting.take_due(now, PAGE));
        }
        ids.retain(|id| !self.flights.contains_key(id));
        if ids.is_empty() {
            self.pulse.polled();
        } else {
            let store = self.store.clone();
            let newest = ids
                .iter()
                .filter_map(|id| self.waiting.newest(*id))
                .map(|next| (next.id, next.clone()))
                .collect();
            self.reading = ids.iter().copied().collect();
            self.loading = Some(Box::pin(async move {
                let loaded = store.load(ids.clone(), now).await;
                Read { ids, newest, loaded }
            }));
        }
    }

    pub(super) fn loaded(&mut self, read: Read) -> Result<(), Error> {
        self.pulse.polled();
        let Read { ids, mut newest, loaded } = read;
        let Loaded { rows, spoiled } = match loaded {
            Ok(loaded) => {
                self.work(false);
                loaded
            }
            Err(e) => {
                let until = self.fail(e, false)?;
                for id in std::mem::take(&mut self.reading) {
                    if !self.unsent.contains(&id) && !self.astray.contains_key(&id) {
                        self.waiting.push(id, until);
                    }
                }
                return Ok(());
            }
        };
        for mut row in rows {
            let id = row.invocation.id;
            if !self.reading.contains(&id) {
                continue;
            }
            let astray = self.find(id);
            if row.invocation.phase == Phase::Triggering
                && let Some((attempt, _)) = self.lost.get(&id)
                && attempt.is_none_or(|attempt| attempt == row.invocation.attempt)
            {
                tracing::error!(
                    request.id = id,
                    "request {id} was fired, and the end of that cannot be stored; the next start judges it"
                );
                continue;
            }
            if let Some((_, Some(slot))) = self.lost.remove(&id) {
                self.slots.free(slot);
            }
            if self.unsent.remove(&id) && row.invocation.phase == Phase::Triggering {
                let before = row.invocation.before_intent();
                self.returned.push(Return { before, due_at: None, unsent: None });
                // Nothing else says that it is ready again.
                self.intake.survey_soon();
                continue;
            }
            if self.stopping.is_none()
                && matches!(row.invocation.phase, Phase::Polling(_) | Phase::Collecting(_))
            {
                if astray {
                    self.board.enter(&row.trigger_name);
                }
                if let Some(newest) = newest.remove(&id) {
                    commits::catch_up(&mut row, newest);
                }
                self.follow(row);
            }
        }
        for row in spoiled {
            if !self.reading.contains(&row.id) {
                continue;
            }
            let astray = self.find(row.id);
            if let Some(name) = row.trigger_name.as_ref().filter(|_| astray) {
                self.board.enter(name);
            }
            self.waiting.forget(row.id);
            self.spoiled.push(row);
        }
        for id in std::mem::take(&mut self.reading) {
            // Gone.
            self.find(id);
        }
        for id in ids {
            // Gone, or no longer triggering: nothing to give back.
            self.unsent.remove(&id);
        }
        Ok(())
    }
}
