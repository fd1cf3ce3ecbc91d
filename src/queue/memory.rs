//! The table in memory: the same contract without a file, for tests of what stands on it.
//!
//! It believes its rows, which are made from values, and forgets them with the process. Of the limits it keeps those that a
//! look names: it has no rates, and no limits of concurrency keys. Nothing follows from the end of a request here: nobody waits
//! for another, and there are no groups, hooks and schedules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::pick::{Places, rank};
use super::{
    Batch, Change, Committed, Deleted, Error, Failed, HELD_AT_ONCE, Loaded, Recovered, Retention, Settled,
    Store, Survey, Taken, TriggerStatus, Waiting, Want, before, held_message,
};
use crate::clock::UnixMillis;
use crate::invocation::{AttemptEnd, Code, Invocation, Outcome, Output, Phase, Trouble};
use crate::request::Request;
use crate::schedule::Plans;
use crate::trigger::Trigger;

/// One request of a [`MemoryStore`].
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What the daemon sees of it.
    pub taken: Taken,
    /// Higher runs first.
    pub priority: i64,
    /// Not fired before.
    pub run_at: UnixMillis,
    /// When it ended.
    pub finished_at: Option<UnixMillis>,
    /// Its firings.
    pub attempts: Vec<AttemptEnd>,
    /// Its output.
    pub output: Option<Output>,
}

impl Row {
    /// A request as a producer would insert it.
    #[must_use]
    pub fn new(id: i64, trigger: &str, now: UnixMillis) -> Self {
        let request = Request { id, arguments: "{}".to_owned(), traceparent: None, created_at: now };
        let taken = Taken {
            trigger_name: trigger.to_owned(),
            invocation: Invocation::pending(id),
            request,
            concurrency_key: None,
            due_at: None,
        };
        Self { taken, priority: 0, run_at: now, finished_at: None, attempts: Vec::new(), output: None }
    }

    fn ready_at(&self) -> UnixMillis {
        self.taken.due_at.unwrap_or(self.run_at)
    }

    fn is_ready(&self, now: UnixMillis) -> bool {
        let invocation = &self.taken.invocation;
        invocation.phase == Phase::Pending
            && self.ready_at() <= now
            && !invocation.cancel_requested
            && !invocation.is_stale(now)
            && !invocation.is_late(now)
    }

    /// Each firing that is charged has one, and the next firing takes the number of one that is not.
    fn end_attempt(&mut self, attempt: u32, end: AttemptEnd) {
        self.attempts.truncate(attempt.saturating_sub(1) as usize);
        self.attempts.push(end);
    }

    /// When a start polls it: at once where its origin was not allowed, since this configuration may allow it.
    fn polled_at(&self) -> UnixMillis {
        let trouble = self.taken.invocation.trouble.as_ref();
        let forbidden = trouble.is_some_and(|trouble| trouble.code == Code::ForbiddenOrigin);
        self.taken.due_at.filter(|_| !forbidden).unwrap_or(UnixMillis(0))
    }
}

#[derive(Default)]
struct Table {
    rows: BTreeMap<i64, Row>,
    active: BTreeSet<String>,
    /// With the reasons.
    paused: BTreeMap<String, String>,
    handed_over: BTreeSet<i64>,
    /// Counts what others did.
    version: u64,
    surveyed: Option<u64>,
    epoch: i64,
    /// The flight record, by slot.
    flights: BTreeMap<usize, (i64, u32)>,
    /// What was in it is not known: the machine has gone down.
    flights_lost: bool,
    status: BTreeMap<String, TriggerStatus>,
    ready: bool,
    stopped: bool,
}

/// The table in memory.
#[derive(Clone, Default)]
pub struct MemoryStore {
    table: Arc<Mutex<Table>>,
    hint: Arc<Notify>,
}

impl MemoryStore {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic elsewhere leaves the table as the last whole operation did.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What another connection would do: insert, cancel, change, look.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut BTreeMap<i64, Row>) -> T) -> T {
        let answer = self.edit_unseen(edit);
        self.hint.notify_one();
        answer
    }

    /// The same where no hint comes of it.
    pub fn edit_unseen<T>(&self, edit: impl FnOnce(&mut BTreeMap<i64, Row>) -> T) -> T {
        let mut table = self.table();
        table.version += 1;
        edit(&mut table.rows)
    }

    /// A request as it is now. Reading changes nothing, so nobody is told.
    #[must_use]
    pub fn row(&self, id: i64) -> Option<Row> {
        self.table().rows.get(&id).cloned()
    }

    /// Pauses a trigger, or resumes it.
    pub fn pause(&self, trigger: &str, paused: bool) {
        let mut table = self.table();
        if paused {
            table.paused.insert(trigger.to_owned(), "paused by an operator".to_owned());
        } else {
            table.paused.remove(trigger);
        }
        table.version += 1;
        self.hint.notify_one();
    }

    /// Why a trigger is paused, if it is.
    #[must_use]
    pub fn paused(&self, trigger: &str) -> Option<String> {
        self.table().paused.get(trigger).cloned()
    }

    /// What the command line does with a request that it has made `polling`.
    pub fn hand_over(&self, id: i64) {
        let mut table = self.table();
        table.handed_over.insert(id);
        table.version += 1;
        self.hint.notify_one();
    }

    /// What a trigger is doing, as the daemon told it last.
    #[must_use]
    pub fn status(&self, trigger: &str) -> Option<TriggerStatus> {
        self.table().status.get(trigger).cloned()
    }

    /// The machine goes down, and the flight record with it.
    pub fn lose_flights(&self) {
        self.table().flights_lost = true;
    }

    /// Whether the flight record has this firing.
    #[must_use]
    pub fn has_left(&self, id: i64, attempt: u32) -> bool {
        self.table().flights.values().any(|flight| *flight == (id, attempt))
    }

    /// Whether the daemon has said that it stops.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.table().stopped
    }

    /// Whether a start has come to its end: recovery and the first look are stored.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.table().ready
    }
}

impl Table {
    fn is_open(&self, trigger: &str) -> bool {
        self.active.contains(trigger) && !self.paused.contains_key(trigger)
    }

    fn record(&mut self, change: Change) -> bool {
        let Some(row) = self.rows.get_mut(&change.next.id) else { return false };
        let now = &row.taken.invocation;
        let is_other = now.attempt != change.next.attempt || now.round != change.next.round;
        if now.phase.as_str() != change.from || is_other || self.handed_over.contains(&change.next.id) {
            return false;
        }
        // What is not the decision's to change stays, also what a producer has changed since.
        let Invocation {
            round, requested_mode, cancel_requested, expires_at, deadline_at, started_at, ..
        } = *now;
        row.taken.invocation = Invocation {
            round,
            requested_mode,
            cancel_requested,
            expires_at,
            deadline_at,
            started_at,
            hops: 0,
            ..change.next
        };
        row.taken.due_at = change.due_at;
        row.finished_at = change.finished_at;
        if let Some(end) = change.attempt {
            row.end_attempt(row.taken.invocation.attempt, end);
        }
        row.output = change.output.or(row.output.take());
        true
    }

    fn candidates(&self, want: &Want, look: &super::Look, limit: usize) -> Vec<Taken> {
        let now = look.now;
        let mut ready: Vec<&Row> = self
            .rows
            .values()
            .filter(|row| {
                row.taken.trigger_name == want.trigger.name
                    && self.is_open(&want.trigger.name)
                    && row.is_ready(now)
            })
            .collect();
        ready.sort_by_key(|row| rank(look.ageing, row.priority, row.ready_at(), row.taken.invocation.id));
        ready.into_iter().take(limit).map(|row| row.taken.clone()).collect()
    }

    fn take(&mut self, look: &super::Look, out: &mut Committed) {
        let mut wants: Vec<&Want> = look.wants.iter().collect();
        if look.survey {
            let named: BTreeSet<String> = self
                .rows
                .values()
                .filter(|row| row.taken.invocation.phase == Phase::Pending)
                .map(|row| row.taken.trigger_name.clone())
                .filter(|name| self.is_open(name))
                .collect();
            wants.retain(|want| named.contains(&want.trigger.name));
            out.hungry.extend(
                named.iter().filter(|name| wants.iter().all(|want| want.trigger.name != **name)).cloned(),
            );
        }
        for (name, code) in &look.held_back {
            let held = |row: &&mut Row| row.taken.trigger_name == *name && row.is_ready(look.now);
            for row in self.rows.values_mut().filter(held).take(HELD_AT_ONCE) {
                row.taken.invocation.trouble = Some(Trouble::new(*code, held_message(*code)));
            }
        }
        let mut places = Places::new(look, &wants);
        for want in wants {
            let share = places.share(want);
            let rows = self.candidates(want, look, share.limit);
            let full = rows.len() == share.limit;
            let (rows, short) = places.pick(want, share, rows);
            if full || short {
                out.hungry.push(want.trigger.name.clone());
            }
            for row in rows {
                if let Some(stored) = self.rows.get_mut(&row.invocation.id) {
                    let deadline = want.trigger.deadline(row.invocation.firing_mode(&want.trigger));
                    let invocation = &mut stored.taken.invocation;
                    invocation.phase = Phase::Triggering;
                    invocation.attempt += 1;
                    invocation.started_at.get_or_insert(look.now);
                    if invocation.deadline_at.is_none() {
                        invocation.deadline_at = Some(look.now.plus(deadline));
                        invocation.memory.counted_deadline = true;
                    }
                    stored.taken.due_at = None;
                }
                out.intended.push(row);
            }
        }
    }

    fn waiting(&self, id: i64) -> Option<Waiting> {
        let row = self.rows.get(&id)?;
        let follows = matches!(row.taken.invocation.phase, Phase::Polling(_) | Phase::Collecting(_));
        follows.then(|| Waiting { id, due_at: row.polled_at(), trigger_name: row.taken.trigger_name.clone() })
    }

    fn survey(&self, now: UnixMillis) -> Survey {
        let handed_over = self.handed_over.iter().filter_map(|id| self.waiting(*id)).collect();
        let mut survey = Survey { handed_over, ..Survey::default() };
        for row in self.rows.values() {
            let invocation = &row.taken.invocation;
            let pending = invocation.phase == Phase::Pending;
            let over = pending && (invocation.is_stale(now) || invocation.is_late(now));
            match &invocation.phase {
                Phase::Finished(outcome) => {
                    survey.uncertain += usize::from(*outcome == Outcome::Uncertain);
                    continue;
                }
                Phase::Triggering if invocation.cancel_requested => survey.cancelling.push(invocation.id),
                _ if invocation.cancel_requested || over => survey.ending.push(row.taken.clone()),
                _ => {}
            }
            if pending {
                let times = [Some(row.ready_at()), invocation.expires_at, invocation.deadline_at];
                survey.next = times.into_iter().flatten().filter(|at| *at > now).chain(survey.next).min();
            }
        }
        survey
    }
}

impl Store for MemoryStore {
    async fn start(&self, triggers: Vec<Arc<Trigger>>, _now: UnixMillis) -> Result<Recovered, Error> {
        self.register(triggers).await?;
        let mut table = self.table();
        table.epoch += 1;
        table.ready = false;
        table.stopped = false;
        table.status.clear();
        table.handed_over.clear();
        let mut found =
            Recovered { instance_id: "memory".to_owned(), epoch: table.epoch, ..Recovered::default() };
        let mut doubtful = Vec::new();
        for (id, row) in &table.rows {
            let firing = (*id, row.taken.invocation.attempt);
            if row.taken.invocation.phase != Phase::Triggering {
                found.waiting.extend(table.waiting(*id));
            } else if table.flights_lost || table.flights.values().any(|flight| *flight == firing) {
                doubtful.push(firing);
            } else {
                found.unsent.push(*id);
            }
        }
        found.interrupted.extend(doubtful.iter().map(|(id, _)| *id));
        table.flights = doubtful.into_iter().enumerate().collect();
        table.flights_lost = false;
        found.waiting.sort_by_key(|row| row.due_at);
        Ok(found)
    }

    async fn register(&self, triggers: Vec<Arc<Trigger>>) -> Result<(), Error> {
        self.table().active = triggers.iter().map(|trigger| trigger.name.clone()).collect();
        Ok(())
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, Box<Failed>> {
        let mut table = self.table();
        let mut out = Committed::default();
        table.handed_over.retain(|id| !batch.taken_over.contains(id));
        for change in batch.changes {
            let id = change.next.id;
            if !table.record(change) {
                out.lost.push(id);
            }
        }
        for polled in batch.polled {
            let id = polled.next.id;
            if let Some(row) = table.rows.get_mut(&id)
                && row.taken.invocation.phase.as_str() == polled.next.phase.as_str()
                && row.taken.invocation.attempt == polled.next.attempt
            {
                let Invocation { polls, last_polled_at, http_status, trouble, memory, .. } = polled.next;
                let now = &mut row.taken.invocation;
                *now = Invocation { polls, last_polled_at, http_status, trouble, memory, ..now.clone() };
                row.taken.due_at = Some(polled.due_at);
            }
        }
        for returned in batch.returned {
            if let Some(row) = table.rows.get_mut(&returned.before.id)
                && row.taken.invocation.phase == Phase::Triggering
                && row.taken.invocation.attempt == returned.before.attempt + 1
            {
                let cancel_requested = row.taken.invocation.cancel_requested;
                row.taken.invocation =
                    Invocation { phase: Phase::Pending, cancel_requested, ..returned.before };
                row.taken.due_at = returned.due_at;
                if let Some(end) = returned.unsent {
                    row.end_attempt(row.taken.invocation.attempt + 1, end);
                }
            }
        }
        for (trigger, why) in batch.pauses {
            table.paused.entry(trigger).or_insert(why);
        }
        if let Some(look) = &batch.look {
            out.foreign = table.surveyed != Some(table.version);
            if look.list_triggering {
                let triggering =
                    table.rows.iter().filter(|(_, row)| row.taken.invocation.phase == Phase::Triggering);
                out.triggering = triggering.map(|(id, _)| *id).collect();
            }
            table.take(look, &mut out);
            if look.survey {
                out.survey = Some(table.survey(look.now));
                table.surveyed = Some(table.version);
            }
        }
        if let Some(status) = batch.status {
            let status = status.triggers.into_iter().map(|status| (status.trigger_name.clone(), status));
            table.status.extend(status);
        }
        if let Some(sign) = batch.sign {
            table.ready |= sign.ready;
            table.stopped = sign.stopped;
        }
        Ok(out)
    }

    async fn load(&self, ids: Vec<i64>, _now: UnixMillis) -> Result<Loaded, Error> {
        let table = self.table();
        let rows = ids.iter().filter_map(|id| table.rows.get(id)).map(|row| row.taken.clone()).collect();
        Ok(Loaded { rows, spoiled: Vec::new() })
    }

    async fn prune(&self, retention: Retention, now: UnixMillis, _limit: u64) -> Result<Deleted, Error> {
        let mut table = self.table();
        let mut cutoffs: Vec<_> = retention.cutoffs(now).collect();
        cutoffs.extend(retention.uncertain.map(|kept| ("uncertain", before(now, kept))));
        let rows = table.rows.len();
        table.rows.retain(|_, row| {
            let state = row.taken.invocation.phase.as_str();
            !cutoffs.iter().any(|(s, until)| *s == state && row.finished_at.is_some_and(|at| at <= *until))
        });
        let mut deleted = rows - table.rows.len();
        if let Some(until) = retention.outputs.map(|kept| before(now, kept)) {
            for row in table.rows.values_mut().filter(|row| row.finished_at.is_some_and(|at| at <= until)) {
                deleted += usize::from(row.output.take().is_some());
            }
        }
        Ok(Deleted { rows: deleted as u64, more: false })
    }

    async fn settle(&self, _plans: Option<Arc<Plans>>, _now: UnixMillis) -> Result<Settled, Error> {
        Ok(Settled::default())
    }

    async fn changed(&self) -> Result<bool, Error> {
        let table = self.table();
        Ok(table.surveyed != Some(table.version))
    }

    async fn hint(&self) {
        self.hint.notified().await;
    }

    fn note_firing(&self, slot: usize, id: i64, attempt: u32) -> Result<(), Error> {
        self.table().flights.insert(slot, (id, attempt));
        Ok(())
    }
}
