//! What all versions of a package depend on: `Deps.toml`, `Compat.toml` and, since Julia 1.9,
//! `WeakDeps.toml` and `WeakCompat.toml` of a registry.
//!
//! Sections are ranges of the package's own versions and may overlap; what a section names counts
//! for every version in its range (Pkg `registry_instance.jl`, `uncompress`). The files are read
//! once, whatever the number of versions that are looked at.

use super::error::{FormatError, Problem, quoted};
use super::range::VersionRange;
use super::reader::{Document, Value};
use super::version::Version;
use crate::protocol::Uuid;
use std::collections::BTreeMap;

/// What stands for Julia itself among the names in `Compat.toml`.
const JULIA: &str = "julia";

/// The dependencies of all versions of a package.
#[derive(Debug, Clone, Default)]
pub struct PackageDeps {
    deps: Vec<Section<Uuid>>,
    compat: Vec<Section<Vec<VersionRange>>>,
    weak_deps: Vec<Section<Uuid>>,
    weak_compat: Vec<Section<Vec<VersionRange>>>,
}

/// The text of the four files; empty where there is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct DepsFiles<'t> {
    /// `Deps.toml`.
    pub deps: &'t str,
    /// `Compat.toml`.
    pub compat: &'t str,
    /// `WeakDeps.toml`.
    pub weak_deps: &'t str,
    /// `WeakCompat.toml`.
    pub weak_compat: &'t str,
}

/// A dependency of one version, by a name that is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency<'d> {
    /// The package.
    pub uuid: Uuid,
    /// Of each of these a range must have the version; empty where any will do.
    pub compat: Vec<&'d [VersionRange]>,
    /// It need not be there; if it is, its version must suit.
    pub weak: bool,
}

#[derive(Debug, Clone)]
struct Section<T> {
    versions: VersionRange,
    named: Vec<(String, T)>,
}

impl PackageDeps {
    /// Reads the files. The error has the name of the file.
    pub fn parse(files: DepsFiles<'_>) -> Result<Self, (&'static str, FormatError)> {
        let named = |name| move |error| (name, error);
        Ok(Self {
            deps: sections(files.deps, uuid).map_err(named("Deps.toml"))?,
            compat: sections(files.compat, ranges).map_err(named("Compat.toml"))?,
            weak_deps: sections(files.weak_deps, uuid).map_err(named("WeakDeps.toml"))?,
            weak_compat: sections(files.weak_compat, ranges).map_err(named("WeakCompat.toml"))?,
        })
    }

    /// What a version depends on, by name. `weak` says whether weak dependencies count, as they do
    /// since Julia 1.9.
    pub fn of(&self, version: &Version, weak: bool) -> BTreeMap<&str, Dependency<'_>> {
        let mut named = BTreeMap::new();
        let weak_deps = self.weak_deps.iter().filter(|_| weak).map(|section| (section, true));
        // What stands in both files is a dependency for older Julias only.
        for (section, weak) in self.deps.iter().map(|section| (section, false)).chain(weak_deps) {
            if section.versions.contains(version) {
                let dependency = |&uuid| Dependency { uuid, compat: Vec::new(), weak };
                named.extend(section.named.iter().map(|(name, uuid)| (name.as_str(), dependency(uuid))));
            }
        }
        let weak_compat = self.weak_compat.iter().filter(|_| weak);
        for section in self.compat.iter().chain(weak_compat).filter(|section| section.versions.contains(version)) {
            for (name, ranges) in &section.named {
                if let Some(dependency) = named.get_mut(name.as_str()) {
                    dependency.compat.push(ranges);
                }
            }
        }
        named
    }

    /// Ranges of the package's versions, each with the versions of Julia that those run on.
    pub fn julia(&self) -> impl Iterator<Item = (VersionRange, &[VersionRange])> {
        self.compat.iter().flat_map(|section| {
            let julia = section.named.iter().filter(|(name, _)| name == JULIA);
            julia.map(|(_, ranges)| (section.versions, ranges.as_slice()))
        })
    }

    /// Of each of these things, in ascending order of their versions, whether its version does not run
    /// on a Julia.
    pub fn refused<T>(&self, julia: &Version, sorted: &[T], version: impl Fn(&T) -> &Version) -> Vec<bool> {
        // How many sections say so, as differences.
        let mut changes = vec![0i64; sorted.len() + 1];
        for (range, julias) in self.julia() {
            if !julias.iter().any(|range| range.contains(julia)) {
                let refused = range.positions(sorted, &version);
                for (at, change) in [(refused.start, 1), (refused.end, -1)] {
                    if let Some(count) = changes.get_mut(at) {
                        *count += change;
                    }
                }
            }
        }
        let mut count = 0;
        let sum = |change: &i64| {
            count += change;
            count > 0
        };
        changes.iter().take(sorted.len()).map(sum).collect()
    }

    /// The packages that any version depends on.
    pub fn all(&self) -> impl Iterator<Item = Uuid> {
        let sections = self.deps.iter().chain(&self.weak_deps);
        sections.flat_map(|section| section.named.iter().map(|(_, uuid)| *uuid))
    }

    /// How many sections [`Self::of`] looks at.
    pub fn sections(&self) -> usize {
        self.deps.len() + self.compat.len() + self.weak_deps.len() + self.weak_compat.len()
    }
}

fn uuid(value: Value<'_>) -> Result<Uuid, FormatError> {
    value.uuid()
}

fn ranges(value: Value<'_>) -> Result<Vec<VersionRange>, FormatError> {
    let range = |text: &str| text.parse().map_err(|_| value.error(Problem::Range(quoted(text))));
    value.strings()?.into_iter().map(range).collect()
}

fn sections<T>(text: &str, read: impl Fn(Value<'_>) -> Result<T, FormatError>) -> Result<Vec<Section<T>>, FormatError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let document = Document::parse(text)?;
    let section = |section: Value<'_>| {
        let key = section.key()?;
        let versions = key.parse().map_err(|_| section.error(Problem::Range(quoted(key))))?;
        let named = section.table()?.values().map(|value| Ok((value.key_word()?.to_owned(), read(value)?)));
        Ok(Section { versions, named: named.collect::<Result<_, _>>()? })
    };
    document.root().values().map(section).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "11111111-1111-1111-1111-111111111111";
    const B: &str = "22222222-2222-2222-2222-222222222222";

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn parse(deps: &str, compat: &str, weak_deps: &str, weak_compat: &str) -> Result<PackageDeps, &'static str> {
        PackageDeps::parse(DepsFiles { deps, compat, weak_deps, weak_compat }).map_err(|(file, _)| file)
    }

    #[test]
    fn sections_that_have_the_version_count_and_others_do_not() {
        let deps = format!("[0]\nA = '{A}'\n[\"0.5-1\"]\nB = '{B}'\n");
        let compat = "[0]\njulia = \"0.7\"\n[\"0.5-1\"]\nB = [\"1.2-1\", \"3\"]\njulia = \"1\"\n[2]\nB = \"9\"\n";
        let all = parse(&deps, compat, "", "").unwrap();
        let names = |text: &str| all.of(&version(text), true).into_keys().collect::<Vec<_>>();
        assert_eq!((names("0.1.0"), names("0.6.0"), names("2.0.0")), (vec!["A"], vec!["A", "B"], vec![]));
        let one = version("1.0.0");
        let of = all.of(&one, true);
        let accepts = |text: &str| of["B"].compat.iter().all(|any| any.iter().any(|it| it.contains(&version(text))));
        for (text, accepted) in [("1.2.0", true), ("1.1.9", false), ("2.0.0", false), ("3.9.0", true)] {
            assert_eq!(accepts(text), accepted, "{text}");
        }
        assert_eq!(all.julia().count(), 2);
    }

    #[test]
    fn weak_dependencies_count_only_where_julia_knows_them() {
        let all = parse(&format!("[1]\nA='{A}'"), "", &format!("[1]\nB='{B}'"), "[1]\nB='2'").unwrap();
        let one = version("1.0.0");
        let of = all.of(&one, true);
        assert_eq!((of["A"].weak, of["B"].weak, of["B"].compat.len()), (false, true, 1));
        assert_eq!(all.of(&one, false).len(), 1);
    }

    #[test]
    fn what_is_in_both_files_is_weak_where_julia_knows_that() {
        let all = parse(&format!("[1-2]\nA='{A}'"), "[1-2]\nA='1'", &format!("[2]\nA='{A}'"), "[2]\nA='1'").unwrap();
        let is_weak = |text: &str, weak| all.of(&version(text), weak)["A"].weak;
        assert_eq!([is_weak("1.0.0", true), is_weak("2.0.0", true), is_weak("2.0.0", false)], [false, true, false]);
    }

    #[test]
    fn what_is_broken_is_named() {
        assert_eq!(parse("[x]\nA='a'", "", "", "").unwrap_err(), "Deps.toml");
        assert_eq!(parse("[1]\nA='a'", "", "", "").unwrap_err(), "Deps.toml");
        assert_eq!(parse("", "[1]\nA=[1]", "", "").unwrap_err(), "Compat.toml");
        assert_eq!(parse("", "", "[1]\nA=1", "").unwrap_err(), "WeakDeps.toml");
        assert_eq!(parse("", "", "", "[1]\nA='^1'").unwrap_err(), "WeakCompat.toml");
    }
}
