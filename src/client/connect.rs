//! How a connection comes about: name resolution, TCP, TLS; and what was written to it.

use std::error::Error;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tower_service::Service;

use super::departure::Departure;
use super::names::Names;

/// A dead peer, or a middlebox that has forgotten us, is noticed by a held exchange after about this.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// The head of an answer, and what is read of its body at once.
pub(super) const LARGEST_HEAD: usize = 128 * 1024;

/// Reads that may bring something one after another; then others get their turn. A far end that sends faster than it is
/// read would else keep the thread for as long as it likes.
const READS_IN_A_ROW: u8 = 4;

/// A connection.
pub(super) type Stream = Counted<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// Makes connections.
pub(super) struct Connector {
    tcp: HttpConnector<Names>,
    tls: Arc<ClientConfig>,
}

impl Connector {
    pub(super) fn new(tls: ClientConfig, names: Names) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(names);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        Self { tcp, tls: Arc::new(tls) }
    }

    /// Connects to the host of `uri`. All that goes wrong here goes wrong before anything is sent.
    pub(super) async fn connect(&self, uri: Uri, timeout: Duration) -> Result<Stream, String> {
        let is_tls = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        // Its own timer too: it shares the time out among the addresses of the host.
        let mut tcp = self.tcp.clone();
        tcp.set_connect_timeout(Some(timeout));
        let mut https = HttpsConnector::from((tcp, Arc::clone(&self.tls)));
        let connecting = async {
            std::future::poll_fn(|cx| https.poll_ready(cx)).await?;
            https.call(uri).await
        };
        match tokio::time::timeout(timeout, connecting).await {
            Ok(Ok(stream)) => {
                Ok(Counted { stream, written: Arc::default(), reads: 0, is_deaf: false, is_tls })
            }
            Ok(Err(error)) => Err(reason(&*error)),
            Err(_) => Err("timed out".to_owned()),
        }
    }
}

/// TLS by the system's own certificates, HTTP/1.1 only.
///
/// # Errors
/// When the crypto library offers no usable protocol version.
pub(super) fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        || ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let mut config = match builder()?.with_platform_verifier() {
        Ok(verified) => verified.with_no_client_auth(),
        Err(error) => {
            // A machine without certificates can still call http URLs; each https URL fails by itself.
            tracing::warn!(%error, "no https host can be verified: {error}");
            builder()?.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The innermost cause of an error, on one line: the outer ones say "error sending request" and the like.
pub(super) fn reason(error: &(dyn Error + 'static)) -> String {
    const LONGEST: usize = 200;
    let mut cause = error;
    loop {
        let is_timeout =
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        if is_timeout {
            return "timed out".to_owned();
        }
        let Some(inner) = cause.source() else { break };
        cause = inner;
    }
    cause.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

/// What was written to a connection: the one proof that nothing of a request was sent.
#[derive(Default)]
pub(super) struct Written {
    bytes: AtomicU64,
    /// Of the firing whose first byte comes next.
    departure: Mutex<Option<Departure>>,
}

impl Written {
    /// Bytes accepted so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The next byte is the first one of a firing.
    pub(super) fn announce(&self, departure: Departure) {
        *self.departure() = Some(departure);
    }

    /// Bytes are about to be written.
    fn begin(&self) -> io::Result<()> {
        match &*self.departure() {
            Some(departure) => departure.tell(),
            None => Ok(()),
        }
    }

    /// So many were.
    fn count(&self, n: usize) {
        *self.departure() = None;
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
    }

    fn departure(&self) -> MutexGuard<'_, Option<Departure>> {
        self.departure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that keeps account of what it accepted.
///
/// A far end may answer before it has read the whole request, and then close. What it said is still to be read, so the
/// failure of a write is no end: the rest of the request goes nowhere, and the reader finds the answer, or the break.
pub(super) struct Counted<T> {
    stream: T,
    written: Arc<Written>,
    /// Reads that brought something since the last that did not.
    reads: u8,
    /// Writes have failed.
    is_deaf: bool,
    /// One write may be several to the socket: that it failed does not prove that nothing went out.
    is_tls: bool,
}

impl<T> Counted<T> {
    /// The account.
    pub(super) fn written(&self) -> Arc<Written> {
        Arc::clone(&self.written)
    }
}

impl<T: Write + Unpin> Counted<T> {
    /// Writes `length` bytes, or some of them.
    fn write(
        &mut self,
        length: usize,
        write: impl FnOnce(Pin<&mut T>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Ready(Ok(length));
        }
        self.written.begin()?;
        match write(Pin::new(&mut self.stream)) {
            Poll::Ready(Ok(n)) => {
                self.written.count(n);
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(error)) if is_closed(&error) => {
                self.is_deaf = true;
                if self.is_tls {
                    self.written.count(length);
                }
                Poll::Ready(Ok(length))
            }
            other => other,
        }
    }
}

/// The far end reads no more.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl<T: Read + Unpin> Read for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reads >= READS_IN_A_ROW {
            self.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.reads = if polled.is_ready() { self.reads + 1 } else { 0 };
        polled
    }
}

impl<T: Write + Unpin> Write for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(bytes.len(), |stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.write(length, |stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_deaf {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Err(error)) if is_closed(&error) => {
                self.is_deaf = true;
                Poll::Ready(Ok(()))
            }
            polled => polled,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
