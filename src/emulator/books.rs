//! What the desk remembers, and how it is read.

use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde::Serialize;
use tokio::sync::watch;

use super::bounded::Bounded;
use super::desk::Desk;
use super::jobs::Jobs;
use super::ledger::{Answered, Entry, Firings, JobLine, Ledger, cut};
use super::outgoing::Outgoing;
use super::route::{Book, Route};
use super::settings::Settings;
use crate::clock::Clock as _;
use crate::serving::errors::Refusal;
use crate::serving::{Content, Reply};

/// Callers whose troubles and answers are remembered.
const MOST_CALLERS: usize = 100_000;
/// A trigger, and the Idempotency-Key of the call.
pub(super) type Caller = (Arc<str>, Option<Arc<str>>);

/// All that is remembered.
pub(super) struct Books {
    pub(super) jobs: Jobs,
    pub(super) ledger: Ledger,
    /// How often each trouble of a list has come at a start.
    pub(super) troubles: Bounded<(Caller, u64), Vec<u32>>,
    /// The job that a key has made, where keys are looked at.
    pub(super) answered: Bounded<Caller, u128>,
}

impl Books {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            jobs: Jobs::new(settings.max_jobs, settings.forget_after),
            ledger: Ledger::new(settings.ledger_calls),
            troubles: Bounded::new(MOST_CALLERS),
            answered: Bounded::new(MOST_CALLERS),
        }
    }
}

/// The line of the ledger for a call that is being answered.
pub(super) struct Line<'d> {
    pub(super) desk: &'d Desk,
    pub(super) n: u64,
    pub(super) key: Option<Arc<str>>,
    pub(super) answer: Answered,
}

/// The ledger.
impl Desk {
    pub(super) fn calls(&self) -> Vec<Entry> {
        self.books().ledger.calls().iter().cloned().collect()
    }

    pub(super) fn calls_from(&self, n: u64) -> Vec<Entry> {
        self.books().ledger.calls_from(n).cloned().collect()
    }

    pub(super) fn jobs(&self) -> Vec<JobLine> {
        let now = self.clock.now();
        let mut books = self.books();
        books.jobs.forget(now);
        books.ledger.jobs(&books.jobs, now)
    }

    pub(super) fn firings(&self) -> Firings {
        let books = self.books();
        books.ledger.firings(&books.jobs)
    }

    pub(super) fn reset(&self) {
        {
            let mut books = self.books();
            let Books { jobs, ledger, troubles, .. } = &mut *books;
            ledger.reset(jobs);
            troubles.clear();
        }
        self.changes.send_replace(());
    }

    /// Changes with the ledger.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(super) fn book(&self, book: Book, method: &Method) -> Response<Outgoing> {
        let page = match (book, method) {
            (Book::Calls, &Method::DELETE) => {
                self.reset();
                let mut response = Response::new(Outgoing::Whole(Bytes::new()));
                *response.status_mut() = StatusCode::NO_CONTENT;
                return response;
            }
            (Book::Calls, &Method::GET) => {
                #[derive(Serialize)]
                struct Calls {
                    total: u64,
                    calls: Vec<Entry>,
                }
                let calls = self.calls();
                let total = self.books().ledger.total();
                serde_json::to_vec(&Calls { total, calls })
            }
            (Book::Jobs, &Method::GET) => {
                #[derive(Serialize)]
                struct Jobs {
                    jobs: Vec<JobLine>,
                }
                serde_json::to_vec(&Jobs { jobs: self.jobs() })
            }
            (Book::Firings, &Method::GET) => serde_json::to_vec(&self.firings()),
            _ => return self.write(&Refusal::no_trigger("/ledger").reply(fastrand::u128(..))),
        };
        let content = Content::json(Bytes::from(page.unwrap_or_default()));
        self.write(&Reply { status: 200, link: None, retry_after: None, content })
    }

    /// Takes a call in.
    pub(super) fn open(&self, head: &Parts, route: &Route<'_>) -> Line<'_> {
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).map(cut);
        let entry = Entry {
            n: 0,
            time: self.clock.now(),
            leg: match route {
                Route::Start { .. } => Some("start"),
                Route::Follow { leg, .. } => Some(leg.as_str()),
                _ => None,
            },
            trigger: None,
            method: cut(head.method.as_str()).to_owned(),
            path: cut(&route.shown(head.uri.path())).to_owned(),
            idempotency_key: header("idempotency-key").map(Arc::from),
            traceparent: header("traceparent").map(str::to_owned),
            arguments: None,
            answer: Answered::Open,
            answered: None,
            job: None,
        };
        let key = entry.idempotency_key.clone();
        let n = self.books().ledger.open(entry);
        self.changes.send_replace(());
        Line { desk: self, n, key, answer: Answered::Left }
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line<'_> {
    /// Adds to what the ledger has of the call.
    pub(super) fn write(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.desk.books().ledger.entry(self.n) {
            change(entry);
        }
    }
}

impl Drop for Line<'_> {
    /// Here, since a caller that hangs up drops what was about to answer it.
    fn drop(&mut self) {
        let (answer, now) = (self.answer, self.desk.clock.now());
        self.write(|entry| (entry.answer, entry.answered) = (answer, Some(now)));
        self.desk.changes.send_replace(());
        if let Some(each_call) = &self.desk.settings.each_call {
            let entry = self.desk.books().ledger.entry(self.n).cloned();
            entry.iter().for_each(|entry| each_call(entry));
        }
    }
}
