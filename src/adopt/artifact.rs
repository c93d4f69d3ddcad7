//! An artifact: the hash of its folder, by either rule, must be the folder's name.

use super::folder::{Fault, Folder};
use super::report::{Item, Status};
use super::seal::{Context, Sealed};
use crate::protocol::{Resource, TreeHash};
use std::path::Path;

/// Judges a folder `artifacts/<tree>`.
pub(super) fn judge(context: &Context<'_>, path: &Path, tree: TreeHash) -> Result<Sealed, Fault> {
    let resource = Resource::Artifact { tree };
    if context.is_here(&resource)? {
        return Ok(Sealed::here(Item::of(&resource, path, Status::Here)));
    }
    let folder = Folder::list(path, context.limits, "")?;
    let (all, lenient) = (folder.all(), folder.lenient());
    // Where the rules differ, which of them named it decides what is packed.
    let selection = if all.len() == lenient.len() {
        all
    } else {
        let hashes = folder.pack(&all, None)?.hashes;
        match tree {
            _ if tree == hashes.strict => all,
            _ if tree == hashes.lenient => lenient,
            _ => {
                let (strict, lenient) = (hashes.strict, hashes.lenient);
                return Err(Fault::refused(format!(
                    "its tree hash is {strict}, or {lenient} without .git and empty folders"
                )));
            }
        }
    };
    let packed = folder.pack(&selection, context.staging())?;
    if packed.hashes.strict != tree {
        return Err(Fault::refused(format!("its tree hash is {}", packed.hashes.strict)));
    }
    context.seal(packed, resource, Item::of(&resource, path, Status::Adopted))
}
