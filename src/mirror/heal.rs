//! What becomes of a file that is found damaged after it was verified: set aside, out of memory, and
//! brought here again.
//!
//! A body in memory was read from its file on the strength of a fact and not hashed again, so what
//! rotted on the disk since may be in it. It is dropped with the file. Other processes learn of it
//! from the quarantine, which each looks at now and then: the fact needs no word, for it is about a
//! file that is no longer under its name. A download that is under way is not cut: its client hashes
//! what it got, as every Pkg does.

use super::judge::{At, Damage, verify_reader};
use super::{Brought, Mirror, Patience, Refusal, blocking, lock};
use crate::protocol::Resource;
use crate::store::{Client, Fact, Lookup, Store, StoreError, Verified};
use crate::tree::Limits;
use bytes::Bytes;
use futures_util::stream::{Stream, TryStreamExt as _};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often the quarantine is looked at: one `stat`.
const LOOK: Duration = Duration::from_secs(1);
/// Rounds over the sources for what was damaged.
const ATTEMPTS: u32 = 2;
/// A file that goes on changing is left for later after so many looks.
const LOOKS: usize = 3;

/// What a file is, after all of it was read.
#[derive(Debug)]
pub enum Examined {
    /// There is none, or it keeps changing.
    Gone,
    /// What its name says.
    Whole {
        /// Its size.
        bytes: u64,
    },
    /// Something else.
    Damaged {
        /// Its size.
        bytes: u64,
        /// What is wrong.
        why: String,
        /// Where it is now; `None` if it was to stay, or could not be moved.
        quarantine: Option<PathBuf>,
    },
    /// The disk does not give it.
    Unreadable {
        /// What the system said.
        why: String,
    },
    /// It could not be looked at, for a reason that says nothing of the file: no right to it, too many
    /// open files, a broken list of facts, limits that are smaller now. It stays where it is.
    Unsure {
        /// What kept it from being looked at.
        why: String,
    },
}

/// How a resource came back.
#[derive(Clone, Debug)]
pub enum Healed {
    /// It is here: somebody else brought it, or it was not the only file of it.
    Here,
    /// Copied from the same content under another name.
    Twin(Resource),
    /// A registry that lists only what is here was derived again.
    Derived,
    /// Fetched.
    Fetched(Brought),
}

/// Reads and judges a file, whatever the facts say. `reader` makes of an open file what it is read
/// through. A damaged one goes out of sight if it `moves`. Blocks.
pub fn examine<R: Read + Send>(
    store: &Store,
    limits: &Limits,
    resource: &Resource,
    moves: bool,
    reader: impl Fn(Arc<File>, u64) -> R,
) -> Examined {
    for _ in 0..LOOKS {
        let (open, known) = match store.look_up_served(resource) {
            Ok(Lookup::Absent) => return Examined::Gone,
            Ok(Lookup::Verified(open, _)) => (open, true),
            Ok(Lookup::Unverified(open)) => (open, false),
            Err(error) => return Examined::Unsure { why: error.to_string() },
        };
        let (file, stamp) = (Arc::new(open.file), open.stamp);
        let why = match verify_reader(resource, reader(file, stamp.size), limits) {
            Ok((strict, artifacts)) => {
                if !known {
                    store.remember(Fact { resource: *resource, stamp, strict, artifacts });
                }
                return Examined::Whole { bytes: stamp.size };
            }
            Err(Damage::Unreadable(error)) if is_of_disk(&error) => {
                return Examined::Unreadable { why: error.to_string() };
            }
            Err(Damage::Unreadable(error)) => return Examined::Unsure { why: error.to_string() },
            // It was within the limits when it was verified.
            Err(Damage::Limit(why)) if known => return Examined::Unsure { why },
            Err(Damage::Limit(why) | Damage::Wrong(why)) => why,
        };
        if !moves {
            return Examined::Damaged { bytes: stamp.size, why, quarantine: None };
        }
        match store.quarantine(resource, stamp) {
            Ok(Some(to)) => return Examined::Damaged { bytes: stamp.size, why, quarantine: Some(to) },
            // It looks different: written to, or its other name was set aside. Judged anew.
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%resource, "damaged, and cannot be set aside: {error}");
                store.condemn(*resource, stamp);
                return Examined::Damaged { bytes: stamp.size, why, quarantine: None };
            }
        }
    }
    Examined::Gone
}

/// Whether a disk or its file system says that this cannot be read, now or later.
fn is_of_disk(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| matches!(errno, Errno::IO | Errno::BADMSG | Errno::UCLEAN | Errno::NODATA | Errno::NXIO))
}

impl Mirror {
    /// A part of a file that is served. Should the disk not give it, the response ends short, and the
    /// file is looked at.
    pub fn read(
        self: &Arc<Self>,
        resource: Resource,
        file: Arc<File>,
        range: Range<u64>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let mirror = Arc::clone(self);
        super::read(file, range).inspect_err(move |error| mirror.suspect(resource, error))
    }

    /// A file could not be read: it is examined behind whoever asked, and if the disk does not give
    /// it a second time either, it is set aside and fetched again.
    pub(super) fn suspect(self: &Arc<Self>, resource: Resource, error: &io::Error) {
        if !lock(&self.suspects).insert(resource) {
            return;
        }
        tracing::error!(%resource, "cannot be read: {error}");
        let mirror = Arc::clone(self);
        self.tasks.spawn(async move {
            if mirror.examine_and_set_aside(resource).await.is_some() {
                let _ = mirror.heal(&resource, Patience::prewarm(ATTEMPTS)).await;
            }
            lock(&mirror.suspects).remove(&resource);
        });
    }

    /// Reads a file again. Where it is now, if it is bad and out of sight.
    pub(crate) async fn examine_and_set_aside(&self, resource: Resource) -> Option<PathBuf> {
        let (store, limits) = (Arc::clone(&self.store), self.limits.clone());
        let examined = blocking(move || match examine(&store, &limits, &resource, true, whole) {
            Examined::Unreadable { why } => (why, store.quarantine_unreadable(&resource).ok().flatten()),
            Examined::Damaged { why, quarantine, .. } => (why, quarantine),
            Examined::Unsure { why } => (why, None),
            Examined::Whole { .. } | Examined::Gone => (String::new(), None),
        });
        let Ok((why, Some(to))) = examined.await else { return None };
        tracing::error!(%resource, quarantine = %to.display(), "set aside: {why}");
        Some(to)
    }

    /// Brings a resource here again whose file was set aside. What cannot be had is a miss, so that
    /// it is on the next list that goes out.
    pub async fn heal(self: &Arc<Self>, resource: &Resource, patience: Patience) -> Result<Healed, Refusal> {
        self.hot.remove(resource);
        let healed = self.bring_back(resource, patience).await;
        match &healed {
            Ok(how) => tracing::info!(%resource, ?how, "is here again"),
            Err(refusal) => self.missed(resource, refusal, &Client::default()),
        }
        if matches!(resource, Resource::Registry { .. }) {
            self.say_stepped_back().await;
        }
        healed
    }

    async fn bring_back(self: &Arc<Self>, resource: &Resource, patience: Patience) -> Result<Healed, Refusal> {
        if matches!(self.look_up(resource).await?, Lookup::Verified(..)) {
            return Ok(Healed::Here);
        }
        let (mirror, wanted) = (Arc::clone(self), *resource);
        match blocking(move || mirror.copy_twin(&wanted)).await? {
            Ok(Some(twin)) => return Ok(Healed::Twin(twin)),
            Ok(None) => {}
            // On the same disk. The sources may still have it.
            Err(error) => tracing::warn!(%resource, "the same content under another name is of no use: {error}"),
        }
        if self.is_derived(wanted).await? {
            self.refresh_view().await;
            let again = matches!(self.look_up(resource).await?, Lookup::Verified(..));
            return if again { Ok(Healed::Derived) } else { Err(Refusal::NotFound) };
        }
        Ok(Healed::Fetched(self.fetch_from(resource, patience).await?))
    }

    /// Whether a registry is one that this mirror made, and that nobody else can have.
    async fn is_derived(&self, resource: Resource) -> Result<bool, Refusal> {
        let Resource::Registry { uuid, tree } = resource else { return Ok(false) };
        let store = Arc::clone(&self.store);
        let derived = blocking(move || store.derived()).await??;
        Ok(derived.iter().any(|it| (it.uuid, it.tree) == (uuid, tree) && it.from != tree))
    }

    /// Publishes the same content under this name if it is here, good, under another.
    fn copy_twin(&self, resource: &Resource) -> Result<Option<Resource>, StoreError> {
        for twin in self.store.twins(resource)? {
            let Lookup::Verified(open, _) = self.store.look_up(&twin)? else { continue };
            let mut staged = self.store.stage()?;
            let mut from = whole(Arc::new(open.file), open.stamp.size);
            let mut buffer = vec![0; 1 << 18];
            loop {
                match from.read(&mut buffer)? {
                    0 => break,
                    read => staged.write_all(buffer.get(..read).unwrap_or_default())?,
                }
            }
            // What rotted may have done so before it got its other name.
            let judged = verify_reader(resource, whole(staged.file(), staged.written()), &self.limits);
            let Ok((strict, artifacts)) = judged else { continue };
            let verified = Verified { staged, resource: *resource, strict, artifacts };
            self.store.publish_all(vec![verified]).into_iter().collect::<Result<(), _>>()?;
            return Ok(Some(twin));
        }
        Ok(None)
    }

    /// Drops from memory what any process set aside, so that nothing of it is given from here.
    pub(super) fn spawn_quarantine(self: &Arc<Self>) {
        let mirror = Arc::clone(self);
        let resting = self.resting.clone();
        self.tasks.spawn(async move {
            let mut seen = None;
            loop {
                seen = mirror.forget_quarantined(seen).await;
                if resting.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                    return;
                }
            }
        });
    }

    /// Returns how the quarantine looked; `None` if it may change again without looking different.
    async fn forget_quarantined(&self, seen: Option<SystemTime>) -> Option<SystemTime> {
        let store = Arc::clone(&self.store);
        let looked = blocking(move || {
            let changed = store.quarantine_changed()?;
            let names = if seen == Some(changed) { None } else { Some(store.quarantined()?) };
            Ok::<_, StoreError>((changed, names))
        });
        let (changed, names) = looked.await.ok()?.ok()?;
        // Whoever was reading one of them just then may have put it back: it is dropped again as long
        // as the change is young, which is also as long as times on disk are coarse.
        names.iter().flatten().for_each(|resource| _ = self.hot.remove(resource));
        changed.elapsed().is_ok_and(|age| age > LOOK * 3).then_some(changed)
    }

    /// Says loudly, once, which registries are not shown as they are published.
    pub(super) async fn say_stepped_back(&self) {
        let store = Arc::clone(&self.store);
        let Ok(Ok(now)) = blocking(move || store.stepped_back()).await else { return };
        let before = std::mem::replace(&mut *lock(&self.stepped_back), now.clone());
        for it in now.iter().filter(|it| !before.contains(it)) {
            let shown = match it.shown {
                Some(tree) => format!("clients see the one before, {tree}"),
                None => "it is not listed at all".to_owned(),
            };
            tracing::error!(
                registry = %it.uuid, tree = %it.published,
                "the registry that /{} names is not here, or damaged: {shown}. Carry it here again",
                it.flavor.file_name(),
            );
        }
        for it in before.iter().filter(|it| !now.contains(it)) {
            tracing::info!(registry = %it.uuid, "/{} is as it is published again", it.flavor.file_name());
        }
    }
}

/// Reads a file from its start.
pub fn whole(file: Arc<File>, _: u64) -> impl Read + Send {
    At(file, 0)
}
