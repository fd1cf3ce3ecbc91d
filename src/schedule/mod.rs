//! When: a cron text, a zone and a calendar become the instants at which a schedule fires.
//!
//! Pure: no async, no clock, no SQL. Which instant follows another one depends on the definition and on nothing
//! else, so that a daemon that starts again goes on where the last one was. (`jiff` reads the machine's zone
//! database, and has one of its own for machines without.)
//!
//! The path of a time, each step on top of the one before:
//!
//! 1. `field`, [`Expression`]: the text, checked, and the local times that it means, on a calendar without a zone.
//! 2. `evaluation`: the two crates that find these.
//! 3. [`Calendar`], `nominal`: days without work leave times out or move them to another day.
//! 4. [`Timetable`], [`Zone`]: local times become instants, with what is to happen where a clock is changed.
//! 5. [`Entry`]: the same for people, with what was left out and why.
//!
//! [`files`] reads the dates of a calendar as others write them down.

mod calendar;
mod evaluation;
mod every;
mod expression;
mod field;
mod forecast;
mod nominal;
mod plan;
mod policy;
#[cfg(test)]
mod tests;
mod timetable;
mod words;
mod zone;

pub mod files;

pub use calendar::{Calendar, OnExcluded, UnknownOnExcluded};
pub use expression::{Dialect, Expression, Problem};
pub use forecast::{Entry, Fate, Reason};
pub(crate) use plan::named;
pub use plan::{CalendarPlan, Misfire, Overlap, Plan, Plans, UnknownPolicy};
pub use policy::{Missed, Settlement, Why};
pub use timetable::{Conflict, Definition, DstGap, DstOverlap, Timetable, UnknownDstGap, UnknownDstOverlap};
pub use zone::{Instants, Local, UnknownZone, Zone};
