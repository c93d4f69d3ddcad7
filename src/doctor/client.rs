//! An HTTP client that goes where Julia's would, and what its failures mean in plain words.

use super::auth::Token;
use super::check::quoted;
use super::environment::Environment;
use super::proxy;
use super::server_url::ServerUrl;
use fs_err as fs;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use rustls::AlertDescription;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Redirects that are followed; Julia follows 50, but nobody needs more.
const REDIRECTS: usize = 10;

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// Nothing came in this time.
    Silent(Duration),
    /// The certificate is not one that this host accepts.
    Certificate(String),
    /// The server wants to see a certificate of the client.
    WantsCertificate,
    /// The other side does not speak TLS.
    NoTls,
    /// Redirects without an end.
    Redirects,
    /// Closed or reset before the end.
    Broken(String),
}

/// The client for a server whose addresses are known.
pub(super) fn build(
    environment: &Environment,
    server: &ServerUrl,
    addresses: &[SocketAddr],
    token: &Token,
    connect: Duration,
) -> Result<reqwest::Client, reqwest::Error> {
    // A second call finds a provider in place, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("airlock-doctor/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers(token))
        .connect_timeout(connect)
        .redirect(Policy::limited(REDIRECTS))
        .no_proxy();
    match proxy::proxy(environment, server.is_https(), server.host()) {
        Some((_, url)) => builder = builder.proxy(reqwest::Proxy::all(url)?),
        None => builder = builder.resolve_to_addrs(server.host(), addresses),
    }
    if server.is_https() {
        if environment.skips_verification(server.host()) {
            builder = builder.tls_danger_accept_invalid_certs(true);
        } else if let Some((_, path)) = environment.certificates() {
            builder = builder.tls_certs_only(certificates(path));
        }
    }
    builder.build()
}

/// As Julia sends them. Asking for gzip by name keeps official servers from redirecting to zstd.
fn headers(token: &Token) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert("julia-pkg-protocol", HeaderValue::from_static("1.0"));
    let bearer = token.secret.as_ref().and_then(|secret| HeaderValue::from_str(&format!("Bearer {secret}")).ok());
    if let Some(mut bearer) = bearer {
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
    headers
}

/// Of a file, or of every file of a folder; what cannot be read has none.
fn certificates(path: &Path) -> Vec<reqwest::Certificate> {
    let files: Vec<PathBuf> = match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![path.to_owned()],
    };
    let of_file = |file: PathBuf| reqwest::Certificate::from_pem_bundle(&fs::read(file).ok()?).ok();
    files.into_iter().filter(|file| file.is_file()).filter_map(of_file).flatten().collect()
}

/// What a failed request means.
pub(super) fn explain(error: &reqwest::Error, waited: Duration) -> NoAnswer {
    if error.is_redirect() {
        return NoAnswer::Redirects;
    }
    if error.is_timeout() {
        return NoAnswer::Silent(waited);
    }
    let mut detail = String::new();
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidMessage(_)) => return NoAnswer::NoTls,
            Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                return NoAnswer::WantsCertificate;
            }
            Some(error) => return NoAnswer::Certificate(quoted(&error.to_string())),
            None => detail = error.to_string(),
        }
        // An I/O error is not the source of what it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    match detail.as_str() {
        // What tokio-rustls says when the other side hangs up on the first TLS message.
        "tls handshake eof" => NoAnswer::NoTls,
        detail => NoAnswer::Broken(quoted(detail)),
    }
}
