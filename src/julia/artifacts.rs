//! `Artifacts.toml`: the binary files of a package, for each platform.
//!
//! The rules are those of Julia's `Artifacts` standard library (`Artifacts.jl`, `unpack_platform`
//! and `artifact_meta`): a name is one table, which applies everywhere, or an array of tables, of
//! which a client picks one by its platform tags.

use super::error::{FormatError, Problem, quoted};
use super::reader::{Document, Table, Value};
use crate::protocol::TreeHash;
use std::collections::BTreeMap;

/// Platform tags, such as `arch`, `os`, `libc`, `cuda`: values in lowercase.
pub type Tags = BTreeMap<String, String>;

/// `Artifacts.toml` or `JuliaArtifacts.toml`.
#[derive(Debug, Clone, Copy)]
pub struct ArtifactsToml;

/// One artifact for one platform, or for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What the package calls it.
    pub name: String,
    /// The tree of its files.
    pub tree: TreeHash,
    /// Fetched on first use, not on installation.
    pub lazy: bool,
    /// Written as one of an array of tables: the tags choose. Otherwise it applies everywhere,
    /// whatever its tags say.
    pub platform_specific: bool,
    /// All platform tags, those that Julia does not know too.
    pub tags: Tags,
    /// Where clients look when the package server does not have it.
    pub downloads: Vec<Download>,
}

/// A place to download an artifact from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// A tarball.
    pub url: String,
    /// Of the tarball as it comes, compressed.
    pub sha256: [u8; 32],
    /// Of the tarball, in bytes; written by Julia 1.13 and later.
    pub size: Option<u64>,
}

impl ArtifactsToml {
    /// Reads the file, in the order of the artifacts' names.
    pub fn parse(text: &str) -> Result<Vec<Artifact>, FormatError> {
        let document = Document::parse(text)?;
        let mut artifacts = Vec::new();
        for value in document.root().values() {
            let name = value.key()?;
            if value.is_table() {
                artifacts.push(artifact(name, value.table()?, false)?);
                continue;
            }
            for table in value.tables()? {
                artifacts.push(artifact(name, table, true)?);
            }
        }
        Ok(artifacts)
    }
}

fn artifact(name: &str, table: Table<'_>, platform_specific: bool) -> Result<Artifact, FormatError> {
    let downloads = table.get("download").map(Value::tables).transpose()?.unwrap_or_default();
    Ok(Artifact {
        name: name.to_owned(),
        tree: table.need("git-tree-sha1")?.tree()?,
        lazy: table.flag("lazy")?,
        platform_specific,
        tags: tags(table)?,
        downloads: downloads.into_iter().map(download).collect::<Result<_, _>>()?,
    })
}

/// Every other string is a tag. An array entry without `os` or `arch` is kept, though Julia skips
/// it with an error: a mirror takes the superset.
fn tags(table: Table<'_>) -> Result<Tags, FormatError> {
    let strings = table.values().filter(|value| value.is_str());
    strings
        .map(|value| Ok((value.key()?, value.str()?)))
        .filter(|tag| !matches!(tag, Ok(("git-tree-sha1", _))))
        .map(|tag| tag.map(|(key, text)| (key.to_owned(), text.to_lowercase())))
        .collect()
}

fn download(table: Table<'_>) -> Result<Download, FormatError> {
    Ok(Download {
        url: table.need("url")?.str()?.to_owned(),
        sha256: sha256(table.need("sha256")?)?,
        size: table.get("size").map(Value::size).transpose()?,
    })
}

fn sha256(value: Value<'_>) -> Result<[u8; 32], FormatError> {
    let text = value.str()?;
    hex(text).ok_or_else(|| value.error(Problem::Sha256(quoted(text))))
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(bytes)
}
