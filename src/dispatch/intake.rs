//! When to look into the table, and for how many rows of which trigger there are places.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use super::breaker::{Breakers, Leave};
use super::lanes::{Lanes, Seat};
use crate::client::{Admission, Client};
use crate::clock::UnixMillis;
use crate::invocation::Invocation;
use crate::queue::{Batch, Committed, HeldBy, Look, Spoiled, Taken, Want};
use crate::request::CallMode;
use crate::trigger::Trigger;

/// Rows that one commit may take for one trigger: a commit stays short whatever there is.
const LARGEST_BITE: usize = 1000;

/// What is known of the ready rows, and when to learn more.
pub(super) struct Intake {
    triggers: BTreeMap<String, Arc<Trigger>>,
    /// Where each trigger's firings sit: ordinary ones, and held ones.
    seats: HashMap<String, (Seat, Seat)>,
    /// Triggers that may have ready rows and are not being looked for.
    hungry: HashSet<String>,
    /// Triggers whose last look took nothing although rows were ready, and the places, ordinary and held, that were
    /// free then: with no more of them, the next look would take nothing either.
    stuck: HashMap<String, (usize, usize)>,
    /// Triggers whose ready rows wait for a time that the table knows, and until when.
    timed: HashMap<String, (HeldBy, UnixMillis)>,
    /// See [`Look::ageing`].
    ageing: Duration,
    /// The table has changed, or time has, in a way that is not known.
    survey: bool,
    /// Somebody may have committed.
    hinted: bool,
    /// When something in the table changes by time alone.
    wake_at: Option<UnixMillis>,
    /// A commit failed: what is in `triggering` is not known.
    unsure: bool,
    /// Where the next look begins, so that none is always first.
    turn: usize,
}

impl Intake {
    pub(super) fn new(triggers: BTreeMap<String, Arc<Trigger>>, ageing: Duration, lanes: &mut Lanes) -> Self {
        let mut intake = Self {
            triggers: BTreeMap::new(),
            seats: HashMap::new(),
            hungry: HashSet::new(),
            stuck: HashMap::new(),
            timed: HashMap::new(),
            ageing,
            survey: true,
            hinted: false,
            wake_at: None,
            unsure: false,
            turn: 0,
        };
        intake.configure(triggers, ageing, lanes);
        intake
    }

    /// Another configuration.
    pub(super) fn configure(
        &mut self,
        triggers: BTreeMap<String, Arc<Trigger>>,
        ageing: Duration,
        lanes: &mut Lanes,
    ) {
        self.seats.clear();
        for (name, trigger) in &triggers {
            let (ordinary, held) = (lanes.seat(&trigger.origin(), name), lanes.held_seat(name));
            lanes.expect(if trigger.call_mode == CallMode::LongPolling { held } else { ordinary });
            self.seats.insert(name.clone(), (ordinary, held));
        }
        self.triggers = triggers;
        self.ageing = ageing;
        self.timed.clear();
        self.survey = true;
    }

    pub(super) fn trigger(&self, name: &str) -> Option<Arc<Trigger>> {
        self.triggers.get(name).cloned()
    }

    /// Somebody may have committed.
    pub(super) const fn hint(&mut self) {
        self.hinted = true;
    }

    /// Whether somebody may have committed: to be found out when nothing else does. Answers once.
    pub(super) const fn take_hint(&mut self) -> bool {
        std::mem::replace(&mut self.hinted, false)
    }

    /// The clock was set back: no time that the table has told is one to wait for.
    pub(super) fn forget_times(&mut self) {
        self.timed.clear();
        self.survey = true;
    }

    /// Somebody has committed.
    pub(super) const fn survey_soon(&mut self) {
        self.survey = true;
    }

    /// A row of the trigger becomes ready then.
    pub(super) fn ready_at(&mut self, trigger: &str, at: UnixMillis, now: UnixMillis) {
        if at <= now {
            self.hungry.insert(trigger.to_owned());
        } else {
            self.wake_by(at);
        }
    }

    /// A row that was with the engine is pending again, and ready then. The last survey did not see it: it must also be
    /// looked at when it ends unfired.
    pub(super) fn pending_again(&mut self, trigger: &str, row: &Invocation, at: UnixMillis, now: UnixMillis) {
        self.ready_at(trigger, at, now);
        for end in [row.expires_at, row.deadline_at].into_iter().flatten() {
            self.wake_by(end);
        }
    }

    fn wake_by(&mut self, at: UnixMillis) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// When to look again if nothing happens.
    pub(super) const fn wake_at(&self) -> Option<UnixMillis> {
        self.wake_at
    }

    /// A commit failed: its intents may be stored, unknown to us.
    pub(super) const fn failed(&mut self) {
        self.unsure = true;
        self.survey = true;
    }

    /// What to look for in the next commit, if anything; `busy` when there is a commit anyway.
    pub(super) fn look(
        &mut self,
        lanes: &Lanes,
        board: &mut Board,
        breakers: &mut Breakers,
        client: &impl Client,
        now: UnixMillis,
        busy: bool,
    ) -> Option<Look> {
        if self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = None;
            self.survey = true;
        }
        let places = lanes.free_places();
        let held_places = lanes.free_held_places();
        let (mut wants, mut gates, mut shut) = (Vec::new(), Vec::new(), Vec::new());
        // Triggers that could have the next probe at an origin.
        let mut probes: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        if self.survey || !self.hungry.is_empty() {
            for trigger in self.triggers.values() {
                let (ordinary, held) = self.seats[&trigger.name];
                let hungry = self.hungry.contains(&trigger.name);
                let room = room(trigger, board).min(LARGEST_BITE);
                let free = (lanes.free_for(ordinary), lanes.free_for(held));
                let stuck = free == (0, 0) || (!self.survey && self.is_stuck(&trigger.name, free));
                if !hungry && !self.survey {
                    continue;
                }
                let outlook = client.outlook(trigger, now);
                // In a survey the table is asked: what takes a place may have been settled.
                let timed = self.timed.get(&trigger.name).cloned();
                let timed = timed.filter(|(by, until)| *until > now && (!self.survey || *by == HeldBy::Rate));
                if let Some((_, until)) = &timed {
                    gates.push(*until);
                }
                let leave = breakers.look(ordinary.lane, now);
                match held_by(trigger, room, stuck, outlook, &leave, timed.clone()) {
                    // One probe does not end it.
                    None if outlook == Admission::Probe => {}
                    None => board.may_go_on(&trigger.name),
                    hold => board.hold(&trigger.name, hungry, hold, now),
                }
                if let Leave::Nothing(_, Some(until)) = leave {
                    gates.push(until);
                }
                if let Admission::Shut { until, code } = outlook {
                    gates.push(until);
                    shut.push((trigger.name.clone(), code));
                }
                // A shut credential lets one probe through at a time; it is for a trigger that surely has rows.
                let limit = match (outlook, leave) {
                    _ if room == 0 || stuck || timed.is_some() => continue,
                    (Admission::Shut { .. }, _) | (_, Leave::Nothing(..)) => continue,
                    (Admission::Open, Leave::All) => room,
                    _ if !hungry => continue,
                    (Admission::Probe, Leave::All) => 1,
                    (Admission::Open | Admission::Probe, Leave::Probe(_)) => {
                        probes.entry(ordinary.lane).or_default().push(&trigger.name);
                        1
                    }
                };
                let (origin, (ordinary, held)) = (ordinary.lane, free);
                wants.push(Want { trigger: Arc::clone(trigger), origin, limit, ordinary, held });
            }
        }
        // An origin has one probe, whichever of its triggers it is of.
        for (lane, names) in probes {
            let chosen = breakers.choose(lane, &names);
            wants.retain(|want| want.origin != lane || chosen == Some(want.trigger.name.as_str()));
        }
        let survey = self.survey;
        let newly_held = board.take_newly_held();
        shut.retain(|(name, _)| survey || newly_held.contains(name));
        if survey {
            // It answers both anew. What comes up in the meantime is kept beside its answer.
            self.hungry.clear();
            self.wake_at = None;
        }
        for until in gates {
            self.wake_by(until.max(UnixMillis(now.0 + 1)));
        }
        if wants.is_empty() && shut.is_empty() && !survey && !(busy && self.hinted) {
            return None;
        }
        for want in &wants {
            self.hungry.remove(&want.trigger.name);
        }
        if !wants.is_empty() {
            let turn = self.turn % wants.len();
            wants.rotate_left(turn);
            self.turn = self.turn.wrapping_add(1);
        }
        self.hinted = false;
        self.survey = false;
        let (held_back, list_triggering, ageing) = (shut, self.unsure, self.ageing);
        Some(Look { now, survey, wants, places, held_places, held_back, list_triggering, ageing })
    }

    /// What must be known even where nothing new is begun, at a stop or without room: which intents of unknown end there are.
    pub(super) fn spare_look(&self, now: UnixMillis) -> Option<Look> {
        self.unsure.then(|| Look {
            now,
            survey: false,
            wants: Vec::new(),
            places: Vec::new(),
            held_places: 0,
            held_back: Vec::new(),
            list_triggering: true,
            ageing: self.ageing,
        })
    }

    pub(super) const fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// Whether a look would take nothing with these places, as the last one did, unless the table has changed.
    fn is_stuck(&self, trigger: &str, (ordinary, held): (usize, usize)) -> bool {
        self.stuck.get(trigger).is_some_and(|(o, h)| ordinary <= *o && held <= *h)
    }

    /// Where a row that was taken sits.
    fn lane_of(&self, row: &Taken) -> Option<usize> {
        let trigger = self.triggers.get(&row.trigger_name)?;
        let (ordinary, held) = self.seats.get(&row.trigger_name)?;
        let is_held = row.invocation.firing_mode(trigger) == CallMode::LongPolling;
        Some(if is_held { held.lane } else { ordinary.lane })
    }

    /// What the look brought.
    pub(super) fn learn(&mut self, board: &mut Board, asked: &Asked, committed: &Committed) {
        match &committed.survey {
            Some(survey) => {
                if let Some(at) = survey.next {
                    self.wake_by(at);
                }
                self.survey |= survey.more;
            }
            None => self.survey |= committed.foreign,
        }
        // Where rows were taken, a neighbour may have had the places that were free for others too; and behind a row
        // that was rejected there may be a good one. Both are looked for again before a trigger counts as stuck.
        let lanes: HashSet<usize> = committed.intended.iter().filter_map(|row| self.lane_of(row)).collect();
        for (name, free) in &asked.wanted {
            self.stuck.remove(name);
            self.timed.remove(name);
            if !committed.hungry.contains(name) && committed.waits.iter().all(|(waits, ..)| waits != name) {
                board.end_hold(name);
            }
            let Some((ordinary, held)) = self.seats.get(name) else { continue };
            let is_shared = lanes.contains(&ordinary.lane) || lanes.contains(&held.lane);
            let is_through = committed.rejected.is_empty() && !committed.parked;
            if !is_shared && is_through && committed.hungry.contains(name) {
                self.stuck.insert(name.clone(), *free);
            }
        }
        self.hungry.extend(committed.hungry.iter().cloned());
        for (name, by, until) in &committed.waits {
            self.hungry.insert(name.clone());
            self.timed.insert(name.clone(), (by.clone(), *until));
        }
        if let Some(at) = committed.wake_at {
            self.wake_by(at);
        }
        // After the look that this commit may have had: it says nothing of them.
        for name in committed.released.iter().filter(|name| self.triggers.contains_key(*name)) {
            self.stuck.remove(name);
            self.hungry.insert(name.clone());
        }
        self.survey |= committed.more;
        if asked.listed {
            self.unsure = false;
        }
    }
}

/// How many more rows of the trigger may be with the far end.
fn room(trigger: &Trigger, board: &Board) -> usize {
    trigger
        .max_concurrent
        .map_or(usize::MAX, |max| (max as usize).saturating_sub(board.active(&trigger.name)))
}

/// What keeps the ready rows of a trigger from being fired, if anything does.
fn held_by(
    trigger: &Trigger,
    room: usize,
    stuck: bool,
    outlook: Admission,
    leave: &Leave,
    timed: Option<(HeldBy, UnixMillis)>,
) -> Option<(HeldBy, Option<UnixMillis>)> {
    match (outlook, leave) {
        (Admission::Shut { until, code }, _) => Some((HeldBy::Credential(code), Some(until))),
        (_, Leave::Nothing(origin, until)) => Some((HeldBy::Breaker(Arc::clone(origin)), *until)),
        _ if room == 0 => Some((HeldBy::Slot("max_concurrent"), None)),
        _ if timed.is_some() => timed.map(|(by, until)| (by, Some(until))),
        _ if stuck => Some((
            HeldBy::Slot(match trigger.call_mode {
                CallMode::LongPolling => "max_long_polls",
                CallMode::AsyncRequestReply | CallMode::FireAndForget => "max_per_origin",
            }),
            None,
        )),
        // That one row may go changes nothing for the others.
        (_, Leave::Probe(origin)) => Some((HeldBy::Breaker(Arc::clone(origin)), None)),
        (_, Leave::All) => None,
    }
}

/// What a commit asked for and told, kept until its answer comes.
#[derive(Default)]
pub(super) struct Asked {
    /// The triggers wanted, and the places, ordinary and held, that were free for each.
    wanted: Vec<(String, (usize, usize))>,
    /// As of when it was looked.
    pub(super) looked_at: Option<UnixMillis>,
    /// Whether all that is `triggering` was to be listed.
    listed: bool,
    /// Rows of which it was told that they are followed.
    pub(super) taken_over: Vec<i64>,
    /// Triggers that it pauses.
    pub(super) paused: Vec<String>,
    /// Rows that it ends because they cannot be read.
    pub(super) spoiled: Vec<Spoiled>,
}

impl Asked {
    pub(super) fn of(batch: &Batch) -> Self {
        let wants = batch.look.iter().flat_map(|look| &look.wants);
        Self {
            wanted: wants.map(|want| (want.trigger.name.clone(), (want.ordinary, want.held))).collect(),
            looked_at: batch.look.as_ref().map(|look| look.now),
            listed: batch.look.as_ref().is_some_and(|look| look.list_triggering),
            taken_over: batch.taken_over.clone(),
            paused: batch.pauses.iter().map(|(trigger, _)| trigger.clone()).collect(),
            spoiled: batch.spoiled.clone(),
        }
    }
}
