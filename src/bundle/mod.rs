//! Bundles: what crosses the gap as files of its own, with an index, checksums and a signature.

mod signature;

pub use signature::{KeyId, KeyPair, SignatureError, SigningKey, TrustedKey, Verdict, verify};
