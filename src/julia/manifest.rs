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
    /// What the reader is not sure of, one line each.
    pub warnings: Vec<String>,
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
        manifest.julia_version = root.get("julia_version").map(Value::word).transpose()?.map(str::to_owned);
        if !matches!(format, "2.0" | "2.1") {
            manifest.warnings.push(format!("manifest format {format} is not known here; read as 2.1"));
        }
        Ok(manifest)
    }

    fn empty(format: &str, entries: Vec<ManifestEntry>) -> Self {
        Self { format: format.to_owned(), julia_version: None, entries, warnings: Vec::new() }
    }
}

/// The format, or `None` for 1.0. A table or an array under the key is a package of that name.
pub(super) fn format(root: Table<'_>) -> Result<Option<&str>, FormatError> {
    match root.get("manifest_format") {
        Some(value) if !value.is_table() && !value.is_array() => value.word().map(Some),
        _ => Ok(None),
    }
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
