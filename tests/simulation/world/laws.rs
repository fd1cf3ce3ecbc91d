//! The laws: what is judged at each commit, at each exchange, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use triggerd::clock::{Clock as _, UnixMillis};
use triggerd::invocation::{AttemptOutcome, Code, Invocation, Outcome, Phase, Reply};
use triggerd::queue::{MemoryRow as Row, Taken};
use triggerd::request::CallMode;
use triggerd::trigger::Trigger;
use url::Url;

use super::far::{CANARY, SIGNATURE, Verdict};
use super::history::Law;
use super::{Rows, World};

/// Questions, and firings, of one request within ten seconds: more are a spin.
const MOST_QUESTIONS: u32 = 40;
const MOST_FIRINGS: u32 = 25;
/// Rows that may be `triggering` for each connection.
const PLACES_PER_CONNECTION: usize = 4;

/// What the laws remember.
#[derive(Default)]
pub(crate) struct Memory {
    /// Attempts that arrived at the far end.
    arrived: BTreeSet<(i64, u32)>,
    /// Grants in which a status URI was stored.
    accepted: BTreeSet<(i64, u32)>,
    /// The key of each round.
    keys: BTreeMap<(i64, u32), String>,
    /// Attempts whose place the engine cannot know of.
    unsure: BTreeSet<(i64, u32)>,
    /// How often the producer or an operator has allowed each request.
    grants: BTreeMap<i64, u32>,
    /// Requests whose end an operator wrote.
    settled: BTreeSet<i64>,
    /// Requests that an operator handed over.
    handed: BTreeSet<i64>,
    /// Bodies of good answers, by grant.
    bodies: BTreeMap<(i64, u32), Vec<Vec<u8>>>,
    /// Each request before its last intent.
    before: BTreeMap<i64, Invocation>,
    /// Where the last answer to each request led, if that is not to be stored.
    led_to: BTreeMap<i64, Url>,
    /// Questions and firings in these ten seconds.
    asked: BTreeMap<i64, (i64, u32)>,
    fired: BTreeMap<i64, (i64, u32)>,
}

/// Which part of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What had been decided.
    Changes,
    /// The look, as of then.
    Look(UnixMillis),
}

impl Memory {
    fn grant(&self, id: i64) -> u32 {
        self.grants.get(&id).copied().unwrap_or(0)
    }

    /// An operator allows one more firing.
    pub(crate) fn allow(&mut self, id: i64) {
        *self.grants.entry(id).or_default() += 1;
        self.settled.remove(&id);
    }

    /// An operator writes the end.
    pub(crate) fn settle(&mut self, id: i64) {
        self.settled.insert(id);
    }

    /// An operator hands it over, to be followed.
    pub(crate) fn hand_over(&mut self, id: i64) {
        self.allow(id);
        self.handed.insert(id);
        let grant = self.grant(id);
        self.accepted.insert((id, grant));
    }

    /// The answer to these intents is an error.
    pub(crate) fn unsure(&mut self, intended: &[Taken]) {
        self.unsure.extend(intended.iter().map(|row| (row.invocation.id, row.invocation.attempt + 1)));
    }

    /// Found at a start: whoever had taken them has died.
    pub(crate) fn started(&mut self, interrupted: impl Iterator<Item = (i64, u32)>) {
        self.unsure.extend(interrupted);
    }
}

/// Whose job a URI is of: the far end writes it there.
pub(crate) fn id_of(url: &Url) -> Option<i64> {
    let mut path = url.path_segments()?;
    matches!(path.next()?, "status" | "output" | "hop").then_some(())?;
    path.next()?.split('.').next()?.parse().ok()
}

// ---- At each commit ----

/// A part of a commit of the engine has made `after` of `before`.
pub(crate) fn stored(world: &World, part: Part, before: &Rows, after: &Rows) {
    for (id, was) in before {
        match after.get(id) {
            None => world.broken(Law::Kept, format!("request {id} has vanished")),
            Some(is) if is != was => changed(world, part, was, is),
            Some(_) => {}
        }
    }
    if matches!(part, Part::Look(_)) {
        places(world, before, after);
    }
}

fn changed(world: &World, part: Part, was: &Row, is: &Row) {
    let (b, a) = (&was.taken.invocation, &is.taken.invocation);
    let id = a.id;
    let machine = |what: &str| {
        world.broken(Law::Machine, format!("request {id}: {what}: {b:?} to {a:?} in {part:?}"));
    };
    if let Phase::Finished(_) = b.phase {
        return world
            .broken(Law::Final, format!("request {id}: {} to {}", b.phase.as_str(), a.phase.as_str()));
    }
    let fixed = |row: &Row| {
        let i = &row.taken.invocation;
        (row.priority, row.run_at, i.round, i.requested_mode, i.expires_at, row.taken.request.clone())
    };
    if fixed(was) != fixed(is) || was.taken.trigger_name != is.taken.trigger_name {
        machine("a column of the producer changed");
    }
    if b.cancel_requested && !a.cancel_requested {
        machine("a cancel was forgotten");
    }
    let none_ended = is.attempts == was.attempts;
    let same = a.attempt == b.attempt && none_ended;
    // The end of the attempt is the last one now; a firing that was given back may have had its number.
    let one_ended = a.attempt == b.attempt && !none_ended && is.attempts.len() == a.attempt as usize;
    let given_back = a.attempt + 1 == b.attempt && (none_ended || is.attempts.len() == b.attempt as usize);
    let is_look = matches!(part, Part::Look(_));
    let is_legal = match (&b.phase, &a.phase) {
        (Phase::Pending, Phase::Pending) => same,
        (Phase::Pending, Phase::Triggering) => is_look && a.attempt == b.attempt + 1 && none_ended,
        (Phase::Pending, Phase::Finished(Outcome::Succeeded | Outcome::Dispatched | Outcome::Failed)) => {
            false
        }
        (Phase::Pending, Phase::Finished(_)) => same,
        (Phase::Triggering, Phase::Pending) if a.attempt == b.attempt => {
            one_ended && is.taken.due_at.is_some()
        }
        (Phase::Triggering, Phase::Pending) => given_back,
        (Phase::Triggering, Phase::Polling(_) | Phase::Finished(_)) => one_ended,
        (Phase::Polling(_), Phase::Polling(_) | Phase::Collecting(_) | Phase::Finished(_))
        | (Phase::Collecting(_), Phase::Collecting(_) | Phase::Finished(_)) => same,
        _ => false,
    };
    if !is_legal {
        machine("an illegal transition");
    }
    if (&b.phase, &a.phase) == (&Phase::Triggering, &Phase::Pending)
        && a.attempt < b.attempt
        && world.laws().arrived.contains(&(id, b.attempt))
    {
        world.broken(Law::Intent, format!("request {id}: attempt {} arrived, and is given back", b.attempt));
    }
    if let (Part::Look(now), Phase::Pending, Phase::Triggering) = (part, &b.phase, &a.phase) {
        intent(world, was, is, now);
        world.laws().before.insert(id, b.clone());
    }
    if let Some(before) =
        world.laws().before.get(&id).filter(|_| a.phase == Phase::Pending && a.attempt < b.attempt)
    {
        // Of a round that began with a credential that could not be had, a start does not know that it had begun.
        let may_differ =
            before.trouble.as_ref().is_some_and(|trouble| trouble.code == Code::CredentialUnavailable);
        let is_same = (a.deadline_at, &a.memory, a.http_status)
            == (before.deadline_at, &before.memory, before.http_status);
        if !is_same && !may_differ {
            machine(&format!("given back, and not as it was: {before:?}"));
        }
    }
    columns(world, is);
    secrets(world, is);
    if matches!(a.phase, Phase::Polling(_)) {
        let mut laws = world.laws();
        let grant = laws.grant(id);
        laws.accepted.insert((id, grant));
    }
    world.count("step", format!("{}>{}", b.phase.as_str(), a.phase.as_str()));
    for trouble in [&a.trouble].into_iter().flatten() {
        world.count("code", trouble.code.as_str());
    }
    if let Phase::Finished(outcome) = a.phase {
        let code = a.trouble.as_ref().map_or("-", |trouble| trouble.code.as_str());
        world.count("outcome", outcome.as_str());
        world.count("end", format!("{} {code}", outcome.as_str()));
    }
}

/// An intent was made.
fn intent(world: &World, was: &Row, is: &Row, now: UnixMillis) {
    let (b, a) = (&was.taken.invocation, &is.taken.invocation);
    let name = &was.taken.trigger_name;
    let ready_at = was.taken.due_at.unwrap_or(was.run_at);
    if now > world.time.now() && !world.has_stepped_back() {
        world.broken(Law::Machine, format!("request {}: taken as of the future", a.id));
    }
    if ready_at > now || b.cancel_requested || b.is_late(now) || b.is_stale(now) || !world.is_fired(name) {
        world.broken(Law::Machine, format!("request {} of {name} was taken though not ready: {b:?}", a.id));
    }
    let mode_deadline = |trigger: &Trigger| now.plus(trigger.deadline(b.firing_mode(trigger)));
    let deadline = b.deadline_at.or_else(|| world.trigger(name).map(|trigger| mode_deadline(&trigger)));
    if a.deadline_at.is_none() || (deadline.is_some() && a.deadline_at != deadline) {
        world.broken(
            Law::Machine,
            format!("request {}: deadline {:?}, not {deadline:?}", a.id, a.deadline_at),
        );
    }
}

/// Which columns must, and which must not, be there in each state.
fn columns(world: &World, row: &Row) {
    let i = &row.taken.invocation;
    let fits = match &i.phase {
        Phase::Pending => {
            i.status_uri.is_none()
                && i.accepted_at.is_none()
                && i.effective_mode.is_none()
                && row.finished_at.is_none()
        }
        Phase::Triggering => {
            i.attempt > 0 && i.started_at.is_some() && i.deadline_at.is_some() && row.finished_at.is_none()
        }
        Phase::Polling(url) => {
            i.status_uri.as_ref() == Some(url)
                && i.accepted_at.is_some()
                && i.effective_mode.is_some_and(|mode| mode != CallMode::FireAndForget)
                && row.taken.due_at.is_some()
                && row.finished_at.is_none()
        }
        Phase::Collecting(_) => {
            i.status_uri.is_some() && i.accepted_at.is_some() && row.taken.due_at.is_some()
        }
        Phase::Finished(outcome) => row.finished_at.is_some() && fits_outcome(*outcome, i),
    };
    if !fits {
        world.broken(Law::Machine, format!("request {}: its columns do not fit its state: {row:?}", i.id));
    }
    let waits = matches!(i.phase, Phase::Triggering | Phase::Finished(_)) && row.taken.due_at.is_some();
    if waits {
        world.broken(Law::Machine, format!("request {}: {} with a due time", i.id, i.phase.as_str()));
    }
}

fn fits_outcome(outcome: Outcome, i: &Invocation) -> bool {
    let code = i.trouble.as_ref().map(|trouble| trouble.code);
    match outcome {
        Outcome::Succeeded | Outcome::Dispatched => {
            i.accepted_at.is_some() && matches!(code, None | Some(Code::OutputTooLarge))
        }
        Outcome::Failed => matches!(
            code,
            Some(
                Code::Refused
                    | Code::NotSent
                    | Code::JobFaulted
                    | Code::ForbiddenAddress
                    | Code::CredentialUnavailable
            )
        ),
        Outcome::Rejected => {
            matches!(code, Some(Code::Refused | Code::UnexpectedRedirect | Code::InvalidRequest))
        }
        Outcome::Expired => matches!(code, Some(Code::Deadline | Code::NotStartedInTime)),
        Outcome::Cancelled => i.cancel_requested && code == Some(Code::CancelledByRequest),
        Outcome::Uncertain => code.is_some(),
    }
}

fn secrets(world: &World, row: &Row) {
    let i = &row.taken.invocation;
    let troubles = i.trouble.iter().chain(row.attempts.iter().filter_map(|attempt| attempt.trouble.as_ref()));
    for trouble in troubles {
        if trouble.message.contains(CANARY) {
            world.broken(Law::Secret, format!("request {}: {}", i.id, trouble.message));
        }
    }
    let uri = match &i.phase {
        Phase::Polling(url) | Phase::Collecting(url) => Some(url),
        _ => None,
    };
    let uris =
        uri.into_iter().chain(&i.status_uri).chain(row.attempts.iter().filter_map(|a| a.status_uri.as_ref()));
    for uri in uris {
        // A signed link is what is kept, query and all; nothing else of secrets is in it.
        if uri.as_str().replace(SIGNATURE, "").contains(CANARY) {
            world.broken(Law::Secret, format!("request {}: {uri}", i.id));
        }
    }
}

/// No more rows are `triggering` than have places.
fn places(world: &World, before: &Rows, after: &Rows) {
    let limits = world.limits();
    let mut by_origin: BTreeMap<String, usize> = BTreeMap::new();
    let mut held = 0;
    let mut is_new = false;
    for (id, row) in after {
        let i = &row.taken.invocation;
        let Some(trigger) = world.trigger(&row.taken.trigger_name) else { continue };
        if i.phase != Phase::Triggering || world.laws().unsure.contains(&(*id, i.attempt)) {
            continue;
        }
        is_new |= before.get(id).is_some_and(|was| was.taken.invocation.phase == Phase::Pending);
        if i.firing_mode(&trigger) == CallMode::LongPolling {
            held += 1;
        } else {
            *by_origin.entry(trigger.origin()).or_default() += 1;
        }
    }
    let most = PLACES_PER_CONNECTION * limits.max_per_origin;
    for (origin, n) in by_origin.into_iter().filter(|(_, n)| is_new && *n > most) {
        world.broken(Law::Limit, format!("{n} rows are triggering at {origin}, more than {most}"));
    }
    if is_new && held > limits.max_long_polls {
        world.broken(Law::Limit, format!("{held} held firings, more than {}", limits.max_long_polls));
    }
}

// ---- At each exchange ----

/// An exchange of a request begins; `now` are under way in its lane.
pub(crate) fn entering(world: &World, id: i64, twice: bool, held: bool, now: usize) {
    if twice {
        world.broken(Law::Once, format!("request {id}: two exchanges at once"));
    }
    let limits = world.limits();
    let most = if held { limits.max_long_polls } else { limits.max_per_origin };
    if now > most {
        world.broken(Law::Limit, format!("request {id}: {now} exchanges (held: {held}), more than {most}"));
    }
}

/// An exchange begins although its credential has been shut since then.
pub(crate) fn at_a_shut_gate(world: &World, name: &str, since: i64) {
    if since < world.time.elapsed() {
        world.broken(Law::Limit, format!("an exchange began though the credential {name} is shut"));
    }
}

/// A poll begins, so many milliseconds after the last one of its origin.
pub(crate) fn polling(world: &World, id: i64, after: i64) {
    let Some(rate) = world.poll_rate else { return };
    let least = i64::try_from(rate.interval().as_millis()).unwrap_or(i64::MAX);
    // Times are whole milliseconds, and the clock decides.
    if after + 1 < least && !world.standing().has_stepped_forward {
        world.broken(Law::Limit, format!("request {id} is polled {after} ms after another, not {least} ms"));
    }
}

/// A firing begins at an origin whose breaker must be open; so many are under way.
pub(crate) fn probing(world: &World, id: i64, origin: &str, probes: usize) {
    world.count("breaker", "probed");
    if probes > 1 {
        world.broken(Law::Limit, format!("request {id} is fired as one of {probes} probes at {origin}"));
    }
}

/// A firing is about to be sent.
pub(crate) fn firing(world: &World, trigger: &Trigger, id: i64, mode: CallMode, key: &str) {
    let now = world.time.now();
    let Some(row) = world.memory.row(id) else {
        return world.broken(Law::Intent, format!("request {id} is fired, and is not in the table"));
    };
    let i = &row.taken.invocation;
    let bad = |law, what: &str| world.broken(law, format!("request {id} is fired {what}: {i:?}"));
    if i.phase != Phase::Triggering {
        bad(Law::Intent, "without an intent");
    }
    if row.taken.trigger_name != trigger.name || mode != i.firing_mode(trigger) {
        bad(Law::Machine, "otherwise than it asks for");
    }
    if i.is_late(now) || i.is_stale(now) {
        bad(Law::Machine, "too late");
    }
    let (grant, arrived, accepted, other_key) = {
        let mut laws = world.laws();
        let grant = laws.grant(id);
        let known = laws.keys.entry((id, i.round)).or_insert_with(|| key.to_owned()).clone();
        let others =
            laws.keys.iter().any(|((other, round), k)| (*other, *round) != (id, i.round) && k == key);
        let arrived = laws.arrived.contains(&(id, i.attempt));
        (grant, arrived, laws.accepted.contains(&(id, grant)), known != key || others)
    };
    if arrived {
        bad(Law::Intent, "a second time by one intent");
    }
    if accepted {
        bad(Law::Followed, "although its status URI is stored");
    }
    if other_key {
        bad(Law::Once, "with the Idempotency-Key of another round");
    }
    if count(world, id, |laws| &mut laws.fired) > MOST_FIRINGS {
        bad(Law::Limit, "too often");
    }
    let (mut doubts, mut refusals) = (0, 0);
    for before in world.far().firings.iter().filter(|firing| (firing.id, firing.grant) == (id, grant)) {
        // An answer that died with the daemon leaves a doubt.
        let end = row.attempts.get((before.attempt as usize).wrapping_sub(1));
        let is_known = before.delivered && end.is_some_and(|end| end.outcome != AttemptOutcome::Ambiguous);
        match before.verdict {
            Verdict::NotStarted if is_known => refusals += 1,
            Verdict::Unauthorized if is_known => {}
            Verdict::Refused if is_known => bad(Law::Once, "again after a final refusal"),
            _ => doubts += 1,
        }
    }
    let most = if trigger.repeatable { trigger.retry.max_attempts } else { 1 };
    if doubts >= most {
        bad(Law::Once, "again although it may have started a job");
    }
    if refusals >= trigger.retry.max_refusals {
        bad(Law::Once, "again although max_refusals are used up");
    }
    concurrency(world, trigger, id);
}

/// Never more requests of a trigger with the far end than it may have.
fn concurrency(world: &World, trigger: &Trigger, id: i64) {
    let Some(most) = trigger.max_concurrent else { return };
    let others = world.rows().into_values().filter(|row| {
        let i = &row.taken.invocation;
        let with_far_end = match i.phase {
            Phase::Polling(_) | Phase::Collecting(_) => !world.laws().handed.contains(&i.id),
            Phase::Triggering => world.is_open(i.id),
            Phase::Pending | Phase::Finished(_) => false,
        };
        row.taken.trigger_name == trigger.name && i.id != id && with_far_end
    });
    let others = others.count();
    if others >= most as usize {
        world.broken(Law::Limit, format!("request {id} is fired as one of {}, of {most}", others + 1));
    }
}

/// A firing reaches the far end: the request, its grant and its attempt.
pub(crate) fn arrived(world: &World, id: i64) -> (i64, u32, u32) {
    let attempt = world.memory.row(id).map_or(0, |row| row.taken.invocation.attempt);
    let mut laws = world.laws();
    let grant = laws.grant(id);
    let is_new = laws.arrived.insert((id, attempt));
    drop(laws);
    if !is_new {
        world.broken(Law::Intent, format!("request {id}: attempt {attempt} arrives twice"));
    }
    (id, grant, attempt)
}

/// A URI is about to be asked.
pub(crate) fn asking(world: &World, trigger: &Trigger, id: i64, url: &Url) {
    let Some(row) = world.memory.row(id) else {
        return world.broken(Law::Machine, format!("request {id} is asked for, and is not in the table"));
    };
    let is_stored = match &row.taken.invocation.phase {
        Phase::Polling(stored) | Phase::Collecting(stored) => {
            stored == url || world.laws().led_to.get(&id) == Some(url)
        }
        _ => false,
    };
    if !is_stored {
        let phase = &row.taken.invocation.phase;
        world.broken(Law::Machine, format!("request {id}: {url} is asked while the table says {phase:?}"));
    }
    if !trigger.allows(url) || row.taken.trigger_name != trigger.name {
        world.broken(Law::Secret, format!("request {id}: {url} is asked for {}", trigger.name));
    }
    if count(world, id, |laws| &mut laws.asked) > MOST_QUESTIONS {
        world.broken(
            Law::Limit,
            format!("request {id} is asked for more than {MOST_QUESTIONS} times in ten seconds"),
        );
    }
}

/// Counts one more of these ten seconds.
fn count(world: &World, id: i64, of: impl Fn(&mut Memory) -> &mut BTreeMap<i64, (i64, u32)>) -> u32 {
    let tenth = world.time.elapsed() / 10_000;
    let mut laws = world.laws();
    let counted = of(&mut laws).entry(id).or_default();
    *counted = if counted.0 == tenth { (tenth, counted.1 + 1) } else { (tenth, 1) };
    counted.1
}

/// An answer has arrived.
pub(crate) fn delivered(world: &World, id: i64, reply: &Reply) {
    // The only URIs that may be asked unstored: where a redirect led that is not for good.
    let is_collecting =
        world.memory.row(id).is_some_and(|row| matches!(row.taken.invocation.phase, Phase::Collecting(_)));
    let leads = reply.status == 307 || (is_collecting && matches!(reply.status, 302 | 303));
    let next = reply.location.as_deref().filter(|_| leads).and_then(|text| reply.url.join(text).ok());
    let next = next.and_then(|mut url| {
        url.set_fragment(None);
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        Some(url)
    });
    match next {
        Some(url) => world.laws().led_to.insert(id, url),
        None => world.laws().led_to.remove(&id),
    };
    if (200..300).contains(&reply.status) {
        let mut laws = world.laws();
        let grant = laws.grant(id);
        laws.bodies.entry((id, grant)).or_default().push(reply.body.bytes.clone());
    }
}

// ---- At the end ----

/// What the far end knows must agree with what the table says.
pub(crate) fn agree(world: &World) {
    for (id, row) in world.rows() {
        let i = &row.taken.invocation;
        let (grant, settled, arrived) = {
            let laws = world.laws();
            let arrived = laws.arrived.iter().filter(|(of, _)| *of == id).count();
            (laws.grant(id), laws.settled.contains(&id), arrived)
        };
        if arrived > i.attempt as usize {
            world.broken(
                Law::Intent,
                format!("request {id}: {arrived} firings arrived by {} intents", i.attempt),
            );
        }
        let Phase::Finished(outcome) = i.phase else { continue };
        let unsent = row.attempts.last().filter(|end| end.outcome == AttemptOutcome::NotSent);
        if row.attempts.len()
            != i.attempt as usize
                + usize::from(unsent.is_some_and(|_| row.attempts.len() > i.attempt as usize))
        {
            let n = row.attempts.len();
            world.broken(Law::Machine, format!("request {id}: {} attempts, and the ends of {n}", i.attempt));
        }
        if settled {
            continue;
        }
        let firings: Vec<_> = world
            .far()
            .firings
            .iter()
            .filter(|firing| (firing.id, firing.grant) == (id, grant))
            .cloned()
            .collect();
        let handed = world.laws().handed.contains(&id);
        let untrue = |what: &str| {
            world.broken(Law::Truth, format!("request {id}: {} though {what}: {row:?}", outcome.as_str()));
        };
        // A job that was seen to fail, and was allowed to be fired again, is denied by nothing that follows.
        let is_settled = |attempt: u32| {
            let end = row.attempts.get((attempt as usize).wrapping_sub(1));
            end.is_some_and(|end| end.outcome == AttemptOutcome::Answered)
        };
        let ran = firings.iter().any(|firing| firing.started && !is_settled(firing.attempt));
        let code = i.trouble.as_ref().map(|trouble| trouble.code);
        let denies = match outcome {
            Outcome::Rejected => true,
            Outcome::Failed => code != Some(Code::JobFaulted),
            Outcome::Expired | Outcome::Cancelled => i.accepted_at.is_none(),
            Outcome::Succeeded | Outcome::Dispatched | Outcome::Uncertain => false,
        };
        if denies && ran {
            untrue("a job was started");
        }
        let accepted = firings.iter().any(|firing| firing.verdict == Verdict::Accepted && firing.delivered);
        match outcome {
            Outcome::Succeeded if firings.is_empty() && !handed => untrue("nothing arrived"),
            Outcome::Succeeded => {
                let body = row.output.as_ref().map(|output| output.body.clone()).unwrap_or_default();
                let is_known = world.laws().bodies.get(&(id, grant)).is_some_and(|all| all.contains(&body));
                if !is_known {
                    untrue("the output is another");
                }
            }
            Outcome::Dispatched if !accepted => untrue("nothing was accepted"),
            Outcome::Failed if !denies && firings.is_empty() && !handed => untrue("nothing arrived"),
            _ => {}
        }
    }
}
