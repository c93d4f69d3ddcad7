//! The way to the server: its name, its port, its answer.

use super::auth::Token;
use super::check::{Findings, shell_word};
use super::client;
use super::environment::Environment;
use super::server_url::ServerUrl;
use super::{listing, proxy};
use crate::protocol::Listing;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Longest wait for a name: longer than the 5 s after which a resolver asks its second name
/// server, shorter than the 10 s after which it gives up with one that drops.
const RESOLVE: Duration = Duration::from_secs(6);
/// Longest wait for all connections together.
const CONNECT: Duration = Duration::from_secs(3);
/// A look-up that takes longer is felt: each Pkg command makes several.
const SLOW: Duration = Duration::from_secs(1);

/// Asks the server, and says at each step what is wrong. The listing, if Pkg could read it.
pub(super) async fn examine(
    findings: &mut Findings,
    environment: &Environment,
    server: &ServerUrl,
    token: &Token,
) -> Option<Listing> {
    let proxy = proxy::proxy(environment, server.is_https(), server.host());
    let (host, port, what) = match proxy.map(|(_, url)| proxy::address(url)) {
        None => (server.host().to_owned(), server.port(), "the server"),
        Some(Some((host, port))) => (host, port, "the proxy"),
        Some(None) => {
            findings.problem("name", "the proxy's address cannot be read", &[]);
            return None;
        }
    };
    let addresses = resolve(findings, &host, port, what).await?;
    connect(findings, &addresses, server, what).await?;
    if let Ok(client) = client::build(environment, server, &addresses, token, CONNECT) {
        listing::examine(findings, &client, server, token).await
    } else {
        let detail = "not asked: the proxy or the certificates of the environment cannot be used here (a SOCKS proxy, for example)";
        findings.warning("listing", detail, &[]);
        None
    }
}

async fn resolve(findings: &mut Findings, host: &str, port: u16, what: &str) -> Option<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(vec![SocketAddr::new(address, port)]);
    }
    let started = Instant::now();
    let found = timeout(RESOLVE, lookup_host((host, port))).await;
    let took = started.elapsed();
    let hosts = format!("echo 'ADDRESS {host}' | sudo tee -a /etc/hosts   # with the address of {what}");
    let slow = "# name a server that answers in /etc/resolv.conf, or look the name up in a file:".to_owned();
    match found {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.collect();
            let shown: Vec<_> = addresses.iter().take(4).map(|address| address.ip().to_string()).collect();
            let detail = format!("{host} is {} ({})", shown.join(", "), seconds(took));
            if took > SLOW {
                let detail = format!("{detail}: a name server that drops packets makes every command slow");
                findings.warning("name", &detail, &[slow, hosts]);
            } else {
                findings.ok("name", &detail);
            }
            Some(addresses)
        }
        Ok(Err(_)) => {
            let detail = format!("{host}, the name of {what}, is not known here ({})", seconds(took));
            findings.problem("name", &detail, &["# ask for a DNS entry, or:".to_owned(), hosts]);
            None
        }
        Err(_) => {
            let detail = format!(
                "no name server answered within {} for {host}, the name of {what}: its packets are dropped",
                seconds(RESOLVE)
            );
            findings.problem("name", &detail, &[slow, hosts]);
            None
        }
    }
}

async fn connect(findings: &mut Findings, addresses: &[SocketAddr], server: &ServerUrl, what: &str) -> Option<()> {
    let started = Instant::now();
    let tried = timeout(CONNECT, TcpStream::connect(addresses)).await;
    let port = addresses.first().map_or(0, SocketAddr::port);
    let serve = format!("# on the server: airlock serve --offline --listen 0.0.0.0:{port}");
    let try_it = format!("curl -v {}", shell_word(&server.join_shown("/registries")));
    let fault = match tried {
        Ok(Ok(_)) => {
            findings.ok(
                "connection",
                &format!("{what} accepts connections at port {port} ({})", seconds(started.elapsed())),
            );
            return Some(());
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            format!(
                "{what} refuses connections at port {port}: nothing listens there, or only at 127.0.0.1 of that machine"
            )
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => dropped(what, port),
        Ok(Err(error)) => format!("{what} cannot be reached at port {port}: {}", error.kind()),
        Err(_) => dropped(what, port),
    };
    findings.problem("connection", &fault, &[serve, try_it]);
    None
}

fn dropped(what: &str, port: u16) -> String {
    format!(
        "{what} did not answer within {} at port {port}: a firewall drops the packets, or the address is nobody's",
        seconds(CONNECT)
    )
}

/// `0.12 s`
pub(super) fn seconds(time: Duration) -> String {
    if time.subsec_nanos() == 0 { format!("{} s", time.as_secs()) } else { format!("{:.2} s", time.as_secs_f64()) }
}
