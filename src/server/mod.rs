//! The HTTP server: takes a listener and a signal to stop, so that tests own both.
//!
//! HTTP/1 only, as Julia's clients speak it. Connections are driven by hyper itself rather than by
//! `axum::serve`, which sets no time-out for a request's head.

mod artifacts_toml;
mod audit;
mod meta;
mod metrics;
mod observe;
mod page;
mod range;
mod refusal;
mod resource;
mod routes;
mod wishes;

pub use routes::{App, Reload, router};

use axum::Router;
use http::Request;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;

/// The other end of a connection: among the extensions of each request that comes over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
}

/// Bytes that a connection buffers; also the longest request head. A body's chunks pass by
/// unbuffered.
const BUFFER: usize = 64 << 10;
/// Pause after a failed accept: running out of file descriptors must not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` resolves, then lets running downloads finish within the configured bound, or
/// until `hurry` resolves.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()>, hurry: impl Future<Output = ()>) {
    let bounds = app.config().server.clone();
    let router = router(&app);
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, address)) => connect(stream, Peer { address }, (&app, &router), &bounds, &graceful),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!("cannot accept connections: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tracing::info!("stopping; running downloads have {:?} to finish", bounds.shutdown_timeout);
    let in_time = tokio::select! {
        () = graceful.shutdown() => true,
        () = tokio::time::sleep(bounds.shutdown_timeout) => false,
        () = hurry => false,
    };
    if let Some(audit) = app.audit() {
        audit.flush().await;
    }
    tracing::info!("{}", if in_time { "stopped" } else { "stopped; some downloads were cut" });
}

fn connect(
    stream: TcpStream,
    peer: Peer,
    (app, router): (&App, &Router),
    bounds: &crate::config::Server,
    graceful: &GracefulShutdown,
) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    // A client that takes nothing for so long is cut. Reading has hyper's own time-out.
    stream.set_write_timeout(Some(bounds.stall_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Box::pin(stream)), FromPeer(peer, TowerToHyperService::new(router.clone())));
    let connection = graceful.watch(connection);
    let app = app.clone();
    tokio::spawn(async move {
        let _open = Open::count(&app);
        if let Err(error) = connection.await {
            tracing::debug!("connection ended: {error}");
        }
    });
}

/// Says with each request where it comes from.
struct FromPeer<S>(Peer, S);

impl<B, S: Service<Request<B>>> Service<Request<B>> for FromPeer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.0);
        self.1.call(request)
    }
}

/// An open connection, counted.
struct Open<'a>(&'a App);

impl<'a> Open<'a> {
    fn count(app: &'a App) -> Self {
        app.metrics().connections.fetch_add(1, Ordering::Relaxed);
        Self(app)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics().connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
