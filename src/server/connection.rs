//! One connection: its TLS handshake, its bounds, and what holds for every request on it whatever
//! its path is.

use super::admission::{Admission, Place};
use super::routes::App;
use super::tls::common_name;
use axum::Router;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Bytes that a connection buffers at most; also the longest request head: a longer one is answered
/// 431. An idle connection has 8 KiB for each way. A body's chunks pass by unbuffered.
const BUFFER: usize = 64 << 10;

/// How long a client whose handshake failed may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Who is at the other end: in the extensions of every request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address, or that of the last proxy.
    pub address: SocketAddr,
    /// The common name in the certificate that it showed. An authority of this site's own choice
    /// signed it, but it is text from outside all the same.
    pub certificate_name: Option<Arc<str>>,
}

/// Serves a connection to its end. `closing` cuts one whose handshake is not over.
pub(super) async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    (app, router): (App, Router),
    (_place, watcher, closing): (Place, Watcher, CancellationToken),
) {
    let bounds = app.config().server.clone();
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    // A client that takes nothing for so long is cut. Reading has hyper's own time-out.
    stream.set_write_timeout(Some(bounds.stall_timeout));
    let stream = Box::pin(stream);
    let mut peer = Peer { address, certificate_name: None };
    if let Some(tls) = app.tls() {
        let handshake = TlsAcceptor::from(tls.config()).accept(stream).into_fallible();
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(bounds.header_timeout, handshake) => shaken,
            () = closing.cancelled() => return,
        };
        if let Ok(Ok(stream)) = shaken {
            peer.certificate_name = stream.get_ref().1.peer_certificates().and_then(common_name);
            return http(stream, router, peer, &bounds, app.admission(), watcher).await;
        }
        app.admission().failed_handshakes.fetch_add(1, Ordering::Relaxed);
        if let Ok(Err((error, stream))) = shaken {
            tracing::debug!(%address, "TLS handshake: {error}");
            let _ = tokio::time::timeout(LINGER, part(stream)).await;
        }
    } else {
        http(stream, router, peer, &bounds, app.admission(), watcher).await;
    }
}

/// Ends a connection so that the client can read why. What it sent before it could know is read too,
/// or the kernel would throw away the reason and say "reset".
async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<u64> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(BUFFER as u64), &mut tokio::io::sink()).await
}

/// HTTP/1 until the client leaves, is cut, or the server stops.
async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    router: Router,
    peer: Peer,
    bounds: &crate::config::Server,
    admission: &Arc<Admission>,
    watcher: Watcher,
) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        // What follows a body on the same connection could be read in two ways by us and by a proxy
        // before us, so nothing that follows is read.
        let is_last = !request.body().is_end_stream();
        let what = format!("{} {}", request.method(), request.uri().path());
        let refused = host_fault(&request);
        request.extensions_mut().insert(peer.clone());
        let answer = AssertUnwindSafe(service.call(request)).catch_unwind();
        async move {
            let mut response = match refused {
                Some(says) => (StatusCode::BAD_REQUEST, says).into_response(),
                // The error is uninhabited. Where it panicked is said by Rust's own hook.
                None => answer.await.unwrap_or_else(|_| Ok(panicked(admission, &what)))?,
            };
            if is_last || refused.is_some() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Of the whole head, and of the pause before it.
        .header_read_timeout(bounds.header_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!("connection ended: {error}");
    }
}

fn panicked(admission: &Admission, request: &str) -> Response {
    admission.panics.fetch_add(1, Ordering::Relaxed);
    tracing::error!(request, "a handler panicked; this is a bug");
    (StatusCode::INTERNAL_SERVER_ERROR, "this mirror failed; its log says why\n").into_response()
}

/// A request names its host once, and as a host can be written (RFC 9112, 3.2). What is made of it
/// stands on pages.
fn host_fault(request: &Request<Incoming>) -> Option<&'static str> {
    let plain =
        |host: &HeaderValue| host.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]%".contains(b));
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() > Version::HTTP_10 => Some("a request must have a Host\n"),
        (Some(host), None) if !plain(host) => Some("that is no Host\n"),
        (_, Some(_)) => Some("a request must have one Host\n"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Settings};
    use axum::routing::get;
    use hyper_util::server::graceful::GracefulShutdown;

    #[tokio::test]
    async fn a_panic_becomes_a_500_without_details_and_the_connection_goes_on() {
        let panics = async || -> &'static str { panic!("details of this machine") };
        let router = Router::new().route("/", get(panics)).route("/well", get(async || "well\n"));
        let bounds = Config::new(Settings::default(), Settings::default()).unwrap().server;
        let peer = Peer { address: ([127, 0, 0, 1], 9).into(), certificate_name: None };
        let (admission, graceful) = (Arc::new(Admission::default()), GracefulShutdown::new());
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let requests = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /well HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        client.write_all(requests).await.unwrap();
        http(server, router, peer, &bounds, &admission, graceful.watcher()).await;
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 500 ") && text.ends_with("well\n"), "{text}");
        assert!(!text.contains("details"), "{text}");
        assert_eq!(admission.panics.load(Ordering::Relaxed), 1);
    }
}
