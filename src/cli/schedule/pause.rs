//! `triggerd schedule pause` and `triggerd schedule resume`.

use std::path::Path;

use serde::Serialize;
use triggerd::queue::console::{Paused, Record};

use super::{open, unknown};
use crate::cli::failure::{Failure, NOT_WELL};
use crate::cli::print;

#[derive(Serialize)]
struct Done<'t> {
    schedule: &'t str,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_reason: Option<Option<&'t str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    already: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) async fn pause(file: Option<&Path>, verb: &super::Pause) -> Result<(), Failure> {
    let reason = verb.reason.as_deref();
    let paused = open(file).await?.pause_schedule(&verb.name, true, reason).await?;
    report(&verb.name, &paused, Some(reason), verb.json)
}

pub(crate) async fn resume(file: Option<&Path>, verb: &super::Resume) -> Result<(), Failure> {
    let resumed = open(file).await?.pause_schedule(&verb.name, false, None).await?;
    report(&verb.name, &resumed, None, verb.json)
}

/// `reason`: none if it was resumed.
fn report(name: &str, result: &Paused, reason: Option<Option<&str>>, json: bool) -> Result<(), Failure> {
    let mut done =
        Done { schedule: name, done: true, paused: None, paused_reason: None, already: None, error: None };
    let text = match result {
        Paused::Unknown(names) => {
            let error = unknown(name, names);
            if json {
                done = Done { done: false, error: Some(error), ..done };
                print::out(print::json(&done)?)?;
                return Err(Failure::silent(NOT_WELL));
            }
            return Err(Failure::new(NOT_WELL, error));
        }
        Paused::Done(before) => {
            let already = before.int("paused") == Some(i64::from(reason.is_some()));
            done.paused = Some(reason.is_some());
            done.paused_reason = Some(reason.flatten());
            done.already = Some(already);
            say(name, before, reason, already)
        }
    };
    print::out(if json { print::json(&done)? } else { format!("{}\n", print::plain(&text)) })
}

fn say(name: &str, before: &Record, reason: Option<Option<&str>>, already: bool) -> String {
    let mut text = match reason {
        Some(reason) => {
            let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            let was = if already { ", as it was before" } else { "" };
            format!("{name} paused{why}{was}: inserts nothing until `triggerd schedule resume {name}`")
        }
        None if already => format!("{name} was not paused"),
        None => format!("{name} resumed: what came due meanwhile is not made up for"),
    };
    if before.int("active") != Some(1) {
        text.push_str("; it has left the configuration, so it inserts nothing in any case");
    }
    text
}
