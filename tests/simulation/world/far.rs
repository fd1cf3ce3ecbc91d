//! The far end: what it does with what arrives, and its own ledger of that.

use std::collections::BTreeMap;

use triggerd::request::CallMode;
use triggerd::trigger::Trigger;
use url::Url;

/// Every secret has this in it.
pub(crate) const CANARY: &str = "c4n4ry";
/// In the query of signed links, which are kept as status URIs, and in no message.
pub(crate) const SIGNATURE: &str = "c4n4ry-sig";
/// Where the triggers are, and what they may follow.
pub(crate) const OWN: [&str; 2] = ["http://far.example", "http://near.example"];
pub(crate) const PORTAL: &str = "http://portal.example";
const STRANGER: &str = "http://stranger.example";

/// What answers to a firing are drawn from.
const FIRED: [u16; 44] = [
    200, 201, 202, 202, 204, 206, 300, 301, 302, 303, 303, 304, 307, 308, 400, 401, 403, 404, 405, 407, 408,
    409, 410, 411, 413, 414, 415, 421, 422, 425, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 511, 520,
    530, 598,
];
/// What answers to a question are drawn from.
const ASKED: [u16; 36] = [
    200, 201, 202, 204, 206, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401, 403, 404, 405, 407, 408, 409,
    410, 422, 425, 429, 451, 499, 500, 501, 502, 503, 504, 511, 520, 599, 303,
];

/// What an answer to a firing tells of the job, by the public table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Surely none, and it may be fired again.
    NotStarted,
    /// Surely none, since the credential was refused.
    Unauthorized,
    /// Surely none, and that is final.
    Refused,
    /// There may be one.
    MayHave,
    /// There is one, or has been.
    Accepted,
}

/// One firing that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Firing {
    pub(crate) id: i64,
    /// How often the producer or an operator had allowed it until then.
    pub(crate) grant: u32,
    pub(crate) attempt: u32,
    /// The truth.
    pub(crate) started: bool,
    /// What the answer says, if it arrives.
    pub(crate) verdict: Verdict,
    /// Whether the answer has arrived.
    pub(crate) delivered: bool,
}

/// One answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Say {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    /// Seconds.
    pub(crate) retry_after: Option<u64>,
    pub(crate) kind: Option<&'static str>,
    pub(crate) body: Vec<u8>,
    pub(crate) is_broken: bool,
}

/// What comes of an exchange that arrived.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    Say(Say),
    /// The connection is lost.
    Lost,
    /// Nothing, ever.
    Never,
    /// The exchange fails within.
    Panic,
}

/// How a remote job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// 404 for ever.
    Gone,
    /// 4xx for ever.
    Unreadable,
    /// 500 for ever.
    Broken,
    /// Leads in circles.
    Circle,
    /// 401 for ever.
    Closed,
}

#[derive(Clone, Debug)]
struct Job {
    mode: CallMode,
    /// How often it is still running when asked.
    left: u32,
    body: Vec<u8>,
    mood: Mood,
    legs: u32,
    origin: String,
}

/// All far ends.
pub(crate) struct Far {
    dice: fastrand::Rng,
    /// How likely an answer is an odd one.
    odd: f64,
    /// How likely a job goes bad, of one question.
    moody: f64,
    /// From now on it behaves.
    is_calm: bool,
    pub(crate) firings: Vec<Firing>,
    /// Triggers that answer 401, and how often they will yet.
    closed: BTreeMap<String, u32>,
    jobs: BTreeMap<String, Job>,
}

impl Far {
    pub(crate) fn new(seed: u64, odd: f64, moody: f64) -> Self {
        let dice = fastrand::Rng::with_seed(seed);
        Self {
            dice,
            odd,
            moody,
            is_calm: false,
            firings: Vec::new(),
            closed: BTreeMap::new(),
            jobs: BTreeMap::new(),
        }
    }

    pub(crate) fn calm_down(&mut self) {
        self.is_calm = true;
    }

    fn chance(&mut self, share: f64) -> bool {
        self.dice.f64() < share
    }

    fn is_odd(&mut self) -> bool {
        let odd = self.odd;
        !self.is_calm && self.chance(odd)
    }

    /// Whether the next exchange cannot even be sent.
    pub(crate) fn is_unreachable(&mut self) -> bool {
        self.is_odd() && self.dice.u8(..10) == 0
    }

    /// A firing arrived: its number in the ledger, what comes of it, and after how many milliseconds.
    pub(crate) fn fired(
        &mut self,
        (id, grant, attempt): (i64, u32, u32),
        trigger: &Trigger,
        mode: CallMode,
    ) -> (usize, Then, i64) {
        let number = self.firings.len();
        let (then, mut after) = self.answer_to_firing(id, number, trigger, mode);
        let verdict = match &then {
            Then::Say(say) => verdict(mode, say.status, say.retry_after.is_some(), trigger),
            Then::Lost | Then::Never | Then::Panic => Verdict::MayHave,
        };
        let started = match verdict {
            Verdict::Accepted => true,
            Verdict::MayHave => self.dice.bool(),
            Verdict::NotStarted | Verdict::Unauthorized | Verdict::Refused => false,
        };
        if mode == CallMode::LongPolling && self.dice.bool() {
            after += self.dice.i64(0..20_000);
        }
        self.firings.push(Firing { id, grant, attempt, started, verdict, delivered: false });
        (number, then, after)
    }

    fn answer_to_firing(&mut self, id: i64, number: usize, trigger: &Trigger, mode: CallMode) -> (Then, i64) {
        let after = self.dice.i64(1..400);
        if let Some(left) = self.closed.get_mut(&trigger.name).filter(|left| **left > 0) {
            *left -= 1;
            return (Then::Say(Say { status: 401, ..Say::default() }), after);
        }
        if !self.is_odd() {
            let say = match mode {
                CallMode::AsyncRequestReply => self.accept(202, id, number, trigger),
                CallMode::LongPolling if self.dice.bool() => self.accept(303, id, number, trigger),
                CallMode::LongPolling => Say { status: 200, body: self.output(id), ..Say::default() },
                CallMode::FireAndForget => Say { status: 202, ..Say::default() },
            };
            return (Then::Say(say), after);
        }
        match self.dice.u8(..16) {
            0 | 1 => return (Then::Lost, after),
            2 => return (Then::Never, after),
            3 => return (Then::Panic, after),
            5 => {
                self.closed.insert(trigger.name.clone(), 40);
                return (Then::Say(Say { status: 401, ..Say::default() }), after);
            }
            4 => {
                // Late: perhaps too late.
                let say = self.accept(202, id, number, trigger);
                return (Then::Say(say), self.dice.i64(1_000..90_000));
            }
            _ => {}
        }
        let status = FIRED[self.dice.usize(..FIRED.len())];
        let leads = matches!(status, 201 | 202 | 302 | 303) && self.dice.u8(..4) > 0;
        let mut say = if leads { self.accept(status, id, number, trigger) } else { Say::default() };
        say.status = status;
        if leads && self.dice.u8(..4) == 0 {
            say.location = Some(match self.dice.u8(..3) {
                0 => format!("{STRANGER}/status/{id}.{number}/0"),
                1 => "http://[no.url".to_owned(),
                _ => String::new(),
            });
        }
        self.dress(&mut say, id);
        (Then::Say(say), after)
    }

    /// What may come with any answer.
    fn dress(&mut self, say: &mut Say, id: i64) {
        if self.dice.u8(..3) == 0 {
            say.retry_after = Some(self.dice.u64(..200));
        }
        if say.body.is_empty() && self.dice.bool() {
            say.body = self.output(id);
        }
        if self.dice.u8(..6) == 0 {
            say.kind = Some("text/html; charset=utf-8");
        }
        say.is_broken = self.dice.u8(..8) == 0;
    }

    fn output(&mut self, id: i64) -> Vec<u8> {
        let number = self.dice.u16(..);
        match self.dice.u8(..8) {
            0 => Vec::new(),
            1 => format!("{{\"error\":\"{number}\",\"of\":{id}}}").into_bytes(),
            2 => format!("{number} {}", "long ".repeat(30)).into_bytes(),
            _ => format!("{{\"out\":{number},\"of\":{id}}}").into_bytes(),
        }
    }

    /// A remote job begins, and the answer says where it is.
    fn accept(&mut self, status: u16, id: i64, number: usize, trigger: &Trigger) -> Say {
        let name = format!("{id}.{number}");
        let mode = if status == 202 { CallMode::AsyncRequestReply } else { CallMode::LongPolling };
        let elsewhere = trigger.allowed_origins.len() == 1 && self.dice.bool();
        let origin = if elsewhere { PORTAL.to_owned() } else { trigger.origin() };
        let (left, body) = (self.dice.u32(..5), self.output(id));
        let job = Job { mode, left, body, mood: Mood::Well, legs: 0, origin };
        let location = match self.dice.u8(..4) {
            0 if !elsewhere => Some(format!("/status/{name}/0?sig={SIGNATURE}")),
            _ => Some(self.link("status", &name, &job)),
        };
        self.jobs.insert(name, job);
        let retry_after = (self.dice.u8(..6) == 0).then(|| self.dice.u64(..20));
        Say { status, location, retry_after, ..Say::default() }
    }

    /// A link to `what` of a job, in one of the forms of a Location.
    fn link(&mut self, what: &str, name: &str, job: &Job) -> String {
        let path = format!("/{what}/{name}/{}?sig={SIGNATURE}", job.legs);
        match self.dice.u8(..5) {
            0 if self.jobs.contains_key(name) => path,
            1 => format!("{}{path}#fragment", job.origin),
            2 => format!("http://{CANARY}-user:{CANARY}-word@{}{path}", &job.origin["http://".len()..]),
            _ => format!("{}{path}", job.origin),
        }
    }

    /// Somebody asks for a job: what comes of it, and after how many milliseconds.
    pub(crate) fn asked(&mut self, url: &Url) -> (Then, i64) {
        let mut path = url.path().split('/').skip(1);
        let (what, name) =
            (path.next().unwrap_or_default().to_owned(), path.next().unwrap_or_default().to_owned());
        let after = self.dice.i64(1..300);
        let Some(mut job) = self.jobs.get(&name).cloned() else {
            return (Then::Say(Say { status: 404, ..Say::default() }), after);
        };
        let moody = self.moody;
        if !self.is_calm && job.mood == Mood::Well && self.chance(moody) {
            let moods = [Mood::Gone, Mood::Unreadable, Mood::Broken, Mood::Circle, Mood::Closed];
            job.mood = moods[self.dice.usize(..moods.len())];
        }
        if self.is_calm && !matches!(job.mood, Mood::Gone | Mood::Circle) {
            job.mood = Mood::Well;
        }
        let (then, more) = self.answer_to_question(&what, &name, &mut job);
        self.jobs.insert(name, job);
        (then, after + more)
    }

    fn answer_to_question(&mut self, what: &str, name: &str, job: &mut Job) -> (Then, i64) {
        let bare = |status| (Then::Say(Say { status, ..Say::default() }), 0);
        match job.mood {
            Mood::Well => {}
            Mood::Gone => return bare(if self.dice.bool() { 404 } else { 410 }),
            Mood::Unreadable => return bare(422),
            Mood::Broken => {
                let mut say = Say { status: 500, ..Say::default() };
                self.dress(&mut say, 0);
                return (Then::Say(say), 0);
            }
            Mood::Closed => return bare(401),
            Mood::Circle => {
                job.legs += 1;
                let status = [301, 307, 308][self.dice.usize(..3)];
                let what = if status == 307 { "hop" } else { what };
                let location = Some(self.link(what, name, job));
                return (Then::Say(Say { status, location, ..Say::default() }), 0);
            }
        }
        if self.is_odd() {
            return self.odd_answer_to_question(what, name, job);
        }
        let collecting = what == "output" || (what == "hop" && job.left == 0 && self.dice.bool());
        let mut say = Say::default();
        let mut held = 0;
        if collecting {
            (say.status, say.body) = (200, job.body.clone());
        } else if job.left > 0 {
            job.left -= 1;
            if job.mode == CallMode::LongPolling {
                held = self.dice.i64(..20_000);
                job.legs += 1;
                (say.status, say.location) = (303, Some(self.link("status", name, job)));
            } else {
                say.status = [200, 202, 204][self.dice.usize(..3)];
                if say.status == 202 && self.dice.bool() {
                    job.legs += 1;
                    say.location = Some(self.link("status", name, job));
                }
                say.retry_after = (self.dice.u8(..4) == 0).then(|| self.dice.u64(..30));
            }
        } else if job.mode == CallMode::LongPolling {
            (say.status, say.body) = (200, job.body.clone());
        } else {
            job.legs += 1;
            // What leads from a hop may be one more, which is not stored.
            let to = if what == "hop" { "hop" } else { "output" };
            (say.status, say.location) = (303, Some(self.link(to, name, job)));
        }
        (Then::Say(say), held)
    }

    fn odd_answer_to_question(&mut self, what: &str, name: &str, job: &mut Job) -> (Then, i64) {
        match self.dice.u8(..16) {
            0 | 1 => return (Then::Lost, 0),
            2 => return (Then::Never, 0),
            3 => return (Then::Panic, 0),
            4 => return (Then::Say(Say { status: 200, ..Say::default() }), self.dice.i64(1_000..90_000)),
            _ => {}
        }
        let mut say = Say { status: ASKED[self.dice.usize(..ASKED.len())], ..Say::default() };
        if (300..400).contains(&say.status) || self.dice.u8(..8) == 0 {
            job.legs += 1;
            let to = match (say.status, what) {
                (307, _) | (302 | 303, "output" | "hop") => "hop",
                (302 | 303, _) if job.mode == CallMode::AsyncRequestReply => "output",
                (_, what) => what,
            };
            say.location = match self.dice.u8(..8) {
                0 => None,
                1 => Some(format!("{STRANGER}/{to}/{name}/{}", job.legs)),
                _ => Some(self.link(to, name, job)),
            };
        }
        self.dress(&mut say, 0);
        (Then::Say(say), 0)
    }

    /// What an operator finds out: where the job of a request is, if there is one.
    pub(crate) fn job_of(&mut self, id: i64, trigger: &Trigger) -> Option<Url> {
        let number = self.firings.iter().rposition(|firing| firing.id == id && firing.started)?;
        let name = format!("{id}.{number}");
        let job = self.jobs.entry(name.clone()).or_insert_with(|| Job {
            mode: CallMode::AsyncRequestReply,
            left: 1,
            body: b"found".to_vec(),
            mood: Mood::Well,
            legs: 0,
            origin: trigger.origin(),
        });
        Url::parse(&format!("{}/status/{name}/0?sig={SIGNATURE}", job.origin)).ok()
    }

    /// The answer to a firing has arrived.
    pub(crate) fn delivered(&mut self, number: usize) {
        self.firings[number].delivered = true;
    }
}

/// What the public table of answers says about the remote job; written down a second time, as a far end would.
pub(crate) fn verdict(mode: CallMode, status: u16, retry_after: bool, trigger: &Trigger) -> Verdict {
    let is_held = mode == CallMode::LongPolling;
    match status {
        401 => Verdict::Unauthorized,
        407 | 421 | 425 | 429 | 511 => Verdict::NotStarted,
        _ if trigger.not_started.contains(&status) => Verdict::NotStarted,
        408 | 503 if retry_after && !is_held => Verdict::NotStarted,
        409 if !is_held => Verdict::NotStarted,
        302 if is_held => Verdict::Accepted,
        200..=299 | 303 => Verdict::Accepted,
        300..=399 | 403 | 404 | 405 | 411 | 413 | 414 | 415 | 431 | 501 | 505 => Verdict::Refused,
        408 | 499 => Verdict::MayHave,
        400..=498 if !is_held => Verdict::Refused,
        _ => Verdict::MayHave,
    }
}
