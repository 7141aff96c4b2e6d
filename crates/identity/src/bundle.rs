//! Roots that are trusted for the identity of workloads.

use std::{fmt, sync::Arc, time::Duration};

use boshy_mesh::Timestamp;
use rustls::{
    RootCertStore,
    crypto::ring,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use sha2::{Digest, Sha256};
use x509_parser::prelude::X509Certificate;

use crate::x509;

/// More than one root is trusted while a root is replaced, and when the mesh is joined with another one.
#[derive(Clone)]
pub struct TrustBundle {
    roots: Vec<CertificateDer<'static>>,
    /// Certificates between a leaf and a root that need not be presented.
    between: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Why there is no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A section cannot be read.
    #[error("is not valid PEM")]
    NotPem,
    /// There is no certificate.
    #[error("holds no PEM certificate")]
    Empty,
    /// A certificate cannot be read.
    #[error("certificate {0} is no X.509 certificate")]
    NotACertificate(usize),
    /// A certificate may not issue others.
    #[error("certificate {number} ({subject}) is no certificate authority")]
    NotAnAuthority {
        /// Its number in the text, from 1.
        number: usize,
        /// Its subject.
        subject: String,
    },
    /// The certificates cannot be used to verify others.
    #[error("cannot be used to verify certificates")]
    Unusable,
}

/// A certificate that a bundle does not vouch for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct NotTrusted(rustls::Error);

impl NotTrusted {
    /// Whether no root has issued the certificate, and nothing else is known to be wrong with it.
    pub fn is_of_another_issuer(&self) -> bool {
        use rustls::CertificateError as Bad;
        // Another authority may have the name of one of the roots, and then has another key.
        matches!(self.0, rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature))
    }
}

pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl TrustBundle {
    /// Reads the roots in a PEM text.
    ///
    /// # Errors
    /// When there is none, or one of them is no certificate authority.
    pub fn from_pem(text: &str) -> Result<Self, BundleError> {
        Self::new(certificates(text)?)
    }

    pub(crate) fn new(roots: Vec<CertificateDer<'static>>) -> Result<Self, BundleError> {
        let mut store = RootCertStore::empty();
        for (root, number) in roots.iter().zip(1..) {
            let read = x509::certificate(root).ok_or(BundleError::NotACertificate(number))?;
            if !read.is_ca() {
                return Err(BundleError::NotAnAuthority { number, subject: read.subject().to_string() });
            }
            store.add(root.clone()).map_err(|_| BundleError::NotACertificate(number))?;
        }
        if roots.is_empty() {
            return Err(BundleError::Empty);
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(store.into(), Arc::new(ring::default_provider())).build();
        Ok(Self { roots, between: Vec::new(), verifier: verifier.map_err(|_| BundleError::Unusable)? })
    }

    /// Checks that one of the roots has issued a certificate, by way of `intermediates` if need be, for use as a
    /// client, and that all are valid now (RFC 5280 section 6).
    ///
    /// # Errors
    /// When that is not so.
    pub fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), NotTrusted> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.0));
        let between: Vec<_> = intermediates.iter().chain(&self.between).cloned().collect();
        self.verifier.verify_client_cert(certificate, &between, now).map(drop).map_err(NotTrusted)
    }

    /// Subject of the first certificate in a PEM text whose key is that of a root, or of a certificate between a leaf and
    /// a root: it verifies certificates that this bundle verifies.
    ///
    /// # Errors
    /// When the text is not valid PEM. What is no X.509 certificate shares nothing.
    pub fn shared_with(&self, text: &str) -> Result<Option<String>, BundleError> {
        let own: Vec<_> = self.roots.iter().chain(&self.between).filter_map(|der| x509::certificate(der)).collect();
        let shares = |other: &X509Certificate<'_>| own.iter().any(|own| own.public_key().raw == other.public_key().raw);
        let others = certificates(text)?;
        let mut others = others.iter().filter_map(|der| x509::certificate(der));
        Ok(others.find(shares).map(|shared| shared.subject().to_string()))
    }

    pub(crate) fn with(self, between: Vec<CertificateDer<'static>>) -> Self {
        Self { between, ..self }
    }

    /// All roots in one PEM text.
    pub fn to_pem(&self) -> String {
        self.roots.iter().map(|root| x509::pem(root)).collect()
    }

    /// SHA-256 of each root in DER, in lower-case hexadecimal digits, as `openssl x509 -fingerprint` shows it.
    pub fn fingerprints(&self) -> Vec<String> {
        self.roots.iter().map(|root| fingerprint(root)).collect()
    }

    pub(crate) fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustBundle").field("roots", &self.roots.len()).finish_non_exhaustive()
    }
}

/// The certificates in a PEM text. Other sections are skipped.
pub(crate) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| BundleError::NotPem)
}
