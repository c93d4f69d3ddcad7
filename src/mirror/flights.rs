//! The flights under way, one for each resource: who comes joins it, and only who comes first
//! gets a landing and must fly.
//!
//! No I/O here: `model/` runs this file, `flight.rs` and `body.rs` under a scheduler that tries
//! orders of their steps.

use super::flight::Flight;
use super::refusal::Refusal;
use super::{Mutex, lock};
use crate::protocol::Resource;
use std::collections::HashMap;
use std::sync::Arc;

/// The flights under way.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<Resource, Arc<Flight>>>);

/// Whoever holds this flies the flight; when it is dropped, the flight has ended, whatever
/// happened to its task, and nobody joins it any more.
#[derive(Debug)]
pub(super) struct Landing {
    pub(super) flight: Arc<Flight>,
    flights: Arc<Flights>,
}

impl Flights {
    /// The flight of this resource: the one under way, or a new one with its landing.
    pub(super) fn join(self: &Arc<Self>, resource: &Resource) -> (Arc<Flight>, Option<Landing>) {
        let mut flights = lock(&self.0);
        if let Some(flight) = flights.get(resource) {
            return (Arc::clone(flight), None);
        }
        let flight = Arc::new(Flight::new(*resource));
        flights.insert(*resource, Arc::clone(&flight));
        (Arc::clone(&flight), Some(Landing { flight, flights: Arc::clone(self) }))
    }

    /// How many are under way.
    pub(super) fn count(&self) -> usize {
        lock(&self.0).len()
    }

    /// Whether this resource is on its way in.
    pub(super) fn has(&self, resource: &Resource) -> bool {
        lock(&self.0).contains_key(resource)
    }
}

impl Drop for Landing {
    /// Ended first: who joins between the two steps finds the end, not a flight that nobody flies.
    fn drop(&mut self) {
        self.flight.end(Err(Refusal::Closing));
        lock(&self.flights.0).remove(&self.flight.resource);
    }
}
