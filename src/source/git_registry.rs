//! A private registry as a source: the registry from a branch of its git repository, its packages
//! from theirs.
//!
//! What is its own is known from its clone on this disk, so that anything else is refused at once
//! and without any network, and so that nobody else is ever asked for it. Work with git blocks and
//! may take long; it goes on when whoever asked has left, and the next request finds what it brought.

use super::http_client::is_loopback;
use super::{Answer, Claim, Fault, Rank, Resume, Source, Wanted};
use crate::config;
use crate::git::{BareClone, Bounds, Clones, GitError, Refs, Release, Trust, relative_url};
use crate::julia::{PackageEntry, PackageToml, RegistryToml, VersionEntry, parse_versions};
use crate::protocol::{Flavor, Kind, Listing, RegistryTree, Resource, TreeHash, Uuid};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::BTreeMap;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tempfile::SpooledTempFile;
use tokio::sync::Semaphore;

/// Packages that are brought from their repositories at one time.
const JOBS: usize = 8;
/// gzip's level for what is packed here: its own default.
const LEVEL: u32 = 6;
/// Bytes of a tarball that stay in memory until they are handed over.
const IN_MEMORY: usize = 4 << 20;
/// Bytes that are read at once of one that does not.
const CHUNK: usize = 128 << 10;

/// A private registry. Dropping it ends the `git` programs that work for it.
#[derive(Debug)]
pub struct GitRegistry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The address without credentials.
    name: String,
    url: String,
    branch: Option<String>,
    clones: Clones,
    clone: BareClone,
    known: RwLock<Option<Arc<Known>>>,
    jobs: Arc<Semaphore>,
}

/// The registry as its branch was last.
#[derive(Debug)]
struct Known {
    uuid: Uuid,
    tree: TreeHash,
    packages: BTreeMap<Uuid, PackageEntry>,
}

impl GitRegistry {
    /// The registry of a configuration, with its clones in a folder. Reads what is in its clone if
    /// there is one; asks nobody.
    pub fn new(registry: &config::GitRegistry, clones: &Path, bounds: Bounds) -> Result<Self, GitError> {
        let clones = Clones::new(clones.to_owned(), bounds);
        let mut url = &registry.url;
        if *url != registry.name && url.starts_with("http://") && !is_loopback(url) {
            tracing::warn!(
                registry = registry.name,
                "its user and password are not sent: the way there is not https, so anybody on it could read them"
            );
            url = &registry.name;
        }
        let inner = Inner {
            clone: clones.open(url, Trust::Configured)?,
            clones,
            name: registry.name.clone(),
            url: url.clone(),
            branch: registry.branch.clone(),
            known: RwLock::default(),
            jobs: Arc::new(Semaphore::new(JOBS)),
        };
        if inner.clone.folder().exists()
            && let Err(error) = inner.look().or_else(|_| inner.look_back())
        {
            tracing::warn!(registry = inner.name, "its clone cannot be read before its repository is asked: {error}");
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The registry's uuid, if it was ever read.
    pub fn uuid(&self) -> Option<Uuid> {
        self.inner.known().map(|known| known.uuid)
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Inner) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || job(&inner)).await;
        done.unwrap_or_else(|error| Err(Fault::Broken(error.to_string())))
    }

    async fn bring(&self, resource: Resource) -> Result<Answer, Fault> {
        // Only what may be its own gets a place: the rest is refused at once.
        let known = self.inner.known().filter(|known| known.claims(&resource)).ok_or(Fault::NotFound)?;
        let jobs = Arc::clone(&self.inner.jobs);
        let place = jobs.acquire_owned().await.map_err(|error| Fault::Broken(error.to_string()))?;
        let packed = self.run(move |inner| {
            let _place = place;
            match resource {
                Resource::Registry { uuid, tree } => inner.registry(&known, uuid, tree),
                Resource::Package { uuid, tree } => inner.package(&known, uuid, tree),
                Resource::Artifact { .. } => Err(Fault::NotFound),
            }
        });
        let Packed { length, file } = packed.await?;
        Ok(Answer { length: Some(length), start: 0, etag: None, body: body(file) })
    }
}

impl Drop for GitRegistry {
    fn drop(&mut self) {
        self.inner.clones.stop();
    }
}

impl Source for GitRegistry {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn rank(&self) -> Rank {
        Rank::Private
    }

    fn is_public(&self) -> bool {
        false
    }

    fn claims(&self, uuid: Uuid) -> Claim {
        match self.inner.known() {
            None => Claim::Unread,
            Some(known) if known.uuid == uuid || known.packages.contains_key(&uuid) => Claim::Yes,
            Some(_) => Claim::No,
        }
    }

    fn gives(&self, kind: Kind) -> bool {
        kind != Kind::Artifact
    }

    /// What its branch says now, whatever the flavor.
    fn listing(&self, _flavor: Flavor) -> BoxFuture<'_, Result<Listing, Fault>> {
        self.run(|inner| {
            let known = inner.poll()?;
            Ok([RegistryTree { uuid: known.uuid, tree: known.tree }].into_iter().collect())
        })
        .boxed()
    }

    /// From the start always: the same tree gives the same bytes, but they are made anew.
    fn fetch<'a>(&'a self, wanted: &'a Wanted, _resume: Option<&'a Resume>) -> BoxFuture<'a, Result<Answer, Fault>> {
        self.bring(wanted.resource).boxed()
    }
}

impl Known {
    /// Whether a resource may be one of these.
    fn claims(&self, resource: &Resource) -> bool {
        match resource {
            Resource::Registry { uuid, .. } => *uuid == self.uuid,
            Resource::Package { uuid, .. } => self.packages.contains_key(uuid),
            Resource::Artifact { .. } => false,
        }
    }
}

impl Inner {
    fn known(&self) -> Option<Arc<Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches the branch, with all files of its tree.
    fn poll(&self) -> Result<Arc<Known>, Fault> {
        let brought = self.clone.fetch(Refs::Heads).and_then(|()| {
            let tree = self.clone.head_tree(self.branch.as_deref())?;
            self.clone.complete(tree)?;
            self.clone.note_complete(self.branch.as_deref(), tree)
        });
        brought.and_then(|()| self.look()).map_err(|error| own_fault(&error))?
    }

    /// Reads the branch as it was fetched last. Asks nobody.
    fn look(&self) -> Result<Result<Arc<Known>, Fault>, GitError> {
        self.look_at(self.clone.head_tree(self.branch.as_deref())?)
    }

    /// Reads the branch as it was when all files of it were here last: whoever fetched it since was killed before
    /// its files came. Asks nobody.
    fn look_back(&self) -> Result<Result<Arc<Known>, Fault>, GitError> {
        self.look_at(self.clone.complete_tree(self.branch.as_deref())?)
    }

    fn look_at(&self, tree: TreeHash) -> Result<Result<Arc<Known>, Fault>, GitError> {
        if let Some(known) = self.known().filter(|known| known.tree == tree) {
            return Ok(Ok(known));
        }
        let registry = match self.registry_toml(tree)? {
            Ok(registry) => registry,
            Err(what) => return Ok(Err(Fault::Content(format!("{}: {what}", self.name)))),
        };
        let known = Arc::new(Known { uuid: registry.uuid, tree, packages: registry.packages });
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&known));
        Ok(Ok(known))
    }

    fn registry_toml(&self, tree: TreeHash) -> Result<Result<RegistryToml, String>, GitError> {
        let Some(text) = self.clone.read_file(tree, "Registry.toml")? else {
            return Ok(Err("there is no Registry.toml at its root, so it is no registry".to_owned()));
        };
        let parsed = RegistryToml::parse(&String::from_utf8_lossy(&text));
        Ok(parsed.map_err(|error| format!("Registry.toml cannot be read: {error}")))
    }

    /// The registry at a tree that its repository had once.
    fn registry(&self, known: &Known, uuid: Uuid, tree: TreeHash) -> Result<Packed, Fault> {
        if tree != known.tree {
            if !self.clone.has_tree(tree) {
                return Err(Fault::NotFound);
            }
            // A poll brings the files of the tree that is the newest then, and of no other.
            let registry = self.clone.complete(tree).and_then(|()| self.registry_toml(tree));
            if !registry.map_err(|error| own_fault(&error))?.is_ok_and(|it| it.uuid == uuid) {
                return Err(Fault::NotFound);
            }
        }
        self.pack(&self.clone, tree, None).map_err(|error| own_fault(&error))
    }

    /// A version of one of its packages, from the package's own repository.
    fn package(&self, known: &Known, uuid: Uuid, tree: TreeHash) -> Result<Packed, Fault> {
        let entry = known.packages.get(&uuid).ok_or(Fault::NotFound)?;
        let Registered { package, version } = self.registered(known.tree, entry, tree)?.ok_or(Fault::NotFound)?;
        let (name, version) = (&package.name, &version.version);
        let fault = |error: &GitError| package_fault(name, version, error);
        let no_repo = || Fault::worded(format!("{name}: {} names no repository for it", self.name), Fault::NotFound);
        let url = relative_url(&self.url, package.repo.as_deref().ok_or_else(no_repo)?);
        // Whoever writes to this registry is trusted with the folders of this machine, as its admin is.
        let clone = self.clones.open(&url, Trust::Configured).map_err(|error| fault(&error))?;
        let release = Release { name, version, subdir: package.subdir.as_deref() };
        self.pack(&clone, tree, Some(release)).map_err(|error| fault(&error))
    }

    /// What the registry says of a package at a tree; `None` if it has no such version.
    fn registered(
        &self,
        registry: TreeHash,
        entry: &PackageEntry,
        tree: TreeHash,
    ) -> Result<Option<Registered>, Fault> {
        let read = |file: &str| {
            let path = format!("{}/{file}", entry.path);
            let text = self.clone.read_file(registry, &path).map_err(|error| own_fault(&error))?;
            let text = text.ok_or_else(|| Fault::Content(format!("{}: there is no {path}", self.name)))?;
            Ok::<_, Fault>((path, String::from_utf8_lossy(&text).into_owned()))
        };
        let broken = |path: &str, error| Fault::Content(format!("{}: {path} cannot be read: {error}", self.name));
        let (path, text) = read("Versions.toml")?;
        let versions = parse_versions(&text).map_err(|error| broken(&path, error))?;
        let Some(version) = versions.into_iter().find(|version| version.tree == tree) else { return Ok(None) };
        let (path, text) = read("Package.toml")?;
        let package = PackageToml::parse(&text).map_err(|error| broken(&path, error))?;
        Ok(Some(Registered { package, version }))
    }

    fn pack(&self, clone: &BareClone, tree: TreeHash, release: Option<Release<'_>>) -> Result<Packed, GitError> {
        let pack = || {
            clone.ensure_tree(tree, release)?;
            let mut file = tempfile::spooled_tempfile_in(IN_MEMORY, self.clones.folder());
            clone.pack(tree, &mut file, LEVEL)?;
            let length = file.stream_position().map_err(GitError::Write)?;
            file.rewind().map_err(GitError::Write)?;
            Ok(Packed { length, file })
        };
        match pack() {
            // It is made again by the second.
            Err(GitError::Broken { .. }) => pack(),
            packed => packed,
        }
    }
}

struct Registered {
    package: PackageToml,
    version: VersionEntry,
}

struct Packed {
    length: u64,
    file: SpooledTempFile,
}

fn body(file: SpooledTempFile) -> BoxStream<'static, Result<Bytes, Fault>> {
    stream::try_unfold(file, |mut file| async move {
        let read = move || {
            let mut chunk = Vec::with_capacity(CHUNK);
            (&mut file).take(CHUNK as u64).read_to_end(&mut chunk).map(|_| (chunk, file))
        };
        let read: io::Result<_> = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(error.into()));
        let (chunk, file) = read.map_err(|error| Fault::Broken(error.to_string()))?;
        Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), file)))
    })
    .boxed()
}

/// What is wrong with the registry's own repository, which is all of this source.
fn own_fault(error: &GitError) -> Fault {
    match error {
        GitError::Unreachable { .. } | GitError::TimedOut { .. } => Fault::Connect(error.to_string()),
        GitError::Broken { .. } | GitError::Stopped | GitError::Io(_) | GitError::Write(_) => {
            Fault::Broken(error.to_string())
        }
        error => Fault::Content(error.to_string()),
    }
}

/// What is wrong with the repository of a package, which says nothing about the others.
fn package_fault(name: &str, version: &str, error: &GitError) -> Fault {
    let words = format!("{name} {version}: {error}");
    match error {
        GitError::Io(_) | GitError::Write(_) => Fault::Broken(words),
        error if error.is_passing() => Fault::Broken(words),
        _ => Fault::worded(words, Fault::NotFound),
    }
}
