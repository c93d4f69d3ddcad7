//! What only the one it is for may see: tokens, keys, and addresses with passwords in them.

use super::{TokenFrom, Upstream};
use std::fmt;
use std::path::{Path, PathBuf};

/// A text that is shown to nobody: not in a log, not in an error, not with `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// What an upstream wants to see of this mirror, and this mirror of it, as its files have it.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The bearer token.
    pub token: Option<Secret>,
    /// Certificate authorities that are trusted too (PEM).
    pub authorities: Option<String>,
    /// The client's certificate and its key (PEM); the same text if they are in one file.
    pub identity: Option<(String, Secret)>,
}

/// A secret that cannot be had. Names where it should be, never what is there.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A file that cannot be read. The error names it.
    #[error("{0}")]
    Read(#[source] std::io::Error),
    /// An environment variable that is not set.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// Nothing but white space.
    #[error("there is no token in {0}")]
    Empty(String),
    /// Something that no header can carry.
    #[error("{0} has more than a token in it: a token is one word of printable ASCII")]
    NoToken(String),
}

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one it is for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl TokenFrom {
    /// Reads the token. Blocks.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let text = match self {
            Self::File(file) => read(file)?,
            Self::Environment(name) => {
                let value = std::env::var_os(name).ok_or_else(|| SecretError::Unset(name.clone()))?;
                value.to_string_lossy().into_owned()
            }
        };
        self.parse(&text)
    }

    fn parse(&self, text: &str) -> Result<Secret, SecretError> {
        match text.trim() {
            "" => Err(SecretError::Empty(self.to_string())),
            token if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(token)),
            _ => Err(SecretError::NoToken(self.to_string())),
        }
    }
}

impl fmt::Display for TokenFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
        }
    }
}

impl Upstream {
    /// Reads what the files and the environment have for it. Blocks.
    pub fn credentials(&self) -> Result<Credentials, SecretError> {
        let file = |path: &PathBuf| read(path);
        let identity = self.client_certificate.as_ref().map(|(certificate, key)| {
            let pem = read(certificate)?;
            let key = if key == certificate { pem.clone() } else { read(key)? };
            Ok((pem, Secret::new(key)))
        });
        Ok(Credentials {
            token: self.token.as_ref().map(TokenFrom::read).transpose()?,
            authorities: self.ca_file.as_ref().map(file).transpose()?,
            identity: identity.transpose()?,
        })
    }
}

/// Lossy: what is not text is no token and no PEM either, and is refused as such.
pub(super) fn read(file: &Path) -> Result<String, SecretError> {
    let bytes = fs_err::read(file).map_err(SecretError::Read)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", Secret::new("word")).contains("word"));
        let identity = Some(("certificate".to_owned(), Secret::new("word")));
        let all = Credentials { token: Some(Secret::new("word")), identity, ..Credentials::default() };
        assert!(!format!("{all:?}").contains("word"));
    }

    #[test]
    fn a_token_is_one_word() {
        let from = TokenFrom::Environment("T".to_owned());
        assert_eq!(from.parse(" abc.DEF-1=\r\n").unwrap().expose(), "abc.DEF-1=");
        assert!(matches!(from.parse(" \n"), Err(SecretError::Empty(_))));
        for bad in ["two words", "two\nlines", "caf\u{e9}", "nul\0"] {
            let error = from.parse(bad).unwrap_err();
            assert!(matches!(error, SecretError::NoToken(_)), "{bad}");
            assert!(!error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = TokenFrom::File("nothere.token".into()).read().unwrap_err();
        assert!(error.to_string().contains("nothere.token"), "{error}");
        let error = TokenFrom::Environment("AIRLOCK_NO_SUCH_VARIABLE".to_owned()).read().unwrap_err();
        assert!(error.to_string().contains("AIRLOCK_NO_SUCH_VARIABLE"), "{error}");
    }
}
