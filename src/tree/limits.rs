//! How much one tarball may cost.

use super::TreeError;

/// Bounds on what reading one tarball may cost in time and memory. The defaults are far above any
/// package, artifact or registry that is published, and low enough that the worst input is bearable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of one path or link target.
    pub path_bytes: usize,
    /// Components of one path. Bounds the work per entry.
    pub depth: usize,
    /// Rough bound on the memory that the names and hashes of all files and directories take, in
    /// bytes, with directories that paths only imply counted too.
    pub tree_bytes: u64,
    /// Length of the unpacked tar stream in bytes, padding and headers included.
    pub unpacked_bytes: u64,
    /// Unpacked bytes per packed byte, once 64 MiB are unpacked.
    pub ratio: u64,
    /// Bytes of file contents in memory at one time: all kept files together, or one visited file.
    pub kept_bytes: u64,
}

/// Below this many unpacked bytes the ratio says nothing.
const RATIO_FLOOR: u64 = 64 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 5_000_000,
            path_bytes: 4096,
            depth: 256,
            tree_bytes: 512 << 20,
            unpacked_bytes: 256 << 30,
            ratio: 1000,
            kept_bytes: 64 << 20,
        }
    }
}

/// The limits of the configuration, and the defaults of the rest.
impl From<&crate::config::Limits> for Limits {
    fn from(limits: &crate::config::Limits) -> Self {
        Self {
            entries: limits.entries,
            path_bytes: usize::try_from(limits.path).unwrap_or(usize::MAX),
            unpacked_bytes: limits.unpacked,
            ratio: limits.ratio,
            ..Self::default()
        }
    }
}

impl Limits {
    /// Checks the stream so far.
    pub(super) fn check_stream(&self, packed: u64, unpacked: u64) -> Result<(), TreeError> {
        check("unpacked bytes", unpacked, self.unpacked_bytes)?;
        if unpacked > RATIO_FLOOR && unpacked / self.ratio.max(1) > packed {
            return Err(TreeError::Limit { name: "unpacked bytes per packed byte", limit: self.ratio });
        }
        Ok(())
    }

    /// Checks the length of a path or link target.
    pub(super) fn check_path(&self, path: &[u8]) -> Result<(), TreeError> {
        check("bytes of a path", path.len() as u64, self.path_bytes as u64)
    }
}

/// Refuses a `value` above `limit`.
pub(super) fn check(name: &'static str, value: u64, limit: u64) -> Result<(), TreeError> {
    if value > limit { Err(TreeError::Limit { name, limit }) } else { Ok(()) }
}
