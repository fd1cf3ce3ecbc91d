//! What the emulator has seen: calls, and how often each Idempotency-Key came and made a job.
//!
//! Bounded, and without a secret: no token, no signature, no query.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::bounded::Bounded;
use super::jobs::Jobs;
use crate::clock::UnixMillis;

/// Keys whose firings are counted one by one; some tens of MB at most.
const MOST_KEYS: usize = 200_000;
/// Bytes of arguments that are shown.
const MOST_ARGUMENTS: usize = 2048;
/// Bytes of a path or name that are shown.
const MOST_TEXT: usize = 255;

/// One call.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Counts the calls from 1.
    pub n: u64,
    /// When it came.
    #[serde(serialize_with = "instant")]
    pub time: UnixMillis,
    /// `start`, `status` or `output`; none: its path is none of these.
    pub leg: Option<&'static str>,
    /// The trigger it reached.
    pub trigger: Option<Arc<str>>,
    /// The verb.
    pub method: String,
    /// The path, without its query, and without the token of a link.
    pub path: String,
    /// The header.
    pub idempotency_key: Option<Arc<str>>,
    /// The header.
    pub traceparent: Option<String>,
    /// The arguments of what starts a job; too long ones are a string that is cut.
    pub arguments: Option<Box<RawValue>>,
    /// What became of it.
    #[serde(rename = "status")]
    pub answer: Answered,
    /// When that was: the answer goes out at once.
    #[serde(serialize_with = "instant_or_none")]
    pub answered: Option<UnixMillis>,
    /// The job it made or asked for.
    pub job: Option<String>,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Nothing yet.
    Open,
    /// It was answered with this status.
    Status(u16),
    /// The connection was closed without an answer, on purpose.
    Dropped,
    /// The caller hung up.
    Left,
}

/// How often a key came.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Firing {
    /// Calls with it that reached the trigger.
    pub firings: u64,
    /// Jobs that they made.
    pub jobs: u64,
}

/// One line of `/ledger/firings`.
#[derive(Clone, Debug, Serialize)]
pub struct Fired {
    /// The key.
    pub idempotency_key: Arc<str>,
    /// The trigger.
    pub trigger: Arc<str>,
    /// How often.
    #[serde(flatten)]
    pub count: Firing,
}

/// All of `/ledger/firings`.
#[derive(Clone, Debug, Serialize)]
pub struct Firings {
    /// Calls that reached a trigger.
    pub firings: u64,
    /// Jobs that were made.
    pub jobs: u64,
    /// Firings without a key.
    pub without_key: u64,
    /// Keys that were forgotten, for there are too many: nothing is said of them below.
    pub forgotten_keys: u64,
    /// The keys with more than one job.
    pub doubles: Vec<Fired>,
    /// Each key.
    pub keys: Vec<Fired>,
}

/// One line of `/ledger/jobs`.
#[derive(Clone, Debug, Serialize)]
pub struct JobLine {
    /// Counts the jobs from 1.
    pub n: u64,
    /// Its id, as `/ledger` has it.
    pub id: String,
    /// Its trigger.
    pub trigger: Arc<str>,
    /// Its call mode.
    pub mode: &'static str,
    /// `Running`, `Successful`, `Faulted`, `Stopped` or `Suspended`.
    pub state: &'static str,
    /// When it was made.
    #[serde(serialize_with = "instant")]
    pub created: UnixMillis,
    /// When it ended.
    #[serde(serialize_with = "instant_or_none")]
    pub ended: Option<UnixMillis>,
    /// Calls of it so far.
    pub calls: u32,
}

/// The newest calls, and counters of all.
#[derive(Debug)]
pub(super) struct Ledger {
    most: usize,
    calls: VecDeque<Entry>,
    total: u64,
    /// Calls that came before the last reset.
    calls_before: u64,
    keys: Bounded<(Arc<str>, Arc<str>), Firing>,
    firings: u64,
    without_key: u64,
    forgotten_keys: u64,
    /// Jobs that were made before the last reset.
    jobs_before: u64,
}

impl Ledger {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            calls: VecDeque::new(),
            total: 0,
            calls_before: 0,
            keys: Bounded::new(MOST_KEYS),
            firings: 0,
            without_key: 0,
            forgotten_keys: 0,
            jobs_before: 0,
        }
    }

    /// Calls so far, also those that are not shown any more.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) const fn calls(&self) -> &VecDeque<Entry> {
        &self.calls
    }

    /// Those from the `n`th on that are still there.
    pub(super) fn calls_from(&self, n: u64) -> impl Iterator<Item = &Entry> {
        let gone = self.calls.front().map_or(0, |first| first.n);
        self.calls.iter().skip(usize::try_from(n.saturating_sub(gone)).unwrap_or(usize::MAX))
    }

    /// Takes a call in; its number among all calls, also those before a reset.
    pub(super) fn open(&mut self, mut entry: Entry) -> u64 {
        self.total += 1;
        entry.n = self.total;
        if self.most > 0 {
            if self.calls.len() >= self.most {
                self.calls.pop_front();
            }
            self.calls.push_back(entry);
        }
        self.calls_before + self.total
    }

    /// The call that [`Ledger::open`] gave this number, if it is still there.
    pub(super) fn entry(&mut self, call: u64) -> Option<&mut Entry> {
        let first = self.calls.front()?.n;
        let n = call.checked_sub(self.calls_before)?;
        self.calls.get_mut(usize::try_from(n.checked_sub(first)?).ok()?)
    }

    /// A call has reached a trigger.
    pub(super) fn fired(&mut self, trigger: &Arc<str>, key: Option<&Arc<str>>) {
        self.firings += 1;
        match key {
            Some(key) => self.key(trigger, key).firings += 1,
            None => self.without_key += 1,
        }
    }

    /// It has made a job.
    pub(super) fn made(&mut self, trigger: &Arc<str>, key: Option<&Arc<str>>) {
        if let Some(key) = key {
            self.key(trigger, key).jobs += 1;
        }
    }

    fn key(&mut self, trigger: &Arc<str>, key: &Arc<str>) -> &mut Firing {
        let (firing, forgot) = self.keys.entry(&(Arc::clone(trigger), Arc::clone(key)));
        self.forgotten_keys += u64::from(forgot);
        firing
    }

    pub(super) fn firings(&self, jobs: &Jobs) -> Firings {
        let keys: Vec<_> = self
            .keys
            .iter()
            .map(|((trigger, key), count)| Fired {
                idempotency_key: Arc::clone(key),
                trigger: Arc::clone(trigger),
                count: count.clone(),
            })
            .collect();
        Firings {
            firings: self.firings,
            jobs: jobs.made - self.jobs_before,
            without_key: self.without_key,
            forgotten_keys: self.forgotten_keys,
            doubles: keys.iter().filter(|fired| fired.count.jobs > 1).cloned().collect(),
            keys,
        }
    }

    /// The jobs since the last reset that are still known.
    pub(super) fn jobs(&self, jobs: &Jobs, now: UnixMillis) -> Vec<JobLine> {
        let kept = jobs.iter().filter(|(_, kept)| kept.number > self.jobs_before);
        let mut lines: Vec<_> = kept
            .map(|(id, kept)| JobLine {
                n: kept.number,
                id: id_text(id),
                trigger: Arc::clone(&kept.trigger),
                mode: kept.job.mode.as_str(),
                state: kept.state(now),
                created: kept.job.created,
                ended: kept.job.ended(&kept.knobs.manners, now).map(|(at, _)| at),
                calls: kept.calls,
            })
            .collect();
        lines.sort_unstable_by_key(|line| line.n);
        lines
    }

    /// Begins anew. Calls that are still open do not come back.
    pub(super) fn reset(&mut self, jobs: &Jobs) {
        let calls_before = self.calls_before + self.total;
        *self = Self { calls_before, jobs_before: jobs.made, ..Self::new(self.most) };
    }
}

/// The id of a job, as people see it.
pub(super) fn id_text(id: u128) -> String {
    format!("{id:032x}")
}

/// The beginning of a text, for what is only shown.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_TEXT)]
}

/// Arguments as they are shown.
pub(super) fn shown_arguments(
    arguments: &serde_json::Map<String, serde_json::Value>,
) -> Option<Box<RawValue>> {
    let mut text = serde_json::to_string(arguments).ok()?;
    if text.len() > MOST_ARGUMENTS {
        text.truncate(text.floor_char_boundary(MOST_ARGUMENTS));
        text.push('…');
        text = serde_json::Value::String(text).to_string();
    }
    RawValue::from_string(text).ok()
}

impl Serialize for Answered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Open => serializer.serialize_none(),
            Self::Status(status) => serializer.serialize_u16(*status),
            Self::Dropped => serializer.serialize_str("dropped"),
            Self::Left => serializer.serialize_str("left"),
        }
    }
}

fn instant<S: Serializer>(at: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(at) => serializer.collect_str(&format_args!("{at:.3}")),
        Err(_) => serializer.serialize_i64(at.0),
    }
}

fn instant_or_none<S: Serializer>(at: &Option<UnixMillis>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => instant(at, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            n: 0,
            time: UnixMillis(1_800_000_000_000),
            leg: None,
            trigger: None,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            idempotency_key: None,
            traceparent: None,
            arguments: None,
            answer: Answered::Open,
            answered: None,
            job: None,
        }
    }

    #[test]
    fn the_oldest_calls_make_room_and_are_still_counted() {
        let mut ledger = Ledger::new(2);
        let numbers: Vec<_> = (0..3).map(|_| ledger.open(entry())).collect();
        assert_eq!((numbers, ledger.total()), (vec![1, 2, 3], 3));
        assert!(ledger.entry(1).is_none());
        ledger.entry(3).unwrap().answer = Answered::Status(200);
        let answers: Vec<_> = ledger.calls().iter().map(|entry| entry.answer).collect();
        assert_eq!(answers, [Answered::Open, Answered::Status(200)]);
        let from = |n| ledger.calls_from(n).map(|entry| entry.n).collect::<Vec<_>>();
        assert_eq!([from(0), from(2), from(3), from(4)], [vec![2, 3], vec![2, 3], vec![3], vec![]]);
        let mut none = Ledger::new(0);
        none.open(entry());
        assert_eq!((none.total(), none.calls().len()), (1, 0));
    }

    #[test]
    fn a_call_from_before_a_reset_is_no_other_one_after_it() {
        let (mut ledger, jobs) = (Ledger::new(9), Jobs::new(9, std::time::Duration::ZERO));
        let old = ledger.open(entry());
        ledger.reset(&jobs);
        let new = ledger.open(entry());
        assert!(ledger.entry(old).is_none());
        assert_eq!((ledger.entry(new).map(|entry| entry.n), ledger.total()), (Some(1), 1));
    }

    #[test]
    fn arguments_that_are_too_long_are_cut_and_stay_json() {
        let long = |n| serde_json::Map::from_iter([("a".to_owned(), "ü".repeat(n).into())]);
        assert_eq!(shown_arguments(&long(2)).unwrap().get(), r#"{"a":"üü"}"#);
        let cut = shown_arguments(&long(5000)).unwrap();
        let text: String = serde_json::from_str(cut.get()).unwrap();
        assert!(text.len() < 2100 && text.ends_with('…'), "{text}");
    }
}
