//! `[triggers.NAME]`: one endpoint, checked so far that nothing downstream has to doubt it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use config::{Map, Value, ValueKind};
use url::Url;

use super::hooks;
use super::section::{Section, boolean, duration, integer, list, number, one_of, rate, size, text, wait};
use crate::backoff::Backoff;
use crate::request::CallMode;
use crate::secret::Credential;
use crate::trigger::{Method, Quota, Trigger};

/// The statuses that a far end may be trusted to give only before it starts anything. Not 401: it has its own rule.
const NOT_STARTED: RangeInclusive<u64> = 400..=599;

/// Headers that are the daemon's or the connection's: a second value would contradict the first, or split requests.
const OWNED_HEADERS: [&str; 19] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// None if there is no usable URL, without which there is nothing to check against. Other problems leave a trigger
/// that is complete but must not be used: the caller refuses the whole configuration.
pub(super) fn read(
    name: &str,
    mut section: Section<'_>,
    defaults: &Map<String, Value>,
    credentials: &BTreeMap<String, Option<Credential>>,
) -> Option<Trigger> {
    let chosen = section.says("connect_timeout");
    section.fill(defaults);
    let url = section.require("url", url);
    // A stand-in lets the rest of a trigger with a broken URL be checked as well.
    let stand_in = || Url::parse("http://localhost/").expect("a literal URL parses");
    let mut trigger = Trigger::new(name, url.clone().unwrap_or_else(stand_in));

    if let Some(method) = section.take("method", one_of(&Method::ALL.map(|method| (method.as_str(), method))))
    {
        trigger.method = method;
    }
    set(&mut trigger.call_mode, section.take("call_mode", one_of(CALL_MODES)));
    set(&mut trigger.send_call_mode, section.take("send_call_mode", boolean));
    trigger.credential = section.take("credential", |value| credential(value, credentials));
    set(&mut trigger.headers, section.take("headers", headers));
    trigger.description = section.take("description", |value| text(value).map(str::to_owned));
    set(&mut trigger.repeatable, section.take("repeatable", boolean));
    set(&mut trigger.retry_faults, section.take("retry_faults", boolean));
    set(&mut trigger.not_started, section.take("not_started", statuses));
    trigger.fault_pointer = section.take("fault_pointer", pointer);
    set(&mut trigger.accept_html, section.take("accept_html", boolean));
    set(&mut trigger.allowed_origins, section.take("allowed_origins", origins));
    set(&mut trigger.credential_on_status, section.take("credential_on_status", boolean));

    set(&mut trigger.connect_timeout, section.take("connect_timeout", wait));
    set(&mut trigger.response_timeout, section.take("response_timeout", wait));
    trigger.deadline = section.take("deadline", wait);
    set(&mut trigger.lost_grace, section.take("lost_grace", duration));
    set(&mut trigger.retry_after_max, section.take("retry_after_max", duration));

    let poll = section.table("poll");
    trigger.poll = backoff(poll, trigger.poll);
    let mut retry = section.table("retry");
    let times = || integer(1..=1_000_000);
    set(&mut trigger.retry.max_attempts, retry.take("max_attempts", times()).map(to_u32));
    set(&mut trigger.retry.max_refusals, retry.take("max_refusals", times()).map(to_u32));
    trigger.retry.backoff = backoff(retry, trigger.retry.backoff);

    trigger.max_concurrent = section.take("max_concurrent", integer(1..=1_000_000)).map(to_u32);
    trigger.pause_after_refusals = section.take("pause_after_refusals", integer(1..=1_000_000)).map(to_u32);
    set(&mut trigger.max_arguments, section.take("max_arguments", size(2)));
    set(&mut trigger.max_output, section.take("max_output", size(1)));
    let most = || integer(1..=1_000_000);
    trigger.max_concurrent_per_key = section.take("max_concurrent_per_key", most()).map(to_u32);
    set(&mut trigger.hold_uncertain, section.take("hold_uncertain", duration));
    trigger.rate = quota(&mut section, "rate", "burst");
    trigger.rate_per_key = quota(&mut section, "rate_per_key", "burst_per_key");
    set(&mut trigger.strict_order_per_key, section.take("strict_order_per_key", boolean));
    set(&mut trigger.on_end, section.take("on_end", hooks::read));

    if !chosen {
        // The default gives way to a response_timeout that is shorter.
        trigger.connect_timeout = trigger.connect_timeout.min(trigger.response_timeout / 2);
    } else if trigger.connect_timeout >= trigger.response_timeout {
        let rule = format!("must be below response_timeout, which is {:?}", trigger.response_timeout);
        section.problem("connect_timeout", &rule);
    }
    section.finish();
    url.map(|_| trigger)
}

/// A rate, and how many may come at once: all of them, if that is not said.
fn quota(section: &mut Section<'_>, key: &'static str, burst_key: &'static str) -> Option<Quota> {
    let rate = section.take(key, rate);
    let burst = section.take(burst_key, integer(1..=100_000)).map(to_u32);
    match (rate, burst) {
        (Some(rate), Some(burst)) if burst > rate.limit => {
            section.problem(burst_key, &format!("must not be above {}, the number of {key}", rate.limit));
            None
        }
        (Some(rate), burst) => Some(Quota { rate, burst: burst.unwrap_or(rate.limit) }),
        (None, Some(_)) => {
            section.problem(burst_key, &format!("has no meaning without {key}"));
            None
        }
        (None, None) => None,
    }
}

/// What is allowed but is probably not what was meant.
pub(super) fn warnings(trigger: &Trigger) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn =
        |key: &str, warning: &str| warnings.push(format!("triggers.{}.{key}: {warning}", trigger.name));
    if trigger.credential.is_some() && trigger.url.scheme() == "http" && !is_loopback(&trigger.url) {
        warn("url", "the credential goes over the network in clear text; use https");
    }
    if trigger.method == Method::Get {
        warn("method", "proxies and libraries repeat a GET on their own; use POST if the far end takes it");
    }
    if trigger.retry_faults && !trigger.repeatable {
        warn("retry_faults", "has no effect unless repeatable = true");
    }
    if trigger.strict_order_per_key && trigger.max_concurrent_per_key.is_some_and(|max| max > 1) {
        warn(
            "max_concurrent_per_key",
            "has no effect beside strict_order_per_key, which means one at a time",
        );
    }
    if !trigger.hold_uncertain.is_zero()
        && trigger.max_concurrent.is_none()
        && trigger.max_concurrent_per_key.is_none()
    {
        warn("hold_uncertain", "has no effect without max_concurrent or max_concurrent_per_key");
    }
    warnings
}

const CALL_MODES: &[(&str, CallMode)] = &[
    (CallMode::AsyncRequestReply.as_str(), CallMode::AsyncRequestReply),
    (CallMode::FireAndForget.as_str(), CallMode::FireAndForget),
    (CallMode::LongPolling.as_str(), CallMode::LongPolling),
];

/// Keeps the default where there is no value, or a bad one.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// No message has the URL in it: its userinfo or query may be a secret.
fn url(value: &Value) -> Result<Url, String> {
    let text = text(value)?;
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err("must begin with https:// or http://".to_owned());
    }
    // The parser would silently drop or encode these.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err("must not contain spaces, control characters or backslashes".to_owned());
    }
    // The parser would skip the slashes of http:///x and take x for the host.
    if authority.is_empty() {
        return Err("must have a host".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if authority.contains('@') {
        return Err("must not contain a user or password: name a credential instead".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not contain a fragment (#): it would never be sent".to_owned());
    }
    Ok(url)
}

/// The name is not repeated: it may be a token that somebody put here.
fn credential(value: &Value, known: &BTreeMap<String, Option<Credential>>) -> Result<String, String> {
    let name = text(value)?;
    if known.contains_key(name) {
        return Ok(name.to_owned());
    }
    let known: Vec<_> = known.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(format!("must be the name of a [credentials.NAME]; there is {known}"))
}

fn headers(value: &Value) -> Result<Vec<(String, String)>, String> {
    let ValueKind::Table(table) = &value.kind else {
        return Err("must be a table, header name to value".to_owned());
    };
    let mut headers = BTreeMap::new();
    for (name, value) in table {
        let lower = name.to_ascii_lowercase();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(format!("{name:?} is no header name"));
        }
        if OWNED_HEADERS.contains(&lower.as_str()) {
            return Err(format!("{name} is set by triggerd or the connection and cannot be given"));
        }
        let text = text(value).map_err(|rule| format!("{name} {rule}"))?;
        let visible = text.bytes().all(|b| matches!(b, b' '..=b'~'));
        if !visible || text.is_empty() || text.trim() != text {
            return Err(format!("{name} must be visible ASCII, with spaces only inside"));
        }
        if headers.insert(lower, text.to_owned()).is_some() {
            return Err(format!("{name} is given twice, in different capitals"));
        }
    }
    Ok(headers.into_iter().collect())
}

fn statuses(value: &Value) -> Result<Vec<u16>, String> {
    let mut statuses = Vec::new();
    for value in list(value)? {
        let status = integer(NOT_STARTED)(value).map_err(|rule| format!("each {rule}"))?;
        if status == 401 {
            return Err("must not have 401, which always renews the credential".to_owned());
        }
        statuses.push(u16::try_from(status).map_err(|error| error.to_string())?);
    }
    Ok(statuses)
}

fn pointer(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let escapes_well = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if escapes_well && (text.is_empty() || text.starts_with('/')) {
        Ok(text.to_owned())
    } else {
        Err("must be a JSON pointer: empty, or beginning with /, with ~ only as ~0 or ~1".to_owned())
    }
}

fn origins(value: &Value) -> Result<Vec<url::Origin>, String> {
    let each = |value: &Value| {
        let origin = url(value)?;
        let authority = text(value)?.split_once("://").unwrap_or_default().1;
        if authority.contains(['/', '?', '#']) {
            return Err("must be scheme://host[:port] and nothing more".to_owned());
        }
        Ok(origin.origin())
    };
    let numbered = list(value)?.iter().enumerate();
    numbered.map(|(n, value)| each(value).map_err(|rule| format!("number {} {rule}", n + 1))).collect()
}

fn backoff(mut section: Section<'_>, default: Backoff) -> Backoff {
    let mut backoff = default;
    set(&mut backoff.initial, section.take("initial", wait));
    set(&mut backoff.max, section.take("max", wait));
    let factor = |value: &Value| {
        let factor = number(value)?;
        // NaN is in no range.
        if (1.0..=100.0).contains(&factor) { Ok(factor) } else { Err("must be from 1 to 100".to_owned()) }
    };
    set(&mut backoff.factor, section.take("factor", factor));
    if backoff.initial > backoff.max {
        section.problem("initial", &format!("must not be longer than max, which is {:?}", backoff.max));
    }
    section.finish();
    backoff
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// The longest exchange that a stop may have to wait for.
pub(super) fn longest_response<'t>(
    triggers: impl Iterator<Item = &'t Trigger>,
) -> Option<(&'t str, Duration)> {
    triggers
        .map(|trigger| (trigger.name.as_str(), trigger.response_timeout))
        .max_by_key(|(_, timeout)| *timeout)
}
