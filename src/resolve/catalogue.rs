//! A registry with what its packages depend on, read no further than is asked.
//!
//! A solution looks at some hundred packages of more than ten thousand, so the files with the
//! dependencies stay text until one of their package is looked at.

use crate::julia::{DepsFiles, PackageDeps, RegisteredVersion, RegistryError, RegistryIndex, RegistryIndexBuilder};
use crate::protocol::Uuid;
use std::collections::HashMap;
use std::sync::OnceLock;

/// The files of a package that say what its versions depend on.
const FILES: [&str; 4] = ["Deps.toml", "Compat.toml", "WeakDeps.toml", "WeakCompat.toml"];

/// One registry, with the dependencies of its packages.
#[derive(Debug)]
pub struct Catalogue {
    index: RegistryIndex,
    /// By the folder of the package.
    folders: HashMap<String, Folder>,
}

/// Builds a [`Catalogue`] from the files of a registry as they come.
#[derive(Debug, Default)]
pub struct CatalogueBuilder {
    index: RegistryIndexBuilder,
    folders: HashMap<String, Folder>,
}

#[derive(Debug, Default)]
struct Folder {
    /// In the order of [`FILES`].
    texts: [Vec<u8>; 4],
    parsed: OnceLock<Result<PackageDeps, String>>,
}

impl CatalogueBuilder {
    /// Takes a file of the registry, by its path from the root; those that are not needed are
    /// dropped. A broken one does not stop the others.
    pub fn file(&mut self, path: &str, bytes: Vec<u8>) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match FILES.iter().position(|file| *file == name) {
            None => self.index.file(path, &bytes),
            Some(position) => {
                if !self.folders.contains_key(folder) {
                    self.folders.insert(folder.to_owned(), Folder::default());
                }
                let text = self.folders.get_mut(folder).and_then(|folder| folder.texts.get_mut(position));
                if let Some(text) = text {
                    *text = bytes;
                }
            }
        }
    }

    /// The catalogue of all files that came.
    pub fn finish(self) -> Result<Catalogue, RegistryError> {
        Ok(Catalogue { index: self.index.finish()?, folders: self.folders })
    }
}

impl Catalogue {
    /// The packages and their versions.
    pub fn index(&self) -> &RegistryIndex {
        &self.index
    }

    /// The registered versions of a package, oldest first.
    pub(super) fn versions(&self, package: Uuid) -> impl Iterator<Item = RegisteredVersion<'_>> {
        self.index.versions(package)
    }

    /// What the versions of a package depend on, or why that cannot be read. `None` if they depend
    /// on nothing.
    pub fn deps(&self, package: Uuid) -> Option<Result<&PackageDeps, &str>> {
        let folder = self.folders.get(self.index.path(package)?)?;
        let parsed = folder.parsed.get_or_init(|| folder.parse());
        Some(parsed.as_ref().map_err(String::as_str))
    }
}

impl Folder {
    fn parse(&self) -> Result<PackageDeps, String> {
        let mut texts = [""; 4];
        for ((text, bytes), name) in texts.iter_mut().zip(&self.texts).zip(FILES) {
            *text = str::from_utf8(bytes).map_err(|_| format!("its {name} is not UTF-8"))?;
        }
        let [deps, compat, weak_deps, weak_compat] = texts;
        let files = DepsFiles { deps, compat, weak_deps, weak_compat };
        PackageDeps::parse(files).map_err(|(name, error)| format!("its {name} cannot be read: {error}"))
    }
}
