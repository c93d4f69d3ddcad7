//! Where missing resources may come from: package servers, private registries, fall-backs.

use super::settings::{FallbackSettings, RegistrySettings, UpstreamSettings, When};
use super::{ConfigError, Mirror, Secret, span_or};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A package server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// With a scheme and without a trailing slash; a user and a password may stand in it.
    pub url: Secret,
    /// The same without them: what may be logged, written to the cache and shown.
    pub name: String,
    /// Whether anybody else runs it, so that private names must not be asked of it.
    pub public: bool,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the first byte.
    pub first_byte_timeout: Duration,
    /// Longest wait for the next byte.
    pub idle_timeout: Duration,
    /// Where the bearer token is, if it wants one.
    pub token: Option<TokenFrom>,
    /// A PEM file with certificate authorities that are trusted too.
    pub ca_file: Option<PathBuf>,
    /// PEM files with the client's certificate and its key; they may be the same.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The way there.
    pub proxy: Proxy,
    /// Requests at one time; `None` without a limit.
    pub concurrency: Option<usize>,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFrom {
    /// In this file.
    File(PathBuf),
    /// In this environment variable.
    Environment(String),
}

/// The way to a package server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY` and its like say.
    Environment,
    /// None.
    Direct,
    /// Through this one, in whose address a user and a password may stand.
    Url(Secret),
}

/// A private registry from git.
#[derive(Clone, PartialEq, Eq)]
pub struct GitRegistry {
    /// The repository; a user and a password may stand in it.
    pub url: String,
    /// The same without them.
    pub name: String,
    /// The branch; `None` for the one that the repository points to.
    pub branch: Option<String>,
}

/// When fall-backs are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The repositories that registries name.
    pub git: When,
    /// The addresses that packages name.
    pub download: When,
}

impl Upstream {
    /// A package server of which only the address is known.
    pub fn new(url: &str, bounds: &Mirror) -> Result<Self, ConfigError> {
        Self::from_settings(url.to_owned().into(), bounds)
    }

    pub(super) fn from_settings(settings: UpstreamSettings, bounds: &Mirror) -> Result<Self, ConfigError> {
        let url = upstream_url(&settings.url)?;
        let name = without_credentials(&url);
        let token = match (settings.token_file, settings.token_env) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::Bound("an upstream has a token-file or a token-env, not both"));
            }
            (Some(file), None) => Some(TokenFrom::File(file)),
            (None, variable) => variable.map(TokenFrom::Environment),
        };
        let client_certificate = match (settings.client_certificate, settings.client_key) {
            (Some(certificate), key) => Some((certificate.clone(), key.unwrap_or(certificate))),
            (None, Some(_)) => {
                return Err(ConfigError::Bound("an upstream has a client-key without a client-certificate"));
            }
            (None, None) => None,
        };
        if settings.concurrency == Some(0) {
            return Err(ConfigError::Bound("the concurrency of an upstream must be at least 1"));
        }
        if token.is_some() && url != name {
            return Err(ConfigError::Bound("an upstream has a token, or a user and a password in its url, not both"));
        }
        let upstream = Self {
            url: Secret::new(url),
            name,
            public: settings.public.unwrap_or(true),
            connect_timeout: span_or(settings.connect_timeout, bounds.connect_timeout),
            first_byte_timeout: span_or(settings.first_byte_timeout, bounds.first_byte_timeout),
            idle_timeout: span_or(settings.idle_timeout, bounds.idle_timeout),
            token,
            ca_file: settings.ca_file,
            client_certificate,
            proxy: Proxy::from_settings(settings.proxy.as_deref())?,
            concurrency: settings.concurrency,
        };
        if [upstream.connect_timeout, upstream.first_byte_timeout, upstream.idle_timeout].iter().any(Duration::is_zero)
        {
            return Err(ConfigError::Bound("a time-out must not be zero"));
        }
        Ok(upstream)
    }
}

impl Proxy {
    /// Without a scheme it is http, as in `HTTPS_PROXY`.
    fn from_settings(text: Option<&str>) -> Result<Self, ConfigError> {
        let Some(text) = text.map(str::trim) else { return Ok(Self::Environment) };
        if text == "none" {
            return Ok(Self::Direct);
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let rest = rest.trim_end_matches('/');
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        // In a password these stand as %2F and the like: an address that is read in two ways may
        // send its end to some other host.
        let plain = rest.bytes().all(|byte| byte.is_ascii_graphic()) && !rest.contains(['/', '?', '#', '\\']);
        if !matches!(scheme, "http" | "https") || host.is_empty() || host.starts_with(':') || !plain {
            return Err(ConfigError::Proxy(host.to_owned()));
        }
        Ok(Self::Url(Secret::new(format!("{scheme}://{rest}"))))
    }
}

impl fmt::Debug for GitRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitRegistry").field("name", &self.name).field("branch", &self.branch).finish_non_exhaustive()
    }
}

impl GitRegistry {
    pub(super) fn from_settings(settings: RegistrySettings) -> Result<Self, ConfigError> {
        let url = settings.git.trim().to_owned();
        // In a path of this machine an @ is nothing but that.
        let is_far = ["https://", "http://", "ssh://", "git://"].iter().any(|scheme| url.starts_with(scheme));
        if is_far {
            no_hidden_credentials(&url)?;
        }
        if url.is_empty() || url.starts_with('-') || url.chars().any(char::is_control) {
            return Err(ConfigError::Registry(without_credentials(&url)));
        }
        Ok(Self { name: without_credentials(&url), url, branch: settings.branch })
    }
}

impl Fallback {
    pub(super) fn new(flags: &FallbackSettings, file: &FallbackSettings) -> Self {
        Self {
            git: flags.git.or(file.git).unwrap_or(When::Prewarm),
            download: flags.download.or(file.download).unwrap_or(When::Always),
        }
    }
}

/// Adds `https://` where no scheme is given and strips trailing slashes, as Pkg does with
/// `JULIA_PKG_SERVER` (`PlatformEngines.jl`, `pkg_server`).
pub(super) fn upstream_url(text: &str) -> Result<String, ConfigError> {
    no_hidden_credentials(text)?;
    let (scheme, rest) = text.trim().split_once("://").unwrap_or(("https", text.trim()));
    let rest = rest.trim_end_matches('/');
    let plain = rest.bytes().all(|byte| byte.is_ascii_graphic()) && !rest.contains(['?', '#', '\\']);
    if !matches!(scheme, "http" | "https") || rest.is_empty() || rest.starts_with('/') || !plain {
        return Err(ConfigError::Upstream(without_credentials(text)));
    }
    Ok(format!("{scheme}://{rest}"))
}

/// Refuses `https://me:pa/ssw0rd@host`: a user and a password end at the first `/`, so one that has a `/` would be
/// taken for a host and a path, and shown to everybody.
fn no_hidden_credentials(url: &str) -> Result<(), ConfigError> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    match rest.rsplit_once('@') {
        Some((before, after)) if before.contains(['/', '\\']) => Err(ConfigError::Credentials(after.to_owned())),
        _ => Ok(()),
    }
}

/// An address without the user and password that may stand in it (`https://user:word@host`): what
/// may be logged, written to the cache and shown.
pub fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(_, rest)| url.split_at(url.len() - rest.len()));
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}{host}{path}")
}
