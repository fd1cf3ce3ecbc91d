//! A far end that accepts everything, as fast as it can, and counts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) struct FarEnd {
    pub(crate) address: SocketAddr,
    firings: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl FarEnd {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let firings = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(serve(listener, Arc::clone(&firings)));
        Self { address, firings, task }
    }

    /// How often it was called.
    pub(crate) fn firings(&self) -> u64 {
        self.firings.load(Ordering::Relaxed)
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, firings: Arc<AtomicU64>) {
    while let Ok((stream, _)) = listener.accept().await {
        let firings = Arc::clone(&firings);
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            firings.fetch_add(1, Ordering::Relaxed);
            async move {
                // What is not read would close the connection.
                let _ = request.into_body().collect().await;
                let mut response = Response::new(Empty::<Bytes>::new());
                *response.status_mut() = StatusCode::ACCEPTED;
                Ok::<_, Infallible>(response)
            }
        });
        // A client that goes ends its connection, which is no trouble here.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
