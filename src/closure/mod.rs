//! The closure: all that some files name, and what of it is here.
//!
//! Paths become inputs (`inputs.rs`, `walk.rs`), inputs become a plan (`plan.rs`, `wanted.rs`), and
//! `survey.rs` says without any upstream what of a plan lies in the cache, `listed.rs` what the
//! registries are, `repositories.rs` what of the git repositories is. Names and projects become exact
//! versions in `solve.rs`, from the `registries.rs` that are here, wishes in `wishes.rs`. Prewarm fetches
//! a plan, check judges it, a bundle packs it, gc keeps it.

mod asked;
mod input_report;
mod inputs;
mod listed;
mod needs;
mod plan;
mod project_input;
mod registries;
mod repositories;
mod said;
mod solve;
mod survey;
mod versions;
mod walk;
mod wanted;
mod wishes;

pub use asked::{Asked, AskedError};
pub use input_report::{InputKind, InputReport, one_line};
pub use inputs::{Content, IGNORE_FILE, Input, InputError, read_inputs};
pub use listed::{Listed, listed_registries};
pub use plan::{Plan, Selection};
pub use project_input::ProjectInput;
pub use registries::{NameError, Registries};
pub use repositories::{
    RepositoryState, WantedRepository, has_all_of, known_repository, look_into_repository, replace_repository,
    verify_repository,
};
pub use said::{pinned_versions, said_names, said_owners};
pub use solve::{Forbids, Resolved, Solved, Solver, Unsolved, solve_projects};
pub use survey::{State, Survey, survey};
pub use versions::{Admits, Choice, Many, Versions, Whole, many_versions};
pub use wanted::{Unmirrorable, UnmirrorableKind, WantedArtifact, WantedPackage};
pub use wishes::{Granted, grant};
