//! What happens to a client that goes on to the internet: refused at once, let through, or left
//! waiting.
//!
//! When the server does not have a package, Pkg asks GitHub, and nothing in Pkg switches that off.
//! Where a firewall drops these packets, each attempt costs the 30 s of libcurl's connection
//! time-out.

use super::check::Findings;
use super::environment::Environment;
use super::proxy;
use super::server_url::ServerUrl;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

const NAME: &str = "outside";

/// Where to try.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Hosts and ports. Those that https would go to by way of a proxy are not asked: the proxy is.
    pub hosts: Vec<(String, u16)>,
    /// Longest wait for each; they are tried side by side.
    pub patience: Duration,
}

/// Where Pkg goes for packages and registries.
impl Default for Outside {
    fn default() -> Self {
        let hosts = ["api.github.com", "github.com"].map(|host| (host.to_owned(), 443));
        Self { hosts: hosts.to_vec(), patience: Duration::from_secs(3) }
    }
}

/// What became of an attempt, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attempt {
    /// Refused, or the name is not known: Pkg goes on at once.
    Fails,
    /// Connected.
    Reached,
    /// Neither in time.
    Dropped,
}

/// Tries all of them; a proxy stands for those that go by way of it.
pub(super) async fn look(outside: Outside, environment: Environment) -> Vec<(String, Attempt)> {
    let mut attempts = JoinSet::new();
    for (host, port) in outside.hosts {
        let by = proxy::proxy(&environment, true, &host).and_then(|(_, url)| proxy::address(url));
        let proxied = by.is_some();
        let (to, at) = by.unwrap_or_else(|| (host.clone(), port));
        let patience = outside.patience;
        attempts.spawn(async move {
            let attempt = match timeout(patience, TcpStream::connect((to.as_str(), at))).await {
                Err(_) => Attempt::Dropped,
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => Attempt::Dropped,
                Ok(Err(_)) => Attempt::Fails,
                Ok(Ok(_)) => Attempt::Reached,
            };
            (if proxied { format!("the proxy for {host}") } else { host }, attempt)
        });
    }
    let mut found = attempts.join_all().await;
    found.sort();
    found
}

pub(super) async fn examine(
    findings: &mut Findings,
    environment: &Environment,
    server: Option<&ServerUrl>,
    look: Option<JoinHandle<Vec<(String, Attempt)>>>,
) {
    let found = match look {
        None => return findings.skipped(NAME, "not tried, as was asked for"),
        Some(look) => look.await.unwrap_or_default(),
    };
    let are = |attempt| {
        found
            .iter()
            .filter(|(_, found)| *found == attempt)
            .map(|(host, _)| host.as_str())
            .collect::<Vec<_>>()
            .join(" and ")
    };
    match found.iter().map(|(_, attempt)| *attempt).max() {
        None => findings.skipped(NAME, "there is nothing to try"),
        Some(Attempt::Fails) => {
            findings.ok(
                NAME,
                &format!(
                    "{} cannot be reached, and that is known at once: what is not in the mirror fails quickly",
                    are(Attempt::Fails)
                ),
            );
        }
        Some(Attempt::Reached) => {
            findings.ok(
                NAME,
                &format!(
                    "{} can be reached: this host is not closed, and Julia gets there what the server lacks",
                    are(Attempt::Reached)
                ),
            );
        }
        Some(Attempt::Dropped) => dropped(findings, environment, server, &are(Attempt::Dropped)),
    }
}

fn dropped(findings: &mut Findings, environment: &Environment, server: Option<&ServerUrl>, hosts: &str) {
    let detail = format!(
        "packets to {hosts} are dropped, not refused: whatever the server lacks costs Julia 30 s and more for each attempt at GitHub"
    );
    let mut remedy = vec![
        "# best, on the firewall: reject instead of drop, for example".to_owned(),
        "iptables -A FORWARD -p tcp --dport 443 -j REJECT --reject-with tcp-reset".to_owned(),
        "# or, on this host, a proxy that refuses at once, for all but the server:".to_owned(),
    ];
    let direct = || "export no_proxy=the-server".to_owned();
    let no_proxy = server.map_or_else(direct, |server| proxy::no_proxy_line(environment, server));
    // Port 9 (discard) is closed wherever nobody opened it on purpose.
    let lines = ["export https_proxy=http://127.0.0.1:9", &no_proxy, "export JULIA_PKG_USE_CLI_GIT=true"];
    remedy.extend(lines.map(str::to_owned));
    if server.is_some() {
        for line in lines {
            findings.export(line);
        }
    }
    findings.warning(NAME, &detail, &remedy);
}
