//! Julia's version numbers, compared as Julia does.
//!
//! Not semver: the build part counts (`1.2.3+1` is newer than `1.2.3+0`, which is how JLL packages
//! number their builds), minor and patch may be left out, and an empty pre-release (`1.2-`) or
//! build (`1.2+`) is below or above all others (Julia `base/version.jl`).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A version: `1.2.3-rc1+4`. The default is 0.0.0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
    pre: Vec<Ident>,
    build: Vec<Ident>,
}

/// A part between dots. The order of the variants is their order as versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Ident {
    Empty,
    Number(u64),
    Text(String),
}

/// Not a version number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a version number such as 1.2.3 or 1.2.3-rc1+4")]
pub struct ParseVersionError;

impl Version {
    /// Whether this is a pre-release. Registries of packages hardly have any; Pkg's resolver treats one
    /// as any other version, below its release.
    pub fn is_prerelease(&self) -> bool {
        !self.pre.is_empty()
    }

    /// `1.2+`: above every build of 1.2.0.
    fn is_above_builds(&self) -> bool {
        self.build == [Ident::Empty]
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = (self.major, self.minor, self.patch).cmp(&(other.major, other.minor, other.patch));
        numbers
            .then_with(|| self.pre.is_empty().cmp(&other.pre.is_empty()))
            .then_with(|| self.pre.cmp(&other.pre))
            .then_with(|| self.is_above_builds().cmp(&other.is_above_builds()))
            .then_with(|| self.build.cmp(&other.build))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let (numbers, rest) = split_where(text, |c| !c.is_ascii_digit() && c != '.');
        let [major, minor, patch] = triple(numbers)?;
        let (pre, build) = match rest.split_once('+') {
            Some((pre, build)) => (pre, idents(build)?),
            None => (rest, Vec::new()),
        };
        if pre == "-" && rest.contains('+') {
            return Err(ParseVersionError);
        }
        Ok(Self { major, minor, patch, pre: prerelease(pre)?, build })
    }
}

fn triple(text: &str) -> Result<[u32; 3], ParseVersionError> {
    let mut numbers = [0; 3];
    for (index, part) in text.split('.').enumerate() {
        *numbers.get_mut(index).ok_or(ParseVersionError)? = part.parse().map_err(|_| ParseVersionError)?;
    }
    Ok(numbers)
}

/// With a hyphen anything goes; without one it starts with a letter (`1.2rc1`).
fn prerelease(text: &str) -> Result<Vec<Ident>, ParseVersionError> {
    match text.strip_prefix('-') {
        Some(text) => idents(text),
        None if text.is_empty() => Ok(Vec::new()),
        None if text.starts_with(|c: char| c.is_ascii_alphabetic()) => idents(text),
        None => Err(ParseVersionError),
    }
}

fn idents(text: &str) -> Result<Vec<Ident>, ParseVersionError> {
    match text {
        "" => Ok(vec![Ident::Empty]),
        _ => text.split('.').map(ident).collect(),
    }
}

fn ident(text: &str) -> Result<Ident, ParseVersionError> {
    let allowed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if text.is_empty() || !allowed {
        return Err(ParseVersionError);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Ident::Number).map_err(|_| ParseVersionError);
    }
    Ok(Ident::Text(text.to_owned()))
}

fn split_where(text: &str, at: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(at).unwrap_or(text.len()))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        write_idents(f, '-', &self.pre)?;
        write_idents(f, '+', &self.build)
    }
}

fn write_idents(f: &mut fmt::Formatter<'_>, mut separator: char, idents: &[Ident]) -> fmt::Result {
    for ident in idents {
        write!(f, "{separator}{ident}")?;
        separator = '.';
    }
    Ok(())
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn the_order_is_julias() {
        let ascending = [
            "0.9.9",
            "1.2-",
            "1.2.0-1",
            "1.2.0-2",
            "1.2.0-10",
            "1.2.0-alpha",
            "1.2.0-alpha.1",
            "1.2.0-rc1",
            "1.2",
            "1.2.0+0",
            "1.2.0+1",
            "1.2.0+10",
            "1.2.0+10.1",
            "1.2.0+a",
            "1.2.0+",
            "1.2.1-rc1",
            "1.2.1",
            "1.10",
            "2",
        ];
        for (index, low) in ascending.iter().enumerate() {
            for high in &ascending[index + 1..] {
                assert!(version(low) < version(high), "{low} < {high}");
            }
        }
    }

    #[test]
    fn short_forms_and_prefixes_are_the_same_version() {
        for (text, full) in
            [("1", "1.0.0"), ("v1.2", "1.2.0"), ("1.2rc1", "1.2.0-rc1"), ("1.02.3-01", "1.2.3-1"), ("0.5.1+", "0.5.1+")]
        {
            assert_eq!(version(text).to_string(), full);
        }
        assert!(version("1.2.3-DEV.5").is_prerelease() && !version("1.2.3+5").is_prerelease());
    }

    #[test]
    fn what_julia_refuses_is_refused() {
        for bad in [
            "",
            "v",
            "a",
            "1.",
            ".1",
            "1..2",
            "1.2.3.4",
            "1.2.3-a..b",
            "1.2.3+a.",
            "1.2-+",
            "1.2-+1",
            "1.2+1+2",
            "1.2 ",
            "1.2_3",
            "-1",
            "1.-1",
            "4294967296",
            "1.2.3+18446744073709551616",
            "1.2.é",
            "∞",
            "1.2.3-é",
        ] {
            assert_eq!(bad.parse::<Version>(), Err(ParseVersionError), "{bad}");
        }
        assert_eq!(version("1.2.3-rc1+").to_string(), "1.2.3-rc1+");
    }

    proptest! {
        #[test]
        fn every_version_is_read_as_it_is_written(
            text in r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}(-[a-z0-9-]{1,4}(\.[a-z0-9-]{1,4}){0,2})?(\+([0-9a-z]{1,3})?)?"
        ) {
            let version = version(&text);
            prop_assert_eq!(version.to_string().parse(), Ok(version));
        }

        #[test]
        fn nothing_panics(text in r"[0-9.a-z+v-]{0,12}|\PC{0,8}") {
            let _: Result<Version, _> = text.parse();
        }
    }
}
