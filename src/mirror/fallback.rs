//! What is tried when no server has a resource: the places that it comes from in the first place.
//!
//! They are many, each good for a few resources, so a failure of one says nothing about the others:
//! it cools the resource, never the fall-back.

use super::Mirror;
use super::fetch::within;
use super::flight::{Flight, Landed};
use super::patience::Patience;
use super::receive::Failed;
use super::refusal::Refusal;
use crate::config::When;
use crate::protocol::{Kind, Resource};
use crate::source::{Claim, Fault, Rank, Source, Wanted};
use std::sync::Arc;

impl Mirror {
    /// Whether a source may be asked for this resource. A fall-back that may not be asked now counts
    /// as not there.
    pub(super) fn may_ask(&self, source: &dyn Source, resource: &Resource, patience: &Patience) -> bool {
        let kind = resource.kind();
        let when = match kind {
            Kind::Package => self.fallback.git,
            Kind::Artifact => self.fallback.download,
            Kind::Registry => When::Never,
        };
        // A private registry has nothing but its own, and that it does not have the rest is no news.
        let claims = || resource.uuid().is_none_or(|uuid| source.claims(uuid) == Claim::Yes);
        source.gives(kind)
            && match source.rank() {
                Rank::Private => claims(),
                Rank::Server => true,
                Rank::Fallback => patience.allows(when),
            }
    }

    /// Tries each place that a resource comes from, until one has it: what is wrong with one does
    /// not speak against the next, unless a client already has bytes of it.
    pub(super) async fn ask_fallback(
        self: &Arc<Self>,
        flight: &Flight,
        index: usize,
        patience: Patience,
    ) -> Result<Landed, Failed> {
        let Some(source) = self.sources.get(index) else { return Err(Fault::NotFound.into()) };
        let resource = flight.resource;
        let origins = within(patience.deadline(flight.started), self.origins(&resource)).await;
        let origins = origins.unwrap_or_else(|| Err(Refusal::Slow("no time for a fall-back".to_owned())));
        let mut tried = Vec::new();
        for origins in origins.map_err(Failed::Here)?.one_by_one() {
            let address = origins.address().unwrap_or_default();
            match self
                .attempt(
                    flight,
                    source.as_ref(),
                    &Wanted { origins, request: patience.request, ..Wanted::new(resource) },
                    patience,
                )
                .await
            {
                Ok(landed) => {
                    self.memory.succeeded(index, &resource);
                    tracing::info!(%resource, source = source.name(), address, "no server has it; it came from here");
                    return Ok(landed);
                }
                Err(Failed::Source(fault)) => {
                    tracing::info!(%resource, source = source.name(), address, "{fault}");
                    tried.push((address, fault));
                    if flight.is_committed() {
                        break;
                    }
                }
                Err(here @ Failed::Here(_)) => return Err(here),
            }
        }
        let fault = summed_up(source.name(), tried);
        self.memory.cool(index, &resource, &fault);
        Err(fault.into())
    }
}

/// What all places said, for people. What may be different in a moment decides what it means, or
/// else the worst of it.
fn summed_up(source: &str, tried: Vec<(String, Fault)>) -> Fault {
    let words = tried.iter().map(|(address, fault)| {
        let said = fault.to_string();
        if said.contains(address.as_str()) { said } else { format!("{address}: {said}") }
    });
    let words = format!("{source}: {}", words.collect::<Vec<_>>().join("; "));
    let worst = tried.into_iter().map(|(_, fault)| fault).max_by_key(|fault| (fault.is_passing(), fault.weight()));
    worst.map_or(Fault::NotFound, |worst| Fault::worded(words, worst))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_places_are_named_and_what_may_pass_decides() {
        assert_eq!(summed_up("download", Vec::new()), Fault::NotFound);
        let corrupt = Fault::Content("its SHA-256 is wrong".to_owned());
        let tried = vec![("https://a".to_owned(), Fault::Broken("cut".to_owned())), ("https://b".to_owned(), corrupt)];
        assert!(summed_up("download", tried).is_passing(), "the first may be whole the next time");
        let tried = vec![
            ("https://a".to_owned(), Fault::NotFound),
            ("https://b".to_owned(), Fault::Connect("refused".to_owned())),
            ("https://c".to_owned(), Fault::worded("nothing at https://c".to_owned(), Fault::NotFound)),
        ];
        let fault = summed_up("download", tried);
        assert_eq!(
            fault.to_string(),
            "download: https://a: not found; https://b: cannot connect: refused; nothing at https://c"
        );
        assert!(fault.is_passing() && fault.is_unreachable());
    }
}
