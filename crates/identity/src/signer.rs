//! The key of an authority, in any of the forms that BOSH's config servers write.

use std::{fmt, sync::Arc};

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm};
use rustls::{SignatureScheme, crypto::ring::sign::any_supported_type};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

use crate::{AuthorityError, KeyHash, x509::PublicKey};

/// A private key that signs certificates: RSA, P-256 or P-384, read from PKCS#1, PKCS#8 or SEC1.
pub(crate) struct Signer {
    key: Arc<dyn rustls::sign::SigningKey>,
    public: PublicKey,
}

impl Signer {
    pub(crate) fn from_pem(text: &str) -> Result<Self, AuthorityError> {
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| AuthorityError::NoKey)?;
        let key = any_supported_type(&der).map_err(|_| AuthorityError::NoKey)?;
        let public = key.public_key().ok_or(AuthorityError::NoKey)?;
        let (_, info) = SubjectPublicKeyInfo::from_der(&public).map_err(|_| AuthorityError::NoKey)?;
        let public = PublicKey::read(&info).map_err(AuthorityError::WeakKey)?;
        Ok(Self { key, public })
    }

    pub(crate) fn hash(&self) -> KeyHash {
        KeyHash::of(&self.public.subject_public_key_info())
    }

    fn scheme(&self) -> SignatureScheme {
        let algorithm = self.public.algorithm();
        if algorithm == &PKCS_RSA_SHA256 {
            SignatureScheme::RSA_PKCS1_SHA256
        } else if algorithm == &PKCS_ECDSA_P256_SHA256 {
            SignatureScheme::ECDSA_NISTP256_SHA256
        } else {
            SignatureScheme::ECDSA_NISTP384_SHA384
        }
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.public.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.public.algorithm()
    }
}

impl rcgen::SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signer = self.key.choose_scheme(&[self.scheme()]).ok_or(rcgen::Error::UnsupportedSignatureAlgorithm)?;
        signer.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("hash", &self.hash()).finish_non_exhaustive()
    }
}
