//! `triggerd schedule backfill`: requests for times that have passed without one.

use std::path::Path;

use serde::Serialize;
use triggerd::clock::UnixMillis;
use triggerd::queue::console::{Asked, Console, Filled, Filling, Schedule};
use triggerd::schedule::{Timetable, Zone};

use super::{find, now, open, unknown};
use crate::cli::failure::{Failure, NOT_WELL, USAGE};
use crate::cli::{print, verdict};

/// More are a mistake, or a job of its own.
const MOST: usize = 10_000;
/// How far the times of a mistake are counted.
const COUNTED: usize = 1_000_000;
/// Written at once: no producer and no daemon waits long for the lock.
const AT_ONCE: usize = 500;

#[derive(Serialize)]
struct Line<'l> {
    scheduled_at: i64,
    local: String,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    already: Option<&'static str>,
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Backfill) -> Result<(), Failure> {
    let mut console = open(file).await?;
    let name = &verb.name;
    let schedule = find(&mut console, name).await?;
    let timetable = match &schedule.timetable {
        Ok(timetable) => timetable.clone(),
        Err(problem) => return Err(Failure::new(NOT_WELL, format!("{name}: {problem}"))),
    };
    let zone = &timetable.definition().zone;
    let (from, to) = (verb.from.at(zone)?, verb.to.at(zone)?);
    let times = times(&schedule, &timetable, from, to)?;
    let mut done = Told::default();
    let mut previous = None;
    for some in times.chunks(AT_ONCE) {
        let filled = match fill(&mut console, &schedule, some, previous, verb.dry_run).await {
            Ok(filled) => filled,
            Err(mut failure) => {
                let left = times.len() - done.times;
                failure
                    .lines
                    .push(format!("nothing was done for the last {left} of {}: say it again", times.len()));
                return Err(failure);
            }
        };
        // The chain of those that wait for one another.
        previous = filled.iter().rev().find_map(open_request).or(previous);
        done.tell(&filled, zone, verb.json)?;
    }
    if !verb.json {
        let what = if verb.dry_run { "would be inserted" } else { "inserted" };
        print::out(format!("{what}: {} of {}\n", done.inserted, times.len()))?;
    }
    if done.inserted > 0 && !verb.dry_run { verdict::mind_the_daemon(&mut console).await } else { Ok(()) }
}

/// The times of `[from, to)`, all of them settled.
fn times(
    schedule: &Schedule,
    timetable: &Timetable,
    from: UnixMillis,
    to: UnixMillis,
) -> Result<Vec<UnixMillis>, Failure> {
    let now = now();
    let zone = &timetable.definition().zone;
    if to <= from {
        return Err(Failure::new(USAGE, "--to must be after --from"));
    }
    if to > now {
        let line = format!(
            "--to: {} has not come yet: coming times are the daemon's; now it is {}",
            zone.local(to),
            zone.local(now)
        );
        return Err(Failure::new(NOT_WELL, line));
    }
    let settled = schedule.settled(now);
    let (mut times, mut count, mut last) = (Vec::new(), 0, UnixMillis(from.0 - 1));
    while let Some(at) = timetable.next_after(last).filter(|at| *at < to) {
        if at > settled {
            let line = format!(
                "--to: {} is not settled yet: the daemon sees to it by `misfire`, once it runs; --to may be that time at most",
                zone.local(at)
            );
            return Err(Failure::new(NOT_WELL, line));
        }
        count += 1;
        if count <= MOST {
            times.push(at);
        } else if count == COUNTED {
            break;
        }
        last = at;
    }
    if count > MOST {
        let more = if count == COUNTED { "at least " } else { "" };
        let line = format!(
            "the schedule has {more}{count} times from {} to {}: {MOST} are taken at once; say it in parts",
            zone.local(from),
            zone.local(to)
        );
        return Err(Failure::new(NOT_WELL, line));
    }
    Ok(times)
}

async fn fill(
    console: &mut Console,
    schedule: &Schedule,
    times: &[UnixMillis],
    previous: Option<i64>,
    dry_run: bool,
) -> Result<Vec<Filled>, Failure> {
    let name = schedule.row.text("name").unwrap_or_default();
    match console.backfill(schedule, times, previous, dry_run).await? {
        Asked::Done(filled) => Ok(filled),
        Asked::Not(problem) => Err(Failure::new(NOT_WELL, format!("{name}: {problem}"))),
        Asked::Unknown(names) => Err(Failure::new(NOT_WELL, unknown(name, &names))),
    }
}

fn open_request(filled: &Filled) -> Option<i64> {
    match &filled.fate {
        Filling::Inserted(id) => Some(*id),
        _ => None,
    }
}

/// What was said so far.
#[derive(Default)]
struct Told {
    times: usize,
    inserted: usize,
}

impl Told {
    fn tell(&mut self, filled: &[Filled], zone: &Zone, json: bool) -> Result<(), Failure> {
        let mut text = String::new();
        for time in filled {
            self.times += 1;
            self.inserted += usize::from(matches!(time.fate, Filling::Inserted(_) | Filling::Missing));
            let local = zone.local(time.at).to_string();
            if json {
                text.push_str(&print::json(&line(time, local))?);
                continue;
            }
            let said = match &time.fate {
                Filling::Inserted(id) => format!("request {id}"),
                Filling::Missing => "would be inserted".to_owned(),
                Filling::Has(id, state) => format!("has request {id} ({state}) already"),
                Filling::Gone => "was fired already; its request has been deleted".to_owned(),
            };
            text.push_str(&format!("{local}  {}\n", print::plain(&said)));
        }
        print::out(text)
    }
}

fn line(time: &Filled, local: String) -> Line<'_> {
    let (done, id, state, already) = match &time.fate {
        Filling::Inserted(id) => (true, Some(*id), Some("pending"), None),
        Filling::Missing => (false, None, None, None),
        Filling::Has(id, state) => (false, Some(*id), Some(state.as_str()), Some("inserted")),
        Filling::Gone => (false, None, None, Some("deleted")),
    };
    Line { scheduled_at: time.at.0, local, done, id, state, already }
}
