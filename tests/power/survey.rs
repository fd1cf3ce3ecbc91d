//! Plays a tape, and loses the power at its points.

use std::fmt;

use fastrand::Rng;

use crate::disk::{Disk, Fate, Player};
use crate::table::{Content, Examiner, reopen};
use crate::work::{Day, INSERT};

/// The product opens one of so many different images.
const REOPENED: usize = 16;
/// Problems that are told.
const TOLD: usize = 5;

/// What must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// All that was answered.
    Kept,
    /// Any state between two changes: the last ones may be lost, and are counted.
    Consistent,
    /// The same, but what producers inserted is there, and all that came before it.
    Inserts,
    /// All that was begun, as somebody would have it who answers before the commit.
    Early,
}

/// How a survey is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Survey {
    pub(crate) disk: Disk,
    pub(crate) promise: Promise,
    /// About so many images are tried in a usual run.
    pub(crate) images: usize,
}

impl Survey {
    pub(crate) const fn new(disk: Disk, promise: Promise) -> Self {
        Self { disk, promise, images: 300 }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// What was found that must not be; the first few.
    pub(crate) problems: Vec<String>,
    pub(crate) operations: usize,
    /// Operations after which the power was lost.
    pub(crate) points: usize,
    pub(crate) images: usize,
    pub(crate) different: usize,
    pub(crate) reopened: usize,
    pub(crate) promises: usize,
    /// The most changes that were promised and lost at once.
    pub(crate) lost: usize,
    /// The most bytes that had not been synced.
    pub(crate) unsynced: usize,
    /// Times the database file was synced.
    pub(crate) checkpoints: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations, power lost after {} of them: {} images, {} different, {} opened by the product; {} commits promised, at \
             most {} lost, at most {} KiB unsynced; {} checkpoints; {} problems",
            self.operations,
            self.points,
            self.images,
            self.different,
            self.reopened,
            self.promises,
            self.lost,
            self.unsynced / 1024,
            self.checkpoints,
            self.problems.len(),
        )
    }
}

/// How many times the usual number of images is tried.
pub(crate) fn effort() -> usize {
    let text = std::env::var("POWER_EFFORT").unwrap_or_else(|_| "1".to_owned());
    text.parse().expect("POWER_EFFORT is a number")
}

/// Loses the power in the course of a day, and judges what is left of it.
pub(crate) async fn survey(day: &Day, plan: Survey) -> Figures {
    let operations = day.tape.len();
    let seeds = 1 + effort().min(10);
    let stride = (operations * (seeds + 4)).div_ceil(plan.images * effort()).max(1);
    let mut figures = Figures { operations, promises: day.states.len() - 1, ..Figures::default() };
    let mut examiner = Examiner::new();
    let mut player = Player::new(&day.tape, plan.disk);
    let mut rng = Rng::with_seed(7);
    while player.step() {
        if !player.begun_at_all() {
            continue;
        }
        figures.unsynced = figures.unsynced.max(player.unsynced());
        let mut fates = Vec::new();
        if player.played.is_multiple_of(stride) {
            figures.points += 1;
            fates.extend([Fate::None, Fate::All, Fate::AllBut(rng.usize(..8)), Fate::OnlyTheLast]);
            fates.extend((0..seeds).map(|_| Fate::Some(rng.u64(..))));
        } else if player.at_turn {
            fates.push(Fate::None);
        }
        for fate in fates {
            let image = player.image(fate);
            let (found, new) = examiner.examine(&image).await;
            let judged = match &found {
                Ok(content) => judge(day, &player, plan.promise, content, &mut figures.lost),
                Err(problem) => Err(problem.clone()),
            };
            let mut problem = judged.err();
            if let Ok(content) = &found
                && new
                && examiner.different().is_multiple_of(REOPENED)
            {
                figures.reopened += 1;
                match reopen(&image, true).await {
                    Ok(reopened) if reopened.requests == content.requests => {}
                    Ok(_) => problem = Some("the product reads other rows than SQLite".to_owned()),
                    Err(error) => problem = Some(format!("the product cannot open it: {error}")),
                }
            }
            if let Some(problem) = problem
                && figures.problems.len() < TOLD
            {
                figures.problems.push(format!("after operation {}, {fate:?}: {problem}", player.played));
            }
        }
    }
    figures.images = examiner.images;
    figures.different = examiner.different();
    figures.checkpoints = player.checkpoints;
    figures
}

/// Which of the states between two changes it is, and whether it may be that one.
fn judge(
    day: &Day,
    player: &Player,
    promise: Promise,
    content: &Content,
    lost: &mut usize,
) -> Result<(), String> {
    // Some changes change nothing: it may be any state that looks like this.
    let Some(found) = day.states[..=player.begun].iter().rposition(|state| state == content) else {
        return Err(format!("it is no state between two changes, after {} were promised", player.promised));
    };
    let answered = player.promised;
    let (must, told) = match promise {
        Promise::Kept => (answered, answered),
        Promise::Consistent => (0, answered),
        Promise::Inserts => {
            (day.changes[..=answered].iter().rposition(|name| *name == INSERT).unwrap_or(0), answered)
        }
        Promise::Early => (player.begun, player.begun),
    };
    *lost = (*lost).max(told.saturating_sub(found));
    if found < must {
        return Err(format!(
            "of {must} changes the last {} are lost, from {}",
            must - found,
            day.changes[found + 1]
        ));
    }
    Ok(())
}
