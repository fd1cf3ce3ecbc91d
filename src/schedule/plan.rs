//! What a schedule and a calendar say, as one writes them down: a row, or a section of the configuration.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use super::{Calendar, Definition, DstGap, DstOverlap, Expression, OnExcluded, Timetable, UnknownZone, Zone};
use crate::clock::UnixMillis;
use crate::request::CallMode;

/// One schedule. The names of its parts are those of the table `schedules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `[a-z0-9_-]+`.
    pub name: String,
    /// What it fires.
    pub trigger_name: String,
    /// The text of one JSON object, without `$callMode`.
    pub arguments: String,
    /// In place of the trigger's.
    pub call_mode: Option<CallMode>,
    /// -100 to 100; higher runs first.
    pub priority: i64,
    /// See [`Expression`].
    pub expression: String,
    /// See [`Zone`].
    pub time_zone: String,
    /// The name of a calendar.
    pub calendar: Option<String>,
    /// What becomes of a time on one of its dates.
    pub on_excluded: OnExcluded,
    /// No times before.
    pub starts_at: Option<UnixMillis>,
    /// None from then on.
    pub ends_at: Option<UnixMillis>,
    /// What if an earlier request of it has not ended.
    pub overlap: Overlap,
    /// What becomes of times that came while no daemon ran.
    pub misfire: Misfire,
    /// Nothing is made up for that is longer ago.
    pub catch_up_window: Duration,
    /// Nor more than so many times.
    pub max_catch_up: u32,
    /// What becomes of a local time that the clock jumps over.
    pub dst_gap: DstGap,
    /// What becomes of a local time that comes twice.
    pub dst_overlap: DstOverlap,
    /// Requests are fired later than their times by up to this.
    pub jitter: Duration,
    /// So many requests in a row that started no remote job pause it.
    pub disable_after_launches: Option<u32>,
    /// So many in a row whose remote job failed.
    pub disable_after_faults: Option<u32>,
    /// But not while one was better within this time.
    pub disable_grace: Duration,
    /// For people.
    pub description: Option<String>,
}

/// One calendar of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarPlan {
    /// `[a-z0-9_-]+`.
    pub name: String,
    /// Whose dates they are; none: those of the zone of the schedule.
    pub time_zone: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// The excluded dates.
    pub dates: BTreeSet<Date>,
}

impl CalendarPlan {
    /// As schedules use it.
    ///
    /// # Errors
    ///
    /// If its time zone is none.
    pub fn calendar(&self) -> Result<Calendar, UnknownZone> {
        let zone = self.time_zone.as_deref().map(Zone::parse).transpose()?;
        Ok(Calendar { name: self.name.clone(), zone, dates: self.dates.clone() })
    }
}

/// All of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plans {
    /// By name.
    pub schedules: Vec<Plan>,
    /// By name.
    pub calendars: Vec<CalendarPlan>,
}

impl Plan {
    /// A plan with the defaults of the documentation.
    #[must_use]
    pub fn new(name: &str, trigger_name: &str, expression: &str, time_zone: &str) -> Self {
        Self {
            name: name.to_owned(),
            trigger_name: trigger_name.to_owned(),
            arguments: "{}".to_owned(),
            call_mode: None,
            priority: 0,
            expression: expression.to_owned(),
            time_zone: time_zone.to_owned(),
            calendar: None,
            on_excluded: OnExcluded::Skip,
            starts_at: None,
            ends_at: None,
            overlap: Overlap::Skip,
            misfire: Misfire::RunOnce,
            catch_up_window: Duration::from_secs(3600),
            max_catch_up: 100,
            dst_gap: DstGap::RunAfter,
            dst_overlap: DstOverlap::First,
            jitter: Duration::ZERO,
            disable_after_launches: None,
            disable_after_faults: None,
            disable_grace: Duration::from_secs(24 * 3600),
            description: None,
        }
    }

    /// Its times. `created_at` is where `@every` counts from, if nothing else says so.
    ///
    /// # Errors
    ///
    /// What cannot be understood: `column: rule`.
    pub fn timetable(
        &self,
        calendar: Option<Arc<Calendar>>,
        created_at: UnixMillis,
    ) -> Result<Timetable, String> {
        let expression =
            Expression::parse(&self.expression).map_err(|problem| named("expression", &problem))?;
        let zone = Zone::parse(&self.time_zone).map_err(|problem| named("time_zone", &problem))?;
        Timetable::new(Definition {
            expression,
            zone,
            calendar,
            on_excluded: self.on_excluded,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            dst_gap: self.dst_gap,
            dst_overlap: self.dst_overlap,
            anchor: created_at,
        })
        .map_err(|conflict| conflict.to_string())
    }

    /// When the request of a time is fired: the same for the same time, whoever asks.
    #[must_use]
    pub fn run_at(&self, nominal: UnixMillis) -> UnixMillis {
        let most = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        // FNV-1a: spreads names and times, and is the same in every version.
        let bytes = self.name.bytes().chain(nominal.0.to_le_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        nominal.plus(Duration::from_millis(hash % most.saturating_add(1)))
    }
}

/// `column: rule`; some rules begin with the name already.
pub(crate) fn named(column: &str, problem: &dyn fmt::Display) -> String {
    let text = problem.to_string();
    let rule = text.strip_prefix(&format!("{}: ", column.replace('_', " "))).unwrap_or(&text);
    format!("{column}: {rule}")
}

/// What if an earlier request of a schedule has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// The new one is left out.
    Skip,
    /// It waits for the earlier one, unless another one does.
    QueueOne,
    /// It waits behind all earlier ones.
    QueueAll,
    /// Both run.
    Allow,
    /// The earlier ones are cancelled, and the new one follows.
    CancelRunning,
}

/// What becomes of times that came while no daemon ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfire {
    /// The last of them is made up for.
    RunOnce,
    /// None is.
    Skip,
    /// All are.
    RunAll,
}

impl Overlap {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Skip, Self::QueueOne, Self::QueueAll, Self::Allow, Self::CancelRunning];

    /// The one spelling, in SQL and in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::QueueOne => "queue_one",
            Self::QueueAll => "queue_all",
            Self::Allow => "allow",
            Self::CancelRunning => "cancel_running",
        }
    }
}

impl Misfire {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::RunOnce, Self::Skip, Self::RunAll];

    /// The one spelling, in SQL and in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunOnce => "run_once",
            Self::Skip => "skip",
            Self::RunAll => "run_all",
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Misfire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is none of the spellings of a policy.
#[derive(Debug, thiserror::Error)]
#[error("must be one of {0}")]
pub struct UnknownPolicy(String);

impl FromStr for Overlap {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownPolicy(Self::ALL.map(Self::as_str).join(", "));
        Self::ALL.into_iter().find(|policy| policy.as_str() == text).ok_or_else(unknown)
    }
}

impl FromStr for Misfire {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownPolicy(Self::ALL.map(Self::as_str).join(", "));
        Self::ALL.into_iter().find(|policy| policy.as_str() == text).ok_or_else(unknown)
    }
}
