//! Durations and sizes as people write them: `250ms`, `24h`, `64KiB`.
//!
//! Stricter than the usual parsers, since a unit misread is a limit wrong by orders of magnitude: `m` is a minute
//! and never a month, `K` and `KB` (1000 or 1024?) are refused, and so is a number without a unit.

use std::time::Duration;

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
    fn sizes_are_powers_of_two_and_say_so() {
        for (text, bytes) in [("2B", 2), ("64KiB", 65_536), ("1MiB", 1_048_576), ("1GiB", 1 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "64", "64K", "64KB", "64kib", "-1B", "1.5MiB", "18446744073709551615KiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
