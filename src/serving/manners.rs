//! What servers of one protocol may do differently. The defaults are the vendor's, where they are known.

use std::time::{Duration, UNIX_EPOCH};

use crate::clock::UnixMillis;

/// The manners of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manners {
    /// The status of a redirect: 303, or 302, for which the vendor's own samples test.
    pub redirect_status: u16,
    /// How long a blocking call is held.
    pub hold: Duration,
    /// How long a job behind blocking calls may take.
    pub sync_cap: Duration,
    /// How long after the end of a job its links work; none: as long as the job is known.
    pub link_expiry: Option<Duration>,
    /// What a status URI says of a job that runs.
    pub running_body: RunningBody,
    /// What a caller is asked to wait before it asks again.
    pub retry_after: Option<RetryAfter>,
    /// The status that says that a job ended badly.
    pub fault_status: u16,
    /// The body that says so.
    pub fault_body: FaultBody,
    /// Whether each redirect has a new link; the vendor's has.
    pub fresh_links: bool,
    /// Whether a link ends when a newer one is handed out.
    pub single_use_links: bool,
    /// Whether a Location is relative to the URL that answers.
    pub relative_location: bool,
    /// Whether the status URI of long polling asks for the token; async polling always does.
    pub require_bearer_on_status: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            redirect_status: 303,
            hold: Duration::from_secs(25),
            sync_cap: Duration::from_secs(15 * 60),
            link_expiry: None,
            running_body: RunningBody::Object,
            retry_after: None,
            fault_status: 400,
            fault_body: FaultBody::JobError,
            fresh_links: true,
            single_use_links: false,
            relative_location: false,
            require_bearer_on_status: true,
        }
    }
}

/// What a status URI says of a job that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunningBody {
    /// An empty object.
    Object,
    /// Nothing.
    Empty,
    /// An object with the state.
    State,
}

impl RunningBody {
    /// The body.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Object => "{}",
            Self::Empty => "",
            Self::State => r#"{"state":"Running"}"#,
        }
    }
}

/// The body that says that a job ended badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultBody {
    /// The `JobError` of the job.
    JobError,
    /// The body of every other error.
    Message,
}

/// A wish to be left alone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter {
    /// For how long; on the wire in whole seconds.
    pub wait: Duration,
    /// How it is written.
    pub form: RetryAfterForm,
}

/// The two forms of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfterForm {
    /// A number of seconds.
    Seconds,
    /// An HTTP date.
    Date,
}

impl RetryAfter {
    /// The text of the header. Rounded up: nobody is asked to come back too soon.
    #[must_use]
    pub fn text(self, now: UnixMillis) -> String {
        let seconds = |duration: Duration| duration.as_millis().div_ceil(1000);
        match self.form {
            RetryAfterForm::Seconds => seconds(self.wait).to_string(),
            RetryAfterForm::Date => {
                let at = seconds(now.plus(self.wait).since(UnixMillis(0)));
                let at = Duration::from_secs(u64::try_from(at).unwrap_or(0));
                httpdate::fmt_http_date(UNIX_EPOCH + at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_to_seconds_in_both_forms() {
        let now = UnixMillis(784_111_777_000);
        for (millis, seconds, date) in [
            (0, "0", "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1, "1", "Sun, 06 Nov 1994 08:49:38 GMT"),
            (60_000, "60", "Sun, 06 Nov 1994 08:50:37 GMT"),
        ] {
            let text = |form| RetryAfter { wait: Duration::from_millis(millis), form }.text(now);
            assert_eq!(text(RetryAfterForm::Seconds), seconds);
            assert_eq!(text(RetryAfterForm::Date), date);
        }
    }
}
