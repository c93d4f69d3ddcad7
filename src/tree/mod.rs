//! Tarballs as Julia's package clients see them: read from hostile input, hashed as git trees while
//! they stream, written so that the same tree gives the same bytes.
//!
//! The rules are those of Julia's `Tar.jl`. Everything here is synchronous and reads forward only;
//! memory grows with the number of entries, never with their content. A reader that blocks blocks
//! these functions, also when the content already proved bad: give it a timeout of its own.

mod archive;
mod error;
mod header;
mod inflate;
mod limits;
mod nodes;
mod object;
mod repack;
mod source;
mod walk;
mod write;

use std::io::Read;
use std::thread;

pub use error::TreeError;
pub use header::{BLOCK as TAR_BLOCK, Header as TarHeader, parse as read_tar_header};
pub use limits::Limits;
pub use repack::{Packing, RepackError, repack};
pub use write::{Hashes, TarEntry, TarGzWriter, WriteError, write_tar_gz};

use crate::protocol::TreeHash;
use archive::Archive;
use inflate::Inflater;
use source::Source;
use walk::{Handling, Walked, walk};

/// What a tarball holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The git tree hash of all there is; empty directories count as empty trees (`Tar.tree_hash`).
    pub strict: TreeHash,
    /// The hash as Pkg computes it on disk: without `.git` at any level and without directories
    /// that hold no file or link at any depth (`tree_hash` in Pkg's `GitTools.jl`).
    pub lenient: TreeHash,
    /// Entries of the archive.
    pub entries: u64,
    /// Length of the unpacked tar stream in bytes.
    pub unpacked_bytes: u64,
    /// The files asked for, as they are in the final tree, sorted by path.
    pub kept: Vec<KeptFile>,
}

/// A regular file of a tarball.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// Path in the tree, without `./` or doubled slashes.
    pub path: String,
    /// Content.
    pub contents: Vec<u8>,
}

/// Hashes a gzip tarball and retains the regular files whose path `keep` wants.
///
/// A path that is not UTF-8 is never kept; a hard link is kept if the file it names was.
pub fn hash_tar_gz(reader: impl Read + Send, limits: &Limits, keep: fn(&str) -> bool) -> Result<Contents, TreeError> {
    let walked = run(Box::new(reader), limits, Handling::Keep { wanted: &keep, hash: true })?;
    let (strict, lenient) = walked.tree.hashes();
    let Walked { entries, unpacked_bytes, kept, .. } = walked;
    Ok(Contents { strict, lenient, entries, unpacked_bytes, kept })
}

/// Hands every regular file with a UTF-8 path to `visit`, in the archive's order.
///
/// Nothing is hashed. What was visited counts only if the result is `Ok`: the fault may come last.
/// An archive that replaces a file or has hard links is refused, since a visit cannot be undone.
pub fn visit_files(
    reader: impl Read + Send,
    limits: &Limits,
    visit: &mut dyn FnMut(&str, Vec<u8>),
) -> Result<(), TreeError> {
    run(Box::new(reader), limits, Handling::Visit(visit)).map(drop)
}

/// The content of one regular file, by its path in the final tree; `None` if there is none.
pub fn read_file(reader: impl Read + Send, limits: &Limits, path: &str) -> Result<Option<Vec<u8>>, TreeError> {
    let files = read_files(reader, limits, &|candidate| candidate == path)?;
    Ok(files.into_iter().next().map(|file| file.contents))
}

/// The regular files whose path in the final tree `keep` wants, by path. Nothing is hashed.
pub fn read_files(
    reader: impl Read + Send,
    limits: &Limits,
    keep: &dyn Fn(&str) -> bool,
) -> Result<Vec<KeptFile>, TreeError> {
    Ok(run(Box::new(reader), limits, Handling::Keep { wanted: keep, hash: false })?.kept)
}

fn run<'a>(reader: Box<dyn Read + Send + 'a>, limits: &'a Limits, handling: Handling<'a>) -> Result<Walked, TreeError> {
    let inflater = Inflater::new(reader, limits)?;
    thread::scope(|scope| walk(Archive::new(Source::new(scope, inflater), limits), limits, handling))
}

#[cfg(test)]
mod tests;
