//! A certificate authority of a test's own, and the files of what it signed.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// The authority; its files are in a folder of its own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) folder: tempfile::TempDir,
}

impl Authority {
    /// Leaves `ca.pem`, `client.pem`, `client.key` and, of another key, `other.key`.
    pub(crate) fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a certificate whose issuer has its own name for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let authority = Self { issuer: Issuer::new(params, key), folder };
        authority.issue("client", |params| params.distinguished_name.push(DnType::CommonName, "a client\nof ours"));
        fs_err::write(authority.file("other.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        authority
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a certificate for `localhost` and 127.0.0.1, and leaves it as `<stem>.pem` and
    /// `<stem>.key`. `change` may ask for another one.
    pub(crate) fn issue(&self, stem: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let (key, certificate) = self.sign(change);
        fs_err::write(self.file(&format!("{stem}.pem")), certificate.pem()).unwrap();
        fs_err::write(self.file(&format!("{stem}.key")), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> (KeyPair, rcgen::Certificate) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (key, certificate)
    }

    /// This authority, for those who are to trust it.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("ca.pem")).unwrap()).unwrap();
        roots
    }

    /// An end of TLS that lets in only whom this authority signed.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let (key, certificate) = self.sign(|_| {});
        let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots())).build().unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// An end of TLS that lets everybody in.
    pub(crate) fn open_acceptor(&self) -> TlsAcceptor {
        let (key, certificate) = self.sign(|_| {});
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap()))
    }

    /// The lines of `[tls]` with the certificate that was left under `stem`.
    pub(crate) fn section(&self, stem: &str, more: &str) -> String {
        let file = |kind: &str| self.file(&format!("{stem}.{kind}")).display().to_string();
        format!("[tls]\ncertificate = '{}'\nkey = '{}'\n{more}\n", file("pem"), file("key"))
    }
}
