//! The address of a package server as Pkg reads it.

use crate::config::without_credentials;
use std::fmt;
use std::str::FromStr;

/// An `http://` or `https://` address, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// With the user and password that may stand in it.
    url: reqwest::Url,
    /// As Pkg makes URLs of it: no slash at the end.
    base: String,
}

/// An address that the examination cannot use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an http:// or https:// address")]
pub struct ServerUrlError(String);

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    /// Adds `https://` where no scheme is given and strips all trailing slashes (Pkg
    /// `PlatformEngines.jl`, `pkg_server`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let base = with_scheme.trim_end_matches('/').to_owned();
        let wrong = || ServerUrlError(without_credentials(text));
        let plain = base.bytes().all(|byte| byte.is_ascii_graphic()) && !base.contains(['?', '#', '\\']);
        let url = reqwest::Url::parse(&base).map_err(|_| wrong())?;
        if !plain || !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        Ok(Self { url, base })
    }
}

/// Without user and password.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_credentials(&self.base))
    }
}

impl ServerUrl {
    /// The URL of a path that begins with a slash.
    pub(super) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The same, as it may be shown.
    pub(super) fn join_shown(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// A name or an address; an IPv6 address is without its brackets.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    pub(super) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }

    /// Whether Pkg sends a token there: over https, or to this machine under one of these two
    /// names (Pkg `PlatformEngines.jl`, `get_auth_header`).
    pub(super) fn may_get_token(&self) -> bool {
        self.is_https() || matches!(self.host(), "localhost" | "127.0.0.1")
    }

    /// The folder below `servers/` in a depot: host and port as they are written, with `_` for
    /// what some file system refuses (Pkg `PlatformEngines.jl`, `get_server_dir`, since 1.8).
    pub(super) fn folder(&self) -> String {
        let written = self.to_string();
        let authority = written.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
        authority.replace([':', '/', '<', '>', '"', '\\', '|', '?', '*'], "_")
    }

    /// The same address over plain HTTP.
    pub(super) fn over_http(&self) -> String {
        self.to_string().replacen("https://", "http://", 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_pkg_reads_them() {
        for (text, read) in [
            ("pkg.example.org", "https://pkg.example.org"),
            ("localhost:8000", "https://localhost:8000"),
            ("http://h:8000//", "http://h:8000"),
            ("https://user:word@h/p/", "https://h/p"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().unwrap().to_string(), read, "{text}");
        }
        for bad in ["", "https://", "ftp://x", "file:///srv", "http://a b", "http://h?x", "://", "http://h\u{1b}"] {
            assert!(bad.parse::<ServerUrl>().is_err(), "{bad}");
        }
        assert!(!"ftp://u:word@h".parse::<ServerUrl>().unwrap_err().to_string().contains("word"));
    }

    #[test]
    fn a_token_has_its_folder_and_goes_over_safe_lines_only() {
        for (text, folder, token) in [
            ("http://localhost:8000", "localhost_8000", true),
            ("http://pkg.example.org:8000/p", "pkg.example.org_8000", false),
            ("https://pkg.example.org/p", "pkg.example.org", true),
            ("http://127.0.0.1", "127.0.0.1", true),
            ("http://[::1]:1", "[__1]_1", false),
        ] {
            let server: ServerUrl = text.parse().unwrap();
            assert_eq!((server.folder().as_str(), server.may_get_token()), (folder, token), "{text}");
        }
    }
}
