//! `triggerd schedule run-now`: a request of a schedule, by hand.

use std::path::Path;

use triggerd::queue::console::Asked;

use super::{open, unknown};
use crate::cli::failure::{Failure, NOT_WELL};
use crate::cli::submit;

pub(crate) async fn run(file: Option<&Path>, verb: &super::RunNow) -> Result<(), Failure> {
    let mut console = open(file).await?;
    let name = &verb.name;
    match console.run_schedule(name).await? {
        Asked::Done(id) => submit::tell(&mut console, id, verb.wait, verb.json).await,
        Asked::Not(problem) => Err(Failure::new(NOT_WELL, format!("{name}: {problem}"))),
        Asked::Unknown(names) => Err(Failure::new(NOT_WELL, unknown(name, &names))),
    }
}
