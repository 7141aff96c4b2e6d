//! A client's TLS configuration, and the certificate that it presents.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig,
    crypto::ring,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};

use crate::{ClientFiles, FileError, Following};

/// A client's TLS configuration, for new connections. Clones share it.
#[derive(Clone, Debug)]
pub struct ClientTls {
    files: Following<ClientConfig>,
    own: Arc<Mutex<Option<Own>>>,
}

/// A certificate with its key, and the seconds since the Unix epoch at which it is valid.
#[derive(Clone, Debug)]
struct Own {
    certificate: Arc<SingleCertAndKey>,
    valid: RangeInclusive<u64>,
}

/// Two texts that are no certificate with its key. No text contains any part of a key.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPair {
    /// A text is not PEM, or lacks what it should hold.
    #[error("a certificate or a private key is not valid PEM")]
    Pem,
    /// The texts do not belong together, or the key is of a kind that is not known.
    #[error("a certificate and a private key are no pair")]
    Pair(#[source] rustls::Error),
}

impl ClientTls {
    /// Reads the files for the first time. `protocols` are the ALPN protocols (RFC 7301), in order of preference.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn open(files: ClientFiles, protocols: &'static [&'static [u8]]) -> Result<Self, FileError> {
        Ok(Self { files: Following::<ClientConfig>::open(files, protocols)?, own: Arc::default() })
    }

    /// Presents a certificate instead of that of the files, while it is `valid` (seconds since the Unix epoch).
    /// `certificates` and `private_key` are PEM texts, the client's own certificate first.
    ///
    /// # Errors
    /// When they are no pair. What was presented before is presented on.
    pub fn present(&self, certificates: &str, private_key: &str, valid: RangeInclusive<u64>) -> Result<(), NoPair> {
        let chain = CertificateDer::pem_slice_iter(certificates.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(private_key.as_bytes()).map_err(|_| NoPair::Pem)?;
        let pair = CertifiedKey::from_der(chain.map_err(|_| NoPair::Pem)?, key, &ring::default_provider());
        let certificate = Arc::new(SingleCertAndKey::from(pair.map_err(NoPair::Pair)?));
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(Own { certificate, valid });
        Ok(())
    }

    /// The configuration for a new connection, with the certificate of the files.
    pub fn of_files(&self) -> Arc<ClientConfig> {
        self.files.current()
    }

    /// The configuration for a new connection with the client's other certificate. `None` while that is not valid, or
    /// there is none.
    pub fn own(&self) -> Option<Arc<ClientConfig>> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Own { certificate, .. } = own.filter(|own| own.valid.contains(&UnixTime::now().as_secs()))?;
        let mut config = ClientConfig::clone(&self.files.current());
        config.client_auth_cert_resolver = certificate;
        Some(Arc::new(config))
    }
}
