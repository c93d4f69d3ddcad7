//! Which packages are standard libraries of which Julia.
//!
//! A manifest has no hash for a standard library, and none for a package that was one only for
//! the Julia that wrote it; this table tells the two apart. It covers Julia 1.0 to 1.13, and has what
//! the libraries depend on, since a manifest lists that too.

use super::version::Version;
use crate::protocol::Uuid;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

static FILE: LazyLock<File> = LazyLock::new(|| {
    // The file is part of the program; a test holds that it can be read.
    serde_json::from_str(include_str!("stdlibs.json")).unwrap_or_default()
});

#[derive(Deserialize, Default)]
struct File {
    julia_minors: Vec<String>,
    stdlibs: HashMap<Uuid, Stdlib>,
}

#[derive(Deserialize)]
struct Stdlib {
    name: String,
    /// By minor version of Julia (`1.10`).
    julia: HashMap<String, Option<String>>,
    /// The names of others, by minor version of Julia.
    deps: HashMap<String, Vec<String>>,
    #[serde(default)]
    weakdeps: HashMap<String, Vec<String>>,
    /// What extensions need, by their names, by minor version of Julia.
    #[serde(default)]
    extensions: HashMap<String, BTreeMap<String, Vec<String>>>,
}

/// Whether a Julia ships a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shipped {
    /// This Julia does not, or is not in the table.
    No,
    /// It does; the library has no version of its own, or none is known.
    Unversioned,
    /// It does, in this version.
    Version(&'static str),
}

/// Whether the table covers a Julia.
pub fn is_known(julia: &Version) -> bool {
    FILE.julia_minors.contains(&minor(julia))
}

/// The minor versions of Julia that the table covers, oldest first.
pub fn julias() -> &'static [String] {
    &FILE.julia_minors
}

/// Whether any Julia ships this package.
pub fn is_stdlib(uuid: Uuid) -> bool {
    FILE.stdlibs.contains_key(&uuid)
}

/// The name of a standard library.
pub fn name(uuid: Uuid) -> Option<&'static str> {
    FILE.stdlibs.get(&uuid).map(|stdlib| stdlib.name.as_str())
}

/// The standard library of this name.
pub fn of_name(name: &str) -> Option<Uuid> {
    FILE.stdlibs.iter().find(|(_, stdlib)| stdlib.name == name).map(|(uuid, _)| *uuid)
}

/// Whether any Julia ships a package of this name.
pub fn is_name(name: &str) -> bool {
    FILE.stdlibs.values().any(|stdlib| stdlib.name == name)
}

/// Whether the given Julia ships this package; only its minor version counts.
pub fn shipped(uuid: Uuid, julia: &Version) -> Shipped {
    match FILE.stdlibs.get(&uuid).and_then(|stdlib| stdlib.julia.get(&minor(julia))) {
        None => Shipped::No,
        Some(None) => Shipped::Unversioned,
        Some(Some(version)) => Shipped::Version(version),
    }
}

/// What a standard library of the given Julia depends on: others of the same Julia, by name.
pub fn deps(uuid: Uuid, julia: &Version) -> impl Iterator<Item = (&'static str, Uuid)> {
    named(FILE.stdlibs.get(&uuid).and_then(|stdlib| stdlib.deps.get(&minor(julia))))
}

/// What it extends if that is there: others of the same Julia, by name.
pub fn weak_deps(uuid: Uuid, julia: &Version) -> impl Iterator<Item = (&'static str, Uuid)> {
    named(FILE.stdlibs.get(&uuid).and_then(|stdlib| stdlib.weakdeps.get(&minor(julia))))
}

/// What its extensions need, by the name of the extension.
pub fn extensions(uuid: Uuid, julia: &Version) -> Option<&'static BTreeMap<String, Vec<String>>> {
    FILE.stdlibs.get(&uuid)?.extensions.get(&minor(julia))
}

fn named(names: Option<&'static Vec<String>>) -> impl Iterator<Item = (&'static str, Uuid)> {
    names.into_iter().flatten().filter_map(|name| Some((name.as_str(), of_name(name)?)))
}

fn minor(julia: &Version) -> String {
    format!("{}.{}", julia.major, julia.minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(text: &str) -> Uuid {
        text.parse().unwrap()
    }

    #[test]
    fn the_table_is_whole() {
        assert_eq!((FILE.stdlibs.len(), FILE.julia_minors.len()), (64, 14));
        assert!(FILE.stdlibs.values().all(|stdlib| !stdlib.name.is_empty() && !stdlib.julia.is_empty()));
        for (uuid, stdlib) in &FILE.stdlibs {
            for (minor, names) in stdlib.deps.iter().chain(&stdlib.weakdeps) {
                let julia: Version = minor.parse().unwrap();
                assert!(shipped(*uuid, &julia) != Shipped::No, "{} {minor}", stdlib.name);
                let found: Vec<_> = named(Some(names)).collect();
                assert_eq!(found.len(), names.len(), "{} {minor}", stdlib.name);
                let unshipped = found.iter().find(|(_, dep)| shipped(*dep, &julia) == Shipped::No);
                assert_eq!(unshipped, None, "{} {minor}", stdlib.name);
            }
        }
    }

    #[test]
    fn a_library_belongs_to_the_julias_that_ship_it() {
        let argtools = uuid("0dad84c5-d112-42e6-8d28-ef12dabb789f");
        let base64 = uuid("2a0f44e3-6c83-55bd-87e4-b1978d98bd5f");
        let example = uuid("7876af07-990d-54b4-ab0e-23690620f79a");
        assert_eq!((is_stdlib(argtools), name(argtools)), (true, Some("ArgTools")));
        assert_eq!((is_stdlib(example), name(example)), (false, None));
        assert!(is_name("ArgTools") && !is_name("Example"));
        let shipped = |uuid, julia: &str| shipped(uuid, &julia.parse().unwrap());
        assert_eq!(shipped(argtools, "1.5.4"), Shipped::No);
        assert_eq!(shipped(argtools, "1.10.2"), Shipped::Version("1.1.1"));
        assert_eq!(shipped(base64, "1.10.0-DEV.5"), Shipped::Unversioned);
        assert_eq!(shipped(example, "1.10"), Shipped::No);
        assert!(is_known(&"1.13.0".parse().unwrap()) && !is_known(&"1.14.0-DEV".parse().unwrap()));
    }

    #[test]
    fn a_library_depends_on_others_of_its_julia() {
        let pkg = uuid("44cfe95a-1eb2-52ea-b672-e2afdf69b78f");
        let names = |named: Vec<(&'static str, Uuid)>| named.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let (old, new) = ("1.5.3".parse().unwrap(), "1.12.1".parse().unwrap());
        assert!(names(deps(pkg, &old).collect()).contains(&"REPL"));
        assert!(!names(deps(pkg, &new).collect()).contains(&"REPL"));
        assert_eq!(names(weak_deps(pkg, &new).collect()), ["REPL"]);
        assert_eq!(extensions(pkg, &new).unwrap()["REPLExt"], ["REPL"]);
        assert_eq!(extensions(pkg, &old), None);
        assert_eq!(weak_deps(pkg, &old).count(), 0);
    }
}
