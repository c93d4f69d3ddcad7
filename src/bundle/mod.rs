//! Bundles: what crosses the gap as files of its own, with an index, checksums and a signature.
//!
//! An export (`export.rs`) chooses (`select.rs`), hashes everything (`hash.rs`), says what it is
//! (`describe.rs`, `sbom.rs`), decides the volumes to the byte (`layout.rs`) and only then writes
//! (`write.rs`). So nothing is written that would not be finished, and memory does not grow with
//! the bytes.
//!
//! On the way in, files become bundles (`volume.rs`, `gather.rs`), and a bundle comes in resource by
//! resource (`import.rs`, `work.rs`, `receive.rs`), its registries last (`listings.rs`). What is different
//! of git bundles, out and in, is in `repositories/`.
//!
//! What a person signs before that is in `report/`, with the licences that `licence/` finds.

mod describe;
mod export;
mod gather;
mod hash;
mod header;
mod import;
mod inspect;
mod layout;
mod licence;
mod listings;
mod order;
mod outcome;
mod receive;
mod report;
mod repositories;
mod sbom;
mod select;
mod signature;
mod volume;
mod work;
mod write;

pub use export::{Exported, NewPackage, export};
pub use gather::{Bundle, GatherError, Place, Signature, gather};
pub use import::{Import, name};
pub use inspect::{Inspected, inspect};
pub use licence::{Licence, LicenceFile};
pub use order::{ExportError, Order, Since};
pub use outcome::{ImportReport, Imported, Kept, Listed, ListedStatus, Problem, ProblemKind, VolumeState};
pub use report::{
    ArtifactLine, MarkdownEscaper, PackageLine, RegistryLine, ReportError, RepositoryLine, Sheet, Totals, VolumeLine,
};
pub use signature::{KeyId, KeyPair, SignatureError, SigningKey, TrustedKey, Verdict, verify};
pub use volume::{
    INDEX_NAME, Layout, ReadAt, SBOM_NAME, SIGNATURE_NAME, SUMS_NAME, VolumeError, VolumeFile, VolumeProblem, sums,
};

use crate::prewarm;

/// One step of an export.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The files are being hashed.
    Hashing {
        /// So many.
        files: usize,
    },
    /// They are being packed.
    Packing {
        /// So many.
        files: usize,
    },
    /// One more is done.
    Done {
        /// Its bytes.
        bytes: u64,
    },
}

/// Whoever wants to know how far an export is.
pub trait Watch: prewarm::Progress {
    /// Takes one step; called from several threads.
    fn step(&self, step: Step);
}

/// Nobody.
impl Watch for () {
    fn step(&self, _: Step) {}
}
