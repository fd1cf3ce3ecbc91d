//! The way to the wire for follow-ups: GETs, which may be repeated, over pooled connections of reqwest.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, USER_AGENT};
use http::response::Parts;
use http::{HeaderValue, Method};
use rustls::ClientConfig;
use tokio::time::Sleep;
use url::Url;

use super::connect::reason;
use super::firing::AGENT;
use super::names::Names;
use super::{answer, lost, not_sent, too_slow};
use crate::invocation::{Body, Break};

/// Below what servers and load balancers commonly keep idle connections for.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Asks status and output URIs.
pub(super) struct Asker {
    tls: ClientConfig,
    names: Names,
    /// By connect timeout, which reqwest takes per client. As many as the configuration has different ones.
    clients: Mutex<HashMap<Duration, reqwest::Client>>,
}

impl Asker {
    pub(super) fn new(tls: ClientConfig, names: Names) -> Self {
        Self { tls, names, clients: Mutex::default() }
    }

    /// One GET.
    pub(super) async fn ask(
        &self,
        url: Url,
        token: Option<&HeaderValue>,
        connect_timeout: Duration,
        cap: u64,
        mut timer: Pin<&mut Sleep>,
    ) -> Result<(Parts, Body), Break> {
        let name = url.origin().ascii_serialization();
        let failed = |error: reqwest::Error| {
            let is_connect = error.is_connect() || error.is_builder();
            let why = reason(&error.without_url());
            if is_connect {
                not_sent(format!("could not connect to {name}: {why}"))
            } else {
                lost(format!("lost the connection to {name}: {why}"))
            }
        };
        let client = self.client(connect_timeout).map_err(failed)?;
        let mut request = reqwest::Request::new(Method::GET, url);
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        let response = tokio::select! {
            biased;
            response = client.execute(request) => response.map_err(failed)?,
            () = timer.as_mut() => return Err(too_slow(format!("{name} did not answer in time"))),
        };
        let (parts, incoming) = http::Response::from(response).into_parts();
        let body = answer::read(incoming, cap, timer).await;
        Ok((parts, body))
    }

    fn client(&self, connect_timeout: Duration) -> reqwest::Result<reqwest::Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&connect_timeout) {
            return Ok(client.clone());
        }
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            .dns_resolver(self.names.clone())
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .build()?;
        clients.insert(connect_timeout, client.clone());
        Ok(client)
    }
}
