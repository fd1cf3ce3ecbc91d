//! `triggerd pause` and `triggerd resume`: whether a trigger may be fired.

use std::path::Path;

use serde::Serialize;
use triggerd::config;
use triggerd::queue::console::{Console, Paused, Record};

use super::failure::{self, Failure, NOT_WELL};
use super::{print, verdict};

#[derive(Serialize)]
struct Done<'t> {
    trigger: &'t str,
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
    let mut console = Console::open(&config::load(file)?.database.path).await?;
    let paused = console.pause(&verb.trigger, verb.reason.as_deref()).await?;
    report(&verb.trigger, &paused, Some(verb.reason.as_deref()), verb.json)?;
    verdict::mind_the_daemon(&mut console).await
}

pub(crate) async fn resume(file: Option<&Path>, verb: &super::Resume) -> Result<(), Failure> {
    let mut console = Console::open(&config::load(file)?.database.path).await?;
    let resumed = console.resume(&verb.trigger).await?;
    report(&verb.trigger, &resumed, None, verb.json)?;
    verdict::mind_the_daemon(&mut console).await
}

/// `reason`: none if it was resumed.
fn report(trigger: &str, result: &Paused, reason: Option<Option<&str>>, json: bool) -> Result<(), Failure> {
    let mut done =
        Done { trigger, done: true, paused: None, paused_reason: None, already: None, error: None };
    let text = match result {
        Paused::Unknown(names) => {
            let none = "configure one, then run `triggerd migrate`";
            let error = failure::unknown("trigger", trigger, names, none);
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
            say(trigger, before, reason, already)
        }
    };
    print::out(if json { print::json(&done)? } else { format!("{}\n", print::plain(&text)) })
}

fn say(trigger: &str, before: &Record, reason: Option<Option<&str>>, already: bool) -> String {
    let mut text = match reason {
        Some(reason) => {
            let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            let was = if already { ", as it was before" } else { "" };
            format!(
                "{trigger} paused{why}{was}: not fired until `triggerd resume {trigger}`; what it fired is polled on"
            )
        }
        None if already => format!("{trigger} was not paused"),
        None => format!("{trigger} resumed: what waits is fired"),
    };
    if before.int("active") != Some(1) {
        text.push_str("; it is not in the configuration, so its requests wait in any case");
    }
    text
}
