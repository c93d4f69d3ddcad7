//! Certificates, authorities and keys out of PEM, for both ends of TLS: what a server shows and
//! what is shown to one. Says which file cannot be used, and never what is in it.

use crate::config::Secret;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// Nothing in it begins as a certificate does, or what does is no base64.
    #[error("{0} has no certificate in PEM form")]
    NoCertificate(String),
    /// A certificate that cannot be read or trusted.
    #[error("{0} has a certificate that cannot be used: {1}")]
    Certificate(String, String),
    /// No key, or one that is encrypted.
    #[error("{0} has no private key in PEM form; an encrypted one cannot be used")]
    NoKey(String),
    /// A key of another certificate.
    #[error("the key in {key} is not that of the certificate in {certificate}")]
    OtherKey {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
    },
    /// A key of a kind that is not supported, for example.
    #[error("the certificate in {certificate} with the key in {key} cannot be used: {reason}")]
    Identity {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// In the library's words.
        reason: String,
    },
}

/// All certificates of a text; `file` is where it came from.
pub fn certificates(pem: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| PemError::NoCertificate(shown(file)))
}

/// The same as authorities, each of which can be used as one.
pub fn authorities(pem: &str, file: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), PemError> {
    let (mut store, found) = (RootCertStore::empty(), certificates(pem, file)?);
    for der in &found {
        store.add(der.clone()).map_err(|error| PemError::Certificate(shown(file), error.to_string()))?;
    }
    Ok((store, found))
}

/// A certificate with its chain and the key that belongs to it. `files` are those of both.
pub fn identity(pem: &str, key: &Secret, files: (&Path, &Path)) -> Result<CertifiedKey, PemError> {
    let chain = certificates(pem, files.0)?;
    let der = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| PemError::NoKey(shown(files.1)))?;
    let (certificate, key) = (shown(files.0), shown(files.1));
    CertifiedKey::from_der(chain, der, &rustls::crypto::ring::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => PemError::OtherKey { certificate, key },
        error => PemError::Identity { certificate, key, reason: error.to_string() },
    })
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}
