//! Schedules, inside the writer's transaction: each time that has come becomes a request, or a row that says why not.
//!
//! A time and its request are stored together, and `last_at` only moves forward, so that no time is settled twice whatever
//! dies in between; the index requests_scheduled stands behind that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::primary_code;
use super::statements::{
    TIMETABLE_CALENDAR, TIMETABLE_CALENDARS, TIMETABLE_CANCEL, TIMETABLE_DATES, TIMETABLE_DUE,
    TIMETABLE_EVENT, TIMETABLE_INSERT, TIMETABLE_MARK, TIMETABLE_NEXT, TIMETABLE_OPEN, TIMETABLE_PROBLEM,
    TIMETABLE_RECALENDAR, TIMETABLE_SEEN, TIMETABLE_SETTLED, TIMETABLE_TAKEN, TIMETABLE_TRIGGER, json,
};
use crate::clock::UnixMillis;
use crate::queue::console::{Cell, Record};
use crate::queue::{ScheduledRequest, Settled, timetable};
use crate::schedule::{Calendar, Fate, Overlap, Plan, Timetable};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Schedules that one commit sees to, and requests that it inserts: it stays short.
const AT_ONCE: i64 = 100;
const REQUESTS_AT_ONCE: usize = 200;
/// Of the times that a calendar or the clock leaves out between two that fire, so many are told.
const LEFT_OUT: usize = 50;
/// What cannot be settled although it is due is looked at again after this.
const STUCK: Duration = Duration::from_secs(30);
/// SQLITE_CONSTRAINT.
const CONSTRAINT: i64 = 19;

/// What became of a time.
struct Event<'a> {
    nominal_at: Option<UnixMillis>,
    last_at: Option<UnixMillis>,
    times: u32,
    event: &'static str,
    reason: &'a str,
    note: Option<String>,
    request_id: Option<i64>,
}

impl<'a> Event<'a> {
    fn new(at: Option<UnixMillis>, event: &'static str, reason: &'a str) -> Self {
        Self { nominal_at: at, last_at: None, times: 1, event, reason, note: None, request_id: None }
    }

    fn about(self, request_id: i64) -> Self {
        Self { request_id: Some(request_id), ..self }
    }

    fn because(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

/// One look at the schedules: what is read once for all of them.
struct Round<'c> {
    c: &'c mut SqliteConnection,
    calendars: HashMap<String, std::result::Result<Arc<Calendar>, String>>,
    /// When the daemon began to look.
    since: UnixMillis,
    now: UnixMillis,
    /// Requests that may still be inserted.
    left: usize,
    /// Whether there was more to insert.
    is_cut: bool,
    out: Settled,
}

/// When there is next something to settle; none: never, as things are.
pub(super) async fn next(c: &mut SqliteConnection) -> Result<Option<UnixMillis>> {
    next_after(c, UnixMillis(-1)).await
}

async fn next_after(c: &mut SqliteConnection, at: UnixMillis) -> Result<Option<UnixMillis>> {
    let at: Option<i64> = sqlx::query(TIMETABLE_NEXT).bind(at.0).fetch_one(c).await?.try_get(0)?;
    Ok(at.map(UnixMillis))
}

/// Settles the times that have come. `since`: see [`Plan::settle`].
pub(super) async fn settle(c: &mut SqliteConnection, since: UnixMillis, now: UnixMillis) -> Result<Settled> {
    let mut round = Round {
        c,
        calendars: HashMap::new(),
        since,
        now,
        left: REQUESTS_AT_ONCE,
        is_cut: false,
        out: Settled::default(),
    };
    round.see_calendars().await?;
    let due = sqlx::query(TIMETABLE_DUE).bind(now.0).bind(AT_ONCE).fetch_all(&mut *round.c).await?;
    for row in &due {
        if round.left == 0 {
            round.is_cut = true;
            break;
        }
        round.see_to(row).await?;
    }
    round.out.next = next(round.c).await?;
    let is_through = i64::try_from(due.len()).is_ok_and(|due| due < AT_ONCE);
    if is_through && !round.is_cut && round.out.next.is_some_and(|at| at <= now) {
        // What is due still cannot be settled: somebody has spoiled its row. It must not be looked at all the time, nor keep the
        // others waiting.
        round.out.next = next_after(round.c, now).await?.into_iter().chain([now.plus(STUCK)]).min();
    }
    Ok(round.out)
}

impl Round<'_> {
    /// Schedules of calendars that have changed are due.
    async fn see_calendars(&mut self) -> Result<()> {
        for row in sqlx::query(TIMETABLE_CALENDARS).fetch_all(&mut *self.c).await? {
            let record = Record::read(&row)?;
            let (Some(name), Some(revision)) = (record.text("name"), record.int("revision")) else {
                continue;
            };
            let problem = self.calendar(name).await?.err();
            sqlx::query(TIMETABLE_RECALENDAR).bind(name.to_owned()).execute(&mut *self.c).await?;
            let query = sqlx::query(TIMETABLE_SEEN).bind(name.to_owned()).bind(revision);
            query.bind(problem).execute(&mut *self.c).await?;
        }
        Ok(())
    }

    async fn calendar(&mut self, name: &str) -> Result<std::result::Result<Arc<Calendar>, String>> {
        if let Some(known) = self.calendars.get(name) {
            return Ok(known.clone());
        }
        let row = sqlx::query(TIMETABLE_CALENDAR).bind(name.to_owned()).fetch_optional(&mut *self.c).await?;
        let calendar = match row {
            Some(row) => {
                let dates =
                    sqlx::query(TIMETABLE_DATES).bind(name.to_owned()).fetch_all(&mut *self.c).await?;
                let dates = dates.iter().map(Record::read).collect::<Result<Vec<_>>>()?;
                timetable::calendar(&Record::read(&row)?, &dates).map(Arc::new)
            }
            None => Err("is not in the table calendars".to_owned()),
        };
        self.calendars.insert(name.to_owned(), calendar.clone());
        Ok(calendar)
    }

    async fn see_to(&mut self, row: &SqliteRow) -> Result<()> {
        let record = Record::read(row)?;
        let name = record.text("name").unwrap_or_default().to_owned();
        match self.understand(&record).await? {
            Ok((plan, timetable)) => self.settle(&record, &plan, &timetable).await,
            Err(problem) => {
                let query = sqlx::query(TIMETABLE_PROBLEM).bind(name.clone()).bind(problem.clone());
                query.execute(&mut *self.c).await?;
                self.out.problems.push((name, problem));
                Ok(())
            }
        }
    }

    async fn understand(
        &mut self,
        record: &Record,
    ) -> Result<std::result::Result<(Plan, Timetable), String>> {
        let plan = match timetable::plan(record) {
            Ok(plan) => plan,
            Err(problem) => return Ok(Err(problem)),
        };
        let calendar = match &plan.calendar {
            Some(name) => match self.calendar(name).await? {
                Ok(calendar) => Some(calendar),
                Err(problem) => return Ok(Err(format!("calendar: {name}: {problem}"))),
            },
            None => None,
        };
        if !matches!(record.get("last_at"), Cell::Null | Cell::Int(_)) {
            return Ok(
                Err("last_at: is not an INTEGER: delete the schedule, and insert it again".to_owned()),
            );
        }
        let created_at = timetable::created_at(record);
        Ok(created_at.and_then(|at| plan.timetable(calendar, at)).map(|timetable| (plan, timetable)))
    }

    async fn settle(&mut self, record: &Record, plan: &Plan, timetable: &Timetable) -> Result<()> {
        let created_at = record.int("created_at").unwrap_or_default();
        let last = UnixMillis(record.int("last_at").unwrap_or(created_at));
        let mut settlement = plan.settle(timetable, last, self.since, self.now);
        if settlement.fires.len() > self.left {
            // The rest comes with the next commit, which goes on behind the last of these.
            settlement.next = settlement.fires.get(self.left).map(|(at, _)| *at);
            settlement.fires.truncate(self.left);
            settlement.last = settlement.fires.last().map(|(at, _)| *at);
            self.is_cut = true;
        }
        self.left -= settlement.fires.len();
        if let Some(until) = settlement.last {
            let missed = settlement.missed.iter().map(|missed| missed.times as usize);
            let times = settlement.fires.len() + missed.sum::<usize>();
            self.tell_left_out(plan, timetable, (last, until), times).await?;
        }
        for missed in &settlement.missed {
            let event = Event::new(Some(missed.first), "missed", missed.why.as_str());
            let event =
                Event { last_at: missed.last.filter(|_| missed.times > 1), times: missed.times, ..event };
            let event = match missed.last {
                Some(_) => event,
                None => event.because(format!("at least {} times", missed.times)),
            };
            self.tell(plan, event).await?;
        }
        let mut last_request = None;
        if !settlement.fires.is_empty() {
            let mut open = self.open(plan).await?;
            for (at, made_up) in &settlement.fires {
                if let Some(id) = self.fire(plan, *at, *made_up, &mut open).await? {
                    last_request = Some(id);
                }
            }
        }
        let words = timetable.definition().expression.describe();
        let query = sqlx::query(TIMETABLE_SETTLED).bind(plan.name.clone());
        let query = query.bind(settlement.last.map(|at| at.0)).bind(settlement.next.map(|at| at.0));
        query.bind(words).bind(last_request).execute(&mut *self.c).await?;
        Ok(())
    }

    /// Requests of the schedule that have not ended, the newest first, each with whether it is uncertain.
    async fn open(&mut self, plan: &Plan) -> Result<Vec<(i64, bool)>> {
        let query = sqlx::query(TIMETABLE_OPEN).bind(plan.name.clone()).bind(self.now.0);
        let rows = query.fetch_all(&mut *self.c).await?;
        let row = |row: &SqliteRow| {
            let record = Record::read(row)?;
            Ok((record.int("id").unwrap_or_default(), record.text("state") == Some("uncertain")))
        };
        rows.iter().map(row).collect()
    }

    /// A request for a time, if none is in its way.
    async fn fire(
        &mut self,
        plan: &Plan,
        at: UnixMillis,
        made_up: bool,
        open: &mut Vec<(i64, bool)>,
    ) -> Result<Option<i64>> {
        let taken = sqlx::query(TIMETABLE_TAKEN).bind(plan.name.clone()).bind(at.0);
        if let Some(row) = taken.fetch_optional(&mut *self.c).await? {
            let event = Event::new(Some(at), "skipped", "taken").about(row.try_get(0)?);
            self.tell(plan, event.because("this time has its request already")).await?;
            return Ok(None);
        }
        let after = match self.make_way(plan, open).await? {
            Way::Free => None,
            Way::Behind(id) => Some(id),
            Way::Blocked(id) => {
                let event = Event::new(Some(at), "skipped", "overlap").about(id);
                let is_uncertain = open.iter().any(|(open, uncertain)| *open == id && *uncertain);
                let event = match is_uncertain {
                    true => event.because(format!("request {id} is uncertain: see triggerd resolve")),
                    false => event.because(format!("request {id} has not ended")),
                };
                self.tell(plan, event).await?;
                return Ok(None);
            }
        };
        let id = match self.insert(plan, plan.run_at(at), after).await? {
            Ok(id) => id,
            Err(why) => {
                self.out.refused.push((plan.name.clone(), why.clone()));
                self.tell(plan, Event::new(Some(at), "skipped", "refused").because(why)).await?;
                return Ok(None);
            }
        };
        let query = sqlx::query(TIMETABLE_MARK).bind(id).bind(plan.name.clone()).bind(at.0);
        query.execute(&mut *self.c).await?;
        let reason = if made_up { "caught_up" } else { "due" };
        self.tell(plan, Event::new(Some(at), "fired", reason).about(id)).await?;
        open.insert(0, (id, false));
        self.out.requests.push(ScheduledRequest {
            id,
            schedule_name: plan.name.clone(),
            trigger_name: plan.trigger_name.clone(),
            scheduled_at: at,
            run_at: plan.run_at(at),
        });
        Ok(Some(id))
    }

    /// What the policy for overlaps makes of those that have not ended.
    async fn make_way(&mut self, plan: &Plan, open: &[(i64, bool)]) -> Result<Way> {
        let Some((newest, _)) = open.first().copied() else { return Ok(Way::Free) };
        Ok(match plan.overlap {
            Overlap::Allow => Way::Free,
            Overlap::Skip => Way::Blocked(newest),
            Overlap::QueueOne if open.len() > 1 => Way::Blocked(newest),
            Overlap::QueueOne | Overlap::QueueAll => Way::Behind(newest),
            Overlap::CancelRunning => {
                let running: Vec<i64> = open.iter().map(|(id, _)| *id).collect();
                sqlx::query(TIMETABLE_CANCEL).bind(json(&running)).execute(&mut *self.c).await?;
                self.out.cancels = true;
                Way::Behind(newest)
            }
        })
    }

    /// The request, or why it is refused: the trigger or the schema may be other ones than when the schedule was written down.
    async fn insert(
        &mut self,
        plan: &Plan,
        run_at: UnixMillis,
        after: Option<i64>,
    ) -> Result<std::result::Result<i64, String>> {
        let trigger = &plan.trigger_name;
        let row = sqlx::query(TIMETABLE_TRIGGER).bind(trigger.clone()).fetch_optional(&mut *self.c).await?;
        let Some(record) = row.as_ref().map(Record::read).transpose()? else {
            return Ok(Err(format!("there is no trigger {trigger}")));
        };
        if record.int("active") != Some(1) {
            return Ok(Err(format!("the trigger {trigger} has left the configuration")));
        }
        let most = record.int("max_arguments").unwrap_or(i64::MAX);
        if i64::try_from(plan.arguments.len()).unwrap_or(i64::MAX) > most {
            return Ok(Err(format!("the arguments have more bytes than max_arguments of {trigger}, {most}")));
        }
        let query = sqlx::query(TIMETABLE_INSERT).bind(trigger.clone()).bind(plan.arguments.clone());
        let query = query.bind(plan.call_mode.map(|mode| mode.as_str())).bind(plan.priority);
        match query.bind(run_at.0).bind(after).execute(&mut *self.c).await {
            Ok(done) => Ok(Ok(done.last_insert_rowid())),
            // Only the statement is undone by it.
            Err(error) if primary_code(&error) == Some(CONSTRAINT) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Times up to `until` that the calendar or a change of the clock leaves out, among so many others.
    async fn tell_left_out(
        &mut self,
        plan: &Plan,
        timetable: &Timetable,
        (last, until): (UnixMillis, UnixMillis),
        times: usize,
    ) -> Result<()> {
        if plan.calendar.is_none() && timetable.definition().expression.is_interval() {
            return Ok(());
        }
        for entry in timetable.forecast(last, times.min(LEFT_OUT)).into_iter().take(2 * LEFT_OUT) {
            if let Fate::LeftOut(reason) = entry.fate
                && entry.at.is_none_or(|at| at <= until)
            {
                let event = Event::new(entry.at, "skipped", reason.as_str());
                self.tell(plan, event.because(entry.local)).await?;
            }
        }
        Ok(())
    }

    async fn tell(&mut self, plan: &Plan, event: Event<'_>) -> Result<()> {
        let query = sqlx::query(TIMETABLE_EVENT).bind(plan.name.clone());
        let query = query.bind(event.nominal_at.map(|at| at.0)).bind(event.last_at.map(|at| at.0));
        let query = query.bind(event.times).bind(event.event).bind(event.reason.to_owned()).bind(event.note);
        query.bind(event.request_id).bind(self.now.0).execute(&mut *self.c).await?;
        Ok(())
    }
}

/// Where a new request of a schedule goes.
enum Way {
    /// Nowhere near the others.
    Free,
    /// After this one has ended.
    Behind(i64),
    /// This one is in its way.
    Blocked(i64),
}
