//! Every short history of a request, with a crash at every point of it: what is fired twice, and what is forgotten.

use super::*;

/// The daemon and what the far end saw of it.
#[derive(Clone)]
struct World {
    /// The row as it was committed last.
    stored: Invocation,
    /// The invocation as the daemon has it: the row, and redirects followed.
    live: Invocation,
    /// What it is about to do, now that the row is committed.
    action: Action,
    now: UnixMillis,
    /// Whether an earlier firing of this round may have started a remote job.
    maybe_started: bool,
    firings: u32,
    exchanges_left: u32,
    crashes_left: u32,
}

#[derive(Default)]
struct Seen {
    histories: u64,
    fired_again: u64,
    outcomes: std::collections::HashSet<Outcome>,
}

/// What the far end may do, and whether a remote job may have been started by it if it was a firing.
fn answers() -> Vec<(Event, bool)> {
    let replied = |reply| Event::Replied(reply);
    vec![
        (replied(reply(202).to("/s/1")), true),
        (replied(reply(303).to("/s/2")), true),
        (replied(reply(307).to("/s/3")), false),
        (replied(reply(200).says("{}")), true),
        (replied(reply(401)), false),
        (replied(reply(403)), false),
        (replied(reply(429)), false),
        (replied(reply(404)), false),
        (replied(reply(500)), true),
        (replied(reply(502)), true),
        (not_sent(), false),
        (lost(), true),
    ]
}

fn explore(world: &World, trigger: &Trigger, seen: &mut Seen) {
    if world.crashes_left > 0 && world.action != Action::Finish {
        explore(&world.crashed(), trigger, seen);
    }
    match &world.action {
        Action::Finish => {
            let Phase::Finished(outcome) = world.stored.phase else { panic!("{:?}", world.stored) };
            seen.outcomes.insert(outcome);
            seen.histories += 1;
        }
        Action::Snooze(until) => {
            let mut world = World { now: world.now.max(*until), ..world.clone() };
            let due = take(&world.live, Event::Due, &at(world.now, trigger));
            world.store(due);
            explore(&world, trigger, seen);
        }
        Action::Call(call) => {
            let firing = *call == Call::Fire;
            if firing {
                assert_eq!(world.stored.phase, Phase::Triggering, "the intent is stored before the firing");
                assert!(trigger.repeatable || !world.maybe_started, "fired twice: {:?}", world.stored);
                seen.fired_again += u64::from(world.maybe_started);
            } else {
                assert!(
                    matches!(world.stored.phase, Phase::Polling(_) | Phase::Collecting(_)),
                    "a URI is stored before it is first asked"
                );
            }
            if world.exchanges_left == 0 {
                seen.histories += 1;
                return;
            }
            for (event, starts) in answers() {
                let mut after = world.clone();
                after.exchanges_left -= 1;
                after.firings += u32::from(firing);
                after.maybe_started |= firing && starts;
                let step = take(&after.live, event, &at(after.now, trigger));
                if after.crashes_left > 0 {
                    // The answer came, and we died before it was stored.
                    explore(&after.crashed(), trigger, seen);
                }
                after.store(step);
                explore(&after, trigger, seen);
            }
        }
        Action::Await => panic!("nobody cancelled"),
    }
}

impl World {
    fn new(mode: CallMode) -> Self {
        let pending = Invocation { requested_mode: Some(mode), ..Invocation::pending(1) };
        Self {
            stored: pending.clone(),
            live: pending,
            action: Action::Snooze(NOW),
            now: NOW,
            maybe_started: false,
            firings: 0,
            exchanges_left: 3,
            crashes_left: 2,
        }
    }

    fn store(&mut self, step: Step) {
        let was_accepted = matches!(self.stored.phase, Phase::Polling(_) | Phase::Collecting(_));
        let may_fire = matches!(step.next.phase, Phase::Pending | Phase::Triggering);
        assert!(!(was_accepted && may_fire), "an accepted job is never fired again: {:?}", step.next);
        assert!(step.next.attempt >= self.stored.attempt && step.next.attempt >= self.firings);
        self.live = step.next.clone();
        self.stored = Invocation { hops: 0, ..step.next };
        self.action = step.action;
    }

    /// What a start finds: the row. It is looked at at once, whatever state it is in.
    fn crashed(&self) -> Self {
        Self {
            live: self.stored.clone(),
            action: Action::Snooze(self.now),
            crashes_left: self.crashes_left - 1,
            ..self.clone()
        }
    }
}

#[test]
fn no_crash_fires_an_unrepeatable_trigger_twice() {
    let mut outcomes = std::collections::HashSet::new();
    for mode in CallMode::ALL {
        let mut seen = Seen::default();
        explore(&World::new(mode), &trigger(), &mut seen);
        assert_eq!(seen.fired_again, 0);
        assert!(seen.histories > 1_000, "only {} histories", seen.histories);
        outcomes.extend(seen.outcomes);
    }
    let ends =
        [Outcome::Succeeded, Outcome::Dispatched, Outcome::Failed, Outcome::Rejected, Outcome::Uncertain];
    assert_eq!(outcomes, ends.into());
}

#[test]
fn a_crash_fires_a_repeatable_trigger_again_but_never_an_accepted_job() {
    let trigger = Trigger { repeatable: true, ..trigger() };
    for mode in CallMode::ALL {
        let mut seen = Seen::default();
        explore(&World::new(mode), &trigger, &mut seen);
        assert!(seen.fired_again > 0);
    }
}

#[test]
fn a_start_asks_the_stored_uri_of_an_accepted_job() {
    let trigger = trigger();
    for (start, stored) in all_followed().into_iter().zip([STATUS_URI, STATUS_URI, OUTPUT_URI]) {
        let hop = take(&start, Event::Replied(reply(307).to("/elsewhere")), &at(NOW, &trigger));
        asks(&hop, "https://api.example/elsewhere");
        let found = Invocation { hops: 0, ..hop.next };
        asks(&take(&found, Event::Due, &at(NOW, &trigger)), stored);
    }
}
