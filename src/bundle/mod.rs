//! Bundles: what crosses the gap as files of its own, with an index, checksums and a signature.
//!
//! On the way in, files become bundles (`volume.rs`, `gather.rs`), and a bundle comes in resource by
//! resource (`import.rs`, `work.rs`, `receive.rs`), its registries last (`listings.rs`).

mod gather;
mod import;
mod inspect;
mod licence;
mod listings;
mod outcome;
mod receive;
mod report;
mod signature;
mod volume;
mod work;

pub use gather::{Bundle, GatherError, Place, Signature, gather};
pub use import::{Import, name};
pub use inspect::{Inspected, inspect};
pub use outcome::{ImportReport, Imported, Listed, ListedStatus, Problem, ProblemKind, VolumeState};
pub use licence::{Licence, LicenceFile};
pub use report::{
    ArtifactLine, MarkdownEscaper, PackageLine, RegistryLine, ReportError, Sheet, SheetSignature, Totals, VerdictWord,
    VolumeLine,
};
pub use signature::{KeyId, KeyPair, SignatureError, SigningKey, TrustedKey, Verdict, verify};
pub use volume::{
    INDEX_NAME, Layout, ReadAt, SBOM_NAME, SIGNATURE_NAME, SUMS_NAME, VolumeError, VolumeFile, VolumeProblem,
};
