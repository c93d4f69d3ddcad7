//! Bundles: what crosses the gap as files of its own, with an index, checksums and a signature.
//!
//! An export (`export.rs`) chooses (`select.rs`), hashes everything (`hash.rs`), says what it is
//! (`describe.rs`, `sbom.rs`), decides the volumes to the byte (`layout.rs`) and only then writes
//! (`volume.rs`). So nothing is written that would not be finished, and memory does not grow with
//! the bytes.

mod describe;
mod export;
mod hash;
mod layout;
mod order;
mod sbom;
mod select;
mod signature;
mod volume;

pub use export::{Exported, NewPackage, export};
pub use order::{ExportError, Order, Since};
pub use signature::{KeyId, KeyPair, SignatureError, SigningKey, TrustedKey, Verdict, verify};

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
