//! The way requests take to the API server: one HTTP/2 connection for all of them, where kube would open an HTTP/1.1
//! connection, with a TLS handshake of its own, for each that is under way at the same time.

use std::error::Error;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::uri::Scheme;
use http::{Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tokio::net::TcpStream;
use tower::retry::RetryLayer;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

/// A connection on which nothing comes back for this long is asked whether it still lives …
const PING_AFTER: Duration = Duration::from_secs(15);

/// … and given up when it does not say so within this time.
const PING_PATIENCE: Duration = Duration::from_secs(10);

/// A server takes the connection at once or is busy; one that has not ended the TLS handshake by then is another program,
/// or hangs.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A server that has not answered a single request yet should be heard of while the person still looks.
const FIRST_ANSWER: Duration = Duration::from_secs(15);

/// The API server itself gives up on what is not a watch after 60 s, and says so; who is silent for longer says nothing more.
const ANSWER: Duration = Duration::from_secs(65);

/// How often a request that the server did not take is sent anew: it may say so of one connection after the other.
const TRIES: usize = 5;

/// The server took the request, or seemed to, and says nothing.
#[derive(Debug, thiserror::Error)]
#[error("it took the connection, and has said nothing for {} s", .0.as_secs())]
struct Silent(Duration);

/// The server, or the balancer before it, speaks HTTP/1.1 only.
#[derive(Debug, thiserror::Error)]
#[error("the server does not offer HTTP/2")]
struct NoHttp2;

/// A client for this configuration.
///
/// # Errors
/// Its certificates or credentials cannot be used.
pub(super) fn client(config: Config) -> kube::Result<Client> {
    // Upgrades (tunnels, exec) exist in HTTP/1.1 only, and so does the way through a proxy or a plain-text port.
    let single = Client::try_from(config.clone())?;
    if config.proxy_url.is_some() || config.cluster_url.scheme() == Some(&Scheme::HTTP) {
        return Ok(bounded(single, config.default_namespace));
    }
    let shared = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(multiplexed(&config)?);
    let namespace = config.default_namespace;
    let shared = Client::new(shared, namespace.clone());
    Ok(bounded(routed(shared, single, namespace.clone()), namespace))
}

/// Gives up on a server that takes requests and says nothing. What follows an answer's head, such as a watch's events, comes
/// when there is something to say.
fn bounded(client: Client, namespace: String) -> Client {
    let valid_until = *client.valid_until();
    let heard = Arc::new(AtomicBool::new(false));
    let bounded = tower::service_fn(move |request: Request<Body>| {
        let (client, heard) = (client.clone(), Arc::clone(&heard));
        async move {
            // The kubelet sends no head before a followed log's first line, which may come in an hour.
            if request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "follow=true")) {
                return client.send(request).await;
            }
            let limit = if heard.load(Ordering::Relaxed) { ANSWER } else { FIRST_ANSWER };
            match tokio::time::timeout(limit, client.send(request)).await {
                Ok(answered) => {
                    heard.fetch_or(answered.is_ok(), Ordering::Relaxed);
                    answered
                }
                Err(_) => Err(kube::Error::Service(BoxError::from(Silent(limit)))),
            }
        }
    });
    Client::new(bounded, namespace).with_valid_until(valid_until)
}

/// Sends what it can over the shared connection.
fn routed(shared: Client, single: Client, namespace: String) -> Client {
    let valid_until = *single.valid_until();
    let refused = Arc::new(AtomicBool::new(false));
    let route = tower::service_fn(move |request: Request<Body>| {
        let (shared, single, refused) = (shared.clone(), single.clone(), Arc::clone(&refused));
        async move {
            if refused.load(Ordering::Relaxed) || request.headers().contains_key(header::UPGRADE) {
                return single.send(request).await;
            }
            let mut request = request;
            for _ in 1..TRIES {
                let Some(again) = copy(&request) else { break };
                match shared.send(request).await {
                    // Nothing was sent: the connection did not come about.
                    Err(error) if chain(&error).any(<dyn Error + 'static>::is::<NoHttp2>) => {
                        refused.store(true, Ordering::Relaxed);
                        return single.send(again).await;
                    }
                    Err(error) if chain(&error).any(says_not_taken) => request = again,
                    answered => return answered,
                }
            }
            shared.send(request).await
        }
    });
    Client::new(route, namespace).with_valid_until(valid_until)
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A pool of one connection that carries every request at once.
fn multiplexed(
    config: &Config,
) -> kube::Result<
    impl Service<Request<Body>, Response = Response<Incoming>, Error = legacy::Error, Future: Send> + Clone + Send + 'static,
> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(config.connect_timeout);
    let tls = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    let tls = match config.tls_server_name.clone().map(TryInto::try_into).transpose() {
        Ok(None) => tls,
        Ok(Some(name)) => tls.with_server_name_resolver(FixedServerNameResolver::new(name)),
        Err(error) => return Err(kube::Error::Service(BoxError::from(error))),
    };
    // Both versions are offered, since some balancers close the connection at once when they find none of theirs.
    let only_http2 = |stream: Stream| {
        ready(if stream.connected().is_negotiated_h2() { Ok(stream) } else { Err(BoxError::from(NoHttp2)) })
    };
    let connector = tls.enable_all_versions().wrap_connector(tcp).and_then(only_http2);
    let connector = tower::service_fn(move |uri: Uri| -> BoxFuture<'static, Result<Stream, BoxError>> {
        let opening = tokio::time::timeout(HANDSHAKE, connector.clone().oneshot(uri));
        Box::pin(opening.map(|opened| opened.unwrap_or_else(|_| Err(BoxError::from(Silent(HANDSHAKE))))))
    });
    Ok(pool().build(connector))
}

fn pool() -> legacy::Builder {
    let mut pool = legacy::Client::builder(TokioExecutor::new());
    pool.timer(TokioTimer::new())
        .http2_only(true)
        .http2_keep_alive_interval(PING_AFTER)
        .http2_keep_alive_timeout(PING_PATIENCE);
    pool
}

fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// An error and everything that led to it.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// Whether the server did not act on the request, by its own word or because it was never sent, such as when the connection
/// that another request was opening did not come about. The API server closes the
/// connection after a 401: of what was sent together, one is answered and the rest is turned away by a GOAWAY without an
/// error, which says of the streams above its number that they were not taken (RFC 9113, 6.8).
fn says_not_taken(error: &(dyn Error + 'static)) -> bool {
    let turned_away =
        |error: &h2::Error| error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
    // The pool's own error is private, and has no other mark than its words.
    let never_sent = |error: &legacy::Error| {
        error.is_connect() && error.source().is_some_and(|cause| cause.to_string() == "request was canceled")
    };
    error.downcast_ref().is_some_and(turned_away)
        || error.downcast_ref().is_some_and(never_sent)
        || error.downcast_ref().is_some_and(hyper::Error::is_canceled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that answers with this status, or not at all.
    fn answers(status: Option<u16>) -> Client {
        let service = tower::service_fn(move |_: Request<Body>| {
            let answer = status.map(|status| Response::builder().status(status).body(Body::empty()));
            ready(answer.map_or_else(|| Err(BoxError::from(NoHttp2)), |response| response.map_err(BoxError::from)))
        });
        Client::new(service, "default")
    }

    fn request(upgrade: bool) -> Request<Body> {
        let request = Request::builder().uri("/version").method("PATCH");
        let request = if upgrade { request.header(header::UPGRADE, "websocket") } else { request };
        request.body(Body::from(b"{}".to_vec())).unwrap()
    }

    #[tokio::test]
    async fn upgrades_and_servers_without_http2_are_spoken_to_in_http1() {
        for (shared, upgrade, expected) in [(Some(201), false, 201), (Some(201), true, 202), (None, false, 202)] {
            let client = routed(answers(shared), answers(Some(202)), "default".to_owned());
            for _ in 0..2 {
                assert_eq!(client.send(request(upgrade)).await.unwrap().status(), expected);
            }
        }
    }

    #[tokio::test]
    async fn another_failure_is_not_tried_again_elsewhere() {
        let service = tower::service_fn(|_: Request<Body>| ready(Err::<Response<Body>, _>(BoxError::from("no route"))));
        let client = routed(Client::new(service, "default"), answers(Some(202)), "default".to_owned());
        assert!(client.send(request(false)).await.is_err());
    }

    /// What stands at the beginning of an HTTP/2 frame (RFC 9113, 4.1).
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// Serves one connection: as soon as it has `streams` requests, the first `answered` of them are answered with this
    /// header block and the rest is turned away.
    fn serve(mut tcp: std::net::TcpStream, streams: usize, answered: usize, block: &[u8]) {
        use std::io::{Read, Write};
        const HEADERS: u8 = 1;
        const SETTINGS: u8 = 4;
        const GOAWAY: u8 = 7;
        const END_OF_BOTH: u8 = 0x5;
        tcp.read_exact(&mut [0; 24]).unwrap();
        tcp.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        let mut asked = Vec::new();
        while asked.len() < streams {
            let mut head = [0; 9];
            tcp.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            tcp.read_exact(&mut vec![0; length as usize]).unwrap();
            if head[3] == HEADERS {
                asked.push(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
            }
        }
        for stream in &asked[..answered] {
            tcp.write_all(&frame(HEADERS, END_OF_BOTH, *stream, block)).unwrap();
        }
        let last = asked[answered - 1].to_be_bytes();
        tcp.write_all(&frame(GOAWAY, 0, 0, &[last, [0; 4]].concat())).unwrap();
        // Until the client has read it and goes.
        let _ = tcp.read_to_end(&mut Vec::new());
    }

    #[tokio::test]
    async fn what_a_closing_connection_did_not_take_is_sent_anew() {
        // `:status 401` as a literal after an indexed name, and `:status 200` of the static table (RFC 7541).
        let (unauthorized, fine) = ([&[0x08, 0x03][..], b"401"].concat(), [0x88]);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            serve(listener.accept().unwrap().0, 3, 1, &unauthorized);
            serve(listener.accept().unwrap().0, 2, 2, &fine);
        });
        let pool = pool().build(HttpConnector::new());
        let shared = Client::new(ServiceBuilder::new().map_err(BoxError::from).service(pool), "default");
        let client = routed(shared, answers(Some(202)), "default".to_owned());
        let ask = || async {
            let request = Request::get(format!("http://{address}/version")).body(Body::empty()).unwrap();
            client.send(request).await.unwrap().status().as_u16()
        };
        let (first, second, third) = futures::join!(ask(), ask(), ask());
        let mut told = [first, second, third];
        told.sort_unstable();
        assert_eq!(told, [200, 200, 401]);
        drop(client);
        server.join().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_given_up() {
        let service = tower::service_fn(|request: Request<Body>| async move {
            if request.uri().path() == "/version" {
                std::future::pending::<()>().await;
            }
            Ok::<_, BoxError>(Response::new(Body::empty()))
        });
        let client = bounded(Client::new(service, "default"), "default".to_owned());
        let silent = || async {
            let began = tokio::time::Instant::now();
            let error = client.send(request(false)).await.unwrap_err();
            assert!(chain(&error).any(<dyn Error + 'static>::is::<Silent>), "{error:?}");
            began.elapsed()
        };
        assert_eq!(silent().await, FIRST_ANSWER);
        let other = Request::get("/healthz").body(Body::empty()).unwrap();
        client.send(other).await.unwrap();
        assert_eq!(silent().await, ANSWER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_followed_log_may_begin_in_an_hour() {
        let service = tower::service_fn(|_: Request<Body>| async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Ok::<_, BoxError>(Response::new(Body::empty()))
        });
        let client = bounded(Client::new(service, "default"), "default".to_owned());
        let follow = Request::get("/api/v1/namespaces/db/pods/pgset-0/log?follow=true&tailLines=1");
        assert!(client.send(follow.body(Body::empty()).unwrap()).await.is_ok());
    }
}
