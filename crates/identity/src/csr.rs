//! Certificate requests (PKCS#10, RFC 2986).

use rcgen::{CertificateParams, DistinguishedName, PublicKeyData};
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{
    certification_request::X509CertificationRequest,
    oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA},
    prelude::FromDer,
};

use crate::{
    KeyError, KeyHash, PrivateKey,
    x509::{PublicKey, WeakKey},
};

/// A longer request is refused unread. One with an RSA key of 8,192 bits takes 3 KiB.
const MAX_BYTES: usize = 16 << 10;

/// A request whose sender has the private key. It says nothing but the public key: subject, alternative names and all
/// other wishes are ignored, because a certificate names what its owner is and not what it would like to be.
#[derive(Clone, Debug)]
pub struct Csr(PublicKey);

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsrError {
    /// It is longer than 16 KiB.
    #[error("is longer than {MAX_BYTES} octets")]
    TooLong,
    /// It is not PEM text of the section `CERTIFICATE REQUEST`.
    #[error("is no PEM CERTIFICATE REQUEST")]
    NotPem,
    /// The content of the section is no request.
    #[error("is no PKCS#10 certificate request in DER")]
    NotARequest,
    /// Its key is too weak, or of a kind that not all peers accept.
    #[error("its key {0}")]
    WeakKey(#[from] WeakKey),
    /// It is not signed with its own key, or by a method that is unknown or broken (SHA-1).
    #[error("its signature is wrong or of a method that is not accepted")]
    Signature,
}

impl Csr {
    /// Reads a request, and checks its key and its signature.
    ///
    /// # Errors
    /// When it is no request, or one that gets no certificate.
    pub fn from_pem(text: &str) -> Result<Self, CsrError> {
        if text.len() > MAX_BYTES {
            return Err(CsrError::TooLong);
        }
        let der = CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).map_err(|_| CsrError::NotPem)?;
        let Ok(([], request)) = X509CertificationRequest::from_der(&der) else { return Err(CsrError::NotARequest) };
        let key = PublicKey::read(&request.certification_request_info.subject_pki)?;
        let method = &request.signature_algorithm.algorithm;
        if *method == OID_PKCS1_SHA1WITHRSA || *method == OID_SHA1_WITH_RSA {
            return Err(CsrError::Signature);
        }
        request.verify_signature().map_err(|_| CsrError::Signature)?;
        Ok(Self(key))
    }

    /// Hash of its public key.
    pub fn key_hash(&self) -> KeyHash {
        KeyHash::of(&self.0.subject_public_key_info())
    }

    pub(crate) fn key(&self) -> &PublicKey {
        &self.0
    }
}

/// A request for a certificate of this key, as PEM text. It has no subject and no alternative names.
///
/// # Errors
/// When signing fails.
pub fn csr_for(key: &PrivateKey) -> Result<String, KeyError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(&key.0).and_then(|request| request.pem()).map_err(|_| KeyError::NotMade)
}
