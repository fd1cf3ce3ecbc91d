//! A whole schedule: the instants at which it fires, in order, each a function of the definition and of the one before.
//!
//! The zone's time is walked in stretches without a change of the clock. Within one, local times and instants are the
//! same but for an offset; between two, the policies say what happens. So the instants come in order by
//! construction, and never twice.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use super::calendar::{Calendar, OnExcluded};
use super::expression::Expression;
use super::nominal::Nominal;
use super::zone::{Wall, Zone, seconds};
use crate::clock::UnixMillis;

/// What does not come within 50 years never does.
pub(super) const HORIZON: Duration = Duration::from_secs(50 * 366 * 24 * 3600);
/// The year 9000: no schedule outlives it, and sums stay within what the crates can express.
const END_OF_TIME: UnixMillis = UnixMillis(221_845_392_000_000);

/// What a time that the clock jumps over becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DstGap {
    /// It fires at the first instant after the gap.
    RunAfter,
    /// It is left out.
    Skip,
}

impl DstGap {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::RunAfter, Self::Skip];

    /// The one spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunAfter => "run_after",
            Self::Skip => "skip",
        }
    }
}

impl fmt::Display for DstGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Neither of the two spellings.
#[derive(Debug, thiserror::Error)]
#[error("unknown way with gaps of the clock {0:?}: it is run_after or skip")]
pub struct UnknownDstGap(pub String);

impl FromStr for DstGap {
    type Err = UnknownDstGap;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|way| way.as_str() == text).ok_or_else(|| UnknownDstGap(text.to_owned()))
    }
}

/// How often a time fires that comes twice because the clock was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DstOverlap {
    /// Once, the first time.
    First,
    /// Twice.
    Both,
}

impl DstOverlap {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::First, Self::Both];

    /// The one spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Both => "both",
        }
    }
}

impl fmt::Display for DstOverlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Neither of the two spellings.
#[derive(Debug, thiserror::Error)]
#[error("unknown way with repeated times {0:?}: it is first or both")]
pub struct UnknownDstOverlap(pub String);

impl FromStr for DstOverlap {
    type Err = UnknownDstOverlap;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|way| way.as_str() == text)
            .ok_or_else(|| UnknownDstOverlap(text.to_owned()))
    }
}

/// All that decides when a schedule fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The text.
    pub expression: Expression,
    /// Whose clock it is about.
    pub zone: Zone,
    /// The days without work.
    pub calendar: Option<Arc<Calendar>>,
    /// What becomes of times on those.
    pub on_excluded: OnExcluded,
    /// Nothing fires before this instant.
    pub starts_at: Option<UnixMillis>,
    /// From this instant on nothing fires.
    pub ends_at: Option<UnixMillis>,
    /// What becomes of a fixed time that the clock jumps over.
    pub dst_gap: DstGap,
    /// What becomes of a fixed time that comes twice.
    pub dst_overlap: DstOverlap,
    /// From where `@every` counts, unless `starts_at` says it.
    pub anchor: UnixMillis,
}

/// Parts of a definition that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// There is no local time to keep.
    #[error(
        "on_excluded: {way} does not go with @every, which has no time of the day to keep; skip does, or a cron expression"
    )]
    MovedPeriod {
        /// What was to be done with excluded dates.
        way: OnExcluded,
    },
    /// Nothing is between.
    #[error("ends_at: it is not after starts_at; a schedule ends after it has started")]
    EndsBeforeStart,
}

/// A checked definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timetable {
    definition: Definition,
}

/// One instant at which a schedule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fire {
    pub(super) at: UnixMillis,
    pub(super) moved_from: Option<Date>,
}

impl Timetable {
    /// Checks that the parts go together.
    ///
    /// # Errors
    /// If they do not.
    pub fn new(definition: Definition) -> Result<Self, Conflict> {
        let way = definition.on_excluded;
        let periodic = definition.expression.period().is_some();
        if periodic && definition.calendar.is_some() && way != OnExcluded::Skip {
            return Err(Conflict::MovedPeriod { way });
        }
        match (definition.starts_at, definition.ends_at) {
            (Some(start), Some(end)) if end <= start => Err(Conflict::EndsBeforeStart),
            _ => Ok(Self { definition }),
        }
    }

    /// What it was made from.
    #[must_use]
    pub const fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The first instant after this one at which the schedule fires; none if it ends before, or if nothing comes within
    /// 50 years.
    ///
    /// The answers are one fixed sequence: it does not matter where the asking began.
    #[must_use]
    pub fn next_after(&self, after: UnixMillis) -> Option<UnixMillis> {
        self.next_fire(after).map(|fire| fire.at)
    }

    /// Whether nothing fires after this instant.
    #[must_use]
    pub fn never_fires(&self, after: UnixMillis) -> bool {
        self.next_after(after).is_none()
    }

    pub(super) fn next_fire(&self, after: UnixMillis) -> Option<Fire> {
        let Definition { starts_at, ends_at, .. } = self.definition;
        // Nothing was before 1970.
        let start = starts_at.unwrap_or(UnixMillis(0)).max(UnixMillis(0));
        let mut after = after.max(UnixMillis(start.0 - 1));
        let until = after.plus(HORIZON).min(END_OF_TIME);
        loop {
            let fire = self.next_regardless(after, until)?;
            if fire.at > until || ends_at.is_some_and(|end| fire.at >= end) {
                return None;
            }
            match self.excluded_until(fire.at) {
                None => return Some(fire),
                Some(end) => after = UnixMillis(end.0 - 1).max(fire.at),
            }
        }
    }

    /// The end of the excluded days that an instant is in.
    ///
    /// For cron expressions the calendar has been asked about local times before; this is about the few whose instant
    /// has another date: where a clock jumps over midnight, or the calendar has a zone of its own.
    pub(super) fn excluded_until(&self, at: UnixMillis) -> Option<UnixMillis> {
        let calendar = self.definition.calendar.as_ref()?;
        let zone = calendar.zone.as_ref().unwrap_or(&self.definition.zone);
        let date = calendar.date(at, zone);
        let end = || zone.first(Wall::of(calendar.run_end(date).at(0, 0, 0, 0)));
        calendar.excludes(date).then(end)
    }

    /// The next one if calendars did not look at instants, and nothing ended.
    fn next_regardless(&self, after: UnixMillis, until: UnixMillis) -> Option<Fire> {
        match self.definition.expression.period() {
            Some(period) => self.next_of_period(after, period),
            None => self.next_on_clock(after, until),
        }
    }

    fn next_of_period(&self, after: UnixMillis, period: Duration) -> Option<Fire> {
        let anchor = self.definition.starts_at.unwrap_or(self.definition.anchor);
        let period = i64::try_from(period.as_millis()).ok()?;
        let at = if after < anchor {
            anchor.0
        } else {
            let count = after.0.checked_sub(anchor.0)? / period + 1;
            anchor.0.checked_add(count.checked_mul(period)?)?
        };
        Some(Fire { at: UnixMillis(at), moved_from: None })
    }

    fn next_on_clock(&self, after: UnixMillis, until: UnixMillis) -> Option<Fire> {
        let Definition { zone, dst_gap, dst_overlap, .. } = &self.definition;
        let interval = self.definition.expression.is_interval();
        let nominal = self.nominal();
        let once = !interval && *dst_overlap == DstOverlap::First;

        let mut start = seconds(after.min(until));
        let mut stretch = zone.stretch(start);
        // What was searched is everything up to here.
        let mut searched = Wall(start + stretch.offset);
        let far = Wall(seconds(until)).plus_days(2);
        let mut due = nominal.next(searched, far);
        loop {
            let end = stretch.end.map(|end| Wall(end + stretch.offset));
            if let Some(found) = due.filter(|found| end.is_none_or(|end| found.wall < end)) {
                match zone.repeated_until(start).filter(|_| once) {
                    Some(repeated) if found.wall < repeated => {
                        searched = repeated.minus_second();
                        due = nominal.next(searched, far);
                        continue;
                    }
                    _ => {
                        let at = UnixMillis((found.wall.0 - stretch.offset) * 1_000);
                        return Some(Fire { at, moved_from: found.moved_from });
                    }
                }
            }
            start = stretch.end?;
            let before = Wall(start + stretch.offset);
            stretch = zone.stretch(start);
            let begin = Wall(start + stretch.offset);
            if begin > far {
                return None;
            }
            match due {
                // In a gap.
                Some(found) if found.wall >= before && found.wall < begin => {
                    if !interval && *dst_gap == DstGap::RunAfter {
                        return Some(Fire { at: UnixMillis(start * 1_000), moved_from: found.moved_from });
                    }
                    searched = begin.minus_second();
                    due = nominal.next(searched, far);
                }
                // The clock was set back behind what was searched.
                _ if begin <= searched => {
                    searched = begin.minus_second();
                    due = nominal.next(searched, far);
                }
                Some(_) => {}
                None => return None,
            }
        }
    }

    pub(super) fn nominal(&self) -> Nominal<'_> {
        let Definition { expression, zone, calendar, on_excluded, .. } = &self.definition;
        Nominal { expression, zone, calendar: calendar.as_deref(), way: *on_excluded }
    }
}
