//! Bundles: what crosses the gap as files.

mod licence;
mod report;
mod signature;
mod volume;

pub use licence::{Licence, LicenceFile};
pub use report::{
    ArtifactLine, MarkdownEscaper, PackageLine, RegistryLine, ReportError, Sheet, SheetSignature, Totals, VerdictWord,
    VolumeLine,
};
pub use signature::{KeyId, KeyPair, SignatureError, SigningKey, TrustedKey, Verdict, verify};
pub use volume::{
    INDEX_NAME, Layout, ReadAt, SBOM_NAME, SIGNATURE_NAME, SUMS_NAME, VolumeError, VolumeFile, VolumeProblem,
};
