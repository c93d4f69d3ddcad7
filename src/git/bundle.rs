//! Git bundles as files: what one has, checked without the repository that it came from.

use super::make::HEAD;
use super::{BareClone, GitError, objects};
use crate::protocol::TreeHash;
use fs_err as fs;
use git2::{ErrorClass, Indexer, Oid};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Bytes of the head of a bundle: a million references.
const LONGEST_HEAD: u64 = 256 << 20;
/// Bytes that are handed on at one time.
const PIECE: usize = 1 << 20;

/// References by name, with the names of their objects.
pub type References = BTreeMap<String, String>;

/// A git bundle that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a bundle that stands alone.
    #[error("not a git bundle that can be used: {0}")]
    Unusable(String),
    /// It cannot be read, or not be looked into here.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The references of a bundle. Reads its head only.
pub fn references(bundle: &Path) -> Result<References, BundleError> {
    head(&mut BufReader::new(fs::File::open(bundle)?).take(LONGEST_HEAD))
}

/// Checks that a bundle has everything that its references need, as `git bundle verify` and a clone
/// would, and returns those of `trees` that are in it. Blocks; `scratch` is an empty folder, which
/// takes about as much as the bundle.
pub fn trees_in(bundle: &Path, scratch: &Path, trees: &BTreeSet<TreeHash>) -> Result<BTreeSet<TreeHash>, BundleError> {
    let (references, objects) = open(bundle, scratch)?;
    if let Some(name) = missing(&references, &objects)? {
        return Err(BundleError::Unusable(format!("what {} names is not in it", name.escape_default())));
    }
    trees
        .iter()
        .filter_map(|tree| match objects.has_tree(*tree) {
            Ok(here) => here.then_some(Ok(*tree)),
            Err(error) => Some(Err(broken(&error))),
        })
        .collect()
}

/// Whether all that these references name is in a bundle, and so all that is needed for it. Blocks;
/// `scratch` is an empty folder, as for [`trees_in`].
pub fn has_all(bundle: &Path, scratch: &Path, references: &References) -> Result<bool, BundleError> {
    let (_, objects) = open(bundle, scratch)?;
    Ok(missing(references, &objects)?.is_none())
}

/// The references of a bundle, and its objects, each of which was checked.
fn open(bundle: &Path, scratch: &Path) -> Result<(References, objects::Objects), BundleError> {
    let mut file = BufReader::with_capacity(PIECE, fs::File::open(bundle)?);
    let references = head(&mut (&mut file).take(LONGEST_HEAD))?;
    let packs = scratch.join("objects/pack");
    fs::create_dir_all(&packs)?;
    fs::create_dir_all(scratch.join("objects/info"))?;
    index(file, &packs)?;
    let objects = objects::Objects::open(scratch, &bundle.display().to_string()).map_err(|error| broken(&error))?;
    Ok((references, objects))
}

/// The name of a reference to an object that is not there.
fn missing<'r>(references: &'r References, objects: &objects::Objects) -> Result<Option<&'r str>, BundleError> {
    for (name, object) in references {
        let object = Oid::from_str(object).map_err(|error| BundleError::Unusable(error.message().to_owned()))?;
        if !objects.has(object).map_err(|error| broken(&error))? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn broken(error: &GitError) -> BundleError {
    BundleError::Unusable(error.to_string())
}

/// Indexes the pack of a bundle, which checks every object, and that whatever one of them names is
/// among them.
fn index(mut pack: impl Read, packs: &Path) -> Result<(), BundleError> {
    let mut indexer = Indexer::new(None, packs, 0o600, true).map_err(|error| unusable(&error))?;
    let mut piece = vec![0; PIECE];
    loop {
        let length = pack.read(&mut piece)?;
        let Some(bytes) = piece.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        io::Write::write_all(&mut indexer, bytes).map_err(|error| {
            let of_git = error.get_ref().and_then(|error| error.downcast_ref::<git2::Error>());
            of_git.map_or_else(|| BundleError::Unusable(error.to_string()), unusable)
        })?;
    }
    indexer.commit().map(drop).map_err(|error| unusable(&error))
}

/// What the system says, a full disk for one, says nothing of the bundle.
fn unusable(error: &git2::Error) -> BundleError {
    match error.class() {
        ErrorClass::Os | ErrorClass::NoMemory => BundleError::Io(io::Error::other(error.message().to_owned())),
        _ => BundleError::Unusable(error.message().to_owned()),
    }
}

/// The head of a bundle (`git help format-bundle`). One that builds on commits of somewhere else, or
/// leaves objects out, does not stand alone.
fn head(reader: &mut impl io::BufRead) -> Result<References, BundleError> {
    let unusable = |why: &str| BundleError::Unusable(why.to_owned());
    let mut references = References::new();
    let mut line = Vec::new();
    let mut version = None;
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        let Some(text) = line.strip_suffix(b"\n") else { return Err(unusable("it ends in its head")) };
        let text = std::str::from_utf8(text).map_err(|_| unusable("its head is not UTF-8"))?;
        match (version, text) {
            (None, "# v2 git bundle" | "# v3 git bundle") => version = Some(text.contains("v3")),
            (None, _) => return Err(unusable("it does not begin as one")),
            (Some(_), "") if references.is_empty() => return Err(unusable("it has no branch and no tag")),
            (Some(_), "") => return Ok(references),
            (Some(true), "@object-format=sha1") => {}
            (Some(_), text) if text.starts_with('-') => {
                return Err(unusable("it builds on commits that are not in it"));
            }
            (Some(_), text) => match text.split_once(' ') {
                Some((object, name)) if object.len() == 40 && object.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                    references.insert(name.to_owned(), object.to_owned());
                }
                _ => return Err(unusable("it has objects of another kind, or not all of them")),
            },
        }
    }
}

impl BareClone {
    /// Branches and tags as they were fetched last, and where `HEAD` was.
    pub fn references(&self) -> Result<References, GitError> {
        let arguments = ["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags", HEAD];
        let said = self.git_at(self.folder(), &arguments, Vec::new())?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let pair = |line: &str| {
            let (object, name) = line.split_once(' ')?;
            Some((if name == HEAD { "HEAD" } else { name }.to_owned(), object.to_owned()))
        };
        Ok(said.lines().filter_map(pair).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn git(folder: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=n", "-c", "user.email=e"]).args(arguments).current_dir(folder);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A repository of two commits, and the tree of the first.
    fn repository() -> (tempfile::TempDir, TreeHash) {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "-q", "-b", "main"]);
        fs::write(folder.path().join("file"), "one").unwrap();
        git(folder.path(), &["add", "."]);
        git(folder.path(), &["commit", "-qm", "one"]);
        let tree = git(folder.path(), &["rev-parse", "HEAD^{tree}"]).parse().unwrap();
        fs::write(folder.path().join("file"), "two").unwrap();
        git(folder.path(), &["commit", "-qam", "two"]);
        (folder, tree)
    }

    fn verify(bundle: &Path, tree: TreeHash) -> Result<BTreeSet<TreeHash>, BundleError> {
        trees_in(bundle, tempfile::tempdir().unwrap().path(), &[tree, TreeHash::from_bytes([7; 20])].into())
    }

    #[test]
    fn a_bundle_says_which_trees_it_has() {
        let (folder, tree) = repository();
        git(folder.path(), &["bundle", "create", "-q", "all.bundle", "--branches", "HEAD"]);
        let bundle = folder.path().join("all.bundle");
        assert_eq!(verify(&bundle, tree).unwrap(), [tree].into());
        let names: Vec<_> = references(&bundle).unwrap().into_keys().collect();
        assert_eq!(names, ["HEAD", "refs/heads/main"]);
    }

    #[test]
    fn a_later_bundle_has_all_of_an_earlier_one_and_not_the_other_way_round() {
        let (folder, _) = repository();
        let at = |name: &str| folder.path().join(name);
        git(folder.path(), &["branch", "old", "main~1"]);
        git(folder.path(), &["bundle", "create", "-q", "old.bundle", "old"]);
        git(folder.path(), &["bundle", "create", "-q", "new.bundle", "main"]);
        let has = |one: &str, other: &str| {
            has_all(&at(one), tempfile::tempdir().unwrap().path(), &references(&at(other)).unwrap()).unwrap()
        };
        assert!(has("new.bundle", "old.bundle") && has("new.bundle", "new.bundle"));
        assert!(!has("old.bundle", "new.bundle"));
    }

    #[test]
    fn what_does_not_stand_alone_or_is_damaged_is_refused() {
        let (folder, tree) = repository();
        let at = |name: &str| folder.path().join(name);
        git(folder.path(), &["bundle", "create", "-q", "part.bundle", "main~1..main"]);
        git(folder.path(), &["bundle", "create", "-q", "all.bundle", "main"]);
        let whole = fs::read(at("all.bundle")).unwrap();
        let broken = |name: &str, bytes: &[u8]| {
            fs::write(at(name), bytes).unwrap();
            verify(&at(name), tree).unwrap_err().to_string()
        };
        assert!(verify(&at("part.bundle"), tree).unwrap_err().to_string().contains("builds on"));
        let middle = whole.len() - 40;
        let mut flipped = whole.clone();
        flipped[middle] ^= 1;
        broken("flipped", &flipped);
        broken("short", &whole[..middle]);
        broken("headless", &whole[..30]);
        broken("empty", b"");
        assert!(broken("other", b"# v3 git bundle\n@filter=blob:none\n\n").contains("not all"));
        assert!(broken("none", b"# v2 git bundle\n\nPACK").contains("no branch"));
        let text = String::from_utf8_lossy(&whole).into_owned();
        let object = text.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let at_head = whole.windows(40).position(|window| window == object.as_bytes()).unwrap();
        let mut lying = whole;
        lying[at_head..at_head + 40].copy_from_slice("7".repeat(40).as_bytes());
        assert!(broken("lying", &lying).contains("refs/heads/main"));
    }
}
