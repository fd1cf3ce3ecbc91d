//! The daemon's edge to its service manager and to signals: what is to be seen of it, and when.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior};

use crate::clock;
use crate::dispatch::Figures;
use crate::queue::MANY_UNCERTAIN;
use crate::service::Service;
use crate::shutdown::Signals;

/// A start that takes long says so this often, and asks for so much time.
const EXTEND_EVERY: Duration = Duration::from_secs(10);
const EXTEND_BY: Duration = Duration::from_secs(30);
/// A start that takes longer is hopeless.
const LONGEST_START: Duration = Duration::from_secs(3600);

/// What the process has to do with signals and the service manager.
pub(super) struct Edge {
    pub(super) signals: Signals,
    pub(super) service: Service,
    pub(super) glance: Glance,
    /// A SIGHUP came before there was anybody to tell of it.
    pub(super) reload_later: bool,
    /// When to say again that the start goes on.
    pub(super) extend: Interval,
    begun: Instant,
}

impl Edge {
    pub(super) fn new(signals: Signals, service: Service) -> Self {
        let glance = Glance::default();
        let extend = interval(EXTEND_EVERY);
        Self { signals, service, glance, reload_later: false, begun: clock::monotonic(), extend }
    }

    /// As long as the start gets on, or waits for somebody's lock, it is not to be cut short; but not for ever.
    pub(super) fn extend(&mut self) {
        if self.glance.stage == Stage::Starting && self.begun.elapsed() < LONGEST_START {
            self.service.extend(EXTEND_BY);
        }
    }

    pub(super) fn stop(&mut self) {
        self.glance.stage = Stage::Stopping;
        self.show();
        self.service.stopping();
    }

    /// What is to be seen of the service. It is told at the next occasion.
    pub(super) fn show(&mut self) {
        self.service.status(&self.glance.to_string());
    }
}

/// What people see of the service at a glance.
#[derive(Debug, Default)]
pub(super) struct Glance {
    pub(super) stage: Stage,
    pub(super) figures: Figures,
    /// What is wrong with the table.
    pub(super) table: Vec<String>,
    /// Why the last reload was refused, if it was.
    pub(super) refused: Option<String>,
    pub(super) lines_lost: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Starting,
    Ready,
    Reloading,
    Stopping,
}

impl fmt::Display for Glance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::Starting => "starting",
            Stage::Ready => "ready",
            Stage::Reloading => "reloading",
            Stage::Stopping => "stopping: waits for firings under way",
        })?;
        let Figures { firing, following, uncertain, broken } = self.figures;
        if self.stage == Stage::Ready && firing + following == 0 {
            f.write_str(", nothing under way")?;
        } else if self.stage == Stage::Ready {
            write!(f, ", {firing} being fired, {following} followed")?;
        }
        if uncertain > 0 {
            let many = if uncertain >= MANY_UNCERTAIN { " or more" } else { "" };
            write!(f, ", {uncertain}{many} uncertain: see triggerd list --state uncertain")?;
        }
        if broken > 0 {
            let what = if broken == 1 { "origin answers" } else { "origins answer" };
            write!(f, "; {broken} {what} badly: fires only probes there")?;
        }
        for trouble in &self.table {
            write!(f, "; {trouble}")?;
        }
        if let Some(refused) = &self.refused {
            write!(f, "; the last reload was refused: {refused}")?;
        }
        if self.lines_lost > 0 {
            write!(f, "; {} log lines lost", self.lines_lost)?;
        }
        Ok(())
    }
}

/// Ticks now, and then this often at most.
pub(super) fn interval(every: Duration) -> Interval {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_says_what_goes_on_and_what_somebody_should_see_to() {
        let figures = |firing, following, uncertain| Figures { firing, following, uncertain, broken: 0 };
        let at = |stage, figures| Glance { stage, figures, ..Glance::default() }.to_string();
        assert_eq!(at(Stage::Starting, figures(0, 0, 0)), "starting");
        assert_eq!(at(Stage::Ready, figures(0, 0, 0)), "ready, nothing under way");
        assert_eq!(
            at(Stage::Ready, figures(1, 20, 3)),
            "ready, 1 being fired, 20 followed, 3 uncertain: see triggerd list --state uncertain"
        );
        assert_eq!(
            at(Stage::Ready, Figures { broken: 1, ..figures(0, 9, 0) }),
            "ready, 0 being fired, 9 followed; 1 origin answers badly: fires only probes there"
        );
        let table = vec!["the disk is full".to_owned(), "the WAL has grown".to_owned()];
        let troubled = Glance { stage: Stage::Ready, table, ..Glance::default() };
        assert_eq!(troubled.to_string(), "ready, nothing under way; the disk is full; the WAL has grown");
        assert!(at(Stage::Stopping, figures(0, 0, MANY_UNCERTAIN)).contains(", 1000 or more uncertain"));
    }
}
