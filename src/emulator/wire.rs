//! How an answer is written, with what is wrong about it on purpose.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::desk::{Call, Desk, Said};
use super::knobs::Knobs;
use super::outgoing::Outgoing;
use super::server::Severed;
use super::trouble::{Page, Trouble, What};
use crate::clock::Clock as _;
use crate::serving::errors::Refusal;
use crate::serving::link::Token;
use crate::serving::manners::RetryAfter;
use crate::serving::{Content, Leg, Reply};

/// What gateways send in place of an answer.
const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head>\n\
                    <body><h1>Bad gateway</h1><p>The server returned an invalid or incomplete response.</p></body></html>\n";

impl Desk {
    /// Puts an answer on the wire, with what is wrong about it.
    pub(super) fn respond(
        &self,
        call: &Call<'_>,
        reply: &Reply,
        job: Option<u128>,
        knobs: &Knobs,
        trouble: Option<&Trouble>,
    ) -> Said {
        let what = trouble.map(|trouble| &trouble.what);
        let location = match (what, reply.link, job) {
            (Some(What::NoLocation), ..) | (_, None, _) | (_, _, None) => None,
            (Some(What::Elsewhere(location)), ..) => Some(location.clone()),
            (Some(What::Loop), ..) => {
                let path = call.head.uri.path_and_query().map_or("/", |path| path.as_str());
                HeaderValue::try_from(format!("{}{path}", self.here(call.head))).ok()
            }
            (_, Some(leg), Some(id)) => self.location(call, leg, id, knobs),
        };
        let mut response = self.write(reply);
        if let Some(location) = location {
            response.headers_mut().insert(LOCATION, location);
        }
        match what {
            Some(What::Cut) => *response.body_mut() = Outgoing::half_of(&reply.content.body),
            Some(What::Huge(bytes)) => *response.body_mut() = Outgoing::Huge { left: *bytes },
            _ => {}
        }
        Ok(response)
    }

    /// A link to a job, signed.
    fn location(&self, call: &Call<'_>, leg: Leg, id: u128, knobs: &Knobs) -> Option<HeaderValue> {
        let serial = self.books().jobs.get(id)?.issue(leg);
        let target = self.signer.target(leg, Token { job: id, serial });
        let origin = match &self.portal {
            _ if knobs.manners.relative_location => String::new(),
            Some(portal) if knobs.portal_links => portal.clone(),
            _ => self.here(call.head),
        };
        HeaderValue::try_from(format!("{origin}{}{target}", call.prefix)).ok()
    }

    /// The origin by which the caller knows us.
    fn here(&self, head: &Parts) -> String {
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty());
        host.map_or_else(|| self.origin.clone(), |host| format!("http://{host}"))
    }

    /// What comes in place of an answer.
    pub(super) fn instead(&self, what: &What) -> Said {
        let What::Status { status, page, retry_after } = what else {
            return Err(if *what == What::Reset { Severed::Reset } else { Severed::Closed });
        };
        let mut reply = Refusal::other(*status).reply(fastrand::u128(..));
        reply.retry_after = *retry_after;
        match page {
            Page::Error => {}
            Page::Empty => reply.content = Content::default(),
            Page::Html => {
                reply.content = Content {
                    kind: Some("text/html; charset=utf-8"),
                    body: Bytes::from_static(PAGE.as_bytes()),
                };
            }
        }
        Ok(self.write(&reply))
    }

    pub(super) fn refuse(&self, refusal: &Refusal) -> Said {
        Ok(self.write(&refusal.reply(fastrand::u128(..))))
    }

    pub(super) fn write(&self, reply: &Reply) -> Response<Outgoing> {
        let mut response = Response::new(Outgoing::Whole(reply.content.body.clone()));
        *response.status_mut() =
            StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Some(kind) = reply.content.kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let wait = reply.retry_after.map(|wait: RetryAfter| wait.text(self.clock.now()));
        if let Some(wait) = wait.and_then(|wait| HeaderValue::try_from(wait).ok()) {
            headers.insert(RETRY_AFTER, wait);
        }
        response
    }
}

/// What a person sees who looks in with a browser.
pub(super) fn front() -> Response<Outgoing> {
    const TEXT: &str = concat!(
        "triggerd emulate ",
        env!("CARGO_PKG_VERSION"),
        ": a local orchestrator for tests.\n\n",
        "POST /t/{folder-guid}/{slug}    starts a job; anything may stand before /t/\n",
        "GET  /ledger                    the calls so far\n",
        "GET  /ledger/jobs               the jobs\n",
        "GET  /ledger/firings            how often each Idempotency-Key came\n",
        "DELETE /ledger                  begins anew\n",
    );
    let mut response = Response::new(Outgoing::Whole(Bytes::from_static(TEXT.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
