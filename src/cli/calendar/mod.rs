//! `triggerd calendar`: what may be typed, and what its verbs share.

mod check;
mod import;
mod show;

use std::io::Read as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;
use jiff::{Span, Timestamp, tz::TimeZone};
use triggerd::clock::{Clock, SystemClock};
use triggerd::config;
use triggerd::queue::console::Console;
use triggerd::schedule::Zone;
use triggerd::schedule::files::{self, Read};

use super::failure::{self, Failure, NOT_WELL, USAGE};
use super::verdict;

#[derive(Debug, Subcommand)]
pub(crate) enum Calendar {
    /// Give a calendar the dates of a file, and no others; make it if it is not there
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(Import),
    /// List the calendars, or show one with its dates
    Show(Show),
    /// Read a file and say what it would import; needs no database
    Check(Check),
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  triggerd calendar import holidays holidays-2026.csv --zone Europe/Berlin
  curl -s https://example.org/bavaria.ics | triggerd calendar import bavaria -";

#[derive(Args, Debug)]
pub(crate) struct Import {
    /// The calendar's name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    source: Source,
    /// Whose dates they are, such as Europe/Berlin; without it they are those of each schedule's own zone
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    zone: Option<String>,
    /// A line for people
    #[arg(long, value_name = "TEXT", value_parser = verdict::one_line)]
    description: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The calendar's name; without it all are listed
    #[arg(value_name = "NAME", required_if_eq("csv", "true"))]
    name: Option<String>,
    /// Print its dates as a file that `calendar import` and UiPath Orchestrator take
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print one JSON object, or one a line
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    source: Source,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Source {
    /// The file: CSV with a column ExcludedDate, or iCalendar; - is standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// What it is, where its beginning does not tell
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Csv,
    Ical,
}

pub(crate) async fn run(file: Option<&Path>, verb: Calendar) -> Result<(), Failure> {
    match verb {
        Calendar::Import(verb) => import::run(file, &verb).await,
        Calendar::Show(verb) => show::run(file, &verb).await,
        Calendar::Check(verb) => check::run(&verb),
    }
}

async fn open(file: Option<&Path>) -> Result<Console, Failure> {
    Ok(Console::open(&config::load(file)?.database.path).await?)
}

/// What to say of a calendar that is not there.
pub(crate) async fn unknown(console: &mut Console, name: &str) -> Result<Failure, Failure> {
    let all = console.calendars().await?;
    let names: Vec<_> = all.iter().filter_map(|row| row.text("name").map(str::to_owned)).collect();
    let none = "make one with `triggerd calendar import`, or configure one";
    Ok(Failure::new(NOT_WELL, failure::unknown("calendar", name, &names, none)))
}

fn zone(text: &str) -> Result<String, String> {
    Zone::parse(text).map(|zone| zone.name().to_owned()).map_err(|problem| problem.to_string())
}

impl Source {
    /// What the file says; inside, every problem that it has.
    fn read(&self) -> Result<Result<Read, Vec<String>>, Failure> {
        let format = self.format.map(|format| match format {
            Format::Csv => files::Format::Csv,
            Format::Ical => files::Format::ICalendar,
        });
        let text =
            self.text().map_err(|error| Failure::new(USAGE, format!("{}: {error}", self.file.display())))?;
        Ok(files::read(&text, format, &horizon()))
    }

    /// No more of it than shows that it is too much.
    fn text(&self) -> std::io::Result<Vec<u8>> {
        let most = u64::try_from(files::LARGEST_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        let mut text = Vec::new();
        if self.file == Path::new("-") {
            std::io::stdin().lock().take(most).read_to_end(&mut text)?;
        } else {
            std::fs::File::open(&self.file)?.take(most).read_to_end(&mut text)?;
        }
        Ok(text)
    }
}

/// Where events that repeat are written out: from a year ago to ten years ahead.
fn horizon() -> RangeInclusive<Date> {
    let now = Timestamp::from_millisecond(SystemClock.now().0).unwrap_or(Timestamp::UNIX_EPOCH);
    let today = now.to_zoned(TimeZone::UTC).date();
    today.saturating_sub(Span::new().years(1))..=today.saturating_add(Span::new().years(10))
}

/// Up to when events that repeat are written out, where the format has any. A note says so where there are such.
fn written_out(read: &Read) -> Option<Date> {
    (read.format == files::Format::ICalendar).then(|| *horizon().end())
}

/// `12 dates, 2026-01-01 to 2026-12-26`
fn summary(read: &Read) -> String {
    let count = read.dates.len();
    let plural = if count == 1 { "" } else { "s" };
    let range = match (read.dates.first(), read.dates.last()) {
        (Some(first), Some(last)) => format!(", {first} to {last}"),
        _ => String::new(),
    };
    format!("{count} date{plural}{range}")
}

/// What a person should know besides.
fn notes(read: &Read) -> String {
    read.notes.iter().map(|note| format!("note: {}\n", super::print::plain(note))).collect()
}
