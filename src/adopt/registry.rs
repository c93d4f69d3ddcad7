//! A registry of a depot, in any of the forms that Pkg keeps it in: as a server sent it, unpacked
//! from a server, or cloned by git. Each says which tree it is, and must be that by the strict hash.

use super::depot::{MAX_FILE, Task, What};
use super::folder::{Fault, Folder, open_file, read_small};
use super::report::{Item, Status};
use super::seal::{Context, Sealed};
use crate::julia::{PackedRegistryToml, RegistryError, RegistryIndex, RegistryIndexBuilder, TreeInfoToml};
use crate::mirror::{Damage, verify_reader};
use crate::protocol::{RegistryTree, Resource, TreeHash, Uuid};
use crate::store::{Store, StoreError};
use crate::tree::{Limits, visit_files};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How hard gzip tries where another compression is replaced.
const LEVEL: u32 = 6;
/// What Pkg adds to a registry that it unpacks, which is no part of it (`Registry.jl`).
const TREE_INFO: &str = ".tree_info.toml";

/// A registry that could be read, whatever it is named.
#[derive(Debug)]
pub(super) struct FoundRegistry {
    pub(super) index: RegistryIndex,
    /// The depot's place among those that were named, and where it is in there: the first one of a
    /// registry is the one that may be listed.
    pub(super) order: (usize, PathBuf),
    /// The tree that it was found to be.
    pub(super) registry: Option<RegistryTree>,
}

/// Judges a registry. What it knows of packages is in `found` also if it is refused: a name is only
/// a hint.
pub(super) fn judge(context: &Context<'_>, task: &Task, found: &mut Option<FoundRegistry>) -> Result<Sealed, Fault> {
    let (source, tree) = match task.what {
        What::PackedRegistry => packed(&task.path)?,
        _ => unpacked(context.limits, &task.path)?,
    };
    let index = source.index(context.limits)?;
    let uuid = index.registry_uuid();
    let name = index.registry_name().to_owned();
    let found = found.insert(FoundRegistry { index, order: (task.depot, task.path.clone()), registry: None });
    if let Source::Tarball { uuid: said, .. } = source
        && said != uuid
    {
        return Err(Fault::refused(format!("its description says that it is {said}, its Registry.toml {uuid}")));
    }
    let registry = RegistryTree { uuid, tree };
    let describe = |status| Item { name: Some(name.clone()), ..Item::of(&registry.into(), &task.path, status) };
    let sealed = if context.is_here(&registry.into())? {
        Sealed::here(describe(Status::Here))
    } else {
        context.permit(&registry.into(), Some(&name))?;
        source.seal(context, registry.into(), describe(Status::Adopted))?
    };
    found.registry = Some(registry);
    Ok(sealed)
}

/// Where the files of a registry are.
enum Source {
    Tarball { path: PathBuf, uuid: Uuid },
    Folder(Folder, Origin),
}

/// What a folder is, which decides what of it counts.
#[derive(Clone, Copy)]
enum Origin {
    FromServer,
    FromGit,
}

fn packed(description: &Path) -> Result<(Source, TreeHash), Fault> {
    let PackedRegistryToml { uuid, tree, path } = read_toml(description)?;
    if path.contains('/') {
        return Err(Fault::refused(format!("its tarball {path:?} is not beside its description")));
    }
    Ok((Source::Tarball { path: description.with_file_name(path), uuid }, tree))
}

fn unpacked(limits: &Limits, path: &Path) -> Result<(Source, TreeHash), Fault> {
    if path.join(".git").symlink_metadata().is_ok() {
        let git = path.join(".git");
        // libgit2 opens whatever has the right name.
        if let Some(trap) = Folder::list(&git, limits, "")?.trap() {
            return Err(Fault::refused(format!("its .git cannot be read: {trap} is no file")));
        }
        let tree =
            head(&git).map_err(|error| Fault::refused(format!("its .git cannot be read: {}", error.message())))?;
        return Ok((Source::Folder(Folder::list(path, limits, ".git")?, Origin::FromGit), tree));
    }
    let info = path.join(TREE_INFO);
    if info.symlink_metadata().is_err() {
        return Err(Fault::refused(format!("it has neither .git nor {TREE_INFO}, so nothing says which tree it is")));
    }
    let TreeInfoToml { tree } = read_toml(&info)?;
    Ok((Source::Folder(Folder::list(path, limits, TREE_INFO)?, Origin::FromServer), tree))
}

/// The tree of a clone's HEAD. Opened as a bare one: libgit2 then does not mind whose it is, and
/// nothing of the work tree is looked at.
fn head(git: &Path) -> Result<TreeHash, git2::Error> {
    let repository = git2::Repository::open_bare(git)?;
    let tree = repository.head()?.peel_to_tree()?;
    let hash = <[u8; 20]>::try_from(tree.id().as_bytes());
    hash.map(TreeHash::from_bytes).map_err(|_| git2::Error::from_str("its objects are not named by SHA-1"))
}

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Fault> {
    let contents = read_small(path, MAX_FILE).map_err(|error| Fault::unreadable(&error))?;
    let text = String::from_utf8(contents).map_err(|_| Fault::refused(format!("{} is not UTF-8", path.display())))?;
    toml::from_str(&text).map_err(|error| Fault::refused(format!("{}: {}", path.display(), error.message())))
}

impl Source {
    /// What the registry knows.
    fn index(&self, limits: &Limits) -> Result<RegistryIndex, Fault> {
        let mut builder = RegistryIndexBuilder::default();
        match self {
            Self::Tarball { path, .. } => {
                let reader = gzip(path).map_err(|error| Fault::unreadable(&error))?;
                visit_files(reader, limits, &mut |path, bytes| builder.file(path, &bytes))
                    .map_err(|error| Fault::refused(format!("its tarball cannot be read: {error}")))?;
            }
            Self::Folder(folder, _) => {
                folder.read_files(limits, RegistryIndexBuilder::wants, |path, bytes| builder.file(path, bytes))?;
            }
        }
        builder.finish().map_err(|error| Fault::refused(described(&error)))
    }

    fn seal(&self, context: &Context<'_>, resource: Resource, item: Item) -> Result<Sealed, Fault> {
        match self {
            Self::Tarball { path, .. } => {
                let reader = gzip(path).map_err(|error| Fault::unreadable(&error))?;
                match context.staging() {
                    Some(store) => context.seal_staged(copy(store, reader)?, resource, item),
                    None => match verify_reader(&resource, reader, context.limits) {
                        Ok(_) => Ok(Sealed { item, verified: None }),
                        Err(Damage::Unreadable(error)) => Err(Fault::unreadable(&error)),
                        Err(Damage::Wrong(why) | Damage::Limit(why)) => Err(Fault::Refused(why)),
                    },
                }
            }
            Self::Folder(folder, of) => {
                let selection = match of {
                    Origin::FromServer => folder.all(),
                    // Git knows no empty folders, so what it checked out may have left some.
                    Origin::FromGit => folder.lenient(),
                };
                let packed = folder.pack(&selection, context.staging())?;
                let (found, named) = (packed.hashes.strict, resource.tree());
                match of {
                    _ if found == named => context.seal(packed, resource, item),
                    Origin::FromServer => Err(Fault::refused(format!(
                        "its tree hash is {found}, and its {TREE_INFO} says {named}, so it was changed"
                    ))),
                    Origin::FromGit => Err(Fault::refused(format!(
                        "its files are not those of its commit: their tree hash is {found}, that of HEAD {named}"
                    ))),
                }
            }
        }
    }
}

/// A tarball as gzip, whichever of the two compressions it has; by its content, as Pkg tells
/// (`PlatformEngines.jl`, `detect_archive_format`).
fn gzip(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut file = open_file(path)?;
    let mut magic = [0; 4];
    let is_zstd = file.read_exact(&mut magic).is_ok() && magic == [0x28, 0xb5, 0x2f, 0xfd];
    let file = open_file(path)?;
    if !is_zstd {
        return Ok(Box::new(file));
    }
    let unpacked = zstd::Decoder::new(file)?;
    Ok(Box::new(flate2::read::GzEncoder::new(unpacked, flate2::Compression::new(LEVEL))))
}

/// Copies what a depot has into a staged file.
fn copy(store: &Store, mut reader: impl Read) -> Result<crate::store::Staged, Fault> {
    let mut staged = store.stage()?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|error| Fault::unreadable(&error))?,
        };
        if read == 0 {
            return Ok(staged);
        }
        staged.write_all(buffer.get(..read).unwrap_or_default()).map_err(StoreError::from)?;
    }
}

/// An error with its cause.
fn described(error: &RegistryError) -> String {
    let cause = std::error::Error::source(error).map_or(String::new(), |cause| format!(": {cause}"));
    format!("{error}{cause}")
}
