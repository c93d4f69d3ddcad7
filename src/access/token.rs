//! Tokens: what is kept of them, and how one that is shown is found among them.

use super::Scope;
use crate::config::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// What every token begins with, so that people and scanners for leaked secrets recognise one.
pub const PREFIX: &str = "airlock_";

/// The format that this version writes and reads.
const FORMAT: u32 = 1;
/// Longest label, in characters.
const MAX_LABEL: usize = 64;
/// Digits of an id.
const ID: usize = 8;

/// What is kept of a token: never the token itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Eight hexadecimal digits: the first of the hash.
    pub id: String,
    /// What people call it; no two have the same.
    pub label: Label,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is good for nothing, if ever.
    pub expires: Option<Timestamp>,
    /// Of the whole token as it is shown.
    pub sha256: TokenHash,
    /// What it is good for.
    pub scopes: Vec<Scope>,
}

/// The SHA-256 of a token. Tokens are random, so no salt and no slow hash is needed.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

/// What people call a token, and what logs say of who has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Arc<str>);

/// All tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenList(Vec<Arc<Token>>);

/// What cannot be a list of tokens, or cannot be done with one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenListError {
    /// Not JSON, or not these keys.
    #[error("not a list of tokens: {0}")]
    Json(String),
    /// Another format.
    #[error("token format {0}, this airlock knows {FORMAT}: use the version that made it")]
    Format(u64),
    /// No label.
    #[error("{0:?} is no label: letters, digits and -_.@+, at most {MAX_LABEL}, and not like an id")]
    Label(String),
    /// Two tokens that are called the same, or are the same.
    #[error("there is a token {0} already")]
    Twice(String),
    /// A token that is good for nothing.
    #[error("the token {0} has no scope")]
    NoScope(String),
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<T> {
    airlock_tokens: u32,
    tokens: Vec<T>,
}

impl Token {
    /// A new token out of 256 random bits, and the text that is shown once.
    pub fn new(
        random: &[u8; 32],
        label: Label,
        scopes: Vec<Scope>,
        created: Timestamp,
        expires: Option<Timestamp>,
    ) -> (Self, Secret) {
        let shown = format!("{PREFIX}{}", hex(random));
        let sha256 = TokenHash::of(&shown);
        let id = hex(&sha256.0).get(..ID).unwrap_or_default().to_owned();
        (Self { id, label, created, expires, sha256, scopes }, Secret::new(shown))
    }

    /// Whether it is good for nothing any more.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl TokenHash {
    /// Of a token as it is shown.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hash)")
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hex(&hash.0)
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = "that is no SHA-256: 64 hexadecimal digits";
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong)?;
        }
        Ok(Self(bytes))
    }
}

impl Label {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = TokenListError;

    fn from_str(text: &str) -> Result<Self, TokenListError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@+".contains(&byte);
        let is_id = text.len() == ID && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.is_empty() || text.len() > MAX_LABEL || is_id || text.starts_with('-') || !text.bytes().all(plain) {
            return Err(TokenListError::Label(text.chars().take(MAX_LABEL).collect()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Label {
    type Error = TokenListError;

    fn try_from(text: String) -> Result<Self, TokenListError> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0.as_ref().to_owned()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TokenList {
    /// Reads a list. One entry that makes no sense makes the whole list useless: nobody can tell what it
    /// was meant to allow.
    pub fn parse(bytes: &[u8]) -> Result<Self, TokenListError> {
        #[derive(Deserialize)]
        struct Format {
            airlock_tokens: u64,
        }
        let json = |error: serde_json::Error| TokenListError::Json(error.to_string());
        let format: Format = serde_json::from_slice(bytes).map_err(json)?;
        if format.airlock_tokens != u64::from(FORMAT) {
            return Err(TokenListError::Format(format.airlock_tokens));
        }
        let file: File<Token> = serde_json::from_slice(bytes).map_err(json)?;
        let mut list = Self::default();
        file.tokens.into_iter().try_for_each(|token| list.add(token))?;
        Ok(list)
    }

    /// As it is kept.
    pub fn to_json(&self) -> Vec<u8> {
        let tokens = self.0.iter().map(AsRef::as_ref).collect::<Vec<&Token>>();
        let mut json = serde_json::to_vec_pretty(&File { airlock_tokens: FORMAT, tokens }).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// In the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Adds a token.
    pub fn add(&mut self, token: Token) -> Result<(), TokenListError> {
        let same = |known: &&Token| known.label == token.label || known.id == token.id || known.sha256 == token.sha256;
        if let Some(known) = self.iter().find(same) {
            return Err(TokenListError::Twice(known.label.to_string()));
        }
        if token.scopes.is_empty() {
            return Err(TokenListError::NoScope(token.label.to_string()));
        }
        self.0.push(Arc::new(token));
        Ok(())
    }

    /// Takes the token with this id or label out.
    pub fn remove(&mut self, which: &str) -> Option<Arc<Token>> {
        let at = self.0.iter().position(|token| token.id == which || token.label.as_str() == which)?;
        Some(self.0.remove(at))
    }

    /// The token that somebody shows, expired or not. How long this takes depends on how many tokens
    /// there are and on nothing else: hashes are compared whole, and all of them.
    pub fn find(&self, shown: &str) -> Option<&Arc<Token>> {
        let shown = TokenHash::of(shown);
        let mut found = Choice::from(0);
        let mut at = 0_u64;
        for (index, token) in (0_u64..).zip(&self.0) {
            let same = token.sha256.0.ct_eq(&shown.0);
            at.conditional_assign(&index, same);
            found |= same;
        }
        let at = usize::try_from(at).ok().filter(|_| found.into());
        at.and_then(|at| self.0.get(at))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
