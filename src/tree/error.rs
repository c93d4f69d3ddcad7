//! What can be wrong with a tarball, told apart by whose fault it is.

use std::io;

/// Why a tarball could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The reader failed: the disk, the connection or this machine, not what the tarball holds.
    #[error("cannot read the tarball")]
    Read(#[source] io::Error),
    /// The body is something else from its first bytes on (an error page, zstd, a plain tar).
    #[error("{found}, not gzip")]
    NotGzip {
        /// What the first bytes look like.
        found: &'static str,
    },
    /// The gzip stream is damaged, cut short, or followed by bytes that are no gzip member.
    #[error("broken gzip after {offset} unpacked bytes")]
    Gzip {
        /// Unpacked bytes before the fault.
        offset: u64,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// The body is no tarball of any kind from its first bytes on.
    #[error("{found}, not a tarball")]
    NotTarball {
        /// What the first bytes look like.
        found: &'static str,
    },
    /// The packed stream is damaged, cut short, followed by other bytes, or needs too much memory.
    #[error("broken {packing} after {offset} unpacked bytes")]
    Packing {
        /// `bzip2` and its like.
        packing: &'static str,
        /// Unpacked bytes before the fault.
        offset: u64,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// The gzip stream is whole, but the tar archive in it stops within an entry.
    #[error("the tar archive is cut short at byte {offset}")]
    Cut {
        /// Unpacked length.
        offset: u64,
    },
    /// A header block or an extended header that cannot be read.
    #[error("bad tar header at byte {offset}: {what}")]
    Header {
        /// Where the header block begins, in unpacked bytes.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A well-formed header that asks for something a Julia client refuses or that is unsafe.
    #[error("refused tar entry {path:?} at byte {offset}: {what}")]
    Entry {
        /// Where the header block begins, in unpacked bytes.
        offset: u64,
        /// The path as it stands in the archive, with replacement characters if not UTF-8.
        path: String,
        /// Why it is refused.
        what: &'static str,
    },
    /// More than [`Limits`](super::Limits) allows.
    #[error("the tarball exceeds the limit of {limit} for {name}")]
    Limit {
        /// The limit's name.
        name: &'static str,
        /// Its value.
        limit: u64,
    },
}

impl TreeError {
    /// Whether the bytes are to blame, so that the same bytes fail again: everything but
    /// [`TreeError::Read`].
    pub fn is_content_fault(&self) -> bool {
        !matches!(self, Self::Read(_))
    }
}
