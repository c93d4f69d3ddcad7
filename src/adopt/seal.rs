//! What every judge shares: where its files go, whether something is here, and the gate through
//! which all that is packed must pass before it is published.

use super::folder::{Fault, Packed};
use super::hints::Hints;
use super::report::Item;
use crate::mirror::{Damage, is_here, verify_file};
use crate::policy::{Act, Policy, Registry, Subject, Verdict};
use crate::protocol::Resource;
use crate::store::{Staged, Stamp, Store, StoreError, Verified};
use crate::tree::Limits;

/// What judges need.
pub(super) struct Context<'c> {
    pub(super) store: &'c Store,
    pub(super) limits: &'c Limits,
    pub(super) policy: &'c Policy,
    pub(super) hints: &'c Hints<'c>,
    /// Nothing is written.
    pub(super) dry_run: bool,
}

/// Something that is what its name says: here already, to be published, or in a dry run neither.
pub(super) struct Sealed {
    pub(super) item: Item,
    pub(super) verified: Option<Verified>,
}

impl Sealed {
    pub(super) fn here(item: Item) -> Self {
        Self { item, verified: None }
    }
}

impl Context<'_> {
    /// Where to pack to.
    pub(super) fn staging(&self) -> Option<&Store> {
        (!self.dry_run).then_some(self.store)
    }

    /// Whether a resource is here and what its name says.
    pub(super) fn is_here(&self, resource: &Resource) -> Result<bool, StoreError> {
        // To verify is to write down what was found.
        if self.dry_run { Ok(self.store.has(resource)) } else { is_here(self.store, self.limits, resource) }
    }

    /// Whether the policy lets it in: a depot is one more place that things come from. `name` is what
    /// the depot calls a package or registry. Of an artifact nobody can tell yet which packages name it,
    /// so it goes by the rules on artifacts alone.
    pub(super) fn permit(&self, resource: &Resource, name: Option<&str>) -> Result<(), Fault> {
        let subject = match *resource {
            Resource::Registry { uuid, .. } => {
                Subject::Registry(Registry { name: name.map(Into::into), ..Registry::new(uuid) })
            }
            Resource::Package { uuid, .. } => Subject::Package(self.hints.package(uuid, name)),
            Resource::Artifact { .. } => Subject::unknown(resource),
        };
        match self.policy.judge(Act::Fetch, &subject) {
            Verdict::Denied(why) if why.rule.is_some() || !matches!(subject, Subject::Artifact { .. }) => {
                Err(Fault::refused(format!("denied: {why}")))
            }
            _ => Ok(()),
        }
    }

    /// Passes what was packed through the same gate as what comes from anywhere else: it is read
    /// again from the cache, within the limits for tarballs, and the artifacts that it names are
    /// noted.
    pub(super) fn seal(&self, packed: Packed, resource: Resource, item: Item) -> Result<Sealed, Fault> {
        self.permit(&resource, item.name.as_deref())?;
        match packed.staged {
            Some(staged) => self.seal_staged(staged, resource, item),
            None => Ok(Sealed { item, verified: None }),
        }
    }

    pub(super) fn seal_staged(&self, staged: Staged, resource: Resource, item: Item) -> Result<Sealed, Fault> {
        let file = staged.file();
        let stamp = Stamp::of(&file.metadata().map_err(StoreError::from)?);
        let fact = verify_file(&resource, &file, stamp, self.limits).map_err(|damage| match damage {
            Damage::Unreadable(error) => Fault::Store(error.into()),
            Damage::Wrong(why) | Damage::Limit(why) => Fault::Refused(why),
        })?;
        let item = Item { bytes: Some(staged.written()), ..item };
        let verified = Verified { staged, resource, strict: fact.strict, artifacts: fact.artifacts };
        Ok(Sealed { item, verified: Some(verified) })
    }
}
