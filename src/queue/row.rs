//! Columns to values and back: the one place that fixes how a request is spelled, and that checks it.
//!
//! The schema checks rows in the producer, but whoever may write the file may switch that off. So nothing is believed
//! here: texts come as bytes, integers may be missing, and a bad row is told apart from its neighbours.

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use url::Url;

use super::Taken;
use crate::clock::UnixMillis;
use crate::invocation::{Code, Invocation, Memory, Outcome, Phase, Trouble};
use crate::request::{CallMode, Request};

/// A column as SQLite holds it, whatever its declared type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// NULL, or a value that was left out because it is too long.
    Null,
    /// An INTEGER.
    Int(i64),
    /// The bytes of a TEXT.
    Text(Vec<u8>),
    /// A REAL or a BLOB: nothing that belongs here.
    Other,
}

/// One row as it was read.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub id: i64,
    pub trigger_name: Cell,
    /// `Null` when the state is not pending, or when longer than the trigger allows.
    pub arguments: Cell,
    pub call_mode: Cell,
    pub priority: Cell,
    pub run_at: Cell,
    pub expires_at: Cell,
    pub deadline_at: Cell,
    pub traceparent: Cell,
    pub cancel_requested: Cell,
    pub state: Cell,
    pub round: Cell,
    pub attempt: Cell,
    pub due_at: Cell,
    pub status_uri: Cell,
    pub output_uri: Cell,
    pub effective_call_mode: Cell,
    pub polls: Cell,
    pub last_polled_at: Cell,
    pub http_status: Cell,
    pub error_code: Cell,
    pub error_message: Cell,
    pub created_at: Cell,
    pub started_at: Cell,
    pub accepted_at: Cell,
    pub progress: Cell,
    pub concurrency_key: Cell,
}

/// What is wrong with a row: `column: rule`.
type Problem = String;

impl Cell {
    fn text(&self, column: &str) -> Result<Option<&str>, Problem> {
        match self {
            Self::Null => Ok(None),
            Self::Text(bytes) => {
                std::str::from_utf8(bytes).map(Some).map_err(|_| format!("{column}: is not valid UTF-8"))
            }
            Self::Int(_) | Self::Other => Err(format!("{column}: is not TEXT")),
        }
    }

    fn int(&self, column: &str) -> Result<Option<i64>, Problem> {
        match self {
            Self::Null => Ok(None),
            Self::Int(n) => Ok(Some(*n)),
            Self::Text(_) | Self::Other => Err(format!("{column}: is not an INTEGER")),
        }
    }

    fn count(&self, column: &str) -> Result<u32, Problem> {
        let n = self.int(column)?.unwrap_or(0);
        // As far as one can count and still have room for the next.
        u32::try_from(n).ok().filter(|n| *n < u32::MAX).ok_or_else(|| format!("{column}: is not a count"))
    }

    /// A time that a producer chose.
    fn time(&self, column: &str) -> Result<Option<UnixMillis>, Problem> {
        match self.int(column)? {
            None => Ok(None),
            Some(ms) if (1_000_000_000_000..10_000_000_000_000).contains(&ms) => Ok(Some(UnixMillis(ms))),
            Some(_) => Err(format!("{column}: is not a time in Unix milliseconds")),
        }
    }

    fn instant(&self, column: &str) -> Result<Option<UnixMillis>, Problem> {
        Ok(self.int(column)?.map(UnixMillis))
    }

    fn mode(&self, column: &str) -> Result<Option<CallMode>, Problem> {
        self.text(column)?.map(|text| text.parse().map_err(|e| format!("{column}: {e}"))).transpose()
    }

    fn url(&self, column: &str) -> Result<Option<Url>, Problem> {
        self.text(column)?
            .map(|text| Url::parse(text).map_err(|_| format!("{column}: is not a URL")))
            .transpose()
    }
}

impl Raw {
    /// The row, checked. An error names the first column that is wrong.
    pub(super) fn check(&self) -> Result<Taken, Problem> {
        let trigger_name =
            self.trigger_name.text("trigger_name")?.ok_or("trigger_name: is missing")?.to_owned();
        let created_at = self.created_at.instant("created_at")?.ok_or("created_at: is missing")?;
        let phase = self.phase()?;
        let arguments = if phase == Phase::Pending {
            self.check_before_firing()?;
            self.arguments()?
        } else {
            String::new()
        };
        let traceparent = self.traceparent.text("traceparent")?.map(str::to_owned);
        if traceparent.as_deref().is_some_and(|text| !is_traceparent(text)) {
            return Err("traceparent: is not a W3C traceparent".to_owned());
        }
        let invocation = Invocation {
            id: self.id,
            round: self.round.count("round")?,
            attempt: self.attempt.count("attempt")?,
            phase,
            requested_mode: self.call_mode.mode("call_mode")?,
            effective_mode: self.effective_call_mode.mode("effective_call_mode")?,
            cancel_requested: self.cancel_requested == Cell::Int(1),
            expires_at: self.expires_at.time("expires_at")?,
            deadline_at: self.deadline_at.time("deadline_at")?,
            started_at: self.started_at.instant("started_at")?,
            accepted_at: self.accepted_at.instant("accepted_at")?,
            polls: self.polls.count("polls")?,
            last_polled_at: self.last_polled_at.instant("last_polled_at")?,
            status_uri: self.status_uri.url("status_uri")?,
            http_status: self.http_status.int("http_status")?.and_then(|n| u16::try_from(n).ok()),
            trouble: self.trouble()?,
            memory: self.memory()?,
            hops: 0,
        };
        let request = Request { id: self.id, arguments, traceparent, created_at };
        let concurrency_key = self.concurrency_key.text("concurrency_key")?.map(str::to_owned);
        Ok(Taken {
            trigger_name,
            invocation,
            request,
            concurrency_key,
            due_at: self.due_at.instant("due_at")?,
        })
    }

    /// Whether the daemon is at it: triggering, polling or collecting.
    pub(super) fn is_with_far_end(&self) -> bool {
        matches!(self.state.text("state"), Ok(Some("triggering" | "polling" | "collecting")))
    }

    /// The trigger, if that can be read.
    pub(super) fn trigger_name(&self) -> Option<String> {
        self.trigger_name.text("trigger_name").ok().flatten().map(str::to_owned)
    }

    /// What only matters until it is fired: a remote job is not given up for it.
    fn check_before_firing(&self) -> Result<(), Problem> {
        let priority = self.priority.int("priority")?.ok_or("priority: is missing")?;
        if !(-100..=100).contains(&priority) {
            return Err("priority: is not between -100 and 100".to_owned());
        }
        self.run_at.time("run_at")?.ok_or("run_at: is missing")?;
        self.due_at.time("due_at")?;
        match self.cancel_requested.int("cancel_requested")? {
            Some(0 | 1) => Ok(()),
            _ => Err("cancel_requested: is neither 0 nor 1".to_owned()),
        }
    }

    fn phase(&self) -> Result<Phase, Problem> {
        let state = self.state.text("state")?.unwrap_or_default();
        Ok(match state {
            "pending" => Phase::Pending,
            "triggering" => Phase::Triggering,
            "polling" => Phase::Polling(self.status_uri.url("status_uri")?.ok_or("status_uri: is missing")?),
            "collecting" => {
                Phase::Collecting(self.output_uri.url("output_uri")?.ok_or("output_uri: is missing")?)
            }
            _ => Phase::Finished(
                Outcome::ALL
                    .into_iter()
                    .find(|outcome| outcome.as_str() == state)
                    .ok_or_else(|| "state: is none of the states".to_owned())?,
            ),
        })
    }

    fn arguments(&self) -> Result<String, Problem> {
        let text =
            self.arguments.text("arguments")?.ok_or("arguments: is missing, or longer than max_arguments")?;
        match arguments_problem(text) {
            None => Ok(text.to_owned()),
            Some(problem) => Err(format!("arguments: {problem}")),
        }
    }

    fn trouble(&self) -> Result<Option<Trouble>, Problem> {
        let Some(code) = self.error_code.text("error_code")? else { return Ok(None) };
        let code = Code::parse(code).ok_or("error_code: is none of the codes")?;
        Ok(Some(Trouble::new(code, self.error_message.text("error_message")?.unwrap_or_default())))
    }

    fn memory(&self) -> Result<Memory, Problem> {
        self.progress.text("progress")?.map_or_else(
            || Ok(Memory::default()),
            |text| serde_json::from_str(text).map_err(|e| format!("progress: {e}")),
        )
    }
}

/// The text of a memory for its column: NULL when there is nothing to remember.
pub(super) fn memory_text(memory: &Memory) -> Option<String> {
    (!memory.is_empty()).then(|| serde_json::to_string(memory).expect("a memory has only plain fields"))
}

/// What keeps `text` from being a request's arguments: they are one JSON object without `$callMode`.
#[must_use]
pub fn arguments_problem(text: &str) -> Option<String> {
    struct Object;

    impl<'de> Visitor<'de> for Object {
        type Value = bool;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut reserved = false;
            while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                reserved |= key == "$callMode";
                map.next_value::<IgnoredAny>()?;
            }
            Ok(reserved)
        }
    }

    let mut json = serde_json::Deserializer::from_str(text);
    let reserved =
        match (&mut json).deserialize_map(Object).and_then(|reserved| json.end().map(|()| reserved)) {
            Ok(reserved) => reserved,
            Err(e) if e.is_data() => return Some("is not a JSON object".to_owned()),
            Err(_) => return Some("is not valid JSON".to_owned()),
        };
    if reserved {
        return Some("must not contain $callMode: there is a column for it".to_owned());
    }
    (depth(text) > DEEPEST_ARGUMENTS).then(|| format!("is nested deeper than {DEEPEST_ARGUMENTS} levels"))
}

/// As deep as `json_valid` goes in any SQLite that a producer may have, and far less than ends a careless parser.
const DEEPEST_ARGUMENTS: usize = 2000;

/// How deep a valid JSON text is nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether `text` is a `traceparent` of W3C Trace Context: version, trace id, parent id, flags; nothing all zero.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    matches!(parts[..], [version, trace, parent, flags]
        if hex(version, 2) && version != "ff" && hex(trace, 32) && !zero(trace)
            && hex(parent, 16) && !zero(parent) && hex(flags, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_one_object_without_the_reserved_name() {
        for good in ["{}", " { } ", r#"{"a":1,"b":{"$callMode":null},"c":"\ud83d\ude00"}"#, r#"{"n":1e400}"#]
        {
            assert_eq!(arguments_problem(good), None, "{good}");
        }
        for bad in [
            "",
            "[]",
            "null",
            "1",
            r#""x""#,
            "{",
            "{} {}",
            r#"{"$callMode":null}"#,
            r#"{"\u0024callMode":1}"#,
            "{'a':1}",
        ] {
            assert!(arguments_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn arguments_are_nested_as_deep_as_sqlite_goes() {
        let nested = |n: usize| format!(r#"{{"a":{}"\"[[[",1{}}}"#, "[".repeat(n), "]".repeat(n));
        assert_eq!(arguments_problem(&nested(1999)), None);
        assert_eq!(arguments_problem(&nested(2000)).unwrap(), "is nested deeper than 2000 levels");
    }

    #[test]
    fn a_traceparent_is_lower_case_and_not_zero() {
        assert!(is_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for bad in [
            "",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
