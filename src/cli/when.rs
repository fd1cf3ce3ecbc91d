//! Times of a command line that are local to a zone which is known only later.

use jiff::civil::{Date, DateTime};
use triggerd::clock::UnixMillis;
use triggerd::schedule::{Instants, Zone};

use super::failure::{Failure, USAGE};
use super::submit;

/// A time as it was typed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum When {
    /// With an offset.
    Instant(UnixMillis),
    /// What a clock on the wall shows.
    Local(DateTime),
}

impl When {
    /// `2026-01-31T08:00:00Z`, 13 digits of Unix milliseconds, `2026-01-31` (its midnight) or `2026-01-31 08:00`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const RULE: &str = "must be a time such as 2026-01-31T08:00:00Z, 2026-01-31 or \"2026-01-31 08:00\" in the schedule's zone, \
                            or 13 digits of Unix milliseconds";
        if text.ends_with('Z')
            || text.parse::<jiff::Timestamp>().is_ok()
            || text.len() == 13 && !text.contains('-')
        {
            return submit::instant(text).map(Self::Instant).map_err(|_| RULE.to_owned());
        }
        let date = || text.parse::<Date>().ok().filter(|date| date.to_string() == text);
        let local = date().map(|date| date.at(0, 0, 0, 0));
        let local = local.or_else(|| text.contains(':').then(|| text.parse().ok())?);
        local.map(Self::Local).ok_or_else(|| RULE.to_owned())
    }

    /// The instant. One that the clock jumps over is that of the jump.
    pub(crate) fn at(&self, zone: &Zone) -> Result<UnixMillis, Failure> {
        match self {
            Self::Instant(at) => Ok(*at),
            Self::Local(local) => match zone.instants(*local) {
                Instants::Unambiguous(at) | Instants::Gap(at) => Ok(at),
                Instants::Fold(..) => {
                    let name = zone.name();
                    let line = format!("{local} comes twice in {name}: give it with its offset");
                    Err(Failure::new(USAGE, line))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_or_local_to_the_zone() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let at = |text: &str| {
            When::parse(text).unwrap().at(&berlin).map(|at| at.0).map_err(|failure| failure.code)
        };
        assert_eq!(at("2026-01-31T08:00:00Z"), Ok(1_769_846_400_000));
        assert_eq!(at("2026-01-31T08:00:00+01:00"), Ok(1_769_842_800_000));
        assert_eq!(at("1769846400000"), Ok(1_769_846_400_000));
        assert_eq!(at("2026-01-31 08:00"), Ok(1_769_842_800_000));
        assert_eq!(at("2026-01-31"), Ok(1_769_814_000_000));
        assert_eq!(at("2026-03-29 02:30"), at("2026-03-29T01:00:00Z"));
        assert_eq!(at("2026-10-25 02:30"), Err(USAGE));
        for bad in ["", "tomorrow", "08:00", "2026-02-30", "20260131", "1769846400", "2026-01-31 25:00"] {
            assert!(When::parse(bad).is_err(), "{bad}");
        }
    }
}
