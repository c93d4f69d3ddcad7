//! Walking the cache directory: it is its own index.

use super::{StoreError, is_absent};
use crate::protocol::{Kind, Resource};
use fs_err as fs;
use std::io;
use std::path::Path;

type Names = Box<dyn Iterator<Item = io::Result<String>> + Send>;

/// Every resource of a kind. One folder is read at a time, so memory does not grow with the cache.
pub(super) fn resources(root: &Path, kind: Kind) -> impl Iterator<Item = Result<Resource, StoreError>> + use<> {
    let top = root.join(kind.folder());
    let paths: Names = match kind {
        Kind::Artifact => names(&top),
        Kind::Registry | Kind::Package => Box::new(names(&top).flat_map(move |uuid| match uuid {
            Ok(uuid) => below(&top, uuid),
            Err(error) => Box::new(std::iter::once(Err(error))),
        })),
    };
    paths.filter_map(move |path| match path {
        Ok(path) => format!("/{}/{path}", kind.folder()).parse().ok().map(Ok),
        Err(error) => Some(Err(error.into())),
    })
}

fn below(top: &Path, uuid: String) -> Names {
    Box::new(names(&top.join(&uuid)).map(move |tree| tree.map(|tree| format!("{uuid}/{tree}"))))
}

/// The names in a folder. No folder, or a file in its place, has none.
fn names(folder: &Path) -> Names {
    match fs::read_dir(folder) {
        Ok(entries) => Box::new(entries.filter_map(|entry| match entry {
            Ok(entry) => entry.file_name().into_string().ok().map(Ok),
            Err(error) => Some(Err(error)),
        })),
        Err(error) if is_absent(&error) => Box::new(std::iter::empty()),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}
