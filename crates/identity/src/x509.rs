//! What is read from certificates and requests: which keys are accepted, and times.

use boshy_mesh::Timestamp;
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm};
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_NIST_EC_P384},
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey as Parsed,
    time::ASN1Time,
    x509::SubjectPublicKeyInfo,
};

const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;

/// A public key of a kind that every peer accepts: P-256, P-384, or RSA of 2,048 to 8,192 bits.
#[derive(Clone, Debug)]
pub(crate) struct PublicKey {
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

/// A public key of any other kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeakKey {
    /// RSA with a modulus that is too short, or too long to be verified.
    #[error("is an RSA key of {0} bits, and must have {MIN_RSA_BITS} to {MAX_RSA_BITS}")]
    Rsa(usize),
    /// Another elliptic curve.
    #[error("is an elliptic curve key on another curve than P-256 and P-384")]
    Curve,
    /// Another kind of key.
    #[error("is neither an elliptic curve key (P-256, P-384) nor an RSA key")]
    Kind,
}

impl PublicKey {
    pub(crate) fn read(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, WeakKey> {
        let algorithm = match info.parsed() {
            Ok(Parsed::RSA(key)) => match bits(key.modulus) {
                MIN_RSA_BITS..=MAX_RSA_BITS => &PKCS_RSA_SHA256,
                bits => return Err(WeakKey::Rsa(bits)),
            },
            Ok(Parsed::EC(_)) => match info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok()) {
                Some(curve) if curve == OID_EC_P256 => &PKCS_ECDSA_P256_SHA256,
                Some(curve) if curve == OID_NIST_EC_P384 => &PKCS_ECDSA_P384_SHA384,
                _ => return Err(WeakKey::Curve),
            },
            _ => return Err(WeakKey::Kind),
        };
        Ok(Self { bits: info.subject_public_key.data.to_vec(), algorithm })
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// Length of a number in bits.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros).map_or(0, |first| (number.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// A certificate without anything behind it.
pub(crate) fn certificate(der: &[u8]) -> Option<X509Certificate<'_>> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Some(certificate),
        _ => None,
    }
}

/// A time before 1970 counts as 1970.
pub(crate) fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// A certificate as PEM text.
pub(crate) fn pem(certificate: &[u8]) -> String {
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", certificate), lines)
}
