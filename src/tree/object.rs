//! Git objects, as far as a tree hash needs them.

use sha1::{Digest, Sha1};

/// A SHA-1 digest of a git object.
pub(super) type ObjectHash = [u8; 20];

/// Hashes a blob piece by piece, so that no content is ever held.
pub(super) struct BlobHasher(Sha1);

impl BlobHasher {
    /// For a blob of `size` bytes; all of them must be given.
    pub(super) fn new(size: u64) -> Self {
        Self(Sha1::new_with_prefix(format!("blob {size}\0")))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> ObjectHash {
        self.0.finalize().into()
    }
}

/// The hash of a blob in memory.
pub(super) fn blob_hash(bytes: &[u8]) -> ObjectHash {
    let mut hasher = BlobHasher::new(bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish()
}

/// The modes git knows, of which a tarball can hold four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    File,
    Executable,
    Symlink,
    Directory,
}

impl Mode {
    pub(super) fn file(executable: bool) -> Self {
        if executable { Self::Executable } else { Self::File }
    }

    fn digits(self) -> &'static [u8] {
        match self {
            Self::File => b"100644",
            Self::Executable => b"100755",
            Self::Symlink => b"120000",
            Self::Directory => b"40000",
        }
    }
}

/// Appends one line of a tree object.
pub(super) fn push_tree_line(body: &mut Vec<u8>, mode: Mode, name: &[u8], hash: &ObjectHash) {
    body.extend_from_slice(mode.digits());
    body.push(b' ');
    body.extend_from_slice(name);
    body.push(0);
    body.extend_from_slice(hash);
}

/// The hash of a tree object whose lines are in git's order.
pub(super) fn tree_hash(body: &[u8]) -> ObjectHash {
    Sha1::new_with_prefix(format!("tree {}\0", body.len())).chain_update(body).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TreeHash;

    #[test]
    fn hashes_as_git_does() {
        assert_eq!(tree_hash(b""), *TreeHash::EMPTY.as_bytes());
        let hex = TreeHash::from_bytes(blob_hash(b"what is up, doc?")).to_string();
        assert_eq!(hex, "bd9dbf5aae1a3862dd1526723246b20206e5fc37");
    }
}
