//! Tarballs and the volumes of bundles.

use airlock::bundle::{Layout, ReadAt as _};
use airlock::exchange::BundleIndex;
use airlock::protocol::TreeHash;
use airlock::tree::{Limits, hash_tar_gz, repack, visit_files};
use flate2::Compression;
use flate2::write::GzEncoder;
use git2::{ObjectType, Odb, Oid, Repository};
use std::collections::BTreeMap;
use std::io::Write as _;

const HEADER: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;

fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

/// Makes every block's checksum right, or no mutation would get past the first header.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(HEADER).filter(|block| block.iter().any(|byte| *byte != 0)) {
        block[CHECKSUM].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

fn limits() -> Limits {
    Limits { unpacked_bytes: 64 << 20, kept_bytes: 1 << 20, tree_bytes: 16 << 20, ..Limits::default() }
}

/// Any bytes, as a gzip file and as a tar archive in one: no panic, no runaway, and only content
/// to blame. What is packed again has the same tree.
pub(crate) fn tar_reader(bytes: &[u8]) {
    for tarball in [bytes.to_vec(), stored(bytes), stored(&with_checksums(bytes))] {
        let hashed = hash_tar_gz(tarball.as_slice(), &limits(), |path| path.len() % 2 == 0);
        let _ = visit_files(tarball.as_slice(), &limits(), &mut |_, _| {});
        let mut again = Vec::new();
        let repacked = repack(tarball.as_slice(), &limits(), &mut again);
        match hashed {
            Err(error) => assert!(error.is_content_fault()),
            Ok(contents) if repacked.is_ok() => {
                let repacked = hash_tar_gz(again.as_slice(), &limits(), |_| false).expect("our own tarball");
                assert_eq!((repacked.strict, repacked.lenient), (contents.strict, contents.lenient));
            }
            Ok(_) => {}
        }
    }
}

/// Any bytes, as a volume of a bundle and as the index in one: no panic, and no place outside the
/// file.
pub(crate) fn bundle(bytes: &[u8]) {
    if let Ok(index) = BundleIndex::parse(bytes) {
        assert_eq!(BundleIndex::parse(&index.to_json()), Ok(index));
    }
    for volume in [bytes, &with_checksums(bytes)] {
        let Ok(layout) = Layout::read(volume, volume.len() as u64) else { continue };
        for (item, offset) in layout.items() {
            let Some(offset) = offset else { continue };
            let mut body = vec![0; usize::try_from(item.size()).expect("it is in the file")];
            volume.read_exact_at(&mut body, offset).expect("it is in the file");
        }
    }
}

/// What an entry of an archive makes of its path.
#[derive(Clone, Debug)]
enum Node {
    File(Vec<u8>, bool),
    Link(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, Node>),
}

/// Names that sort apart as files and as directories, that Pkg leaves out, and that are odd.
const NAMES: [&[u8]; 16] = [
    b"a",
    b"a.",
    b"a-",
    b"a0",
    b"ab",
    b"a b",
    b"A",
    b"b",
    b".git",
    b".gitignore",
    b"\xc3\xa9",
    b"\xff",
    b"src",
    b"a.b",
    b"...",
    b"-",
];

/// Entries that some bytes stand for: a byte each for kind, depth, each name and the content's length.
struct Entries<'b>(std::slice::Iter<'b, u8>);

impl Iterator for Entries<'_> {
    type Item = (Vec<Vec<u8>>, Node);

    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.0.next()?;
        let depth = 1 + usize::from(kind >> 6);
        let path = self.0.by_ref().take(depth).map(|byte| NAMES[usize::from(byte % 16)].to_vec()).collect::<Vec<_>>();
        if path.len() < depth {
            return None;
        }
        let mut content = || -> Vec<u8> {
            let length = usize::from(self.0.next().copied().unwrap_or_default());
            self.0.by_ref().take(length).copied().collect()
        };
        let node = match kind % 8 {
            0 => Node::Directory(BTreeMap::new()),
            // What a header has room for.
            1 => Node::Link(content().into_iter().take(100).map(|byte| b"abc./"[usize::from(byte % 5)]).collect()),
            2 | 3 => Node::File(content(), true),
            _ => Node::File(content(), false),
        };
        Some((path, node))
    }
}

/// One entry as a ustar block and its content, made by hand.
fn append(tar: &mut Vec<u8>, path: &[u8], node: &Node) {
    let (flag, mode, link, content): (u8, u32, &[u8], &[u8]) = match node {
        Node::File(content, executable) => (b'0', if *executable { 0o755 } else { 0o644 }, b"", content),
        Node::Link(target) => (b'2', 0o777, target, b""),
        Node::Directory(_) => (b'5', 0o755, b"", b""),
    };
    let mut block = [0; HEADER];
    block[..path.len()].copy_from_slice(path);
    block[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
    block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    block[156] = flag;
    let link = &link[..link.len().min(100)];
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    tar.extend_from_slice(&with_checksums(&block));
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(HEADER), 0);
}

/// What unpacking makes of an entry: a later one takes the place of an earlier one, but a directory
/// that is there stays.
fn put(tree: &mut BTreeMap<Vec<u8>, Node>, path: &[Vec<u8>], node: Node) {
    let [name, rest @ ..] = path else { return };
    if rest.is_empty() {
        let stays = matches!((tree.get(name), &node), (Some(Node::Directory(_)), Node::Directory(_)));
        if !stays {
            tree.insert(name.clone(), node);
        }
        return;
    }
    let below = tree.entry(name.clone()).or_insert_with(|| Node::Directory(BTreeMap::new()));
    if !matches!(below, Node::Directory(_)) {
        *below = Node::Directory(BTreeMap::new());
    }
    if let Node::Directory(children) = below {
        put(children, rest, node);
    }
}

/// The tree as Pkg hashes it on disk: without `.git` and without directories that hold no file.
fn as_pkg_sees_it(tree: &BTreeMap<Vec<u8>, Node>) -> BTreeMap<Vec<u8>, Node> {
    fn has_files(node: &Node) -> bool {
        match node {
            Node::Directory(children) => children.values().any(has_files),
            Node::File(..) | Node::Link(_) => true,
        }
    }
    let seen = tree.iter().filter(|(name, node)| *name != b".git" && has_files(node));
    let seen = seen.map(|(name, node)| match node {
        Node::Directory(children) => (name.clone(), Node::Directory(as_pkg_sees_it(children))),
        other => (name.clone(), other.clone()),
    });
    seen.collect()
}

/// The tree as libgit2 writes it; `None` if libgit2 refuses a name.
fn written_by_git(repository: &Repository, tree: &BTreeMap<Vec<u8>, Node>) -> Option<Oid> {
    let odb = repository.odb().ok()?;
    let mut builder = repository.treebuilder(None).ok()?;
    for (name, node) in tree {
        let (oid, mode) = match node {
            Node::File(content, executable) => {
                let mode = if *executable { 0o100_755 } else { 0o100_644 };
                (odb.write(ObjectType::Blob, content).ok()?, mode)
            }
            Node::Link(target) => (odb.write(ObjectType::Blob, target).ok()?, 0o120_000),
            Node::Directory(children) => (written_by_git(repository, children)?, 0o040_000),
        };
        builder.insert(name.as_slice(), oid, mode).ok()?;
    }
    builder.write().ok()
}

fn of_git(tree: &BTreeMap<Vec<u8>, Node>) -> Option<String> {
    let odb = Odb::new().expect("libgit2 has memory");
    odb.add_new_mempack_backend(1).expect("libgit2 has memory");
    let repository = Repository::from_odb(odb).expect("libgit2 has memory");
    written_by_git(&repository, tree).map(|oid| oid.to_string())
}

/// Entries that bytes stand for, in a tarball: whatever is accepted has the hashes that libgit2
/// gives to the tree that the entries add up to.
///
/// libgit2 writes no tree with a `.git` in it, so such a tree's strict hash is not compared.
pub(crate) fn tree_hash(bytes: &[u8]) {
    let (mut tar, mut tree) = (Vec::new(), BTreeMap::new());
    for (path, node) in Entries(bytes.iter()).take(64) {
        append(&mut tar, &path.join(&b'/'), &node);
        put(&mut tree, &path, node);
    }
    tar.resize(tar.len() + 2 * HEADER, 0);
    let Ok(contents) = hash_tar_gz(stored(&tar).as_slice(), &limits(), |_| false) else { return };
    let lenient = of_git(&as_pkg_sees_it(&tree)).expect("libgit2 takes what Pkg sees");
    assert_eq!(contents.lenient.to_string(), lenient);
    if let Some(strict) = of_git(&tree) {
        assert_eq!(contents.strict.to_string(), strict);
    }
    if tree.is_empty() {
        assert_eq!(contents.strict, TreeHash::EMPTY);
    }
}
