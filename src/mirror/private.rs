//! Private registries: what their branches say is true, in every listing that is here, and nobody
//! else has a say in it.

use super::registries::{Offer, RegistryProblem};
use super::{Mirror, Patience, blocking, lock};
use crate::protocol::{Flavor, GENERAL, Listing, Uuid};
use crate::source::{Claim, Fault, Rank, Source};
use crate::store::StoreError;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long the listings of package servers wait, at the first start, for private registries to say
/// what is theirs.
pub(super) const FIRST_CLAIMS: Duration = Duration::from_secs(3);

/// What was said about private registries already.
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<BTreeSet<Uuid>>);

/// What private registries answered, each with its place among the sources.
pub(super) type PrivateListings = Vec<(usize, Result<Listing, Fault>)>;

impl Mirror {
    fn private_with_place(&self) -> impl Iterator<Item = (usize, &Arc<dyn Source>)> {
        self.sources.iter().enumerate().filter(|(_, source)| source.rank() == Rank::Private)
    }

    /// Whether some private registry was never read, so that nobody knows what is its own.
    pub(super) fn has_unread(&self) -> bool {
        self.private_with_place().any(|(_, source)| source.claims(GENERAL) == Claim::Unread)
    }

    /// Asks all private registries what their branches say.
    pub(super) async fn ask_private(&self, patience: Patience) -> PrivateListings {
        let asked = self.private_with_place().map(|(index, source)| async move {
            // It is the same for every flavor.
            (index, self.ask_listing(index, source.as_ref(), Flavor::Plain, patience).await)
        });
        join_all(asked).await
    }

    /// Publishes what they said.
    pub(super) async fn offer_private(
        self: &Arc<Self>,
        listings: PrivateListings,
        patience: Patience,
    ) -> Vec<RegistryProblem> {
        let (mut problems, mut owners) = (Vec::new(), BTreeMap::<Uuid, String>::new());
        for (index, listing) in listings {
            let Some(source) = self.sources.get(index) else { continue };
            let name = source.name();
            let listing = match listing {
                Ok(listing) => self.admitted(source.as_ref(), listing).await,
                Err(fault) => {
                    problems.push(RegistryProblem::new(name, None, &fault));
                    continue;
                }
            };
            for registry in listing.iter() {
                if let Some(owner) = owners.get(&registry.uuid) {
                    let reason = format!("{owner} is the same registry: take one of the two [[registry]] out");
                    tracing::error!(registry = %registry.uuid, "{owner} and {name} are both this registry: {name} is not served");
                    problems.push(RegistryProblem::new(name, Some(registry), &reason));
                    continue;
                }
                owners.insert(registry.uuid, name.to_owned());
                let flavors = match self.flavors_for_private().await {
                    Ok(flavors) => flavors,
                    Err(error) => {
                        problems.push(RegistryProblem::new(name, Some(registry), &error));
                        continue;
                    }
                };
                for flavor in flavors {
                    let offer = Offer { flavor, source: name, is_truth: true };
                    if let Err(refusal) = self.offer(offer, registry, patience).await {
                        problems.push(RegistryProblem::new(name, Some(registry), &refusal));
                    }
                }
            }
        }
        problems
    }

    /// The listings that are here. None comes to life for a private registry: a client that found
    /// General missing in it would go to GitHub. Without any package server there is no General to
    /// wait for.
    async fn flavors_for_private(&self) -> Result<Vec<Flavor>, StoreError> {
        let store = Arc::clone(&self.store);
        let here = blocking(move || {
            let mut here = Vec::new();
            for flavor in Flavor::ALL {
                here.extend(store.listing(flavor)?.filter(|listing| !listing.is_empty()).map(|_| flavor));
            }
            Ok::<_, StoreError>(here)
        });
        let here = here.await.unwrap_or_else(|error| Err(error.into()))?;
        let alone = !self.sources.iter().any(|source| source.rank() == Rank::Server);
        Ok(if here.is_empty() && alone { vec![Flavor::Plain] } else { here })
    }

    /// The uuids of private registries: what they claim now, and what they were when they could be
    /// read last.
    pub(super) async fn claimed(&self, listing: &Listing) -> BTreeSet<Uuid> {
        let names: Vec<_> = self.private_with_place().map(|(_, source)| source.name().to_owned()).collect();
        if names.is_empty() {
            return BTreeSet::new();
        }
        let store = Arc::clone(&self.store);
        let logged = blocking(move || {
            let log = store.generations()?;
            Ok::<_, StoreError>(
                log.into_iter().filter(|entry| names.contains(&entry.source)).map(|it| it.uuid).collect(),
            )
        });
        let logged: BTreeSet<_> = logged.await.unwrap_or_else(|error| Err(error.into())).unwrap_or_default();
        let is_claimed = |uuid: &Uuid| {
            logged.contains(uuid) || self.private_with_place().any(|(_, source)| source.claims(*uuid) == Claim::Yes)
        };
        listing.iter().map(|registry| registry.uuid).filter(is_claimed).collect()
    }

    /// What a package server may say: not what a private registry is.
    pub(super) async fn without_claimed(&self, source: &str, mut listing: Listing) -> Listing {
        let claimed = self.claimed(&listing).await;
        listing.retain(|registry| {
            let is_claimed = claimed.contains(&registry.uuid);
            if is_claimed && lock(&self.said.0).insert(registry.uuid) {
                tracing::warn!(registry = %registry.uuid, source, "it lists a registry that a [[registry]] is: only that one counts");
            }
            !is_claimed
        });
        listing
    }
}
