//! A far end that does as it is told, and records what it saw.
//!
//! Raw TCP, since the tests need answers that no HTTP server would give. Everything can be awaited; nothing sleeps.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use url::Url;

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its number among all requests, from 0.
    pub(crate) order: usize,
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The only value of a header; panics if it came twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} came twice");
        value
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

/// What to send back, and what to do then.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    hold: Option<Hold>,
    interim: Vec<u16>,
    head: Option<(u16, Vec<(String, String)>)>,
    announced: Option<usize>,
    body: Vec<u8>,
    drips: bool,
    then: Then,
}

/// Between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_millis(50);

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It serves the next request.
    Keep,
    /// It is closed, unannounced.
    Close,
    /// It is reset.
    Reset,
    /// Nothing more is sent or read until the peer closes it.
    Hang,
    /// Bytes are sent until the peer closes it.
    Flood,
    /// These are sent again and again until the peer closes it.
    Repeat(&'static str),
}

impl Answer {
    /// A complete answer without a body.
    pub(crate) fn status(status: u16) -> Self {
        Self { head: Some((status, Vec::new())), ..Self::raw("") }
    }

    /// These bytes and no others.
    pub(crate) fn raw(bytes: &str) -> Self {
        Self {
            hold: None,
            interim: Vec::new(),
            head: None,
            announced: None,
            body: bytes.as_bytes().to_vec(),
            drips: false,
            then: Then::Keep,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let (_, headers) = self.head.as_mut().expect("raw bytes have no headers");
        headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Announces a length that is not the body's.
    pub(crate) fn announcing(mut self, length: usize) -> Self {
        self.announced = Some(length);
        self
    }

    /// Sends an interim answer first.
    pub(crate) fn after(mut self, interim: u16) -> Self {
        self.interim.push(interim);
        self
    }

    /// Sends nothing before `hold` is released.
    pub(crate) fn held(mut self, hold: &Hold) -> Self {
        self.hold = Some(hold.clone());
        self
    }

    /// Sends one byte at a time, with a pause after each.
    pub(crate) fn dripping(mut self) -> Self {
        self.drips = true;
        self
    }

    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = String::new();
        for interim in &self.interim {
            let _ = write!(head, "HTTP/1.1 {interim} Wait\r\n\r\n");
        }
        if let Some((status, headers)) = &self.head {
            let _ = write!(head, "HTTP/1.1 {status} As Told\r\n");
            for (name, value) in headers {
                let _ = write!(head, "{name}: {value}\r\n");
            }
            let is_framed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
            if !is_framed && *status != 204 && *status != 304 {
                let _ = write!(head, "Content-Length: {}\r\n", self.announced.unwrap_or(self.body.len()));
            }
            head.push_str("\r\n");
        }
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Holds answers back until it is released.
#[derive(Clone, Debug)]
pub(crate) struct Hold(Arc<Semaphore>);

impl Hold {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub(crate) fn release(&self) {
        self.0.close();
    }

    async fn released(&self) {
        let _ = self.0.acquire().await;
    }
}

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// Its requests are read and answered.
    Serve,
    /// Its requests are answered when their head has come; no body is read.
    Early,
    /// It is closed before anything is read.
    Close,
    /// It is reset before anything is read.
    Reset,
}

/// The server. Ends when dropped.
pub(crate) struct FarEnd {
    address: SocketAddr,
    record: Arc<Record>,
    _tasks: JoinSet<()>,
}

struct Record {
    script: Box<dyn Fn(&Seen) -> Answer + Send + Sync>,
    greeting: Box<dyn Fn(usize) -> Greeting + Send + Sync>,
    seen: Mutex<Vec<Seen>>,
    counts: watch::Sender<Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    connections: usize,
    closed: usize,
    seen: usize,
}

impl FarEnd {
    /// One that answers each request as `script` says.
    pub(crate) async fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::greeting(|_| Greeting::Serve, script).await
    }

    /// One that gives these answers in turn, and the last of them ever after.
    pub(crate) async fn queue(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
        Self::start(move |_| {
            let mut answers = answers.lock().expect("no panic while locked");
            let next = answers.front().expect("there is an answer").clone();
            if answers.len() > 1 {
                answers.pop_front();
            }
            next
        })
        .await
    }

    /// One that also treats each new connection, by its number, as `greeting` says.
    pub(crate) async fn greeting(
        greeting: impl Fn(usize) -> Greeting + Send + Sync + 'static,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::serving("127.0.0.1:0", greeting, script).await
    }

    /// One at this address, where nobody is yet.
    pub(crate) async fn at(
        address: SocketAddr,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::serving(address, |_| Greeting::Serve, script).await
    }

    async fn serving(
        address: impl ToSocketAddrs,
        greeting: impl Fn(usize) -> Greeting + Send + Sync + 'static,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let record = Arc::new(Record {
            script: Box::new(script),
            greeting: Box::new(greeting),
            seen: Mutex::default(),
            counts: watch::Sender::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&record)));
        Self { address, record, _tasks: tasks }
    }

    /// A URL on it.
    pub(crate) fn url(&self, target: &str) -> Url {
        format!("http://{}{target}", self.address).parse().expect("targets are well-formed")
    }

    /// All requests so far.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.record.seen.lock().expect("no panic while locked").clone()
    }

    /// Waits for the `n`th request; gives all so far.
    pub(crate) async fn seen(&self, n: usize) -> Vec<Seen> {
        self.counted(|counts| counts.seen >= n).await;
        self.all()
    }

    /// Waits until it has closed `n` connections, of itself or after the peer.
    pub(crate) async fn closed(&self, n: usize) {
        self.counted(|counts| counts.closed >= n).await;
    }

    /// How many connections were made so far.
    pub(crate) fn connections(&self) -> usize {
        self.record.counts.borrow().connections
    }

    fn counted(&self, enough: impl Fn(&Counts) -> bool) -> impl Future<Output = ()> {
        let mut counts = self.record.counts.subscribe();
        async move {
            counts.wait_for(enough).await.expect("the record outlives its readers");
        }
    }
}

async fn accept(listener: TcpListener, record: Arc<Record>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let number = record.counts.borrow().connections;
        record.counts.send_modify(|counts| counts.connections += 1);
        let record = Arc::clone(&record);
        connections.spawn(async move {
            let _ = serve(stream, number, &record).await;
            record.counts.send_modify(|counts| counts.closed += 1);
        });
    }
}

async fn serve(mut stream: TcpStream, connection: usize, record: &Record) -> io::Result<()> {
    let greeting = (record.greeting)(connection);
    match greeting {
        Greeting::Serve | Greeting::Early => {}
        Greeting::Close => return Ok(()),
        Greeting::Reset => return stream.set_zero_linger(),
    }
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8 * 1024);
    while let Some(mut seen) = read(&mut stream, &mut buffer, greeting != Greeting::Early).await? {
        seen.connection = connection;
        {
            let mut all = record.seen.lock().expect("no panic while locked");
            seen.order = all.len();
            all.push(seen.clone());
        }
        record.counts.send_modify(|counts| counts.seen += 1);
        let answer = (record.script)(&seen);
        if let Some(hold) = &answer.hold {
            hold.released().await;
        }
        if answer.drips {
            for byte in answer.bytes() {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(DRIP).await;
            }
        } else {
            stream.write_all(&answer.bytes()).await?;
        }
        match answer.then {
            Then::Keep => {}
            Then::Close => return Ok(()),
            Then::Reset => return stream.set_zero_linger(),
            Then::Hang => while stream.read(&mut [0; 1024]).await? > 0 {},
            Then::Flood => loop {
                stream.write_all(&[b'x'; 16 * 1024]).await?;
            },
            Then::Repeat(bytes) => {
                let many = bytes.repeat(1024);
                loop {
                    stream.write_all(many.as_bytes()).await?;
                }
            }
        }
    }
    Ok(())
}

/// The next request, or none if the peer has closed. What follows it stays in `buffer`.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, whole: bool) -> io::Result<Option<Seen>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = std::str::from_utf8(&buffer[..end]).expect("the head is text");
    let mut lines = head.trim_end().split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| whole && name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, text)| text.parse::<usize>().expect("the length is a number"));
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = buffer[end..end + length].to_vec();
    buffer.drain(..end + length);
    Ok(Some(Seen { order: 0, connection: 0, method, target, headers, body }))
}
