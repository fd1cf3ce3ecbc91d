//! `@every 90s`: a period instead of a calendar.

use std::time::Duration;

use super::expression::Problem;

/// Shorter ones are no schedule but a loop.
const SHORTEST: Duration = Duration::from_secs(1);
/// As long as any duration of the configuration may be.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// What may follow a number, in milliseconds.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads `90s`, `24h` or `1h30m`.
pub(super) fn parse(text: &str) -> Result<Duration, Problem> {
    let problem = |wrong: &str| {
        let right = "write @every and numbers with ms, s, m, h or d, such as 90s, 10m, 24h, 7d, 1h30m";
        Problem::new("@every", format!("{text:?}: {wrong}"), right)
    };
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    let mut smaller_than = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        let (unit, after) = after.split_at(letters);
        let number: u64 = number.parse().map_err(|_| problem("not a duration"))?;
        let (_, millis) =
            UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| problem("not a duration"))?;
        if *millis >= smaller_than {
            return Err(problem("the larger unit goes first, and each only once"));
        }
        smaller_than = *millis;
        total = total.saturating_add(Duration::from_millis(number.saturating_mul(*millis)));
        rest = after;
    }
    match total {
        Duration::ZERO => Err(problem("a period is missing")),
        short if short < SHORTEST => Err(problem("shorter than 1s")),
        long if long > LONGEST => Err(problem("longer than 3650d")),
        total => Ok(total),
    }
}

/// The one spelling of a period.
pub(super) fn spell(period: Duration) -> String {
    let mut left = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in UNITS.iter().rev() {
        if left >= *millis {
            text.push_str(&format!("{}{unit}", left / millis));
            left %= millis;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_one_or_more_numbers_with_a_unit() {
        for (text, millis, spelt) in [
            ("90s", 90_000, "1m30s"),
            ("10m", 600_000, "10m"),
            ("24h", 86_400_000, "1d"),
            ("7d", 604_800_000, "7d"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1500ms", 1_500, "1s500ms"),
        ] {
            let period = parse(text).unwrap();
            assert_eq!(period, Duration::from_millis(millis), "{text}");
            assert_eq!(spell(period), spelt);
            assert_eq!(parse(spelt).unwrap(), period);
        }
        let refused = [
            "",
            "s",
            "5",
            "0s",
            "250ms",
            "-5s",
            "1.5h",
            "30m1h",
            "5s5s",
            "1H",
            "4000d",
            "99999999999999999999s",
            "1h 30m",
            "18446744073709551615d",
        ];
        for text in refused {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
