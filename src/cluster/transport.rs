//! The way requests take to the API server: one HTTP/2 connection for all of them, where kube would open an HTTP/1.1
//! connection, with a TLS handshake of its own, for each that is under way at the same time.

use std::error::Error;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::uri::Scheme;
use http::{Request, Response, header};
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
        return Ok(single);
    }
    let shared = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(multiplexed(&config)?);
    let shared = Client::new(shared, config.default_namespace.clone());
    Ok(routed(shared, single, config.default_namespace))
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
            let again = copy(&request);
            match (shared.send(request).await, again) {
                // Nothing was sent: the connection did not come about.
                (Err(error), Some(again)) if says_no_http2(&error) => {
                    refused.store(true, Ordering::Relaxed);
                    single.send(again).await
                }
                (answered, _) => answered,
            }
        }
    });
    Client::new(route, namespace).with_valid_until(valid_until)
}

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
    let only_http2 = |stream: MaybeHttpsStream<TokioIo<TcpStream>>| {
        ready(if stream.connected().is_negotiated_h2() { Ok(stream) } else { Err(BoxError::from(NoHttp2)) })
    };
    let connector = tls.enable_all_versions().wrap_connector(tcp).and_then(only_http2);
    Ok(legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_only(true)
        .http2_keep_alive_interval(PING_AFTER)
        .http2_keep_alive_timeout(PING_PATIENCE)
        .build(connector))
}

fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

fn says_no_http2(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NoHttp2>() {
            return true;
        }
        cause = error.source();
    }
    false
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
}
