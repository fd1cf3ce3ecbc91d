//! The room against answers of other engines, by hand, and against a slow reading of the same rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::{Calendar, Definition, DstGap, DstOverlap, Expression, OnExcluded, Timetable, Zone};
use crate::clock::UnixMillis;

mod by_hand;
mod laws;
mod oracle;
mod vectors;

/// A schedule with nothing special about it.
fn definition(expression: Expression, zone: &str) -> Definition {
    Definition {
        expression,
        zone: Zone::parse(zone).unwrap(),
        calendar: None,
        on_excluded: OnExcluded::Skip,
        starts_at: None,
        ends_at: None,
        dst_gap: DstGap::RunAfter,
        dst_overlap: DstOverlap::First,
        anchor: UnixMillis(0),
    }
}

fn plain(expression: Expression, zone: &str) -> Timetable {
    Timetable::new(definition(expression, zone)).unwrap()
}

fn calendar(zone: Option<&str>, dates: &[&str]) -> Arc<Calendar> {
    let dates: BTreeSet<Date> = dates.iter().map(|date| date.parse().unwrap()).collect();
    Arc::new(Calendar {
        name: "holidays".to_owned(),
        zone: zone.map(|zone| Zone::parse(zone).unwrap()),
        dates,
    })
}

fn at(text: &str) -> UnixMillis {
    UnixMillis(text.parse::<Timestamp>().unwrap().as_millisecond())
}

fn spell(at: UnixMillis) -> String {
    Timestamp::from_millisecond(at.0).unwrap().to_string()
}

/// The next fires in UTC.
fn instants(timetable: &Timetable, from: &str, count: usize) -> Vec<String> {
    fires(timetable, at(from)).take(count).map(spell).collect()
}

/// All fires, as somebody finds them who goes from one to the next.
fn fires(timetable: &Timetable, after: UnixMillis) -> impl Iterator<Item = UnixMillis> {
    std::iter::successors(timetable.next_after(after), |at| timetable.next_after(*at))
}
