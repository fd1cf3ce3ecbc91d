//! One call: where it leads, who may make it, what goes wrong on purpose, and what is answered.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use secrecy::ExposeSecret as _;
use tokio::sync::watch;

use super::books::{Books, Caller, Line};
use super::knobs::{Ending, Knobs};
use super::ledger::{Answered, cut, id_text, shown_arguments};
use super::outgoing::Outgoing;
use super::route::Route;
use super::server::{Severed, stopped};
use super::settings::Settings;
use super::trouble::{self, On, What};
use super::wire::front;
use crate::clock::{Clock as _, SystemClock, UnixMillis};
use crate::request::CallMode;
use crate::serving::arguments::{self, Arguments};
use crate::serving::errors::Refusal;
use crate::serving::link::Signer;
use crate::serving::manners::Manners;
use crate::serving::{self, Answer, Content, Context, End, Job, Leg, Reply};

/// A body that takes longer to come is given up.
const BODY: Duration = Duration::from_secs(30);

/// Where all calls come to.
pub(super) struct Desk {
    pub(super) settings: Settings,
    pub(super) origin: String,
    pub(super) portal: Option<String>,
    pub(super) signer: Signer,
    pub(super) clock: SystemClock,
    pub(super) books: Mutex<Books>,
    pub(super) changes: watch::Sender<()>,
    pub(super) stopping: watch::Receiver<bool>,
}

/// A call, as it came.
pub(super) struct Call<'c> {
    pub(super) head: &'c Parts,
    pub(super) prefix: &'c str,
    pub(super) asked_at: UnixMillis,
}

/// What a call that starts a job says.
struct Read {
    arguments: Arguments,
    /// The trigger's, as the call turns them.
    knobs: Arc<Knobs>,
    /// What it may take to keep that.
    bytes: usize,
}

pub(super) type Said = Result<Response<Outgoing>, Severed>;

impl Desk {
    pub(super) fn new(
        settings: Settings,
        origin: String,
        portal: Option<String>,
        stopping: watch::Receiver<bool>,
    ) -> Option<Self> {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).ok()?;
        let books = Books::new(&settings);
        Some(Self {
            settings,
            origin,
            portal,
            signer: Signer::new(&secret),
            clock: SystemClock,
            books: Mutex::new(books),
            changes: watch::Sender::new(()),
            stopping,
        })
    }

    /// Answers a call, or ends its connection.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Said {
        let (head, body) = request.into_parts();
        let route = Route::of(head.uri.path());
        match route {
            Route::Front => Ok(front()),
            Route::Ledger(book) => Ok(self.book(book, &head.method)),
            route => {
                let mut line = self.open(&head, &route);
                let said = self.serve(&head, route, body, &line).await;
                line.answer = match &said {
                    Ok(response) => Answered::Status(response.status().as_u16()),
                    Err(_) => Answered::Dropped,
                };
                said
            }
        }
    }

    async fn serve(&self, head: &Parts, route: Route<'_>, body: Incoming, line: &Line<'_>) -> Said {
        let asked_at = self.clock.now();
        match route {
            Route::Start { prefix, folder, slug } => {
                let call = Call { head, prefix, asked_at };
                if !self.is_authorised(&head.headers) {
                    return self.refuse(&Refusal::unauthorized());
                }
                self.start(&call, folder, &slug, body, line).await
            }
            Route::Follow { prefix, leg, token } => {
                self.follow(&Call { head, prefix, asked_at }, leg, token, line).await
            }
            _ => self.refuse(&Refusal::no_trigger(cut(head.uri.path()))),
        }
    }

    /// A call that starts a job.
    async fn start(
        &self,
        call: &Call<'_>,
        folder: &str,
        slug: &str,
        body: Incoming,
        line: &Line<'_>,
    ) -> Said {
        let head = call.head;
        let Some((name, knobs)) = self.settings.find(head.method.as_str(), folder, slug) else {
            return self.refuse(&Refusal::no_trigger(cut(head.uri.path())));
        };
        let caller: Caller = (Arc::from(cut(name)), line.key.clone());
        self.books().ledger.fired(&caller.0, caller.1.as_ref());
        line.write(|entry| entry.trigger = Some(Arc::clone(&caller.0)));
        let read = match self.read(head, knobs, body).await {
            Ok(read) => read,
            Err(refusal) => return self.refuse(&refusal),
        };
        line.write(|entry| entry.arguments = shown_arguments(&read.arguments.named));
        let knobs = &read.knobs;
        let trouble = if knobs.trouble.is_empty() {
            None
        } else {
            let mut books = self.books();
            // Requests that bring lists of their own do not use up each other's.
            let list = trouble::identity(&knobs.trouble);
            let (counts, _) = books.troubles.entry(&(caller.clone(), list));
            trouble::next(&knobs.trouble, On::Start, counts).cloned()
        };
        if let Some(trouble) = trouble.as_ref().filter(|trouble| trouble.is_instead()) {
            self.pause(trouble.delay).await;
            return self.instead(&trouble.what);
        }
        let Some((id, job, knobs)) = self.make(&caller, &read) else {
            return self.refuse(&Refusal::no_room());
        };
        line.write(|entry| entry.job = Some(id_text(id)));
        // A call may be held for long: only what it needs is kept.
        drop(read);
        if let Some(trouble) = &trouble {
            // The job runs already: a caller who gives up meanwhile does not know.
            self.pause(trouble.delay).await;
            if trouble.after {
                return self.instead(&trouble.what);
            }
        }
        let reply = self.ask(serving::start, &job, &knobs.manners, call.asked_at).await;
        self.respond(call, &reply, Some(id), &knobs, trouble.as_ref())
    }

    /// A call of a status or output URI.
    async fn follow(&self, call: &Call<'_>, leg: Leg, token: &str, line: &Line<'_>) -> Said {
        let token = self.signer.read(leg, token, call.head.uri.query());
        let on = match leg {
            Leg::Status => On::Status,
            Leg::Output => On::Output,
        };
        let found = token.and_then(|token| {
            let mut books = self.books();
            books.jobs.forget(call.asked_at);
            let kept = books.jobs.get(token.job)?;
            let knobs = Arc::clone(&kept.knobs);
            let is_open = kept.job.mode == CallMode::LongPolling && !knobs.manners.require_bearer_on_status;
            if !is_open && !self.is_authorised(&call.head.headers) {
                return Some(Err(Refusal::unauthorized()));
            }
            kept.calls = kept.calls.saturating_add(1);
            let trigger = Arc::clone(&kept.trigger);
            let trouble = trouble::next(&knobs.trouble, on, &mut kept.troubles).cloned();
            let found = if kept.honours(leg, token.serial) {
                Ok((token.job, kept.job.clone(), knobs, trouble))
            } else {
                Err(Refusal::no_job())
            };
            if let Some(entry) = books.ledger.entry(line.n) {
                entry.trigger = Some(trigger);
                entry.job = Some(id_text(token.job));
            }
            Some(found)
        });
        let (id, job, knobs, trouble) = match found {
            Some(Ok(found)) if call.head.method == Method::GET => found,
            Some(Err(refusal)) => return self.refuse(&refusal),
            _ if !self.is_authorised(&call.head.headers) => return self.refuse(&Refusal::unauthorized()),
            _ => return self.refuse(&Refusal::no_job()),
        };
        if let Some(trouble) = &trouble {
            self.pause(trouble.delay).await;
            match trouble.what {
                What::Status { .. } | What::Drop | What::Reset => return self.instead(&trouble.what),
                // Redirects that are wrong come whatever the job does.
                What::NoLocation | What::Loop | What::Elsewhere(_) => {
                    let reply = Reply {
                        status: knobs.manners.redirect_status,
                        link: Some(leg),
                        retry_after: None,
                        content: Content::default(),
                    };
                    return self.respond(call, &reply, Some(id), &knobs, Some(trouble));
                }
                What::Cut | What::Slow | What::Huge(_) => {}
            }
        }
        let ask = match leg {
            Leg::Status => serving::status,
            Leg::Output => serving::output,
        };
        let reply = self.ask(ask, &job, &knobs.manners, call.asked_at).await;
        self.respond(call, &reply, Some(id), &knobs, trouble.as_ref())
    }

    /// Reads a call that starts a job.
    async fn read(&self, head: &Parts, knobs: &Arc<Knobs>, body: Incoming) -> Result<Read, Refusal> {
        let most = usize::try_from(self.settings.max_body).unwrap_or(usize::MAX);
        let body = tokio::time::timeout(BODY, Limited::new(body, most).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(Refusal::too_large());
            }
            _ => return Err(Refusal::bad_arguments("The request body did not come to its end")),
        };
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_get = head.method == Method::GET;
        let mut arguments = arguments::read(is_get, content_type, head.uri.query(), &body)?;
        let bytes = body.len() + head.uri.query().map_or(0, str::len);
        let Some(mut emulate) = arguments.named.remove("emulate") else {
            return Ok(Read { arguments, knobs: Arc::clone(knobs), bytes });
        };
        if let (true, serde_json::Value::String(text)) = (is_get, &emulate) {
            emulate = serde_json::from_str(text)
                .map_err(|error| Refusal::bad_arguments(format!("emulate is not JSON: {error}")))?;
        }
        let knobs = knobs.turned(&emulate).map_err(|problems| Refusal::bad_arguments(problems.join("; ")))?;
        Ok(Read { arguments, knobs: Arc::new(knobs), bytes })
    }

    /// A new job, or the one that this caller has already made, where that counts.
    fn make(&self, caller: &Caller, read: &Read) -> Option<(u128, Job, Arc<Knobs>)> {
        let Read { arguments, knobs, .. } = read;
        let now = self.clock.now();
        let mut books = self.books();
        let books = &mut *books;
        let repeated = knobs.deduplicate && caller.1.is_some();
        if let Some(id) = books.answered.get(caller).copied().filter(|_| repeated)
            && let Some(kept) = books.jobs.get(id)
        {
            kept.calls = kept.calls.saturating_add(1);
            return Some((id, kept.job.clone(), Arc::clone(&kept.knobs)));
        }
        let end = match knobs.end {
            Ending::Success => {
                let echo = || Bytes::from(serde_json::Value::Object(arguments.named.clone()).to_string());
                Some(End::Output(knobs.output.clone().unwrap_or_else(echo)))
            }
            Ending::Fault => Some(End::Fault),
            Ending::Stopped => Some(End::Stopped),
            Ending::Killed => Some(End::Killed),
            Ending::Suspended => None,
        };
        let job = Job {
            mode: arguments.call_mode.unwrap_or(knobs.call_mode),
            created: now,
            end: end.map(|end| (now.plus(knobs.duration), end)),
        };
        let id = fastrand::u128(..);
        if !books.jobs.make(id, Arc::clone(&caller.0), Arc::clone(knobs), job.clone(), read.bytes, now) {
            return None;
        }
        books.jobs.get(id)?.calls = 1;
        books.ledger.made(&caller.0, caller.1.as_ref());
        if repeated {
            *books.answered.entry(caller).0 = id;
        }
        Some((id, job, Arc::clone(knobs)))
    }

    /// Asks what to answer, and holds the call as long as it is told to.
    async fn ask(
        &self,
        ask: fn(&Job, &Context<'_>) -> Answer,
        job: &Job,
        manners: &Manners,
        mut asked_at: UnixMillis,
    ) -> Reply {
        let mut stopping = self.stopping.clone();
        loop {
            let context = Context { manners, now: self.clock.now(), asked_at, trace: fastrand::u128(..) };
            match ask(job, &context) {
                Answer::Reply(reply) => return reply,
                Answer::Hold(until) => tokio::select! {
                    () = self.clock.sleep_until(until) => {}
                    // Whoever is held at a stop is answered as if its time were over.
                    () = stopped(&mut stopping) => asked_at = UnixMillis(0),
                },
            }
        }
    }

    /// Waits, but not at a stop.
    async fn pause(&self, delay: Duration) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stopped(&mut stopping) => {}
        }
    }

    fn is_authorised(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.settings.token else { return true };
        let said = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        said.and_then(|said| said.split_at_checked(7)).is_some_and(|(scheme, said)| {
            scheme.eq_ignore_ascii_case(b"Bearer ")
                && verify_slices_are_equal(said, token.expose_secret().as_bytes()).is_ok()
        })
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("settings", &self.settings).finish_non_exhaustive()
    }
}
