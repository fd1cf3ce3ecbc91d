//! The table's side of the engine: what goes into the next commit, and what follows from one that ended.

use std::time::Duration;

use super::executor::{Flight, Stage};
use super::intake::Asked;
use super::{Dispatcher, FIRST_PAUSE, LONGEST_PAUSE, MOST_UNSTORED, Notice, SIGN_EVERY};
use crate::client::Client;
use crate::clock::{Clock, UnixMillis};
use crate::invocation::{Code, Event, Invocation};
use crate::queue::{Batch, Change, Committed, Error, Failed, Return, Sign, Spoiled, Status, Store, Taken};

/// Bytes of an output that is stored last where there is little room.
const LONG_OUTPUT: usize = 4096;

/// A commit that ended.
pub(super) struct Done {
    pub(super) result: Result<Committed, Box<Failed>>,
    pub(super) ids: Vec<i64>,
    pub(super) asked: Asked,
}

impl<S: Store, W: Client, C: Clock> Dispatcher<S, W, C> {
    /// The table cannot be used: says so, and when to try again; or it never can.
    pub(super) fn fail(&mut self, e: Error, is_write: bool) -> Result<UnixMillis, Error> {
        self.health.failed(&e, is_write, self.clock.now());
        self.tell_health();
        let pause = pause_after(e, self.pause, self.clock.now())?;
        self.pause = Some(pause);
        Ok(pause.1)
    }

    /// The table could be used.
    pub(super) fn work(&mut self, is_write: bool) {
        self.health.worked(is_write, self.clock.now());
        self.tell_health();
    }

    fn tell_health(&mut self) {
        self.health.learn(self.store.condition());
        if let Some(all) = self.health.news() {
            // Nobody listening is no trouble: the notice is for the service manager.
            let _ = self.notices.send(Notice::Table(all));
        }
    }

    /// Whether there is only room for what has come back: no intents, no counters. A stop stores all there is.
    pub(super) fn is_sparing(&self) -> bool {
        self.health.is_full() && self.stopping.is_none()
    }

    /// Whether so much waits to be stored that nothing more is asked for.
    pub(super) fn is_swamped(&self) -> bool {
        self.storing + self.changes.iter().map(output_bytes).sum::<usize>() > MOST_UNSTORED
    }

    /// Whether the table is left alone after an error.
    pub(super) fn is_paused(&self, now: UnixMillis) -> bool {
        self.pause.is_some_and(|(_, until)| until > now)
    }

    /// Begins the next commit, if there is anything to store or to look for.
    pub(super) fn start_commit(&mut self, now: UnixMillis) {
        if self.committing.is_some() || self.is_paused(now) {
            return;
        }
        // What came back twice, after commits of unknown end, may be on the wire again by now.
        self.returned.retain(|returned| !self.flights.contains_key(&returned.before.id));
        let spare = !self.is_sparing();
        let mut batch = Batch {
            changes: if spare { std::mem::take(&mut self.changes) } else { self.dearest() },
            returned: std::mem::take(&mut self.returned),
            spoiled: std::mem::take(&mut self.spoiled),
            taken_over: self.handed.iter().copied().collect(),
            now,
            pauses: self.refusals.pauses(),
            ..Batch::default()
        };
        let idle = self.stopping.is_some() && self.flights.is_empty();
        if spare && self.waiting.store_at().is_some_and(|at| at <= now || idle) {
            batch.polled = self.waiting.store();
        }
        if self.ready && self.sign_at <= now {
            batch.sign = Some(Sign { now, ready: true, stopped: false });
        }
        if self.stopping.is_none() {
            if self.peek_at <= now && self.peeking.is_none() {
                self.intake.hint();
            }
            if !spare {
                batch.look = self.intake.spare_look(now);
            } else {
                let busy = !batch.is_empty();
                let (lanes, board, breakers) = (&self.lanes, &mut self.board, &mut self.breakers);
                batch.look = self.intake.look(lanes, board, breakers, &self.client, now, busy);
                if self.board.tell_at().is_some_and(|at| at <= now) {
                    batch.status = self.tell(now);
                }
            }
        } else {
            batch.look = self.intake.spare_look(now);
        }
        if batch.is_empty() {
            // A hint that comes while an answer is under way may be about something newer.
            if self.stopping.is_none() && self.peeking.is_none() && self.intake.take_hint() {
                self.peek();
            }
            return;
        }
        if batch.look.is_some() {
            self.peek_at = now.plus(self.settings.fallback_poll);
        }
        self.storing = batch.changes.iter().map(output_bytes).sum();
        let ids = batch.changes.iter().map(|change| change.next.id).collect();
        let asked = Asked::of(&batch);
        let store = self.store.clone();
        self.committing = Some((Box::pin(async move { store.commit(batch).await }), ids, asked));
    }

    /// What is stored first where there is little room: all but long outputs, which can be had again as long as the far end
    /// has them. A status URI cannot.
    fn dearest(&mut self) -> Vec<Change> {
        let is_long = |change: &mut Change| output_bytes(change) >= LONG_OUTPUT;
        let long: Vec<Change> = self.changes.extract_if(.., is_long).collect();
        if self.changes.is_empty() { long } else { std::mem::replace(&mut self.changes, long) }
    }

    /// What the table is told of the triggers, and the service manager of all.
    fn tell(&mut self, now: UnixMillis) -> Option<Status> {
        let firing = self.flights.values().filter(|flight| flight.place.is_some()).count();
        // Nobody listening is no trouble: the notice is for the service manager.
        let _ = self.notices.send(Notice::Figures(self.board.figures(firing, self.breakers.open())));
        self.board.tell(self.settings.triggers.keys(), now)
    }

    pub(super) fn peek(&mut self) {
        let store = self.store.clone();
        self.peeking = Some(Box::pin(async move { store.changed().await }));
    }

    /// Asks the writer for a sign of life: it answers after whatever it is at, also while nothing else is asked of it.
    pub(super) fn beat(&mut self) {
        if self.peeking.is_none() {
            self.peek();
        }
    }

    pub(super) fn peeked(&mut self, changed: Result<bool, Error>) -> Result<(), Error> {
        self.pulse.wrote();
        self.pulse.looked();
        self.peek_at = self.clock.now().plus(self.settings.fallback_poll);
        match changed {
            Ok(changed) => {
                if changed {
                    self.intake.survey_soon();
                }
                self.work(false);
            }
            Err(e) => {
                self.fail(e, false)?;
                self.intake.survey_soon();
            }
        }
        Ok(())
    }

    /// A commit ended.
    pub(super) fn committed(&mut self, done: Done) -> Result<(), Error> {
        let Done { result, ids, asked } = done;
        let now = self.clock.now();
        self.pulse.wrote();
        self.storing = 0;
        let committed = match result {
            Ok(committed) => committed,
            Err(failed) => return self.keep(*failed),
        };
        self.pause = None;
        self.work(true);
        self.waiting.stored();
        if self.sign_at <= now {
            self.sign_at = now.plus(SIGN_EVERY);
        }
        for id in &asked.taken_over {
            self.handed.remove(id);
        }
        for trigger in &asked.paused {
            self.refusals.paused(trigger);
        }
        // First: what is done with the rest may add to it.
        self.intake.learn(&mut self.board, &asked, &committed);
        for id in &committed.lost {
            self.lose(*id);
        }
        for id in ids {
            self.stored(id);
        }
        for (id, problem) in &committed.rejected {
            tracing::warn!(
                request.id = id,
                state.from = "pending",
                state.to = "rejected",
                code = Code::InvalidRequest.as_str(),
                problem,
                "request {id} is rejected: {problem}"
            );
        }
        for (id, why) in &committed.cancelled {
            tracing::info!(
                request.id = id,
                state.from = "pending",
                state.to = "cancelled",
                code = Code::DependencyFailed.as_str(),
                "request {id} is cancelled: {why}"
            );
        }
        for row in asked.spoiled.iter().filter(|row| committed.spoiled.contains(&row.id)) {
            self.give_up(row);
        }
        let looked = committed.survey.is_some();
        if looked {
            self.pulse.looked();
        }
        self.reconcile(&committed.triggering);
        for row in committed.intended {
            match self.intake.trigger(&row.trigger_name) {
                Some(trigger) if self.stopping.is_none() && !self.refusals.is_pausing(&trigger.name) => {
                    self.fire(row, trigger, asked.looked_at.unwrap_or(now));
                }
                _ => self.returned.push(Return { before: row.invocation, due_at: row.due_at, unsent: None }),
            }
        }
        if let Some(survey) = committed.survey {
            self.board.surveyed(survey.uncertain);
            self.scheduler.learn(survey.timetable);
            // Before those that end: a row may be both. What was to be read again is read with it.
            let mut news = survey.handed_over;
            news.retain(|row| self.handed.insert(row.id));
            for row in &news {
                self.find(row.id);
            }
            self.follow_all(news);
            for id in survey.cancelling {
                self.cancel_later(id);
            }
            for row in survey.ending {
                self.end(row);
            }
        }
        if looked && !self.ready {
            self.ready = true;
            self.sign_at = now;
            // Nobody listening is no trouble: the notice is for the service manager.
            let _ = self.notices.send(Notice::Ready);
        }
        Ok(())
    }

    /// A failed commit: everything in it is kept and tried again. It may be stored all the same; then the guards of the
    /// second try find it so, and the rows are read again.
    pub(super) fn keep(&mut self, failed: Failed) -> Result<(), Error> {
        let Failed { error, batch } = failed;
        self.changes.splice(0..0, batch.changes);
        self.returned.splice(0..0, batch.returned);
        self.spoiled.splice(0..0, batch.spoiled);
        let now = self.clock.now();
        self.waiting.not_stored(now);
        self.board.untold();
        self.intake.failed();
        self.fail(error, true)?;
        Ok(())
    }

    /// A change is stored.
    pub(super) fn stored(&mut self, id: i64) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.before = None;
        if let Some(place) = flight.place.take() {
            self.lanes.free_place(place);
        }
        if let Some(slot) = flight.slot.take() {
            self.slots.free(slot);
        }
        if let Stage::Storing(action) = &flight.stage {
            let action = action.clone();
            self.act(id, action);
        }
    }

    /// A row that is with the far end, and that nothing can be done for.
    fn give_up(&mut self, row: &Spoiled) {
        let Spoiled { id, trigger_name, problem, .. } = row;
        if let Some(name) = trigger_name {
            self.board.leave(name);
        }
        self.board.doubt();
        tracing::warn!(
            request.id = id,
            state.to = "uncertain",
            code = Code::InvalidRequest.as_str(),
            problem,
            "request {id} cannot be read any more and is uncertain: {problem}"
        );
    }

    /// A change found its row in another state: somebody else was first, or an earlier try was stored after all.
    pub(super) fn lose(&mut self, id: i64) {
        tracing::debug!(
            request.id = id,
            "request {id} had changed before its change could be stored; reads it again"
        );
        let mut count = None;
        if let Some(flight) = self.flights.remove(&id) {
            self.lost.insert(id, (Some(flight.row.invocation.attempt), flight.slot));
            if let Some(place) = flight.place {
                self.lanes.free_place(place);
            }
            count = flight.counted.then_some(flight.row.trigger_name);
        }
        self.astray.entry(id).or_insert(count);
        self.intake.survey_soon();
    }

    /// After a commit whose end was not known: rows that are `triggering` although nobody here fires them were never
    /// sent.
    pub(super) fn reconcile(&mut self, triggering: &[i64]) {
        for id in triggering.iter().filter(|id| !self.flights.contains_key(id)) {
            tracing::warn!(
                request.id = id,
                "request {id} was about to be fired when a commit failed; gives it back"
            );
            self.unsent.insert(*id);
        }
    }

    /// A request whose end is due.
    pub(super) fn end(&mut self, mut row: Taken) {
        let id = row.invocation.id;
        if let Some(flight) = self.flights.get_mut(&id) {
            match &flight.stage {
                Stage::Storing(_) => return self.intake.survey_soon(),
                Stage::Sent { seat, abort, .. } => {
                    abort.abort();
                    let seat = *seat;
                    self.lanes.leave(seat);
                }
                Stage::Queued(_) => {}
            }
            self.flights.remove(&id);
        }
        if let Some(newest) = self.waiting.newest(id) {
            catch_up(&mut row, newest.clone());
        }
        let event = if row.invocation.cancel_requested { Event::Cancel } else { Event::Due };
        self.judge(row, event);
    }

    /// A firing that has not begun and must not any more: it goes back, and the survey in the same commit ends it.
    pub(super) fn take_back(&mut self, id: i64) {
        self.give_up_turn(id);
        self.intake.survey_soon();
    }

    /// A request to be cancelled whose firing is under way: its end decides. One that has not begun does not begin.
    pub(super) fn cancel_later(&mut self, id: i64) {
        match self.flights.get_mut(&id) {
            Some(Flight { stage: Stage::Storing(_), .. }) => self.intake.survey_soon(),
            Some(Flight { stage: Stage::Queued(_), before: Some(_), .. }) => self.take_back(id),
            Some(flight) => flight.row.invocation.cancel_requested = true,
            None => {}
        }
    }
}

fn output_bytes(change: &Change) -> usize {
    change.output.as_ref().map_or(0, |output| output.body.len())
}

/// How long to leave the table alone after an error, and until when; or the error, if no waiting cures it.
pub(super) fn pause_after(
    e: Error,
    last: Option<(Duration, UnixMillis)>,
    now: UnixMillis,
) -> Result<(Duration, UnixMillis), Error> {
    if !matches!(e, Error::Unavailable { .. }) {
        return Err(e);
    }
    let pause = last.map_or(FIRST_PAUSE, |(pause, _)| (pause * 2).min(LONGEST_PAUSE));
    let cause = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
    tracing::error!(
        error = %e, cause, retry_in_ms = pause.as_millis(),
        "{e} ({cause}); nothing is lost, next try in {} ms", pause.as_millis()
    );
    Ok((pause, now.plus(pause)))
}

/// Makes a row that was read what it is by polls that the table did not know of.
pub(super) fn catch_up(row: &mut Taken, newest: Invocation) {
    if row.invocation.phase == newest.phase && row.invocation.attempt == newest.attempt {
        let cancel_requested = row.invocation.cancel_requested;
        row.invocation = Invocation { cancel_requested, ..newest };
    }
}
