//! Schedules, for the command line: their rows, what these mean, and what an operator does to them.

use std::sync::Arc;

use sqlx::SqliteConnection;

use super::calendars::calendar;
use super::{Cell, Console, Error, Paused, Record, records};
use crate::clock::UnixMillis;
use crate::queue::timetable;
use crate::schedule::{Overlap, Plan, Timetable};

/// A schedule as it is in the table.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Its columns, and `last_state`: that of its last request.
    pub row: Record,
    /// What it says; or what is wrong with it.
    pub plan: Result<Plan, String>,
    /// When it fires; or why that is not known.
    pub timetable: Result<Timetable, String>,
}

impl Schedule {
    /// Up to when its times are settled, so that the daemon sees to none of them any more. What comes due while it is
    /// paused is never fired: to resume it forgets that.
    #[must_use]
    pub fn settled(&self, now: UnixMillis) -> UnixMillis {
        let last = self.row.int("last_at").or_else(|| self.row.int("created_at")).map_or(now, UnixMillis);
        if self.row.int("paused") == Some(1) { last.max(now) } else { last }
    }
}

/// What came of what was asked of one schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked<T> {
    /// This.
    Done(T),
    /// It cannot be done, for this reason.
    Not(String),
    /// There is no such schedule; these there are.
    Unknown(Vec<String>),
}

/// What a backfill made of one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Filled {
    /// The time.
    pub at: UnixMillis,
    /// What became of it.
    pub fate: Filling,
}

/// What became of a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Filling {
    /// This request was inserted.
    Inserted(i64),
    /// One would be.
    Missing,
    /// This request is there already, in this state.
    Has(i64, String),
    /// It was fired, and retention has deleted the request.
    Gone,
}

impl Console {
    /// All schedules, by name.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn schedules(&mut self) -> Result<Vec<Schedule>, Error> {
        let read = async |connection: &mut SqliteConnection| {
            let rows =
                records(connection, include_str!("../sqlite/console_schedules.sql"), &[Cell::Null]).await?;
            let mut schedules = Vec::new();
            for row in rows {
                schedules.push(understand(connection, row).await?);
            }
            Ok(schedules)
        };
        self.read(read).await
    }

    /// One schedule; else the names of those that there are.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn schedule(&mut self, name: &str) -> Result<Result<Schedule, Vec<String>>, Error> {
        self.read(async |connection| schedule(connection, name).await).await
    }

    /// The last things that became of its times, newest first.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn schedule_events(&mut self, name: &str, limit: u32) -> Result<Vec<Record>, Error> {
        let values = [Cell::Text(name.to_owned()), Cell::Int(limit.into())];
        self.records(include_str!("../sqlite/console_schedule_events.sql"), &values).await
    }

    /// Keeps a schedule from firing, or lets it fire again. What it was before comes back.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn pause_schedule(
        &mut self,
        name: &str,
        paused: bool,
        reason: Option<&str>,
    ) -> Result<Paused, Error> {
        let text = |text: &str| Cell::Text(text.to_owned());
        let values = [text(name), Cell::Int(paused.into()), reason.map_or(Cell::Null, text)];
        self.write(async |connection| {
            let before = match schedule(connection, name).await? {
                Ok(before) => before.row,
                Err(names) => return Ok(Paused::Unknown(names)),
            };
            records(connection, include_str!("../sqlite/console_schedule_pause.sql"), &values).await?;
            Ok(Paused::Done(before))
        })
        .await
    }

    /// Inserts a request of a schedule that is of none of its times, and gives its id.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the schema's own words, or what keeps the row from being stored.
    pub async fn run_schedule(&mut self, name: &str) -> Result<Asked<i64>, Error> {
        self.write(async |connection| {
            let plan = match schedule(connection, name).await? {
                Ok(schedule) => schedule.plan,
                Err(names) => return Ok(Asked::Unknown(names)),
            };
            let plan = match plan {
                Ok(plan) => plan,
                Err(problem) => return Ok(Asked::Not(problem)),
            };
            let id = insert(connection, &plan, None, "run_now", None).await?;
            let values = [Cell::Text(plan.name), Cell::Int(id)];
            records(connection, include_str!("../sqlite/console_schedule_last.sql"), &values).await?;
            Ok(Asked::Done(id))
        })
        .await
    }

    /// Inserts a request for each of `times` that has none yet and never had one, in order, in one commit. `seen` is the
    /// schedule to which these times belong; where it is another one by now, nothing is done. `previous`: the request after
    /// which the first one is worked off, where its requests wait for one another.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the schema's own words, or what keeps the rows from being stored: then none of them is.
    pub async fn backfill(
        &mut self,
        seen: &Schedule,
        times: &[UnixMillis],
        previous: Option<i64>,
        dry_run: bool,
    ) -> Result<Asked<Vec<Filled>>, Error> {
        let name = seen.row.text("name").unwrap_or_default().to_owned();
        if dry_run {
            let taken = self.read(async |connection| taken(connection, &name, times).await).await?;
            return Ok(Asked::Done(taken));
        }
        self.write(async |connection| {
            let now = match schedule(connection, &name).await? {
                Ok(schedule) => schedule,
                Err(names) => return Ok(Asked::Unknown(names)),
            };
            let (Ok(plan), true) = (&now.plan, now.timetable == seen.timetable) else {
                return Ok(Asked::Not(
                    "it was changed meanwhile: see `triggerd schedule show`, and say it again".to_owned(),
                ));
            };
            let queued = matches!(plan.overlap, Overlap::QueueOne | Overlap::QueueAll);
            let mut filled = taken(connection, &name, times).await?;
            let mut previous = previous;
            for time in &mut filled {
                match &time.fate {
                    Filling::Missing => {
                        let after = previous.filter(|_| queued);
                        let after = match after {
                            Some(id) if is_there(connection, id).await? => Some(id),
                            _ => None,
                        };
                        let id = insert(connection, plan, Some(time.at), "backfill", after).await?;
                        time.fate = Filling::Inserted(id);
                        previous = Some(id);
                    }
                    // Of an earlier run of this, perhaps: the chain goes on.
                    Filling::Has(id, state)
                        if matches!(state.as_str(), "pending" | "triggering" | "polling" | "collecting") =>
                    {
                        previous = Some(*id);
                    }
                    _ => {}
                }
            }
            Ok(Asked::Done(filled))
        })
        .await
    }
}

/// Reads one schedule; else the names of those that there are.
async fn schedule(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Result<Schedule, Vec<String>>, sqlx::Error> {
    let sql = include_str!("../sqlite/console_schedules.sql");
    if let Some(row) = records(connection, sql, &[Cell::Text(name.to_owned())]).await?.into_iter().next() {
        return understand(connection, row).await.map(Ok);
    }
    let all = records(connection, sql, &[Cell::Null]).await?;
    Ok(Err(all.iter().filter_map(|record| record.text("name").map(str::to_owned)).collect()))
}

async fn understand(connection: &mut SqliteConnection, row: Record) -> Result<Schedule, sqlx::Error> {
    let plan = timetable::plan(&row);
    let timetable = match &plan {
        Ok(plan) => timetable_of(connection, &row, plan).await?,
        Err(problem) => Err(problem.clone()),
    };
    Ok(Schedule { row, plan, timetable })
}

async fn timetable_of(
    connection: &mut SqliteConnection,
    row: &Record,
    plan: &Plan,
) -> Result<Result<Timetable, String>, sqlx::Error> {
    let calendar = match &plan.calendar {
        None => None,
        Some(name) => match calendar(connection, name).await? {
            Some(calendar) => match calendar.meaning {
                Ok(calendar) => Some(Arc::new(calendar)),
                Err(problem) => return Ok(Err(format!("calendar: {name} cannot be used: {problem}"))),
            },
            None => return Ok(Err(format!("calendar: there is no calendar {name}"))),
        },
    };
    Ok(timetable::created_at(row).and_then(|created_at| plan.timetable(calendar, created_at)))
}

/// Which of `times` have a request, or had one.
async fn taken(
    connection: &mut SqliteConnection,
    name: &str,
    times: &[UnixMillis],
) -> Result<Vec<Filled>, sqlx::Error> {
    let list: Vec<i64> = times.iter().map(|at| at.0).collect();
    let values = [Cell::Text(name.to_owned()), Cell::Text(format!("{list:?}"))];
    let rows = records(connection, include_str!("../sqlite/console_schedule_taken.sql"), &values).await?;
    let filled = rows.iter().map(|row| {
        let state = row.text("state").unwrap_or_default().to_owned();
        let fate = match (row.int("id"), row.int("fired")) {
            (Some(id), _) => Filling::Has(id, state),
            (None, Some(0)) => Filling::Missing,
            _ => Filling::Gone,
        };
        Filled { at: UnixMillis(row.int("nominal_at").unwrap_or_default()), fate }
    });
    Ok(filled.collect())
}

async fn is_there(connection: &mut SqliteConnection, id: i64) -> Result<bool, sqlx::Error> {
    let found = records(connection, include_str!("../sqlite/console_standing.sql"), &[Cell::Int(id)]).await?;
    Ok(!found.is_empty())
}

/// A request of the schedule, and the row that tells of it. In two statements, since no producer may insert one that is of a
/// schedule.
async fn insert(
    connection: &mut SqliteConnection,
    plan: &Plan,
    at: Option<UnixMillis>,
    reason: &'static str,
    after: Option<i64>,
) -> Result<i64, sqlx::Error> {
    let inserted = sqlx::query(include_str!("../sqlite/console_schedule_request.sql"))
        .bind(&plan.trigger_name)
        .bind(&plan.arguments)
        .bind(plan.call_mode.map(crate::request::CallMode::as_str))
        .bind(plan.priority)
        .bind(after)
        .execute(&mut *connection)
        .await?;
    let id = inserted.last_insert_rowid();
    let at = at.map_or(Cell::Null, |at| Cell::Int(at.0));
    let name = || Cell::Text(plan.name.clone());
    let values = [Cell::Int(id), name(), at.clone()];
    records(connection, include_str!("../sqlite/console_schedule_mark.sql"), &values).await?;
    let values = [name(), at, Cell::Text(reason.to_owned()), Cell::Int(id)];
    records(connection, include_str!("../sqlite/console_schedule_fired.sql"), &values).await?;
    Ok(id)
}
