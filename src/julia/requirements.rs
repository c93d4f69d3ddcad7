//! What a version of a package depends on: `Deps.toml` and `Compat.toml` of a registry.
//!
//! Sections are ranges of the package's own versions and may overlap; what a section names counts
//! for every version in its range (Pkg `registry_instance.jl`, `uncompress`).

use super::error::{FormatError, Problem, quoted};
use super::range::VersionRange;
use super::reader::{Document, Value};
use super::version::Version;
use crate::protocol::Uuid;
use std::collections::BTreeMap;

/// What stands for Julia itself among the names in `Compat.toml`.
const JULIA: &str = "julia";

/// A dependency of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The package.
    pub uuid: Uuid,
    /// The versions of it that will do: those in any of these ranges. Empty where any will.
    pub ranges: Vec<VersionRange>,
}

impl Requirement {
    /// Whether a version of the package will do.
    pub fn accepts(&self, version: &Version) -> bool {
        accepts(&self.ranges, version)
    }
}

/// The dependencies of a version, from the two files of its package.
pub fn requirements(deps: &str, compat: &str, version: &Version) -> Result<Vec<Requirement>, FormatError> {
    let mut compat = ranges_by_name(compat, version)?;
    let deps = sections(deps, version, uuid)?;
    Ok(deps
        .into_iter()
        .map(|(name, uuid)| Requirement { uuid, ranges: compat.remove(&name).unwrap_or_default() })
        .collect())
}

/// The versions of Julia that a version runs on, from the `Compat.toml` of its package; empty where
/// it does not say.
pub fn julia_ranges(compat: &str, version: &Version) -> Result<Vec<VersionRange>, FormatError> {
    Ok(ranges_by_name(compat, version)?.remove(JULIA).unwrap_or_default())
}

/// Whether a version is in any of the ranges, or there are none.
pub(super) fn accepts(ranges: &[VersionRange], version: &Version) -> bool {
    ranges.is_empty() || ranges.iter().any(|range| range.contains(version))
}

fn ranges_by_name(compat: &str, version: &Version) -> Result<BTreeMap<String, Vec<VersionRange>>, FormatError> {
    sections(compat, version, |value| {
        let range = |text: &str| text.parse().map_err(|_| value.error(Problem::Range(quoted(text))));
        value.strings()?.into_iter().map(range).collect()
    })
}

fn uuid(value: Value<'_>) -> Result<Uuid, FormatError> {
    value.uuid()
}

/// What the sections whose range has the version say, by name.
fn sections<T>(
    text: &str,
    version: &Version,
    read: impl Fn(Value<'_>) -> Result<T, FormatError>,
) -> Result<BTreeMap<String, T>, FormatError> {
    let document = Document::parse(text)?;
    let mut named = BTreeMap::new();
    for section in document.root().values() {
        let key = section.key()?;
        let range: VersionRange = key.parse().map_err(|_| section.error(Problem::Range(quoted(key))))?;
        if range.contains(version) {
            for value in section.table()?.values() {
                named.insert(value.key_word()?.to_owned(), read(value)?);
            }
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "11111111-1111-1111-1111-111111111111";
    const B: &str = "22222222-2222-2222-2222-222222222222";

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn sections_that_have_the_version_count_and_others_do_not() {
        let deps = format!("[0]\nA = '{A}'\n[\"0.5-1\"]\nB = '{B}'\n");
        let compat = "[0]\njulia = \"0.7\"\n[\"0.5-1\"]\nB = [\"1.2-1\", \"3\"]\njulia = \"1\"\n[2]\nB = \"9\"\n";
        let of = |text: &str| requirements(&deps, compat, &version(text)).unwrap();
        assert_eq!(of("0.1.0").iter().map(|it| it.uuid.to_string()).collect::<Vec<_>>(), [A]);
        assert_eq!(of("0.6.0").len(), 2);
        let [b] = <[Requirement; 1]>::try_from(of("1.0.0")).unwrap();
        for (text, accepted) in [("1.2.0", true), ("1.1.9", false), ("2.0.0", false), ("3.9.0", true)] {
            assert_eq!(b.accepts(&version(text)), accepted, "{text}");
        }
        assert_eq!(of("2.0.0"), []);
        assert_eq!(julia_ranges(compat, &version("1.0.0")).unwrap(), ["1".parse().unwrap()]);
        assert_eq!(julia_ranges(compat, &version("2.0.0")).unwrap(), []);
    }

    #[test]
    fn what_is_broken_is_named() {
        for (deps, compat) in
            [("[x]\nA='a'", ""), ("[1]\nA='a'", ""), ("[1]\nA=1", ""), ("", "[1]\nA=[1]"), ("", "[1]\nA='^1'")]
        {
            assert!(requirements(deps, compat, &version("1.0.0")).is_err(), "{deps} {compat}");
        }
    }
}
