//! From the bytes of an answer to a [`Reply`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::response::Parts;
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tokio::time::Sleep;
use url::Url;

use super::{lost, retry_after};
use crate::clock::UnixMillis;
use crate::invocation::{Body, BodyEnd, Break, Reply};

/// A body is given no more room than this ahead of its bytes, whatever length it announces.
const TRUSTED_LENGTH: u64 = 16 * 1024;

/// Interim answers (100, 103) that are skipped. A far end that goes on with them answers nothing.
const MOST_INTERIM: usize = 100;

/// Ends when more interim answers have come to `request` than anybody needs.
pub(super) fn flooded<B>(request: &mut Request<B>) -> impl Future<Output = ()> + Send + use<B> {
    let (came, enough) = (AtomicUsize::new(0), Arc::new(Notify::new()));
    let told = Arc::clone(&enough);
    hyper::ext::on_informational(request, move |_| {
        if came.fetch_add(1, Ordering::Relaxed) == MOST_INTERIM {
            told.notify_one();
        }
    });
    async move { enough.notified().await }
}

/// Reads a body up to `cap` bytes, or until `timer` ends.
pub(super) async fn read<B>(mut incoming: B, cap: u64, mut timer: Pin<&mut Sleep>) -> Body
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let announced = incoming.size_hint().exact();
    let room = announced.unwrap_or(0).min(cap).min(TRUSTED_LENGTH);
    let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
    let mut seen = 0;
    let end = loop {
        let frame = tokio::select! {
            biased;
            frame = incoming.frame() => frame,
            () = timer.as_mut() => break BodyEnd::Broken,
        };
        let data = match frame {
            None => break BodyEnd::Complete,
            Some(Err(_)) => break BodyEnd::Broken,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        seen += data.len() as u64;
        let left = usize::try_from(cap).unwrap_or(usize::MAX).saturating_sub(bytes.len());
        bytes.extend_from_slice(&data[..data.len().min(left)]);
        if seen > cap {
            break BodyEnd::Cut;
        }
    };
    Body { bytes, total: announced.unwrap_or(0).max(seen), end }
}

/// The answer as the rules read it; one that is not final, or not HTTP, is none.
pub(super) fn reply(parts: &Parts, body: Body, url: Url, now: UnixMillis) -> Result<Reply, Break> {
    let status = parts.status.as_u16();
    if !(200..600).contains(&status) {
        let origin = url.origin().ascii_serialization();
        return Err(lost(format!("{origin} answered with status {status}, which ends no exchange")));
    }
    let text = |name| parts.headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    Ok(Reply {
        status,
        location: text(LOCATION).map(str::to_owned),
        retry_after: text(RETRY_AFTER).and_then(|text| retry_after::parse(text, now)),
        content_type: text(CONTENT_TYPE).map(str::to_owned),
        url,
        body,
    })
}
