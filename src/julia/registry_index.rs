//! All packages and versions of a registry in a few megabytes, to give names to tree hashes and
//! tree hashes to versions.
//!
//! General has more than 100,000 versions, so nothing here is a heap object of its own: rows of
//! fixed size point into one long text.

use super::registry_builder::{RegistryError, RegistryIndexBuilder};
use crate::protocol::{TreeHash, Uuid};

/// The index of one registry at one tree.
#[derive(Debug, Clone)]
pub struct RegistryIndex {
    pub(super) name: String,
    pub(super) uuid: Uuid,
    pub(super) text: String,
    /// By uuid.
    pub(super) packages: Vec<PackageRow>,
    /// Those of one package are together.
    pub(super) versions: Vec<VersionRow>,
    /// Positions in `versions`, by tree.
    pub(super) by_tree: Vec<u32>,
    pub(super) problems: Vec<RegistryError>,
}

/// A part of the long text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    pub(super) start: u32,
    pub(super) len: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct PackageRow {
    pub(super) uuid: Uuid,
    pub(super) name: Slice,
    pub(super) path: Slice,
    pub(super) versions: Slice,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct VersionRow {
    pub(super) tree: TreeHash,
    pub(super) package: u32,
    pub(super) version: Slice,
    pub(super) yanked: bool,
}

/// A version that is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisteredVersion<'i> {
    /// The package's uuid.
    pub uuid: Uuid,
    /// The package's name.
    pub name: &'i str,
    /// The version, as the registry writes it.
    pub version: &'i str,
    /// The tree of the version.
    pub tree: TreeHash,
    /// Withdrawn: resolvers skip it, manifests may still name it.
    pub yanked: bool,
}

impl RegistryIndex {
    /// Builds the index from the files of a registry, in any order; files that it does not need
    /// are ignored.
    pub fn from_files<P: AsRef<str>, B: AsRef<[u8]>>(
        files: impl IntoIterator<Item = (P, B)>,
    ) -> Result<Self, RegistryError> {
        let mut builder = RegistryIndexBuilder::default();
        for (path, bytes) in files {
            builder.file(path.as_ref(), bytes.as_ref());
        }
        builder.finish()
    }

    /// The registry's name.
    pub fn registry_name(&self) -> &str {
        &self.name
    }

    /// The registry's uuid.
    pub fn registry_uuid(&self) -> Uuid {
        self.uuid
    }

    /// Files that could not be read; their packages have no versions here.
    pub fn problems(&self) -> &[RegistryError] {
        &self.problems
    }

    /// The packages, by uuid.
    pub fn packages(&self) -> impl ExactSizeIterator<Item = (Uuid, &str)> {
        self.packages.iter().map(|package| (package.uuid, self.text(package.name)))
    }

    /// How many versions there are, of all packages.
    pub fn version_count(&self) -> usize {
        self.versions.len()
    }

    /// The name of a package.
    pub fn name(&self, uuid: Uuid) -> Option<&str> {
        self.package(uuid).map(|package| self.text(package.name))
    }

    /// The folder of a package in the registry. Untrusted: to look up, not to open.
    pub fn path(&self, uuid: Uuid) -> Option<&str> {
        self.package(uuid).map(|package| self.text(package.path))
    }

    /// The versions of a package, oldest first.
    pub fn versions(&self, uuid: Uuid) -> impl DoubleEndedIterator<Item = RegisteredVersion<'_>> {
        self.version_rows(uuid).iter().filter_map(|row| self.registered(row))
    }

    /// The package and the tree of every version, those of one package together.
    pub fn trees(&self) -> impl Iterator<Item = (Uuid, TreeHash)> {
        let version = |row: &VersionRow| Some((self.packages.get(row.package as usize)?.uuid, row.tree));
        self.versions.iter().filter_map(version)
    }

    /// The tree of a version, yanked or not.
    pub fn lookup(&self, uuid: Uuid, version: &str) -> Option<TreeHash> {
        self.version_rows(uuid).iter().find(|row| self.text(row.version) == version).map(|row| row.tree)
    }

    /// The newest version of a package that has this tree; several versions may share one.
    pub fn version_at(&self, uuid: Uuid, tree: TreeHash) -> Option<RegisteredVersion<'_>> {
        self.at_tree(tree).filter(|version| version.uuid == uuid).last()
    }

    /// All versions that have this tree, of all packages: a package that changed its uuid may
    /// share its trees with its former self.
    pub fn at_tree(&self, tree: TreeHash) -> impl Iterator<Item = RegisteredVersion<'_>> {
        let start = self.by_tree.partition_point(|&row| self.row(row).is_some_and(|row| row.tree < tree));
        let rows = self.by_tree.get(start..).unwrap_or_default().iter().filter_map(|&row| self.row(row));
        rows.take_while(move |row| row.tree == tree).filter_map(|row| self.registered(row))
    }

    fn package(&self, uuid: Uuid) -> Option<&PackageRow> {
        let position = self.packages.binary_search_by_key(&uuid, |package| package.uuid).ok()?;
        self.packages.get(position)
    }

    fn version_rows(&self, uuid: Uuid) -> &[VersionRow] {
        let rows = self.package(uuid).and_then(|package| self.versions.get(package.versions.range()));
        rows.unwrap_or_default()
    }

    fn registered(&self, row: &VersionRow) -> Option<RegisteredVersion<'_>> {
        let package = self.packages.get(row.package as usize)?;
        Some(RegisteredVersion {
            uuid: package.uuid,
            name: self.text(package.name),
            version: self.text(row.version),
            tree: row.tree,
            yanked: row.yanked,
        })
    }

    pub(super) fn row(&self, position: u32) -> Option<&VersionRow> {
        self.versions.get(position as usize)
    }

    fn text(&self, slice: Slice) -> &str {
        self.text.get(slice.range()).unwrap_or_default()
    }
}

impl Slice {
    pub(super) fn new(start: usize, len: usize) -> Result<Self, RegistryError> {
        match (u32::try_from(start), u32::try_from(len)) {
            (Ok(start), Ok(len)) => Ok(Self { start, len }),
            _ => Err(RegistryError::TooBig),
        }
    }

    fn range(self) -> std::ops::Range<usize> {
        let start = self.start as usize;
        start..start.saturating_add(self.len as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::FormatError;
    use super::*;

    const OLD: &str = "11111111-1111-1111-1111-111111111111";
    const NEW: &str = "22222222-2222-2222-2222-222222222222";

    fn uuid(text: &str) -> Uuid {
        text.parse().unwrap()
    }

    fn tree(digit: char) -> TreeHash {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn registry() -> (String, String) {
        let packages = format!("{NEW}={{name='New',path='N/New'}}\n{OLD}={{name='Old',path='O/Old'}}");
        ("Registry.toml".into(), format!("name='R'\nuuid='{NEW}'\n[packages]\n{packages}\n"))
    }

    fn versions(folder: &str, versions: &[(&str, char)]) -> (String, String) {
        let lines = versions.iter().map(|(version, digit)| {
            let yanked = if *digit == 'f' { "yanked = true\n" } else { "" };
            format!("[\"{version}\"]\ngit-tree-sha1 = \"{}\"\n{yanked}\n", tree(*digit))
        });
        (format!("{folder}/Versions.toml"), lines.collect())
    }

    fn index(files: impl IntoIterator<Item = (String, String)>) -> RegistryIndex {
        RegistryIndex::from_files(files).unwrap()
    }

    fn sample() -> RegistryIndex {
        index([
            versions("N/New", &[("1.10.0", 'a'), ("1.9.0", 'b'), ("1.9.1", 'b'), ("1.9.1+1", 'f')]),
            versions("X/Unlisted", &[("1.0.0", 'e')]),
            registry(),
            ("N/New/Compat.toml".into(), "not toml".into()),
            versions("O/Old", &[("1.9.0", 'b')]),
        ])
    }

    #[test]
    fn hashes_and_versions_are_found_both_ways() {
        let index = sample();
        assert_eq!((index.registry_name(), index.registry_uuid(), index.version_count()), ("R", uuid(NEW), 5));
        assert_eq!(index.packages().map(|(_, name)| name).collect::<Vec<_>>(), ["Old", "New"]);
        assert_eq!((index.name(uuid(NEW)), index.path(uuid(NEW))), (Some("New"), Some("N/New")));
        assert_eq!(index.lookup(uuid(NEW), "1.10.0"), Some(tree('a')));
        assert_eq!(index.lookup(uuid(NEW), "1.9.1+1"), Some(tree('f')));
        assert_eq!(index.lookup(uuid(NEW), "2.0.0"), None);
        assert_eq!(index.lookup(uuid("33333333-3333-3333-3333-333333333333"), "1.9.0"), None);
        assert!(index.problems().is_empty());
    }

    #[test]
    fn versions_are_in_the_order_of_versions() {
        let index = sample();
        let versions: Vec<_> = index.versions(uuid(NEW)).map(|v| (v.version, v.yanked)).collect();
        assert_eq!(versions, [("1.9.0", false), ("1.9.1", false), ("1.9.1+1", true), ("1.10.0", false)]);
    }

    #[test]
    fn a_tree_may_belong_to_several_versions_and_packages() {
        let index = sample();
        let at = |uuid, tree| index.version_at(uuid, tree).map(|found| (found.name, found.version));
        assert_eq!(at(uuid(NEW), tree('b')), Some(("New", "1.9.1")));
        assert_eq!(at(uuid(NEW), tree('a')), Some(("New", "1.10.0")));
        assert_eq!(at(uuid(NEW), tree('f')), Some(("New", "1.9.1+1")));
        assert_eq!(at(uuid(OLD), tree('b')), Some(("Old", "1.9.0")));
        assert_eq!(at(uuid(OLD), tree('a')), None);
        assert_eq!(at(uuid(OLD), tree('e')), None);
        assert_eq!(index.at_tree(tree('b')).count(), 3);
        assert_eq!(index.at_tree(tree('9')).count(), 0);
    }

    #[test]
    fn one_broken_package_leaves_the_others() {
        let index = index([
            registry(),
            ("N/New/Versions.toml".into(), "[\"1.0\"]\ngit-tree-sha1='x'".into()),
            versions("O/Old", &[("1.9.0", 'b')]),
        ]);
        assert_eq!((index.version_count(), index.problems().len()), (1, 1));
        assert_eq!(index.name(uuid(NEW)), Some("New"));
        assert!(index.problems()[0].to_string().contains("N/New/Versions.toml"));
    }

    #[test]
    fn without_registry_toml_there_is_no_index() {
        let files = |files: &[(&str, &[u8])]| RegistryIndex::from_files(files.iter().copied()).unwrap_err();
        assert_eq!(files(&[("E/Registry.toml", b"")]), RegistryError::NoRegistryToml);
        assert_eq!(files(&[("Registry.toml", b"\xff")]), RegistryError::Encoding { path: "Registry.toml".into() });
        let error = files(&[("A/A/Versions.toml", b"x"), ("Registry.toml", b"\n\nname=")]);
        assert!(matches!(error, RegistryError::Format { source: FormatError { line: 3, .. }, .. }), "{error:?}");
    }
}
