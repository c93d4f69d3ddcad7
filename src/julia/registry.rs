//! The files of a registry: `Registry.toml`, and `Package.toml` and `Versions.toml` of each
//! package.

use super::error::FormatError;
use super::reader::{Document, Value};
use super::versions_toml::read_regular;
use crate::protocol::{TreeHash, Uuid};
use std::collections::BTreeMap;

/// `Registry.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryToml {
    /// The registry's name.
    pub name: String,
    /// The registry's uuid.
    pub uuid: Uuid,
    /// The git repository that it is published from.
    pub repo: Option<String>,
    /// Its packages.
    pub packages: BTreeMap<Uuid, PackageEntry>,
}

/// What `Registry.toml` says about a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageEntry {
    /// The package's name.
    pub name: String,
    /// Its folder, from the root of the registry. Untrusted: to look up, not to open.
    pub path: String,
}

/// `Package.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageToml {
    /// The package's name.
    pub name: String,
    /// The package's uuid.
    pub uuid: Uuid,
    /// The git repository with its sources.
    pub repo: Option<String>,
    /// The folder of that repository whose tree a version is.
    pub subdir: Option<String>,
}

/// A version in `Versions.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionEntry {
    /// The version, as written.
    pub version: String,
    /// The tree of the version.
    pub tree: TreeHash,
    /// Withdrawn: resolvers skip it, manifests may still name it.
    pub yanked: bool,
}

impl RegistryToml {
    /// Reads the file.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let document = Document::parse(text)?;
        let root = document.root();
        let packages = root.need("packages")?.table()?;
        Ok(Self {
            name: root.need("name")?.word()?.to_owned(),
            uuid: root.need("uuid")?.uuid()?,
            repo: root.string("repo")?,
            packages: packages.values().map(package_entry).collect::<Result<_, _>>()?,
        })
    }
}

fn package_entry(value: Value<'_>) -> Result<(Uuid, PackageEntry), FormatError> {
    let table = value.table()?;
    let name = table.need("name")?.word()?.to_owned();
    let path = table.need("path")?.str()?.to_owned();
    Ok((value.key_uuid()?, PackageEntry { name, path }))
}

impl PackageToml {
    /// Reads the file.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let document = Document::parse(text)?;
        let root = document.root();
        Ok(Self {
            name: root.need("name")?.word()?.to_owned(),
            uuid: root.need("uuid")?.uuid()?,
            repo: root.string("repo")?,
            subdir: root.string("subdir")?,
        })
    }
}

/// Reads a `Versions.toml`, in the order of the text of the versions.
pub fn parse_versions(text: &str) -> Result<Vec<VersionEntry>, FormatError> {
    read_regular(text).map_or_else(|| parse_versions_as_toml(text), Ok)
}

pub(super) fn parse_versions_as_toml(text: &str) -> Result<Vec<VersionEntry>, FormatError> {
    let document = Document::parse(text)?;
    document.root().values().map(version_entry).collect()
}

fn version_entry(value: Value<'_>) -> Result<VersionEntry, FormatError> {
    let table = value.table()?;
    let tree = table.need("git-tree-sha1")?.tree()?;
    Ok(VersionEntry { version: value.key_word()?.to_owned(), tree, yanked: table.flag("yanked")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "46e44e869b4d90b96bd8ed1fdcf32244fddfb6cc";
    const UUID: &str = "7876af07-990d-54b4-ab0e-23690620f79a";

    #[test]
    fn the_three_files_are_read() {
        let registry = RegistryToml::parse(&format!(
            "name='R'\nuuid='{UUID}'\nrepo='https://r.example/R.git'\ndescription='''\nx\n'''\n\
             [packages]\n{UUID} = {{ name = 'Example', path = 'E/Example' }}\n"
        ))
        .unwrap();
        assert_eq!((registry.name.as_str(), registry.repo.as_deref()), ("R", Some("https://r.example/R.git")));
        assert_eq!(registry.packages[&UUID.parse().unwrap()].path, "E/Example");
        let package =
            PackageToml::parse(&format!("name='E'\nuuid='{UUID}'\nsubdir='lib/E'\n[metadata.x]\ny=1")).unwrap();
        assert_eq!((package.repo, package.subdir.as_deref()), (None, Some("lib/E")));
        let versions = parse_versions(&format!(
            "[\"0.5.3\"]\ngit-tree-sha1='{TREE}'\nyanked=true\n['1.0.0']\ngit-tree-sha1='{TREE}'"
        ));
        let versions = versions.unwrap();
        assert_eq!(
            versions.iter().map(|v| (v.version.as_str(), v.yanked)).collect::<Vec<_>>(),
            [("0.5.3", true), ("1.0.0", false)]
        );
    }

    #[test]
    fn a_broken_line_is_named() {
        for (line, text) in [
            (2, format!("[\"1.0\"]\ngit-tree-sha1='{UUID}'")),
            (1, "[\"1.0\"]\n".into()),
            (3, format!("[\"1.0\"]\ngit-tree-sha1='{TREE}'\nyanked='yes'")),
            (2, format!("\n['1 .0']\ngit-tree-sha1='{TREE}'")),
            (3, format!("[\"1.0\"]\ngit-tree-sha1='{TREE}'\n[\"1.0\"]\ngit-tree-sha1='{TREE}'")),
            (1, "\"1.0\"=1".into()),
        ] {
            assert_eq!(parse_versions(&text).unwrap_err().line, line, "{text}");
        }
        let registry =
            |packages: &str| RegistryToml::parse(&format!("name='R'\nuuid='{UUID}'\n[packages]\n{packages}"));
        assert_eq!(registry("x={name='A',path='A'}").unwrap_err().line, 4);
        assert_eq!(registry(&format!("{UUID}={{name='A'}}")).unwrap_err().line, 4);
        assert_eq!(registry(&format!("{UUID}={{name='A B',path='A'}}")).unwrap_err().line, 4);
    }
}
