//! Tree hashes against git's, for random trees in the tarballs of every writer at hand.
#![expect(clippy::unwrap_used, reason = "a test's helpers may panic as the test may")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use airlock::protocol::TreeHash;
use airlock::tree::{Contents, Limits, TarEntry, TreeError, hash_tar_gz, write_tar_gz};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(crate) enum Node {
    File(Vec<u8>, bool),
    Symlink(String),
    Directory,
}

/// A tree by path, where no path is below a file or link.
pub(crate) type Sample = BTreeMap<String, Node>;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-c]{1,2}",
        2 => "[a-c]{1,2}[-.0 +]{1,2}[a-c]?",
        1 => "[a-zA-Z0-9é日\u{1f600}'\"\\\\*?\t~#;-]{1,12}",
        1 => "[a-z]{60,120}",
    ]
    .prop_filter("reserved", |name| name != "." && name != "..")
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(Vec::new()),
        6 => vec(any::<u8>(), 0..1100),
        2 => (0..5_usize).prop_map(|blocks| vec![b'x'; blocks * 512]),
        1 => (any::<u8>(), 0..3_000_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        6 => (content(), any::<bool>()).prop_map(|(content, executable)| Node::File(content, executable)),
        2 => "[a-z./é]{1,20}".prop_map(Node::Symlink),
        1 => "[a-z/]{101,180}".prop_map(Node::Symlink),
        1 => Just(Node::Directory),
    ]
}

pub(crate) fn sample() -> impl Strategy<Value = Sample> {
    vec((vec(name(), 1..5), node()), 0..12).prop_map(|list| {
        let mut sample = Sample::new();
        for (parts, node) in list {
            let path = parts.join("/");
            let clashes = sample.iter().any(|(other, node)| {
                let below = path.starts_with(&format!("{other}/")) && !matches!(node, Node::Directory);
                below || other.starts_with(&format!("{path}/")) || *other == path
            });
            if !clashes {
                sample.insert(path, node);
            }
        }
        sample
    })
}

fn entries(sample: &Sample) -> Vec<TarEntry> {
    let entry = |(path, node): (&String, &Node)| match node {
        Node::File(content, executable) => TarEntry::file(path.as_str(), content.as_slice(), *executable),
        Node::Symlink(target) => TarEntry::symlink(path.as_str(), target.as_str()),
        Node::Directory => TarEntry::directory(path.as_str()),
    };
    sample.iter().map(entry).collect()
}

fn write_to_disk(sample: &Sample, root: &Path) {
    for (path, node) in sample {
        let path = root.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        match node {
            Node::Directory => fs_err::create_dir_all(path).unwrap(),
            Node::Symlink(target) => symlink(target, path).unwrap(),
            Node::File(content, executable) => {
                fs_err::write(&path, content).unwrap();
                let mode = if *executable { 0o755 } else { 0o644 };
                fs_err::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            }
        }
    }
}

/// Runs `command` and returns what it prints.
fn output(command: &mut Command, input: &[u8]) -> Vec<u8> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A repository whose work tree is a sample on disk.
pub(crate) struct Repository {
    directory: tempfile::TempDir,
}

impl Repository {
    pub(crate) fn new(sample: &Sample) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let repository = Self { directory };
        fs_err::create_dir(repository.work_tree()).unwrap();
        write_to_disk(sample, &repository.work_tree());
        repository.git(&["init", "-q"], b"");
        repository
    }

    pub(crate) fn work_tree(&self) -> std::path::PathBuf {
        self.directory.path().join("tree")
    }

    fn git(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = Command::new("git");
        command.env_clear().env("PATH", path_variable()).env("HOME", self.directory.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_DIR", self.directory.path().join("git"));
        command.env("GIT_WORK_TREE", self.work_tree()).current_dir(self.work_tree());
        command.args(["-c", "core.autocrlf=false", "-c", "core.fileMode=true", "-c", "core.excludesFile="]);
        output(command.args(arguments), input)
    }

    pub(crate) fn write_tree(&self) -> TreeHash {
        self.git(&["add", "-f", "-A", "."], b"");
        parse(&self.git(&["write-tree"], b""))
    }

    /// The hash of a directory on disk, empty directories included, as git would name it.
    fn strict_tree(&self, directory: &Path) -> TreeHash {
        let mut lines = Vec::new();
        for entry in fs_err::read_dir(directory).unwrap() {
            let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
            let hash_of = |bytes: &[u8]| parse(&self.git(&["hash-object", "-w", "--stdin"], bytes));
            let (mode, hash) = if kind.is_dir() {
                ("040000 tree", self.strict_tree(&path))
            } else if kind.is_symlink() {
                ("120000 blob", hash_of(fs_err::read_link(&path).unwrap().as_os_str().as_bytes()))
            } else if fs_err::metadata(&path).unwrap().permissions().mode() & 0o100 != 0 {
                ("100755 blob", hash_of(&fs_err::read(&path).unwrap()))
            } else {
                ("100644 blob", hash_of(&fs_err::read(&path).unwrap()))
            };
            lines.extend_from_slice(format!("{mode} {hash}\t").as_bytes());
            lines.extend_from_slice(path.file_name().unwrap().as_bytes());
            lines.push(0);
        }
        parse(&self.git(&["mktree", "-z"], &lines))
    }

    fn gnu_tar(&self, format: &str) -> Vec<u8> {
        let mut command = Command::new("tar");
        command.arg("-C").arg(self.work_tree()).args(["--format", format, "-cf", "-", "."]);
        output(&mut command, b"")
    }
}

#[expect(clippy::disallowed_methods, reason = "a child with a clean environment still needs its PATH")]
fn path_variable() -> String {
    std::env::var("PATH").unwrap()
}

fn parse(printed: &[u8]) -> TreeHash {
    std::str::from_utf8(printed).unwrap().trim().parse().unwrap()
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

fn hash(reader: impl Read + Send) -> Result<Contents, TreeError> {
    hash_tar_gz(reader, &Limits::default(), |path| path.ends_with('a'))
}

fn our_tarball(sample: &Sample) -> (TreeHash, Vec<u8>) {
    let mut tarball = Vec::new();
    let hash = write_tar_gz(entries(sample), &mut tarball, 1).unwrap();
    (hash, tarball)
}

/// Whether every name fits the oldest formats.
fn is_short(sample: &Sample) -> bool {
    sample.iter().all(|(path, node)| match node {
        Node::Symlink(target) => target.len() < 99 && path.len() < 95,
        _ => path.len() < 95,
    })
}

/// Gives at most as many bytes at a time as the list says, over and over.
struct Dribble<'a> {
    bytes: &'a [u8],
    steps: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let step = self.steps.next().copied().unwrap_or(1).min(buffer.len());
        self.bytes.read(&mut buffer[..step])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_writers_tarball_hashes_as_git_does(sample in sample()) {
        let repository = Repository::new(&sample);
        let written = repository.write_tree();
        let strict = repository.strict_tree(&repository.work_tree());

        let (returned, tarball) = our_tarball(&sample);
        let contents = hash(&tarball[..]).unwrap();
        prop_assert_eq!((contents.strict, contents.lenient), (strict, written), "our writer");
        prop_assert_eq!(returned, strict);

        let formats: &[&str] = if is_short(&sample) { &["gnu", "pax", "ustar", "v7"] } else { &["gnu", "pax"] };
        for format in formats {
            let contents = hash(&gzip(&repository.gnu_tar(format))[..]).unwrap();
            prop_assert_eq!((contents.strict, contents.lenient), (strict, written), "GNU tar, {}", format);
        }
        let archive = repository.git(&["archive", "--format=tar", &written.to_string()], b"");
        prop_assert_eq!(hash(&gzip(&archive)[..]).unwrap().strict, written, "git archive");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn how_the_bytes_arrive_changes_nothing(sample in sample(), steps in vec(1..70_usize, 1..8)) {
        let (_, tarball) = our_tarball(&sample);
        let dribble = Dribble { bytes: &tarball, steps: steps.iter().cycle() };
        prop_assert_eq!(hash(dribble).unwrap(), hash(&tarball[..]).unwrap());
    }

    #[test]
    fn a_part_is_never_taken_for_the_whole(sample in sample(), at in any::<prop::sample::Index>()) {
        let (_, tarball) = our_tarball(&sample);
        prop_assert!(hash(&tarball[..at.index(tarball.len())]).unwrap_err().is_content_fault());
    }

    #[test]
    fn a_flipped_bit_never_gives_another_tree(sample in sample(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let (_, tarball) = our_tarball(&sample);
        let mut damaged = tarball.clone();
        damaged[at.index(tarball.len())] ^= 1_u8 << bit;
        match hash(&damaged[..]) {
            Ok(contents) => prop_assert_eq!(contents, hash(&tarball[..]).unwrap(), "only bits without meaning may flip"),
            Err(error) => prop_assert!(error.is_content_fault()),
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_but_never_harm(noise in vec(any::<u8>(), 0..4000)) {
        let _ = hash(&noise[..]);
        let _ = hash(&gzip(&noise)[..]);
    }
}
