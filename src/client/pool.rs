//! The way to the wire for firings: HTTP/1.1 connections of our own, so that of each request it is known how far it
//! came, and so that a connection is used twice only where that is safe ([`super::shelf`]).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{Request, StatusCode, Uri, Version};
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use super::connect::{Connector, LARGEST_HEAD, Written, reason};
use super::departure::Departure;
use super::shelf::{FRESH, Shelf};
use super::{answer, lost, not_sent, too_slow};
use crate::clock::monotonic;
use crate::invocation::{Body, BodyEnd, Break};

/// All origins ever fired at. What they did to their connections outlives a reload.
pub(super) struct Pool {
    connector: Arc<Connector>,
    origins: Mutex<HashMap<String, Arc<Origin>>>,
}

/// One far end's connections.
pub(super) struct Origin {
    /// `scheme://host[:port]`, for people.
    name: String,
    uri: Uri,
    connector: Arc<Connector>,
    shelf: Mutex<Shelf<Line>>,
    is_swept: AtomicBool,
}

/// One connection.
struct Line {
    sender: SendRequest<Full<Bytes>>,
    stand: Arc<Stand>,
    written: Arc<Written>,
    task: JoinHandle<()>,
}

/// Where a connection stands, as its exchange and its task agree on.
struct Stand(AtomicU8);

impl Stand {
    /// An exchange is under way.
    const BUSY: u8 = 0;
    /// Its last answer ended with the promise to keep it open.
    const IDLE: u8 = 1;
    /// We are done with it.
    const RETIRED: u8 = 2;
    /// It is closed.
    const ENDED: u8 = 3;

    /// From busy to idle; false if it has ended meanwhile.
    fn rest(&self) -> bool {
        self.0.compare_exchange(Self::BUSY, Self::IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// From idle to another; false if it has ended meanwhile.
    fn leave_idle(&self, to: u8) -> bool {
        self.0.compare_exchange(Self::IDLE, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// True if it ended while it was to be kept.
    fn end(&self) -> bool {
        self.0.swap(Self::ENDED, Ordering::AcqRel) == Self::IDLE
    }
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector: Arc::new(connector), origins: Mutex::default() }
    }

    /// The origin called `name`, to be connected to at `uri`.
    pub(super) fn origin(&self, name: &str, uri: Uri) -> Arc<Origin> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let connector = Arc::clone(&self.connector);
            let name = name.to_owned();
            Arc::new(Origin {
                name,
                uri,
                connector,
                shelf: Mutex::default(),
                is_swept: AtomicBool::new(false),
            })
        };
        Arc::clone(origins.entry(name.to_owned()).or_insert_with(new))
    }
}

impl Origin {
    /// One exchange. `request` is called once for each connection tried; a second one is tried only if nothing at all
    /// was written to the first.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        request: impl Fn() -> Request<Full<Bytes>> + Send,
        departure: &Departure,
        connect_timeout: Duration,
        cap: u64,
        timer: Pin<&mut Sleep>,
    ) -> Result<(Parts, Body), Break> {
        let idle = self.idle().await;
        self.exchange_over(idle, request, departure, connect_timeout, cap, timer).await
    }

    async fn exchange_over(
        self: &Arc<Self>,
        mut idle: Option<Line>,
        request: impl Fn() -> Request<Full<Bytes>> + Send,
        departure: &Departure,
        connect_timeout: Duration,
        cap: u64,
        mut timer: Pin<&mut Sleep>,
    ) -> Result<(Parts, Body), Break> {
        let name = &self.name;
        loop {
            let is_reused = idle.is_some();
            let mut line = match idle.take() {
                Some(line) => line,
                None => tokio::select! {
                    biased;
                    line = self.connect(connect_timeout) => line?,
                    () = timer.as_mut() => {
                        return Err(not_sent(format!("could not connect to {name}: timed out")));
                    }
                },
            };
            let before = line.written.bytes();
            line.written.announce(departure.clone());
            let mut request = request();
            let flooded = answer::flooded(&mut request);
            let answered = tokio::select! {
                biased;
                answered = line.sender.try_send_request(request) => Some(answered.map_err(|e| reason(&e.into_error()))),
                () = flooded => Some(Err("too many interim answers".to_owned())),
                () = timer.as_mut() => None,
            };
            let error = match answered {
                // Of a request of which nothing was written it is no answer: the connection was about to be closed.
                Some(Ok(_)) if line.written.bytes() == before => {
                    Some("answered before it was asked".to_owned())
                }
                Some(Ok(response)) => {
                    let (parts, incoming) = response.into_parts();
                    let body = answer::read(incoming, cap, timer).await;
                    if body.end == BodyEnd::Complete && keeps_alive(&parts) {
                        self.put(line).await;
                    }
                    return Ok((parts, body));
                }
                Some(Err(why)) => Some(why),
                None => None,
            };
            // Only when the connection's task is gone can it write no more.
            line.task.abort();
            let _ = (&mut line.task).await;
            let is_unsent = line.written.bytes() == before;
            if is_reused && error.is_some() {
                self.shelf().distrust(monotonic());
                if is_unsent {
                    continue;
                }
            }
            return Err(match (error, is_unsent) {
                (Some(why), true) => not_sent(format!("{name} closed the connection: {why}")),
                (Some(why), false) => lost(format!("lost the connection to {name}: {why}")),
                (None, true) => not_sent(format!("{name} took no byte of the request in time")),
                (None, false) => too_slow(format!("{name} did not answer in time")),
            });
        }
    }

    /// A connection that may be used again.
    async fn idle(&self) -> Option<Line> {
        if self.shelf().is_empty() {
            return None;
        }
        // A connection's task sees that the far end has closed it only once the runtime has looked at the socket. The
        // runtime wakes a task that yields after it has done so, and after the tasks that this woke.
        tokio::task::yield_now().await;
        let line = self.shelf().take(monotonic(), |line| line.sender.is_ready())?;
        line.stand.leave_idle(Stand::BUSY).then_some(line)
    }

    /// Keeps a connection whose answer has ended whole.
    async fn put(self: &Arc<Self>, line: Line) {
        if !line.sender.is_ready() {
            // Its task may be about to get there.
            tokio::task::yield_now().await;
        }
        let now = monotonic();
        let mut shelf = self.shelf();
        if !line.stand.rest() {
            shelf.distrust(now);
            return;
        }
        if let Some(line) = shelf.put(line, now) {
            line.retire();
        } else if !self.is_swept.swap(true, Ordering::AcqRel) {
            tokio::spawn(Arc::clone(self).sweep());
        }
    }

    async fn connect(self: &Arc<Self>, timeout: Duration) -> Result<Line, Break> {
        let failed = |why: String| not_sent(format!("could not connect to {}: {why}", self.name));
        let stream = self.connector.connect(self.uri.clone(), timeout).await.map_err(failed)?;
        let written = stream.written();
        let mut builder = Builder::new();
        builder.max_buf_size(LARGEST_HEAD);
        let (sender, connection) = builder.handshake(stream).await.map_err(|error| failed(reason(&error)))?;
        let stand = Arc::new(Stand(AtomicU8::new(Stand::BUSY)));
        let task = tokio::spawn({
            let (origin, stand) = (Arc::clone(self), Arc::clone(&stand));
            async move {
                // How it ended, its exchange has been told.
                let _ = connection.await;
                if stand.end() {
                    origin.shelf().distrust(monotonic());
                }
            }
        });
        Ok(Line { sender, stand, written, task })
    }

    /// Closes connections that have become too old, as long as there are any: their far ends will close them soon,
    /// and must not be distrusted for it.
    async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(FRESH).await;
            let mut shelf = self.shelf();
            for line in shelf.sweep(monotonic()) {
                line.retire();
            }
            if shelf.is_empty() {
                self.is_swept.store(false, Ordering::Release);
                return;
            }
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<Line>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Closes it: its task ends when the sender is gone.
    fn retire(self) {
        self.stand.leave_idle(Stand::RETIRED);
    }
}

/// Whether the far end has promised to keep the connection open after this answer.
fn keeps_alive(parts: &Parts) -> bool {
    let closes = parts
        .headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("close"));
    // A body of unannounced length ends with its connection.
    let is_framed = parts.headers.contains_key(CONTENT_LENGTH)
        || parts.headers.contains_key(TRANSFER_ENCODING)
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    parts.version == Version::HTTP_11 && !closes && is_framed
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use http::header::HOST;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::client::connect::tls;
    use crate::client::names::Names;
    use crate::invocation::Code;

    fn request() -> Request<Full<Bytes>> {
        let request = Request::post("/").header(HOST, "far.example");
        request.body(Full::new(Bytes::from_static(b"{}"))).unwrap()
    }

    async fn send(origin: &Arc<Origin>, idle: Option<Line>) -> Result<(Parts, Body), Break> {
        const LONG: Duration = Duration::from_secs(20);
        let timer = pin!(tokio::time::sleep(LONG));
        let departure = Departure::new(|| Ok(()));
        origin.exchange_over(idle, request, &departure, LONG, 100, timer).await
    }

    async fn answer(listener: &TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        stream
    }

    /// An origin with one idle connection, whose task does not run until the test awaits something.
    async fn idle_connection(listener: &TcpListener) -> (Arc<Origin>, Line, TcpStream) {
        let name = format!("http://{}", listener.local_addr().unwrap());
        let pool = Pool::new(Connector::new(tls().unwrap(), Names::default()));
        let origin = pool.origin(&name, name.parse().unwrap());
        let (first, stream) = tokio::join!(send(&origin, None), answer(listener));
        assert_eq!(first.unwrap().0.status, 202);
        let line = origin.shelf().take(monotonic(), |line| line.sender.is_ready()).unwrap();
        assert!(line.stand.leave_idle(Stand::BUSY));
        (origin, line, stream)
    }

    #[tokio::test]
    async fn a_request_of_which_nothing_was_written_goes_over_a_fresh_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (origin, line, stream) = idle_connection(&listener).await;
        stream.set_zero_linger().unwrap();
        drop(stream);
        let (second, _stream) = tokio::join!(send(&origin, Some(line)), answer(&listener));
        assert_eq!(second.unwrap().0.status, 202);
        assert!(origin.shelf().is_distrusted(monotonic()), "and the origin is distrusted");
    }

    #[tokio::test]
    async fn a_request_that_was_written_to_a_closed_connection_is_never_sent_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (origin, line, stream) = idle_connection(&listener).await;
        drop(stream);
        let second = send(&origin, Some(line)).await;
        assert!(matches!(second, Err(Break::MaybeSent { code: Code::ConnectionLost, .. })), "{second:?}");
        assert!(origin.shelf().is_distrusted(monotonic()), "and the origin is distrusted");
    }
}
