//! The registries that are in the depots: whether they ask the server, and whether it knows them.

use super::check::{Findings, quoted, shell_word};
use super::server_url::ServerUrl;
use crate::julia::{PackedRegistryToml, TreeInfoToml};
use crate::protocol::{GENERAL, Listing, TreeHash, Uuid};
use fs_err as fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Longest description of a registry that is read, in bytes. `Registry.toml` of General has 1 MB.
const MAX_FILE: u64 = 16 << 20;
/// Entries of one depot's `registries` that are looked at.
const MOST_ENTRIES: usize = 1000;

const NAME: &str = "registry";

/// A registry in a depot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installed {
    /// The folder, or the description beside the tarball.
    path: PathBuf,
    name: String,
    form: Form,
}

/// How it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// As a server sends it, in one file (`Name.toml` and its tarball; Julia since 1.7).
    Packed { uuid: Uuid, tree: TreeHash },
    /// Unpacked from a server (`.tree_info.toml`).
    Unpacked { uuid: Uuid, tree: TreeHash },
    /// Cloned by git: it is updated by git only, whatever the server lists.
    Git { uuid: Option<Uuid> },
    /// Not whole.
    Broken(&'static str),
}

/// `Registry.toml`, as far as it matters here.
#[derive(serde::Deserialize)]
struct RegistryUuid {
    uuid: Uuid,
}

/// All registries of these depots. Only the first depot's are updated by Julia, but all are used.
pub(super) fn registries(depots: &[PathBuf]) -> Vec<Installed> {
    let mut found = Vec::new();
    for depot in depots {
        let entries = fs::read_dir(depot.join("registries")).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.take(MOST_ENTRIES).map(|entry| entry.path()).collect();
        paths.sort();
        found.extend(paths.iter().filter_map(|path| installed(path)));
    }
    found
}

fn installed(path: &Path) -> Option<Installed> {
    let is_folder = path.is_dir();
    let name = if is_folder { path.file_name() } else { path.file_stem() }?.to_string_lossy().into_owned();
    let form = if is_folder {
        folder(path)
    } else if path.extension().is_some_and(|extension| extension == "toml") {
        packed(path)
    } else {
        return None;
    };
    Some(Installed { path: path.to_owned(), name, form })
}

fn packed(path: &Path) -> Form {
    let Ok(PackedRegistryToml { uuid, tree, path: tarball }) = read(path) else {
        return Form::Broken("its description cannot be read");
    };
    let beside = !tarball.contains('/') && path.with_file_name(&tarball).is_file();
    if beside { Form::Packed { uuid, tree } } else { Form::Broken("its tarball is not beside its description") }
}

fn folder(path: &Path) -> Form {
    let uuid = read(&path.join("Registry.toml")).map(|registry: RegistryUuid| registry.uuid);
    if path.join(".git").exists() {
        return Form::Git { uuid: uuid.ok() };
    }
    let Ok(uuid) = uuid else { return Form::Broken("its Registry.toml cannot be read") };
    match read(&path.join(".tree_info.toml")) {
        Ok(TreeInfoToml { tree }) => Form::Unpacked { uuid, tree },
        Err(_) => Form::Broken("it is neither from a server nor from git, so it is never updated"),
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<T> {
    // A fifo would keep its reader waiting for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    toml::from_str(&text).map_err(io::Error::other)
}

/// Compares them with the server's listing, if there is one. `packs`: whether Julia would keep a
/// registry packed.
pub(super) fn examine(
    findings: &mut Findings,
    server: Option<&ServerUrl>,
    listing: Option<&Listing>,
    found: &[Installed],
    packs: bool,
) {
    if found.is_empty() {
        findings.ok(NAME, "there is none in the depots yet: the first command fetches what the server lists");
    }
    for installed in found {
        let what = format!("{} ({})", quoted(&installed.name), installed.path.display());
        match &installed.form {
            Form::Packed { uuid, tree } => compare(
                findings,
                server,
                listing,
                &what,
                *uuid,
                *tree,
                if packs { "packed" } else { "packed, but this Julia is told to unpack" },
            ),
            Form::Unpacked { uuid, tree } => compare(findings, server, listing, &what, *uuid, *tree, "unpacked"),
            Form::Git { uuid } => {
                let detail = format!(
                    "{what} was cloned by git: it never asks the server, and is updated from its git address only"
                );
                findings.problem(NAME, &detail, &replace(installed, *uuid, server));
            }
            Form::Broken(why) => findings.problem(NAME, &format!("{what}: {why}"), &replace(installed, None, server)),
        }
    }
}

fn compare(
    findings: &mut Findings,
    server: Option<&ServerUrl>,
    listing: Option<&Listing>,
    what: &str,
    uuid: Uuid,
    tree: TreeHash,
    form: &str,
) {
    let Some(listing) = listing else {
        return findings
            .skipped(NAME, &format!("{what} came from a server ({form}); there is no listing to compare it with"));
    };
    match listing.tree(uuid) {
        Some(listed) if listed == tree => findings.ok(NAME, &format!("{what} is what the server lists ({form})")),
        Some(listed) => {
            let detail = format!("{what} is at {tree}, the server lists {listed}: the next update takes that");
            findings.warning(NAME, &detail, &[pkg(server, "Pkg.Registry.update()")]);
        }
        None => {
            let detail = format!(
                "{what}, {uuid}, is not listed by the server: it is never updated, and Julia since 1.8 does not ask the server for its packages; if it is private there, it is listed only for who sends a token"
            );
            findings.warning(NAME, &detail, &[]);
        }
    }
}

/// A command that runs Pkg against the server.
fn pkg(server: Option<&ServerUrl>, code: &str) -> String {
    let server = server.map_or_else(|| "http://the-server:8000".to_owned(), ToString::to_string);
    format!("JULIA_PKG_SERVER={} julia -e {}", shell_word(&server), shell_word(&format!("using Pkg; {code}")))
}

/// How to replace a registry with the server's: by Pkg, and by hand.
fn replace(installed: &Installed, uuid: Option<Uuid>, server: Option<&ServerUrl>) -> Vec<String> {
    let Installed { path, name, .. } = installed;
    let add = match uuid {
        Some(uuid) if uuid != GENERAL => format!("Pkg.Registry.add(Pkg.RegistrySpec(uuid = \"{uuid}\"))"),
        _ => "Pkg.Registry.add(\"General\")".to_owned(),
    };
    let mut lines = Vec::new();
    // A name becomes Julia code only if it cannot be anything else.
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_name && uuid.is_some() {
        lines.push(pkg(server, &format!("Pkg.Registry.rm(\"{name}\"); {add}")));
        lines.push("# or, if that fails:".to_owned());
    }
    lines.push(format!("rm -rf -- {}", shell_word(&path.display().to_string())));
    lines.push(pkg(server, &add));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_a_folder_is_never_code() {
        for (name, lines) in [("General", 4), ("x\"); run(`id`); (\"", 2), ("$(id)'", 2)] {
            let installed = Installed {
                path: Path::new("/d/registries").join(name),
                name: name.to_owned(),
                form: Form::Git { uuid: None },
            };
            let remedy = replace(&installed, Some(GENERAL), None);
            assert_eq!(remedy.len(), lines, "{remedy:#?}");
            assert!(
                remedy.iter().filter(|line| line.contains("julia")).all(|line| !line.contains("id")),
                "{remedy:#?}"
            );
        }
        let name = "$(id)'".to_owned();
        let installed = Installed { path: Path::new("/d").join(&name), name, form: Form::Git { uuid: None } };
        assert_eq!(replace(&installed, None, None)[0], r"rm -rf -- '/d/$(id)'\'''");
    }
}
