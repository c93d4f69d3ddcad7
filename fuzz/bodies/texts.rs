//! Texts that come from outside.

use airlock::julia::{
    ArtifactsToml, FileKind, Manifest, MissList, PackageToml, Platform, Project, RegistryIndex, RegistryToml, Version,
    VersionRange, parse_compat, parse_versions,
};
use airlock::protocol::{Listing, RepositoryFile, Resource};
use airlock::resolve::{CatalogueBuilder, Question, Root, solve as solution};
use airlock::tree::{Limits, TarEntry, visit_files, write_tar_gz};
use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::Arc;

/// What was read and written must read back as it was.
fn round_trip<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().ok().as_ref(), Some(&value), "{text:?}");
    }
}

/// Any text, as every text that comes from outside: no panic, and what reads back must read back
/// the same.
pub(crate) fn formats(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Manifest::parse(text);
    let _ = Project::parse(text);
    let _ = ArtifactsToml::parse_leniently(text);
    let _ = RegistryToml::parse(text);
    let _ = PackageToml::parse(text);
    let _ = parse_versions(text);
    let _ = FileKind::sniff(text);
    // What is read strictly is all that is read leniently.
    if let Ok(strict) = ArtifactsToml::parse(text) {
        let (lenient, problems) = ArtifactsToml::parse_leniently(text);
        assert_eq!((strict.len(), problems.len()), (lenient.len(), 0));
    }
    round_trip::<Version>(text);
    round_trip::<VersionRange>(text);
    round_trip::<Platform>(text);
    let _ = parse_compat(text);
    if let Ok(listing) = Listing::parse(text) {
        assert_eq!(Listing::parse(&listing.to_string()), Ok(listing));
    }
    if let Ok(list) = MissList::parse(text) {
        assert_eq!(MissList::parse(&list.to_string()), Ok(list));
    }
}

/// Any text as the path of a request: only the one canonical form is a resource, and no path that
/// is one leads out of the cache.
pub(crate) fn paths(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(resource) = text.parse::<Resource>() {
        assert_eq!(resource.to_string(), text, "not the canonical form");
        let safe = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(text.split('/').skip(1).all(|part| !part.is_empty() && part.bytes().all(safe)), "{text:?}");
    }
    if let Ok(file) = text.parse::<RepositoryFile>() {
        assert_eq!(file.to_string().parse().as_ref(), Ok(&file));
        let path = file.relative_path();
        assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\0'), "{text:?}");
    }
}

/// A registry whose files are parts of any text, divided by lines of `---`: its index is the same
/// from the files and from a tarball of them.
pub(crate) fn registry(bytes: &[u8]) {
    const PATHS: [&str; 7] = [
        "Registry.toml",
        "E/Example/Package.toml",
        "E/Example/Versions.toml",
        "E/Example/Deps.toml",
        "E/Example/Compat.toml",
        "J/JSON/Package.toml",
        "J/JSON/Versions.toml",
    ];
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let files: Vec<_> = PATHS.into_iter().zip(text.split("\n---\n")).collect();
    let mut tarball = Vec::new();
    let entries = files.iter().map(|(path, text)| TarEntry::file(*path, text.as_bytes(), false));
    write_tar_gz(entries, &mut tarball, 1).expect("a vector takes all");
    let mut packed = BTreeMap::new();
    visit_files(tarball.as_slice(), &Limits::default(), &mut |path, bytes| _ = packed.insert(path.to_owned(), bytes))
        .expect("our own tarball");
    let rows = |index: RegistryIndex| {
        let mut packages: Vec<_> = index.packages().map(|(uuid, name)| (uuid, name.to_owned())).collect();
        packages.sort();
        let of = |uuid| index.versions(uuid).map(|it| (it.version.to_owned(), it.tree, it.yanked)).collect::<Vec<_>>();
        let versions: Vec<_> = packages.iter().map(|(uuid, _)| of(*uuid)).collect();
        (index.registry_uuid(), packages, versions)
    };
    let (plain, packed) = (RegistryIndex::from_files(files), RegistryIndex::from_files(packed));
    assert_eq!(plain.is_ok(), packed.is_ok());
    if let (Ok(plain), Ok(packed)) = (plain, packed) {
        for (uuid, tree) in plain.trees() {
            assert!(plain.version_at(uuid, tree).is_some(), "a tree that cannot be found again");
        }
        assert_eq!(rows(plain), rows(packed));
    }
}

/// Two packages by these uuids, which the text may name.
const REGISTRY: &[u8] = b"name = 'R'
uuid = '11111111-1111-1111-1111-111111111111'
[packages]
22222222-2222-2222-2222-222222222222 = { name = 'A', path = 'A' }
33333333-3333-3333-3333-333333333333 = { name = 'B', path = 'B' }
";

const FILES: [&str; 5] = ["Versions", "Deps", "Compat", "WeakDeps", "WeakCompat"];

/// A registry whose files are parts of any text, divided by lines of `---`, and a solution over it:
/// no panic, no hang.
pub(crate) fn solve(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut builder = CatalogueBuilder::default();
    builder.file("Registry.toml", REGISTRY.to_vec());
    let paths = ["A", "B"].iter().flat_map(|folder| FILES.map(|file| format!("{folder}/{file}.toml")));
    for (path, part) in paths.zip(text.split("\n---\n")) {
        builder.file(&path, part.as_bytes().to_vec());
    }
    let Ok(catalogue) = builder.finish() else { return };
    let Ok(uuid) = "22222222-2222-2222-2222-222222222222".parse() else { return };
    let ranges = parse_compat(text.lines().next().unwrap_or_default()).unwrap_or_default();
    let Ok(julia) = "1.10.2".parse() else { return };
    let question = Question::new(julia, vec![Root { uuid, ranges }]);
    if let Err(conflict) = solution(&[Arc::new(catalogue)], &question) {
        assert!(!conflict.to_string().is_empty());
    }
}
