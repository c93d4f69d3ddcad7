//! What a service manager is told: `sd_notify(3)`. Without a `NOTIFY_SOCKET` nobody is told anything.

use crate::server::App;
use sd_notify::NotifyState;

/// It serves. `failed` is why the configuration could not be read again, if that was tried.
pub(super) fn ready(app: &App, failed: Option<&str>) {
    let status = match failed {
        None => status(app),
        Some(why) => format!("{}; the configuration was not read again: {why}", status(app)),
    };
    notify(&[NotifyState::Ready, NotifyState::Status(&one_line(&status))]);
}

/// It reads its configuration again; [`ready`] follows. systemd 253 and later want to know since when.
pub(super) fn reloading() {
    let Ok(now) = NotifyState::monotonic_usec_now() else { return };
    notify(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration again")]);
}

/// It ends.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("running downloads may finish")]);
}

/// Says that the server is alive, as long as it is and often enough. Never resolves; a server that
/// does not answer is told nothing good of, and the service manager restarts it.
pub(super) async fn watchdog(app: App) {
    let Some(within) = sd_notify::watchdog_enabled().filter(|within| !within.is_zero()) else {
        return std::future::pending().await;
    };
    let pause = within / 2;
    loop {
        let began = tokio::time::Instant::now();
        // A server that answers late is alive at the next question: there is one more before the end.
        if app.is_alive(pause).await {
            notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the server did not answer itself within {}", humantime::format_duration(pause));
        }
        tokio::time::sleep_until(began + pause).await;
    }
}

/// In one line, for `systemctl status`.
fn status(app: &App) -> String {
    let config = app.config();
    let names: Vec<_> = config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    let names = names.into_iter().chain(config.registries.iter().map(|registry| registry.name.as_str()));
    let names = names.collect::<Vec<_>>().join(", ");
    let from = if config.offline { "offline".to_owned() } else { format!("fetching from {names}") };
    format!("serving {}, {from}", config.cache.display())
}

/// A line feed would begin another message.
fn one_line(text: &str) -> String {
    text.replace(|character: char| character.is_control(), " ")
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot tell the service manager: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_one_line() {
        assert_eq!(one_line("a\nREADY=1\r\u{0}b"), "a READY=1  b");
    }
}
