//! Looking for work, inside the writer's transaction: what is ready, what gets a place, what must end.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use super::keys::{Keys, Sieve};
use super::{rates, scheduling, statements};
use crate::clock::UnixMillis;
use crate::invocation::Code;
use crate::queue::pick::Places;
use crate::queue::row::Raw;
use crate::queue::{Committed, HELD_AT_ONCE, HeldBy, Look, Survey, Taken, Want, before};
use crate::trigger::Trigger;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Rows of one kind that a survey lists, as in `ending.sql`, `strangers.sql` and `never.sql`.
const SURVEY_LIMIT: usize = 500;

/// No trigger is looked at sooner again because of a time, whatever the table has for one.
const SOON: Duration = Duration::from_millis(1);
/// Candidates that are read at least where keys have limits: those that cannot go are put aside at once.
const SIFTED_AT_ONCE: usize = 256;
/// How often that is done in one commit while none of them can go.
const SIFTINGS: usize = 4;

/// Makes the intents that `look` has places for, and a survey if it asks for one.
pub(super) async fn look(
    c: &mut SqliteConnection,
    look: &Look,
    keys: &mut Keys,
    out: &mut Committed,
) -> Result<()> {
    keys.look(c, look.survey, look.now, out).await?;
    if look.list_triggering {
        out.triggering = statements::triggering(c).await?.into_iter().map(|(id, _)| id).collect();
    }
    let mut wants: Vec<&Want> = look.wants.iter().collect();
    let mut held_back: Vec<&(String, Code)> = look.held_back.iter().collect();
    let mut bad = Vec::new();
    if look.survey {
        let heads = statements::heads(c).await?;
        if heads.iter().any(|head| !head.known) {
            let strangers = statements::strangers(c).await?;
            let problem = "trigger_name: is no trigger of the table triggers".to_owned();
            bad.extend(strangers.into_iter().map(|id| (id, problem.clone())));
        }
        let never = statements::never(c).await?;
        // A stranger that is never ready has its verdict already.
        let never: Vec<i64> = never.into_iter().filter(|id| bad.iter().all(|(bad, _)| bad != id)).collect();
        good(statements::load(c, &never).await?, &mut bad);
        let open: HashSet<&[u8]> =
            heads.iter().filter(|head| head.open).map(|head| head.name.as_slice()).collect();
        wants.retain(|want| open.contains(want.trigger.name.as_bytes()));
        // What is open but was not wanted has no place now; it is looked for again when one is free.
        let wanted: HashSet<&[u8]> = wants.iter().map(|want| want.trigger.name.as_bytes()).collect();
        held_back.retain(|(name, _)| open.contains(name.as_bytes()));
        out.hungry.extend(
            open.difference(&wanted).filter_map(|name| std::str::from_utf8(name).ok().map(str::to_owned)),
        );
    }
    for (name, code) in held_back {
        let ids = statements::candidates(c, name, look.now, HELD_AT_ONCE, look.ageing).await?;
        statements::hold(c, &ids, *code).await?;
    }
    let more = bad.len() >= SURVEY_LIMIT;
    take(c, look, &wants, keys, &mut bad, out).await?;
    reject(c, look, bad, out).await?;
    if look.survey {
        let mut survey = survey(c, look, out).await?;
        survey.more |= more || keys.is_sweeping();
        out.survey = Some(survey);
    }
    out.wake_at = keys.next();
    Ok(())
}

/// Ends bad rows, and tells of those that were there to be ended: one that is followed already only cannot be read.
async fn reject(
    c: &mut SqliteConnection,
    look: &Look,
    mut bad: Vec<(i64, String)>,
    out: &mut Committed,
) -> Result<()> {
    if !bad.is_empty() {
        let rejected: HashSet<i64> = statements::reject(c, &bad, look.now).await?.into_iter().collect();
        bad.retain(|(id, _)| rejected.contains(id));
        out.rejected.extend(bad);
    }
    Ok(())
}

async fn take(
    c: &mut SqliteConnection,
    look: &Look,
    wants: &[&Want],
    keys: &mut Keys,
    bad: &mut Vec<(i64, String)>,
    out: &mut Committed,
) -> Result<()> {
    let mut places = Places::new(look, wants);
    let mut picked: Vec<Taken> = Vec::new();
    let mut intents: Vec<(i64, i64)> = Vec::new();
    let mut sieves: Vec<Sieve<'_>> = Vec::new();
    for want in wants {
        let share = places.share(want);
        if share.limit == 0 {
            out.hungry.push(want.trigger.name.clone());
            continue;
        }
        let limit = share.limit.min(allowed(c, &want.trigger, look.now, out).await?);
        if limit == 0 {
            continue;
        }
        let mut sieve = keys.sieve(&want.trigger);
        let asked = if sieve.is_some() { limit.max(SIFTED_AT_ONCE) } else { limit };
        let (mut rows, mut full) = (Vec::new(), true);
        for _ in 0..SIFTINGS {
            let ids = statements::candidates(c, &want.trigger.name, look.now, asked, look.ageing).await?;
            full = ids.len() == asked;
            rows = good(statements::load(c, &ids).await?, bad);
            let Some(sieve) = &mut sieve else { break };
            rows = sieve.pass(c, rows, keys, look.now, out).await?;
            if !rows.is_empty() || !full {
                break;
            }
        }
        sieves.extend(sieve);
        full |= rows.len() > limit;
        rows.truncate(limit);
        let (rows, short) = places.pick(want, share, rows);
        if full || short {
            out.hungry.push(want.trigger.name.clone());
        }
        for row in rows {
            let mode = row.invocation.firing_mode(&want.trigger);
            intents.push((row.invocation.id, look.now.plus(want.trigger.deadline(mode)).0));
            picked.push(row);
        }
    }
    if !intents.is_empty() {
        let intended: HashSet<i64> = statements::intend(c, &intents, look.now).await?.into_iter().collect();
        picked.retain(|row| intended.contains(&row.invocation.id));
        out.intended = picked;
        for want in wants.iter().filter(|want| want.trigger.rate.is_some()) {
            let name = &want.trigger.name;
            let many = out.intended.iter().filter(|row| row.trigger_name == *name).count();
            rates::add(c, name, "", many, look.now).await?;
        }
        for sieve in sieves {
            sieve.fired(c, &out.intended, keys, look.now).await?;
        }
    }
    Ok(())
}

/// How many more rows of a trigger may be fired, by what only the table knows. If that is none, it is told until when.
async fn allowed(
    c: &mut SqliteConnection,
    trigger: &Trigger,
    now: UnixMillis,
    out: &mut Committed,
) -> Result<usize> {
    let mut allowed = usize::MAX;
    if let Some(quota) = trigger.rate {
        let room = rates::room(c, &trigger.name, "", quota, now).await?;
        if room.free == 0 {
            out.waits.push((trigger.name.clone(), HeldBy::Rate, room.until.max(now.plus(SOON))));
        }
        allowed = room.free as usize;
    }
    if let Some(max) = trigger.max_concurrent.filter(|_| allowed > 0 && !trigger.hold_uncertain.is_zero()) {
        let since = before(now, trigger.hold_uncertain);
        let (doubtful, first) = statements::doubtful(c, &trigger.name, since, max).await?;
        if let Some(first) = first {
            // What is with the far end is counted by whoever asks.
            allowed = allowed.min((max as usize).saturating_sub(doubtful));
            if allowed == 0 {
                let until = first.plus(trigger.hold_uncertain);
                out.waits.push((
                    trigger.name.clone(),
                    HeldBy::Slot("hold_uncertain"),
                    until.max(now.plus(SOON)),
                ));
            }
        }
    }
    Ok(allowed)
}

async fn survey(c: &mut SqliteConnection, look: &Look, out: &mut Committed) -> Result<Survey> {
    let ids = statements::ending(c, look.now).await?;
    let by_firing: HashMap<bool, Vec<i64>> = ids.into_iter().fold(HashMap::new(), |mut by, (id, firing)| {
        by.entry(firing).or_default().push(id);
        by
    });
    let ending = by_firing.get(&false).map_or(&[][..], Vec::as_slice);
    let mut bad = Vec::new();
    let rows = good(statements::load(c, ending).await?, &mut bad);
    reject(c, look, bad, out).await?;
    Ok(Survey {
        more: ending.len() >= SURVEY_LIMIT,
        ending: rows,
        cancelling: by_firing.get(&true).cloned().unwrap_or_default(),
        handed_over: statements::handovers(c).await?,
        uncertain: statements::uncertain(c).await?,
        next: statements::next(c, look.now).await?,
        timetable: scheduling::next(c).await?,
    })
}

/// The rows that are sound; what is wrong with the others goes to `bad`.
fn good(rows: Vec<Raw>, bad: &mut Vec<(i64, String)>) -> Vec<Taken> {
    rows.into_iter()
        .filter_map(|raw| match raw.check() {
            Ok(taken) => Some(taken),
            Err(problem) => {
                bad.push((raw.id, problem));
                None
            }
        })
        .collect()
}
