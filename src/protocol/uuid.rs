//! Uuids of packages and registries.

use std::fmt;
use std::str::FromStr;

/// A uuid: 16 bytes, written in lowercase as 8-4-4-4-12 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(u128);

/// Not a uuid in lowercase 8-4-4-4-12 form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a uuid is 8-4-4-4-12 lowercase hexadecimal digits")]
pub struct ParseUuidError;

/// Julia's default registry. A client whose server does not list it clones it from GitHub
/// (Pkg `Registry.jl`, `download_default_registries`).
pub const GENERAL: Uuid = Uuid(0x2333_8594_aafe_5451_b93e_139f_8190_9106);

impl Uuid {
    /// The uuid of nothing (RFC 9562, 5.9).
    pub const NIL: Self = Self(0);

    /// From 16 random bytes: version 4 of RFC 9562.
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        let random = u128::from_be_bytes(bytes);
        Self(random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62)
    }

    /// As one number.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// Reads a uuid of either case, as hand-written TOML files may have it.
    pub fn from_any_case(text: &str) -> Result<Self, ParseUuidError> {
        text.to_ascii_lowercase().parse()
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 36 {
            return Err(ParseUuidError);
        }
        let mut value = 0u128;
        for (index, character) in text.bytes().enumerate() {
            let digit = match (index, character) {
                (8 | 13 | 18 | 23, b'-') => continue,
                (8 | 13 | 18 | 23, _) => return Err(ParseUuidError),
                (_, b'0'..=b'9') => character - b'0',
                (_, b'a'..=b'f') => character - b'a' + 10,
                _ => return Err(ParseUuidError),
            };
            value = value << 4 | u128::from(digit);
        }
        Ok(Self(value))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::serde_as_text!(Uuid);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowercase_with_hyphens_in_their_places() {
        let text = "23338594-aafe-5451-b93e-139f81909106";
        assert_eq!(text.parse(), Ok(GENERAL));
        assert_eq!(GENERAL.to_string(), text);
        for bad in [
            "",
            "23338594aafe5451b93e139f81909106",
            &text.to_uppercase(),
            &format!("{text} "),
            &text.replace('-', "0"),
            &text.replace('2', "-"),
        ] {
            assert_eq!(bad.parse::<Uuid>(), Err(ParseUuidError), "{bad}");
        }
    }
}
