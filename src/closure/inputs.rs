//! From paths to what the files there name.
//!
//! A file that cannot be used does not stop the others: it becomes an input with an error.

use super::project_input::{ProjectInput, package_in, read_project};
use super::solve::Resolved;
use super::versions::Versions;
use super::walk::walk;
use crate::exchange::{Request, RequestError};
use crate::julia::{
    Artifact, ArtifactsToml, FileKind, FormatError, Manifest, MissList, MissListError, Project, SniffError,
};
use crate::protocol::Uuid;
use fs_err as fs;
use std::collections::HashSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A folder that holds a file of this name is passed over, unless it was named itself.
pub const IGNORE_FILE: &str = ".airlockignore";

/// Longest file that is read, in bytes. The longest manifests there are have less than one million.
const LONGEST: u64 = 64 << 20;

/// A file that was named, or found in a folder that was.
#[derive(Debug)]
pub struct Input {
    /// As it was named or found.
    pub path: PathBuf,
    /// What it is, as far as that could be told.
    pub kind: Option<FileKind>,
    /// What is in it.
    pub content: Result<Content, InputError>,
}

/// What is in an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Packages.
    Manifest(Manifest),
    /// Artifacts, and the package that is in the same folder.
    Artifacts(Vec<Artifact>, Option<(String, Uuid)>),
    /// Anything.
    Misses(MissList),
    /// Anything, and wishes.
    Request(Box<Request>),
    /// Names and ranges: [`solve_projects`](super::solve_projects) chooses versions.
    Project(Box<ProjectInput>),
    /// Packages that were chosen.
    Resolved(Box<Resolved>),
    /// Many versions of packages.
    Versions(Box<Versions>),
}

impl Content {
    /// The artifacts of a file that names only such.
    pub fn artifacts(&self) -> Option<&[Artifact]> {
        match self {
            Self::Artifacts(artifacts, _) => Some(artifacts),
            _ => None,
        }
    }
}

/// Why a path gives no input. Each message names the file, and the line where there is one.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Nothing has this name.
    #[error("{path}: no such file or folder", path = .0.display())]
    Missing(PathBuf),
    /// A folder without anything to read.
    #[error("{path}: no manifest, project, Artifacts.toml or list of misses in it; folders with a file {IGNORE_FILE} were passed over", path = .0.display())]
    Nothing(PathBuf),
    /// A project that no versions can be chosen for.
    #[error("{path}: a project names no exact versions: say with --julia for which Julia to choose them, or give the Manifest.toml that belongs to it", path = .0.display())]
    NoJulia(PathBuf),
    /// A project whose wishes contradict each other, or what there is.
    #[error("{path}: no versions fit: {why}", path = path.display())]
    Conflict {
        /// The file.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// The file system said no; the message names the file.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// Far beyond what Julia writes.
    #[error("{path}: larger than {LONGEST} bytes", path = .0.display())]
    TooLong(PathBuf),
    /// Not text.
    #[error("{path}: line {line}: not UTF-8", path = path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// Some other file.
    #[error("{path}: {error}", path = path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is, or where it is broken.
        error: SniffError,
    },
    /// Broken.
    #[error("{path}: {error}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where and how.
        error: FormatError,
    },
    /// A broken list of misses.
    #[error("{path}: {error}", path = path.display())]
    Misses {
        /// The file.
        path: PathBuf,
        /// Where and how.
        error: MissListError,
    },
    /// A broken request.
    #[error("{path}: {error}", path = path.display())]
    Request {
        /// The file.
        path: PathBuf,
        /// Where and how.
        error: RequestError,
    },
}

/// Reads what is named, in this order, and what is in the folders that are named, by path. A file
/// that is reached twice is read once. Blocks.
pub fn read_inputs(paths: &[PathBuf]) -> Vec<Input> {
    let mut seen = HashSet::new();
    let found = paths.iter().flat_map(|path| {
        let found = if path.is_dir() { walk(path) } else { vec![(path.clone(), Ok(()))] };
        found.into_iter().map(|(file, found)| (!path.is_dir(), file, found))
    });
    let once = found.filter(|(_, path, _)| seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    let mut inputs: Vec<_> = once
        .map(|(named, path, found)| match found {
            Ok(()) => read_input(path, named),
            Err(error) => Input { kind: kind_by_name(&path), path, content: Err(error) },
        })
        .collect();
    drop_members(&mut inputs);
    inputs
}

/// Takes out projects that were met on the way and are members of a workspace that was met too: one
/// manifest serves all of it.
fn drop_members(inputs: &mut Vec<Input>) {
    let project = |input: &Input| match &input.content {
        Ok(Content::Project(project)) => Some((project.named, project.member_folders.clone())),
        _ => None,
    };
    let members: HashSet<_> = inputs.iter().filter_map(project).flat_map(|(_, folders)| folders).collect();
    inputs.retain(|input| {
        let folder = input.path.parent().and_then(|folder| fs::canonicalize(folder).ok());
        let is_member = folder.is_some_and(|folder| members.contains(&folder));
        !is_member || project(input).is_none_or(|(named, _)| named)
    });
}

fn read_input(path: PathBuf, named: bool) -> Input {
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(error) => return Input { kind: kind_by_name(&path), path, content: Err(error) },
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match recognise(&name, &text) {
        Ok(kind) => Input { content: parse(&path, named, kind, &text), kind: Some(kind), path },
        Err(error) => {
            let content = Err(InputError::Kind { path: path.clone(), error });
            Input { kind: kind_by_name(&path), path, content }
        }
    }
}

fn recognise(name: &str, text: &str) -> Result<FileKind, SniffError> {
    if Request::is_request(text) { Ok(FileKind::Request) } else { FileKind::recognise(name, text) }
}

fn kind_by_name(path: &Path) -> Option<FileKind> {
    FileKind::by_name(path.file_name()?.to_str()?)
}

pub(super) fn read_text(path: &Path) -> Result<String, InputError> {
    let file = fs::File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => InputError::Missing(path.to_owned()),
        _ => error.into(),
    })?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(InputError::TooLong(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let newlines = error.as_bytes().iter().take(good).filter(|&&byte| byte == b'\n').count();
        InputError::Encoding { path: path.to_owned(), line: newlines + 1 }
    })
}

fn parse(path: &Path, named: bool, kind: FileKind, text: &str) -> Result<Content, InputError> {
    let format = |error| InputError::Format { path: path.to_owned(), error };
    match kind {
        FileKind::Manifest => Manifest::parse(text).map(Content::Manifest).map_err(format),
        FileKind::Artifacts => {
            let owner = package_in(path.parent().unwrap_or(Path::new("")));
            ArtifactsToml::parse(text).map(|artifacts| Content::Artifacts(artifacts, owner)).map_err(format)
        }
        FileKind::Project => {
            let project = Project::parse(text).map_err(format)?;
            Ok(Content::Project(Box::new(read_project(path, project, named)?)))
        }
        FileKind::MissList => {
            let misses = MissList::parse(text).map(Content::Misses);
            misses.map_err(|error| InputError::Misses { path: path.to_owned(), error })
        }
        FileKind::Request => {
            let request = Request::parse(text.as_bytes()).map(Box::new).map(Content::Request);
            request.map_err(|error| InputError::Request { path: path.to_owned(), error })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes one file and reads it as if it were named on the command line.
    fn read(name: &str, content: &[u8]) -> (Option<FileKind>, Result<Content, String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let [input] = <[Input; 1]>::try_from(read_inputs(std::slice::from_ref(&path))).unwrap();
        let strip = |error: InputError| error.to_string().replace(&format!("{}: ", path.display()), "<file> ");
        (input.kind, input.content.map_err(strip))
    }

    #[test]
    fn a_named_file_is_what_its_content_says() {
        let tree = "git-tree-sha1='4b825dc642cb6eb9a060e54bf8d69288fbee4904'";
        let manifest = "[[A]]\nuuid='7876af07-990d-54b4-ab0e-23690620f79a'";
        for (name, text, kind) in [
            ("locked", manifest, FileKind::Manifest),
            ("Artifacts.toml", manifest, FileKind::Manifest),
            ("binaries", &format!("[a]\n{tree}"), FileKind::Artifacts),
            ("Manifest.toml", "# airlock misses\n", FileKind::MissList),
            ("Manifest.toml", "", FileKind::Manifest),
        ] {
            let (found, content) = read(name, text.as_bytes());
            assert_eq!((found, content.is_ok()), (Some(kind), true), "{name} {text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_line() {
        for (name, bytes, message) in [
            ("Manifest.toml", &b"[[A]]\n\nuuid='x'"[..], "<file> line 3: \"x\" is not a uuid"),
            ("Manifest.toml", b"a = = b", "<file> line 1: "),
            ("Artifacts.toml", b"\n[a]\ngit-tree-sha1='x'", "<file> line 3: \"x\" is not a tree hash"),
            ("list", b"# airlock misses\n/artifact/x\n", "<file> line 2: "),
            ("request", b"{\"airlock_request\": 2}", "<file> request format 2"),
            ("Manifest.toml", b" {\n\"airlock_request\": 1,\n}", "<file> not a request: "),
            ("Manifest.toml", b"a='1'\nb='\xff'", "<file> line 2: not UTF-8"),
            ("Project.toml", b"[deps]\nA='x'", "<file> line 2: \"x\" is not a uuid"),
            ("notes", b"", "<file> the file is empty"),
        ] {
            let error = read(name, bytes).1.unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_path_to_nothing_is_an_input_and_a_file_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Manifest.toml");
        fs::write(&manifest, "").unwrap();
        let gone = folder.path().join("gone");
        let inputs = read_inputs(&[manifest.clone(), gone.clone(), folder.path().to_owned(), gone.clone()]);
        assert_eq!(inputs.iter().map(|input| &input.path).collect::<Vec<_>>(), [&manifest, &gone]);
        assert!(matches!(inputs[1].content, Err(InputError::Missing(_))));
    }

    #[test]
    fn what_is_endless_is_not_read_to_its_end() {
        let inputs = read_inputs(&["/dev/zero".into()]);
        assert!(matches!(inputs[0].content, Err(InputError::TooLong(_))));
    }
}
