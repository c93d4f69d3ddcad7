//! What there is in a depot: one task for each registry, package and artifact, and the manifests
//! that know what packages are called.

use super::folder::read_small;
use crate::julia::{FileKind, Manifest};
use crate::protocol::{Kind, TreeHash};
use fs_err as fs;
use std::io;
use std::path::{Path, PathBuf};

/// Longest manifest, project or description that is read, in bytes.
pub(super) const MAX_FILE: u64 = 16 << 20;

/// Something in a depot that may be taken.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    /// The depot's place among those that were named.
    pub(super) depot: usize,
    pub(super) what: What,
}

/// What its name says.
#[derive(Debug)]
pub(super) enum What {
    /// A registry in one file: its description, beside which the tarball is.
    PackedRegistry,
    /// A registry in a folder.
    RegistryFolder,
    /// A version of a package.
    Package {
        /// The package's name.
        name: String,
        /// What stands for its uuid and tree.
        slug: String,
    },
    /// An artifact of this tree.
    Artifact(TreeHash),
    /// Nothing that can be taken, and why.
    Unnamed(String),
}

/// Everything in a depot, in the order of names. Files where folders should be are passed over.
pub(super) fn tasks(depot: &Path, index: usize) -> Vec<Task> {
    let mut tasks = Vec::new();
    for kind in Kind::ALL {
        let mut found = Vec::new();
        let (folder, searched) = match kind {
            Kind::Registry => ("registries", registries(&depot.join("registries"), &mut found)),
            Kind::Package => ("packages", packages(&depot.join("packages"), &mut found)),
            Kind::Artifact => ("artifacts", artifacts(&depot.join("artifacts"), &mut found)),
        };
        if let Err(error) = searched {
            found.push((depot.join(folder), unreadable(&error)));
        }
        tasks.extend(found.into_iter().map(|(path, what)| Task { kind, path, depot: index, what }));
    }
    tasks
}

/// Whether a folder has anything of a depot in it.
pub(super) fn is_depot(path: &Path) -> bool {
    ["registries", "packages", "artifacts"].iter().any(|name| path.join(name).is_dir())
}

fn unreadable(error: &io::Error) -> What {
    What::Unnamed(format!("it cannot be read: {error}"))
}

fn registries(folder: &Path, found: &mut Vec<(PathBuf, What)>) -> io::Result<()> {
    for path in children(folder)? {
        if path.is_dir() {
            found.push((path, What::RegistryFolder));
        } else if leads_nowhere(&path) {
            found.push((path, nowhere()));
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push((path, What::PackedRegistry));
        }
    }
    Ok(())
}

fn packages(folder: &Path, found: &mut Vec<(PathBuf, What)>) -> io::Result<()> {
    for package in children(folder)?.into_iter().filter(|path| is_folder(path)) {
        match children(&package) {
            Ok(_) if leads_nowhere(&package) => found.push((package, nowhere())),
            Ok(versions) => {
                found.extend(versions.into_iter().filter(|path| is_folder(path)).map(|path| {
                    let what = match (name(&package), name(&path)) {
                        _ if leads_nowhere(&path) => nowhere(),
                        (Some(name), Some(slug)) => What::Package { name, slug },
                        _ => What::Unnamed("its name is not UTF-8".to_owned()),
                    };
                    (path, what)
                }));
            }
            Err(error) => found.push((package, unreadable(&error))),
        }
    }
    Ok(())
}

fn artifacts(folder: &Path, found: &mut Vec<(PathBuf, What)>) -> io::Result<()> {
    for path in children(folder)?.into_iter().filter(|path| is_folder(path)) {
        let what = match name(&path).and_then(|name| name.parse().ok()) {
            _ if leads_nowhere(&path) => nowhere(),
            Some(tree) => What::Artifact(tree),
            None => What::Unnamed("its name is no tree hash".to_owned()),
        };
        found.push((path, what));
    }
    Ok(())
}

/// Whether it is a folder, or a link that may have led to one.
fn is_folder(path: &Path) -> bool {
    path.is_dir() || leads_nowhere(path)
}

/// Whether it is a link to nothing, or to itself.
fn leads_nowhere(path: &Path) -> bool {
    path.is_symlink() && fs::metadata(path).is_err()
}

fn nowhere() -> What {
    What::Unnamed("it is a link that leads nowhere".to_owned())
}

fn name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

/// What is in a folder, by name; nothing if it is not there.
fn children(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort_unstable();
    Ok(paths)
}

/// What is to be said of a depot beside its contents.
pub(super) fn notes(depot: &Path, only: &[Kind]) -> Vec<String> {
    let overrides = depot.join("artifacts/Overrides.toml");
    let has_overrides = only.contains(&Kind::Artifact) && overrides.exists();
    let note = || format!("{} is passed over: what it says holds for that depot only", overrides.display());
    has_overrides.then(note).into_iter().collect()
}

/// The manifests that a depot has or remembers. One that cannot be read knows no names; nothing
/// depends on it alone.
pub(super) fn manifests(depot: &Path) -> Vec<Manifest> {
    let is_manifest = |path: &PathBuf| name(path).and_then(|name| FileKind::by_name(&name)) == Some(FileKind::Manifest);
    let environments = children(&depot.join("environments")).unwrap_or_default();
    let own = environments.iter().flat_map(|folder| children(folder).unwrap_or_default()).filter(is_manifest);
    let used = read_text(&depot.join("logs/manifest_usage.toml"))
        .and_then(|text| toml::from_str::<toml::Table>(&text).ok())
        .unwrap_or_default();
    let paths = own.chain(used.into_iter().map(|(path, _)| PathBuf::from(path)));
    paths.filter_map(|path| Manifest::parse(&read_text(&path)?).ok()).collect()
}

/// A small text, if it can be read.
pub(super) fn read_text(path: &Path) -> Option<String> {
    String::from_utf8(read_small(path, MAX_FILE).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_in_its_place_is_a_task_and_nothing_else_is() {
        let depot = tempfile::tempdir().unwrap();
        let at = |path: &str| depot.path().join(path);
        let tree = "46e44e869b4d90b96bd8ed1fdcf32244fddfb6cc";
        for folder in ["registries/General", "packages/A/aqsx3", "packages/A/aqsx", "artifacts/jl_x", "clones/x"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::create_dir(at(&format!("artifacts/{tree}"))).unwrap();
        for file in ["registries/Lab.toml", "registries/Lab.tar.gz", "packages/x", "packages/A/x", "artifacts/x"] {
            fs::write(at(file), "").unwrap();
        }
        let found = tasks(depot.path(), 0);
        let found: Vec<_> = found.iter().map(|task| task.path.strip_prefix(depot.path()).unwrap().to_owned()).collect();
        let whole = format!("artifacts/{tree}");
        let paths = [
            "registries/General",
            "registries/Lab.toml",
            "packages/A/aqsx",
            "packages/A/aqsx3",
            &whole,
            "artifacts/jl_x",
        ];
        assert_eq!(found, paths.map(PathBuf::from));
        assert!(is_depot(depot.path()) && !is_depot(&at("clones")));
    }
}
