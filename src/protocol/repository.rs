//! The files of mirrored git repositories: `git/<host>/<path>.bundle` below a cache root.
//!
//! The name says the address. Lowercase letters, digits, `-`, `_` and `.` stand for themselves, a
//! capital letter is `!` with its small one (as in the module cache of Go), any other byte is `=`
//! with two hexadecimal digits, and an empty part is `=`. So no two addresses have one name, on file
//! systems without case too, and no address leads out of the folder. An address that is not https
//! has its scheme before the host: `ssh+host`. A user and a password do not count, for they do not
//! say which repository it is.

use std::fmt::{self, Write as _};
use std::str::FromStr;

/// The folder of a cache that holds them.
pub const REPOSITORIES: &str = "git";

const EXTENSION: &str = ".bundle";
/// Bytes of one part of a name, as file systems have it.
const LONGEST_PART: usize = 255;
/// Bytes of a name.
const LONGEST: usize = 1024;

/// The name of the git bundle of a repository, as a path below a cache root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RepositoryFile(String);

/// An address that cannot be a file name, or a text that is no such name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a git bundle, or an address too long to be one")]
pub struct RepositoryFileError;

impl RepositoryFile {
    /// The file of the repository at an address, in any of git's forms.
    pub fn of(address: &str) -> Result<Self, RepositoryFileError> {
        let (scheme, authority, path) = split(address.trim());
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_lowercase();
        let mut name = format!("{REPOSITORIES}/");
        if scheme != "https" {
            name += &(encode(&scheme) + "+");
        }
        // Without a host the scheme stands alone.
        name += &if host.is_empty() && scheme != "https" { String::new() } else { encode(&host) };
        for part in path.into_iter().flat_map(|path| path.split('/')) {
            if name.ends_with(EXTENSION) {
                // A folder must not be called like a file.
                name.truncate(name.len() - EXTENSION.len());
                name += "=2ebundle";
            }
            name += &("/".to_owned() + &encode(part));
        }
        name += EXTENSION;
        name.parse()
    }

    /// The path below a cache root.
    pub fn relative_path(&self) -> &str {
        &self.0
    }
}

/// Scheme in lowercase, authority, and the path after the slash if there is one.
fn split(address: &str) -> (String, &str, Option<&str>) {
    if let Some((scheme, rest)) = address.split_once("://") {
        let (authority, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
        return (scheme.to_ascii_lowercase(), authority, path);
    }
    match (address.find(':'), address.find('/')) {
        (Some(colon), slash) if slash.is_none_or(|slash| colon < slash) => {
            let (host, path) = address.split_at(colon);
            ("scp".to_owned(), host, path.get(1..))
        }
        _ => ("path".to_owned(), "", Some(address)),
    }
}

fn encode(part: &str) -> String {
    let last = part.len().saturating_sub(1);
    let mut text = String::with_capacity(part.len());
    for (at, byte) in part.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(byte)),
            // A hidden file at the start, dropped by some file systems at the end.
            b'.' if at > 0 && at < last => text.push('.'),
            b'A'..=b'Z' => text.extend(['!', char::from(byte.to_ascii_lowercase())]),
            _ => _ = write!(text, "={byte:02x}"),
        }
    }
    if text.is_empty() { "=".to_owned() } else { text }
}

fn is_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.!=+".contains(&byte);
    !part.is_empty()
        && part.len() <= LONGEST_PART
        && !part.starts_with('.')
        && !part.ends_with('.')
        && part.bytes().all(plain)
}

impl FromStr for RepositoryFile {
    type Err = RepositoryFileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(REPOSITORIES).and_then(|rest| rest.strip_prefix('/'));
        let stem = rest.and_then(|rest| rest.strip_suffix(EXTENSION)).ok_or(RepositoryFileError)?;
        let folders = rest.into_iter().flat_map(|rest| rest.split('/').rev().skip(1));
        let is_name = text.len() <= LONGEST
            && !stem.is_empty()
            && rest.is_some_and(|rest| rest.split('/').all(is_part))
            && folders.into_iter().all(|folder| !folder.ends_with(EXTENSION));
        is_name.then(|| Self(text.to_owned())).ok_or(RepositoryFileError)
    }
}

impl fmt::Display for RepositoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::serde_as_text!(RepositoryFile);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn name(address: &str) -> String {
        RepositoryFile::of(address).unwrap().to_string()
    }

    #[test]
    fn names_say_where_the_repository_is() {
        for (address, file) in [
            ("https://github.com/JuliaLang/Example.jl.git", "git/github.com/!julia!lang/!example.jl.git.bundle"),
            ("HTTPS://GitHub.com/a/b", "git/github.com/a/b.bundle"),
            ("https://user:word@git.example.org:8443/a", "git/git.example.org=3a8443/a.bundle"),
            ("http://h/a/", "git/http+h/a/=.bundle"),
            ("ssh://git@h:22/a.git", "git/ssh+h=3a22/a.git.bundle"),
            ("git@h:a/b.git", "git/scp+h/a/b.git.bundle"),
            ("git@h:/a", "git/scp+h/=/a.bundle"),
            ("file:///srv/a", "git/file+/srv/a.bundle"),
            ("/srv/a", "git/path+/=/srv/a.bundle"),
            ("https://h/../~x/.git", "git/h/=2e=2e/=7ex/=2egit.bundle"),
            ("https://h/a.bundle/b", "git/h/a=2ebundle/b.bundle"),
            ("https://h", "git/h.bundle"),
        ] {
            assert_eq!(name(address), file, "{address}");
        }
    }

    #[test]
    fn no_two_addresses_have_one_file() {
        let addresses = [
            "https://h/a/b",
            "https://h/a/B",
            "https://h/A/b",
            "http://h/a/b",
            "ssh://h/a/b",
            "h:a/b",
            "h:/a/b",
            "https://h:1/a/b",
            "https://h/a/b.git",
            "https://h/a/b/",
            "https://h/a//b",
            "https://h/a/./b",
            "/h/a/b",
            "file:///h/a/b",
            "https://h/a%2fb",
            "https://h/a=2fb",
            "https://h/a!b",
            "https://h/a/b?c",
            "h/a/b",
            "https://h/a/b.bundle",
            "https://h/a/b.bundle/c",
            "https://ssh+h/a/b",
            "git://h/a/b",
        ];
        let names: HashSet<_> = addresses.iter().map(|address| name(address).to_lowercase()).collect();
        assert_eq!(names.len(), addresses.len());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "git/",
            "git/.bundle",
            "git/../x.bundle",
            "git/h/../../x.bundle",
            "git/h//x.bundle",
            "/git/h/x.bundle",
            "git/h/x",
            "git/H/x.bundle",
            "git/h/.x.bundle",
            "git/h/x\\y.bundle",
            "git/h/x y.bundle",
            "artifact/x.bundle",
            "git/a.bundle/b.bundle",
            "git/h/a./b.bundle",
            "git/h/\u{e9}.bundle",
            "git/h/a\n.bundle",
        ] {
            assert!(text.parse::<RepositoryFile>().is_err(), "{text:?}");
        }
        assert!(RepositoryFile::of(&format!("https://h/{}", "a".repeat(300))).is_err());
        assert!(RepositoryFile::of(&format!("https://h/{}", "a/".repeat(600))).is_err());
    }

    /// The address again, but for its user and password and the case of scheme and host.
    fn decode(file: &RepositoryFile) -> (String, Vec<Vec<u8>>) {
        let text = file.0.strip_prefix("git/").unwrap().strip_suffix(".bundle").unwrap();
        let mut parts = text.split('/');
        let first = parts.next().unwrap().to_owned();
        let plain = |part: &str| {
            let (mut bytes, mut rest) = (Vec::new(), part.bytes());
            while let Some(byte) = rest.next() {
                match byte {
                    b'!' => bytes.push(rest.next().unwrap().to_ascii_uppercase()),
                    b'=' => bytes.extend(
                        rest.next()
                            .zip(rest.next())
                            .map(|(a, b)| u8::from_str_radix(std::str::from_utf8(&[a, b]).unwrap(), 16).unwrap()),
                    ),
                    byte => bytes.push(byte),
                }
            }
            bytes
        };
        (first, parts.map(plain).collect())
    }

    proptest! {
        #[test]
        fn a_name_can_be_read_back(path in r"([/.A-Za-z0-9=!+~]|\.bundle|\.\.|\PC){0,30}") {
            let file = RepositoryFile::of(&format!("https://h/{path}")).unwrap();
            prop_assert_eq!(file.to_string().parse::<RepositoryFile>(), Ok(file.clone()));
            let parts: Vec<_> = path.trim_end().split('/').map(|part| part.as_bytes().to_vec()).collect();
            prop_assert_eq!(decode(&file), ("h".to_owned(), parts));
        }

        #[test]
        fn any_text_is_a_name_below_the_folder_or_none(address in r"(\PC|[/:@.+]|://|\.\.){0,40}") {
            if let Ok(file) = RepositoryFile::of(&address) {
                prop_assert!(file.relative_path().split('/').all(is_part));
            }
        }
    }
}
