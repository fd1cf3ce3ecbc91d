//! The client: exchanges with the far end that break in every way, and the gates of the credentials.

use std::collections::BTreeMap;
use std::time::Duration;

use triggerd::client::{Admission, Client, Order, Wish};
use triggerd::clock::{Clock as _, UnixMillis};
use triggerd::invocation::{Body, BodyEnd, Break, Code, Reply};
use triggerd::request::CallMode;
use triggerd::trigger::Trigger;
use url::Url;

use super::far::{Say, Then, Verdict, verdict};
use super::laws;
use super::variants::Variant;
use super::{Shared, World};

/// The first wait of a shut gate; it doubles up to the last.
const FIRST_PROBE: i64 = 1_000;
const LONGEST_PROBE: i64 = 60_000;

/// Whether exchanges with one credential may begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    strikes: u32,
    shut: Option<Shut>,
}

#[derive(Clone, Debug)]
struct Shut {
    code: Code,
    /// Milliseconds of the world.
    since: i64,
    /// By the wall clock.
    next: UnixMillis,
    wait: i64,
    granted: bool,
    begun: bool,
}

/// What is on the wire of one daemon.
#[derive(Default)]
pub(crate) struct Open {
    by_id: BTreeMap<i64, usize>,
    by_origin: BTreeMap<String, usize>,
    held: usize,
    streaks: BTreeMap<String, Streak>,
    /// When the last poll of each origin began, in milliseconds of the world.
    polled: BTreeMap<String, i64>,
}

/// How an origin has answered firings lately, as a daemon has been told.
#[derive(Default)]
struct Streak {
    /// Bad ends since the last one that was not surely bad, of firings that began after that.
    bad: u32,
    /// Milliseconds of the world.
    good_at: i64,
    /// When there were so many that the breaker must be open.
    broken_at: Option<i64>,
    /// Firings under way that began after that.
    probes: usize,
}

/// The wire of one daemon.
#[derive(Clone)]
pub(crate) struct SimClient {
    pub(crate) world: Shared,
    pub(crate) daemon: u32,
}

/// An exchange under way: leaves when it ends, however it does.
struct Under {
    world: Shared,
    daemon: u32,
    id: i64,
    /// None: held.
    origin: Option<String>,
    /// The credential whose probe it is.
    probe: Option<String>,
    /// The origin whose probe it is.
    breaks: Option<String>,
}

impl Gate {
    fn look(&self, now: UnixMillis) -> Admission {
        match &self.shut {
            None => Admission::Open,
            Some(shut) if shut.begun => {
                Admission::Shut { until: now.plus(millis(shut.wait)), code: shut.code }
            }
            Some(shut) if now < shut.next => Admission::Shut { until: shut.next, code: shut.code },
            Some(_) => Admission::Probe,
        }
    }

    /// Shuts for `wait`.
    pub(crate) fn shut(&mut self, code: Code, elapsed: i64, now: UnixMillis, wait: i64) {
        let (since, next) = (elapsed, now.plus(millis(wait)));
        self.shut = Some(Shut { code, since, next, wait, granted: false, begun: false });
    }

    pub(crate) fn open(&mut self) {
        *self = Self::default();
    }
}

fn millis(n: i64) -> Duration {
    Duration::from_millis(n.unsigned_abs())
}

fn lost(code: Code, why: &str) -> Break {
    Break::MaybeSent { code, why: why.to_owned() }
}

impl Drop for Under {
    fn drop(&mut self) {
        let mut all = self.world.open();
        let open = all.entry(self.daemon).or_default();
        *open.by_id.entry(self.id).or_default() -= 1;
        match &self.origin {
            Some(origin) => *open.by_origin.entry(origin.clone()).or_default() -= 1,
            None => open.held -= 1,
        }
        if let Some(origin) = &self.breaks {
            open.streaks.entry(origin.clone()).or_default().probes -= 1;
        }
        drop(all);
        if let Some(name) = &self.probe
            && let Some(shut) = &mut self.world.gates().entry(name.clone()).or_default().shut
        {
            shut.begun = false;
        }
    }
}

impl Client for SimClient {
    async fn exchange(&self, order: Order) -> Result<Reply, Break> {
        let world = &self.world;
        let (id, held) = match &order.wish {
            Wish::Fire { request, call_mode, .. } => (request.id, *call_mode == CallMode::LongPolling),
            Wish::Ask { url, .. } => {
                let id = laws::id_of(url).unwrap_or_default();
                let row = world.memory.row(id);
                (id, row.is_some_and(|row| row.taken.invocation.is_held()))
            }
        };
        let url = match &order.wish {
            Wish::Fire { .. } => order.trigger.url.clone(),
            Wish::Ask { url, .. } => url.clone(),
        };
        let began = world.time.elapsed();
        let mut under = self.enter(id, &url, held);
        match &order.wish {
            Wish::Fire { request, call_mode, idempotency_key, .. } => {
                laws::firing(world, &order.trigger, request.id, *call_mode, idempotency_key);
                under.breaks = self.probe_of(id, &order.trigger.origin());
            }
            Wish::Ask { url, .. } => {
                laws::asking(world, &order.trigger, id, url);
                if !held {
                    self.keep_rate(id, url);
                }
            }
        }
        let with_credential = !matches!(order.wish, Wish::Ask { credential: false, .. });
        if with_credential && let Some(name) = &order.trigger.credential {
            under.probe = self.begin(name)?;
        }
        world.crash_point(self.daemon, world.perils().before_sending, "before sending").await;
        let begun = world.time.elapsed();
        let end = self.carry_out(&order, id, &url, begun).await;
        if let (true, Some(name)) = (with_credential, &order.trigger.credential) {
            self.report(name, under.probe.take().is_some(), &end);
        }
        let told = match &end {
            Ok(reply) => format!("{}", reply.status),
            Err(broke) => format!("{broke:?}"),
        };
        world.note(|| format!("{id}: answered {told}"));
        drop(under);
        if let Wish::Fire { call_mode, .. } = &order.wish {
            self.learn(&order.trigger, *call_mode, began, &end);
        }
        world.crash_point(self.daemon, world.perils().after_answer, "after the answer").await;
        end
    }

    fn admission(&self, trigger: &Trigger, now: UnixMillis) -> Admission {
        let Some(name) = &trigger.credential else { return Admission::Open };
        let mut gates = self.world.gates();
        let gate = gates.entry(name.clone()).or_default();
        let admission = gate.look(now);
        if let (Admission::Probe, Some(shut)) = (admission, &mut gate.shut) {
            shut.next = now.plus(millis(shut.wait));
            shut.granted = true;
        }
        if self.world.is(Variant::OpenGate) { Admission::Open } else { admission }
    }

    fn outlook(&self, trigger: &Trigger, now: UnixMillis) -> Admission {
        let Some(name) = &trigger.credential else { return Admission::Open };
        let admission = self.world.gates().entry(name.clone()).or_default().look(now);
        if self.world.is(Variant::OpenGate) { Admission::Open } else { admission }
    }
}

impl SimClient {
    fn enter(&self, id: i64, url: &Url, held: bool) -> Under {
        let world = &self.world;
        let origin = (!held).then(|| url.origin().ascii_serialization());
        let mut all = world.open();
        let others: usize =
            all.iter().filter(|(daemon, _)| **daemon != self.daemon).map(|(_, open)| open.of(id)).sum();
        let open = all.entry(self.daemon).or_default();
        let mine = open.by_id.entry(id).or_default();
        *mine += 1;
        let twice = *mine > 1 || others > 0;
        let now = match &origin {
            Some(origin) => {
                let n = open.by_origin.entry(origin.clone()).or_default();
                *n += 1;
                *n
            }
            None => {
                open.held += 1;
                open.held
            }
        };
        drop(all);
        laws::entering(world, id, twice, held, now);
        Under { world: world.clone(), daemon: self.daemon, id, origin, probe: None, breaks: None }
    }

    /// An exchange with a credential begins: whether it is the probe.
    fn begin(&self, name: &str) -> Result<Option<String>, Break> {
        let world = &self.world;
        let mut gates = world.gates();
        let gate = gates.entry(name.to_owned()).or_default();
        let Some(shut) = &mut gate.shut else { return Ok(None) };
        if std::mem::take(&mut shut.granted) {
            shut.begun = true;
            return Ok(Some(name.to_owned()));
        }
        let (code, since) = (shut.code, shut.since);
        drop(gates);
        laws::at_a_shut_gate(world, name, since);
        if code == Code::CredentialUnavailable {
            return Err(Break::NotSent { code, why: "the secret cannot be read".to_owned() });
        }
        Ok(None)
    }

    /// A poll begins, that is not held.
    fn keep_rate(&self, id: i64, url: &Url) {
        let now = self.world.time.elapsed();
        let origin = url.origin().ascii_serialization();
        let last = self.world.open().entry(self.daemon).or_default().polled.insert(origin, now);
        if let Some(last) = last {
            laws::polling(&self.world, id, now - last);
        }
    }

    /// A firing begins: the origin whose probe it is, if the breaker of that must be open.
    fn probe_of(&self, id: i64, origin: &str) -> Option<String> {
        let world = &self.world;
        let mut all = world.open();
        let streak = all.entry(self.daemon).or_default().streaks.entry(origin.to_owned()).or_default();
        if streak.broken_at.is_none_or(|at| at >= world.time.elapsed()) {
            return None;
        }
        streak.probes += 1;
        let probes = streak.probes;
        drop(all);
        laws::probing(world, id, origin, probes);
        Some(origin.to_owned())
    }

    /// What the end of a firing says of its origin.
    fn learn(&self, trigger: &Trigger, mode: CallMode, began: i64, end: &Result<Reply, Break>) {
        let world = &self.world;
        let most = world.breaking.failures;
        let is_bad = match end {
            Ok(reply) => match verdict(mode, reply.status, reply.retry_after.is_some(), trigger) {
                // The report of a job that has failed.
                Verdict::MayHave if mode == CallMode::LongPolling => {
                    !matches!(reply.status, 400..=407 | 409..=498 | 500)
                }
                Verdict::MayHave => true,
                Verdict::NotStarted => reply.status >= 500,
                Verdict::Unauthorized | Verdict::Refused | Verdict::Accepted => false,
            },
            Err(broke) => !matches!(broke, Break::NotSent { code, .. } if *code != Code::NotSent),
        };
        let now = world.time.elapsed();
        let mut all = world.open();
        let streak = all.entry(self.daemon).or_default().streaks.entry(trigger.origin()).or_default();
        if !is_bad {
            *streak = Streak { good_at: now, probes: streak.probes, ..Streak::default() };
        } else if began > streak.good_at {
            streak.bad += 1;
            if most > 0 && streak.bad == most {
                streak.broken_at = Some(now);
                drop(all);
                world.count("breaker", "opened");
            }
        }
    }

    /// What the end of an exchange says of its credential.
    fn report(&self, name: &str, is_probe: bool, end: &Result<Reply, Break>) {
        let world = &self.world;
        let (elapsed, now) = (world.time.elapsed(), world.time.now());
        let mut gates = world.gates();
        let gate = gates.entry(name.to_owned()).or_default();
        let refused = end.as_ref().is_ok_and(|reply| reply.status == 401);
        match &mut gate.shut {
            Some(shut) if is_probe => {
                if end.is_ok() && !refused {
                    gate.open();
                } else {
                    shut.begun = false;
                    shut.wait = if refused { (shut.wait * 2).min(LONGEST_PROBE) } else { shut.wait };
                    shut.next = now.plus(millis(shut.wait));
                }
            }
            Some(_) => {}
            None if refused => {
                gate.strikes += 1;
                if gate.strikes >= 2 {
                    gate.shut(Code::CredentialRefused, elapsed, now, FIRST_PROBE);
                    drop(gates);
                    world.count("gate", "shut by 401");
                }
            }
            None if end.is_ok() => gate.strikes = 0,
            None => {}
        }
    }

    async fn carry_out(&self, order: &Order, id: i64, url: &Url, begun: i64) -> Result<Reply, Break> {
        let world = &self.world;
        let firing = matches!(order.wish, Wish::Fire { .. });
        let connects = world.between(0, 40);
        world.time.sleep(connects).await;
        if world.far().is_unreachable() {
            let codes = [
                Code::NotSent,
                Code::NotSent,
                Code::NotSent,
                Code::ForbiddenAddress,
                Code::CredentialUnavailable,
                Code::InvalidRequest,
            ];
            let code = if firing { world.pick(&codes) } else { Code::NotSent };
            world.count("break", format!("not sent, {}", code.as_str()));
            return Err(Break::NotSent { code, why: self.why("could not connect", url) });
        }
        let (number, then, after) = match &order.wish {
            Wish::Fire { request, call_mode, departure, .. } => {
                if departure.tell().is_err() {
                    return Err(Break::NotSent {
                        code: Code::NotSent,
                        why: "it could not be noted".to_owned(),
                    });
                }
                let known = laws::arrived(world, request.id);
                let (number, then, after) = world.far().fired(known, &order.trigger, *call_mode);
                world.note(|| {
                    let (id, _, attempt) = known;
                    format!("{id}: FIRED ({call_mode}, attempt {attempt}), {} after {after}", said(&then))
                });
                world.count("wire", "firing");
                if let Then::Say(say) = &then {
                    world.count("fired", format!("{call_mode} {}", say.status));
                }
                (Some(number), then, after)
            }
            Wish::Ask { url, .. } => {
                let (then, after) = world.far().asked(url);
                world.note(|| format!("{id}: asked {}, {} after {after}", url.path(), said(&then)));
                world.count("wire", "question");
                if let Then::Say(say) = &then {
                    let what = url.path().split('/').nth(1).unwrap_or_default();
                    world.count("asked", format!("{what} {}", say.status));
                }
                (None, then, after)
            }
        };
        world.crash_point(self.daemon, world.perils().after_sending, "after sending").await;
        let timeout = i64::try_from(order.timeout.as_millis()).unwrap_or(i64::MAX);
        let left = timeout.saturating_sub(world.time.elapsed() - begun).max(0);
        if after >= left || matches!(then, Then::Never) {
            if world.is(Variant::NoTimeout) {
                std::future::pending::<()>().await;
            }
            world.time.sleep(left).await;
            world.count("break", "silence");
            return Err(self.maybe_sent(order, Code::ResponseTimeout, "no answer in time", url));
        }
        world.time.sleep(after).await;
        match then {
            Then::Say(mut say) => {
                if let Some(number) = number {
                    world.far().delivered(number);
                }
                let mut url = url.clone();
                if world.is(Variant::FollowsRedirects)
                    && (300..400).contains(&say.status)
                    && let Some(next) = say.location.as_deref().and_then(|text| url.join(text).ok())
                    && laws::id_of(&next).is_some()
                {
                    laws::asking(world, &order.trigger, id, &next);
                    if let (Then::Say(next_say), _) = world.far().asked(&next) {
                        (say, url) = (next_say, next);
                    }
                }
                let reply = reply(say, url, order.trigger.max_output);
                laws::delivered(world, id, &reply);
                Ok(reply)
            }
            Then::Lost | Then::Never => {
                world.count("break", "lost");
                if let (true, Wish::Fire { request, call_mode, .. }) =
                    (world.is(Variant::RepeatsFiring), &order.wish)
                {
                    let known = laws::arrived(world, request.id);
                    let _ = world.far().fired(known, &order.trigger, *call_mode);
                }
                Err(self.maybe_sent(order, Code::ConnectionLost, "the connection was lost", url))
            }
            Then::Panic => {
                world.count("break", "failed within");
                // Not `panic!`: there is nothing to be said about it.
                std::panic::resume_unwind(Box::new("the far end says so"))
            }
        }
    }

    fn maybe_sent(&self, order: &Order, code: Code, why: &str, url: &Url) -> Break {
        let firing = matches!(order.wish, Wish::Fire { .. });
        if firing && self.world.is(Variant::AmbiguousIsNotSent) {
            return Break::NotSent { code: Code::NotSent, why: why.to_owned() };
        }
        lost(code, &self.why(why, url))
    }

    fn why(&self, what: &str, url: &Url) -> String {
        if self.world.is(Variant::TellsSecrets) {
            return format!("{what}: {url}");
        }
        format!("{what}: {}", url.origin().ascii_serialization())
    }
}

impl Open {
    fn of(&self, id: i64) -> usize {
        self.by_id.get(&id).copied().unwrap_or(0)
    }
}

impl World {
    /// Whether an exchange of this request is under way.
    pub(crate) fn is_open(&self, id: i64) -> bool {
        self.open().values().any(|open| open.of(id) > 0)
    }
}

fn said(then: &Then) -> String {
    match then {
        Then::Say(Say { status, location, retry_after, is_broken, .. }) => {
            let location = location.as_deref().map(|to| format!(" to {to}")).unwrap_or_default();
            let wait = retry_after.map(|wait| format!(" retry after {wait} s")).unwrap_or_default();
            format!("{status}{location}{wait}{}", if *is_broken { " broken" } else { "" })
        }
        then => format!("{then:?}").to_lowercase(),
    }
}

fn reply(say: Say, url: Url, cap: u64) -> Reply {
    let Say { status, location, retry_after, kind, mut body, is_broken } = say;
    let total = body.len() as u64;
    let mut end = if is_broken { BodyEnd::Broken } else { BodyEnd::Complete };
    if total > cap && !is_broken {
        body.truncate(usize::try_from(cap).unwrap_or(usize::MAX));
        end = BodyEnd::Cut;
    }
    Reply {
        status,
        url,
        location,
        retry_after: retry_after.map(Duration::from_secs),
        content_type: kind.map(str::to_owned),
        body: Body { bytes: body, total, end },
    }
}
