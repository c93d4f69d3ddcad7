//! Walking a folder for files that name resources.
//!
//! Links to folders are followed, each folder is entered once: loops end. What cannot be read is
//! found too, as a problem: a manifest that was passed over in silence would be missed only when
//! it has crossed the gap.

use super::inputs::{IGNORE_FILE, InputError};
use crate::julia::{FileKind, MISS_LIST_HEADER, MissList};
use fs_err as fs;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is below a folder: files to read, and problems.
pub(super) type Found = (PathBuf, Result<(), InputError>);

/// The files below a folder that may name resources, sorted by path. Never empty: a folder without
/// any is a problem itself.
pub(super) fn walk(root: &Path) -> Vec<Found> {
    let mut walk = Walk { root, seen: HashSet::new(), found: Vec::new() };
    let mut folders = vec![Folder { path: root.to_owned(), below_manifest: false, below_project: false }];
    while let Some(folder) = folders.pop() {
        match walk.enter(&folder) {
            Ok(below) => folders.extend(below),
            Err(error) => walk.found.push((folder.path, Err(error.into()))),
        }
    }
    if walk.found.is_empty() {
        walk.found.push((root.to_owned(), Err(InputError::Nothing(root.to_owned()))));
    }
    walk.found.sort_by(|a, b| a.0.cmp(&b.0));
    walk.found
}

struct Walk<'r> {
    root: &'r Path,
    /// Device and inode of each folder that was entered.
    seen: HashSet<(u64, u64)>,
    found: Vec<Found>,
}

struct Folder {
    path: PathBuf,
    /// Whether a folder above it has a manifest: that may serve its project too, as in workspaces
    /// and for tests and docs.
    below_manifest: bool,
    /// Whether the folder that it is in has a project: a `test` there is that project's.
    below_project: bool,
}

/// What a name in a folder is to a walk.
enum Name {
    Input(FileKind),
    MaybeMisses,
    Project,
    Other,
}

impl Walk<'_> {
    /// Takes note of the files of a folder, and returns the folders in it.
    fn enter(&mut self, folder: &Folder) -> io::Result<Vec<Folder>> {
        let metadata = fs::metadata(&folder.path)?;
        if !self.seen.insert((metadata.dev(), metadata.ino())) || self.is_ignored(&folder.path) {
            return Ok(Vec::new());
        }
        let (mut folders, mut projects, mut below_manifest) = (Vec::new(), Vec::new(), folder.below_manifest);
        for name in visible_names(&folder.path)? {
            let path = folder.path.join(&name);
            let kind = Name::of(&name);
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => folders.push(path),
                Ok(metadata) if metadata.is_file() => match kind {
                    Name::Input(kind) => {
                        below_manifest |= kind == FileKind::Manifest;
                        self.found.push((path, Ok(())));
                    }
                    Name::MaybeMisses => self.maybe_misses(path),
                    Name::Project => projects.push(path),
                    Name::Other => {}
                },
                Err(error) if !matches!(kind, Name::Other) => self.found.push((path, Err(error.into()))),
                // A socket, a pipe, or a link to nowhere.
                _ => {}
            }
        }
        let below_project = !projects.is_empty();
        let is_test = folder.below_project && folder.path.file_name().is_some_and(|name| name == "test");
        if !below_manifest && !is_test {
            // Of two the first counts for Julia: JuliaProject.toml.
            self.found.extend(projects.into_iter().take(1).map(|path| (path, Ok(()))));
        }
        Ok(folders.into_iter().map(|path| Folder { path, below_manifest, below_project }).collect())
    }

    fn is_ignored(&self, folder: &Path) -> bool {
        folder != self.root && fs::symlink_metadata(folder.join(IGNORE_FILE)).is_ok()
    }

    fn maybe_misses(&mut self, path: PathBuf) {
        match starts_as_miss_list(&path) {
            Ok(true) => self.found.push((path, Ok(()))),
            Ok(false) => {}
            Err(error) => self.found.push((path, Err(error.into()))),
        }
    }
}

impl Name {
    fn of(name: &OsString) -> Self {
        let text = name.to_string_lossy();
        match FileKind::by_name(&text) {
            Some(FileKind::Project) => Self::Project,
            Some(kind) => Self::Input(kind),
            None if text.ends_with(".txt") || text.ends_with(".misses") => Self::MaybeMisses,
            None => Self::Other,
        }
    }
}

fn visible_names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Reads no more than the header: a text beside the manifests may be of any size.
fn starts_as_miss_list(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    let longest = MISS_LIST_HEADER.len() + '\u{feff}'.len_utf8();
    fs::File::open(path)?.take(longest as u64).read_to_end(&mut start)?;
    Ok(MissList::is_miss_list(&String::from_utf8_lossy(&start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes files, each `path` or `path=content`, walks, and says what was found.
    fn found(files: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let (path, content) = file.split_once('=').unwrap_or((file, ""));
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        walked(folder.path())
    }

    fn walked(root: &Path) -> Vec<String> {
        let line = |(path, problem): Found| {
            let path = path.strip_prefix(root).unwrap().display().to_string();
            if problem.is_ok() { path } else { format!("!{path}") }
        };
        walk(root).into_iter().map(line).collect()
    }

    #[test]
    fn only_names_that_julia_knows_and_lists_of_misses() {
        let files = [
            "b/Manifest.toml",
            "a/deep/er/Manifest-v1.11.toml",
            "a/JuliaArtifacts.toml",
            "AppManifest.toml",
            "list.txt=# airlock misses, today\n",
            "list.misses=\u{feff}# airlock misses",
            "notes.txt=# airlock",
            "notes.md=# airlock misses",
            "other.toml",
            ".hidden/Manifest.toml",
            ".airlock/Manifest.toml",
            "a/Manifest.toml.bak",
        ];
        assert_eq!(
            found(&files),
            [
                "AppManifest.toml",
                "a/JuliaArtifacts.toml",
                "a/deep/er/Manifest-v1.11.toml",
                "b/Manifest.toml",
                "list.misses",
                "list.txt"
            ]
        );
    }

    #[test]
    fn an_ignored_folder_is_passed_over_unless_it_is_the_one_that_was_named() {
        let files = ["demo/.airlockignore", "demo/deep/Manifest.toml", "own/Manifest.toml"];
        assert_eq!(found(&files), ["own/Manifest.toml"]);
        assert_eq!(found(&[".airlockignore", "Manifest.toml"]), ["Manifest.toml"]);
    }

    #[test]
    fn nothing_is_a_problem() {
        assert_eq!(found(&["notes.md"]), ["!"]);
        assert_eq!(found(&["demo/.airlockignore", "demo/Manifest.toml"]), ["!"]);
    }

    #[test]
    fn a_project_counts_where_it_has_no_manifest() {
        assert_eq!(found(&["a/Manifest.toml", "b/Project.toml"]), ["a/Manifest.toml", "b/Project.toml"]);
        assert_eq!(found(&["Manifest.toml", "Project.toml", "test/Project.toml"]), ["Manifest.toml"]);
        let package = ["Project.toml", "JuliaProject.toml", "test/Project.toml", "docs/Project.toml"];
        assert_eq!(found(&package), ["JuliaProject.toml", "docs/Project.toml"]);
        assert_eq!(found(&["test/Project.toml"]), ["test/Project.toml"]);
    }

    #[test]
    fn links_are_followed_loops_end_and_broken_ones_are_said() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/Manifest.toml"), "").unwrap();
        for (link, target) in [("a/b/up", "../.."), ("a/self", "self"), ("z", "a"), ("Artifacts.toml", "gone")] {
            std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        }
        assert_eq!(walked(root).len(), 2);
        assert_eq!(walked(root)[0], "!Artifacts.toml");
    }

    #[test]
    fn a_pipe_with_a_manifests_name_does_not_hang_it() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("Manifest.toml");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(walked(folder.path()), ["!"]);
    }
}
