//! The HTTP server: takes a listener and a signal to stop, so that tests own both.
//!
//! HTTP/1 only, as Julia's clients speak it, plain or over TLS. Connections are driven by hyper
//! itself (`connection.rs`) rather than by `axum::serve`, which sets no bounds on them.

mod access;
mod admin;
mod admission;
mod artifacts_toml;
mod audit;
mod connection;
mod descriptors;
mod live;
mod meta;
mod metrics;
mod observe;
mod pages;
mod range;
mod refusal;
mod resource;
mod routes;
mod tls;
mod wishes;

pub use access::Caller;
pub use connection::Peer;
pub use descriptors::raise_descriptors;
pub use pages::PageEscaper;
pub use routes::{App, Reload, router};
pub use tls::{Tls, TlsError, TlsStatus};

use hyper_util::server::graceful::GracefulShutdown;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// Pause after a failed accept: running out of file descriptors must not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` resolves, then lets running downloads finish within the configured bound, or
/// until `hurry` resolves. With a `[tls]` section it speaks TLS and nothing else.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()>, hurry: impl Future<Output = ()>) {
    if let Err(error) = app.load_tls().await {
        return tracing::error!("not serving: {error}");
    }
    let (router, graceful, closing) = (router(&app), GracefulShutdown::new(), CancellationToken::new());
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let _watching = AbortOnDropHandle::new(tokio::spawn(tls::watch(app.clone())));
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
            () = app.pulse().answer() => continue,
        };
        match accepted {
            Ok((stream, address)) => match app.admission().admit(address.ip(), &app.config().server) {
                Some(place) => {
                    let held = (place, graceful.watcher(), closing.clone());
                    let served = connection::serve(stream, address, (app.clone(), router.clone()), held);
                    connections.spawn(cut.clone().run_until_cancelled_owned(served));
                }
                None => admission::turn_away(stream, app.tls().is_some()),
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!("cannot accept connections: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    closing.cancel();
    let bound = app.config().server.shutdown_timeout;
    tracing::info!("stopping; running downloads have {bound:?} to finish");
    let in_time = tokio::select! {
        () = graceful.shutdown() => true,
        () = tokio::time::sleep(bound) => false,
        () = hurry => false,
    };
    // What was sent of a download is written down when it ends.
    cut.cancel();
    connections.close();
    connections.wait().await;
    if let Some(audit) = app.audit() {
        audit.flush().await;
    }
    tracing::info!("{}", if in_time { "stopped" } else { "stopped; some downloads were cut" });
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
