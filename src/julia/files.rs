//! Which of Julia's files a file is: by its name in a folder that is walked, by its content when
//! it is named on the command line.

use super::error::FormatError;
use super::manifest;
use super::manifest_text::MANIFEST_COMMENT;
use super::misslist::MissList;
use super::reader::{Document, Table, Value};

/// A kind of file that names resources to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// `Manifest.toml` and its other names.
    Manifest,
    /// `Artifacts.toml`, `JuliaArtifacts.toml`.
    Artifacts,
    /// A list of misses from an inside server.
    MissList,
    /// `Project.toml`, `JuliaProject.toml`: names and ranges.
    Project,
    /// A request from an inside server; no file of Julia's, so it is told by who reads it.
    Request,
}

/// A file that names no resources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SniffError {
    /// Not even TOML.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// `Registry.toml`.
    #[error("this is a registry, not a manifest")]
    Registry,
    /// No content to tell by.
    #[error("the file is empty")]
    Empty,
    /// TOML of some other kind.
    #[error("neither a manifest nor a project, an Artifacts.toml, a list of misses or a request")]
    Unknown,
}

impl FileKind {
    /// The kind that a file name stands for (Julia `base/loading.jl`, `manifest_names`, and
    /// `Artifacts.jl`, `artifact_names`; `AppManifest.toml` since 1.12). Case counts.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "Artifacts.toml" | "JuliaArtifacts.toml" => Some(Self::Artifacts),
            "Project.toml" | "JuliaProject.toml" => Some(Self::Project),
            "AppManifest.toml" => Some(Self::Manifest),
            _ => {
                let stem = name.strip_prefix("Julia").unwrap_or(name).strip_prefix("Manifest")?;
                let suffix = stem.strip_suffix(".toml")?;
                (suffix.is_empty() || is_julia_minor(suffix)).then_some(Self::Manifest)
            }
        }
    }

    /// The kind that a text is.
    pub fn sniff(text: &str) -> Result<Self, SniffError> {
        if MissList::is_miss_list(text) {
            return Ok(Self::MissList);
        }
        let document = Document::parse(text)?;
        let root = document.root();
        if root.values().next().is_none() {
            // It stands above one without packages too.
            return if text.contains(MANIFEST_COMMENT) { Ok(Self::Manifest) } else { Err(SniffError::Empty) };
        }
        of_table(root)
    }

    /// The kind of a file: by content, and by name where the content does not tell, which is
    /// so for an empty manifest.
    pub fn recognise(name: &str, text: &str) -> Result<Self, SniffError> {
        match Self::sniff(text) {
            Err(error @ (SniffError::Empty | SniffError::Unknown)) => Self::by_name(name).ok_or(error),
            sniffed => sniffed,
        }
    }
}

/// `-v1.11`
fn is_julia_minor(suffix: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = suffix.strip_prefix("-v").and_then(|version| version.split_once('.'));
    numbers.is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

fn of_table(root: Table<'_>) -> Result<FileKind, SniffError> {
    if manifest::format(root)?.is_some() {
        return Ok(FileKind::Manifest);
    }
    if root.get("packages").is_some_and(Value::is_table) && root.get("uuid").is_some_and(Value::is_str) {
        return Err(SniffError::Registry);
    }
    if is_project(root) {
        return Ok(FileKind::Project);
    }
    root.values().find_map(of_value).ok_or(SniffError::Unknown)
}

/// The tables and strings of which a project is made. As arrays they could be packages of those
/// names, and a table with a hash is an artifact.
fn is_project(root: Table<'_>) -> bool {
    const TABLES: [&str; 8] = ["deps", "weakdeps", "compat", "extras", "targets", "sources", "workspace", "extensions"];
    let is_section = |key: &str| {
        let table = root.get(key).and_then(|value| value.table().ok());
        table.is_some_and(|table| table.get("git-tree-sha1").is_none())
    };
    root.get("name").is_some_and(Value::is_str)
        || root.get("uuid").is_some_and(Value::is_str)
        || TABLES.iter().any(|key| is_section(key))
}

/// A manifest's entry has a uuid; an artifact has a hash and none.
fn of_value(value: Value<'_>) -> Option<FileKind> {
    let is_entry = value.is_array();
    let table = value.first().unwrap_or(value).table().ok()?;
    match (table.get("uuid"), table.get("git-tree-sha1")) {
        (Some(_), _) if is_entry => Some(FileKind::Manifest),
        (None, Some(_)) => Some(FileKind::Artifacts),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_julias() {
        for name in [
            "Manifest.toml",
            "JuliaManifest.toml",
            "Manifest-v1.11.toml",
            "JuliaManifest-v1.9.toml",
            "AppManifest.toml",
        ] {
            assert_eq!(FileKind::by_name(name), Some(FileKind::Manifest), "{name}");
        }
        for name in ["Project.toml", "JuliaProject.toml"] {
            assert_eq!(FileKind::by_name(name), Some(FileKind::Project), "{name}");
        }
        for name in ["Artifacts.toml", "JuliaArtifacts.toml"] {
            assert_eq!(FileKind::by_name(name), Some(FileKind::Artifacts), "{name}");
        }
        for name in [
            "",
            "project.toml",
            "manifest.toml",
            "Manifest.toml.bak",
            "MyManifest.toml",
            "Manifest-v1.toml",
            "Manifest-v1.x.toml",
            "Manifest-v.1.toml",
            "Manifest.1.3.toml",
            "AppManifest-v1.12.toml",
            "Overrides.toml",
        ] {
            assert_eq!(FileKind::by_name(name), None, "{name}");
        }
    }

    #[test]
    fn content_tells() {
        let tree = "git-tree-sha1='4b825dc642cb6eb9a060e54bf8d69288fbee4904'";
        let uuid = "uuid='7876af07-990d-54b4-ab0e-23690620f79a'";
        for (text, expected) in [
            (format!("[[Example]]\n{uuid}"), Ok(FileKind::Manifest)),
            (format!("[[deps]]\n{uuid}"), Ok(FileKind::Manifest)),
            (format!("[[manifest_format]]\n{uuid}"), Ok(FileKind::Manifest)),
            ("manifest_format='2.0'".into(), Ok(FileKind::Manifest)),
            (format!("manifest_format='2.0'\n[[deps.Example]]\n{uuid}"), Ok(FileKind::Manifest)),
            (format!("{MANIFEST_COMMENT}\n"), Ok(FileKind::Manifest)),
            (format!("[socrates]\n{tree}"), Ok(FileKind::Artifacts)),
            (format!("[deps]\n{tree}"), Ok(FileKind::Artifacts)),
            (format!("[[c_simple]]\nos='linux'\n{tree}"), Ok(FileKind::Artifacts)),
            ("# airlock misses of today\n".into(), Ok(FileKind::MissList)),
            (format!("name='Example'\n{uuid}"), Ok(FileKind::Project)),
            ("[deps]\nExample='7876af07-990d-54b4-ab0e-23690620f79a'".into(), Ok(FileKind::Project)),
            ("[compat]\njulia='1'".into(), Ok(FileKind::Project)),
            (format!("name='General'\n{uuid}\n[packages]\n"), Err(SniffError::Registry)),
            (String::new(), Err(SniffError::Empty)),
            ("# nothing\n".into(), Err(SniffError::Empty)),
            ("[package]\nedition='2024'".into(), Err(SniffError::Unknown)),
            ("x=1".into(), Err(SniffError::Unknown)),
            ("x=[]".into(), Err(SniffError::Unknown)),
        ] {
            assert_eq!(FileKind::sniff(&text), expected, "{text}");
        }
        assert_eq!(FileKind::sniff("a=1\n<html>").unwrap_err().to_string().lines().count(), 1);
        assert!(FileKind::sniff("a=1\n<html>").unwrap_err().to_string().starts_with("line 2: "));
    }

    #[test]
    fn the_name_decides_only_where_the_content_does_not() {
        assert_eq!(FileKind::recognise("Manifest.toml", ""), Ok(FileKind::Manifest));
        assert_eq!(FileKind::recognise("Artifacts.toml", "# none\n"), Ok(FileKind::Artifacts));
        assert_eq!(FileKind::recognise("list.txt", ""), Err(SniffError::Empty));
        assert_eq!(FileKind::recognise("Artifacts.toml", "manifest_format='2.0'"), Ok(FileKind::Manifest));
        assert_eq!(FileKind::recognise("Manifest.toml", "[deps]\nA='b'"), Ok(FileKind::Project));
    }
}
