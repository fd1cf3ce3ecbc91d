//! Durations, sizes and rates as people write them: `250ms`, `24h`, `64KiB`, `50/1m`.
//!
//! Stricter than the usual parsers, since a unit misread is a limit wrong by orders of magnitude: `m` is a minute
//! and never a month, `K` and `KB` (1000 or 1024?) are refused, and so is a number without a unit.

use std::time::Duration;

use crate::trigger::Rate;

/// Anything longer is a slip of the keyboard; and instants must stay within the 13 digits that the database takes.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// A duration: one whole number and one unit.
///
/// # Errors
///
/// The rule it breaks, for a person.
pub fn duration(text: &str) -> Result<Duration, String> {
    const RULE: &str =
        "must be a duration: a whole number and ms, s, m, h or d, such as 250ms, 5s, 10m, 24h, 30d";
    let (number, unit) = split(text).ok_or(RULE)?;
    let millis_per_unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(RULE.to_owned()),
    };
    number
        .checked_mul(millis_per_unit)
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "must be at most 3650d".to_owned())
}

/// A number of bytes: one whole number and one unit.
///
/// # Errors
///
/// The rule it breaks, for a person.
pub fn size(text: &str) -> Result<u64, String> {
    const RULE: &str = "must be a size: a whole number and B, KiB, MiB or GiB, such as 64KiB, 1MiB";
    let (number, unit) = split(text).ok_or(RULE)?;
    let bytes_per_unit = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(RULE.to_owned()),
    };
    number.checked_mul(bytes_per_unit).ok_or_else(|| "is too large".to_owned())
}

/// So many in so long: a whole number, a slash and a duration.
///
/// # Errors
///
/// The rule it breaks, for a person.
pub fn rate(text: &str) -> Result<Rate, String> {
    const RULE: &str = "must be a rate: a whole number, / and a duration, such as 10/1s, 50/1m, 1000/24h";
    const MOST: u32 = 100_000;
    const LONGEST_PER: Duration = Duration::from_secs(30 * 24 * 3600);
    let (limit, per) = text.split_once('/').ok_or(RULE)?;
    if limit.is_empty() || !limit.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RULE.to_owned());
    }
    // All digits, so what does not parse is too large.
    let limit = limit.parse().ok().filter(|limit| (1..=MOST).contains(limit));
    let limit = limit.ok_or_else(|| format!("must be a rate of 1 to {MOST}, before the /"))?;
    let per = duration(per).map_err(|rule| format!("must have a duration behind the /: that {rule}"))?;
    if (Duration::from_secs(1)..=LONGEST_PER).contains(&per) {
        Ok(Rate { limit, per })
    } else {
        Err("must be a rate in 1s to 30d, behind the /".to_owned())
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_whole_number_and_one_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("5s", 5000),
            ("10m", 600_000),
            ("24h", 86_400_000),
            ("30d", 2_592_000_000),
            ("0s", 0),
            ("3650d", 315_360_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "+5s",
            "1.5h",
            "5 s",
            " 5s",
            "5s ",
            "1h30m",
            "5M",
            "5min",
            "never",
            "3651d",
            "99999999999999999999s",
            "18446744073709551615d",
            "٣s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_have_a_number_and_a_duration() {
        for (text, limit, seconds) in [
            ("50/1m", 50, 60),
            ("10/1s", 10, 1),
            ("1000/24h", 1000, 86_400),
            ("1/1000ms", 1, 1),
            ("100000/30d", 100_000, 2_592_000),
        ] {
            assert_eq!(rate(text), Ok(Rate { limit, per: Duration::from_secs(seconds) }), "{text}");
        }
        for text in [
            "",
            "50",
            "/1m",
            "50/",
            "50/m",
            "50/60",
            "0/1s",
            "-1/1s",
            "+1/1s",
            "1.5/1s",
            "50 / 1m",
            " 50/1m",
            "50/1m/1h",
            "100001/1s",
            "99999999999999999999/1s",
            "1/999ms",
            "1/0s",
            "1/31d",
        ] {
            let rule = rate(text).expect_err(text);
            assert!(rule.starts_with("must "), "{text}: {rule}");
        }
    }

    #[test]
    fn sizes_are_powers_of_two_and_say_so() {
        for (text, bytes) in [("2B", 2), ("64KiB", 65_536), ("1MiB", 1_048_576), ("1GiB", 1 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "64", "64K", "64KB", "64kib", "-1B", "1.5MiB", "18446744073709551615KiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
