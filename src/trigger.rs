//! One configured endpoint that starts a remote job: where, how, and within which limits.
//!
//! A leaf. `config` makes it, `client` calls it, `invocation` reads its rules.

use std::time::Duration;

use url::Url;

use crate::backoff::Backoff;
use crate::request::CallMode;

/// The verbs a trigger may be fired with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Arguments go into the query string.
    Get,
    /// Arguments go into the body, as with the rest.
    Post,
    /// See [`Method::Post`].
    Put,
    /// See [`Method::Post`].
    Delete,
    /// See [`Method::Post`].
    Patch,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Delete, Self::Patch];

    /// The spelling on the wire, in the configuration and in `triggers.method`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
        }
    }
}

/// How often a firing that did not come to a remote job is repeated, and how fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// Ambiguous firings of one round, for a repeatable trigger.
    pub max_attempts: u32,
    /// Refused and unsent firings of one round.
    pub max_refusals: u32,
    /// The wait before the next firing.
    pub backoff: Backoff,
}

/// At most so many in so long. Both are above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub limit: u32,
    /// In how long.
    pub per: Duration,
}

/// A [`Rate`] of firings, and how many of them may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// At most so many in any stretch of time as long as this.
    pub rate: Rate,
    /// At most so many in any stretch that is long enough for so many at the even pace.
    pub burst: u32,
}

impl Rate {
    /// From one to the next, where they are spread evenly: rounded up, so that there are never more.
    #[must_use]
    pub fn interval(self) -> Duration {
        let nanos = self.per.as_nanos().div_ceil(u128::from(self.limit.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// How a request may end, as `requests.state` has it.
pub const ENDS: [&str; 7] =
    ["succeeded", "dispatched", "failed", "rejected", "expired", "cancelled", "uncertain"];

/// What the end of a request fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Another trigger.
    pub trigger: String,
    /// In which of [`ENDS`].
    pub states: Vec<&'static str>,
}

/// One `[triggers.NAME]` of the configuration, checked.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// `[a-z0-9_-]+`.
    pub name: String,
    /// http or https, without userinfo and fragment.
    pub url: Url,
    /// The verb of the firing; follow-ups are GETs.
    pub method: Method,
    /// The mode of requests that do not name one.
    pub call_mode: CallMode,
    /// Whether the call mode travels as the argument `$callMode`.
    pub send_call_mode: bool,
    /// The name of a `[credentials.NAME]`.
    pub credential: Option<String>,
    /// Further headers of the firing.
    pub headers: Vec<(String, String)>,
    /// For people.
    pub description: Option<String>,
    /// Whether firing twice is harmless.
    pub repeatable: bool,
    /// Whether a 500 of a blocking call is fired again.
    pub retry_faults: bool,
    /// Statuses that this far end gives only when it surely started nothing.
    pub not_started: Vec<u16>,
    /// JSON pointer (RFC 6901) to what is non-null in the output of a failed job.
    pub fault_pointer: Option<String>,
    /// Whether `text/html` may be an output.
    pub accept_html: bool,
    /// Origins, besides the trigger's own, that may be followed with the credential.
    pub allowed_origins: Vec<url::Origin>,
    /// Whether follow-ups of long polling carry the credential.
    pub credential_on_status: bool,
    /// Below `response_timeout`.
    pub connect_timeout: Duration,
    /// One exchange, from its start to the end of the answer.
    pub response_timeout: Duration,
    /// The whole round, from its first firing; none: by call mode, see [`Trigger::deadline`].
    pub deadline: Option<Duration>,
    /// How long a status URI may answer 404 before the job is given up.
    pub lost_grace: Duration,
    /// The wait between polls.
    pub poll: Backoff,
    /// What is fired again, and when.
    pub retry: Retry,
    /// No Retry-After is honoured beyond this.
    pub retry_after_max: Duration,
    /// Requests that may be triggering, polling or collecting at once.
    pub max_concurrent: Option<u32>,
    /// The same of those that share a concurrency key.
    pub max_concurrent_per_key: Option<u32>,
    /// How long an uncertain request counts for these two, since its remote job may be running.
    pub hold_uncertain: Duration,
    /// Firings of all its requests.
    pub rate: Option<Quota>,
    /// Firings of those that share a concurrency key.
    pub rate_per_key: Option<Quota>,
    /// Whether requests that share a concurrency key are worked off one after the other, by id.
    pub strict_order_per_key: bool,
    /// So many requests in a row that the far end refused pause it.
    pub pause_after_refusals: Option<u32>,
    /// Bytes of `arguments`.
    pub max_arguments: u64,
    /// Bytes of an output that are kept.
    pub max_output: u64,
    /// What the end of its requests fires; no way of hooks leads back to it.
    pub on_end: Vec<Hook>,
}

/// The default deadline of a round.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// The vendor ends long-polling jobs after 15 minutes; a little more leaves room for the last leg.
const LONG_POLLING_DEADLINE: Duration = Duration::from_secs(20 * 60);

impl Trigger {
    /// How long a round may take in `mode`.
    #[must_use]
    pub fn deadline(&self, mode: CallMode) -> Duration {
        self.deadline.unwrap_or(match mode {
            CallMode::LongPolling => LONG_POLLING_DEADLINE,
            CallMode::AsyncRequestReply | CallMode::FireAndForget => DEADLINE,
        })
    }

    /// Whether requests with a concurrency key have limits of their own.
    #[must_use]
    pub const fn has_key_limits(&self) -> bool {
        self.max_concurrent_per_key.is_some() || self.rate_per_key.is_some() || self.strict_order_per_key
    }

    /// `scheme://host[:port]`, the unit of connections and of trust.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Whether `url` may be asked, and may see the credential.
    #[must_use]
    pub fn allows(&self, url: &Url) -> bool {
        let origin = url.origin();
        matches!(url.scheme(), "http" | "https")
            && (origin == self.url.origin() || self.allowed_origins.contains(&origin))
    }

    /// A trigger with the defaults of the documentation, for tests and as the base that `config` fills.
    #[must_use]
    pub fn new(name: &str, url: Url) -> Self {
        Self {
            name: name.to_owned(),
            url,
            method: Method::Post,
            call_mode: CallMode::AsyncRequestReply,
            send_call_mode: true,
            credential: None,
            headers: Vec::new(),
            description: None,
            repeatable: false,
            retry_faults: false,
            not_started: Vec::new(),
            fault_pointer: None,
            accept_html: false,
            allowed_origins: Vec::new(),
            credential_on_status: true,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            deadline: None,
            lost_grace: Duration::from_secs(5 * 60),
            poll: Backoff { initial: Duration::from_secs(1), factor: 1.5, max: Duration::from_secs(30) },
            retry: Retry {
                max_attempts: 5,
                max_refusals: 300,
                backoff: Backoff {
                    initial: Duration::from_secs(1),
                    factor: 2.0,
                    max: Duration::from_secs(5 * 60),
                },
            },
            retry_after_max: Duration::from_secs(3600),
            max_concurrent: None,
            max_concurrent_per_key: None,
            hold_uncertain: Duration::ZERO,
            rate: None,
            rate_per_key: None,
            strict_order_per_key: false,
            pause_after_refusals: None,
            max_arguments: 64 * 1024,
            max_output: 1024 * 1024,
            on_end: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusts_its_own_origin_and_the_allowed_ones_only() {
        let mut trigger = Trigger::new("t", Url::parse("https://api.example/t/x").unwrap());
        trigger.allowed_origins.push(Url::parse("https://portal.example").unwrap().origin());
        for (url, allowed) in [
            ("https://api.example/status/1?sig=2", true),
            ("https://api.example:443/", true),
            ("https://portal.example/x", true),
            ("http://api.example/status/1", false),
            ("https://api.example:8443/", false),
            ("https://api.example.evil/", false),
            ("file:///etc/passwd", false),
            ("data:text/plain,x", false),
        ] {
            assert_eq!(trigger.allows(&Url::parse(url).unwrap()), allowed, "{url}");
        }
    }
}
