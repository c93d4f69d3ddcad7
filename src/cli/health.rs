//! `airlock health`: whether a server answers and is well. For health checks of containers, where there
//! may be no curl.

use super::{Outcome, print, say};
use crate::config::Config;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A health check is asked again soon.
const BOUND: Duration = Duration::from_secs(4);

#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    /// The server [default: the one of this configuration, on this machine]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Address and port of the server on this machine, as serve has them [default: 127.0.0.1:8000]
    #[arg(long, env = "AIRLOCK_LISTEN", value_name = "ADDR:PORT")]
    pub(super) listen: Option<SocketAddr>,
}

pub(super) async fn run(config: &Config, args: HealthArgs) -> anyhow::Result<Outcome> {
    // This machine itself is asked, so nobody else's certificate can come back, and its names may be others.
    let (is_own, scheme) = (args.url.is_none(), if config.tls.is_some() { "https" } else { "http" });
    let url = args.url.unwrap_or_else(|| format!("{scheme}://{}", on_this_machine(config.listen)));
    let _ = rustls::crypto::ring::default_provider().install_default();
    // What is asked is the server itself, whatever proxy there is to the outside.
    let client =
        reqwest::Client::builder().timeout(BOUND).no_proxy().tls_danger_accept_invalid_certs(is_own).build()?;
    let answer = client.get(format!("{}/health", url.trim_end_matches('/'))).send().await;
    match answer {
        Ok(answer) if answer.status().is_success() => print("ok\n").map(|()| Outcome::Complete),
        Ok(answer) => {
            let (status, said) = (answer.status(), answer.text().await.unwrap_or_default());
            let said = said.lines().next().unwrap_or_default();
            say(&format!("not healthy: {status} {}", said.escape_default()));
            Ok(Outcome::Incomplete)
        }
        // It speaks, and wants a certificate that nobody has here.
        Err(error) if is_own && format!("{error:?}").contains("CertificateRequired") => {
            print("ok\n").map(|()| Outcome::Complete)
        }
        Err(error) => {
            // Without the address, in which there may be a password.
            say(&format!("no answer: {:#}", anyhow::Error::new(error.without_url())));
            Ok(Outcome::Incomplete)
        }
    }
}

/// Where a server that listens at all addresses is reached from here.
fn on_this_machine(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_all_addresses_is_asked_at_this_one() {
        for (listen, asked) in
            [("0.0.0.0:8000", "127.0.0.1:8000"), ("[::]:80", "[::1]:80"), ("192.0.2.1:1", "192.0.2.1:1")]
        {
            assert_eq!(on_this_machine(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
