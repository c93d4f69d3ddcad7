//! `airlock serve`.

use super::reload::{Origin, Retired, parts, reload};
use super::{Outcome, open_store, service};
use crate::config::Config;
use crate::mirror::Mirror;
use crate::protocol::Flavor;
use crate::server::{self, App, Tls};
use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(super) async fn run(config: &Config, origin: Origin) -> anyhow::Result<Outcome> {
    // The port first: a second server on one cache must fail before it touches anything.
    let listener = listen(config).await?;
    let (store, sources) = (open_store(config)?, parts(config)?);
    let tls = Tls::load(config).await.map_err(|error| anyhow::anyhow!(error.to_string()))?;
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
    let retired = Retired::default();
    let app = App::with_reload(mirror, config.clone(), Some(reload(origin, retired.clone()))).with_tls(tls);
    let reloads = tokio::spawn(reload_on_hangup(hangup, app.clone()));
    let watchdog = tokio::spawn(service::watchdog(app.clone()));
    service::ready(&app, None);
    let stop = async move {
        stop.cancelled_owned().await;
        service::stopping();
    };
    server::serve(listener, app.clone(), stop, hurry.cancelled_owned()).await;
    reloads.abort();
    watchdog.abort();
    app.mirror().close().await;
    retired.close().await;
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

/// Does work until such a signal; `None` if that came first. Who is left in the middle ends what it
/// started, which nobody else would.
pub(super) async fn unless_stopped<T>(work: impl Future<Output = T>) -> anyhow::Result<Option<T>> {
    let stop = stop_signal()?;
    Ok(tokio::select! {
        done = work => Some(done),
        () = stop => None,
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

/// Reads the configuration again on SIGHUP, the certificate too, and looks for new files.
async fn reload_on_hangup(mut hangup: Signal, app: App) {
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP: looking for other settings and for new files");
        app.reload_tls().await;
        // A mirror that is new begins with that search.
        if !matches!(app.reload().await, Some(Ok(_))) {
            app.mirror().rescan().await;
        }
    }
}
