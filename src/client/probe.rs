//! Whether the triggers' hosts can be connected to: name, TCP, TLS, and not a byte of a request.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::Error;
use super::connect::{self, Connector};
use super::names::Names;
use crate::trigger::Trigger;

/// Connections in the making at once.
const AT_ONCE: usize = 32;

/// One origin, and what came of connecting to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// `scheme://host[:port]`.
    pub origin: String,
    /// The names of its triggers.
    pub triggers: Vec<String>,
    /// How long it was given: the longest `connect_timeout` of its triggers.
    pub timeout: Duration,
    /// What went wrong, on one line.
    pub problem: Option<String>,
}

/// Connects once to each origin that `triggers` have, as the daemon would, and hangs up.
///
/// # Errors
/// When the crypto library cannot be used.
pub async fn probe(triggers: impl IntoIterator<Item = &Trigger>) -> Result<Vec<Probed>, Error> {
    let mut origins: BTreeMap<String, (Vec<String>, Duration)> = BTreeMap::new();
    for trigger in triggers {
        let (names, timeout) = origins.entry(trigger.origin()).or_default();
        names.push(trigger.name.clone());
        *timeout = (*timeout).max(trigger.connect_timeout);
    }
    let connector = Connector::new(connect::tls()?, Names::default());
    let probes = origins.into_iter().map(|(origin, (triggers, timeout))| {
        let connector = &connector;
        async move {
            let connected = match origin.parse() {
                Ok(uri) => connector.connect(uri, timeout).await.map(drop),
                Err(_) => Err("its host is no host name".to_owned()),
            };
            Probed { origin, triggers, timeout, problem: connected.err() }
        }
    });
    let mut probed: Vec<_> = stream::iter(probes).buffer_unordered(AT_ONCE).collect().await;
    probed.sort_by(|a, b| a.origin.cmp(&b.origin));
    Ok(probed)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use url::Url;

    use super::*;

    fn trigger(name: &str, url: &str) -> Trigger {
        Trigger { connect_timeout: Duration::from_secs(10), ..Trigger::new(name, Url::parse(url).unwrap()) }
    }

    #[tokio::test]
    async fn connects_once_to_each_origin_and_sends_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, gone) = (listener.local_addr().unwrap(), {
            // Closed again: nobody listens there.
            TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
        });
        let triggers = [
            trigger("a", &format!("http://{here}/a?code=s3cr3t")),
            trigger("b", &format!("http://{here}/b")),
            trigger("c", &format!("http://{gone}/c")),
        ];
        let listening = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sent = Vec::new();
            stream.read_to_end(&mut sent).await.unwrap();
            sent
        };
        let (sent, probed) = tokio::join!(listening, probe(&triggers));
        assert_eq!(sent, b"");
        let probed = probed.unwrap();
        let of = |origin: String| probed.iter().find(|probed| probed.origin == origin).unwrap();
        let reached = of(format!("http://{here}"));
        assert_eq!(
            (reached.triggers.as_slice(), &reached.problem),
            (&["a".to_owned(), "b".to_owned()][..], &None)
        );
        let refused = of(format!("http://{gone}")).problem.as_deref().unwrap();
        assert!(refused.to_lowercase().contains("refused"), "{refused}");
        assert!(!format!("{probed:?}").contains("s3cr3t"));
    }

    #[tokio::test]
    async fn a_host_that_does_not_speak_tls_is_a_problem_of_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let listening = async {
            let (stream, _) = listener.accept().await.unwrap();
            drop(stream);
        };
        let triggers = [trigger("t", &url)];
        let ((), probed) = tokio::join!(listening, probe(&triggers));
        assert!(probed.unwrap()[0].problem.is_some());
    }

    #[tokio::test]
    async fn a_host_that_says_nothing_is_given_up_after_its_connect_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let silent = Trigger { connect_timeout: Duration::from_millis(50), ..trigger("t", &url) };
        let probed = probe([&silent]).await.unwrap();
        assert_eq!(probed[0].problem.as_deref(), Some("timed out"));
    }
}
