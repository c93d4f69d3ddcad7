//! An artifact: the hash of its folder, by either rule, must be the folder's name.

use super::folder::{Executable, Fault, Folder, Packed};
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
    let mut folder = Folder::list(path, context.limits, "")?;
    let take = |packed: Packed| context.seal(packed, resource, Item::of(&resource, path, Status::Adopted));
    let why_not = match pack(context, &folder, tree)? {
        Ok(packed) => return take(packed),
        Err(why_not) => why_not,
    };
    let executable = folder.executable();
    if executable == Executable::All {
        folder.forget_modes();
        if let Ok(packed) = pack(context, &folder, tree)? {
            return take(packed);
        }
    }
    Err(Fault::Refused(why_not + executable.suspicion()))
}

/// Packs a folder by the rule that gives it this tree; if none does, says what it has.
fn pack(context: &Context<'_>, folder: &Folder, tree: TreeHash) -> Result<Result<Packed, String>, Fault> {
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
                return Ok(Err(format!("its tree hash is {strict}, or {lenient} without .git and empty folders")));
            }
        }
    };
    let packed = folder.pack(&selection, context.staging())?;
    let found = packed.hashes.strict;
    Ok(if found == tree { Ok(packed) } else { Err(format!("its tree hash is {found}")) })
}
