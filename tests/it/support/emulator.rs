//! The emulator within the tests' process, and a client that does nothing of itself.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use triggerd::emulator::Emulator;
use triggerd::emulator::settings::Settings;

/// A folder as good as any.
pub(crate) const FOLDER: &str = "00000000-0000-4000-8000-000000000001";

/// One with these settings, on a free port.
pub(crate) async fn emulator(toml: &str) -> Emulator {
    let settings = Settings::parse("emulator.toml", &format!("listen = \"127.0.0.1:0\"\n{toml}"));
    Emulator::start(settings.expect("the settings are sound")).await.expect("loopback has a free port")
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Response {
    /// 0: nothing came.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the connection was reset.
    pub(crate) reset: bool,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("no Location: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// One request on a connection of its own. `target` is a path or a whole URL; follows nothing.
pub(crate) async fn call(at: SocketAddr, method: &str, target: &str, headers: &str, body: &str) -> Response {
    let (at, target) = match target.strip_prefix("http://") {
        None => (at, target),
        Some(rest) => {
            let (authority, _) = rest.split_once('/').expect("a URL has a path");
            (authority.parse().expect("it is on loopback"), &rest[authority.len()..])
        }
    };
    let mut stream = TcpStream::connect(at).await.expect("it listens");
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{length}{headers}\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut bytes = Vec::new();
    let reset = stream.read_to_end(&mut bytes).await.is_err();
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Response { reset, ..Response::default() };
    };
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned()));
    Response {
        status: status.parse().expect("a status"),
        headers: headers.collect(),
        body: bytes[end + 4..].to_vec(),
        reset,
    }
}

/// Starts a job.
pub(crate) async fn post(emulator: &Emulator, body: &Value) -> Response {
    call(emulator.address(), "POST", &format!("/t/{FOLDER}/hello"), "", &body.to_string()).await
}

/// Asks a Location, or a path.
pub(crate) async fn get(emulator: &Emulator, target: &str) -> Response {
    call(emulator.address(), "GET", target, "", "").await
}
