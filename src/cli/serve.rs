//! `airlock serve`.

use super::{Outcome, open_store, sources};
use crate::config::Config;
use crate::julia::Platforms;
use crate::mirror::Mirror;
use crate::protocol::Flavor;
use crate::server::{self, App, Tls};
use anyhow::Context as _;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(super) async fn run(config: &Config) -> anyhow::Result<Outcome> {
    // The port first: a second server on one cache must fail before it touches anything.
    let listener = listen(config).await?;
    // A typing error is told now, not when the view is made.
    let platforms = config.view.platforms.iter().flatten().map(|platform| platform.parse::<Platforms>());
    platforms.collect::<Result<Platforms, _>>().context("view.platform")?;
    let tls = Tls::load(config).await.map_err(|error| anyhow::anyhow!(error.to_string()))?;
    let (store, sources) = (open_store(config)?, sources(config)?);
    server::raise_descriptors(&config.server);
    let address = listener.local_addr()?;
    let cache = store.root().display().to_string();
    // Before anybody is told that it serves: until then a SIGHUP would end the process.
    let hangup = signal(SignalKind::hangup())?;
    let (stop, hurry) = stop_signals()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let names: Vec<_> = sources.iter().map(|source| source.name()).collect();
    match names.as_slice() {
        [] => tracing::info!(cache, "serving at {scheme}://{address}, offline"),
        names => tracing::info!(cache, "serving at {scheme}://{address}, fetching from {}", names.join(", ")),
    }
    if config.offline && store.listing(Flavor::Plain)?.is_none() && store.listing(Flavor::Conservative)?.is_none() {
        tracing::warn!(cache, "there is no registry in this cache: clients will not find any package");
    }
    // After that line, so that what its tasks log comes later.
    let mirror = Mirror::start(store, sources, config);
    let app = App::new(Arc::clone(&mirror), config.clone()).with_tls(tls);
    let rescans = rescan_on_hangup(hangup, &mirror, &app);
    server::serve(listener, app, stop.cancelled_owned(), hurry.cancelled_owned()).await;
    rescans.abort();
    mirror.close().await;
    Ok(Outcome::Complete)
}

pub(super) async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(config.listen).await;
    listener.with_context(|| format!("cannot listen at {} (choose another with --listen)", config.listen))
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

/// Two tokens: cancelled by the first and by the second of such signals. A task of its own hears
/// them, for two signals that nobody has looked at yet count as one.
fn stop_signals() -> anyhow::Result<(CancellationToken, CancellationToken)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let tokens = [first.clone(), second.clone()];
    tokio::spawn(async move {
        for token in tokens {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok((first, second))
}

/// Looks for new files on SIGHUP.
fn rescan_on_hangup(mut hangup: Signal, mirror: &Arc<Mirror>, app: &App) -> tokio::task::AbortHandle {
    let (mirror, app) = (Arc::clone(mirror), app.clone());
    let task = tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: looking for new files");
            app.reload_tls().await;
            mirror.rescan().await;
        }
    });
    task.abort_handle()
}
