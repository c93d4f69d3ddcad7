//! `airlock serve`.

use super::{Outcome, open_store, sources};
use crate::config::Config;
use crate::mirror::Mirror;
use crate::server::{self, App};
use anyhow::Context as _;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn run(config: &Config) -> anyhow::Result<Outcome> {
    // The port first: a second server on one cache must fail before it touches anything.
    let listener = listen(config).await?;
    let mirror = Mirror::start(open_store(config)?, sources(config)?, config);
    let address = listener.local_addr()?;
    let cache = mirror.store().root().display().to_string();
    // Before anybody is told that it serves: until then a SIGHUP would end the process.
    let (rescans, stop) = (rescan_on_hangup(&mirror)?, stop_signal()?);
    match config.upstreams.as_slice() {
        [] => tracing::info!(cache, "serving at http://{address}, offline"),
        upstreams => tracing::info!(cache, "serving at http://{address}, fetching from {}", upstreams.join(", ")),
    }
    server::serve(listener, App::new(Arc::clone(&mirror), config.clone()), stop).await;
    rescans.abort();
    mirror.close().await;
    Ok(Outcome::Complete)
}

pub(super) async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(config.listen).await;
    listener.with_context(|| format!("cannot listen at {}", config.listen))
}

/// Resolves on SIGTERM and Ctrl-C.
pub(super) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Looks for new files on SIGHUP.
fn rescan_on_hangup(mirror: &Arc<Mirror>) -> anyhow::Result<tokio::task::AbortHandle> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mirror = Arc::clone(mirror);
    let task = tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: looking for new files");
            mirror.rescan().await;
        }
    });
    Ok(task.abort_handle())
}
