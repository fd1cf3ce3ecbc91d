//! How a trigger of the emulator behaves, and where that is said: a request's own word beats its trigger's, which beats
//! the defaults. All three have the same keys.

use std::time::Duration;

use ::config::{Value, ValueKind};
use bytes::Bytes;

use super::trouble::Trouble;
use crate::config::json;
use crate::config::section::{Problems, Section, boolean, duration, integer, one_of, text, wait};
use crate::request::CallMode;
use crate::serving::manners::{FaultBody, Manners, RetryAfter, RetryAfterForm, RunningBody};

/// All that may be turned.
#[derive(Clone, Debug)]
pub struct Knobs {
    /// The mode of calls that name none.
    pub call_mode: CallMode,
    /// How long a job takes.
    pub duration: Duration,
    /// How it ends.
    pub end: Ending,
    /// The JSON text of its output; none: its arguments.
    pub output: Option<Bytes>,
    /// Whether a repeated Idempotency-Key is answered by the job that it made.
    pub deduplicate: bool,
    /// Whether links lead to the portal, if there is one.
    pub portal_links: bool,
    /// What servers may do differently.
    pub manners: Manners,
    /// What goes wrong.
    pub trouble: Vec<Trouble>,
}

/// How a job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an output.
    Success,
    /// By an error of its own.
    Fault,
    /// It was asked to stop.
    Stopped,
    /// It was ended from outside.
    Killed,
    /// Not at all.
    Suspended,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            call_mode: CallMode::AsyncRequestReply,
            duration: Duration::from_secs(2),
            end: Ending::Success,
            output: None,
            deduplicate: false,
            portal_links: true,
            manners: Manners::default(),
            trouble: Vec::new(),
        }
    }
}

impl Knobs {
    /// These knobs as a request's argument `emulate` turns them.
    ///
    /// # Errors
    /// Every problem.
    pub(super) fn turned(&self, emulate: &serde_json::Value) -> Result<Self, Vec<String>> {
        let problems = Problems::new("the arguments".to_owned());
        let mut section = Section::new("emulate", json::to_value(emulate), &problems);
        let knobs = self.read(&mut section);
        section.finish();
        let problems = problems.into_vec();
        if problems.is_empty() { Ok(knobs) } else { Err(problems) }
    }

    /// These knobs as `section` turns them: its keys are `call_mode` and those of [`Knobs::read`].
    pub(super) fn configured(&self, section: &mut Section<'_>) -> Self {
        let modes = CallMode::ALL.map(|mode| (mode.as_str(), mode));
        let call_mode = section.take("call_mode", one_of(&modes)).unwrap_or(self.call_mode);
        Self { call_mode, ..self.read(section) }
    }

    fn read(&self, section: &mut Section<'_>) -> Self {
        let mut knobs = self.clone();
        let manners = &mut knobs.manners;
        let endings = [
            ("success", Ending::Success),
            ("fault", Ending::Fault),
            ("stopped", Ending::Stopped),
            ("killed", Ending::Killed),
            ("suspended", Ending::Suspended),
        ];
        let fault_bodies = [("job_error", FaultBody::JobError), ("message", FaultBody::Message)];
        let running_bodies =
            [("object", RunningBody::Object), ("empty", RunningBody::Empty), ("state", RunningBody::State)];
        set(&mut knobs.duration, section.take("duration", duration));
        set(&mut knobs.end, section.take("end", one_of(&endings)));
        if let Some(output) = section.take("output", |value| Ok(json::from_value(value))) {
            knobs.output = Some(Bytes::from(output.to_string()));
        }
        set(&mut manners.fault_status, section.take("fault_status", fault_status));
        set(&mut manners.fault_body, section.take("fault_body", one_of(&fault_bodies)));
        set(&mut manners.running_body, section.take("running_body", one_of(&running_bodies)));
        set(&mut manners.hold, section.take("hold", duration));
        set(&mut manners.sync_cap, section.take("sync_cap", wait));
        set(&mut manners.link_expiry, section.take("link_expiry", or_none("never")));
        set(&mut manners.redirect_status, section.take("redirect_status", redirect_status));
        manners.retry_after = retry_after(section, manners.retry_after);
        set(&mut manners.fresh_links, section.take("fresh_links", boolean));
        set(&mut manners.single_use_links, section.take("single_use_links", boolean));
        set(&mut manners.relative_location, section.take("relative_location", boolean));
        set(&mut manners.require_bearer_on_status, section.take("require_bearer_on_status", boolean));
        set(&mut knobs.portal_links, section.take("portal_links", boolean));
        set(&mut knobs.deduplicate, section.take("deduplicate", boolean));
        set(&mut knobs.trouble, Trouble::list(section));
        knobs
    }
}

/// The keys `retry_after` and `retry_after_form`, over what holds without them.
pub(super) fn retry_after(section: &mut Section<'_>, base: Option<RetryAfter>) -> Option<RetryAfter> {
    let forms = [("seconds", RetryAfterForm::Seconds), ("date", RetryAfterForm::Date)];
    let wait = section.take("retry_after", or_none("none"));
    let form = section.take("retry_after_form", one_of(&forms));
    let form = form.or(base.map(|base| base.form)).unwrap_or(RetryAfterForm::Seconds);
    let wait = wait.unwrap_or(base.map(|base| base.wait));
    wait.map(|wait| RetryAfter { wait, form })
}

fn set<T>(knob: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *knob = said;
    }
}

/// A duration, or the word for none.
fn or_none(word: &'static str) -> impl Fn(&Value) -> Result<Option<Duration>, String> {
    move |value| match text(value) {
        Ok(text) if text == word => Ok(None),
        _ => duration(value).map(Some).map_err(|rule| format!("{rule}; or \"{word}\"")),
    }
}

fn fault_status(value: &Value) -> Result<u16, String> {
    const RULE: &str = "must be 200, or from 400 to 599";
    let status = integer(200..=599)(value).map_err(|_| RULE)?;
    u16::try_from(status)
        .ok()
        .filter(|status| *status == 200 || *status >= 400)
        .ok_or_else(|| RULE.to_owned())
}

fn redirect_status(value: &Value) -> Result<u16, String> {
    match &value.kind {
        ValueKind::I64(302) => Ok(302),
        ValueKind::I64(303) => Ok(303),
        _ => Err("must be 303 or 302".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_turns_what_it_names_and_nothing_else() {
        let base = Knobs { duration: Duration::from_secs(9), deduplicate: true, ..Knobs::default() };
        let knobs = base
            .turned(&json!({
                "end": "fault", "fault_status": 500, "output": {"b": [1, null], "a": "x"}, "hold": "10ms",
                "link_expiry": "never", "retry_after": "3s", "retry_after_form": "date", "redirect_status": 302,
            }))
            .unwrap();
        assert_eq!((knobs.duration, knobs.deduplicate), (Duration::from_secs(9), true));
        assert_eq!(knobs.output.as_deref(), Some(&br#"{"a":"x","b":[1,null]}"#[..]));
        assert_eq!((knobs.end, knobs.manners.fault_status), (Ending::Fault, 500));
        assert_eq!((knobs.manners.hold, knobs.manners.redirect_status), (Duration::from_millis(10), 302));
        let wait = RetryAfter { wait: Duration::from_secs(3), form: RetryAfterForm::Date };
        assert_eq!(knobs.manners.retry_after, Some(wait));
        let none = knobs.turned(&json!({"retry_after": "none"})).unwrap();
        assert_eq!(none.manners.retry_after, None);
        assert_eq!(none.manners.hold, knobs.manners.hold);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let wrong = json!({
            "duration": 5, "end": "well", "fault_status": 303, "fault_body": "x", "running_body": "x", "hold": "5",
            "sync_cap": "0s", "link_expiry": "soon", "redirect_status": 307, "retry_after": "x",
            "retry_after_form": "x", "fresh_links": 1, "single_use_links": 1, "relative_location": 1,
            "require_bearer_on_status": 1, "portal_links": 1, "deduplicate": 1, "trouble": 1, "call_mode": "LongPolling",
        });
        let problems = Knobs::default().turned(&wrong).unwrap_err();
        for key in wrong.as_object().unwrap().keys() {
            let named = format!("the arguments: emulate.{key}: ");
            assert!(problems.iter().any(|problem| problem.starts_with(&named)), "{key}: {problems:?}");
        }
        assert_eq!(problems.len(), 19);
        for no_table in [json!(null), json!("x"), json!([])] {
            assert_eq!(
                Knobs::default().turned(&no_table).unwrap_err(),
                ["the arguments: emulate: must be a table"]
            );
        }
    }
}
