//! The HTTP server: takes a listener and a signal to stop, so that tests own both.
//!
//! HTTP/1 only, as Julia's clients speak it. Connections are driven by hyper itself rather than by
//! `axum::serve`, which sets no time-out for a request's head.

mod access;
mod admin;
mod artifacts_toml;
mod live;
mod meta;
mod pages;
mod range;
mod refusal;
mod resource;
mod routes;
mod wishes;

pub use access::Caller;
pub use pages::PageEscaper;
pub use routes::{App, Reload, router};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;

/// Bytes that a connection buffers; also the longest request head. A body's chunks pass by
/// unbuffered.
const BUFFER: usize = 64 << 10;
/// Pause after a failed accept: running out of file descriptors must not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` resolves, then lets running downloads finish within the configured bound, or
/// until `hurry` resolves.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()>, hurry: impl Future<Output = ()>) {
    let router = router(&app);
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
            () = app.pulse().answer() => continue,
        };
        match accepted {
            Ok((stream, _)) => connect(stream, &router, &app.config().server, &graceful),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!("cannot accept connections: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let bound = app.config().server.shutdown_timeout;
    tracing::info!("stopping; running downloads have {bound:?} to finish");
    let in_time = tokio::select! {
        () = graceful.shutdown() => true,
        () = tokio::time::sleep(bound) => false,
        () = hurry => false,
    };
    tracing::info!("{}", if in_time { "stopped" } else { "stopped; some downloads were cut" });
}

fn connect(stream: TcpStream, router: &Router, bounds: &crate::config::Server, graceful: &GracefulShutdown) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    // A client that takes nothing for so long is cut. Reading has hyper's own time-out.
    stream.set_write_timeout(Some(bounds.stall_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router.clone()));
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("connection ended: {error}");
        }
    });
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
