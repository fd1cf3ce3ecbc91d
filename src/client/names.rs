//! Names to addresses, by the system's own resolver.
//!
//! It blocks a thread for each look-up, for half a minute where a name server does not answer, and whoever gave up waiting
//! cannot take his look-up back. So one look-up of a name is under way at a time, whoever asks: else the firings of one
//! dead name, tried again and again, would take all threads from the names of the others.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;
type LookUp = Shared<Pin<Box<dyn Future<Output = Found> + Send>>>;

/// The look-ups under way, by name.
#[derive(Clone, Default)]
pub(super) struct Names(Arc<Mutex<HashMap<String, LookUp>>>);

impl Names {
    fn look_up(&self, name: &str) -> LookUp {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look_up) = under_way.get(name) {
            return look_up.clone();
        }
        let (names, own) = (self.clone(), name.to_owned());
        // In a task of its own, so that it ends when the look-up does, and not with the first who asked.
        let task = tokio::spawn(async move {
            let found = tokio::net::lookup_host((own.as_str(), 0)).await;
            names.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&own);
            found.map(Iterator::collect).map_err(Arc::new)
        });
        let (names, own) = (self.clone(), name.to_owned());
        let look_up = task.map(move |found| {
            found.unwrap_or_else(|_| {
                // It failed within, as when there is no thread for it.
                names.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&own);
                Err(Arc::new(io::Error::other("the name cannot be looked up now")))
            })
        });
        let look_up = look_up.boxed().shared();
        under_way.insert(name.to_owned(), look_up.clone());
        look_up
    }
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Arc<io::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let look_up = self.look_up(name.as_str());
        Box::pin(async move { look_up.await.map(Vec::into_iter) })
    }
}

impl reqwest::dns::Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let look_up = self.look_up(name.as_str());
        Box::pin(async move {
            let found = look_up.await?;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn under_way(names: &Names) -> usize {
        names.0.lock().unwrap().len()
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_for_all_who_ask_and_anew_afterwards() {
        let names = Names::default();
        let (one, two) = (names.look_up("localhost"), names.look_up("localhost"));
        assert!(one.ptr_eq(&two) && under_way(&names) == 1);
        // One who gives up takes it from nobody.
        drop(one);
        assert!(two.await.unwrap().iter().all(|address| address.ip().is_loopback()));
        assert_eq!(under_way(&names), 0);
        assert!(names.look_up("no-such-host.invalid").await.is_err());
        assert_eq!(under_way(&names), 0);
    }
}
