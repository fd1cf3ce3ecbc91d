//! The `Retry-After` header: text and now in, a wait out.

use std::time::{Duration, UNIX_EPOCH};

use crate::clock::UnixMillis;

/// How long the far end asks to be left alone: seconds, or an HTTP date. A date that has passed is no wait at all;
/// anything else that cannot be read is no wish. Not capped: the rules do that.
#[must_use]
pub(super) fn parse(text: &str, now: UnixMillis) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let at = UnixMillis(0).plus(date.duration_since(UNIX_EPOCH).unwrap_or_default());
    Some(at.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_and_all_three_forms_of_a_date() {
        let now = UnixMillis(784_111_777_000);
        for (text, wait) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Tue, 15 Nov 1988 08:12:31 GMT", Some(0)),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(parse(text, now), wait.map(Duration::from_secs), "{text:?}");
        }
    }
}
