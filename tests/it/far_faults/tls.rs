//! Connections that do not come about: nobody is there, or nobody who can be trusted. Nothing was sent, so everything
//! is fired again while the limit lasts, also what may run only once.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

use super::{at, insert};
use crate::client::full_listener;
use crate::support::bounded;
use crate::support::daemon::{Site, Table};
use crate::support::far_end::{Answer, FarEnd, Greeting};

/// For `localhost`, from 2020 to 2120, and signed by nobody else. A test's own, and worth nothing.
const VALID: &str = include_str!("valid.pem");
/// The same for January 2020.
const EXPIRED: &str = include_str!("expired.pem");

/// Gives up after a few firings.
const FEW: &str =
    "retry = { max_refusals = 3, initial = \"1ms\", max = \"1ms\" }\nconnect_timeout = \"300ms\"\n";

/// A far end that speaks TLS and answers each request with 202 and a status URI without TLS. Ends with the process.
struct Secure {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Secure {
    fn start(pem: &str) -> Self {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("it is one");
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("it is one");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("there are some")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they fit together");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        let (connections, requests) = (Arc::default(), Arc::default());
        let secure = Self { port, connections: Arc::clone(&connections), requests: Arc::clone(&requests) };
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                connections.fetch_add(1, Ordering::SeqCst);
                let config = Arc::clone(&config);
                let requests = Arc::clone(&requests);
                std::thread::spawn(move || {
                    let Ok(mut session) = ServerConnection::new(config) else { return };
                    let mut tls = Stream::new(&mut session, &mut stream);
                    // A handshake that fails ends here.
                    if tls.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {
                        requests.fetch_add(1, Ordering::SeqCst);
                        let answer = format!(
                            "HTTP/1.1 202 A\r\nLocation: http://localhost:{port}/status\r\nContent-Length: 0\r\n\
                             Connection: close\r\n\r\n"
                        );
                        let _ = tls.write_all(answer.as_bytes());
                        tls.conn.send_close_notify();
                        let _ = tls.flush();
                    }
                });
            }
        });
        secure
    }

    fn trigger(&self, name: &str, host: &str) -> String {
        format!("[triggers.{name}]\nurl = \"https://{host}:{}/fire\"\n{FEW}", self.port)
    }

    fn seen(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.requests.load(Ordering::SeqCst))
    }
}

/// What the last attempt of a request says.
async fn why(table: &mut Table, id: i64) -> String {
    let attempts = format!("SELECT count(*) FROM attempts WHERE request_id = {id} AND outcome = 'not_sent'");
    assert_eq!(table.number(attempts).await, 3, "of each attempt it is known");
    table.text(format!("SELECT error_message FROM requests WHERE id = {id}")).await
}

#[tokio::test]
async fn a_far_end_that_cannot_be_trusted_gets_nothing() {
    let valid = Secure::start(VALID);
    let expired = Secure::start(EXPIRED);
    let plain = FarEnd::start(|_| Answer::status(202)).await;
    let port = plain.url("/").port().unwrap();
    let site = Site::new(
        &[
            valid.trigger("known", "localhost"),
            valid.trigger("misnamed", "127.0.0.1"),
            expired.trigger("expired", "localhost"),
            format!("[triggers.plain]\nurl = \"https://localhost:{port}/\"\n{FEW}"),
        ]
        .concat(),
    );
    // Whoever signed for himself is trusted only if he is named.
    for (anchors, fates) in [
        ("", ["failed not_sent"; 4]),
        ("valid.pem", ["polling forbidden_origin", "failed not_sent", "failed not_sent", "failed not_sent"]),
        ("expired.pem", ["failed not_sent"; 4]),
    ] {
        site.write("empty.pem", "");
        site.write("valid.pem", VALID);
        site.write("expired.pem", EXPIRED);
        let file = site.path(if anchors.is_empty() { "empty.pem" } else { anchors }).display().to_string();
        let daemon = site.spawn_as(["run"], [("SSL_CERT_FILE", file.as_str())]);
        daemon.logged("triggerd::daemon: ready").await;
        let mut table = site.table().await;
        for (name, fate) in ["known", "misnamed", "expired", "plain"].into_iter().zip(fates) {
            let id = insert(&mut table, name).await;
            table.meets(id, fate).await;
            if fate == "failed not_sent" {
                let why = why(&mut table, id).await;
                assert!(why.contains("could not connect to https://"), "{name}: {why}");
                if name == "expired" && anchors == "expired.pem" {
                    assert!(why.contains("expired"), "{why}");
                }
            }
        }
        daemon.stop().await;
    }
    assert_eq!(valid.seen().1, 1, "and the status URI without TLS is not asked");
    assert_eq!(expired.seen().1, 0);
    assert!(expired.seen().0 >= 9);
    assert!(plain.all().is_empty());
}

#[tokio::test]
async fn a_far_end_that_is_not_there_delays_nobody_and_is_fired_when_it_comes() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = free.local_addr().unwrap();
    drop(free);
    let (full, filling) = bounded(full_listener()).await;
    let closing = FarEnd::greeting(|_| Greeting::Close, |_| Answer::status(202)).await;
    let alive = FarEnd::start(|_| Answer::status(202)).await;
    let url = |name: &str, url: &str| format!("[triggers.{name}]\nurl = \"{url}\"\n{FEW}");
    let site = Site::new(
        &[
            url("refused", &format!("http://{refused}/")),
            url("nowhere", "http://no-such-host.invalid/?code=c4n4ry"),
            url("full", &format!("http://{}/", full.local_addr().unwrap())),
            url("closing", &closing.url("/").as_str().replace("http:", "https:")),
            at("t", &alive, "/", "call_mode = \"FireAndForget\""),
        ]
        .concat(),
    );
    let daemon = site.start().await;
    let mut table = site.table().await;
    let mut ids = Vec::new();
    for name in ["refused", "nowhere", "full", "closing"] {
        ids.push(insert(&mut table, name).await);
    }
    let other = insert(&mut table, "t").await;
    table.meets(other, "dispatched").await;
    for id in ids {
        table.meets(id, "failed not_sent").await;
        let why = why(&mut table, id).await;
        assert!(why.contains("could not connect to") && !why.contains("c4n4ry"), "{why}");
    }
    drop((full, filling));
    // One that comes up later is found.
    site.configure(&format!(
        "[triggers.refused]\nurl = \"http://{refused}/\"\ncall_mode = \"FireAndForget\"\nretry = {{ initial = \"10ms\", max = \"10ms\" }}\n"
    ));
    daemon.signal(rustix::process::Signal::HUP);
    daemon.logged("configuration reloaded").await;
    let id = insert(&mut table, "refused").await;
    table.meets(id, "pending not_sent").await;
    let late = TcpListener::bind(refused).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = late.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 202 A\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    table.meets(id, "dispatched").await;
    bounded(tokio::task::spawn_blocking(move || answering.join().unwrap())).await.unwrap();
    daemon.stop().await;
}
