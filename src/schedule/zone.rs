//! Zones: which instants a local time is, and which local time an instant.
//!
//! A zone is named as the IANA's database has it. Offsets and abbreviations are refused: they do not say when a clock
//! is changed, and the same letters mean several places.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Span, Timestamp};

use crate::clock::UnixMillis;

/// Names nearer than this to what was written are worth a word.
const NEAR: f64 = 0.85;

/// A zone of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// A name that is no zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time zone: {name:?} {wrong}; {right}")]
pub struct UnknownZone {
    name: String,
    wrong: &'static str,
    right: String,
}

/// The instants that a local time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instants {
    /// One, as nearly always.
    Unambiguous(UnixMillis),
    /// None: the clock went forward over it, at this instant.
    Gap(UnixMillis),
    /// Two: the clock was set back, and it came again.
    Fold(UnixMillis, UnixMillis),
}

/// An instant as the clock on the wall shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Date and time.
    pub datetime: DateTime,
    /// What that is ahead of UTC.
    pub offset: Offset,
    /// What people call it there, such as CEST; often but a number.
    pub abbreviation: String,
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { datetime, offset, abbreviation } = self;
        let (sign, seconds) =
            if offset.is_negative() { ('-', -offset.seconds()) } else { ('+', offset.seconds()) };
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        write!(f, "{} {sign}{hours:02}:{minutes:02}", datetime.strftime("%Y-%m-%d %H:%M:%S"))?;
        // Places without letters of their own have their offset there again.
        if abbreviation.starts_with(char::is_alphabetic) { write!(f, " {abbreviation}") } else { Ok(()) }
    }
}

impl Zone {
    /// Looks a name up.
    ///
    /// # Errors
    /// If it is not the name of a zone, with one that may have been meant.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        let unknown = |wrong| UnknownZone { name: name.chars().take(64).collect(), wrong, right: near(name) };
        let plain = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
        if name.is_empty() {
            return Err(unknown("is empty"));
        }
        let misplaced = name.starts_with('/') || name.ends_with('/') || name.contains("//");
        if name.len() > 64 || !name.chars().all(plain) || misplaced {
            return Err(unknown("is not the name of a zone"));
        }
        if name == "UTC" {
            return Ok(Self::utc());
        }
        if !name.contains('/') {
            return Err(unknown("does not name a place"));
        }
        if ["posix/", "right/"].iter().any(|folder| name.starts_with(folder)) {
            return Err(unknown("is a path"));
        }
        match TimeZone::get(name) {
            // The database does not mind the case; we do, so that there is one spelling.
            Ok(zone) if zone.iana_name() == Some(name) => Ok(Self { name: name.to_owned(), zone }),
            _ => Err(unknown("is not known")),
        }
    }

    /// Universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the clock on the wall shows at an instant; whole seconds.
    #[must_use]
    pub fn local(&self, at: UnixMillis) -> Local {
        let at = timestamp(seconds(at));
        let info = self.zone.to_offset_info(at);
        Local {
            datetime: info.offset().to_datetime(at),
            offset: info.offset(),
            abbreviation: info.abbreviation().to_owned(),
        }
    }

    /// When a local time is.
    #[must_use]
    pub fn instants(&self, local: DateTime) -> Instants {
        self.instants_of(Wall::of(local))
    }

    pub(super) fn instants_of(&self, wall: Wall) -> Instants {
        let at = |offset: Offset| UnixMillis((wall.0 - i64::from(offset.seconds())) * 1_000);
        match self.zone.to_ambiguous_timestamp(wall.civil()).offset() {
            AmbiguousOffset::Unambiguous { offset } => Instants::Unambiguous(at(offset)),
            AmbiguousOffset::Fold { before, after } => Instants::Fold(at(before), at(after)),
            AmbiguousOffset::Gap { before, after } => {
                // Read with the later offset it is before the change, with the earlier one at it or after.
                let early = self.stretch(seconds(at(after)));
                let change = early.end.unwrap_or_else(|| seconds(at(before)));
                Instants::Gap(UnixMillis(change.saturating_mul(1_000)))
            }
        }
    }

    /// The first of the instants of a local time; where there is none, the first one after it.
    pub(super) fn first(&self, wall: Wall) -> UnixMillis {
        match self.instants_of(wall) {
            Instants::Unambiguous(at) | Instants::Gap(at) | Instants::Fold(at, _) => at,
        }
    }

    /// The time without a change of the clock that this second (since 1970) is in.
    pub(super) fn stretch(&self, second: i64) -> Stretch {
        let at = timestamp(second);
        let offset = self.zone.to_offset(at);
        let end = self.zone.following(at).find(|change| change.offset() != offset);
        Stretch { offset: i64::from(offset.seconds()), end: end.map(|end| end.timestamp().as_second()) }
    }

    /// Until when the clock was set back, if the stretch that this second is in began so: local times before that have
    /// been there already.
    pub(super) fn repeated_until(&self, second: i64) -> Option<Wall> {
        let at = timestamp(second);
        let offset = i64::from(self.zone.to_offset(at).seconds());
        let next = timestamp(second.saturating_add(1));
        for change in self.zone.preceding(next) {
            let start = change.timestamp().as_second();
            let before = i64::from(self.zone.to_offset(timestamp(start - 1)).seconds());
            if before != offset {
                return (before > offset).then_some(Wall(start + before));
            }
        }
        None
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A time with one offset throughout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// Seconds ahead of UTC.
    pub(super) offset: i64,
    /// The second since 1970 that is the first with another offset.
    pub(super) end: Option<i64>,
}

/// What a clock on a wall shows, as the seconds since it showed 1970-01-01 00:00:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wall(pub(super) i64);

impl Wall {
    /// The second before all schedules.
    pub(super) const FIRST: Self = Self(-1);
    const DAY: i64 = 86_400;

    pub(super) fn of(local: DateTime) -> Self {
        Self(Offset::UTC.to_timestamp(local).map_or(i64::MAX / 4, Timestamp::as_second))
    }

    pub(super) fn civil(self) -> DateTime {
        Offset::UTC.to_datetime(timestamp(self.0))
    }

    pub(super) fn date(self) -> Date {
        self.civil().date()
    }

    /// The last second before a date.
    pub(super) fn before(date: Date) -> Self {
        Self(Self::of(date.at(0, 0, 0, 0)).0 - 1)
    }

    pub(super) const fn plus_days(self, days: i64) -> Self {
        Self(self.0.saturating_add(days * Self::DAY))
    }

    pub(super) const fn minus_second(self) -> Self {
        Self(self.0 - 1)
    }
}

/// The second that an instant is in.
pub(super) const fn seconds(at: UnixMillis) -> i64 {
    at.0.div_euclid(1_000)
}

/// Times that the crate cannot express are as far away as it can.
fn timestamp(second: i64) -> Timestamp {
    let far = if second < 0 { Timestamp::MIN } else { Timestamp::MAX };
    // A day from the ends, so that an offset can be added.
    let span = Span::new().hours(48);
    let near_end = if second < 0 { far.checked_add(span) } else { far.checked_sub(span) };
    let limit = near_end.map_or(0, Timestamp::as_second);
    let second = if second < 0 { second.max(limit) } else { second.min(limit) };
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What would be right instead of this name.
fn near(name: &str) -> String {
    let wanted = name.to_ascii_lowercase().replace(' ', "_");
    let mut best: Option<(f64, String)> = None;
    for known in jiff::tz::db().available() {
        let known = known.as_str();
        if !known.contains('/') || known.starts_with("posix/") || known.starts_with("right/") {
            continue;
        }
        let lower = known.to_ascii_lowercase();
        let place = lower.rsplit('/').next().unwrap_or_default();
        let like = if place == wanted {
            1.0
        } else {
            strsim::jaro_winkler(&lower, &wanted).max(strsim::jaro_winkler(place, &wanted) - 0.02)
        };
        if like >= NEAR && best.as_ref().is_none_or(|(least, _)| like > *least) {
            best = Some((like, known.to_owned()));
        }
    }
    match best {
        Some((_, known)) if !name.is_empty() => format!("did you mean {known:?}?"),
        _ => "write an IANA name such as \"Europe/Berlin\", or \"UTC\"".to_owned(),
    }
}
