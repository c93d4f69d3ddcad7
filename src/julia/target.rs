//! The Julia that versions are chosen for, as people name it.

use super::stdlib;
use super::version::Version;
use std::fmt;
use std::str::FromStr;

/// A Julia to choose versions for: `1.10`, its newest patch, or `1.10.4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JuliaTarget {
    text: String,
    version: Version,
}

/// Not a Julia that versions can be chosen for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JuliaTargetError {
    /// Not a version.
    #[error("{0:?} is not a version of Julia such as 1.10 or 1.10.4")]
    Version(String),
    /// Nobody here knows what comes with it.
    #[error(
        "Julia {0} is not known here: choosing versions takes a list of its standard libraries, and there is one for 1.0 to 1.13"
    )]
    Unknown(String),
}

/// The last patches of the series that get no more. Some packages say in their compat that they run
/// up to one of them.
const LAST_PATCHES: [u32; 10] = [5, 1, 0, 1, 2, 4, 7, 3, 5, 4];
/// Above each patch of the series that still get some.
const ANY_PATCH: u32 = 99;

impl JuliaTarget {
    /// The version that compat entries are compared with.
    pub const fn version(&self) -> &Version {
        &self.version
    }

    /// The first patch of the series, where one was named that still gets some: nobody said which of
    /// them will run.
    pub fn first_patch(&self) -> Option<Version> {
        let mut first = self.version.clone();
        first.patch = 0;
        (self.version.patch == ANY_PATCH).then_some(first)
    }
}

impl FromStr for JuliaTarget {
    type Err = JuliaTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown: String = text.chars().take(40).collect();
        let wrong = || JuliaTargetError::Version(shown.clone());
        let mut version: Version = text.parse().map_err(|_| wrong())?;
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        match text.split('.').count() {
            1 => return Err(wrong()),
            2 if version.is_prerelease() => return Err(wrong()),
            2 => {
                let last = (version.major == 1).then(|| LAST_PATCHES.get(version.minor as usize)).flatten();
                version.patch = last.copied().unwrap_or(ANY_PATCH);
            }
            _ => {}
        }
        if !stdlib::is_known(&version) {
            return Err(JuliaTargetError::Unknown(shown));
        }
        Ok(Self { text: text.to_owned(), version })
    }
}

impl fmt::Display for JuliaTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_its_newest_patch() {
        for (text, version, shown) in [
            ("1.8", "1.8.5", "1.8"),
            ("1.10", "1.10.99", "1.10"),
            ("v1.10.4", "1.10.4", "1.10.4"),
            ("1.12.0-rc1", "1.12.0-rc1", "1.12.0-rc1"),
        ] {
            let target: JuliaTarget = text.parse().unwrap();
            assert_eq!((target.version(), target.to_string().as_str()), (&version.parse().unwrap(), shown), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_chosen_for_is_refused() {
        for text in ["", "1", "latest", "1.10.x", "1.10-rc1"] {
            assert!(matches!(text.parse::<JuliaTarget>(), Err(JuliaTargetError::Version(_))), "{text}");
        }
        for text in ["1.99", "0.6.4", "2.0"] {
            assert!(matches!(text.parse::<JuliaTarget>(), Err(JuliaTargetError::Unknown(_))), "{text}");
        }
    }
}
