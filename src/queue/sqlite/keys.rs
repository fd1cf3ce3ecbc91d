//! Concurrency keys: how many requests of one may be with the far end, how often, and in which order.
//!
//! What a key holds back is out of the way (`requests.held_by`), so that it costs the other rows nothing: it is met once as
//! a candidate, put aside, and let go again when the key has room. How a key stands is always read from the table, in the
//! transaction that acts on it; what is remembered here is only when to look again, and a sweep over all keys that hold
//! something back makes good what was not noticed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::rates;
use super::statements::{HELD, HELD_KEYS, KEY_STATES, KEYS_OF, PARK, RELEASE, ids, json, string};
use crate::clock::UnixMillis;
use crate::queue::{Committed, Taken};
use crate::trigger::Trigger;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Keys that one survey of a sweep judges.
const SWEPT_AT_ONCE: i64 = 200;
/// Rows that are let go of one key at once.
const RELEASED_AT_ONCE: usize = 1000;
/// Keys whose time has come that are judged in one commit.
const DUE_AT_ONCE: usize = 200;
/// No key is looked at sooner again because of a time, whatever the table has for one.
const SOON: Duration = Duration::from_millis(1);
/// Between two sweeps that nothing calls for.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// A concurrency key of a trigger.
type Key = (String, String);

/// What is known of keys between two commits.
pub(super) struct Keys {
    /// Those that have limits.
    triggers: HashMap<String, Arc<Trigger>>,
    /// Keys that have more room then.
    timers: BTreeSet<(UnixMillis, Key)>,
    /// Behind which key the sweep goes on, if one is under way.
    sweep: Option<Key>,
    sweep_at: UnixMillis,
    /// When it was last looked.
    looked_at: UnixMillis,
}

/// How a key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    /// So many more may be fired now.
    free: usize,
    /// The only one that may be, where they are worked off in order.
    head: Option<i64>,
    /// `requests.held_by` of those that may not.
    why: &'static str,
    /// When there is more room by time alone.
    until: Option<UnixMillis>,
}

/// The keys of one trigger while its candidates are looked through.
pub(super) struct Sieve<'t> {
    trigger: &'t Trigger,
    standings: HashMap<String, Standing>,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            triggers: HashMap::new(),
            timers: BTreeSet::new(),
            sweep: Some(Key::default()),
            sweep_at: UnixMillis(0),
            looked_at: UnixMillis(0),
        }
    }

    /// Another configuration: any key may have more room by it.
    pub(super) fn configure(&mut self, triggers: &[Arc<Trigger>]) {
        let limited = triggers.iter().filter(|trigger| trigger.has_key_limits());
        self.triggers = limited.map(|trigger| (trigger.name.clone(), Arc::clone(trigger))).collect();
        self.sweep_anew();
    }

    /// A commit failed, or somebody has changed much: what is remembered may be wrong.
    pub(super) fn sweep_anew(&mut self) {
        self.sweep = Some(Key::default());
    }

    /// Requests have ended, or wait again: their keys may have room.
    pub(super) async fn left(
        &mut self,
        c: &mut SqliteConnection,
        ids: &[i64],
        now: UnixMillis,
        out: &mut Committed,
    ) -> Result<()> {
        if self.triggers.is_empty() || ids.is_empty() {
            return Ok(());
        }
        let limited: Vec<_> = self.triggers.keys().collect();
        let rows = sqlx::query(KEYS_OF).bind(json(&ids)).bind(json(&limited)).fetch_all(&mut *c).await?;
        for row in rows {
            // What is no text is no key of anybody.
            if let (Some(trigger), Some(key)) = (string(&row, 0)?, string(&row, 1)?) {
                self.judge(c, (trigger, key), now, out).await?;
            }
        }
        Ok(())
    }

    /// Keys whose time has come; and, in a survey, some of those of the sweep.
    pub(super) async fn look(
        &mut self,
        c: &mut SqliteConnection,
        survey: bool,
        now: UnixMillis,
        out: &mut Committed,
    ) -> Result<()> {
        if now < self.looked_at {
            // The clock was set back: what was a time to wait for is none any more.
            self.timers.clear();
            self.sweep_anew();
        }
        self.looked_at = now;
        for _ in 0..DUE_AT_ONCE {
            if self.timers.first().is_none_or(|(at, _)| *at > now) {
                break;
            }
            if let Some((_, key)) = self.timers.pop_first() {
                self.judge(c, key, now, out).await?;
            }
        }
        // A clock that was set back must not keep it from sweeping.
        if self.sweep_at <= now || self.sweep_at > now.plus(SWEEP_EVERY) {
            self.sweep_at = now.plus(SWEEP_EVERY);
            self.sweep.get_or_insert_default();
        }
        if survey && let Some((trigger, key)) = self.sweep.clone() {
            let query = sqlx::query(HELD_KEYS).bind(trigger).bind(key).bind(SWEPT_AT_ONCE);
            let mut is_last = true;
            let rows = query.fetch_all(&mut *c).await?;
            for row in &rows {
                match (string(row, 0)?, string(row, 1)?) {
                    (Some(trigger), Some(key)) => {
                        self.sweep = Some((trigger.clone(), key.clone()));
                        self.judge(c, (trigger, key), now, out).await?;
                    }
                    // A row that somebody has spoiled since it was put aside: it is found to be bad where it is read. There may be
                    // keys behind it.
                    _ => {
                        is_last = false;
                        let ids: [i64; 1] = [row.try_get(2)?];
                        sqlx::query(RELEASE).bind(json(&ids)).execute(&mut *c).await?;
                    }
                }
            }
            if is_last && rows.len() < usize::try_from(SWEPT_AT_ONCE).unwrap_or(usize::MAX) {
                self.sweep = None;
            }
        }
        Ok(())
    }

    /// Whether the sweep goes on.
    pub(super) const fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// When the next key has more room by time alone.
    pub(super) fn next(&self) -> Option<UnixMillis> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A look through the candidates of a trigger, if its keys have limits.
    pub(super) fn sieve<'t>(&self, trigger: &'t Trigger) -> Option<Sieve<'t>> {
        trigger.has_key_limits().then(|| Sieve { trigger, standings: HashMap::new() })
    }

    /// Lets go what the key has room for.
    async fn judge(
        &mut self,
        c: &mut SqliteConnection,
        key: Key,
        now: UnixMillis,
        out: &mut Committed,
    ) -> Result<()> {
        // Without limits, what was held back by an earlier configuration goes.
        let standing = match self.triggers.get(&key.0) {
            Some(trigger) => {
                let mut standings = standings(c, trigger, std::slice::from_ref(&key.1), now).await?;
                standings.remove(&key.1).unwrap_or(Standing { free: 0, head: None, why: "key", until: None })
            }
            None => Standing { free: usize::MAX, head: None, why: "key", until: None },
        };
        let many = standing.free.min(RELEASED_AT_ONCE);
        let held = match standing.head {
            _ if many == 0 => Vec::new(),
            Some(head) => vec![head],
            None => {
                let limit = i64::try_from(many).unwrap_or(i64::MAX);
                ids(c, sqlx::query(HELD).bind(key.0.clone()).bind(key.1.clone()).bind(limit)).await?
            }
        };
        if !held.is_empty() && sqlx::query(RELEASE).bind(json(&held)).execute(c).await?.rows_affected() > 0 {
            out.hungry.push(key.0.clone());
        }
        if held.len() == RELEASED_AT_ONCE {
            self.timers.insert((now, key));
        } else if let Some(until) = standing.until {
            self.timers.insert((until.max(now.plus(SOON)), key));
        }
        Ok(())
    }
}

impl Sieve<'_> {
    /// The rows whose keys have room; the others are put aside.
    pub(super) async fn pass(
        &mut self,
        c: &mut SqliteConnection,
        rows: Vec<Taken>,
        keys: &mut Keys,
        now: UnixMillis,
        out: &mut Committed,
    ) -> Result<Vec<Taken>> {
        let keys_of_rows: BTreeSet<&String> =
            rows.iter().filter_map(|row| row.concurrency_key.as_ref()).collect();
        let unknown: Vec<String> =
            keys_of_rows.into_iter().filter(|key| !self.standings.contains_key(*key)).cloned().collect();
        self.standings.extend(standings(c, self.trigger, &unknown, now).await?);
        let mut passed = Vec::with_capacity(rows.len());
        let mut aside: Vec<(i64, &'static str)> = Vec::new();
        for row in rows {
            let Some(key) = &row.concurrency_key else {
                passed.push(row);
                continue;
            };
            // A key whose text SQLite has not found again is no text at all; such a row goes by itself.
            let Some(standing) = self.standings.get_mut(key) else {
                passed.push(row);
                continue;
            };
            let in_turn = standing.head.is_none_or(|head| head == row.invocation.id);
            if standing.free > 0 && in_turn {
                standing.free -= 1;
                passed.push(row);
                continue;
            }
            if let Some(until) = standing.until {
                keys.timers.insert((until.max(now.plus(SOON)), (self.trigger.name.clone(), key.clone())));
            }
            aside.push((row.invocation.id, if in_turn { standing.why } else { "order" }));
        }
        if !aside.is_empty() {
            sqlx::query(PARK).bind(json(&aside)).execute(c).await?;
            out.parked = true;
        }
        Ok(passed)
    }

    /// Counts what was fired.
    pub(super) async fn fired(
        self,
        c: &mut SqliteConnection,
        rows: &[Taken],
        keys: &mut Keys,
        now: UnixMillis,
    ) -> Result<()> {
        let Some(quota) = self.trigger.rate_per_key else { return Ok(()) };
        let mut fired: HashMap<&str, usize> = HashMap::new();
        let of_trigger = rows.iter().filter(|row| row.trigger_name == self.trigger.name);
        for key in of_trigger.filter_map(|row| row.concurrency_key.as_deref()) {
            *fired.entry(key).or_default() += 1;
        }
        for (key, many) in fired {
            rates::add(c, &self.trigger.name, key, many, now).await?;
            let room = rates::room(c, &self.trigger.name, key, quota, now).await?;
            if room.free == 0 {
                keys.timers.insert((room.until, (self.trigger.name.clone(), key.to_owned())));
            }
        }
        Ok(())
    }
}

/// How keys stand, by the limits of their trigger.
async fn standings(
    c: &mut SqliteConnection,
    trigger: &Trigger,
    keys: &[String],
    now: UnixMillis,
) -> Result<HashMap<String, Standing>> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let most = trigger.max_concurrent_per_key.map_or(1, i64::from);
    let hold = i64::try_from(trigger.hold_uncertain.as_millis()).unwrap_or(i64::MAX);
    let query = sqlx::query(KEY_STATES).bind(trigger.name.clone()).bind(json(&keys)).bind(most);
    let rows = query.bind(now.0.saturating_sub(hold)).bind(now.0).fetch_all(&mut *c).await?;
    let mut standings = HashMap::with_capacity(rows.len());
    for row in &rows {
        let key: String = row.try_get(0)?;
        let mut standing = read(row, trigger)?;
        if let Some(quota) = trigger.rate_per_key.filter(|_| standing.free > 0) {
            let room = rates::room(c, &trigger.name, &key, quota, now).await?;
            if room.free as usize <= standing.free {
                standing.free = room.free as usize;
                standing.why = "rate";
            }
            if room.free == 0 {
                standing.until = Some(room.until);
            }
        }
        standings.insert(key, standing);
    }
    Ok(standings)
}

/// How a key stands, but for its rate.
fn read(row: &SqliteRow, trigger: &Trigger) -> Result<Standing> {
    let (active, mut doubtful): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
    let first_doubt: Option<i64> = row.try_get(3)?;
    let (head, in_doubt): (Option<i64>, Option<i64>) = (row.try_get(4)?, row.try_get(5)?);
    if trigger.hold_uncertain.is_zero() {
        doubtful = 0;
    }
    let mut standing = Standing { free: usize::MAX, head: None, why: "key", until: None };
    if let Some(max) = trigger.max_concurrent_per_key {
        standing.free = usize::try_from(i64::from(max) - active - doubtful).unwrap_or(0);
        if doubtful > 0 {
            standing.until = first_doubt.map(|at| UnixMillis(at).plus(trigger.hold_uncertain));
        }
    }
    if trigger.strict_order_per_key {
        standing.head = head;
        // An uncertain one may be running, as long as any of its jobs may.
        if active > 0 || in_doubt.is_some() {
            standing.free = 0;
            standing.why = "order";
            standing.until = in_doubt.map(|at| UnixMillis(at + 1));
        }
    }
    Ok(standing)
}
