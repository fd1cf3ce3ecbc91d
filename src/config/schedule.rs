//! `[schedules.NAME]`: what fires by the clock, checked so far that the scheduler has nothing to refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use config::{Map, Value, ValueKind};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};

use super::calendar::{Calendars, check_name, zone};
use super::json;
use super::section::{Section, duration, integer, text};
use crate::clock::UnixMillis;
use crate::request::CallMode;
use crate::schedule::{DstGap, DstOverlap, Expression, Instants, Misfire, OnExcluded, Overlap, Plan, Zone};
use crate::trigger::Trigger;

/// What a schedule may name, and what holds where it says nothing.
pub(super) struct Surroundings<'c> {
    pub(super) defaults: &'c Map<String, Value>,
    /// Those that are sound.
    pub(super) triggers: &'c BTreeMap<String, Arc<Trigger>>,
    /// Those that are there.
    pub(super) trigger_names: &'c BTreeSet<String>,
    pub(super) calendars: &'c Calendars,
    pub(super) now: UnixMillis,
}

/// By name, and what is to be warned of.
pub(super) fn read_all(section: Section<'_>, of: &Surroundings<'_>) -> (Vec<Plan>, Vec<String>) {
    let mut warnings = Vec::new();
    let read = |(name, section): (String, _)| read(&name, section, of, &mut warnings);
    let plans = section.named().into_iter().map(read).collect();
    (plans, warnings)
}

/// With problems the plan is complete but must not be used: the caller refuses the whole configuration.
fn read(name: &str, mut section: Section<'_>, of: &Surroundings<'_>, warnings: &mut Vec<String>) -> Plan {
    check_name(name, &section);
    let moves = section.says("on_excluded");
    section.fill(of.defaults);
    let mut plan = Plan::new(name, "", "", "UTC");
    let trigger = section.require("trigger", |value| trigger(value, of));
    let expression = section.require("expression", expression);
    if !section.says("time_zone") {
        let rule = "is missing: name the zone whose clock it goes by, such as \"Europe/Berlin\"; \"UTC\" has to be said too";
        section.problem("time_zone", rule);
    }
    let zone = section.take("time_zone", zone);
    let sound = trigger.as_ref().and_then(|name| of.triggers.get(name));
    set(&mut plan.arguments, section.take("arguments", |value| arguments(value, sound.map(Arc::as_ref))));
    plan.call_mode = section.take("call_mode", spelled(&CallMode::ALL.map(CallMode::as_str)));
    set(&mut plan.priority, section.take("priority", priority));
    plan.calendar = section.take("calendar", |value| calendar(value, of.calendars));
    set(
        &mut plan.on_excluded,
        section.take("on_excluded", spelled(&OnExcluded::ALL.map(OnExcluded::as_str))),
    );
    plan.starts_at = section.take("starts_at", |value| instant(value, zone.as_ref()));
    plan.ends_at = section.take("ends_at", |value| instant(value, zone.as_ref()));
    set(&mut plan.overlap, section.take("overlap", spelled(&Overlap::ALL.map(Overlap::as_str))));
    set(&mut plan.misfire, section.take("misfire", spelled(&Misfire::ALL.map(Misfire::as_str))));
    set(&mut plan.catch_up_window, section.take("catch_up_window", duration));
    set(&mut plan.max_catch_up, section.take("max_catch_up", integer(1..=10_000)).map(to_u32));
    set(&mut plan.dst_gap, section.take("dst_gap", spelled(&DstGap::ALL.map(DstGap::as_str))));
    set(
        &mut plan.dst_overlap,
        section.take("dst_overlap", spelled(&DstOverlap::ALL.map(DstOverlap::as_str))),
    );
    set(&mut plan.jitter, section.take("jitter", jitter));
    if section.says("disable_after") {
        disable_after(section.table("disable_after"), &mut plan);
    } else {
        // It is known all the same.
        section.take("disable_after", |_| Ok(()));
    }
    plan.description = section.take("description", |value| text(value).map(str::to_owned));

    let complete = expression.is_some() && zone.is_some();
    plan.trigger_name = trigger.unwrap_or_default();
    plan.expression = expression.unwrap_or_default();
    plan.time_zone = zone.map_or_else(String::new, |zone| zone.name().to_owned());
    if complete {
        judge(&plan, &section, moves, of, warnings);
    }
    section.finish();
    plan
}

/// Whether its parts go together, and whether it ever fires.
fn judge(plan: &Plan, section: &Section<'_>, moves: bool, of: &Surroundings<'_>, warnings: &mut Vec<String>) {
    let mut warn = |key: &str, warning: &str| {
        warnings.push(format!("schedules.{}.{key}: {warning}", plan.name));
    };
    let calendar = plan.calendar.as_ref().and_then(|name| of.calendars.known.get(name));
    match plan.timetable(calendar.cloned(), of.now) {
        Err(conflict) => {
            let (key, rule) = conflict.split_once(": ").unwrap_or(("expression", &conflict));
            section.problem(key, rule);
        }
        Ok(_) if plan.ends_at.is_some_and(|end| end <= of.now) => {
            warn("ends_at", "is past: the schedule fires no more");
        }
        Ok(timetable) if timetable.never_fires(of.now) => {
            warn(
                "expression",
                "names no time in the next 50 years, with the calendar and the end as they are",
            );
        }
        Ok(_) => {}
    }
    if moves && plan.calendar.is_none() {
        warn("on_excluded", "has no effect without a calendar");
    }
}

fn trigger(value: &Value, of: &Surroundings<'_>) -> Result<String, String> {
    let name = text(value)?;
    if of.trigger_names.contains(name) {
        Ok(name.to_owned())
    } else {
        Err(format!("there is no [triggers.{name}]"))
    }
}

fn calendar(value: &Value, known: &Calendars) -> Result<String, String> {
    let name = text(value)?;
    if known.known.contains_key(name) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "there is no [calendars.{name}]; a calendar that is only in the database is for schedules that are only there"
    ))
}

fn expression(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    // As it was written: the daemon puts the words beside it.
    Expression::parse(text).map(|_| text.to_owned()).map_err(|problem| problem.to_string())
}

/// As the text of a JSON object. No value is repeated: it may be a secret.
fn arguments(value: &Value, trigger: Option<&Trigger>) -> Result<String, String> {
    let ValueKind::Table(table) = &value.kind else {
        return Err("must be a table, argument name to value".to_owned());
    };
    if table.contains_key("$callMode") {
        return Err("must not have $callMode, which the daemon adds: use the key call_mode".to_owned());
    }
    if !is_finite(value) {
        return Err("must not have inf or nan, for which JSON has no word".to_owned());
    }
    let text = json::from_value(value).to_string();
    match trigger {
        Some(Trigger { max_arguments, name, .. })
            if u64::try_from(text.len()).unwrap_or(u64::MAX) > *max_arguments =>
        {
            Err(format!(
                "has {} bytes as JSON, above max_arguments of trigger {name}, which is {max_arguments}",
                text.len()
            ))
        }
        _ => Ok(text),
    }
}

fn is_finite(value: &Value) -> bool {
    match &value.kind {
        ValueKind::Float(number) => number.is_finite(),
        ValueKind::Array(values) => values.iter().all(is_finite),
        ValueKind::Table(table) => table.values().all(is_finite),
        _ => true,
    }
}

fn priority(value: &Value) -> Result<i64, String> {
    match value.kind {
        ValueKind::I64(priority @ -100..=100) => Ok(priority),
        _ => Err("must be a whole number from -100 to 100".to_owned()),
    }
}

fn jitter(value: &Value) -> Result<std::time::Duration, String> {
    const MOST: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    duration(value).and_then(
        |jitter| {
            if jitter <= MOST { Ok(jitter) } else { Err("must be at most 24h".to_owned()) }
        },
    )
}

/// When it is paused by itself.
fn disable_after(mut section: Section<'_>, plan: &mut Plan) {
    let counted = section.says("launches") || section.says("faults");
    let times = || integer(1..=1_000_000);
    plan.disable_after_launches = section.take("launches", times()).map(to_u32);
    plan.disable_after_faults = section.take("faults", times()).map(to_u32);
    set(&mut plan.disable_grace, section.take("grace", duration));
    if !counted {
        section.fault("must say launches, faults or both: how many in a row");
    }
    section.finish();
}

/// An instant with its offset, or what the clock of the schedule's zone shows then; a date alone is its first instant.
fn instant(value: &Value, zone: Option<&Zone>) -> Result<UnixMillis, String> {
    const RULE: &str = "must be a date such as 2026-01-31 or a time such as 2026-01-31T08:00:00, by the schedule's time_zone, \
                        or one with an offset such as 2026-01-31T08:00:00+01:00";
    let text = text(value).map_err(|_| RULE)?;
    // The parsers take more than that, such as a zone in brackets.
    if !text.bytes().all(|b| b.is_ascii_digit() || b"-:+.TtZz ".contains(&b)) {
        return Err(RULE.to_owned());
    }
    let at = if let Ok(instant) = text.parse::<Timestamp>() {
        UnixMillis(instant.as_millisecond())
    } else {
        let date = text.parse::<Date>().ok().filter(|date| date.to_string() == text);
        let local =
            text.parse::<DateTime>().ok().filter(|_| date.is_some() || text.contains(':')).ok_or(RULE)?;
        // Without a zone there is another problem already.
        match (zone.map_or(Zone::utc().instants(local), |zone| zone.instants(local)), date) {
            (Instants::Unambiguous(at), _) | (Instants::Gap(at) | Instants::Fold(at, _), Some(_)) => {
                // Zones know whole seconds.
                UnixMillis(at.0 + i64::from(local.millisecond()))
            }
            (Instants::Gap(_), None) => {
                return Err("is a time that the clock jumps over: write it with its offset".to_owned());
            }
            (Instants::Fold(..), None) => {
                return Err("is a time that the clock shows twice: write it with its offset".to_owned());
            }
        }
    };
    // The digits that the tables take.
    if (1_000_000_000_000..=9_999_999_999_999).contains(&at.0) {
        Ok(at)
    } else {
        Err("must be from 2001-09-10 to 2286-11-20".to_owned())
    }
}

/// One of a few spellings, which are those of SQL.
fn spelled<T: FromStr>(spellings: &[&'static str]) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let known = text(value).ok().and_then(|text| text.parse().ok());
        known.ok_or_else(|| format!("must be one of {}", spellings.join(", ")))
    }
}

/// Keeps the default where there is no value, or a bad one.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
