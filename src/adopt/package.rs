//! A version of a package: the hash of its folder and its uuid must give the folder's name.

use super::depot::read_text;
use super::folder::{Executable, Fault, Folder, Packed};
use super::hints::{is_named, is_slug};
use super::report::{Item, Status};
use super::seal::{Context, Sealed};
use crate::protocol::{Resource, TreeHash, Uuid};
use std::path::Path;

/// `Project.toml`, as far as it matters here.
#[derive(Default, serde::Deserialize)]
struct Project {
    uuid: Option<String>,
    version: Option<String>,
}

/// What a build is known to leave behind, the surest first. Only what is so called is ever left out,
/// and only if the rest then has the right hash: no rest that is not the tree itself has.
const BUILD_PRODUCTS: [fn(&str) -> bool; 2] = [is_build_log, is_build_product];

/// What Pkg itself writes (`Operations.jl`, `build_versions`, until Julia 1.5).
fn is_build_log(path: &str) -> bool {
    path == "deps/build.log"
}

/// What build scripts usually write, what Julia and its tools write beside sources, and what file
/// managers leave.
fn is_build_product(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let by_build = match folder {
        "deps" => {
            matches!(name, "deps.jl" | "ext.jl" | "usr" | "downloads" | "builds" | "build" | "prefix" | "tmp")
                || matches!(extension, "log" | "so" | "dylib" | "dll")
        }
        _ => false,
    };
    by_build || matches!(extension, "ji" | "cov" | "mem") || matches!(name, ".DS_Store" | "Thumbs.db" | "desktop.ini")
}

/// Judges a folder `packages/<name>/<slug>`.
pub(super) fn judge(context: &Context<'_>, path: &Path, name: &str, slug: &str) -> Result<Sealed, Fault> {
    if !is_slug(slug) {
        return Err(Fault::refused("it is not named as Julia names a version: 5 letters and digits, or 4"));
    }
    let project = project(path);
    let own = project.uuid.as_deref().and_then(|uuid| Uuid::from_any_case(uuid).ok());
    let uuids = context.hints.uuids(name, own);
    let describe = |item: Item| {
        let version = item.uuid.zip(item.tree).and_then(|(uuid, tree)| context.hints.version(uuid, tree));
        Item { name: Some(name.to_owned()), version: version.or_else(|| project.version.clone()), ..item }
    };
    let expected = context.hints.expected(&uuids, slug);
    if let Some((uuid, tree)) = expected {
        let resource = Resource::Package { uuid, tree };
        if context.is_here(&resource)? {
            return Ok(Sealed::here(describe(Item::of(&resource, path, Status::Here))));
        }
    }
    let mut folder = Folder::list(path, context.limits, "")?;
    let named = |tree: TreeHash| {
        let all = uuids.iter().copied().chain(context.hints.uuids_at(tree));
        all.into_iter().find(|&uuid| is_named(slug, uuid, tree)).map(|uuid| Resource::Package { uuid, tree })
    };
    let take = |packed: Packed, resource: Resource, left_out: Vec<String>| {
        let item = Item { left_out, ..Item::of(&resource, path, Status::Adopted) };
        context.seal(packed, resource, describe(item))
    };
    // What it is, or else the hash of all of it.
    let judge = |folder: &Folder| -> Result<Result<Sealed, TreeHash>, Fault> {
        let packed = folder.pack(&folder.lenient(), context.staging())?;
        let found = packed.hashes.strict;
        if let Some(resource) = named(found) {
            return take(packed, resource, Vec::new()).map(Ok);
        }
        drop(packed);
        for is_product in BUILD_PRODUCTS {
            let (selection, left_out) = folder.without(is_product);
            if left_out.is_empty() {
                continue;
            }
            // Without a store first: most that were changed were changed by hand.
            let tree = folder.pack(&selection, None)?.hashes.strict;
            if let Some(resource) = named(tree) {
                let packed = folder.pack(&selection, context.staging())?;
                return take(packed, resource, left_out).map(Ok);
            }
        }
        Ok(Err(found))
    };
    let found = match judge(&folder)? {
        Ok(sealed) => return Ok(sealed),
        Err(found) => found,
    };
    let executable = folder.executable();
    if executable == Executable::All {
        folder.forget_modes();
        if let Ok(sealed) = judge(&folder)? {
            return Ok(sealed);
        }
    }
    Err(Fault::Refused(why_not(context, found, expected, &uuids) + executable.suspicion()))
}

fn why_not(context: &Context<'_>, found: TreeHash, expected: Option<(Uuid, TreeHash)>, uuids: &[Uuid]) -> String {
    match (expected, uuids) {
        (Some((uuid, tree)), _) => {
            let version =
                context.hints.version(uuid, tree).map_or(String::new(), |version| format!(" (version {version})"));
            format!("its tree hash is {found}; the folder of this name holds {tree}{version}, so it was changed")
        }
        (None, []) => format!(
            "its uuid is not known: it has no project file with one, and no registry or manifest here has a package of this name or the tree {found}"
        ),
        (None, [..]) => format!("its tree hash is {found}, for which the folder would have another name"),
    }
}

/// What the package says of itself, in the first of these files that is there (`base/loading.jl`,
/// `project_names`).
fn project(path: &Path) -> Project {
    let mut texts = ["JuliaProject.toml", "Project.toml"].iter().filter_map(|name| read_text(&path.join(name)));
    texts.next().and_then(|text| toml::from_str(&text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_builds_leave_behind_may_be_left_out() {
        for path in
            ["deps/build.log", "deps/deps.jl", "deps/usr", "deps/x.so", "src/A.ji", "src/A.jl.12.cov", ".DS_Store"]
        {
            assert!(is_build_product(path), "{path}");
        }
        for path in
            ["deps/build.jl", "deps", "src/deps.jl", "usr", "build.log", "deps/src", "deps/usr/x.c", "Project.toml"]
        {
            assert!(!is_build_product(path), "{path}");
        }
    }
}
