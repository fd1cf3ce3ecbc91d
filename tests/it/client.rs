//! The wire, against a far end that misbehaves in every way that matters.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use triggerd::client::{Admission, Client, Departure, HttpClient, Order, Wish};
use triggerd::clock::{Clock, SystemClock, UnixMillis};
use triggerd::invocation::{BodyEnd, Break, Code, Reply};
use triggerd::request::{CallMode, Request};
use triggerd::secret::{Credential, Reference};
use triggerd::trigger::{Method, Trigger};
use url::Url;

use crate::support::bounded;
use crate::support::far_end::{Answer, FarEnd, Greeting, Hold, Seen, Then};

/// Stands for every secret there is: in tokens, headers and queries.
const CANARY: &str = "c4n4ry";
/// For exchanges that end.
const LONG: Duration = Duration::from_secs(20);
/// For exchanges that do not.
const SHORT: Duration = Duration::from_millis(100);

fn new_client(token: Option<&Path>) -> HttpClient<SystemClock> {
    let credential = |path: &Path| Credential::Bearer { token: Reference::File(path.to_owned()) };
    let credentials = token.map(|path| ("key".to_owned(), credential(path)));
    HttpClient::new(HashMap::from_iter(credentials), SystemClock).expect("TLS is there")
}

fn write_token(path: &Path, token: &str) {
    fs::write(path, token).expect("the folder is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

fn firing(trigger: Trigger, arguments: &str, timeout: Duration) -> Order {
    let request = Request {
        id: 7,
        arguments: arguments.to_owned(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        created_at: UnixMillis(1_700_000_000_000),
    };
    let wish = Wish::Fire {
        departure: Departure::new(|| Ok(())),
        request: Arc::new(request),
        call_mode: CallMode::LongPolling,
        idempotency_key: "inst-7-1700000000000-1".to_owned(),
    };
    Order { trigger: Arc::new(trigger), wish, timeout }
}

fn asking(trigger: Trigger, url: Url, credential: bool, timeout: Duration) -> Order {
    Order { trigger: Arc::new(trigger), wish: Wish::Ask { url, credential }, timeout }
}

/// The same far end fired at and asked, with secrets wherever there can be any.
fn both_ways(url: &Url, timeout: Duration) -> [Order; 2] {
    let mut trigger = Trigger::new("t", url.clone());
    trigger.headers.push(("x-functions-key".to_owned(), CANARY.to_owned()));
    trigger.credential = Some("key".to_owned());
    trigger.max_output = 16;
    [firing(trigger.clone(), "{}", timeout), asking(trigger, url.clone(), true, timeout)]
}

async fn fire(client: &impl Client, trigger: &Trigger) -> Result<Reply, Break> {
    client.exchange(firing(trigger.clone(), "{}", LONG)).await
}

#[derive(Debug, PartialEq)]
enum End {
    Answer(u16, BodyEnd),
    NotSent,
    Lost,
    TooSlow,
}

/// How an exchange ended; checks on the way that no secret is told.
fn end(result: &Result<Reply, Break>, host: &str) -> End {
    match result {
        Ok(reply) => End::Answer(reply.status, reply.body.end),
        Err(broke) => {
            let text = format!("{broke:?}");
            assert!(!text.contains(CANARY) && !text.contains('?') && !text.contains('\n'), "{text}");
            assert!(broke.why().contains(host), "{text} does not name {host}");
            match broke {
                Break::NotSent { code: Code::NotSent, .. } => End::NotSent,
                Break::MaybeSent { code: Code::ConnectionLost, .. } => End::Lost,
                Break::MaybeSent { code: Code::ResponseTimeout, .. } => End::TooSlow,
                _ => panic!("{text}"),
            }
        }
    }
}

#[tokio::test]
async fn interim_answers_without_end_are_no_answer() {
    let client = new_client(None);
    let flood = || Answer::raw("").then(Then::Repeat("HTTP/1.1 103 Early Hints\r\n\r\n"));
    let far_end = FarEnd::start(move |_| flood()).await;
    let trigger = Trigger::new("t", far_end.url("/start"));
    let result = fire(&client, &trigger).await;
    assert_eq!(end(&result, "127.0.0.1"), End::Lost, "{result:?}");
    // A poll is cut off by its time.
    let ask = asking(trigger, far_end.url("/status"), false, SHORT);
    let result = bounded(client.exchange(ask)).await;
    assert_eq!(end(&result, "127.0.0.1"), End::TooSlow, "{result:?}");
}

#[tokio::test]
async fn what_an_answer_proves() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    write_token(&token, CANARY);
    let client = new_client(Some(&token));
    let whole = BodyEnd::Complete;
    let never = Hold::new();
    let chunked = || Answer::status(200).header("Transfer-Encoding", "chunked");
    for (name, answer, expected) in [
        ("an answer", Answer::status(202), End::Answer(202, whole)),
        ("no content", Answer::status(204), End::Answer(204, whole)),
        ("after 100", Answer::status(202).after(100), End::Answer(202, whole)),
        ("after 103s", Answer::status(303).after(103).after(103), End::Answer(303, whole)),
        ("chunks", chunked().body("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), End::Answer(200, whole)),
        ("no length", Answer::raw("HTTP/1.1 200 OK\r\n\r\nabc").then(Then::Close), End::Answer(200, whole)),
        ("at the cap", Answer::status(200).body([b'x'; 16]), End::Answer(200, whole)),
        ("above it", Answer::status(200).body([b'x'; 17]), End::Answer(200, BodyEnd::Cut)),
        (
            "half a body",
            Answer::status(202).announcing(9).then(Then::Close),
            End::Answer(202, BodyEnd::Broken),
        ),
        (
            "a reset body",
            Answer::status(202).announcing(9).then(Then::Reset),
            End::Answer(202, BodyEnd::Broken),
        ),
        ("bad chunks", chunked().body("zz\r\n"), End::Answer(200, BodyEnd::Broken)),
        ("closed unanswered", Answer::raw("").then(Then::Close), End::Lost),
        ("reset unanswered", Answer::raw("").then(Then::Reset), End::Lost),
        ("half a head", Answer::raw("HTTP/1.1 202 Acc").then(Then::Close), End::Lost),
        ("headers cut", Answer::raw("HTTP/1.1 202 A\r\nLocation: /s").then(Then::Close), End::Lost),
        ("garbage", Answer::raw("SSH-2.0-OpenSSH_9.9\r\n").then(Then::Hang), End::Lost),
        ("only 100", Answer::raw("HTTP/1.1 100 Continue\r\n\r\n").then(Then::Close), End::Lost),
        ("101", Answer::raw("HTTP/1.1 101 Switching\r\n\r\n").then(Then::Hang), End::Lost),
        ("600", Answer::status(600), End::Lost),
        ("099", Answer::raw("HTTP/1.1 099 Low\r\n\r\n").then(Then::Hang), End::Lost),
        (
            "two lengths",
            Answer::status(200).header("Content-Length", "5").body("abc").then(Then::Hang),
            End::Lost,
        ),
        (
            "a flood of headers",
            Answer::raw(&format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(101))).then(Then::Hang),
            End::Lost,
        ),
        ("an endless header", Answer::raw("HTTP/1.1 200 OK\r\na: ").then(Then::Flood), End::Lost),
        (
            "an endless body",
            Answer::status(200).announcing(usize::MAX >> 1).then(Then::Flood),
            End::Answer(200, BodyEnd::Cut),
        ),
    ] {
        let far_end = FarEnd::start(move |_| answer.clone()).await;
        let url = far_end.url(&format!("/start?code={CANARY}"));
        for order in both_ways(&url, LONG) {
            let result = bounded(client.exchange(order)).await;
            assert_eq!(end(&result, "127.0.0.1"), expected, "{name}: {result:?}");
        }
        assert_eq!(far_end.all().len(), 2, "{name}: nothing is sent twice");
    }
    for (name, answer, expected) in [
        ("silence", Answer::status(200).held(&never), End::TooSlow),
        ("half a head", Answer::raw("HTTP/1.1 202 Acc").then(Then::Hang), End::TooSlow),
        ("only 100", Answer::raw("HTTP/1.1 100 Continue\r\n\r\n").then(Then::Hang), End::TooSlow),
        (
            "half a body",
            Answer::status(202).announcing(9).body("abc").then(Then::Hang),
            End::Answer(202, BodyEnd::Broken),
        ),
    ] {
        let far_end = FarEnd::start(move |_| answer.clone()).await;
        let url = far_end.url(&format!("/start?code={CANARY}"));
        for order in both_ways(&url, SHORT) {
            let result = bounded(client.exchange(order)).await;
            assert_eq!(end(&result, "127.0.0.1"), expected, "{name}, then nothing: {result:?}");
        }
    }
}

#[tokio::test]
async fn what_fails_before_anything_is_sent_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    write_token(&token, CANARY);
    let client = new_client(Some(&token));

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}/?code={CANARY}", free.local_addr().unwrap());
    drop(free);
    let closing = FarEnd::greeting(|_| Greeting::Close, |_| Answer::status(200)).await;
    let resetting = FarEnd::greeting(|_| Greeting::Reset, |_| Answer::status(200)).await;
    let no_tls =
        |far_end: &FarEnd| far_end.url(&format!("/?code={CANARY}")).as_str().replace("http", "https");
    for (url, host) in [
        (refused.as_str(), "127.0.0.1"),
        (&format!("http://no-such-host.invalid/?code={CANARY}"), "no-such-host.invalid"),
        (&no_tls(&closing), "127.0.0.1"),
        (&no_tls(&resetting), "127.0.0.1"),
    ] {
        for order in both_ways(&url.parse().unwrap(), LONG) {
            let result = bounded(client.exchange(order)).await;
            assert_eq!(end(&result, host), End::NotSent, "{url}: {result:?}");
        }
    }
}

/// A listener that accepts no connection, and the connections that fill its queue.
pub(crate) async fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("IPv4 is there");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("loopback has a free port");
    let listener = socket.listen(1).expect("it can listen");
    let address = listener.local_addr().expect("a listener has an address");
    let mut filling = Vec::new();
    while let Ok(stream) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        filling.push(stream.expect("the queue has room"));
    }
    (listener, filling)
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_is_not_sent() {
    let (listener, _filling) = bounded(full_listener()).await;
    let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let client = new_client(None);
    let mut trigger = Trigger::new("t", url.clone());
    trigger.connect_timeout = SHORT;
    for order in [firing(trigger.clone(), "{}", LONG), asking(trigger.clone(), url, false, LONG)] {
        let result = bounded(client.exchange(order)).await;
        assert_eq!(end(&result, "127.0.0.1"), End::NotSent, "{result:?}");
        assert!(result.unwrap_err().why().contains("timed out"));
    }
    trigger.connect_timeout = LONG;
    let result = bounded(client.exchange(firing(trigger, "{}", SHORT))).await;
    assert_eq!(end(&result, "127.0.0.1"), End::NotSent, "the exchange was cut, but while connecting");
}

#[tokio::test]
async fn arguments_that_fit_into_no_query_are_not_sent() {
    let far_end = FarEnd::queue([Answer::status(200)]).await;
    let mut trigger = Trigger::new("t", far_end.url("/"));
    trigger.method = Method::Get;
    let broke = new_client(None).exchange(firing(trigger, r#"{"a":"\ud800"}"#, LONG)).await.unwrap_err();
    assert!(matches!(broke, Break::NotSent { code: Code::InvalidRequest, .. }), "{broke:?}");
    assert_eq!(far_end.connections(), 0);
}

#[tokio::test]
async fn a_trigger_with_an_impossible_header_is_not_sent() {
    let far_end = FarEnd::queue([Answer::status(200)]).await;
    for (name, value) in [("Host", "x"), ("content-length", "0"), ("a b", "x"), ("x", "a\nb"), ("x", "ä")] {
        let mut trigger = Trigger::new("t", far_end.url("/"));
        trigger.headers.push((name.to_owned(), value.to_owned()));
        let result = fire(&new_client(None), &trigger).await;
        assert_eq!(end(&result, "trigger t"), End::NotSent, "{name}: {result:?}");
    }
    assert_eq!(far_end.connections(), 0);
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let other = FarEnd::queue([Answer::status(200)]).await;
    for status in [301, 302, 303, 307, 308] {
        let to = other.url("/login?x=1").to_string();
        let far_end = FarEnd::queue([Answer::status(status).header("Location", &to)]).await;
        for order in both_ways(&far_end.url("/start"), LONG) {
            let mut order = order;
            Arc::make_mut(&mut order.trigger).credential = None;
            let reply = bounded(new_client(None).exchange(order)).await.unwrap();
            assert_eq!((reply.status, reply.location.as_deref()), (status, Some(to.as_str())));
        }
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn an_answer_is_read_with_what_matters_of_its_head() {
    let far_end = FarEnd::start(|seen| match seen.target.as_str() {
        "/utf8" => Answer::status(202).header("Location", "/jobs/ä"),
        "/none" => Answer::status(200),
        _ => Answer::status(202)
            .header("Location", "../jobs/1?sig=a%2Fb")
            .header("Retry-After", "120")
            .header("Content-Type", "application/json; charset=utf-8")
            .body("[1]"),
    })
    .await;
    let client = new_client(None);
    for target in ["/a/start", "/utf8", "/none"] {
        for order in both_ways(&far_end.url(target), LONG) {
            let mut order = order;
            Arc::make_mut(&mut order.trigger).credential = None;
            let reply = bounded(client.exchange(order)).await.unwrap();
            assert_eq!(reply.url, far_end.url(target));
            match target {
                "/utf8" => assert_eq!(reply.location.as_deref(), Some("/jobs/ä")),
                "/none" => {
                    assert_eq!(
                        (&reply.location, &reply.content_type, reply.retry_after),
                        (&None, &None, None)
                    );
                    assert!(reply.body.bytes.is_empty());
                }
                _ => {
                    assert_eq!(reply.location.as_deref(), Some("../jobs/1?sig=a%2Fb"));
                    assert_eq!(reply.retry_after, Some(Duration::from_secs(120)));
                    assert_eq!(reply.content_type.as_deref(), Some("application/json; charset=utf-8"));
                    assert_eq!((reply.body.bytes.as_slice(), reply.body.total), (&b"[1]"[..], 3));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_body_is_cut_at_the_cap_and_its_connection_not_used_again() {
    let far_end = FarEnd::queue([Answer::status(200).body([b'x'; 100_000])]).await;
    let mut trigger = Trigger::new("t", far_end.url("/"));
    trigger.max_output = 20_000;
    let client = new_client(None);
    for _ in 0..2 {
        let reply = bounded(fire(&client, &trigger)).await.unwrap();
        assert_eq!((reply.body.bytes.len(), reply.body.total), (20_000, 100_000));
        assert_eq!(reply.body.end, BodyEnd::Cut);
    }
    assert_eq!(far_end.connections(), 2);
}

#[tokio::test]
async fn a_firing_carries_its_arguments_and_headers() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    write_token(&token, "t0k3n\n");
    let far_end = FarEnd::queue([Answer::status(202)]).await;
    let client = new_client(Some(&token));
    let mut trigger = Trigger::new("t", far_end.url("/start?code=s"));
    trigger.credential = Some("key".to_owned());
    trigger.headers.push(("X-Own".to_owned(), "own value".to_owned()));
    for (method, arguments, body) in [
        (Method::Post, "{}", r#"{"$callMode":"LongPolling"}"#),
        (Method::Put, r#" { "n": 1.00 }"#, r#"{"$callMode":"LongPolling","n": 1.00 }"#),
        (Method::Patch, r#"{"ä":"€"}"#, r#"{"$callMode":"LongPolling","ä":"€"}"#),
        (Method::Delete, "{}", r#"{"$callMode":"LongPolling"}"#),
    ] {
        trigger.method = method;
        bounded(client.exchange(firing(trigger.clone(), arguments, LONG))).await.unwrap();
        let seen = far_end.all().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method.as_str(), "/start?code=s"));
        assert_eq!(seen.text(), body);
        let host = far_end.url("/")[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        for (name, value) in [
            ("host", host.as_str()),
            ("authorization", "Bearer t0k3n"),
            ("content-type", "application/json"),
            ("idempotency-key", "inst-7-1700000000000-1"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("user-agent", concat!("triggerd/", env!("CARGO_PKG_VERSION"))),
            ("x-own", "own value"),
        ] {
            assert_eq!(seen.header(name), Some(value), "{name}");
        }
    }
    trigger.send_call_mode = false;
    bounded(fire(&client, &trigger)).await.unwrap();
    assert_eq!(far_end.all().pop().unwrap().text(), "{}", "never an empty body");
}

#[tokio::test]
async fn a_get_carries_its_arguments_in_the_query_and_no_body() {
    let far_end = FarEnd::queue([Answer::status(202)]).await;
    let mut trigger = Trigger::new("t", far_end.url("/start?code=s"));
    trigger.method = Method::Get;
    let order = firing(trigger, r#"{"a":"x y","n":1.50,"o":{"k":[1]},"z":null}"#, LONG);
    let reply = bounded(new_client(None).exchange(order)).await.unwrap();
    let seen = far_end.all().pop().unwrap();
    assert_eq!(seen.method, "GET");
    assert_eq!(seen.target, "/start?code=s&a=x+y&n=1.50&o=%7B%22k%22%3A%5B1%5D%7D&%24callMode=LongPolling");
    assert_eq!((seen.header("content-type"), seen.header("content-length"), seen.text()), (None, None, ""));
    assert_eq!(reply.url, far_end.url(&seen.target));
}

#[tokio::test]
async fn the_credential_goes_only_where_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    write_token(&token, "t0k3n");
    let client = new_client(Some(&token));
    let own = FarEnd::queue([Answer::status(200)]).await;
    let allowed = FarEnd::queue([Answer::status(200)]).await;
    let foreign = FarEnd::queue([Answer::status(200)]).await;
    let mut trigger = Trigger::new("t", own.url("/start"));
    trigger.credential = Some("key".to_owned());
    trigger.headers.push(("x-own".to_owned(), "for the firing".to_owned()));
    trigger.allowed_origins.push(allowed.url("/").origin());

    for far_end in [&own, &allowed] {
        for (credential, expected) in [(true, Some("Bearer t0k3n")), (false, None)] {
            let order = asking(trigger.clone(), far_end.url("/jobs/1?sig=x"), credential, LONG);
            bounded(client.exchange(order)).await.unwrap();
            let seen = far_end.all().pop().unwrap();
            assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/jobs/1?sig=x"));
            assert_eq!(seen.header("authorization"), expected);
            assert_eq!(seen.header("accept-encoding"), Some("identity"));
            assert_eq!(seen.header("user-agent"), Some(concat!("triggerd/", env!("CARGO_PKG_VERSION"))));
            for absent in ["x-own", "content-type", "content-length", "referer", "cookie", "idempotency-key"]
            {
                assert_eq!(seen.header(absent), None, "{absent}");
            }
        }
    }
    let broke = bounded(client.exchange(asking(trigger.clone(), foreign.url("/jobs/1"), true, LONG))).await;
    assert!(matches!(broke, Err(Break::NotSent { code: Code::ForbiddenOrigin, .. })), "{broke:?}");
    assert_eq!(foreign.connections(), 0);

    let mut smuggled = own.url("/jobs/1");
    smuggled.set_username("user").unwrap();
    smuggled.set_password(Some("word")).unwrap();
    bounded(client.exchange(asking(trigger, smuggled, false, LONG))).await.unwrap();
    assert_eq!(own.all().pop().unwrap().header("authorization"), None, "no userinfo either");
}

#[tokio::test]
async fn firings_in_a_row_share_a_connection() {
    let far_end = FarEnd::queue([Answer::status(200).body("{}")]).await;
    let client = new_client(None);
    let trigger = Trigger::new("t", far_end.url("/"));
    for _ in 0..50 {
        bounded(fire(&client, &trigger)).await.unwrap();
    }
    assert_eq!(far_end.connections(), 1);
}

#[tokio::test]
async fn firings_at_once_share_no_connection() {
    let hold = Hold::new();
    let held = hold.clone();
    let far_end = FarEnd::start(move |_| Answer::status(200).held(&held)).await;
    let client = new_client(None);
    let trigger = Trigger::new("t", far_end.url("/"));
    let flock: Vec<_> = (0..8)
        .map(|_| {
            let (client, trigger) = (client.clone(), trigger.clone());
            tokio::spawn(async move { fire(&client, &trigger).await })
        })
        .collect();
    let seen = bounded(far_end.seen(8)).await;
    assert_eq!(seen.iter().map(|one| one.connection).collect::<std::collections::HashSet<_>>().len(), 8);
    hold.release();
    for one in flock {
        bounded(one).await.unwrap().unwrap();
    }
    for _ in 0..8 {
        bounded(fire(&client, &trigger)).await.unwrap();
    }
    assert_eq!(far_end.connections(), 8, "and afterwards they are used again");
}

#[tokio::test]
async fn an_origin_that_closes_silently_gets_fresh_connections_only() {
    let closes = |seen: &Seen| if seen.order == 2 { Then::Close } else { Then::Keep };
    let far_end = FarEnd::start(move |seen| Answer::status(200).then(closes(seen))).await;
    let client = new_client(None);
    let trigger = Trigger::new("t", far_end.url("/"));
    for _ in 0..3 {
        bounded(fire(&client, &trigger)).await.unwrap();
    }
    bounded(far_end.closed(1)).await;
    for _ in 3..8 {
        bounded(fire(&client, &trigger)).await.unwrap();
    }
    let connections: Vec<_> = far_end.all().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn an_origin_that_announces_its_closing_is_trusted_on() {
    let far_end = FarEnd::start(move |seen| match seen.order {
        0 => Answer::status(200).header("Connection", "close").then(Then::Close),
        1 => Answer::raw("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").then(Then::Close),
        2 => Answer::raw("HTTP/1.1 200 OK\r\n\r\nabc").then(Then::Close),
        _ => Answer::status(200),
    })
    .await;
    let client = new_client(None);
    let trigger = Trigger::new("t", far_end.url("/"));
    for closed in [1, 2, 3, 3, 3, 3] {
        bounded(fire(&client, &trigger)).await.unwrap();
        bounded(far_end.closed(closed)).await;
    }
    let connections: Vec<_> = far_end.all().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 2, 3, 3, 3]);
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_end_a_connection() {
    let extra = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let far_end = FarEnd::queue([Answer::raw(extra), Answer::status(202)]).await;
    let client = new_client(None);
    let trigger = Trigger::new("t", far_end.url("/"));
    assert_eq!(bounded(fire(&client, &trigger)).await.unwrap().status, 200);
    assert_eq!(
        bounded(fire(&client, &trigger)).await.unwrap().status,
        202,
        "the answer to no earlier firing"
    );
    assert_eq!(far_end.connections(), 2);
}

#[tokio::test]
async fn an_idle_connection_is_closed_by_us_before_the_far_end_does() {
    let far_end = FarEnd::queue([Answer::status(200)]).await;
    let client = new_client(None);
    let trigger = Trigger::new("t", far_end.url("/"));
    bounded(fire(&client, &trigger)).await.unwrap();
    bounded(far_end.closed(1)).await;
    for _ in 0..3 {
        bounded(fire(&client, &trigger)).await.unwrap();
    }
    assert_eq!(far_end.connections(), 2, "which is no reason for distrust");
}

#[tokio::test]
async fn a_rotated_secret_is_read_again_after_a_401() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    write_token(&token, "old");
    let far_end = FarEnd::start(|seen| {
        Answer::status(if seen.header("authorization") == Some("Bearer new") { 202 } else { 401 })
    })
    .await;
    let client = new_client(Some(&token));
    let mut trigger = Trigger::new("t", far_end.url("/"));
    trigger.credential = Some("key".to_owned());
    write_token(&token, "new");
    assert_eq!(bounded(fire(&client, &trigger)).await.unwrap().status, 401);
    assert_eq!(client.admission(&trigger, SystemClock.now()), Admission::Open);
    assert_eq!(bounded(fire(&client, &trigger)).await.unwrap().status, 202);
}

#[tokio::test]
async fn a_second_401_shuts_the_gate_until_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    write_token(&token, CANARY);
    let far_end = FarEnd::queue([Answer::status(401)]).await;
    let client = new_client(Some(&token));
    let mut trigger = Trigger::new("t", far_end.url("/"));
    trigger.credential = Some("key".to_owned());
    bounded(fire(&client, &trigger)).await.unwrap();
    let order = asking(trigger.clone(), far_end.url("/jobs/1"), true, LONG);
    bounded(client.exchange(order)).await.unwrap();
    let now = SystemClock.now();
    let Admission::Shut { until, code } = client.admission(&trigger, now) else { panic!("open") };
    assert_eq!(code, Code::CredentialRefused);
    assert!(until.since(now) <= Duration::from_secs(1));
    assert_eq!(client.admission(&trigger, until), Admission::Probe);

    let credential = Credential::Bearer { token: Reference::File(token) };
    client.reload(HashMap::from([("key".to_owned(), credential)]));
    assert_eq!(client.admission(&trigger, now), Admission::Open);
}

#[tokio::test]
async fn an_unreadable_secret_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let far_end = FarEnd::queue([Answer::status(200)]).await;
    let client = new_client(Some(&token));
    for order in both_ways(&far_end.url("/"), LONG) {
        let broke = bounded(client.exchange(order)).await.unwrap_err();
        assert!(matches!(broke, Break::NotSent { code: Code::CredentialUnavailable, .. }), "{broke:?}");
        assert!(broke.why().contains("credential key"), "{broke:?}");
    }
    assert_eq!(far_end.connections(), 0);
}

/// Runs itself a second time, with a proxy in the environment that answers nothing.
#[test]
fn a_proxy_of_the_environment_is_not_used() {
    const NAME: &str = "client::a_proxy_of_the_environment_is_not_used";
    if std::env::var_os("TRIGGERD_TEST_PROXIED").is_none() {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", NAME]).env("TRIGGERD_TEST_PROXIED", "1");
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
            again.env(name, "http://127.0.0.1:1");
        }
        assert!(again.output().unwrap().status.success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(bounded(async {
        let far_end = FarEnd::queue([Answer::status(200)]).await;
        for order in both_ways(&far_end.url("/"), LONG) {
            let mut order = order;
            Arc::make_mut(&mut order.trigger).credential = None;
            assert_eq!(new_client(None).exchange(order).await.unwrap().status, 200);
        }
    }));
}
