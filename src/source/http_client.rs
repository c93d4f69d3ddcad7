//! The HTTP client of one package server: whom it trusts, what it shows, which way it goes.

use crate::config::{Credentials, Proxy, Secret, SecretError, Upstream};
use crate::pem::{self, PemError};
use reqwest::header::{self, HeaderMap};
use reqwest::{Certificate, Identity};
use std::path::{Path, PathBuf};

/// A package server that cannot be asked in the way that the configuration says.
#[derive(Debug, thiserror::Error)]
#[error("{whom}: {problem}")]
pub struct ClientError {
    whom: String,
    #[source]
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Secret(#[from] SecretError),
    #[error("{0}")]
    Pem(#[from] PemError),
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}

impl ClientError {
    pub(super) fn of_downloads(error: &reqwest::Error) -> Self {
        Self { whom: "downloads of artifacts".to_owned(), problem: Problem::Client(cause(error)) }
    }
}

/// A package server's client, and the token that goes with its requests.
pub(super) fn client(upstream: &Upstream) -> Result<(reqwest::Client, Option<Secret>), ClientError> {
    let built = upstream.credentials().map_err(Problem::from).and_then(|mut credentials| {
        let token = credentials.token.take();
        build(upstream, &credentials).map(|client| (client, token))
    });
    built.map_err(|problem| ClientError { whom: format!("upstream {}", upstream.name), problem })
}

fn build(upstream: &Upstream, credentials: &Credentials) -> Result<reqwest::Client, Problem> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("airlock/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(upstream.connect_timeout)
        .default_headers(headers());
    if let (Some(pem), Some(file)) = (&credentials.authorities, &upstream.ca_file) {
        builder = builder.tls_certs_merge(authorities(pem, file)?);
    }
    if let (Some((pem, key)), Some(files)) = (&credentials.identity, &upstream.client_certificate) {
        builder = builder.identity(identity(pem, key, files)?);
    }
    match &upstream.proxy {
        // No variable of the environment means a proxy for this host itself.
        Proxy::Environment if !is_loopback(upstream.url.expose()) => {}
        Proxy::Environment | Proxy::Direct => builder = builder.no_proxy(),
        Proxy::Url(url) => builder = builder.proxy(reqwest::Proxy::all(url.expose()).map_err(|e| failed(&e))?),
    }
    builder.build().map_err(|error| failed(&error))
}

/// Ours alone: nothing that a client sent is passed on. Asking for gzip by name keeps official
/// servers from redirecting to zstd.
fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_ENCODING, header::HeaderValue::from_static("gzip"));
    headers.insert("julia-pkg-protocol", header::HeaderValue::from_static("1.0"));
    headers
}

/// Whether a secret may go there: over https, or to this host itself without a proxy between. So
/// does Pkg with its tokens (`get_auth_header`, protocol.md 1).
pub(super) fn is_private(upstream: &Upstream) -> bool {
    let direct = !matches!(upstream.proxy, Proxy::Url(_));
    upstream.url.expose().starts_with("https://") || (direct && is_loopback(upstream.url.expose()))
}

/// Whether an address leads to this host itself.
pub(super) fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn authorities(pem: &str, file: &Path) -> Result<Vec<Certificate>, Problem> {
    let (_, found) = pem::authorities(pem, file)?;
    found.iter().map(|der| Certificate::from_der(der).map_err(|error| failed(&error))).collect()
}

fn identity(pem: &str, key: &Secret, (certificate_file, key_file): &(PathBuf, PathBuf)) -> Result<Identity, Problem> {
    pem::identity(pem, key, (certificate_file, key_file))?;
    let both = if pem == key.expose() { pem.to_owned() } else { [pem, "\n", key.expose()].concat() };
    Identity::from_pem(both.as_bytes()).map_err(|error| failed(&error))
}

fn failed(error: &reqwest::Error) -> Problem {
    Problem::Client(cause(error))
}

/// The last cause alone: what is above it may name an address with a password.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |&cause| cause.source());
    causes.last().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Settings};

    fn upstream(text: &str) -> Upstream {
        let settings = toml::from_str(&format!("[[upstream]]\n{text}")).unwrap();
        Config::new(Settings::default(), settings).unwrap().upstreams.remove(0)
    }

    #[test]
    fn a_token_goes_over_https_or_stays_on_this_host() {
        let private = |text: &str| is_private(&upstream(text));
        assert!(
            ["https://h", "http://localhost:1", "http://127.0.0.1", "http://[::1]:8000/p"]
                .iter()
                .all(|url| private(&format!("url = '{url}'")))
        );
        assert!(
            !["http://h", "http://127.0.0.1.example.org", "http://localhost.example.org"]
                .iter()
                .any(|url| private(&format!("url = '{url}'")))
        );
        assert!(!private("url = 'http://127.0.0.1'\nproxy = 'http://p:1'"));
        assert!(private("url = 'https://h'\nproxy = 'http://p:1'"));
    }
}
