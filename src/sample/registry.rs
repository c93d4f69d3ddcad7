//! What the sample upstream serves: a small registry, its packages and their artifacts, made from
//! the plain files in `sample/`.

use crate::protocol::{Flavor, GENERAL, Listing, RegistryTree, Resource, TreeHash, Uuid};
use crate::tree::{TarEntry, WriteError, write_tar_gz};
use bytes::Bytes;
use include_dir::{Dir, include_dir};
use std::collections::BTreeMap;

static SAMPLE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sample");

/// gzip's own default.
const LEVEL: u32 = 6;

/// The bodies of a package server, by path.
#[derive(Clone, Debug, Default)]
pub struct Site {
    bodies: BTreeMap<String, Bytes>,
    registries: Vec<RegistryTree>,
}

/// The sample is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// A tarball cannot be made.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// `sample/` lacks something.
    #[error("the sample has no {0}")]
    Missing(String),
}

impl Site {
    /// A package server that has nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The sample: the registry "General" with all packages and artifacts of `sample/`.
    pub fn sample() -> Result<Self, SampleError> {
        let mut site = Self::default();
        site.add_registry(GENERAL, entries("registry")?)?;
        for package in folders("packages")? {
            let uuid = uuid(&package)?;
            for version in folders(&package)? {
                site.add_package(uuid, entries(&version)?)?;
            }
        }
        for artifact in folders("artifacts")? {
            site.add_artifact(entries(&artifact)?)?;
        }
        Ok(site)
    }

    /// Adds a registry and lists it.
    pub fn add_registry(
        &mut self,
        uuid: Uuid,
        entries: impl IntoIterator<Item = TarEntry>,
    ) -> Result<Resource, SampleError> {
        let (tree, body) = tarball(entries)?;
        self.registries.push(RegistryTree { uuid, tree });
        let listing: Listing = self.registries.iter().copied().collect();
        for flavor in Flavor::ALL {
            self.put(&format!("/{}", flavor.file_name()), listing.to_string());
        }
        Ok(self.add(Resource::Registry { uuid, tree }, body))
    }

    /// Adds a version of a package.
    pub fn add_package(
        &mut self,
        uuid: Uuid,
        entries: impl IntoIterator<Item = TarEntry>,
    ) -> Result<Resource, SampleError> {
        let (tree, body) = tarball(entries)?;
        Ok(self.add(Resource::Package { uuid, tree }, body))
    }

    /// Adds an artifact.
    pub fn add_artifact(&mut self, entries: impl IntoIterator<Item = TarEntry>) -> Result<Resource, SampleError> {
        let (tree, body) = tarball(entries)?;
        Ok(self.add(Resource::Artifact { tree }, body))
    }

    /// Answers a path with these bytes.
    pub fn put(&mut self, path: &str, body: impl Into<Bytes>) {
        self.bodies.insert(path.to_owned(), body.into());
    }

    /// The bytes of a path.
    pub fn body(&self, path: &str) -> Option<&Bytes> {
        self.bodies.get(path)
    }

    /// All resources.
    pub fn resources(&self) -> impl Iterator<Item = Resource> + '_ {
        self.bodies.keys().filter_map(|path| path.parse().ok())
    }

    pub(super) fn into_bodies(self) -> BTreeMap<String, Bytes> {
        self.bodies
    }

    fn add(&mut self, resource: Resource, body: Bytes) -> Resource {
        self.put(&resource.to_string(), body);
        resource
    }
}

fn tarball(entries: impl IntoIterator<Item = TarEntry>) -> Result<(TreeHash, Bytes), SampleError> {
    let mut body = Vec::new();
    let tree = write_tar_gz(entries, &mut body, LEVEL)?;
    Ok((tree, body.into()))
}

/// The files below a folder of the sample, with their paths from there.
fn entries(folder: &str) -> Result<Vec<TarEntry>, SampleError> {
    fn collect(from: &Dir<'_>, top: &std::path::Path, entries: &mut Vec<TarEntry>) {
        for file in from.files() {
            let path = file.path().strip_prefix(top).unwrap_or(file.path());
            entries.push(TarEntry::file(path.as_os_str().as_encoded_bytes(), file.contents(), false));
        }
        from.dirs().for_each(|below| collect(below, top, entries));
    }
    let dir = SAMPLE.get_dir(folder).ok_or_else(|| SampleError::Missing(folder.to_owned()))?;
    let mut entries = Vec::new();
    collect(dir, dir.path(), &mut entries);
    Ok(entries)
}

fn folders(folder: &str) -> Result<Vec<String>, SampleError> {
    let dir = SAMPLE.get_dir(folder).ok_or_else(|| SampleError::Missing(folder.to_owned()))?;
    Ok(dir.dirs().map(|below| below.path().to_string_lossy().into_owned()).collect())
}

/// The uuid in the `Project.toml` of a package's versions.
fn uuid(package: &str) -> Result<Uuid, SampleError> {
    let project = folders(package)?.into_iter().find_map(|version| SAMPLE.get_file(format!("{version}/Project.toml")));
    let text = project.and_then(include_dir::File::contents_utf8).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix("uuid = \"")?.strip_suffix('"')?.parse().ok());
    value.ok_or_else(|| SampleError::Missing(format!("uuid of {package}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_sample_has_the_hashes_that_git_gave_it() {
        let site = Site::sample().unwrap();
        let made: BTreeSet<_> = site.resources().map(|resource| resource.tree().to_string()).collect();
        let listed = SAMPLE.get_file("tree-hashes.txt").unwrap().contents_utf8().unwrap();
        let listed = listed.lines().filter(|line| !line.starts_with('#'));
        let listed: BTreeSet<_> = listed.filter_map(|line| line.split_whitespace().nth(2)).collect();
        assert_eq!(made.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
    }
}
