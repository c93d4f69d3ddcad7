//! Whether a tarball is what its name says.

use crate::julia::{Artifact, ArtifactsToml};
use crate::protocol::{Kind, Resource, TreeHash};
use crate::store::{Fact, HeldArtifact, Lookup, Stamp, Store, StoreError};
use crate::tree::{Contents, KeptFile, Limits, TreeError, hash_tar_gz};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The platform tags that choose among artifacts here. All others are left to the client: what
/// chooses by them is Julia code that a mirror must not run.
const TAGS: [&str; 4] = ["os", "arch", "libc", "call_abi"];

/// The files of a package that name artifacts; Julia knows both names.
pub(super) fn names_artifacts(path: &str) -> bool {
    matches!(path.rsplit('/').next(), Some("Artifacts.toml" | "JuliaArtifacts.toml"))
}

/// Hashes a tarball, and keeps what names artifacts.
pub(super) fn hash(reader: impl Read + Send, limits: &Limits) -> Result<Contents, TreeError> {
    hash_tar_gz(reader, limits, names_artifacts)
}

/// Whether the content may stand under this name. Packages and artifacts may be named by the
/// strict or by the lenient hash, as old artifacts are; a registry only by the strict one, which
/// is what clients check (Pkg `Registry.jl`, `verify_registry`).
pub(super) fn judge(resource: &Resource, contents: &Contents) -> Result<(), String> {
    let named = resource.tree();
    let lenient = resource.kind() != Kind::Registry && contents.lenient == named;
    if contents.strict == named || lenient {
        return Ok(());
    }
    Err(format!("its tree hash is {}", contents.strict))
}

/// The artifacts that a tarball names. What cannot be read names none: Julia could not read it
/// either, and the package is what its name says all the same.
pub(super) fn held_artifacts(resource: &Resource, contents: &Contents) -> Vec<HeldArtifact> {
    // At the root Pkg reads the first of these two that is there (`Artifacts.jl`,
    // `artifact_names`), and what lies deeper only when code asks for it.
    let read = ["JuliaArtifacts.toml", "Artifacts.toml"];
    let read = read.iter().find(|name| contents.kept.iter().any(|file| file.path == **name));
    let mut held = Vec::new();
    for file in &contents.kept {
        let is_read = read.is_some_and(|name| file.path == *name);
        held.extend(
            read_artifacts(resource, file)
                .into_iter()
                .map(hold)
                .map(|artifact| HeldArtifact { deferred: artifact.deferred || !is_read, ..artifact }),
        );
    }
    held.sort_by(|a, b| (&a.name, a.tree, &a.platform).cmp(&(&b.name, b.tree, &b.platform)));
    held.dedup();
    held
}

pub(super) fn read_artifacts(resource: &Resource, file: &KeptFile) -> Vec<Artifact> {
    let Ok(text) = str::from_utf8(&file.contents) else {
        tracing::warn!(%resource, file = ?file.path, "not UTF-8");
        return Vec::new();
    };
    let (artifacts, problems) = ArtifactsToml::parse_leniently(text);
    for problem in problems {
        tracing::warn!(%resource, file = ?file.path, "{problem}");
    }
    artifacts
}

/// The part of an artifact that matters to a mirror.
pub fn hold(artifact: Artifact) -> HeldArtifact {
    let Artifact { name, tree, lazy, platform_specific, mut tags, has_download, .. } = artifact;
    tags.retain(|tag, _| TAGS.contains(&tag.as_str()));
    HeldArtifact { name, tree, lazy, deferred: !has_download, platform: platform_specific.then_some(tags) }
}

/// Verifies a file where it lies, whoever put it there.
pub fn verify_file(resource: &Resource, file: &Arc<File>, stamp: Stamp, limits: &Limits) -> Result<Fact, Damage> {
    let (strict, artifacts) = verify_reader(resource, At(Arc::clone(file), 0), limits)?;
    Ok(Fact { resource: *resource, stamp, strict, artifacts })
}

/// Verifies a tarball on its way from anywhere: its strict tree hash, and the artifacts that it
/// names. What is read counts only if this is `Ok`.
pub fn verify_reader(
    resource: &Resource,
    reader: impl Read + Send,
    limits: &Limits,
) -> Result<(TreeHash, Vec<HeldArtifact>), Damage> {
    let contents = hash(reader, limits).map_err(|error| match error {
        TreeError::Read(error) => Damage::Unreadable(error),
        error @ TreeError::Limit { .. } => Damage::Limit(describe(&error)),
        error => Damage::Wrong(describe(&error)),
    })?;
    judge(resource, &contents).map_err(Damage::Wrong)?;
    Ok((contents.strict, held_artifacts(resource, &contents)))
}

/// Whether a resource is here and what its name says. A file that is not goes out of sight.
pub fn is_here(store: &Store, limits: &Limits, resource: &Resource) -> Result<bool, StoreError> {
    let open = match store.look_up(resource)? {
        Lookup::Absent => return Ok(false),
        Lookup::Verified(..) => return Ok(true),
        Lookup::Unverified(open) => open,
    };
    match verify_file(resource, &Arc::new(open.file), open.stamp, limits) {
        Ok(fact) => {
            store.remember(fact);
            Ok(true)
        }
        Err(Damage::Wrong(why) | Damage::Limit(why)) => {
            tracing::warn!(%resource, "the file in the cache is set aside: {why}");
            store.quarantine(resource, open.stamp)?;
            Ok(false)
        }
        Err(Damage::Unreadable(error)) => Err(error.into()),
    }
}

/// Reads a shared file from its start, wherever others are in it.
pub(super) struct At(pub(super) Arc<File>, pub(super) u64);

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read_at(buffer, self.1)?;
        self.1 += read as u64;
        Ok(read)
    }
}

/// Why a file could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The disk did not give it: that says nothing about the file.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is not what its name says.
    #[error("{0}")]
    Wrong(String),
    /// It is more than the limits allow.
    #[error("{0}")]
    Limit(String),
}

/// An error with its causes, on one line.
pub(super) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TreeHash;
    use crate::tree::{TarEntry, write_tar_gz};

    /// What a package with these files holds: each artifact's name, and whether it is deferred.
    fn held(files: &[(&str, &str)]) -> Vec<(String, bool)> {
        let mut tarball = Vec::new();
        let entries = files.iter().map(|(path, text)| TarEntry::file(*path, *text, false));
        let tree = write_tar_gz(entries, &mut tarball, 1).unwrap();
        let contents = hash(&tarball[..], &Limits::default()).unwrap();
        let artifacts = held_artifacts(&Resource::Artifact { tree }, &contents);
        artifacts.into_iter().map(|artifact| (artifact.name, artifact.deferred)).collect()
    }

    #[test]
    fn what_pkg_does_not_read_on_installation_is_deferred() {
        let entry = |name: &str, more: &str| format!("[{name}]\ngit-tree-sha1 = \"{}\"\n{more}", TreeHash::EMPTY);
        let with = |name: &str| entry(name, &format!("[[{name}.download]]\nurl = \"u\"\nsha256 = \"broken\"\n"));
        let (a, b, c) = (with("a") + &entry("without", ""), with("b"), with("c"));
        let only = |name: &str, deferred| (name.to_owned(), deferred);
        assert_eq!(held(&[("Artifacts.toml", &a)]), [only("a", false), only("without", true)]);
        assert_eq!(held(&[("JuliaArtifacts.toml", &b)]), [only("b", false)]);
        let all = [("Artifacts.toml", &*a), ("JuliaArtifacts.toml", &*b), ("test/Artifacts.toml", &*c)];
        assert_eq!(held(&all), [only("a", true), only("b", false), only("c", true), only("without", true)]);
        assert_eq!(held(&[("deps/Artifacts.toml", &*c)]), [only("c", true)]);
    }

    #[test]
    fn a_fact_of_before_says_that_all_are_needed() {
        let old = format!("{{\"name\":\"a\",\"tree\":\"{}\"}}", TreeHash::EMPTY);
        assert!(!serde_json::from_str::<HeldArtifact>(&old).unwrap().deferred);
    }
}
