//! Days without work: dates on which a schedule does not fire, and what becomes of the times that fall on one.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Span;
use jiff::civil::{Date, Weekday};

use super::zone::Zone;
use crate::clock::UnixMillis;

/// No time is moved further than this.
pub(super) const FURTHEST_DAYS: i64 = 31;

/// A named set of excluded dates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// What schedules call it.
    pub name: String,
    /// Whose date an instant has. Without one it is the date in the zone of the schedule.
    pub zone: Option<Zone>,
    /// The excluded dates.
    pub dates: BTreeSet<Date>,
}

/// What becomes of a time on an excluded date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnExcluded {
    /// It is left out.
    Skip,
    /// It comes on the next working day, at the same local time.
    NextWorkingDay,
    /// It comes on the working day before, at the same local time.
    PreviousWorkingDay,
}

impl OnExcluded {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Skip, Self::NextWorkingDay, Self::PreviousWorkingDay];

    /// The one spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::NextWorkingDay => "next_working_day",
            Self::PreviousWorkingDay => "previous_working_day",
        }
    }
}

impl fmt::Display for OnExcluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// None of the three spellings.
#[derive(Debug, thiserror::Error)]
#[error("unknown way with excluded dates {0:?}: it is skip, next_working_day or previous_working_day")]
pub struct UnknownOnExcluded(pub String);

impl FromStr for OnExcluded {
    type Err = UnknownOnExcluded;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|way| way.as_str() == text)
            .ok_or_else(|| UnknownOnExcluded(text.to_owned()))
    }
}

impl Calendar {
    /// Whether a date is excluded.
    #[must_use]
    pub fn excludes(&self, date: Date) -> bool {
        self.dates.contains(&date)
    }

    /// Whether people work on a date: Monday to Friday, and not excluded.
    #[must_use]
    pub fn is_working_day(&self, date: Date) -> bool {
        !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday) && !self.excludes(date)
    }

    /// The date that an instant has.
    pub(super) fn date(&self, at: UnixMillis, zone: &Zone) -> Date {
        self.zone.as_ref().unwrap_or(zone).local(at).datetime.date()
    }

    /// The working day to which times of an excluded date are moved, if one is near.
    pub(super) fn moved(&self, date: Date, way: OnExcluded) -> Option<Date> {
        let direction = match way {
            OnExcluded::Skip => return None,
            OnExcluded::NextWorkingDay => 1,
            OnExcluded::PreviousWorkingDay => -1,
        };
        let mut days = (1..=FURTHEST_DAYS).map(|days| plus_days(date, direction * days));
        days.find(|day| self.is_working_day(*day))
    }

    /// A date after this one, which has no working day near, before which there is no other that has one.
    pub(super) fn next_that_moves(&self, date: Date, way: OnExcluded) -> Date {
        let mut next = self.run_end(date);
        if way == OnExcluded::PreviousWorkingDay {
            return next;
        }
        while !self.is_working_day(next) && next < Date::MAX {
            next = plus_days(next, 1);
        }
        plus_days(next, -FURTHEST_DAYS).max(plus_days(date, 1))
    }

    /// The first excluded date that is not before this one.
    pub(super) fn excluded_from(&self, date: Date) -> Option<Date> {
        self.dates.range(date..).next().copied()
    }

    /// The first date after this one that is not excluded.
    pub(super) fn run_end(&self, date: Date) -> Date {
        let mut next = plus_days(date, 1);
        while self.excludes(next) && next < Date::MAX {
            next = plus_days(next, 1);
        }
        next
    }
}

pub(super) fn plus_days(date: Date, days: i64) -> Date {
    date.saturating_add(Span::new().days(days))
}
