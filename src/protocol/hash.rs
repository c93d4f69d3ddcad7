//! Git tree hashes: the names of everything a package server holds.

use std::fmt;
use std::str::FromStr;

/// A git SHA-1 of a tree, as `git-tree-sha1` in Julia's files: 20 bytes, written as 40 lowercase
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeHash([u8; 20]);

/// Not 40 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tree hash is 40 lowercase hexadecimal digits")]
pub struct ParseTreeHashError;

impl TreeHash {
    /// The tree without entries (`git hash-object -t tree /dev/null`).
    pub const EMPTY: Self = Self([
        0x4b, 0x82, 0x5d, 0xc6, 0x42, 0xcb, 0x6e, 0xb9, 0xa0, 0x60, 0xe5, 0x4b, 0xf8, 0xd6, 0x92, 0x88, 0xfb, 0xee,
        0x49, 0x04,
    ]);

    /// From the raw digest.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The raw digest, as it stands in git tree objects.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Reads 40 hexadecimal digits of either case, as hand-written TOML files may have them.
    pub fn from_hex_any_case(text: &str) -> Result<Self, ParseTreeHashError> {
        text.to_ascii_lowercase().parse()
    }
}

impl FromStr for TreeHash {
    type Err = ParseTreeHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: &[u8; 40] = text.as_bytes().try_into().map_err(|_| ParseTreeHashError)?;
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn digit(character: u8) -> Result<u8, ParseTreeHashError> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        _ => Err(ParseTreeHashError),
    }
}

impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::serde_as_text!(TreeHash);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forty_lowercase_digits_and_nothing_else() {
        let text = "ff7de6d04928785426b131bad7b2b1d785f2a8d7";
        assert_eq!(text.parse::<TreeHash>().unwrap().to_string(), text);
        for bad in
            ["", "ff7d", &text.to_uppercase(), &format!("{text}0"), &text.replace('f', "g"), &text.replace("ff", "é")]
        {
            assert_eq!(bad.parse::<TreeHash>(), Err(ParseTreeHashError), "{bad}");
        }
    }
}
