//! Where an invocation stands: its phase, its outcome, and what it remembers of its round.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::clock::UnixMillis;
use crate::request::CallMode;

/// The states of the table, and what must be known in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits to be fired.
    Pending,
    /// The intent to fire is committed.
    Triggering,
    /// A remote job was accepted; this is where its progress is asked for.
    Polling(Url),
    /// The remote job ended; this is where its output is asked for.
    Collecting(Url),
    /// Nothing more happens by itself.
    Finished(Outcome),
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Ended well.
    Succeeded,
    /// Fire and forget: accepted, and nothing more will be known.
    Dispatched,
    /// The remote job failed, or every permitted firing was surely not started.
    Failed,
    /// No remote job was started, and firing again would not help.
    Rejected,
    /// Too late, and the truth is known.
    Expired,
    /// On request.
    Cancelled,
    /// The remote job may have run; only a person can say.
    Uncertain,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Dispatched,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::Uncertain,
    ];

    /// The spelling in `requests.state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Dispatched => "dispatched",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Uncertain => "uncertain",
        }
    }
}

impl Phase {
    /// The spelling in `requests.state`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Triggering => "triggering",
            Self::Polling(_) => "polling",
            Self::Collecting(_) => "collecting",
            Self::Finished(outcome) => outcome.as_str(),
        }
    }
}

/// Why an invocation is not, or not yet, a success: `requests.error_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the documentation explains each code; the names are the codes")]
pub enum Code {
    InvalidRequest,
    Refused,
    UnexpectedRedirect,
    NotSent,
    GatewayError,
    ServerError,
    ConnectionLost,
    ResponseTimeout,
    Interrupted,
    CallModeMismatch,
    MissingLocation,
    RedirectLoop,
    StatusLost,
    OutputLost,
    OutputTooLarge,
    OutputUnreadable,
    ForbiddenOrigin,
    ForbiddenAddress,
    CredentialUnavailable,
    CredentialRefused,
    JobFaulted,
    NotStartedInTime,
    Deadline,
    CancelledByRequest,
    DependencyFailed,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::InvalidRequest,
        Self::Refused,
        Self::UnexpectedRedirect,
        Self::NotSent,
        Self::GatewayError,
        Self::ServerError,
        Self::ConnectionLost,
        Self::ResponseTimeout,
        Self::Interrupted,
        Self::CallModeMismatch,
        Self::MissingLocation,
        Self::RedirectLoop,
        Self::StatusLost,
        Self::OutputLost,
        Self::OutputTooLarge,
        Self::OutputUnreadable,
        Self::ForbiddenOrigin,
        Self::ForbiddenAddress,
        Self::CredentialUnavailable,
        Self::CredentialRefused,
        Self::JobFaulted,
        Self::NotStartedInTime,
        Self::Deadline,
        Self::CancelledByRequest,
        Self::DependencyFailed,
    ];

    /// The spelling in `requests.error_code`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Refused => "refused",
            Self::UnexpectedRedirect => "unexpected_redirect",
            Self::NotSent => "not_sent",
            Self::GatewayError => "gateway_error",
            Self::ServerError => "server_error",
            Self::ConnectionLost => "connection_lost",
            Self::ResponseTimeout => "response_timeout",
            Self::Interrupted => "interrupted",
            Self::CallModeMismatch => "call_mode_mismatch",
            Self::MissingLocation => "missing_location",
            Self::RedirectLoop => "redirect_loop",
            Self::StatusLost => "status_lost",
            Self::OutputLost => "output_lost",
            Self::OutputTooLarge => "output_too_large",
            Self::OutputUnreadable => "output_unreadable",
            Self::ForbiddenOrigin => "forbidden_origin",
            Self::ForbiddenAddress => "forbidden_address",
            Self::CredentialUnavailable => "credential_unavailable",
            Self::CredentialRefused => "credential_refused",
            Self::JobFaulted => "job_faulted",
            Self::NotStartedInTime => "not_started_in_time",
            Self::Deadline => "deadline",
            Self::CancelledByRequest => "cancelled_by_request",
            Self::DependencyFailed => "dependency_failed",
        }
    }

    /// The code spelled `text`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

/// A code with one line for a person: without secrets, without the query of any URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// `requests.error_code`.
    pub code: Code,
    /// `requests.error_message`.
    pub message: String,
}

impl Trouble {
    /// A code and its line.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What an invocation remembers of its round beyond the public columns: the private column `progress`, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Refused and unsent firings of this round.
    #[serde(skip_serializing_if = "is_zero")]
    pub refusals: u32,
    /// Ambiguous or faulted firings of this round.
    #[serde(skip_serializing_if = "is_zero")]
    pub repeats: u32,
    /// A firing of this round has ended that neither limit counts: its credential was refused, or could not be had.
    #[serde(skip_serializing_if = "is_false")]
    pub uncounted: bool,
    /// Set by the first ambiguous firing of the round: a remote job may exist that nobody follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Code>,
    /// Waits between polls since the round went over to the output URI or to the next blocking leg, else since it was
    /// accepted: the exponent of the growing interval.
    #[serde(skip_serializing_if = "is_zero")]
    pub waits: u32,
    /// The unbroken run of equal bad answers that the last poll belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The deadline was counted from the first firing of this round, so it goes with the round; else it is the producer's.
    #[serde(skip_serializing_if = "is_false")]
    pub counted_deadline: bool,
}

impl Memory {
    /// Whether there is nothing to remember: the column is NULL then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
const fn is_false(set: &bool) -> bool {
    !*set
}

/// Equal bad answers to polls, without another answer between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What they have in common.
    pub kind: RunKind,
    /// How many so far.
    pub count: u32,
    /// When the first one came.
    pub since: UnixMillis,
}

/// Which bad answers are counted as one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// 404 and 410.
    Lost,
    /// 500.
    Fault,
    /// Other 4xx at a status URI.
    Unreadable,
}

/// One request being carried out: all that the rules know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    /// `requests.id`.
    pub id: i64,
    /// From 1; the attempts between an insert or a `retry` and the next outcome.
    pub round: u32,
    /// Firings so far, over all rounds.
    pub attempt: u32,
    /// Where it stands.
    pub phase: Phase,
    /// The mode the row asks for.
    pub requested_mode: Option<CallMode>,
    /// The mode in force once the trigger has answered.
    pub effective_mode: Option<CallMode>,
    /// Whether somebody asked for its end.
    pub cancel_requested: bool,
    /// No remote job may be accepted later.
    pub expires_at: Option<UnixMillis>,
    /// No end may come later.
    pub deadline_at: Option<UnixMillis>,
    /// First fired in this round.
    pub started_at: Option<UnixMillis>,
    /// Accepted by the trigger.
    pub accepted_at: Option<UnixMillis>,
    /// Polls so far.
    pub polls: u32,
    /// When the status or output URI was asked last.
    pub last_polled_at: Option<UnixMillis>,
    /// Where progress is, or was, asked for.
    pub status_uri: Option<Url>,
    /// Status of the last exchange.
    pub http_status: Option<u16>,
    /// Why it is not, or not yet, a success. While polling: what is wrong with the polls, if anything.
    pub trouble: Option<Trouble>,
    /// The rest of what the round must not forget.
    pub memory: Memory,
    /// Redirects followed since the stored URI was asked. Lives in memory only: a restart asks the stored URI.
    pub hops: u8,
}

impl Invocation {
    /// A request nobody has fired yet.
    #[must_use]
    pub fn pending(id: i64) -> Self {
        Self {
            id,
            round: 1,
            attempt: 0,
            phase: Phase::Pending,
            requested_mode: None,
            effective_mode: None,
            cancel_requested: false,
            expires_at: None,
            deadline_at: None,
            started_at: None,
            accepted_at: None,
            polls: 0,
            last_polled_at: None,
            status_uri: None,
            http_status: None,
            trouble: None,
            memory: Memory::default(),
            hops: 0,
        }
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_late(&self, now: UnixMillis) -> bool {
        self.deadline_at.is_some_and(|at| at <= now)
    }

    /// Whether it may no longer be fired.
    #[must_use]
    pub fn is_stale(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The time left to the deadline.
    #[must_use]
    pub fn time_left(&self, now: UnixMillis) -> Option<Duration> {
        self.deadline_at.map(|at| at.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_spelling() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
            assert_eq!(
                serde_json::to_value(code).unwrap(),
                code.as_str(),
                "the private column spells it the same"
            );
        }
    }

    #[test]
    fn an_empty_memory_says_nothing_and_a_full_one_survives_its_text() {
        assert_eq!(serde_json::to_string(&Memory::default()).unwrap(), "{}");
        let full = Memory {
            refusals: 2,
            repeats: 1,
            uncounted: true,
            doubt: Some(Code::GatewayError),
            waits: 7,
            run: Some(Run { kind: RunKind::Lost, count: 3, since: UnixMillis(9) }),
            counted_deadline: true,
        };
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), full);
    }
}
