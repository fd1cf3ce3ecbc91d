//! Which ready rows get the free places: the same for every store.

use std::collections::HashMap;

use super::{Look, Taken, Want};
use crate::request::CallMode;

/// The places of one look while they are given away.
///
/// Triggers of one origin share its places evenly; what one leaves goes to those after it, and whoever comes short
/// is `hungry`, to be looked for again.
pub(super) struct Places {
    ordinary: Vec<usize>,
    held: usize,
    /// Wants not served yet, by origin, and in all.
    waiting: HashMap<usize, usize>,
    waiting_in_all: usize,
}

/// What one trigger may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    ordinary: usize,
    held: usize,
    /// How many candidates are worth reading.
    pub(super) limit: usize,
}

impl Places {
    pub(super) fn new(look: &Look, wants: &[&Want]) -> Self {
        let mut waiting = HashMap::new();
        for want in wants {
            *waiting.entry(want.origin).or_default() += 1;
        }
        Self { ordinary: look.places.clone(), held: look.held_places, waiting, waiting_in_all: wants.len() }
    }

    /// The part of the next want; to be asked once for each.
    pub(super) fn share(&mut self, want: &Want) -> Share {
        let waiting = self.waiting.get_mut(&want.origin);
        let among = waiting.as_ref().map_or(1, |n| (**n).max(1));
        let ordinary = self.ordinary.get(want.origin).map_or(0, |all| all.div_ceil(among)).min(want.ordinary);
        let held = self.held.div_ceil(self.waiting_in_all.max(1)).min(want.held);
        if let Some(n) = waiting {
            *n = n.saturating_sub(1);
        }
        self.waiting_in_all = self.waiting_in_all.saturating_sub(1);
        let most = match want.trigger.call_mode {
            CallMode::LongPolling => held.max(ordinary.min(1)),
            CallMode::AsyncRequestReply | CallMode::FireAndForget => ordinary.max(held.min(1)),
        };
        Share { ordinary, held, limit: want.limit.min(most) }
    }

    /// Those of `rows` that get a place, in order; and whether some did not.
    pub(super) fn pick(&mut self, want: &Want, mut share: Share, rows: Vec<Taken>) -> (Vec<Taken>, bool) {
        let asked = rows.len();
        let picked: Vec<Taken> = rows
            .into_iter()
            .filter(|row| {
                let held = row.invocation.firing_mode(&want.trigger) == CallMode::LongPolling;
                let (mine, all) = if held {
                    (&mut share.held, Some(&mut self.held))
                } else {
                    (&mut share.ordinary, self.ordinary.get_mut(want.origin))
                };
                match all {
                    Some(all) if *mine > 0 => {
                        *mine -= 1;
                        *all -= 1;
                        true
                    }
                    _ => false,
                }
            })
            .collect();
        let short = picked.len() < asked;
        (picked, short)
    }
}
