//! The server's end of TLS: certificate, key and client authorities out of files, taken up again
//! when they change. What cannot be used never replaces what can.

use super::routes::App;
use crate::config;
use crate::config::{ClientCertificate, SecretError};
use crate::mirror::blocking;
use crate::pem::{self, PemError};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// Longest common name that is taken out of a client's certificate, in characters.
const MAX_NAME: usize = 200;

/// What the server speaks TLS with.
pub struct Tls {
    live: ArcSwap<Live>,
    watched: Mutex<Watched>,
}

/// What is in use now.
struct Live {
    config: Arc<ServerConfig>,
    begins: Timestamp,
    expires: Timestamp,
}

/// The files as they were when they were last read.
struct Watched {
    stamps: Vec<Option<Stamp>>,
    problem: Option<String>,
}

/// Inode, size, and when content and inode changed, in nanoseconds.
type Stamp = (u64, u64, [i64; 4]);

/// How it stands with the certificate, for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsStatus {
    /// When the certificate in use expires.
    pub expires: Timestamp,
    /// Whole days until then; negative when it is over.
    pub days_left: i64,
    /// Why the files as they are now are not in use; `None` if they are.
    pub last_error: Option<String>,
}

/// Files that the server cannot speak TLS with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("[tls]: {0}")]
    Read(#[from] SecretError),
    /// A file that has something else in it.
    #[error("[tls]: {0}")]
    Pem(#[from] PemError),
    /// Authorities that no client can be judged by.
    #[error("[tls]: the authorities in {0} cannot be used for clients: {1}")]
    Authorities(String, String),
    /// TLS cannot be set up.
    #[error("[tls]: {0}")]
    Setup(String),
    /// A certificate that is no longer, or not yet valid, while the one in use is.
    #[error("[tls]: the certificate in {0} is valid from {1} to {2}, which is not now")]
    NotNow(String, Timestamp, Timestamp),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files of `[tls]`; `None` without such a section.
    pub async fn load(config: &config::Config) -> Result<Option<Arc<Self>>, TlsError> {
        let Some(files) = config.tls.clone() else { return Ok(None) };
        let tls = blocking(move || Self::read(&files)).await.map_err(|error| TlsError::Setup(error.to_string()))??;
        Ok(Some(Arc::new(tls)))
    }

    fn read(files: &config::Tls) -> Result<Self, TlsError> {
        let stamps = stamps(files);
        let live = Live::read(files)?;
        if live.is_valid_now() {
            tracing::info!("the TLS certificate is valid until {}", live.expires);
        } else {
            // Whose clock is wrong cannot be told from here, and clients go by their own.
            let (begins, expires) = (live.begins, live.expires);
            tracing::error!("the TLS certificate is valid from {begins} to {expires}: clients will refuse it");
        }
        Ok(Self { live: ArcSwap::from_pointee(live), watched: Mutex::new(Watched { stamps, problem: None }) })
    }

    /// What new connections are to use.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.live.load().config)
    }

    /// How it stands.
    pub fn status(&self) -> TlsStatus {
        let expires = self.live.load().expires;
        let days_left = expires.duration_since(Timestamp::now()).as_secs().div_euclid(24 * 3600);
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        TlsStatus { expires, days_left, last_error: watched.problem.clone() }
    }

    /// Reads the files again if they changed since they were last read, if they could not be used
    /// then, or if somebody `asked`. Blocks.
    fn look(&self, files: &config::Tls, asked: bool) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // Before they are read: a change in between is seen the next time.
        let stamps = stamps(files);
        if !asked && watched.problem.is_none() && watched.stamps == stamps {
            return;
        }
        watched.stamps = stamps;
        let read = Live::read(files).and_then(|new| {
            if self.live.load().is_valid_now() && !new.is_valid_now() {
                return Err(TlsError::NotNow(files.certificate.display().to_string(), new.begins, new.expires));
            }
            Ok(new)
        });
        match read {
            Ok(new) => {
                let expires = new.expires;
                self.live.store(Arc::new(new));
                tracing::info!("the TLS certificate was read again; it is valid until {expires}");
                watched.problem = None;
            }
            Err(error) => {
                let says = error.to_string();
                if asked || watched.problem.as_ref() != Some(&says) {
                    tracing::error!("{says}; the certificate of before stays in use");
                }
                watched.problem = Some(says);
            }
        }
    }
}

impl Live {
    fn read(files: &config::Tls) -> Result<Self, TlsError> {
        let text = files.read()?;
        let identity = pem::identity(&text.certificate, &text.key, (&files.certificate, &files.key))?;
        let (begins, expires) = identity.cert.first().and_then(validity).ok_or_else(|| {
            let file = files.certificate.display().to_string();
            PemError::Certificate(file, "it does not say how long it is valid".to_owned())
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = match (&files.client, &text.client_ca) {
            (Some((file, demand)), Some(pem)) => {
                let (roots, _) = pem::authorities(pem, file)?;
                let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                let builder = match demand {
                    ClientCertificate::Required => builder,
                    ClientCertificate::Optional => builder.allow_unauthenticated(),
                };
                let wrong =
                    |error: &dyn fmt::Display| TlsError::Authorities(file.display().to_string(), error.to_string());
                builder.build().map_err(|error| wrong(&error))?
            }
            _ => Arc::new(NoClientAuth),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Setup(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), begins, expires })
    }

    fn is_valid_now(&self) -> bool {
        (self.begins..=self.expires).contains(&Timestamp::now())
    }
}

impl App {
    /// The same server with what was read of `[tls]` before it was there, so that bad files are
    /// known before anything else begins.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        if let Some(tls) = tls {
            // Whoever was first has read the same files.
            let _ = self.tls_place().set(tls);
        }
        self
    }

    /// Reads the files of `[tls]`, if there is such a section and nobody did so before.
    pub(super) async fn load_tls(&self) -> Result<(), TlsError> {
        if self.tls().is_none() {
            let tls = Tls::load(&self.config()).await?;
            let _ = self.clone().with_tls(tls);
        }
        Ok(())
    }

    /// Reads the files of `[tls]` again, and logs what comes of it. For SIGHUP and a reload.
    pub async fn reload_tls(&self) {
        self.look_at_tls(true).await;
    }

    /// What the server speaks TLS with, once it was loaded.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls_place().get()
    }

    async fn look_at_tls(&self, asked: bool) {
        // Without the section in a configuration that was read again there is nothing to look at:
        // from https to http, or back, a server goes by a restart only.
        let (Some(tls), Some(files)) = (self.tls().map(Arc::clone), self.config().tls.clone()) else { return };
        let _ = blocking(move || tls.look(&files, asked)).await;
    }
}

/// Looks at the files for as long as the server runs.
pub(super) async fn watch(app: App) {
    while app.tls().is_some() {
        tokio::time::sleep(INTERVAL).await;
        app.look_at_tls(false).await;
    }
}

fn stamps(files: &config::Tls) -> Vec<Option<Stamp>> {
    let stamp = |metadata: std::fs::Metadata| {
        let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
        (metadata.ino(), metadata.size(), times)
    };
    files.files().into_iter().map(|file| fs_err::metadata(file).ok().map(stamp)).collect()
}

/// From when to when a certificate is valid.
fn validity(der: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let time = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((time(certificate.validity().not_before)?, time(certificate.validity().not_after)?))
}

/// The common name of whom a chain is of, without what a terminal or a log would stumble over.
pub(super) fn common_name<'c>(chain: impl AsRef<[CertificateDer<'c>]>) -> Option<Arc<str>> {
    let (_, certificate) = X509Certificate::from_der(chain.as_ref().first()?).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.chars().filter(|character| !character.is_control()).take(MAX_NAME).collect::<String>().into())
}
