//! Refusals and faults, in the words of the vendor: `{message, errorCode, traceId}`, or the `JobError` of a job.

use bytes::Bytes;
use serde_json::json;

use super::manners::FaultBody;
use super::{Content, Context, End, Reply};
use crate::clock::UnixMillis;

/// Why a call starts or finds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// The vendor's `errorCode`.
    pub code: u32,
    /// For a person.
    pub message: String,
}

/// No trigger has this verb, path and folder; a wrong verb is no case of its own.
const NO_TRIGGER: u32 = 1623;
/// The body is empty or cannot be read.
const BAD_BODY: u32 = 4804;
/// What was asked for is not there.
const NOT_FOUND: u32 = 1002;
/// Whatever the vendor has not published a number for.
const OTHER: u32 = 0;

impl Refusal {
    /// Nothing can be started there.
    #[must_use]
    pub fn no_trigger(path: &str) -> Self {
        Self::new(404, NO_TRIGGER, format!("HTTP trigger not found for path {path}"))
    }

    /// The arguments cannot be read.
    #[must_use]
    pub fn bad_arguments(message: impl Into<String>) -> Self {
        Self::new(400, BAD_BODY, message)
    }

    /// The body is longer than what is read.
    #[must_use]
    pub fn too_large() -> Self {
        Self::new(413, BAD_BODY, "The request body is too large")
    }

    /// A link that leads nowhere: forged, replaced by a newer one, or past its time.
    #[must_use]
    pub fn no_job() -> Self {
        Self::new(404, NOT_FOUND, "The job does not exist, or its link is no longer valid")
    }

    /// Deliberately vague.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(401, OTHER, "You are not authenticated!")
    }

    /// There is no room for another job.
    #[must_use]
    pub fn no_room() -> Self {
        Self::new(503, OTHER, "No more jobs can be held; let some of them end")
    }

    /// A status that was asked for, without a cause.
    #[must_use]
    pub fn other(status: u16) -> Self {
        Self::new(status, OTHER, format!("The call was answered with status {status}, as it was told to be"))
    }

    fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// As an answer.
    #[must_use]
    pub fn reply(&self, trace: u128) -> Reply {
        Reply { content: body(&self.message, self.code, trace), ..Reply::bare(self.status) }
    }
}

/// The answer to whoever asks for a job that ended badly.
pub(super) fn fault(end: &End, ended: UnixMillis, cx: &Context<'_>) -> Reply {
    let (code, title, detail, category) = match end {
        End::Stopped => ("Stopped", "The job was stopped", "It was asked to stop before its end", "User"),
        End::Killed => ("Killed", "The job was killed", "It was ended from outside", "User"),
        End::TooLong => {
            ("Timeout", "The job took too long", "It ran longer than a blocking call may take", "System")
        }
        _ => ("Faulted", "The job has faulted", "An error of its own ended the job", "User"),
    };
    let status = cx.manners.fault_status;
    let content = match cx.manners.fault_body {
        FaultBody::Message => body(title, OTHER, cx.trace),
        FaultBody::JobError => Content::json(Bytes::from(
            json!({
                "code": code,
                "title": title,
                "detail": detail,
                "category": category,
                "status": status,
                "timestamp": jiff::Timestamp::from_millisecond(ended.0).map(|at| at.to_string()).ok(),
            })
            .to_string(),
        )),
    };
    Reply { content, ..Reply::bare(status) }
}

fn body(message: &str, code: u32, trace: u128) -> Content {
    let span = trace as u64;
    let text = json!({
        "message": message,
        "errorCode": code,
        "traceId": format!("00-{trace:032x}-{span:016x}-00"),
    });
    Content::json(Bytes::from(text.to_string()))
}
