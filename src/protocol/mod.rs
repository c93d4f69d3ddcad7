//! The package-server protocol as types: what a client may ask for and what a listing says.
//!
//! Pure: no I/O, no async. This is the only place where a URL path becomes a [`Resource`], so
//! nothing below or beside it ever re-checks a hash, a uuid or a path.

mod hash;
mod listing;
mod resource;
mod uuid;

pub use hash::{ParseTreeHashError, TreeHash};
pub use listing::{Flavor, Listing, ListingError, RegistryTree};
pub use resource::{Kind, ParseResourceError, Resource};
pub use uuid::{GENERAL, ParseUuidError, Uuid};
