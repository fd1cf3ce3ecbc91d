//! `triggerd list`: the newest requests.

use std::path::Path;

use triggerd::config;
use triggerd::queue::console::{Console, Filter};

use super::failure::Failure;
use super::print::{self, Json};

const COLUMNS: [(&str, &str); 7] = [
    ("ID", "id"),
    ("TRIGGER", "trigger_name"),
    ("STATE", "state"),
    ("ATTEMPT", "attempt"),
    ("CREATED", "created_at"),
    ("FINISHED", "finished_at"),
    ("ERROR", "error_code"),
];

pub(crate) async fn run(file: Option<&Path>, verb: super::List) -> Result<(), Failure> {
    let config = config::load(file)?;
    let mut console = Console::open(&config.database.path).await?;
    let filter = Filter { state: verb.state, trigger_name: verb.trigger, limit: verb.limit };
    let records = console.list(&filter).await?;
    if verb.json {
        let lines = records.iter().map(|record| print::json(&Json(record)));
        return print::out(lines.collect::<Result<String, Failure>>()?);
    }
    if records.is_empty() {
        print::note("no such requests");
        return Ok(());
    }
    let rows: Vec<Vec<_>> = records
        .iter()
        .map(|record| COLUMNS.iter().map(|(_, column)| print::cell(column, record.get(column))).collect())
        .collect();
    print::out(print::table(&COLUMNS.map(|(header, _)| header), &rows))
}
