//! What a host with a Julia on it needs to see of its package server, looked at from that host.
//!
//! Nothing here needs or makes a cache directory. Every wait is bounded, and the whole examination
//! stays below 20 s on a network that drops every packet. What a server or a file says is never
//! passed on as it is: it becomes a type, or a short text without control characters.

mod auth;
mod check;
mod client;
mod depots;
mod environment;
mod listing;
mod outside;
mod proxy;
mod reach;
mod server_url;
mod tarball;

pub use check::{Check, Report, Status};
pub use environment::Environment;
pub use outside::Outside;
pub use server_url::{ServerUrl, ServerUrlError};

use crate::mirror::blocking;
use check::Findings;
use std::path::PathBuf;

/// What to examine.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The package server; `None` is what `JULIA_PKG_SERVER` says.
    pub server: Option<ServerUrl>,
    /// Depots to look into; empty is what `JULIA_DEPOT_PATH` says.
    pub depots: Vec<PathBuf>,
    /// What Julia would read.
    pub environment: Environment,
    /// Where a client goes when the server does not have something; `None` tries nothing.
    pub outside: Option<Outside>,
}

/// Examines this host. Takes below 20 s.
pub async fn examine(options: Options) -> Report {
    let Options { server, depots, environment, outside } = options;
    let mut findings = Findings::default();
    let server = environment::server(&mut findings, &environment, server);
    environment::examine(&mut findings, &environment);
    if let Some(server) = &server {
        proxy::examine(&mut findings, &environment, server);
    }
    let depots = if depots.is_empty() { environment::depots(&mut findings, &environment) } else { depots };
    let outside = outside.map(|outside| tokio::spawn(outside::look(outside, environment.clone())));
    let token = auth::examine(&mut findings, server.as_ref(), &depots).await;
    let listing = if let Some(server) = &server {
        reach::examine(&mut findings, &environment, server, &token).await
    } else {
        findings.skipped("server", "there is no package server to ask");
        None
    };
    outside::examine(&mut findings, &environment, server.as_ref(), outside).await;
    let packed = environment.reads_packed_registries();
    let found = blocking(move || depots::registries(&depots)).await.unwrap_or_default();
    depots::examine(&mut findings, server.as_ref(), listing.as_ref(), &found, packed);
    findings.report(server.as_ref())
}
