//! `[tls]`: the certificate that the server shows, and whether clients must show one.

use super::secret::read;
use super::{ConfigError, Secret, SecretError};
use serde::Deserialize;
use std::path::PathBuf;

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TlsSettings {
    /// A PEM file with the server's certificate and what leads from it to the authority.
    pub certificate: Option<PathBuf>,
    /// A PEM file with its key, if it is not in the same file.
    pub key: Option<PathBuf>,
    /// A PEM file with the authorities whose client certificates count.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must show one.
    pub client_certificate: Option<ClientCertificate>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// Without one nobody is let in.
    Required,
    /// One that is shown must be right.
    Optional,
}

/// What the server speaks TLS with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file of its key; may be the same.
    pub key: PathBuf,
    /// PEM file of the authorities for clients, if clients are asked for a certificate, and whether
    /// they must show one.
    pub client: Option<(PathBuf, ClientCertificate)>,
}

/// What those files have, as text (PEM).
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate and its chain.
    pub certificate: String,
    /// The key; the same text if it is in the same file.
    pub key: Secret,
    /// The authorities for clients.
    pub client_ca: Option<String>,
}

impl Tls {
    pub(super) fn from_settings(flags: TlsSettings, file: TlsSettings) -> Result<Option<Self>, ConfigError> {
        let certificate = flags.certificate.or(file.certificate);
        let key = flags.key.or(file.key);
        let client = match (file.client_ca, file.client_certificate) {
            (Some(authority), demand) => Some((authority, demand.unwrap_or(ClientCertificate::Required))),
            (None, None) => None,
            (None, Some(_)) => return Err(ConfigError::Bound("tls.client-certificate needs a tls.client-ca")),
        };
        match certificate {
            Some(certificate) => {
                Ok(Some(Self { key: key.unwrap_or_else(|| certificate.clone()), certificate, client }))
            }
            None if key.is_some() || client.is_some() => {
                Err(ConfigError::Bound("tls.key and tls.client-ca need a tls.certificate"))
            }
            None => Ok(None),
        }
    }

    /// The files, each once.
    pub fn files(&self) -> Vec<&PathBuf> {
        let mut files = vec![&self.certificate];
        files.extend(Some(&self.key).filter(|&key| *key != self.certificate));
        files.extend(self.client.as_ref().map(|(authority, _)| authority));
        files
    }

    /// Reads them. Blocks.
    pub fn read(&self) -> Result<TlsFiles, SecretError> {
        let certificate = read(&self.certificate)?;
        let key = if self.key == self.certificate { certificate.clone() } else { read(&self.key)? };
        let client_ca = self.client.as_ref().map(|(authority, _)| read(authority)).transpose()?;
        Ok(TlsFiles { certificate, key: Secret::new(key), client_ca })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(text: &str) -> Result<Option<Tls>, ConfigError> {
        Tls::from_settings(TlsSettings::default(), toml::from_str(text).unwrap())
    }

    #[test]
    fn a_certificate_makes_it_tls_and_the_rest_needs_one() {
        assert_eq!(tls("").unwrap(), None);
        let one = tls("certificate = 'c'").unwrap().unwrap();
        assert_eq!((one.key.as_path(), one.client.as_ref(), one.files().len()), ("c".as_ref(), None, 1));
        let all = tls("certificate = 'c'\nkey = 'k'\nclient-ca = 'a'").unwrap().unwrap();
        assert_eq!(all.client, Some(("a".into(), ClientCertificate::Required)));
        assert_eq!(all.files().len(), 3);
        for bad in ["key = 'k'", "client-ca = 'a'", "certificate = 'c'\nclient-certificate = 'optional'"] {
            assert!(matches!(tls(bad), Err(ConfigError::Bound(_))), "{bad}");
        }
    }
}
