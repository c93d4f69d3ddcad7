//! Signatures in minisign's own formats, so that `minisign -V` checks them and its keys serve here.

use minisign::{PError, PublicKey, SecretKey, SecretKeyBox, SignatureBox};
use std::fmt;
use std::io::Cursor;
use std::str::FromStr;

/// What tells keys apart, as minisign shows it: 16 uppercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u64);

/// A new pair of keys, as the texts of their files.
pub struct KeyPair {
    /// `STEM.key`: whoever has it, and its password, can sign.
    pub secret: String,
    /// `STEM.pub`
    pub public: String,
    /// The one line of the public key that a configuration takes: `RW…`.
    pub line: TrustedKey,
}

/// An open secret key.
pub struct SigningKey(SecretKey);

/// A public key whose signatures count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey(PublicKey);

/// What a signature is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Made with a trusted key over exactly these bytes.
    Trusted(KeyId),
    /// There is none.
    Unsigned,
    /// Made, as it says, with a key that nobody here trusts: it proves nothing.
    UnknownKey(KeyId),
    /// Not a signature, or not one of these bytes.
    Bad,
}

/// Why there are no keys or no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Not a public key.
    #[error("not a public key of minisign (RW and 54 characters more)")]
    PublicKey,
    /// Not a secret key.
    #[error("not a secret key of minisign")]
    SecretKey,
    /// The key is locked.
    #[error("the secret key has a password")]
    Locked,
    /// Another password.
    #[error("that is not the password of the secret key")]
    Password,
    /// The system gave no random bytes, or something of the kind.
    #[error("cannot sign: {0}")]
    Failed(#[from] PError),
}

/// Bytes of a signature's second line (algorithm, key, signature) and of its fourth, in Base64.
const LINE_LENGTHS: (usize, usize) = (100, 88);

impl KeyPair {
    /// A new pair; without a password whoever reads the secret file can sign.
    pub fn generate(password: Option<&str>) -> Result<Self, SignatureError> {
        let pair = match password {
            Some(password) => minisign::KeyPair::generate_encrypted_keypair(Some(password.to_owned()))?,
            None => minisign::KeyPair::generate_unencrypted_keypair()?,
        };
        let (secret, public) = (pair.sk.to_box(None)?.into_string(), pair.pk.to_box()?.into_string());
        Ok(Self { secret, public, line: TrustedKey(pair.pk) })
    }
}

impl SigningKey {
    /// Reads the text of a secret key file; a locked one needs its password.
    pub fn open(text: &str, password: Option<&str>) -> Result<Self, SignatureError> {
        let file = || SecretKeyBox::from(text.to_owned());
        // An unlocked key needs no password, whatever is said.
        if let Ok(key) = SecretKey::from_unencrypted_box(file()) {
            return Ok(Self(key));
        }
        if !text.lines().nth(1).is_some_and(|line| line.starts_with("RWRTY")) {
            return Err(SignatureError::SecretKey);
        }
        let password = password.ok_or(SignatureError::Locked)?;
        let opened = SecretKey::from_box(file(), Some(password.to_owned()));
        opened.map(Self).map_err(|error| match error.kind() {
            minisign::ErrorKind::Verify => SignatureError::Password,
            _ => SignatureError::SecretKey,
        })
    }

    /// The signature of some bytes, as the text of a `.minisig` file. The comment is signed too and
    /// must be one line.
    pub fn sign(&self, bytes: &[u8], comment: &str) -> Result<String, SignatureError> {
        let untrusted = format!("signature from airlock, key {}", self.id());
        let signature = minisign::sign(None, &self.0, bytes, Some(comment), Some(&untrusted))?;
        Ok(signature.into_string())
    }

    /// Which key.
    pub fn id(&self) -> KeyId {
        KeyId::of(self.0.keynum())
    }
}

impl TrustedKey {
    /// Reads the text of a `.pub` file: a comment, and the key.
    pub fn from_file_text(text: &str) -> Result<Self, SignatureError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.next_back().unwrap_or_default().parse()
    }

    /// Which key.
    pub fn id(&self) -> KeyId {
        KeyId::of(self.0.keynum())
    }
}

impl FromStr for TrustedKey {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = Some(text).filter(|text| text.starts_with("RW")).map(PublicKey::from_base64);
        key.and_then(Result::ok).map(Self).ok_or(SignatureError::PublicKey)
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_base64())
    }
}

/// What a signature is worth for these bytes. Signatures in minisign's old way, without a hash, are
/// bad: minisign itself has not made them for years.
pub fn verify(bytes: &[u8], signature: Option<&[u8]>, trusted: &[TrustedKey]) -> Verdict {
    let Some(signature) = signature else { return Verdict::Unsigned };
    let Some(signature) = read(signature) else { return Verdict::Bad };
    let id = KeyId::of(signature.keynum());
    let mut named = trusted.iter().filter(|key| key.id() == id).peekable();
    if named.peek().is_none() {
        return Verdict::UnknownKey(id);
    }
    let fits = |key: &TrustedKey| minisign::verify(&key.0, &signature, Cursor::new(bytes), true, false, false).is_ok();
    if named.any(fits) { Verdict::Trusted(id) } else { Verdict::Bad }
}

/// Reads a signature. The lengths are looked at first: the crate cuts the fourth line's bytes
/// without a look of its own.
fn read(signature: &[u8]) -> Option<SignatureBox> {
    let text = str::from_utf8(signature).ok()?;
    let mut lengths = text.lines().map(|line| line.trim().len());
    let (_, second, _, fourth) = (lengths.next()?, lengths.next()?, lengths.next()?, lengths.next()?);
    if (second, fourth) != LINE_LENGTHS {
        return None;
    }
    SignatureBox::from_string(text).ok()
}

impl KeyId {
    fn of(number: &[u8]) -> Self {
        Self(number.iter().rev().fold(0, |id, &byte| id << 8 | u64::from(byte)))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair() -> (SigningKey, TrustedKey) {
        let pair = KeyPair::generate(None).unwrap();
        (SigningKey::open(&pair.secret, None).unwrap(), TrustedKey::from_file_text(&pair.public).unwrap())
    }

    #[test]
    fn a_signature_counts_for_its_bytes_and_its_key_only() {
        let ((key, public), (_, other)) = (pair(), pair());
        let signature = key.sign(b"bytes", "bundle 1").unwrap();
        let verdict = |bytes: &[u8], keys: &[TrustedKey]| verify(bytes, Some(signature.as_bytes()), keys);
        assert_eq!(verdict(b"bytes", &[other.clone(), public.clone()]), Verdict::Trusted(public.id()));
        assert_eq!(verdict(b"bytez", std::slice::from_ref(&public)), Verdict::Bad);
        assert_eq!(verdict(b"bytes", &[other]), Verdict::UnknownKey(key.id()));
        assert_eq!(verdict(b"bytes", &[]), Verdict::UnknownKey(key.id()));
        assert_eq!(verify(b"bytes", None, &[public]), Verdict::Unsigned);
    }

    #[test]
    fn what_is_no_signature_is_bad_and_breaks_nothing() {
        let (key, public) = pair();
        let signature = key.sign(b"bytes", "bundle 1").unwrap();
        let lines: Vec<_> = signature.lines().collect();
        let cut = |line: usize, to: usize| {
            let mut lines = lines.clone();
            lines[line] = &lines[line][..to];
            lines.join("\n")
        };
        let other_comment = signature.replace("bundle 1", "bundle 2");
        for bad in [String::new(), "x".into(), cut(3, 0), cut(3, 40), cut(3, 84), cut(1, 96), cut(2, 3), other_comment]
        {
            assert_eq!(verify(b"bytes", Some(bad.as_bytes()), std::slice::from_ref(&public)), Verdict::Bad, "{bad:?}");
        }
        assert_eq!(verify(b"bytes", Some(b"\xff\n\n\n"), &[public]), Verdict::Bad);
    }

    #[test]
    fn a_locked_key_opens_with_its_password_only() {
        let pair = KeyPair::generate(Some("lantern")).unwrap();
        let open = |password| SigningKey::open(&pair.secret, password);
        assert_eq!(open(Some("lantern")).unwrap().id(), pair.line.id());
        assert!(matches!(open(Some("other")), Err(SignatureError::Password)));
        assert!(matches!(open(None), Err(SignatureError::Locked)));
        assert!(matches!(SigningKey::open(&pair.public, None), Err(SignatureError::SecretKey)));
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let pair = KeyPair::generate(None).unwrap();
        assert_eq!(TrustedKey::from_file_text(&pair.public).unwrap(), pair.line);
        assert_eq!(pair.line.to_string().parse::<TrustedKey>().unwrap(), pair.line);
        assert!(pair.public.contains(&pair.line.id().to_string()), "{}", pair.public);
        for bad in ["", "RW", "RWx", "untrusted comment: x", &pair.secret, &pair.line.to_string()[1..]] {
            assert!(matches!(bad.parse::<TrustedKey>(), Err(SignatureError::PublicKey)), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(
            first in ".{0,30}", second in "[A-Za-z0-9+/=]{98,101}", third in ".{0,30}", fourth in "[A-Za-z0-9+/=]{86,89}"
        ) {
            let text = format!("untrusted comment: {first}\n{second}\ntrusted comment: {third}\n{fourth}\n");
            let _ = verify(b"bytes", Some(text.as_bytes()), &[]);
            let _ = first.parse::<TrustedKey>();
            let _ = SigningKey::open(&text, None);
        }
    }
}
