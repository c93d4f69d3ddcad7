//! `airlock serve` reads its configuration again: on SIGHUP, and when somebody asks for it over HTTP.
//!
//! The same file, flags and environment as at the start. All of it is validated, tokens and
//! certificates too, before anything changes; then a mirror with the new configuration takes the place
//! of the old one, which is closed when nobody uses it any more. A configuration that cannot be used
//! changes nothing.

use super::{LogLevelHandle, configure, level_filter, service};
use crate::config::{Config, LogLevel, Settings};
use crate::julia::Platforms;
use crate::mirror::{Mirror, blocking};
use crate::server::{App, Reload};
use crate::source::Source;
use anyhow::Context as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long downloads that began under the old configuration may go on: each is bounded by its own
/// time-outs, and none should be cut for a reload.
const LANDING: Duration = Duration::from_hours(1);

/// Where the configuration comes from.
pub(super) struct Origin {
    /// The file that was named, if one was.
    pub(super) file: Option<PathBuf>,
    /// Flags and environment.
    pub(super) flags: Settings,
    /// How much is logged; `None` where a flag decides that.
    pub(super) log: Option<LogLevelHandle>,
}

/// Mirrors that were replaced and still have something to finish.
#[derive(Clone, Default)]
pub(super) struct Retired {
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Retired {
    fn add(&self, mirror: Arc<Mirror>) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            let unused = tokio::time::timeout(LANDING, mirror.unused());
            closing.run_until_cancelled(unused).await;
            mirror.close().await;
            tracing::debug!("what began under an earlier configuration has ended");
        });
    }

    /// Closes them all now.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What a configuration needs to be served, or why it cannot be. Blocks.
pub(super) fn parts(config: &Config) -> anyhow::Result<Vec<Arc<dyn Source>>> {
    // A typing error is told now, not when the view is made.
    let platforms = config.view.platforms.iter().flatten().map(|platform| platform.parse::<Platforms>());
    platforms.collect::<Result<Platforms, _>>().context("view.platform")?;
    super::sources(config)
}

/// The way to read the configuration again.
pub(super) fn reload(origin: Origin, retired: Retired) -> Reload {
    let (origin, retired) = (Arc::new(origin), retired);
    Box::new(move |app| {
        let (origin, retired) = (Arc::clone(&origin), retired.clone());
        Box::pin(async move {
            service::reloading();
            let outcome = replace(&app, &origin, &retired).await.map_err(|error| format!("{error:#}"));
            match &outcome {
                Ok(changes) if changes.is_empty() => {
                    tracing::info!("the configuration was read again: nothing changed in it");
                }
                Ok(changes) => tracing::info!("the configuration was read again: {}", changes.join("; ")),
                Err(why) => tracing::error!("the configuration stays as it was: {why}"),
            }
            service::ready(&app, outcome.as_ref().err().map(String::as_str));
            outcome
        })
    })
}

async fn replace(app: &App, origin: &Arc<Origin>, retired: &Retired) -> anyhow::Result<Vec<String>> {
    let (old, from) = (app.config(), Arc::clone(origin));
    let read = blocking(move || {
        // A file that was read once must still be there, whether somebody named it or not.
        let file = from.file.as_deref().or(old.file.as_deref());
        let (config, changes) = configure(file, from.flags.clone())?.in_place_of(&old);
        let sources = parts(&config)?;
        anyhow::Ok((config, changes, sources))
    });
    let (config, changes, sources) = read.await??;
    let mirror = app.mirror().succeed(sources, &config).await;
    if let Some(log) = &origin.log {
        let _ = log.reload(level_filter(config.log_level.unwrap_or(LogLevel::Info)));
    }
    let (replaced, _) = app.replace(Arc::clone(&mirror), config);
    mirror.run();
    retired.add(replaced);
    Ok(changes)
}
