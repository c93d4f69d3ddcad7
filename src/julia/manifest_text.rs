//! Writing a `Manifest.toml`, as Pkg does (`manifest.jl`, `destructure`).
//!
//! Format 2.0 for Julia from 1.7 on and 1.0 before: 1.6.0 cannot read 2.0, and 1.6.2 reads 1.0.
//! There is no `project_hash`: without it no Julia calls the manifest out of date.

use super::version::Version;
use crate::protocol::{TreeHash, Uuid};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One package of a manifest that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPackage {
    /// The package's name.
    pub name: String,
    /// The package's uuid.
    pub uuid: Uuid,
    /// The version; some standard libraries have none.
    pub version: Option<String>,
    /// The tree of the version; none for a standard library.
    pub tree: Option<TreeHash>,
    /// The file that is loaded, where the package says so; left out for Julia before 1.11.
    pub entryfile: Option<String>,
    /// What it depends on, by name.
    pub deps: BTreeMap<String, Uuid>,
    /// What it works with, by name; left out for Julia before 1.9, which does not know the key.
    pub weakdeps: BTreeMap<String, Uuid>,
    /// What its extensions need, by the name of the extension; likewise.
    pub extensions: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
struct File<'m> {
    julia_version: &'m str,
    manifest_format: &'m str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    deps: Entries<'m>,
}

type Entries<'m> = BTreeMap<&'m str, Vec<Entry<'m>>>;

/// Keys in Pkg's order; those that may be tables come last, for TOML wants that.
#[derive(Serialize)]
struct Entry<'m> {
    #[serde(rename = "git-tree-sha1", skip_serializing_if = "Option::is_none")]
    tree: Option<String>,
    uuid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    entryfile: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deps: Option<Names<'m>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weakdeps: Option<Names<'m>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: BTreeMap<&'m str, OneOrMore<'m>>,
}

/// Packages that an entry names.
#[derive(Serialize)]
#[serde(untagged)]
enum Names<'m> {
    /// Each is the only one of its name in the manifest.
    Plain(Vec<&'m str>),
    WithUuids(BTreeMap<&'m str, String>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum OneOrMore<'m> {
    One(&'m str),
    More(&'m [String]),
}

/// What Pkg writes above every manifest; some readers tell one by it.
pub(super) const MANIFEST_COMMENT: &str = "# This file is machine-generated - editing it directly is not advised";

/// The text of a manifest for a Julia. `julia_version` stands in it as it is given.
pub fn manifest_text(
    julia: &Version,
    julia_version: &str,
    packages: &[ManifestPackage],
) -> Result<String, toml::ser::Error> {
    let has_extensions = (julia.major, julia.minor) >= (1, 9);
    let has_entryfile = (julia.major, julia.minor) >= (1, 11);
    let mut uuids: BTreeMap<&str, BTreeSet<Uuid>> = BTreeMap::new();
    for package in packages {
        uuids.entry(&package.name).or_default().insert(package.uuid);
    }
    let mut deps = Entries::new();
    for package in packages {
        deps.entry(&package.name).or_default().push(Entry {
            tree: package.tree.map(|tree| tree.to_string()),
            uuid: package.uuid.to_string(),
            entryfile: package.entryfile.as_deref().filter(|_| has_entryfile),
            version: package.version.as_deref(),
            deps: names(&package.deps, &uuids),
            weakdeps: if has_extensions { names(&package.weakdeps, &uuids) } else { None },
            extensions: if has_extensions { extensions(package) } else { BTreeMap::new() },
        });
    }
    let text = if (julia.major, julia.minor) >= (1, 7) {
        toml::to_string(&File { julia_version, manifest_format: "2.0", deps })?
    } else {
        toml::to_string(&deps)?
    };
    Ok(format!("{MANIFEST_COMMENT}\n\n{text}"))
}

/// As a list where each name is that of one package of the manifest, else with uuids.
fn names<'m>(named: &'m BTreeMap<String, Uuid>, uuids: &BTreeMap<&str, BTreeSet<Uuid>>) -> Option<Names<'m>> {
    let is_plain = |(name, uuid): (&String, &Uuid)| {
        uuids.get(name.as_str()).is_some_and(|uuids| uuids.len() == 1 && uuids.contains(uuid))
    };
    if named.is_empty() {
        None
    } else if named.iter().all(is_plain) {
        Some(Names::Plain(named.keys().map(String::as_str).collect()))
    } else {
        Some(Names::WithUuids(named.iter().map(|(name, uuid)| (name.as_str(), uuid.to_string())).collect()))
    }
}

fn extensions(package: &ManifestPackage) -> BTreeMap<&str, OneOrMore<'_>> {
    let mut extensions = BTreeMap::new();
    for (name, needs) in &package.extensions {
        let needs = match needs.as_slice() {
            [only] => OneOrMore::One(only),
            more => OneOrMore::More(more),
        };
        extensions.insert(name.as_str(), needs);
    }
    extensions
}

#[cfg(test)]
mod tests {
    use super::super::{Manifest, Origin};
    use super::*;
    use proptest::prelude::*;

    const A: &str = "11111111-1111-1111-1111-111111111111";
    const B: &str = "22222222-2222-2222-2222-222222222222";
    const C: &str = "33333333-3333-3333-3333-333333333333";

    fn package(name: &str, uuid: &str, deps: &[(&str, &str)]) -> ManifestPackage {
        ManifestPackage {
            name: name.to_owned(),
            uuid: uuid.parse().unwrap(),
            version: Some("1.0.0".to_owned()),
            tree: Some("4".repeat(40).parse().unwrap()),
            entryfile: None,
            deps: deps.iter().map(|(name, uuid)| ((*name).to_owned(), uuid.parse().unwrap())).collect(),
            weakdeps: BTreeMap::new(),
            extensions: BTreeMap::new(),
        }
    }

    fn text(julia: &str, packages: &[ManifestPackage]) -> String {
        manifest_text(&julia.parse().unwrap(), julia, packages).unwrap()
    }

    #[test]
    fn a_manifest_looks_as_pkg_writes_it() {
        let mut app = package("App", A, &[("Dates", C), ("Lib", B)]);
        app.weakdeps = [("Lib".to_owned(), B.parse().unwrap())].into();
        app.extensions =
            [("One".to_owned(), vec!["Lib".into()]), ("Two".to_owned(), vec!["Lib".into(), "X".into()])].into();
        let dates = ManifestPackage { version: None, tree: None, ..package("Dates", C, &[]) };
        let expected = format!(
            "{MANIFEST_COMMENT}\n\njulia_version = \"1.10\"\nmanifest_format = \"2.0\"\n\n[[deps.App]]\n\
             git-tree-sha1 = \"{0}\"\nuuid = \"{A}\"\nversion = \"1.0.0\"\ndeps = [\"Dates\", \"Lib\"]\n\
             weakdeps = [\"Lib\"]\n\n[deps.App.extensions]\nOne = \"Lib\"\nTwo = [\"Lib\", \"X\"]\n\n\
             [[deps.Dates]]\nuuid = \"{C}\"\n\n[[deps.Lib]]\ngit-tree-sha1 = \"{0}\"\nuuid = \"{B}\"\nversion = \"1.0.0\"\n",
            "4".repeat(40)
        );
        assert_eq!(text("1.10", &[app.clone(), dates.clone(), package("Lib", B, &[])]), expected);
        let old = text("1.5.3", &[app, dates, package("Lib", B, &[])]);
        assert!(old.contains("\n[[App]]\n") && !old.contains("weakdeps") && !old.contains("manifest_format"), "{old}");
        let own = ManifestPackage { entryfile: Some("lib/App.jl".to_owned()), ..package("App", A, &[]) };
        let has_file = |julia| text(julia, std::slice::from_ref(&own)).contains("\nentryfile = \"lib/App.jl\"\n");
        assert_eq!(["1.10", "1.11"].map(has_file), [false, true]);
        let is_new = |julia| text(julia, &[package("Lib", B, &[])]).contains("manifest_format");
        assert_eq!(["1.6.7", "1.7.0"].map(is_new), [false, true]);
    }

    #[test]
    fn names_that_are_not_plain_come_with_uuids() {
        let mut app = package("App", A, &[("Lib", B)]);
        app.weakdeps = [("Absent".to_owned(), C.parse().unwrap())].into();
        let written = text("1.10", &[app, package("Lib", B, &[]), package("Lib", C, &[])]);
        assert!(written.contains(&format!("[deps.App.deps]\nLib = \"{B}\"")), "{written}");
        assert!(written.contains(&format!("[deps.App.weakdeps]\nAbsent = \"{C}\"")), "{written}");
    }

    #[test]
    fn an_empty_manifest_is_one_for_every_reader() {
        for julia in ["1.5.3", "1.11"] {
            assert_eq!(Manifest::parse(&text(julia, &[])).unwrap().entries, []);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            packages in proptest::collection::btree_map(r#"[A-Za-z0-9_"'\\.é\[-]{1,8}"#, (any::<u128>(), any::<bool>(), proptest::collection::vec(any::<prop::sample::Index>(), 0..4)), 1..8),
            julia in prop::sample::select(vec!["1.5.3", "1.6", "1.7.0", "1.10"]),
        ) {
            let uuid = |bits: u128| format!("{:08x}-0000-4000-8000-{:012x}", bits >> 96, bits & 0xffff_ffff_ffff);
            let all: Vec<_> = packages.iter().map(|(name, (bits, ..))| (name.clone(), uuid(*bits))).collect();
            let written: Vec<_> = packages.iter().map(|(name, (bits, is_shipped, deps))| {
                let deps: Vec<_> = deps.iter().map(|dep| dep.get(&all)).map(|(name, uuid)| (name.as_str(), uuid.as_str())).collect();
                let package = package(name, &uuid(*bits), &deps);
                if *is_shipped { ManifestPackage { tree: None, ..package } } else { package }
            }).collect();
            let read = Manifest::parse(&text(julia, &written)).unwrap();
            prop_assert_eq!(read.entries.len(), written.len());
            for (entry, package) in read.entries.iter().zip(&written) {
                prop_assert_eq!((&entry.name, entry.uuid, &entry.version), (&package.name, package.uuid, &package.version));
                let origin = package.tree.map_or(Origin::Unhashed, |tree| Origin::Registered { tree });
                prop_assert_eq!(&entry.origin, &origin);
            }
        }
    }
}
