//! Ranges of versions as registries write them: `0.5`, `1.2-1`, `0.2-*`.
//!
//! Plain prefixes, neither semver nor caret: a bound counts as many numbers as it has, and only
//! major, minor and patch are compared (Pkg `Versions.jl`, `VersionBound` and `VersionRange`).

use super::version::Version;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// The versions between two bounds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    lower: Bound,
    upper: Bound,
}

/// The first `length` numbers of a version; the others are zero and do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    numbers: [u32; 3],
    length: usize,
}

/// Not a range of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a range of versions such as 1.2-1")]
pub struct ParseRangeError;

impl VersionRange {
    /// Between the first numbers of two versions; of more than three the rest does not count.
    pub(super) fn between(lower: &[u32], upper: &[u32]) -> Self {
        let bound = |given: &[u32]| {
            let mut bound = Bound::ANY;
            bound.numbers.iter_mut().zip(given).for_each(|(slot, number)| *slot = *number);
            Bound { length: given.len().min(bound.numbers.len()), ..bound }
        };
        Self::of(bound(lower), bound(upper))
    }

    /// Of one version written in two lengths the upper counts: 1.2-1.2.0 is 1.2.0 only.
    fn of(lower: Bound, upper: Bound) -> Self {
        Self { lower: if lower.numbers == upper.numbers { upper } else { lower }, upper }
    }

    /// Whether a version is in the range; its pre-release and build parts do not count.
    pub fn contains(&self, version: &Version) -> bool {
        let version = [version.major, version.minor, version.patch];
        self.lower.prefix() <= self.lower.prefix_of(&version) && self.upper.prefix_of(&version) <= self.upper.prefix()
    }

    /// For people: `1.2 to 1.x`.
    pub fn in_words(&self) -> String {
        let upper = match self.upper.length {
            3.. => self.upper.to_string(),
            _ => format!("{}.x", self.upper),
        };
        match (self.lower.length, self.upper.length) {
            _ if self.lower == self.upper => self.to_string(),
            (0, _) => format!("up to {upper}"),
            (_, 0) => format!("{} or newer", self.lower),
            _ => format!("{} to {upper}", self.lower),
        }
    }

    /// The positions of the versions that are in the range, of things in ascending order of their
    /// versions.
    pub fn positions<T>(&self, sorted: &[T], version: impl Fn(&T) -> &Version) -> Range<usize> {
        let numbers = |item: &T| {
            let version = version(item);
            [version.major, version.minor, version.patch]
        };
        let start = sorted.partition_point(|item| self.lower.prefix_of(&numbers(item)) < self.lower.prefix());
        let end = sorted.partition_point(|item| self.upper.prefix_of(&numbers(item)) <= self.upper.prefix());
        start..end.max(start)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lower == self.upper {
            return self.lower.fmt(f);
        }
        write!(f, "{}-{}", self.lower, self.upper)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix() {
            [] => f.write_str("*"),
            [first, rest @ ..] => {
                write!(f, "{first}")?;
                rest.iter().try_for_each(|number| write!(f, ".{number}"))
            }
        }
    }
}

impl Bound {
    const ANY: Self = Self { numbers: [0; 3], length: 0 };

    fn prefix(&self) -> &[u32] {
        self.prefix_of(&self.numbers)
    }

    fn prefix_of<'v>(&self, version: &'v [u32; 3]) -> &'v [u32] {
        version.get(..self.length).unwrap_or(version)
    }
}

impl FromStr for VersionRange {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (lower, upper): (&str, &str) = text.split_once('-').unwrap_or((text, text));
        let (lower, upper): (Bound, Bound) = (lower.parse()?, upper.parse()?);
        Ok(Self::of(lower, upper))
    }
}

impl FromStr for Bound {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        if text == "*" {
            return Ok(Self::ANY);
        }
        let mut bound = Self::ANY;
        for part in text.split('.') {
            let number = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten();
            *bound.numbers.get_mut(bound.length).ok_or(ParseRangeError)? = number.ok_or(ParseRangeError)?;
            bound.length += 1;
        }
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_plain_prefixes() {
        for (range, inside, outside) in [
            ("*", &["0.0.1", "99.9.9"][..], &[][..]),
            ("1", &["1.0.0", "1.99.9"], &["0.9.9", "2.0.0"]),
            ("0.5", &["0.5.0", "0.5.9+3"], &["0.4.9", "0.6.0"]),
            ("1.2.3", &["1.2.3", "1.2.3+7", "1.2.3-rc1"], &["1.2.2", "1.2.4"]),
            ("1.2-1", &["1.2.0", "1.99.0"], &["1.1.9", "2.0.0"]),
            ("0.5.3-0", &["0.5.3", "0.9.0"], &["0.5.2", "1.0.0"]),
            ("0.2 - *", &["0.2.0", "7.0.0"], &["0.1.9"]),
            ("*-1.2", &["0.0.0", "1.2.9"], &["1.3.0"]),
            (" v1.2 - v1.4 ", &["1.2.0", "1.4.9"], &["1.5.0"]),
            ("0-0.20.0", &["0.0.1", "0.20.0"], &["0.20.1"]),
            ("1.2-1.2.0", &["1.2.0"], &["1.2.1"]),
            ("1.2.0-1.2", &["1.2.0", "1.2.9"], &["1.1.9"]),
            ("0-0.0", &["0.0.9"], &["0.1.0"]),
            ("2-1", &[], &["1.0.0", "2.0.0"]),
        ] {
            let parsed: VersionRange = range.parse().unwrap_or_else(|_| panic!("{range}"));
            for version in inside {
                assert!(parsed.contains(&version.parse().unwrap()), "{version} in {range}");
            }
            for version in outside {
                assert!(!parsed.contains(&version.parse().unwrap()), "{version} not in {range}");
            }
        }
    }

    #[test]
    fn ranges_are_written_as_they_are_read_and_in_words() {
        for (range, written, words) in [
            ("*", "*", "*"),
            (" v1 ", "1", "1"),
            ("1.2-1", "1.2-1", "1.2 to 1.x"),
            ("0.2 - *", "0.2-*", "0.2 or newer"),
            ("*-1.2.3", "*-1.2.3", "up to 1.2.3"),
            ("1.2-1.2.0", "1.2.0", "1.2.0"),
        ] {
            let parsed: VersionRange = range.parse().unwrap();
            assert_eq!((parsed.to_string().as_str(), parsed.in_words().as_str()), (written, words), "{range}");
        }
    }

    #[test]
    fn what_pkg_refuses_is_refused() {
        for bad in ["", "-", "1-", "-1", "1.", ".1", "1.2.3.4", "^1", "1-2-3", "1.*", "a", "+1", "1 2", "4294967296"] {
            assert_eq!(bad.parse::<VersionRange>(), Err(ParseRangeError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_version_alone_is_a_range_of_itself(a in 0u32..9, b in 0u32..9, c in 0u32..9, x in 0u32..9) {
            let version = |patch: u32| format!("{a}.{b}.{patch}");
            let range: VersionRange = version(c).parse().unwrap();
            prop_assert!(range.contains(&version(c).parse().unwrap()));
            prop_assert_eq!(range.contains(&version(x).parse().unwrap()), x == c);
        }

        #[test]
        fn nothing_panics(text in r"[0-9.v* -]{0,12}|\PC{0,8}") {
            let _: Result<VersionRange, _> = text.parse();
        }
    }
}
