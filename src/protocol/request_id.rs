//! The id of a request: one word that stands in every log line of it, here and at the next airlock.

use std::fmt;
use std::str::FromStr;

/// Longest id, in bytes: a uuid and the ids of the usual proxies fit.
const MAX: usize = 64;

/// What goes with a request from hop to hop (`X-Request-Id`): 1 to 64 ASCII letters, digits, `-`,
/// `_` and `.`, so that it can stand in any log line as it is. Copied about freely.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId {
    bytes: [u8; MAX],
    length: u8,
}

/// No id of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to {MAX} letters, digits, '-', '_' and '.'")]
pub struct ParseRequestIdError;

impl RequestId {
    /// The name of the header that carries it.
    pub const HEADER: &'static str = "x-request-id";

    /// As 16 hexadecimal digits.
    pub fn from_number(number: u64) -> Self {
        let mut bytes = [0; MAX];
        for (place, byte) in bytes.iter_mut().take(16).enumerate() {
            let digit = number >> (60 - 4 * place) & 0xf;
            *byte = b"0123456789abcdef"[usize::try_from(digit).unwrap_or_default()];
        }
        Self { bytes, length: 16 }
    }

    /// The id itself.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl FromStr for RequestId {
    type Err = ParseRequestIdError;

    fn from_str(text: &str) -> Result<Self, ParseRequestIdError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > MAX || !text.bytes().all(plain) {
            return Err(ParseRequestIdError);
        }
        let mut bytes = [0; MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: u8::try_from(text.len()).map_err(|_| ParseRequestIdError)? })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

super::serde_as_text!(RequestId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_16_digits() {
        assert_eq!(RequestId::from_number(0x0123_4567_89ab_cdef).as_str(), "0123456789abcdef");
        assert_eq!(RequestId::from_number(0).as_str(), "0000000000000000");
    }

    #[test]
    fn only_short_plain_words_are_ids() {
        for good in ["a", "0", "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "a.b_c", &"x".repeat(64)] {
            assert_eq!(good.parse::<RequestId>().unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a\nb", "a\"b", "ä", "a=b", "a/b", "a\u{0}", &"x".repeat(65)] {
            assert_eq!(bad.parse::<RequestId>(), Err(ParseRequestIdError), "{bad:?}");
        }
    }
}
