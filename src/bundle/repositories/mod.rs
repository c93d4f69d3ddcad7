//! The git bundles of repositories in a bundle. They are like resources, but for two things: no name
//! says what must be in one, and one takes the place of an earlier one. What counts are the trees that
//! manifests want of it.

mod choose;
mod take;

pub(super) use choose::{Candidates, choose, repeat};
pub(super) use take::{Taken, check, is_lacking, is_same, take};
