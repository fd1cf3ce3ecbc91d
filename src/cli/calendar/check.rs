//! `triggerd calendar check`: what a file would import.

use serde::Serialize;
use triggerd::schedule::files::Read;

use super::{notes, summary, written_out};
use crate::cli::failure::{Failure, NOT_WELL};
use crate::cli::print;

#[derive(Default, Serialize)]
struct Report {
    ok: bool,
    format: Option<String>,
    dates: Vec<String>,
    written_out_until: Option<String>,
    notes: Vec<String>,
    problems: Vec<String>,
}

pub(crate) fn run(verb: &super::Check) -> Result<(), Failure> {
    let read = verb.source.read()?;
    if verb.json {
        print::out(print::json(&report(&read))?)?;
    }
    match read {
        Ok(_) if verb.json => Ok(()),
        Ok(read) => print::out(text(&read)),
        Err(_) if verb.json => Err(Failure::silent(NOT_WELL)),
        Err(lines) => Err(Failure { code: NOT_WELL, lines }),
    }
}

fn report(read: &Result<Read, Vec<String>>) -> Report {
    match read {
        Ok(read) => Report {
            ok: true,
            format: Some(read.format.to_string()),
            dates: read.dates.iter().map(ToString::to_string).collect(),
            written_out_until: written_out(read).map(|end| end.to_string()),
            notes: read.notes.clone(),
            problems: Vec::new(),
        },
        Err(problems) => Report { problems: problems.clone(), ..Report::default() },
    }
}

fn text(read: &Read) -> String {
    let mut text = format!("{}: {}\n", read.format, summary(read));
    for date in &read.dates {
        text.push_str(&format!("{date} {}\n", date.strftime("%A")));
    }
    text + &notes(read)
}
