//! Addresses of repositories: which are taken, from whom, and how they are shown.

use super::GitError;
use crate::config::without_credentials;
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

/// Who wrote an address, which decides how far it may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// An admin, or somebody whom an admin trusts with this: a folder of this machine is fine.
    Configured,
    /// A public registry: only what another machine serves.
    Named,
}

/// The address of a repository in one of git's forms (`git help fetch`, "GIT URLS"); never one that
/// runs a command (`ext::`), nor one that git could take for an option.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    url: String,
    shown: String,
    login: Option<Login>,
}

/// A user and a password that stand in an address: `git` hands addresses on to programs that it
/// starts, where a list of processes shows them, so these two go another way. A user alone does too: many
/// servers take a token for one.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    /// Scheme, host and port that they are for.
    pub(super) place: String,
    pub(super) user: OsString,
    /// May be empty, which is not the same as none: git then asks the helpers that it knows for it.
    pub(super) password: Option<OsString>,
}

impl Login {
    /// Of an http address; `None` if there is nobody in it.
    fn of(scheme: &str, rest: &str) -> Option<Self> {
        let (both, host) = authority(rest).rsplit_once('@')?;
        let (user, password) = both.split_once(':').map_or((both, None), |(user, password)| (user, Some(password)));
        let decoded = |text: &str| OsString::from_vec(percent_decoded(text));
        Some(Self { place: format!("{scheme}://{host}"), user: decoded(user), password: password.map(decoded) })
    }

    /// Whether no line could carry it.
    fn is_odd(&self) -> bool {
        let mut both = [&self.user].into_iter().chain(&self.password);
        both.any(|it| it.as_encoded_bytes().iter().any(u8::is_ascii_control))
    }
}

/// What stands between `://` and the path.
fn authority(rest: &str) -> &str {
    rest.split('/').next().unwrap_or_default()
}

/// As `git` reads what stands in an address (`url.c`, `url_decode`).
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.extend_from_slice(before.as_bytes());
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            decoded.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            decoded.push(b'%');
            rest = after;
        }
    }
    decoded.extend_from_slice(rest.as_bytes());
    decoded
}

/// What git may use, whatever `url.*.insteadOf` or a redirect leads to.
pub(super) const PROTOCOLS: &str = "file:git:http:https:ssh";
/// Bytes of an address. Longer ones are no addresses.
const LONGEST: usize = 2048;
/// Bytes of a hash that keep the folders of two addresses apart: so many that nobody finds an
/// address with the folder of another.
const DIGEST: usize = 16;
/// Bytes of a folder's name that are for people.
const SLUG: usize = 60;

impl Address {
    /// Takes an address. A path is made absolute from the folder that the process works in.
    pub(super) fn parse(text: &str, trust: Trust) -> Result<Self, GitError> {
        let text = text.trim();
        let refused = |why| GitError::Address { address: without_credentials(text), why };
        if text.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(refused("it is empty, too long, or has control characters"));
        }
        let mut login = None;
        let far = match form(text) {
            Form::Url(scheme @ ("https" | "http" | "ssh" | "git"), rest) => {
                // An `@` in the path says nothing about the host.
                let authority = authority(rest);
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                if scheme.starts_with("http") {
                    login = Login::of(scheme, rest);
                }
                if login.as_ref().is_some_and(Login::is_odd) {
                    return Err(refused("its user or password has control characters"));
                }
                if host.is_empty() || host.starts_with(['-', ':']) || authority.starts_with('-') {
                    return Err(refused("it has no host"));
                }
                true
            }
            Form::Url("file", path) if path.starts_with('/') => false,
            Form::Url(..) => return Err(refused("only https, http, ssh, git and file are spoken")),
            Form::Helper => return Err(refused("it would run a command")),
            Form::Scp(host) if host.is_empty() || host.starts_with('-') || text.starts_with('-') => {
                return Err(refused("it has no host"));
            }
            Form::Scp(_) => true,
            Form::Path => false,
        };
        if !far && trust == Trust::Named {
            return Err(refused("a registry must not name a folder of this machine"));
        }
        let url = match form(text) {
            Form::Path => std::path::absolute(Path::new(text))?.to_string_lossy().into_owned(),
            _ => text.to_owned(),
        };
        Ok(Self { shown: without_credentials(&url), url, login })
    }

    /// As `git` may be told: without what is in [`Address::login`].
    pub(super) fn url(&self) -> &str {
        if self.login.is_some() { &self.shown } else { &self.url }
    }

    /// The user and password that stand in it.
    pub(super) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Without them.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// The folder of its clone: readable, and of no other address. A password that changes is no
    /// other address.
    pub(super) fn folder_name(&self) -> String {
        let bare = self.shown.split_once("://").map_or(self.shown.as_str(), |(_, rest)| rest);
        let mut slug = String::new();
        for part in bare.trim_end_matches(".git").split(|c: char| !c.is_ascii_alphanumeric()) {
            if !part.is_empty() && slug.len() + part.len() < SLUG {
                slug.push_str(&part.to_ascii_lowercase());
                slug.push('-');
            }
        }
        let digest = Sha256::digest(self.shown.as_bytes());
        digest.iter().take(DIGEST).fold(slug, |name, byte| name + &format!("{byte:02x}"))
    }

    /// A text that git printed, without credentials and, but for the ends of lines, control characters.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = text.replace(&self.url, &self.shown);
        let authority = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let authority = authority.split('/').next().unwrap_or_default();
        if let Some((user, _)) = authority.rsplit_once('@') {
            text = text.replace(&format!("{user}@"), "");
            if let Some((_, word)) = user.split_once(':').filter(|(_, word)| !word.is_empty()) {
                text = text.replace(word, "***");
            }
        }
        // Of any other address too: `insteadOf` may lead to one with a password.
        let words = text.split_inclusive(char::is_whitespace).map(|word| match word.find("://") {
            Some(at) => {
                let start = word.get(..at).unwrap_or_default().trim_end_matches(|c: char| c.is_ascii_alphanumeric());
                format!("{start}{}", without_credentials(word.get(start.len()..).unwrap_or_default()))
            }
            None => word.to_owned(),
        });
        let is_harmful = |c: char| c.is_control() && !matches!(c, '\n' | '\r');
        words.collect::<String>().replace(is_harmful, " ")
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shown.fmt(f)
    }
}

/// An address that may be relative (`./`, `../`) to another one, as those of submodules are
/// (`git help submodule`).
pub fn relative_url(base: &str, url: &str) -> String {
    if !url.starts_with("./") && !url.starts_with("../") {
        return url.to_owned();
    }
    let (mut base, mut rest) = (base.trim_end_matches('/'), url);
    loop {
        if let Some(up) = rest.strip_prefix("../") {
            rest = up;
            let end = base.rfind('/').or_else(|| base.rfind(':').map(|colon| colon + 1)).unwrap_or_default();
            base = base.get(..end).unwrap_or_default();
        } else if let Some(here) = rest.strip_prefix("./") {
            rest = here;
        } else {
            break;
        }
    }
    let between = if base.ends_with(':') { "" } else { "/" };
    format!("{base}{between}{rest}")
}

enum Form<'a> {
    /// Scheme in lowercase, and what comes after `://`.
    Url(&'a str, &'a str),
    /// `helper::address`.
    Helper,
    /// `user@host:path`: the host.
    Scp(&'a str),
    Path,
}

/// As git itself tells them apart (`connect.c`, `url_is_local_not_ssh`; `transport.c`).
fn form(text: &str) -> Form<'_> {
    if let Some((scheme, rest)) = text.split_once("://")
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
    {
        return Form::Url(scheme, rest);
    }
    match (text.find(':'), text.find('/')) {
        (Some(colon), slash) if slash.is_none_or(|slash| colon < slash) => {
            if text.get(colon + 1..).is_some_and(|rest| rest.starts_with(':')) {
                return Form::Helper;
            }
            let host = text.get(..colon).unwrap_or_default();
            Form::Scp(host.rsplit_once('@').map_or(host, |(_, host)| host))
        }
        _ => Form::Path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_reaches_other_machines_only_and_nobody_runs_commands() {
        let both = [
            "https://git.example.org/a/B.jl.git",
            "http://u:p@h/x",
            "ssh://git@h:22/x",
            "git://h/x",
            "git@h:a/B.jl.git",
            "h:x",
        ];
        for url in both {
            assert!(Address::parse(url, Trust::Named).is_ok(), "{url}");
        }
        for url in ["file:///srv/x", "/srv/x", "../x", "x.git", "./a:b"] {
            assert!(Address::parse(url, Trust::Named).is_err(), "{url}");
            assert!(Address::parse(url, Trust::Configured).is_ok(), "{url}");
        }
        for url in [
            "",
            " ",
            "ext::sh -c id",
            "fd::3",
            "ext:://x",
            "ftp://h/x",
            "HTTPS://h/x",
            "https://",
            "https:///x",
            "ssh://-oProxyCommand=id/x",
            "ssh://u@-oProxyCommand=id/x",
            "ssh://-oProxyCommand=id/x@h",
            "ssh://-oProxyCommand=id@h/x",
            "https:///x@h",
            "https://u:p%0a@h/x",
            "-oProxyCommand=id:x",
            "u@-oProxyCommand=id:x",
            "--upload-pack=id:x",
            "file://h/x",
            "https://h/\nx",
        ] {
            assert!(Address::parse(url, Trust::Configured).is_err(), "{url:?}");
        }
    }

    #[test]
    fn a_path_is_absolute_so_that_git_takes_it_for_nothing_else() {
        let address = Address::parse("--upload-pack=id", Trust::Configured).unwrap();
        assert!(address.url().starts_with('/'), "{address:?}");
    }

    #[test]
    fn a_relative_address_is_beside_the_other() {
        for (base, url, absolute) in [
            ("https://h/a/R.git", "../B.git", "https://h/a/B.git"),
            ("https://h/a/R.git/", "../../b/B.git", "https://h/b/B.git"),
            ("git@h:a/R.git", "../B.git", "git@h:a/B.git"),
            ("git@h:R.git", "../B.git", "git@h:B.git"),
            ("/srv/R.git", "./../B.git", "/srv/B.git"),
            ("/srv/R.git", "https://h/x", "https://h/x"),
        ] {
            assert_eq!(relative_url(base, url), absolute);
        }
    }

    #[test]
    fn folders_are_readable_and_one_for_each_repository() {
        let name = |url| Address::parse(url, Trust::Named).unwrap().folder_name();
        let one = name("https://Git.example.org/acme/Registry.git");
        assert!(one.starts_with("git-example-org-acme-registry-"), "{one}");
        assert_eq!(one, name("https://user:word@Git.example.org/acme/Registry.git"));
        assert_ne!(one, name("https://git.example.org/acme/Registry.git"));
        let long = name(&format!("https://h/{}/{}", "a/".repeat(200), "../".repeat(100)));
        assert!(long.len() <= SLUG + 2 * DIGEST && !long.contains('.'), "{long}");
    }

    #[test]
    fn nobody_can_find_an_address_with_the_folder_of_another() {
        let name = |url| Address::parse(url, Trust::Named).unwrap().folder_name();
        let (one, other) = (name("https://h.org/acme/registry"), name("https://h/org//acme.registry"));
        let parts = |name: &str| name.rsplit_once('-').map(|(slug, digest)| (slug.to_owned(), digest.to_owned()));
        let ((slug, digest), (other_slug, other_digest)) = (parts(&one).unwrap(), parts(&other).unwrap());
        assert_eq!(slug, other_slug, "what people read is no difference");
        // Below 128 bits one could be searched for.
        assert!(digest != other_digest && digest.len() >= 32, "{digest}");
    }

    #[test]
    fn a_password_is_not_in_what_git_is_told_and_is_read_as_git_reads_it() {
        let address = Address::parse("https://us%40er:wo%72d%@h:8443/a@b", Trust::Named).unwrap();
        assert_eq!(address.url(), "https://h:8443/a@b");
        let login = address.login().unwrap();
        assert_eq!(
            (&*login.place, login.user.to_str(), login.password.as_ref().and_then(|it| it.to_str())),
            ("https://h:8443", Some("us@er"), Some("word%"))
        );
        for (url, password) in [("https://tok%65n@h/x", None), ("https://token:@h/x", Some(OsString::new()))] {
            let address = Address::parse(url, Trust::Named).unwrap();
            assert_eq!(
                (address.url(), address.shown()),
                ("https://h/x", "https://h/x"),
                "a token may stand for a user"
            );
            let login = address.login().unwrap();
            assert_eq!((login.user.to_str(), &login.password), (Some("token"), &password), "{url}");
        }
        for url in ["ssh://git@h/x", "https://h/a:b@c"] {
            let address = Address::parse(url, Trust::Named).unwrap();
            assert!(address.login().is_none() && address.url() == url, "{url}");
        }
    }

    #[test]
    fn what_git_prints_is_shown_without_credentials() {
        let address = Address::parse("https://user:wo%72d@h/x", Trust::Named).unwrap();
        for text in [
            "fatal: Authentication failed for 'https://user:wo%72d@h/x'",
            "fatal: unable to access 'https://user:wo%72d@h/x/': refused",
            "a wo%72d",
            "see (https://other:wo%72d@elsewhere/x)",
            "https://some:secret@mirror/x",
            "https://h/x\nhttps://some:secret@mirror/x",
        ] {
            let redacted = address.redact(text);
            assert!(!redacted.contains("wo%72d") && !redacted.contains("secret"), "{redacted}");
        }
        assert_eq!(address.redact("fatal: 'https://user:wo%72d@h/x'\u{1b}[0m"), "fatal: 'https://h/x' [0m");
        assert!(!format!("{address:?}").contains("wo%72d"));
    }
}
