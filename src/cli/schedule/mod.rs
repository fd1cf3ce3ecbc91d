//! `triggerd schedule`: what may be typed, and what its verbs share.

mod backfill;
mod list;
mod next;
mod pause;
mod run_now;
mod show;

use std::path::Path;

use clap::{Args, Subcommand};
use triggerd::clock::{Clock, SystemClock, UnixMillis};
use triggerd::config;
use triggerd::queue::console::{self, Console};
use triggerd::schedule::{DstGap, DstOverlap, OnExcluded};

use super::failure::{self, Failure, NOT_WELL};
use super::verdict;

#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// List schedules: what they fire, when, and how they stand
    List(List),
    /// Show all there is to know of one schedule, and what became of its times
    Show(Show),
    /// Say when a schedule will fire, and why not at other times; or try an expression
    #[command(after_help = NEXT_EXAMPLES)]
    Next(Next),
    /// Insert a request of a schedule now, beside its times
    RunNow(RunNow),
    /// Keep a schedule from firing
    Pause(Pause),
    /// Let a paused schedule fire again; what came due meanwhile is forgotten
    Resume(Resume),
    /// Insert requests for times that have passed without one
    #[command(after_help = BACKFILL_EXAMPLES)]
    Backfill(Backfill),
}

const NEXT_EXAMPLES: &str = "\
Examples:
  triggerd schedule next nightly -n 10
  triggerd schedule next --expression '0 7 * * MON-FRI' --zone Europe/Berlin
  triggerd schedule next --expression '30 2 * * *' --zone Europe/Berlin --from 2026-10-24";

const BACKFILL_EXAMPLES: &str = "\
Examples:
  triggerd schedule backfill nightly --from 2026-01-01 --to 2026-02-01 --dry-run
  triggerd schedule backfill nightly --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z";

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The schedule's name
    #[arg(value_name = "NAME")]
    name: String,
    /// The last N things that became of its times
    #[arg(long, value_name = "N", default_value_t = 10)]
    events: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[command(
    override_usage = "triggerd schedule next [OPTIONS] <NAME>\n       triggerd schedule next [OPTIONS] --expression <TEXT> --zone <ZONE>"
)]
pub(crate) struct Next {
    /// The schedule's name
    #[arg(value_name = "NAME", required_unless_present = "expression", conflicts_with = "expression")]
    name: Option<String>,
    /// So many times
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// After this time instead of from now: as `submit --at`, or local in the schedule's zone
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    from: Option<When>,
    /// Instead of a schedule: this expression; needs no database
    #[arg(long, value_name = "TEXT", requires = "zone")]
    expression: Option<String>,
    /// With --expression: the time zone, such as Europe/Berlin, or UTC
    #[arg(long, value_name = "ZONE", requires = "expression")]
    zone: Option<String>,
    /// With --expression: leave out the dates of this calendar of the database
    #[arg(long, value_name = "CALENDAR", requires = "expression")]
    calendar: Option<String>,
    /// With --calendar: skip, next_working_day or previous_working_day
    #[arg(long, value_name = "HOW", requires = "calendar")]
    on_excluded: Option<OnExcluded>,
    /// With --expression: run_after or skip
    #[arg(long, value_name = "HOW", requires = "expression")]
    dst_gap: Option<DstGap>,
    /// With --expression: first or both
    #[arg(long, value_name = "HOW", requires = "expression")]
    dst_overlap: Option<DstOverlap>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RunNow {
    /// The schedule's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Follow the request to its end and print its output (the id goes to standard error)
    #[arg(long)]
    wait: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Pause {
    /// The schedule's name
    #[arg(value_name = "NAME")]
    name: String,
    /// A line for those who wonder
    #[arg(long, value_name = "TEXT", value_parser = verdict::one_line)]
    reason: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Resume {
    /// The schedule's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Backfill {
    /// The schedule's name
    #[arg(value_name = "NAME")]
    name: String,
    /// The first time that counts: as `submit --at`, or local in the schedule's zone: 2026-01-31, "2026-01-31 08:00"
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    from: When,
    /// The time before which it ends; not later than what the daemon has settled
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    to: When,
    /// Only say what would be inserted
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(file: Option<&Path>, verb: Schedule) -> Result<(), Failure> {
    match verb {
        Schedule::List(verb) => list::run(file, &verb).await,
        Schedule::Show(verb) => show::run(file, &verb).await,
        Schedule::Next(verb) => next::run(file, &verb).await,
        Schedule::RunNow(verb) => run_now::run(file, &verb).await,
        Schedule::Pause(verb) => pause::pause(file, &verb).await,
        Schedule::Resume(verb) => pause::resume(file, &verb).await,
        Schedule::Backfill(verb) => backfill::run(file, &verb).await,
    }
}

pub(super) use crate::cli::when::When;

async fn open(file: Option<&Path>) -> Result<Console, Failure> {
    Ok(Console::open(&config::load(file)?.database.path).await?)
}

/// The schedule of a name, or the end of the verb.
async fn find(console: &mut Console, name: &str) -> Result<console::Schedule, Failure> {
    console.schedule(name).await?.map_err(|names| Failure::new(NOT_WELL, unknown(name, &names)))
}

fn unknown(name: &str, names: &[String]) -> String {
    failure::unknown("schedule", name, names, "insert one into the table schedules, or configure one")
}

/// How a schedule stands.
fn state(schedule: &console::Schedule, now: UnixMillis) -> &'static str {
    let timetable = schedule.timetable.as_ref();
    match () {
        () if schedule.row.int("active") != Some(1) => "left the configuration",
        () if problem(schedule).is_some() => "problem",
        () if schedule.row.int("paused") == Some(1) => "paused",
        () if timetable.is_ok_and(|timetable| timetable.never_fires(begin(schedule, now))) => "ended",
        () => "active",
    }
}

/// Why it cannot be used: what we find, else what the daemon found.
fn problem(schedule: &console::Schedule) -> Option<&str> {
    schedule.timetable.as_ref().err().map(String::as_str).or_else(|| schedule.row.text("problem"))
}

/// From when its coming times are counted.
fn begin(schedule: &console::Schedule, now: UnixMillis) -> UnixMillis {
    schedule.row.int("last_at").map_or(now, |last| now.max(UnixMillis(last)))
}

/// The next time, of a schedule that is not kept from firing.
fn next(schedule: &console::Schedule, now: UnixMillis) -> Option<UnixMillis> {
    let timetable = schedule.timetable.as_ref().ok().filter(|_| state(schedule, now) == "active")?;
    timetable.next_after(begin(schedule, now))
}

fn now() -> UnixMillis {
    SystemClock.now()
}
