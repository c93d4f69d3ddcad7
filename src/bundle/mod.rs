//! Bundles: what crosses the gap as files.

mod volume;

pub use volume::{
    INDEX_NAME, Layout, ReadAt, SBOM_NAME, SIGNATURE_NAME, SUMS_NAME, VolumeError, VolumeFile, VolumeProblem,
};
