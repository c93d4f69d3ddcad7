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
    /// Whether there is a `download`, readable or not: without one Pkg does not fetch it when it
    /// installs the package.
    pub has_download: bool,
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
        entries(Document::parse(text)?.root()).map(|entry| entry?.whole()).collect()
    }

    /// Reads what can be read, and says what cannot: Julia stumbles over a broken entry only when
    /// that one is wanted, and over a broken `download` only when the package server has nothing.
    pub fn parse_leniently(text: &str) -> (Vec<Artifact>, Vec<FormatError>) {
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(error) => return (Vec::new(), vec![error]),
        };
        let (mut artifacts, mut problems) = (Vec::new(), Vec::new());
        for entry in entries(document.root()) {
            match entry.and_then(Entry::partly) {
                Ok((artifact, wrong)) => {
                    artifacts.push(artifact);
                    problems.extend(wrong);
                }
                Err(error) => problems.push(error),
            }
        }
        (artifacts, problems)
    }
}

/// One table of the file.
#[derive(Clone, Copy)]
struct Entry<'d> {
    name: &'d str,
    table: Table<'d>,
    platform_specific: bool,
}

fn entries(root: Table<'_>) -> impl Iterator<Item = Result<Entry<'_>, FormatError>> {
    root.values().flat_map(|value| match entries_of(value) {
        Ok(entries) => entries.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    })
}

fn entries_of(value: Value<'_>) -> Result<Vec<Entry<'_>>, FormatError> {
    let name = value.key()?;
    if value.is_table() {
        return Ok(vec![Entry { name, table: value.table()?, platform_specific: false }]);
    }
    let tables = value.tables()?.into_iter();
    Ok(tables.map(|table| Entry { name, table, platform_specific: true }).collect())
}

impl<'d> Entry<'d> {
    fn whole(self) -> Result<Artifact, FormatError> {
        Ok(Artifact { downloads: self.downloads()?, ..self.artifact()? })
    }

    /// The artifact with what is right of the places to download it from, and what is wrong with them.
    fn partly(self) -> Result<(Artifact, Vec<FormatError>), FormatError> {
        let mut artifact = self.artifact()?;
        let (tables, mut problems) = match self.download_tables() {
            Ok(tables) => (tables, Vec::new()),
            Err(error) => (Vec::new(), vec![error]),
        };
        for table in tables {
            match download(table) {
                Ok(download) => artifact.downloads.push(download),
                Err(error) => problems.push(error),
            }
        }
        Ok((artifact, problems))
    }

    /// Without the places to download it from.
    fn artifact(self) -> Result<Artifact, FormatError> {
        Ok(Artifact {
            name: self.name.to_owned(),
            tree: self.table.need("git-tree-sha1")?.tree()?,
            lazy: self.table.flag("lazy")?,
            platform_specific: self.platform_specific,
            tags: tags(self.table)?,
            has_download: self.table.get("download").is_some(),
            downloads: Vec::new(),
        })
    }

    fn downloads(self) -> Result<Vec<Download>, FormatError> {
        self.download_tables()?.into_iter().map(download).collect()
    }

    fn download_tables(self) -> Result<Vec<Table<'d>>, FormatError> {
        Ok(self.table.get("download").map(Value::tables).transpose()?.unwrap_or_default())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "46e44e869b4d90b96bd8ed1fdcf32244fddfb6cc";

    fn sha256() -> String {
        "0123456789abcdefABCDEF".repeat(3)[..64].to_owned()
    }

    #[test]
    fn a_table_is_for_all_and_an_array_is_for_platforms() {
        let artifacts = ArtifactsToml::parse(&format!(
            "[['c simple']]\narch = 'x86_64'\nos = 'Linux'\ncuda = 'None'\nnumber = 1\ngit-tree-sha1 = '{TREE}'\nlazy = true\n\
             [['c simple'.download]]\nurl = 'https://h/a.tar.gz'\nsha256 = '{0}'\nsize = 0x10\n\
             [['c simple'.download]]\nurl = 'https://h/b.tar.gz'\nsha256 = '{0}'\n\
             [data]\ngit-tree-sha1 = '{TREE}'\nos = 'windows'\n",
            sha256()
        ))
        .unwrap();
        let tags = |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.into(), v.into())).collect::<Tags>();
        let [simple, data] = artifacts.as_slice() else { panic!("{artifacts:?}") };
        assert_eq!((simple.name.as_str(), simple.lazy, simple.platform_specific), ("c simple", true, true));
        assert_eq!(simple.tags, tags(&[("arch", "x86_64"), ("cuda", "none"), ("os", "linux")]));
        assert_eq!(simple.downloads.iter().map(|d| d.size).collect::<Vec<_>>(), [Some(16), None]);
        assert_eq!(
            simple.downloads[0].sha256[..12],
            [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef, 1]
        );
        assert_eq!((data.lazy, data.platform_specific, data.downloads.len()), (false, false, 0));
        assert_eq!(data.tags, tags(&[("os", "windows")]));
    }

    #[test]
    fn a_broken_file_is_refused_with_its_line() {
        let download = |lines: &str| format!("[a]\ngit-tree-sha1='{TREE}'\n[[a.download]]\n{lines}");
        for (line, text) in [
            (1, "[[a]".to_owned()),
            (2, "\n[a]\nos='linux'".into()),
            (2, "[a]\ngit-tree-sha1='46e4'".into()),
            (2, "[a]\ngit-tree-sha1=46".into()),
            (1, "a=1".into()),
            (1, "a=[1]".into()),
            (3, format!("[a]\ngit-tree-sha1='{TREE}'\nlazy='true'")),
            (3, format!("[a]\ngit-tree-sha1='{TREE}'\nos=\"li\\u0000nux\"")),
            (3, format!("[a]\ngit-tree-sha1='{TREE}'\ndownload={{url='u'}}")),
            (3, download("sha256='x'")),
            (5, download("url='u'\nsha256='x'")),
            (5, download(&format!("url='u'\nsha256='{}é'", "a".repeat(62)))),
            (4, download(&format!("url=\"a\\nb\"\nsha256='{}'", sha256()))),
            (6, download(&format!("url='u'\nsha256='{}'\nsize=-1", sha256()))),
        ] {
            assert_eq!(ArtifactsToml::parse(&text).unwrap_err().line, line, "{text}");
        }
        assert_eq!(ArtifactsToml::parse(""), Ok(Vec::new()));
    }

    #[test]
    fn read_leniently_one_broken_entry_leaves_the_others() {
        let text = format!(
            "[good]\ngit-tree-sha1='{TREE}'\n[bad]\ngit-tree-sha1='46e4'\n[[array]]\nos='linux'\n\
             [[array]]\ngit-tree-sha1='{TREE}'\n[[array.download]]\nurl='u'\n"
        );
        let (artifacts, problems) = ArtifactsToml::parse_leniently(&text);
        let names: Vec<_> = artifacts.iter().map(|a| (a.name.as_str(), a.platform_specific)).collect();
        assert_eq!(names, [("array", true), ("good", false)]);
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [5, 9, 4]);
        let (artifacts, problems) = ArtifactsToml::parse_leniently("[a");
        assert_eq!((artifacts.len(), problems.len()), (0, 1));
    }
}
