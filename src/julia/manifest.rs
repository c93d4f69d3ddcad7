//! `Manifest.toml`: the exact versions of an environment.
//!
//! Formats 1.0 (Julia up to 1.6: entries at the top level), 2.0 (`[[deps.Name]]`) and 2.1; newer
//! ones are read as 2.x with a warning, as Pkg does (`manifest.jl`, `validate_manifest`). Only
//! what decides where a package comes from is read: `deps`, `extensions`, `apps` and keys that
//! nobody knows yet may look as they like.

use super::error::FormatError;
use super::reader::{Document, Table, Value};
use crate::protocol::{TreeHash, Uuid};

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `manifest_format`, `1.0` where there is none.
    pub format: String,
    /// The Julia that wrote it; unknown for format 1.0.
    pub julia_version: Option<String>,
    /// The packages, in the order of their names. One name may stand for several uuids.
    pub entries: Vec<ManifestEntry>,
    /// The registries that they come from; written by Julia 1.13 and later.
    pub registries: Vec<ManifestRegistry>,
    /// What the reader is not sure of, one line each.
    pub warnings: Vec<String>,
}

/// A registry that a manifest names (format 2.1). Julia 1.13 and later add it before anything else:
/// from the package server if that lists it, else as a clone of its address (Pkg `Operations.jl`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRegistry {
    /// What the manifest calls it.
    pub name: String,
    /// The registry's uuid.
    pub uuid: Uuid,
    /// The git repository to clone.
    pub url: Option<String>,
}

/// One package of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// The package's name.
    pub name: String,
    /// The package's uuid.
    pub uuid: Uuid,
    /// The version; standard libraries often have none.
    pub version: Option<String>,
    /// Where Pkg takes it from.
    pub origin: Origin,
}

/// Where Pkg takes a package from (Pkg `Types.jl`, `tracking_registered_version`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A registered version: what a package server is asked for.
    Registered {
        /// The tree of the version.
        tree: TreeHash,
    },
    /// A git repository (`add URL`): package servers are never asked for it.
    Git {
        /// Where it is cloned from.
        repo_url: String,
        /// The branch, tag or commit that was asked for.
        repo_rev: Option<String>,
        /// The tree that is checked out.
        tree: Option<TreeHash>,
    },
    /// A folder of the machine that wrote the manifest (`develop`).
    Path {
        /// The folder, relative to the manifest or absolute.
        path: String,
        /// Not used by Pkg; some hand-written manifests have it.
        tree: Option<TreeHash>,
    },
    /// No hash: a standard library, or a package that was one for the Julia that wrote this.
    Unhashed,
}

impl Manifest {
    /// Reads a manifest. An empty text is an empty manifest of format 1.0.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let document = Document::parse(text)?;
        let root = document.root();
        match format(root)? {
            Some(format) => Self::new(format, root),
            None => Ok(Self::empty("1.0", entries(root)?)),
        }
    }

    fn new(format: &str, root: Table<'_>) -> Result<Self, FormatError> {
        let deps = root.get("deps").map(|deps| entries(deps.table()?)).transpose()?;
        let mut manifest = Self::empty(format, deps.unwrap_or_default());
        let registries = root.get("registries").map(Value::table).transpose()?;
        manifest.registries = registries.into_iter().flat_map(Table::values).map(registry).collect::<Result<_, _>>()?;
        manifest.julia_version = root.get("julia_version").map(Value::word).transpose()?.map(str::to_owned);
        if !matches!(format, "2.0" | "2.1") {
            manifest.warnings.push(format!("manifest format {format} is not known here; read as 2.1"));
        }
        Ok(manifest)
    }

    fn empty(format: &str, entries: Vec<ManifestEntry>) -> Self {
        Self { format: format.to_owned(), julia_version: None, entries, registries: Vec::new(), warnings: Vec::new() }
    }
}

/// The format, or `None` for 1.0. A table or an array under the key is a package of that name.
pub(super) fn format(root: Table<'_>) -> Result<Option<&str>, FormatError> {
    match root.get("manifest_format") {
        Some(value) if !value.is_table() && !value.is_array() => value.word().map(Some),
        _ => Ok(None),
    }
}

fn registry(value: Value<'_>) -> Result<ManifestRegistry, FormatError> {
    let table = value.table()?;
    let uuid = table.need("uuid")?.uuid()?;
    Ok(ManifestRegistry { name: value.key_word()?.to_owned(), uuid, url: table.string("url")? })
}

fn entries(packages: Table<'_>) -> Result<Vec<ManifestEntry>, FormatError> {
    let mut entries = Vec::new();
    for package in packages.values() {
        let name = package.key_word()?;
        for table in package.tables()? {
            entries.push(entry(name, table)?);
        }
    }
    Ok(entries)
}

fn entry(name: &str, table: Table<'_>) -> Result<ManifestEntry, FormatError> {
    Ok(ManifestEntry {
        name: name.to_owned(),
        uuid: table.need("uuid")?.uuid()?,
        version: table.get("version").map(Value::word).transpose()?.map(str::to_owned),
        origin: origin(table)?,
    })
}

fn origin(table: Table<'_>) -> Result<Origin, FormatError> {
    let tree = table.tree("git-tree-sha1")?;
    let repo_rev = table.string("repo-rev")?;
    Ok(match (table.string("path")?, table.string("repo-url")?, tree) {
        (Some(path), _, tree) => Origin::Path { path, tree },
        (None, Some(repo_url), tree) => Origin::Git { repo_url, repo_rev, tree },
        (None, None, Some(tree)) => Origin::Registered { tree },
        (None, None, None) => Origin::Unhashed,
    })
}

#[cfg(test)]
mod tests {
    use super::super::error::Problem;
    use super::*;
    use proptest::prelude::*;

    const UUID: &str = "7876af07-990d-54b4-ab0e-23690620f79a";
    const TREE: &str = "46e44e869b4d90b96bd8ed1fdcf32244fddfb6cc";

    fn origins(manifest: &Manifest) -> Vec<(&str, &Origin)> {
        manifest.entries.iter().map(|entry| (entry.name.as_str(), &entry.origin)).collect()
    }

    #[test]
    fn every_kind_of_entry_has_its_origin() {
        let manifest = Manifest::parse(&format!(
            "julia_version = \"1.13.0\"\nmanifest_format = \"2.1\"\nproject_hash = \"x\"\n\
             [registries.General]\nuuid = \"{UUID}\"\nurl = \"https://h/G.git\"\n\
             [[deps.Dates]]\ndeps = [\"Printf\"]\nuuid = \"{UUID}\"\n\
             [[deps.Dev]]\npath = \"../Dev\"\nrepo-url = \"https://h/D.git\"\nuuid = \"{UUID}\"\ngit-tree-sha1 = \"{TREE}\"\n\
             [[deps.Example]]\ngit-tree-sha1 = \"{}\"\nuuid = \"{}\"\nversion = \"0.5.1+\"\nregistries = \"General\"\n\
             [deps.Example.deps]\nA = \"{UUID}\"\n\
             [[deps.Git]]\nrepo-url = \"https://h/G.git\"\nrepo-rev = \"main\"\nuuid = \"{UUID}\"\n",
            TREE.to_uppercase(),
            UUID.to_uppercase()
        ))
        .unwrap();
        let tree: TreeHash = TREE.parse().unwrap();
        assert_eq!(
            origins(&manifest),
            [
                ("Dates", &Origin::Unhashed),
                ("Dev", &Origin::Path { path: "../Dev".into(), tree: Some(tree) }),
                ("Example", &Origin::Registered { tree }),
                ("Git", &Origin::Git { repo_url: "https://h/G.git".into(), repo_rev: Some("main".into()), tree: None }),
            ]
        );
        assert_eq!(manifest.entries[2].version.as_deref(), Some("0.5.1+"));
        assert_eq!((manifest.format.as_str(), manifest.julia_version.as_deref()), ("2.1", Some("1.13.0")));
        let registry = |it: &ManifestRegistry| (it.name.clone(), it.uuid.to_string(), it.url.clone());
        let general = ("General".to_owned(), UUID.to_owned(), Some("https://h/G.git".to_owned()));
        assert_eq!(manifest.registries.iter().map(registry).collect::<Vec<_>>(), [general]);
        assert!(manifest.warnings.is_empty());
    }

    #[test]
    fn format_1_has_its_entries_at_the_top() {
        let other = UUID.replace('7', "6");
        let manifest = Manifest::parse(&format!(
            "[[Foo]]\nuuid='{UUID}'\n[[Foo]]\nuuid='{other}'\n[[manifest_format]]\nuuid='{UUID}'"
        ));
        let manifest = manifest.unwrap();
        assert_eq!((manifest.format.as_str(), manifest.julia_version), ("1.0", None));
        let uuids: Vec<_> =
            manifest.entries.iter().map(|entry| (entry.name.as_str(), entry.uuid.to_string())).collect();
        assert_eq!(uuids, [("Foo", UUID.into()), ("Foo", other), ("manifest_format", UUID.into())]);
    }

    #[test]
    fn nothing_is_an_empty_manifest() {
        for (text, format) in [
            ("", "1.0"),
            ("# c\r\n", "1.0"),
            ("manifest_format = '2.0'", "2.0"),
            ("\u{feff}manifest_format = '2.1'", "2.1"),
        ] {
            let manifest = Manifest::parse(text).unwrap();
            assert_eq!((manifest.format.as_str(), manifest.entries.len()), (format, 0), "{text}");
        }
    }

    #[test]
    fn an_unknown_format_is_read_with_a_warning() {
        let manifest = Manifest::parse(&format!("manifest_format='3.0'\n[[deps.Foo]]\nuuid='{UUID}'\nnew=1")).unwrap();
        assert_eq!((manifest.entries.len(), manifest.warnings.len()), (1, 1));
        assert!(manifest.warnings[0].contains("3.0"));
    }

    #[test]
    fn a_broken_file_is_refused_with_its_line() {
        let many = format!("a = {}", "[".repeat(100_000));
        let dotted = format!("{}a = 1", "a.".repeat(100_000));
        for (line, text) in [
            (1, "[[Foo]\n"),
            (2, "[[Foo]]\nuuid = "),
            (3, &format!("[[Foo]]\nuuid='{UUID}'\nuuid='{UUID}'")),
            (2, &format!("[[Foo]]\nuuid='{TREE}'")),
            (2, "[[Foo]]\nuuid=1"),
            (2, "\n[[Foo]]\nversion='1.0'"),
            (3, &format!("[[Foo]]\nuuid='{UUID}'\ngit-tree-sha1='{UUID}'")),
            (3, &format!("[[Foo]]\nuuid='{UUID}'\ngit-tree-sha1='{}'", TREE.replace('4', "é"))),
            (3, &format!("[[Foo]]\nuuid='{UUID}'\nversion=1.0")),
            (3, &format!("[[Foo]]\nuuid='{UUID}'\nversion='1 0'")),
            (3, &format!("[[Foo]]\nuuid='{UUID}'\nrepo-url=\"a\\nb\"")),
            (1, &format!("[['Fo o']]\nuuid='{UUID}'")),
            (1, &format!("[[\"Fo\\no\"]]\nuuid='{UUID}'")),
            (1, &format!("[['']]\nuuid='{UUID}'")),
            (1, &format!("[Foo]\nuuid='{UUID}'")),
            (2, "Foo = [\n1]"),
            (1, "manifest_format=2.0"),
            (2, "manifest_format='2.0'\ndeps=1"),
            (2, "manifest_format='2.0'\n[deps.Foo]\nuuid='x'"),
            (3, "manifest_format='2.1'\n[registries.R]\nuuid='x'"),
            (3, "manifest_format='2.1'\n[registries]\nR='x'"),
            (1, "julia_version='1.7.0'"),
            (1, &many),
            (1, &dotted),
        ] {
            let error = Manifest::parse(text).unwrap_err();
            let start: String = text.chars().take(80).collect();
            assert_eq!(error.line, line, "{start}: {error}");
            assert!(error.to_string().len() < 300 && !error.to_string().contains(char::is_control), "{error}");
        }
    }

    #[test]
    fn duplicate_keys_are_an_error_as_for_julia() {
        let error = Manifest::parse("manifest_format='2.0'\nmanifest_format='2.0'").unwrap_err();
        assert!(matches!(error.problem, Problem::Syntax(_)), "{error}");
        assert_eq!(error.line, 2);
    }

    proptest! {
        #[test]
        fn hostile_text_is_an_error_of_one_line(text in r#"([\[\]{}='".#\n\\a]|uuid|deps|\[\[a\]\]|manifest_format|\PC){0,40}"#) {
            if let Err(error) = Manifest::parse(&text) {
                prop_assert!(error.line <= text.lines().count() + 1);
                prop_assert!(!error.to_string().contains(char::is_control));
            }
        }
    }
}
