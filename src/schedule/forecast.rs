//! What a schedule will do, for people: the times at which it fires, and between them those that were left out.

use jiff::civil::{Date, DateTime};

use super::calendar::OnExcluded;
use super::nominal::days_between;
use super::timetable::{DstGap, DstOverlap, HORIZON, Timetable};
use super::zone::{Instants, Wall, seconds};
use crate::clock::UnixMillis;

/// A forecast has no more times that were left out than this.
const MOST_LEFT_OUT: usize = 200;
/// Times that are looked at for it: a schedule may name every second.
const MOST_LOOKED_AT: usize = 20_000;

/// One time of a forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When; nothing where the clock jumps over the time.
    pub at: Option<UnixMillis>,
    /// As the clock on the wall shows it; with offset and abbreviation, unless the clock never shows it.
    pub local: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The schedule fires.
    Fires,
    /// It fires instead of on this excluded date.
    MovedFrom(Date),
    /// It does not fire.
    LeftOut(Reason),
}

/// Why a time was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its date is excluded, and no working day within 31 days takes it.
    Calendar,
    /// The clock jumps over it.
    DstGap,
    /// The clock shows it for the second time.
    DstOverlap,
    /// The schedule has ended.
    Ended,
}

impl Reason {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Calendar, Self::DstGap, Self::DstOverlap, Self::Ended];

    /// The one spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calendar => "calendar",
            Self::DstGap => "dst_gap",
            Self::DstOverlap => "dst_overlap",
            Self::Ended => "ended",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Timetable {
    /// The next `n` times at which it fires, and those left out before the last of them (200 at most), in order.
    ///
    /// Where there are fewer, up to `n` that are left out afterwards say why; where it ends, the last entry is the first
    /// time that it would have fired.
    #[must_use]
    pub fn forecast(&self, after: UnixMillis, n: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut last = after;
        let mut ended = None;
        for _ in 0..n {
            let Some(fire) = self.next_fire(last) else {
                ended = self.first_after_end(last);
                break;
            };
            let fate = fire.moved_from.map_or(Fate::Fires, Fate::MovedFrom);
            entries.push((fire.at, self.entry(fire.at, fate)));
            last = fire.at;
        }
        let fires = entries.len();
        self.left_out(after, last, MOST_LEFT_OUT, &mut entries);
        if fires < n {
            // Why there are no more.
            let end = ended.or(self.definition().ends_at).unwrap_or(last.plus(HORIZON));
            self.left_out(last, end, n, &mut entries);
        }
        // Stable: where one fires in place of another one, that one is named first.
        entries.sort_by_key(|(at, entry)| (*at, !matches!(entry.fate, Fate::LeftOut(_))));
        if let Some(at) = ended {
            entries.push((at, self.entry(at, Fate::LeftOut(Reason::Ended))));
        }
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn entry(&self, at: UnixMillis, fate: Fate) -> Entry {
        Entry { at: Some(at), local: self.definition().zone.local(at).to_string(), fate }
    }

    /// The time that would be next if the schedule had no end.
    fn first_after_end(&self, after: UnixMillis) -> Option<UnixMillis> {
        self.definition().ends_at?;
        let mut endless = self.definition().clone();
        endless.ends_at = None;
        Self::new(endless).ok()?.next_after(after)
    }

    /// Adds what is left out after one instant and up to another one.
    fn left_out(
        &self,
        after: UnixMillis,
        end: UnixMillis,
        most: usize,
        entries: &mut Vec<(UnixMillis, Entry)>,
    ) {
        let start = self.definition().starts_at.map_or(after, |start| after.max(UnixMillis(start.0 - 1)));
        let mut found = Vec::new();
        if self.definition().expression.period().is_some() {
            self.periods_left_out(start, end, &mut found);
        } else {
            self.times_left_out(start, end, &mut found);
        }
        found.retain(|(at, _)| *at > start && *at <= end);
        found.sort_by_key(|(at, _)| *at);
        found.truncate(most);
        entries.append(&mut found);
    }

    fn periods_left_out(&self, after: UnixMillis, end: UnixMillis, found: &mut Vec<(UnixMillis, Entry)>) {
        let mut plain = self.definition().clone();
        plain.calendar = None;
        let Ok(plain) = Self::new(plain) else { return };
        let mut at = after;
        for _ in 0..MOST_LOOKED_AT {
            match plain.next_after(at) {
                Some(next) if next <= end && found.len() < MOST_LEFT_OUT => at = next,
                _ => return,
            }
            if self.excluded_until(at).is_some() {
                found.push((at, self.entry(at, Fate::LeftOut(Reason::Calendar))));
            }
        }
    }

    fn times_left_out(&self, after: UnixMillis, end: UnixMillis, found: &mut Vec<(UnixMillis, Entry)>) {
        let definition = self.definition();
        let (zone, expression, nominal) = (&definition.zone, &definition.expression, self.nominal());
        // A clock may have been set back just before: begin with the hours before.
        let wall = |at: UnixMillis| Wall(seconds(at) + zone.stretch(seconds(at)).offset);
        let margin = if zone.repeated_until(seconds(after)).is_some() { 3 * 3600 } else { 0 };
        let last = Wall(wall(end).0.saturating_add(3 * 3600));
        let mut wall = Wall(wall(after).0 - margin);
        for _ in 0..MOST_LOOKED_AT {
            match expression.next(wall) {
                Some(next) if next <= last && found.len() < 2 * MOST_LEFT_OUT => wall = next,
                _ => return,
            }
            let mut placed = wall;
            if let Some(calendar) = &definition.calendar {
                let date = nominal.date(calendar, wall);
                if calendar.excludes(date) {
                    match calendar.moved(date, definition.on_excluded) {
                        Some(target) if definition.on_excluded != OnExcluded::Skip => {
                            placed = wall.plus_days(days_between(date, target));
                        }
                        _ => {
                            let at = zone.first(wall);
                            found.push((at, self.at_wall(at, wall, Reason::Calendar)));
                            continue;
                        }
                    }
                }
            }
            let interval = expression.is_interval();
            match zone.instants_of(placed) {
                Instants::Gap(at) if interval || definition.dst_gap == DstGap::Skip => {
                    found.push((at, self.at_wall(at, placed, Reason::DstGap)));
                }
                Instants::Fold(_, second) if !interval && definition.dst_overlap == DstOverlap::First => {
                    found.push((second, self.entry(second, Fate::LeftOut(Reason::DstOverlap))));
                }
                Instants::Unambiguous(at) | Instants::Gap(at) | Instants::Fold(at, _)
                    if self.excluded_until(at).is_some() =>
                {
                    found.push((at, self.at_wall(at, placed, Reason::Calendar)));
                }
                _ => {}
            }
        }
    }

    /// A local time that was left out, whether there is such an instant or not.
    fn at_wall(&self, at: UnixMillis, wall: Wall, reason: Reason) -> Entry {
        let fate = Fate::LeftOut(reason);
        if self.definition().zone.local(at).datetime == wall.civil() {
            return self.entry(at, fate);
        }
        let local: DateTime = wall.civil();
        Entry { at: None, local: local.strftime("%Y-%m-%d %H:%M:%S").to_string(), fate }
    }
}
