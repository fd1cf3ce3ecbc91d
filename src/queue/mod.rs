//! The table: what is asked of it, whoever keeps it.
//!
//! The only room with SQL. It owns the schema, the spelling of rows, and the promise that what `commit` has answered
//! is stored. It must not know HTTP, nor decide what an answer means. `dispatch` is its caller; `console` serves
//! the command line.
//!
//! A [`Store`] takes [`Batch`]es: every state change at hand and the next intents, in one commit. Reading candidates
//! is no state; an intent is. Every write names the state and the attempt that it expects to find.

mod memory;
mod pick;
mod row;

pub mod console;
pub mod sqlite;
pub mod timetable;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use memory::{MemoryStore, Row as MemoryRow};

pub use row::arguments_problem;

use crate::clock::UnixMillis;
use crate::invocation::{AttemptEnd, Code, Invocation, Output};
use crate::request::Request;
use crate::schedule::Plans;
use crate::trigger::Trigger;

/// What is wrong with the table, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written now: back off, keep what must be written, try again.
    #[error("the database cannot be used: {what}")]
    Unavailable {
        /// What was being done.
        what: String,
        /// The driver's word.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// The file is damaged or not a database of this program: stop.
    #[error("the database is damaged or not a triggerd database: {0}")]
    Corrupt(String),
    /// The file was written by a newer version: stop.
    #[error(
        "the database has schema version {found}, newer than this program's {known}: install the newer triggerd"
    )]
    Newer {
        /// `user_version` of the file.
        found: i64,
        /// The highest this program knows.
        known: i64,
    },
    /// The file is not the one that was opened any more: stop.
    #[error("the database file was replaced while the daemon ran: {0}")]
    Replaced(String),
    /// What keeps it has failed within: stop, and start anew.
    #[error("the writer of the database has ended")]
    Ended,
    /// Another daemon has it.
    #[error("another daemon holds the database (lock file {0})")]
    Locked(String),
    /// The file is a copy that was put back: somebody must say what becomes of what waits in it.
    #[error(
        "{path} {origin}, and what waits in it may have been fired since. Say what is to be done: `triggerd restored --hold` \
         makes the pending requests of triggers that are not repeatable uncertain, for you to settle; `triggerd restored --fire` \
         lets all of them be fired, with the Idempotency-Key that they had"
    )]
    Restored {
        /// The file.
        path: String,
        /// How that is known.
        origin: String,
    },
    /// A copy of it cannot be written.
    #[error("the copy cannot be written: {0}")]
    Copy(String),
    /// What was asked for makes no sense here.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// The exit code of a process that ends by it: data (65), unavailable (69), try later (75), as in sysexits.h. No new start
    /// helps a copy that was put back, so it has the code of what an administrator must change (78).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Corrupt(_) | Self::Newer { .. } => 65,
            Self::Unavailable { .. } | Self::Replaced(_) | Self::Copy(_) => 69,
            Self::Locked(_) => 75,
            Self::Restored { .. } => 78,
            Self::Ended | Self::Refused(_) => 1,
        }
    }
}

/// One commit: all of it is stored, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// New phases.
    pub changes: Vec<Change>,
    /// Polls that changed nothing but their counters.
    pub polled: Vec<Polled>,
    /// Intents that were not acted on.
    pub returned: Vec<Return>,
    /// Requests that were handed over, and are followed by now.
    pub taken_over: Vec<i64>,
    /// Requests that are with the far end and whose rows cannot be read: they end as `uncertain`.
    pub spoiled: Vec<Spoiled>,
    /// Triggers to be paused, unless they are, with the reason. Before the next intents.
    pub pauses: Vec<(String, String)>,
    /// The next intents.
    pub look: Option<Look>,
    /// What triggers are doing, for the table `trigger_status`.
    pub status: Option<Status>,
    /// Signs of life for the table `daemon`.
    pub sign: Option<Sign>,
    /// When it was put together.
    pub now: UnixMillis,
}

impl Batch {
    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.polled.is_empty()
            && self.returned.is_empty()
            && self.taken_over.is_empty()
            && self.spoiled.is_empty()
            && self.pauses.is_empty()
            && self.look.is_none()
            && self.status.is_none()
            && self.sign.is_none()
    }
}

/// A new phase of one request, written only if it is still what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The state it must be in.
    pub from: &'static str,
    /// Where it stands now; `attempt` guards the write too.
    pub next: Invocation,
    /// When to look again, for a phase that waits.
    pub due_at: Option<UnixMillis>,
    /// When it ended, for a phase that is final.
    pub finished_at: Option<UnixMillis>,
    /// The firing that ended with it.
    pub attempt: Option<AttemptEnd>,
    /// The output that came with it.
    pub output: Option<Output>,
}

/// A poll that left everything but these columns as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Polled {
    /// Where it stands.
    pub next: Invocation,
    /// When to ask again.
    pub due_at: UnixMillis,
}

/// An intent that was not acted on: the row goes back to what it was, the attempt not charged.
#[derive(Clone, Debug, PartialEq)]
pub struct Return {
    /// The request before its intent. Its attempt, start and deadline go back into the row.
    pub before: Invocation,
    /// What `due_at` was.
    pub due_at: Option<UnixMillis>,
    /// The firing that the last daemon intended and did not get to, for the history. The next one takes its number.
    pub unsent: Option<AttemptEnd>,
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// When.
    pub now: UnixMillis,
    /// Recovery and the first look are done.
    pub ready: bool,
    /// It is the last one: the daemon stops.
    pub stopped: bool,
}

/// What triggers are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// As of when.
    pub now: UnixMillis,
    /// Those of which something has changed.
    pub triggers: Vec<TriggerStatus>,
}

/// What one trigger is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerStatus {
    /// The trigger.
    pub trigger_name: String,
    /// Requests that are triggering, polling or collecting.
    pub slots_used: usize,
    /// What its ready requests wait for; written only if there are any.
    pub hold: Option<Hold>,
}

/// What holds back the ready requests of a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What they wait for.
    pub by: HeldBy,
    /// Since when.
    pub since: UnixMillis,
    /// When it is tried again; none where no time but an event frees it.
    pub until: Option<UnixMillis>,
}

/// What ready requests wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// A free place: the key of the configuration that is at its limit.
    Slot(&'static str),
    /// Its time, by `rate`.
    Rate,
    /// A credential that was refused, or cannot be had.
    Credential(Code),
    /// An origin that answers badly.
    Breaker(Arc<str>),
}

impl HeldBy {
    /// `trigger_status.waiting_for`.
    const fn waiting_for(&self) -> &'static str {
        match self {
            Self::Slot(_) => "slot",
            Self::Rate => "rate",
            Self::Credential(_) => "credential",
            Self::Breaker(_) => "breaker",
        }
    }

    /// `trigger_status.waiting_on`.
    fn waiting_on(&self) -> &str {
        match self {
            Self::Slot(key) => key,
            Self::Rate => "rate",
            Self::Credential(code) => code.as_str(),
            Self::Breaker(origin) => origin,
        }
    }
}

/// What to look for, and for how many there are places.
#[derive(Clone, Debug)]
pub struct Look {
    /// The instant by which rows are ready, expired, late.
    pub now: UnixMillis,
    /// Whether to ask what the table holds at all, or only to go on with the wants.
    pub survey: bool,
    /// Triggers that have places, in the order in which they are served.
    pub wants: Vec<Want>,
    /// Places by origin, shared by the wants that name them.
    pub places: Vec<usize>,
    /// Places for firings that are held (long polling), shared by all.
    pub held_places: usize,
    /// Triggers whose credential is shut: their ready rows are told so, the first [`HELD_AT_ONCE`] of them.
    pub held_back: Vec<(String, Code)>,
    /// Whether to list every row in `triggering` (after a commit whose end was not known).
    pub list_triggering: bool,
    /// A ready row is worth one step of priority more each time that it has waited so long; zero: it is not.
    pub ageing: Duration,
}

/// Ready rows of a trigger that one look tells of its shut credential. The others stand behind them, and the table
/// `trigger_status` tells of all.
pub const HELD_AT_ONCE: usize = 500;

/// What a row is told whose trigger's credential is shut.
const fn held_message(code: Code) -> &'static str {
    match code {
        Code::CredentialUnavailable => {
            "the secret of the trigger's credential cannot be read: waits until it can"
        }
        _ => "the credential of the trigger was refused: waits until it works",
    }
}

/// A trigger whose rows may be fired.
#[derive(Clone, Debug)]
pub struct Want {
    /// The trigger.
    pub trigger: Arc<Trigger>,
    /// Index into [`Look::places`].
    pub origin: usize,
    /// At most this many rows.
    pub limit: usize,
    /// At most this many of the origin's places.
    pub ordinary: usize,
    /// At most this many of the places for held firings.
    pub held: usize,
}

/// A commit that may not have happened.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: Error,
    /// What was to be stored.
    pub batch: Batch,
}

/// What a commit brought.
#[derive(Debug, Default)]
pub struct Committed {
    /// Changes that found their row in another state: nothing of them was stored.
    pub lost: Vec<i64>,
    /// Rows that are now `triggering`, as they were before, in the order to fire them.
    pub intended: Vec<Taken>,
    /// Triggers that may have more ready rows than were taken.
    pub hungry: Vec<String>,
    /// Triggers whose ready rows wait for a time.
    pub waits: Vec<(String, HeldBy, UnixMillis)>,
    /// Whether ready rows were met and put out of the way: behind them there may be others.
    pub parked: bool,
    /// When there is more to do by time alone, that only the store knows of.
    pub wake_at: Option<UnixMillis>,
    /// What the survey found, if one was asked for.
    pub survey: Option<Survey>,
    /// Whether others have committed since the last survey.
    pub foreign: bool,
    /// All rows in `triggering` before the new intents, if asked for.
    pub triggering: Vec<i64>,
    /// Rows that were bad and were ended as `rejected`, with what is wrong.
    pub rejected: Vec<(i64, String)>,
    /// Those of [`Batch::spoiled`] that were still with the far end, and are `uncertain` now.
    pub spoiled: Vec<i64>,
    /// Triggers that have a request more to fire, since others have ended.
    pub released: Vec<String>,
    /// Rows that have ended as `cancelled`, since others have ended as they did; with why.
    pub cancelled: Vec<(i64, String)>,
    /// Whether there is more to follow from ends than was done: a survey goes on with it.
    pub more: bool,
}

/// What is wrong around the table although it may well be read and written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// There is no room: what has come back is to be stored, and nothing new begun.
    pub is_full: bool,
    /// For people, one text each.
    pub notes: Vec<String>,
}

/// What the table holds besides ready rows.
#[derive(Debug, Default)]
pub struct Survey {
    /// Requests whose end is due: cancelled, expired, late.
    pub ending: Vec<Taken>,
    /// Requests to be cancelled whose firing is under way.
    pub cancelling: Vec<i64>,
    /// Whether there are more of those than were listed.
    pub more: bool,
    /// Requests that others have made `polling` or `collecting`: to be followed from now on. Told until they are taken over,
    /// since the answer to a commit may be lost.
    pub handed_over: Vec<Waiting>,
    /// How many requests are `uncertain`, up to [`MANY_UNCERTAIN`].
    pub uncertain: usize,
    /// When to survey again, if nothing happens before.
    pub next: Option<UnixMillis>,
    /// When there is next something to settle of schedules, which may be now.
    pub timetable: Option<UnixMillis>,
}

/// More uncertain requests than this are not counted: somebody should look long before.
pub const MANY_UNCERTAIN: usize = 1000;

/// What was settled of schedules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Requests that were inserted.
    pub requests: Vec<ScheduledRequest>,
    /// Whether running requests are to be cancelled for them.
    pub cancels: bool,
    /// Times that got no request since the table refused it: the schedule, and why.
    pub refused: Vec<(String, String)>,
    /// Schedules that cannot be used, and why.
    pub problems: Vec<(String, String)>,
    /// When there is next something to settle, which may be now; none: never, as things are.
    pub next: Option<UnixMillis>,
}

/// A request that a schedule has inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledRequest {
    /// `requests.id`.
    pub id: i64,
    /// Its schedule.
    pub schedule_name: String,
    /// Its trigger.
    pub trigger_name: String,
    /// The time that it is for.
    pub scheduled_at: UnixMillis,
    /// When it may be fired.
    pub run_at: UnixMillis,
}

/// A row, checked, in the hands of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// The name of its trigger.
    pub trigger_name: String,
    /// Where it stands.
    pub invocation: Invocation,
    /// What goes on the wire; arguments only while it is pending.
    pub request: Request,
    /// Whose limits it shares with others.
    pub concurrency_key: Option<String>,
    /// `due_at` as it is in the row.
    pub due_at: Option<UnixMillis>,
}

/// Rows that were asked for by id.
#[derive(Debug, Default, PartialEq)]
pub struct Loaded {
    /// Those that can be read.
    pub rows: Vec<Taken>,
    /// Those that cannot, while they are with the far end: nothing can be done for them.
    pub spoiled: Vec<Spoiled>,
}

/// A row that somebody has made unreadable while the daemon was at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoiled {
    /// `requests.id`.
    pub id: i64,
    /// Its trigger, if that can be read.
    pub trigger_name: Option<String>,
    /// What is wrong: `column: rule`.
    pub problem: String,
    /// When it was seen.
    pub seen_at: UnixMillis,
}

/// A row that waits for its next poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// `requests.id`.
    pub id: i64,
    /// When to ask.
    pub due_at: UnixMillis,
    /// The name of its trigger.
    pub trigger_name: String,
}

/// How long what has ended is kept; `None`: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// `succeeded`.
    pub succeeded: Option<Duration>,
    /// `dispatched`.
    pub dispatched: Option<Duration>,
    /// `failed`, `rejected`, `expired`, `cancelled`.
    pub others: Option<Duration>,
    /// `uncertain` requests that nobody settled.
    pub uncertain: Option<Duration>,
    /// Outputs, whose requests may stay.
    pub outputs: Option<Duration>,
}

impl Retention {
    /// The same in two: of requests, and of outputs alone.
    fn apart(self) -> (Self, Self) {
        let outputs = Self { outputs: self.outputs, ..Self::default() };
        (Self { outputs: None, ..self }, outputs)
    }

    /// For each state that is not kept for ever: what ended at or before this instant goes.
    fn cutoffs(&self, now: UnixMillis) -> impl Iterator<Item = (&'static str, UnixMillis)> {
        let kept = [
            ("succeeded", self.succeeded),
            ("dispatched", self.dispatched),
            ("failed", self.others),
            ("rejected", self.others),
            ("expired", self.others),
            ("cancelled", self.others),
        ];
        kept.into_iter().filter_map(move |(state, kept)| Some((state, before(now, kept?))))
    }
}

/// The instant `kept` before `now`.
fn before(now: UnixMillis, kept: Duration) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX)))
}

/// The most rows that one commit of [`Store::prune`] should delete of each kind: a commit stays short.
pub const PRUNED_AT_ONCE: u64 = 500;
/// Between two commits of a long clean-up: others write in the meantime.
pub const PRUNE_PAUSE: Duration = Duration::from_millis(50);

/// What became of a commit that deletes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Rows that went.
    pub rows: u64,
    /// Whether there may be more to do: the pass has not come through the whole table.
    pub more: bool,
}

/// What a start finds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The installation's name, made once with the database.
    pub instance_id: String,
    /// This start's number.
    pub epoch: i64,
    /// Rows in which the last daemon died while firing. Their firings fill the first slots of the flight record, in
    /// this order, as if [`Store::note_firing`] had just been told of them.
    pub interrupted: Vec<i64>,
    /// Rows that the last daemon was about to fire when it died; the flight record says that their firings never left.
    pub unsent: Vec<i64>,
    /// Rows to be polled.
    pub waiting: Vec<Waiting>,
}

/// The table, as the engine uses it.
pub trait Store: Clone + Send + Sync + 'static {
    /// Registers a start of the daemon and its triggers, and tells what it must resume.
    fn start(
        &self,
        triggers: Vec<Arc<Trigger>>,
        now: UnixMillis,
    ) -> impl Future<Output = Result<Recovered, Error>> + Send;

    /// Makes the table `triggers` say what the configuration says. `paused` stays as it is.
    fn register(&self, triggers: Vec<Arc<Trigger>>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Stores all of a batch, or nothing. The batch comes back with an error (but [`Error::Ended`]), to be tried again:
    /// after an error it is not known whether it was stored, and writing it again is harmless, since each write is guarded.
    fn commit(&self, batch: Batch) -> impl Future<Output = Result<Committed, Box<Failed>>> + Send;

    /// Reads rows by id, as they are committed now. Rows that are gone are left out.
    fn load(&self, ids: Vec<i64>, now: UnixMillis) -> impl Future<Output = Result<Loaded, Error>> + Send;

    /// Deletes some of what has ended and is past its time, at most `limit` rows of each kind, in one commit. One pass is as many
    /// calls as there is more to do, with whatever limits; the next one begins anew. Without room nothing is deleted.
    fn prune(
        &self,
        retention: Retention,
        now: UnixMillis,
        limit: u64,
    ) -> impl Future<Output = Result<Deleted, Error>> + Send;

    /// Makes the tables of schedules and calendars say what the configuration says, if that is given, and settles the times of
    /// schedules that have come, some at once.
    fn settle(
        &self,
        plans: Option<Arc<Plans>>,
        now: UnixMillis,
    ) -> impl Future<Output = Result<Settled, Error>> + Send;

    /// Whether others have committed since the last survey.
    fn changed(&self) -> impl Future<Output = Result<bool, Error>> + Send;

    /// What is wrong around the table, as of its last answer.
    fn condition(&self) -> Condition {
        Condition::default()
    }

    /// Ends when others may have committed; a hint, which may be wrong or missing.
    fn hint(&self) -> impl Future<Output = ()> + Send;

    /// Notes that a firing leaves now: if this process dies before its end is stored, it is in doubt. The slot is one of
    /// no other firing, until the end is stored. Called right before the first byte goes out, so it must not wait.
    ///
    /// # Errors
    /// When it cannot be noted, and the next start would take the firing for one that was never sent: it must not leave.
    fn note_firing(&self, slot: usize, id: i64, attempt: u32) -> Result<(), Error>;
}
