//! The package-server protocol as types: what a client may ask for and what a listing says.
//!
//! Pure: no I/O, no async. This is the only place where a URL path becomes a [`Resource`], so
//! nothing below or beside it ever re-checks a hash, a uuid or a path.

/// A type that serializes as what it displays and reads back what it parses.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

mod hash;
mod listing;
mod repository;
mod request_id;
mod resource;
mod uuid;

pub use hash::{ParseTreeHashError, TreeHash};
pub use listing::{Flavor, Listing, ListingError, RegistryTree};
pub use repository::{REPOSITORIES, RepositoryFile, RepositoryFileError};
pub use request_id::{ParseRequestIdError, RequestId};
pub use resource::{Kind, ParseResourceError, Resource};
pub use uuid::{GENERAL, ParseUuidError, Uuid};
