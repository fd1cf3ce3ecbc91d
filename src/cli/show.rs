//! `triggerd show`: all there is to know of one request.

use std::path::Path;

use serde::ser::{Serialize, Serializer};
use triggerd::config;
use triggerd::queue::console::{Cell, Console, Shown};

use super::failure::{Failure, NOT_WELL, no_request};
use super::print::{self, Json};

pub(crate) async fn run(file: Option<&Path>, verb: &super::Show) -> Result<(), Failure> {
    let config = config::load(file)?;
    let mut console = Console::open(&config.database.path).await?;
    let Some(shown) = console.show(verb.id).await? else {
        return Err(Failure::new(NOT_WELL, no_request(verb.id)));
    };
    print::out(if verb.json { print::json(&Whole(&shown))? } else { text(&shown) })
}

/// What is known, a line each, under the names that SQL has for it; then the firings; then the output.
fn text(shown: &Shown) -> String {
    let known = shown.request.0.iter().filter(|(column, cell)| column != "output" && *cell != Cell::Null);
    let rows: Vec<Vec<_>> =
        known.map(|(column, cell)| vec![column.clone(), print::cell(column, cell)]).collect();
    let mut text = String::new();
    let width = rows.iter().map(|row| row[0].len()).max().unwrap_or(0);
    for row in &rows {
        text.push_str(&format!("{:width$}  {}\n", row[0], row[1]));
    }
    if let Some(first) = shown.attempts.first() {
        let headers: Vec<_> = first.0.iter().map(|(column, _)| column.to_uppercase()).collect();
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let cells = |(column, cell): &(String, Cell)| print::cell(column, cell);
        let rows: Vec<Vec<_>> =
            shown.attempts.iter().map(|record| record.0.iter().map(cells).collect()).collect();
        text.push_str(&format!("\n{}", print::table(&headers, &rows)));
    }
    match shown.request.get("output") {
        Cell::Text(output) => {
            text.push_str("\noutput:\n");
            output.lines().for_each(|line| text.push_str(&format!("{}\n", print::plain(line))));
        }
        Cell::Bytes(_) => text.push_str("\noutput: binary, not shown\n"),
        _ => {}
    }
    text
}

/// The columns of the request, and `attempts`.
struct Whole<'s>(&'s Shown);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Parts<'s> {
            #[serde(flatten)]
            request: Json<'s>,
            attempts: Vec<Json<'s>>,
        }
        let attempts = self.0.attempts.iter().map(Json).collect();
        Parts { request: Json(&self.0.request), attempts }.serialize(serializer)
    }
}
