//! When to look into the table, and for how many rows of which trigger there are places.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::lanes::Lanes;
use crate::client::{Admission, Client};
use crate::clock::UnixMillis;
use crate::queue::{Committed, Look, Want};
use crate::trigger::Trigger;

/// Rows that one commit may take for one trigger: a commit stays short whatever there is.
const LARGEST_BITE: usize = 1000;

/// What is known of the ready rows, and when to learn more.
pub(super) struct Intake {
    triggers: BTreeMap<String, Arc<Trigger>>,
    /// The lane of each trigger's origin.
    lanes: HashMap<String, usize>,
    /// Rows of each trigger that are triggering, polling or collecting.
    active: HashMap<String, usize>,
    /// Triggers that may have ready rows.
    hungry: HashSet<String>,
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
    pub(super) fn new(triggers: BTreeMap<String, Arc<Trigger>>, lanes: &mut Lanes) -> Self {
        let mut intake = Self {
            triggers: BTreeMap::new(),
            lanes: HashMap::new(),
            active: HashMap::new(),
            hungry: HashSet::new(),
            survey: true,
            hinted: false,
            wake_at: None,
            unsure: false,
            turn: 0,
        };
        intake.configure(triggers, lanes);
        intake
    }

    /// Another configuration.
    pub(super) fn configure(&mut self, triggers: BTreeMap<String, Arc<Trigger>>, lanes: &mut Lanes) {
        self.lanes = triggers.iter().map(|(name, t)| (name.clone(), lanes.lane(&t.origin()))).collect();
        self.triggers = triggers;
        self.survey = true;
    }

    pub(super) fn trigger(&self, name: &str) -> Option<Arc<Trigger>> {
        self.triggers.get(name).cloned()
    }

    /// One more row of the trigger is with the far end.
    pub(super) fn enter(&mut self, trigger: &str) {
        *self.active.entry(trigger.to_owned()).or_default() += 1;
    }

    /// One less.
    pub(super) fn leave(&mut self, trigger: &str) {
        if let Some(n) = self.active.get_mut(trigger) {
            *n = n.saturating_sub(1);
        }
    }

    /// Somebody may have committed.
    pub(super) const fn hint(&mut self) {
        self.hinted = true;
    }

    /// Whether somebody may have committed: to be found out when nothing else does. Answers once.
    pub(super) const fn take_hint(&mut self) -> bool {
        std::mem::replace(&mut self.hinted, false)
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
        let (mut wants, mut gates) = (Vec::new(), Vec::new());
        if self.survey || !self.hungry.is_empty() {
            for trigger in self.triggers.values() {
                let origin = self.lanes[&trigger.name];
                let hungry = self.hungry.contains(&trigger.name);
                let room = self.room(trigger).min(LARGEST_BITE);
                if (!hungry && !self.survey) || room == 0 || (places[origin] == 0 && held_places == 0) {
                    continue;
                }
                // A shut credential lets one probe through at a time; it is for a trigger that surely has rows.
                let limit = match client.outlook(trigger, now) {
                    Admission::Open => room,
                    Admission::Probe if hungry => 1,
                    Admission::Probe => continue,
                    Admission::Shut { until, .. } => {
                        gates.push(until);
                        continue;
                    }
                };
                wants.push(Want { trigger: Arc::clone(trigger), origin, limit });
            }
        }
        for until in gates {
            self.wake_by(until.max(UnixMillis(now.0 + 1)));
        }
        if wants.is_empty() && !self.survey && !(busy && self.hinted) {
            return None;
        }
        if !wants.is_empty() {
            let turn = self.turn % wants.len();
            wants.rotate_left(turn);
            self.turn = self.turn.wrapping_add(1);
        }
        self.hinted = false;
        Some(Look {
            now,
            survey: std::mem::replace(&mut self.survey, false),
            wants,
            places,
            held_places,
            list_triggering: self.unsure,
        })
    }

    /// How many more rows of the trigger may be with the far end.
    fn room(&self, trigger: &Trigger) -> usize {
        let active = self.active.get(&trigger.name).copied().unwrap_or(0);
        trigger.max_concurrent.map_or(usize::MAX, |max| (max as usize).saturating_sub(active))
    }

    /// What the look brought.
    pub(super) fn learn(&mut self, wanted: &[String], committed: &Committed) {
        if let Some(survey) = &committed.survey {
            self.hungry.clear();
            self.wake_at = survey.next;
            self.survey |= survey.more;
        } else {
            for name in wanted {
                self.hungry.remove(name);
            }
            self.survey |= committed.foreign;
        }
        self.hungry.extend(committed.hungry.iter().cloned());
        self.unsure = false;
    }
}
