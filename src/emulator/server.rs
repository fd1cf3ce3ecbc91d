//! Connections: taken, served, and ended in order.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::desk::Desk;

/// A caller that sends no head for so long is gone.
const HEAD: Duration = Duration::from_secs(30);
/// Bytes of a head.
const LONGEST_HEAD: usize = 64 * 1024;
/// After a failure to take a connection, which is mostly a lack of files.
const PAUSE: Duration = Duration::from_millis(50);
/// How long answers under way may take at a stop.
const GRACE: Duration = Duration::from_secs(5);

/// How a connection ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severed {
    /// It is closed.
    Closed,
    /// It is reset.
    Reset,
}

impl fmt::Display for Severed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer, on purpose")
    }
}

impl std::error::Error for Severed {}

/// A listener, and where it really listens.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves until it is told to stop, and until what is under way then has ended.
pub(super) async fn serve(listener: TcpListener, desk: Arc<Desk>, mut stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stopping) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, Arc::clone(&desk), stopping.clone()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        connections.shutdown().await;
    }
}

/// Ends at a stop.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Without whoever could say it, it is over as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn converse(stream: TcpStream, desk: Arc<Desk>, mut stopping: watch::Receiver<bool>) {
    // Without it answers wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let desk = Arc::clone(&desk);
        async move { desk.answer(request).await }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopped(&mut stopping) => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let cause = ended.as_ref().err().and_then(|error| std::error::Error::source(error)?.downcast_ref());
    if cause == Some(&Severed::Reset) {
        // Unread and unsent bytes are thrown away, and the peer is told so by a reset.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}
