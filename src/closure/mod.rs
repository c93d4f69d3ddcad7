//! The closure: all that some files name, and what of it is here.
//!
//! Paths become inputs (`inputs.rs`, `walk.rs`), inputs become a plan (`plan.rs`, `wanted.rs`), and
//! `survey.rs` says without any upstream what of a plan lies in the cache, `listed.rs` what the
//! registries are. Wishes by name become packages in `wishes.rs`. Prewarm fetches a plan, check
//! judges it, a bundle packs it, gc keeps it.

mod input_report;
mod inputs;
mod listed;
mod plan;
mod said;
mod survey;
mod walk;
mod wanted;
mod wishes;

pub use input_report::{InputKind, InputReport, one_line};
pub use inputs::{Content, IGNORE_FILE, Input, InputError, read_inputs};
pub use listed::{Listed, listed_registries};
pub use plan::{Plan, Selection};
pub use said::{pinned_versions, said_names};
pub use survey::{State, Survey, survey};
pub use wanted::{Unmirrorable, UnmirrorableKind, WantedArtifact, WantedPackage};
pub use wishes::{Catalogue, Granted, grant};
