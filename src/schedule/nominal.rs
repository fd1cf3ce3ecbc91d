//! The local times of a schedule once its calendar has had its say, still without any change of the clock.
//!
//! They are one fixed, ordered set: what follows a time does not depend on where somebody began to look. A time that
//! is moved backwards stands before its own date, so that a search looks ahead of what it returns.

use jiff::civil::Date;

use super::calendar::{Calendar, FURTHEST_DAYS, OnExcluded, plus_days};
use super::expression::Expression;
use super::zone::{Wall, Zone};

/// How far the dates of two zones are apart.
const ZONES_DAYS: i64 = 1;

/// Where the local times come from.
pub(super) struct Nominal<'a> {
    pub(super) expression: &'a Expression,
    pub(super) zone: &'a Zone,
    pub(super) calendar: Option<&'a Calendar>,
    pub(super) way: OnExcluded,
}

/// A local time at which the schedule is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) wall: Wall,
    /// The excluded date from which it was moved here.
    pub(super) moved_from: Option<Date>,
}

impl Nominal<'_> {
    /// The first one after this time, and not after `until`.
    pub(super) fn next(&self, after: Wall, until: Wall) -> Option<Due> {
        let kept = self.kept(after, until).map(|wall| Due { wall, moved_from: None });
        let Some(calendar) = self.calendar.filter(|_| self.way != OnExcluded::Skip) else { return kept };
        let moved = self.moved(calendar, after, kept.map_or(until, |kept| kept.wall));
        match (kept, moved) {
            (Some(kept), Some(moved)) if moved.wall < kept.wall => Some(moved),
            (None, moved) => moved,
            (kept, _) => kept,
        }
    }

    /// The first time that stays where it is.
    fn kept(&self, mut after: Wall, until: Wall) -> Option<Wall> {
        loop {
            let found = self.expression.next(after).filter(|found| *found <= until)?;
            let Some(calendar) = self.calendar else { return Some(found) };
            let date = self.date(calendar, found);
            if !calendar.excludes(date) {
                return Some(found);
            }
            after = found.max(self.begin(calendar, calendar.run_end(date)).minus_second());
        }
    }

    /// The first time that is moved to a place after `after` and before `until`.
    ///
    /// A later excluded date has no earlier target, and times keep their order within a date: the first that is
    /// found is nearly the first there is; only other dates with the same target are still to be looked at.
    fn moved(&self, calendar: &Calendar, after: Wall, mut until: Wall) -> Option<Due> {
        let mut found = None;
        // How far before and behind a date its times may come.
        let (before, behind) = match self.way {
            OnExcluded::NextWorkingDay => (ZONES_DAYS, FURTHEST_DAYS + ZONES_DAYS),
            _ => (FURTHEST_DAYS + ZONES_DAYS, ZONES_DAYS),
        };
        let mut from = plus_days(after.date(), -behind);
        while let Some(date) = calendar.excluded_from(from) {
            if plus_days(date, -before) > until.date() {
                break;
            }
            let Some(target) = calendar.moved(date, self.way) else {
                from = calendar.next_that_moves(date, self.way);
                continue;
            };
            from = plus_days(date, 1);
            if plus_days(target, -ZONES_DAYS) > until.date() {
                break;
            }
            if plus_days(target, ZONES_DAYS) < after.date() {
                continue;
            }
            let days = days_between(date, target);
            let begin = self.begin(calendar, date).minus_second();
            let least = after.plus_days(-days);
            match self.first_of(calendar, date, begin.max(least)) {
                Ok(source) => {
                    let wall = source.plus_days(days);
                    if wall < until || (found.is_none() && wall == until) {
                        until = wall;
                        found = Some(Due { wall, moved_from: Some(date) });
                    }
                }
                // Nothing until then, which may be years.
                Err(Some(next)) if least <= begin => from = from.max(plus_days(next.date(), -ZONES_DAYS)),
                Err(Some(_)) => {}
                Err(None) if least <= begin => break,
                Err(None) => {}
            }
        }
        found
    }

    /// The first time of a date after this one, or else the first one at all.
    fn first_of(&self, calendar: &Calendar, date: Date, mut after: Wall) -> Result<Wall, Option<Wall>> {
        loop {
            let found = self.expression.next(after).ok_or(None)?;
            match self.date(calendar, found).cmp(&date) {
                std::cmp::Ordering::Less => after = found,
                std::cmp::Ordering::Equal => return Ok(found),
                std::cmp::Ordering::Greater => return Err(Some(found)),
            }
        }
    }

    /// The date of a local time in the eyes of the calendar.
    pub(super) fn date(&self, calendar: &Calendar, wall: Wall) -> Date {
        match &calendar.zone {
            Some(zone) if zone != self.zone => calendar.date(self.zone.first(wall), zone),
            _ => wall.date(),
        }
    }

    /// The local time of the schedule at which a date of the calendar begins.
    fn begin(&self, calendar: &Calendar, date: Date) -> Wall {
        let midnight = Wall::of(date.at(0, 0, 0, 0));
        match &calendar.zone {
            Some(zone) if zone != self.zone => Wall::of(self.zone.local(zone.first(midnight)).datetime),
            _ => midnight,
        }
    }
}

/// How many days later `to` is.
pub(super) fn days_between(from: Date, to: Date) -> i64 {
    (Wall::before(to).0 - Wall::before(from).0) / 86_400
}
