//! Private keys of workloads, and the hashes that public keys are known by.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// A P-256 private key (ECDSA on secp256r1). It is made on the VM and never leaves it.
pub struct PrivateKey(pub(crate) KeyPair);

/// Why there is no key. No text contains any part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The random number generator failed.
    #[error("a private key cannot be made")]
    NotMade,
    /// The text is no PEM section `PRIVATE KEY`.
    #[error("is no PEM private key (PKCS#8)")]
    NotPem,
    /// The key is of another kind, or damaged.
    #[error("is no P-256 private key")]
    NotP256,
}

/// SHA-256 of a public key as SubjectPublicKeyInfo in DER (RFC 5280 section 4.1). Equal for a key, for each request that
/// is signed with it, and for each certificate that is issued for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Self).map_err(|_| KeyError::NotMade)
    }

    /// Reads what [`PrivateKey::to_pem`] has written.
    ///
    /// # Errors
    /// When the text holds no P-256 key in PKCS#8.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyError::NotPem)?;
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map(Self).map_err(|_| KeyError::NotP256)
    }

    /// The key as PEM text, PKCS#8.
    pub fn to_pem(&self) -> SecretString {
        self.0.serialize_pem().into()
    }

    /// Hash of its public key.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0.subject_public_key_info())
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("hash", &self.hash()).finish_non_exhaustive()
    }
}

impl KeyHash {
    /// The hash of a SubjectPublicKeyInfo in DER.
    pub(crate) fn of(public_key_info: &[u8]) -> Self {
        Self(Sha256::digest(public_key_info).into())
    }
}

impl fmt::Display for KeyHash {
    /// 64 hexadecimal digits in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for KeyHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NotAHash);
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| NotAHash)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NotAHash)?;
        }
        Ok(Self(hash))
    }
}

impl TryFrom<String> for KeyHash {
    type Error = NotAHash;

    fn try_from(text: String) -> Result<Self, NotAHash> {
        text.parse()
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        hash.to_string()
    }
}

/// A text that is no [`KeyHash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a SHA-256 hash of 64 hexadecimal digits in lower case")]
pub struct NotAHash;
