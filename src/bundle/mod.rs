//! Bundles: what crosses the gap as files.

mod signature;
mod volume;

pub use signature::{KeyId, KeyPair, SignatureError, SigningKey, TrustedKey, Verdict, verify};
pub use volume::{
    INDEX_NAME, Layout, ReadAt, SBOM_NAME, SIGNATURE_NAME, SUMS_NAME, VolumeError, VolumeFile, VolumeProblem,
};
