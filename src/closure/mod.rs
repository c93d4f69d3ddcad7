//! The closure: all that some files name, and what of it is here.
//!
//! Paths become inputs (`inputs.rs`, `walk.rs`), inputs become a plan (`plan.rs`, `wanted.rs`), and
//! `survey.rs` says without any upstream what of a plan lies in the cache. Wishes by name become
//! packages in `wishes.rs`. Prewarm fetches a plan,
//! check judges it, a bundle packs it, gc keeps it.

mod inputs;
mod plan;
mod survey;
mod walk;
mod wanted;
mod wishes;

pub use inputs::{Content, IGNORE_FILE, Input, InputError, read_inputs};
pub use plan::{Plan, Selection};
pub use survey::{State, Survey, survey};
pub use wanted::{Unmirrorable, UnmirrorableKind, WantedArtifact, WantedPackage};
pub use wishes::{Catalogue, Granted, grant};
