//! What crosses the gap besides tarballs, as types: the index of a bundle on its way in, and the
//! request on its way out.
//!
//! Pure: no I/O, no async. Both files are written on one side and read on the other, by people too,
//! so they are plain JSON; a reader trusts nothing in them that it has not parsed.

mod index;
mod item;
mod request;
mod sha256;

pub use index::{
    Base, BundleIndex, Entry, INDEX_FORMAT, IndexError, MAX_VOLUMES, Publication, Replaced, Uncarried, UncarriedKind,
    Volume, is_destination, is_file_name,
};
pub use item::{Item, ItemName, RepositoryEntry};
pub use request::{Damaged, MAX_WISHES, Missed, REQUEST_FORMAT, Received, Request, RequestError, Wish, WishError};
pub use sha256::{ParseSha256Error, Sha256};
