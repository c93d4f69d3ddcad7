//! Writing down what was chosen: a project and a manifest that instantiate to exactly that.
//!
//! Only when all that was wanted is here. Julia loads an extension of a package only if the manifest
//! says what it needs, and that stands in the package itself.

use super::ManifestFolder;
use super::by_name::{ADD, ByName};
use crate::closure::{Content, Input, Resolved, Solved};
use crate::julia::{CompatEntry, JuliaTarget, ManifestPackage, Project, Version, manifest_text, stdlib};
use crate::mirror::Mirror;
use crate::protocol::{Resource, Uuid};
use crate::resolve::Chosen;
use crate::store::{Lookup, Outside, make_folders};
use crate::tree::visit_files;
use fs_err as fs;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Since when packages have extensions.
const EXTENSIONS_SINCE: (u32, u32) = (1, 9);

/// Why an environment was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestError {
    /// It would not be clear of what.
    #[error("no manifest is written: name packages with --add, or one project")]
    Which,
    /// A folder or a repository is not the same inside.
    #[error("no manifest is written: {0} comes from a folder or a git repository")]
    Elsewhere(String),
    /// It has no package that was asked for.
    #[error("no manifest is written: {path} has {found}, and {asked} was asked for", path = path.display())]
    Project { path: PathBuf, found: String, asked: String },
    /// It would not have what was chosen.
    #[error("no manifest is written: {path} wants {name} {compat}, and {version} was chosen", path = path.display())]
    Compat { path: PathBuf, name: String, compat: String, version: String },
    #[error("no manifest is written: {path}: {error}", path = path.display())]
    Format { path: PathBuf, error: crate::julia::FormatError },
    #[error("no manifest is written: {} came meanwhile", .0.display())]
    There(PathBuf),
    #[error("no manifest is written: {0}")]
    Text(#[from] toml::ser::Error),
    #[error("no manifest is written: {0}")]
    Io(#[from] io::Error),
}

/// A manifest that was written.
pub(super) struct Written {
    pub(super) input: String,
    pub(super) julia: String,
    pub(super) manifest: PathBuf,
}

/// Writes the environment of each Julia, and says where. Blocks.
pub(super) fn write(
    mirror: &Mirror,
    by_name: &ByName,
    to: &ManifestFolder,
    inputs: &[Input],
) -> Result<Vec<Written>, ManifestError> {
    let (input, resolved) = which(inputs)?;
    let mut written = Vec::new();
    for solved in resolved.solved.iter().filter(|solved| !solved.is_test) {
        let manifest = by_name.manifest_file(to, &solved.julia);
        let folder = manifest.parent().unwrap_or(Path::new(""));
        make_folders(folder)?;
        let project = project(folder, solved)?;
        let text = manifest_text(solved.julia.version(), &solved.julia.to_string(), &packages(mirror, solved)?)?;
        if let Some((path, text)) = project {
            put(&path, &text, false)?;
        }
        put(&manifest, &text, to.force)?;
        written.push(Written { input: input.clone(), julia: solved.julia.to_string(), manifest });
    }
    Ok(written)
}

/// What was chosen for the names, else for the only project.
fn which(inputs: &[Input]) -> Result<(String, &Resolved), ManifestError> {
    let resolved = |input: &'_ Input| matches!(input.content, Ok(Content::Resolved(_)));
    let mut all = inputs.iter().filter(|input| resolved(input));
    let names = inputs.iter().find(|input| resolved(input) && input.path == Path::new(ADD));
    let only = match (names, all.next(), all.next()) {
        (Some(names), ..) => names,
        (None, Some(only), None) => only,
        _ => return Err(ManifestError::Which),
    };
    let Ok(Content::Resolved(resolved)) = &only.content else { return Err(ManifestError::Which) };
    if let Some(git) = resolved.unmirrorable.first() {
        return Err(ManifestError::Elsewhere(git.name.clone()));
    }
    match resolved.local_paths.first() {
        Some(uuid) => Err(ManifestError::Elsewhere(uuid.to_string())),
        None => Ok((only.path.display().to_string(), resolved)),
    }
}

/// The project to write, unless there is one that asks for the same.
fn project(folder: &Path, solved: &Solved) -> Result<Option<(PathBuf, String)>, ManifestError> {
    let names = |deps: &BTreeMap<String, Uuid>| match deps.len() {
        0 => "no dependencies".to_owned(),
        _ => deps.keys().cloned().collect::<Vec<_>>().join(", "),
    };
    for path in ["JuliaProject.toml", "Project.toml"].map(|name| folder.join(name)) {
        if !path.exists() {
            continue;
        }
        let found = Project::parse(&fs::read_to_string(&path)?);
        let mut deps = found.map_err(|error| ManifestError::Format { path: path.clone(), error })?;
        deps.deps.retain(|name, _| !deps.weakdeps.contains_key(name) || !knows_extensions(&solved.julia));
        if deps.deps != solved.roots {
            return Err(ManifestError::Project { path, found: names(&deps.deps), asked: names(&solved.roots) });
        }
        for (name, uuid) in &solved.roots {
            let Some(version) = solved.packages.get(uuid).and_then(|chosen| chosen.version.as_deref()) else {
                continue;
            };
            let refused = |compat: &&CompatEntry| version.parse().is_ok_and(|version| !compat.accepts(&version));
            if let Some(compat) = deps.compat.get(name).filter(refused) {
                let (name, compat, version) = (name.clone(), compat.text.clone(), version.to_owned());
                return Err(ManifestError::Compat { path, name, compat, version });
            }
        }
        return Ok(None);
    }
    let deps: BTreeMap<_, _> = solved.roots.iter().map(|(name, uuid)| (name, uuid.to_string())).collect();
    let text = toml::to_string(&BTreeMap::from([("deps", deps)]))?;
    Ok(Some((folder.join("Project.toml"), text)))
}

fn packages(mirror: &Mirror, solved: &Solved) -> Result<Vec<ManifestPackage>, ManifestError> {
    solved.packages.iter().map(|(uuid, chosen)| package(mirror, solved, *uuid, chosen)).collect()
}

fn package(mirror: &Mirror, solved: &Solved, uuid: Uuid, chosen: &Chosen) -> Result<ManifestPackage, ManifestError> {
    let mut package = ManifestPackage {
        name: chosen.name.clone(),
        uuid,
        version: chosen.version.clone(),
        tree: chosen.tree,
        entryfile: None,
        deps: chosen.deps.clone(),
        weakdeps: chosen.weak_deps.clone(),
        extensions: BTreeMap::new(),
    };
    match chosen.tree {
        None => package.extensions = stdlib::extensions(uuid, solved.julia.version()).cloned().unwrap_or_default(),
        Some(tree) if knows_extensions(&solved.julia) => {
            // What the package itself says counts, whatever its registry says (`fixups_from_projectfile!`).
            if let Some(project) = project_of(mirror, &Resource::Package { uuid, tree })? {
                package.deps.retain(|name, _| !project.weakdeps.contains_key(name));
                package.weakdeps = project.weakdeps;
                package.extensions = project.extensions;
                package.entryfile = project.entryfile;
            }
        }
        Some(_) => {}
    }
    Ok(package)
}

fn knows_extensions(julia: &JuliaTarget) -> bool {
    let version: &Version = julia.version();
    (version.major, version.minor) >= EXTENSIONS_SINCE
}

/// What the package says of itself; nothing if it does not, or that cannot be read.
fn project_of(mirror: &Mirror, package: &Resource) -> io::Result<Option<Project>> {
    let Lookup::Verified(open, _) = mirror.store().look_up(package).map_err(io::Error::other)? else {
        return Err(io::Error::other("a package changed while it was read"));
    };
    let mut text = None;
    let read = visit_files(open.file, mirror.limits(), &mut |path, bytes| {
        // Of two the first counts for Julia.
        if path == "JuliaProject.toml" || (path == "Project.toml" && text.is_none()) {
            text = Some(bytes);
        }
    });
    read.map_err(io::Error::other)?;
    Ok(text.and_then(|bytes| Project::parse(&String::from_utf8(bytes).ok()?).ok()))
}

/// Puts a file in its place as a whole.
fn put(path: &Path, text: &str, replace: bool) -> Result<(), ManifestError> {
    Outside::stage(path, text.as_bytes(), 0o644)?.publish(replace).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => ManifestError::There(path.to_owned()),
        _ => error.into(),
    })
}
