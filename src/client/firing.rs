//! A trigger made ready to be fired: all that is the same in each firing is parsed once.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use http_body_util::Full;
use url::{Position, Url};

use super::pool::{Origin, Pool};
use super::{arguments, not_sent};
use crate::invocation::{Break, Code};
use crate::request::{CallMode, Request};
use crate::trigger::{Method, Trigger};

/// What we call ourselves.
pub(super) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("triggerd/", env!("CARGO_PKG_VERSION")));

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Headers that say where a message goes and where it ends: from a configuration they could only contradict.
const RESERVED: [&str; 8] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"];

/// One trigger, ready to be fired.
pub(super) struct Firing {
    trigger: Arc<Trigger>,
    origin: Arc<Origin>,
    method: http::Method,
    path: PathAndQuery,
    headers: HeaderMap,
}

/// One firing, ready to be sent, as often as it takes until a byte of it is written.
pub(super) struct Letter<'a> {
    firing: &'a Firing,
    path: PathAndQuery,
    own: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    /// Where it goes: what a relative Location is resolved against.
    pub(super) url: Url,
}

impl Firing {
    /// Parses what `trigger` says.
    ///
    /// # Errors
    /// When it cannot be put on the wire so.
    pub(super) fn new(trigger: &Arc<Trigger>, pool: &Pool) -> Result<Self, Break> {
        let unfit = |why: String| not_sent(format!("trigger {} cannot be sent: {why}", trigger.name));
        let authority = &trigger.url[Position::BeforeHost..Position::AfterPort];
        let uri = Uri::builder().scheme(trigger.url.scheme()).authority(authority).path_and_query("/");
        let uri = uri.build().map_err(|_| unfit("no host to connect to".to_owned()))?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, value(authority).map_err(&unfit)?);
        headers.insert(USER_AGENT, AGENT);
        if trigger.method != Method::Get {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, text) in &trigger.headers {
            let (name, value) = header(name, text).map_err(&unfit)?;
            headers.insert(name, value);
        }
        Ok(Self {
            origin: pool.origin(&trigger.origin(), uri),
            method: http::Method::from_bytes(trigger.method.as_str().as_bytes())
                .expect("each is the name of a method"),
            path: path(&trigger.url).map_err(&unfit)?,
            headers,
            trigger: Arc::clone(trigger),
        })
    }

    /// The trigger that it was made of.
    pub(super) const fn trigger(&self) -> &Arc<Trigger> {
        &self.trigger
    }

    /// The connections it goes over.
    pub(super) const fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// The firing for `request`.
    ///
    /// # Errors
    /// When the arguments cannot be put on the wire so.
    pub(super) fn letter(
        &self,
        request: &Request,
        call_mode: CallMode,
        idempotency_key: &str,
        token: Option<&HeaderValue>,
    ) -> Result<Letter<'_>, Break> {
        let invalid = |why: String| Break::NotSent { code: Code::InvalidRequest, why };
        let call_mode = self.trigger.send_call_mode.then_some(call_mode);
        // A plain token, although the draft standard of this header wants it in quotes: the servers that read it take
        // the value as it is, and some refuse quotes.
        let mut own = vec![(IDEMPOTENCY_KEY, value(idempotency_key).map_err(&invalid)?)];
        if let Some(text) = &request.traceparent {
            own.push((TRACEPARENT, value(text).map_err(&invalid)?));
        }
        if let Some(token) = token {
            own.push((AUTHORIZATION, token.clone()));
        }
        let mut url = self.trigger.url.clone();
        let mut path = self.path.clone();
        let mut body = Bytes::new();
        if self.trigger.method == Method::Get {
            let unfit = |error| invalid(format!("the arguments do not fit into a query: {error}"));
            url = arguments::query(&url, &request.arguments, call_mode).map_err(unfit)?;
            path = self::path(&url).map_err(&invalid)?;
        } else {
            body = arguments::body(&request.arguments, call_mode);
        }
        Ok(Letter { firing: self, path, own, body, url })
    }
}

impl Letter<'_> {
    /// What goes over the connection.
    pub(super) fn request(&self) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.firing.method.clone();
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = self.firing.headers.clone();
        for (name, value) in &self.own {
            request.headers_mut().insert(name, value.clone());
        }
        request
    }
}

/// A header of the configuration, checked.
///
/// # Errors
/// One line that names the header, not its value.
pub(super) fn header(name: &str, text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::try_from(name).map_err(|_| format!("{name:?} is no name of a header"))?;
    if RESERVED.contains(&parsed.as_str()) {
        return Err(format!("the header {parsed} is not to be set"));
    }
    let mut value = value(text).map_err(|why| format!("the header {parsed} {why}"))?;
    // Many a trigger is opened by a key in a header of its own.
    value.set_sensitive(true);
    Ok((parsed, value))
}

fn value(text: &str) -> Result<HeaderValue, String> {
    let is_visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let parsed = HeaderValue::from_str(text).ok().filter(|_| is_visible);
    parsed.ok_or_else(|| "holds characters that are not visible ASCII".to_owned())
}

fn path(url: &Url) -> Result<PathAndQuery, String> {
    PathAndQuery::try_from(&url[Position::BeforePath..Position::AfterQuery])
        .map_err(|_| "its URL is too long or holds characters that no request line may hold".to_owned())
}
