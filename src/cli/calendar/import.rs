//! `triggerd calendar import`: a file in place of all dates of a calendar.

use std::path::Path;

use serde::Serialize;
use triggerd::queue::console::Imported;

use super::{notes, open, summary, written_out};
use crate::cli::failure::{Failure, NOT_WELL};
use crate::cli::print;

#[derive(Default, Serialize)]
struct Report<'r> {
    calendar: &'r str,
    done: bool,
    format: Option<String>,
    created: Option<bool>,
    dates: Option<usize>,
    new: Option<u64>,
    gone: Option<u64>,
    written_out_until: Option<String>,
    notes: Vec<String>,
    problems: Vec<String>,
}

pub(crate) async fn run(file: Option<&Path>, verb: &super::Import) -> Result<(), Failure> {
    let name = verb.name.as_str();
    let read = match verb.source.read()? {
        Ok(read) => read,
        Err(problems) => return refuse(verb, problems),
    };
    let mut console = open(file).await?;
    let imported =
        console.import(name, &read.dates, verb.zone.as_deref(), verb.description.as_deref()).await?;
    let Imported::Done { created, new, gone } = imported else {
        let problem = format!(
            "the calendar {name} is the configuration's: change [calendars.{name}] there and reload the daemon, or take \
             another name"
        );
        return refuse(verb, vec![problem]);
    };
    if verb.json {
        return print::out(print::json(&Report {
            calendar: name,
            done: true,
            format: Some(read.format.to_string()),
            created: Some(created),
            dates: Some(read.dates.len()),
            new: Some(new),
            gone: Some(gone),
            written_out_until: written_out(&read).map(|end| end.to_string()),
            notes: read.notes,
            problems: Vec::new(),
        })?);
    }
    let made = if created { " made" } else { "" };
    let text = format!("{name}{made}: {}; {new} new, {gone} gone\n", summary(&read));
    print::out(text + &notes(&read))
}

/// Nothing is half taken.
fn refuse(verb: &super::Import, problems: Vec<String>) -> Result<(), Failure> {
    if verb.json {
        print::out(print::json(&Report { calendar: &verb.name, problems, ..Report::default() })?)?;
        return Err(Failure::silent(NOT_WELL));
    }
    Err(Failure { code: NOT_WELL, lines: problems })
}
